//! The rules of the ledger, by example and by property.

use std::collections::HashMap;

use chrono::{DateTime, TimeDelta, Utc};
use proptest::prelude::*;
use uuid::Uuid;

use super::{
    Answer, Change, Ledger, Reply, Verdict,
    command::{CardCharge, Command, PaRes, TokenCharge},
    notices::Site,
    replies::REPLY_LIFE,
    secret::{PayerAnswer, Secret},
    transaction::{Kind, Purpose, RequestId, Status, Token, Transaction, TransactionId},
};
use crate::{
    cryptogram::{Packet, cryptogram},
    money::{Amount, Currency},
    wire::answer::Terminal,
};

const VISA: &str = "4000000000003055";
const VISA_3DS: &str = "4242424242424242";
const VISA_ONCE: &str = "4111111111111111";
const VISA_POOR: &str = "4000056655665556";

fn start() -> DateTime<Utc> {
    "2026-11-22T12:00:00Z".parse().unwrap()
}

fn secret() -> Secret {
    Secret::new(Uuid::from_u128(1), Uuid::from_u128(2))
}

/// A ledger with the little its caller does around it.
struct Books {
    ledger: Ledger,
    now: DateTime<Utc>,
    written: Vec<Change>,
}

impl Books {
    fn new() -> Self {
        Self::with_capacity(10_000)
    }

    fn with_capacity(capacity: usize) -> Self {
        Self { ledger: Ledger::new(secret(), 1000, capacity, Site::default()), now: start(), written: Vec::new() }
    }

    /// The reply, and whether the command was processed for it (or an old answer given again).
    fn send(&mut self, command: &Command, request_id: Option<&RequestId>) -> (Reply, bool) {
        if let Some(reply) = request_id.and_then(|id| self.ledger.replay(id, self.now)) {
            return (reply, false);
        }
        let decision = self.ledger.decide(command, request_id, self.now);
        self.written.extend(decision.changes.clone());
        decision.changes.into_iter().for_each(|change| self.ledger.apply(change));
        (Reply { answer: self.ledger.answer(decision.verdict), at: self.now }, true)
    }

    fn transaction(&mut self, command: &Command) -> Transaction {
        match self.send(command, None).0.answer {
            Answer::Transaction(it) | Answer::ThreeDs(it) => (*it).clone(),
            other => panic!("not a transaction: {other}"),
        }
    }

    fn refusal(&mut self, command: &Command) -> String {
        match self.send(command, None).0.answer {
            Answer::Refused(message) => message,
            other => panic!("not refused: {other}"),
        }
    }

    fn status(&self, id: TransactionId) -> Status {
        self.ledger.get(id).unwrap().status(self.now)
    }

    fn printed(&self, reply: &Reply) -> String {
        let terminal = Terminal { public_id: "pk".to_owned(), fee: None, base_url: "http://sandbox".to_owned() };
        terminal.print(reply, self.ledger.secret())
    }
}

fn purpose(kopecks: i64, two_stage: bool) -> Purpose {
    Purpose {
        amount: Amount::from_kopecks(kopecks),
        currency: Currency::RUB,
        invoice_id: Some("invoice".to_owned()),
        account_id: Some("account".to_owned()),
        email: None,
        description: None,
        json_data: None,
        ip_address: None,
        culture: "ru-RU".to_owned(),
        two_stage,
    }
}

fn charge(number: &str, kopecks: i64, two_stage: bool) -> Command {
    let packet = Packet::parse(&cryptogram(number, "12/30", "123").unwrap()).unwrap();
    Command::ChargeCard(CardCharge {
        purpose: purpose(kopecks, two_stage),
        packet,
        holder_name: None,
        save_card: true,
        checked: None,
        order_id: None,
    })
}

fn charge_token(token: &Token, kopecks: i64) -> Command {
    Command::ChargeToken(TokenCharge {
        purpose: purpose(kopecks, false),
        token: token.clone(),
        initiator: Some(0),
        checked: None,
    })
}

fn confirm(id: TransactionId, kopecks: i64) -> Command {
    Command::Confirm { id, amount: Amount::from_kopecks(kopecks), json_data: None }
}

fn refund(id: TransactionId, kopecks: i64) -> Command {
    Command::Refund { id, amount: Amount::from_kopecks(kopecks), json_data: None }
}

#[test]
fn an_authorization_can_be_confirmed_for_seven_days_and_is_then_cancelled() {
    let mut books = Books::new();
    let [kept, forgotten] = [(); 2].map(|()| books.transaction(&charge(VISA, 5950, true)).id);
    books.now += TimeDelta::days(7) - TimeDelta::seconds(1);
    assert_eq!(books.send(&confirm(kept, 5000), None).0.answer.to_string(), "done");
    books.now += TimeDelta::seconds(1);
    assert_eq!(books.status(kept), Status::Completed);
    assert_eq!(books.status(forgotten), Status::Cancelled);
    assert_eq!(books.refusal(&confirm(forgotten, 5950)), "Transaction cannot be confirmed: it is Cancelled");
}

#[test]
fn nothing_is_refunded_after_a_year() {
    let mut books = Books::new();
    let id = books.transaction(&charge(VISA, 5950, false)).id;
    books.now += TimeDelta::days(365);
    assert_eq!(books.send(&refund(id, 100), None).0.answer.to_string(), "refund 1001");
    books.now += TimeDelta::seconds(1);
    assert_eq!(books.refusal(&refund(id, 100)), "Transaction cannot be refunded: it is older than a year");
}

#[test]
fn a_refund_cannot_be_refunded() {
    let mut books = Books::new();
    let id = books.transaction(&charge(VISA, 5950, false)).id;
    books.send(&refund(id, 5950), None);
    assert_eq!(books.refusal(&refund(TransactionId(id.0 + 1), 5950)), "Transaction not found");
}

#[test]
fn a_card_has_one_token_for_an_account() {
    let mut books = Books::new();
    let first = books.transaction(&charge(VISA, 100, false)).token.unwrap();
    let second = books.transaction(&charge(VISA, 200, false)).token.unwrap();
    let other_card = books.transaction(&charge(VISA_ONCE, 200, false)).token.unwrap();
    assert_eq!(first.0, second.0);
    assert_ne!(first.0, other_card.0);
}

#[test]
fn a_token_outlives_its_card_only_in_vain() {
    let mut books = Books::new();
    let token = books.transaction(&charge(VISA, 100, false)).token.unwrap();
    books.now = "2031-01-01T00:00:00Z".parse().unwrap();
    assert_eq!(books.transaction(&charge_token(&token, 100)).reason.unwrap().code(), 5054);
}

#[test]
fn what_was_refused_may_be_tried_again_with_the_same_request_id() {
    let mut books = Books::new();
    let id = books.transaction(&charge(VISA, 5950, true)).id;
    let request_id = RequestId("refund-1".to_owned());
    let (reply, _) = books.send(&refund(id, 5950), Some(&request_id));
    assert_eq!(reply.answer.to_string(), "refused: Transaction cannot be refunded: it is Authorized");
    books.send(&confirm(id, 5950), None);
    let (reply, processed) = books.send(&refund(id, 5950), Some(&request_id));
    assert!(processed && matches!(reply.answer, Answer::Refunded(_)));
}

#[test]
fn the_oldest_transactions_and_answers_make_room_for_new_ones() {
    let mut books = Books::with_capacity(3);
    let packet = charge(VISA, 100, false);
    let first = books.transaction(&packet).id;
    for n in 0..3 {
        books.send(&charge(VISA, 100, false), Some(&RequestId(n.to_string())));
    }
    assert!(books.ledger.get(first).is_none());
    assert_eq!(books.ledger.transactions().count(), 3);
    assert_eq!(books.ledger.by_invoice["invoice"].len(), 3);
    assert_eq!(books.ledger.used_packets.len(), 3);

    books.send(&charge(VISA, 100, false), Some(&RequestId("3".to_owned())));
    assert_eq!(books.ledger.replies.len(), 3);
    books.now += REPLY_LIFE;
    books.send(&charge(VISA, 100, false), Some(&RequestId("4".to_owned())));
    assert_eq!(books.ledger.replies.len(), 1, "past their hour");
}

/// One call of a merchant who does anything at any time, often with a request id used before.
#[derive(Clone, Debug)]
enum Step {
    ChargeCard { card: usize, kopecks: i64, two_stage: bool },
    ChargeToken { pick: usize, kopecks: i64 },
    PostThreeDs { pick: usize, pa_res_of: usize, confirmed: bool },
    Confirm { pick: usize, kopecks: i64 },
    Void { pick: usize },
    Refund { pick: usize, kopecks: i64 },
    Wait { minutes: i64 },
}

const CARDS: [&str; 4] = [VISA, VISA_3DS, VISA_ONCE, VISA_POOR];

fn step() -> impl Strategy<Value = Step> {
    let kopecks = 1..300i64;
    let pick = 0..8usize;
    prop_oneof![
        4 => (0..CARDS.len(), kopecks.clone(), any::<bool>())
            .prop_map(|(card, kopecks, two_stage)| Step::ChargeCard { card, kopecks, two_stage }),
        2 => (pick.clone(), kopecks.clone()).prop_map(|(pick, kopecks)| Step::ChargeToken { pick, kopecks }),
        2 => (pick.clone(), pick.clone(), any::<bool>())
            .prop_map(|(pick, pa_res_of, confirmed)| Step::PostThreeDs { pick, pa_res_of, confirmed }),
        2 => (pick.clone(), kopecks.clone()).prop_map(|(pick, kopecks)| Step::Confirm { pick, kopecks }),
        1 => pick.clone().prop_map(|pick| Step::Void { pick }),
        6 => (pick, kopecks).prop_map(|(pick, kopecks)| Step::Refund { pick, kopecks }),
        2 => prop_oneof![1..50i64, Just(7 * 24 * 60)].prop_map(|minutes| Step::Wait { minutes }),
    ]
}

impl Step {
    fn command(&self, books: &Books) -> Option<Command> {
        let payments: Vec<_> =
            books.ledger.transactions().filter(|it| it.kind == Kind::Payment).map(|it| it.id).collect();
        let payment = |pick: usize| Some(*payments.get(pick % payments.len().max(1))?);
        let amount = Amount::from_kopecks;
        Some(match *self {
            Self::ChargeCard { card, kopecks, two_stage } => charge(CARDS[card], kopecks, two_stage),
            Self::ChargeToken { pick, kopecks } => {
                let token = books.ledger.issued.get(pick).cloned().unwrap_or_else(|| Token("of another".to_owned()));
                charge_token(&token, kopecks)
            }
            Self::PostThreeDs { pick, pa_res_of, confirmed } => {
                let answer = if confirmed { PayerAnswer::Confirmed } else { PayerAnswer::Rejected };
                let pa_res = books.ledger.secret().pa_res(payment(pa_res_of)?, answer);
                Command::PostThreeDs { id: payment(pick)?, pa_res: PaRes(pa_res) }
            }
            Self::Confirm { pick, kopecks } => {
                Command::Confirm { id: payment(pick)?, amount: amount(kopecks), json_data: None }
            }
            Self::Void { pick } => Command::Void { id: payment(pick)? },
            Self::Refund { pick, kopecks } => {
                Command::Refund { id: payment(pick)?, amount: amount(kopecks), json_data: None }
            }
            Self::Wait { .. } => return None,
        })
    }
}

/// Did money move (or was it reserved) for this answer?
fn is_success(answer: &Answer) -> bool {
    match answer {
        Answer::Transaction(it) => matches!(it.recorded_status, Status::Completed | Status::Authorized),
        Answer::Refunded(_) | Answer::Done => true,
        _ => false,
    }
}

fn may_become(before: Status, after: Status) -> bool {
    use Status::{Authorized, AwaitingAuthentication, Cancelled, Completed, Declined};
    before == after
        || matches!(
            (before, after),
            (AwaitingAuthentication, Authorized | Completed | Declined) | (Authorized, Completed | Cancelled)
        )
}

proptest! {
    /// Whatever a merchant does: one success per request id and hour, with one and the same answer; never more given back
    /// than was taken; no transaction leaves a final status; and the written changes are the whole truth.
    #[test]
    fn the_books_stay_right(steps in proptest::collection::vec((step(), proptest::option::of(0..5u8)), 1..80)) {
        let mut books = Books::new();
        let mut answered: HashMap<RequestId, (DateTime<Utc>, String)> = HashMap::new();
        let mut succeeded: HashMap<RequestId, DateTime<Utc>> = HashMap::new();
        let mut statuses: HashMap<TransactionId, Status> = HashMap::new();

        for (step, request_id) in steps {
            if let Step::Wait { minutes } = step {
                books.now += TimeDelta::minutes(minutes);
            }
            let Some(command) = step.command(&books) else { continue };
            let request_id = request_id.map(|id| RequestId(id.to_string()));
            let (reply, processed) = books.send(&command, request_id.as_ref());

            if let Some(id) = request_id {
                let printed = books.printed(&reply);
                if !processed {
                    let (at, first) = &answered[&id];
                    prop_assert!(books.now < *at + REPLY_LIFE);
                    prop_assert_eq!(&printed, first);
                } else if is_success(&reply.answer) {
                    let before = succeeded.insert(id.clone(), books.now);
                    prop_assert!(before.is_none_or(|at| books.now >= at + REPLY_LIFE), "two successes for {:?}", id);
                }
                if processed {
                    answered.insert(id, (books.now, printed));
                }
            }

            for transaction in books.ledger.transactions() {
                let status = transaction.status(books.now);
                let before = statuses.insert(transaction.id, status).unwrap_or(status);
                prop_assert!(may_become(before, status), "{:?} became {:?}", before, status);
                let given_back = books.ledger.transactions()
                    .filter(|it| it.original_id == Some(transaction.id))
                    .fold(Amount::ZERO, |sum, it| sum.plus(it.purpose.amount));
                prop_assert_eq!(given_back, transaction.refunded);
                prop_assert!(given_back <= transaction.purpose.amount);
                prop_assert!(given_back == Amount::ZERO || status == Status::Completed);
            }
        }

        let mut replayed = Ledger::new(secret(), 1, 10_000, Site::default());
        for change in &books.written {
            let line = serde_json::to_string(change).unwrap();
            replayed.apply(serde_json::from_str(&line).unwrap());
        }
        let of = |ledger: &Ledger| ledger.transactions().cloned().collect::<Vec<_>>();
        prop_assert_eq!(of(&replayed), of(&books.ledger));
        prop_assert_eq!(&replayed.issued, &books.ledger.issued);
        prop_assert_eq!(&replayed.used_packets, &books.ledger.used_packets);
        for id in answered.keys() {
            let [was, is] = [&books.ledger, &replayed].map(|ledger| ledger.replay(id, books.now));
            prop_assert_eq!(was.map(|reply| books.printed(&reply)), is.map(|reply| books.printed(&reply)));
        }
    }
}

#[test]
fn a_verdict_about_a_forgotten_transaction_is_still_an_answer() {
    let ledger = Ledger::new(secret(), 1, 10, Site::default());
    assert_eq!(ledger.answer(Verdict::Transaction(TransactionId(1))).to_string(), "refused: Transaction not found");
}

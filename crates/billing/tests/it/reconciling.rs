//! What the gateway lists beside our rows: each difference once, in its day, with a life.

use std::collections::BTreeSet;

use billing::payment::PaymentState;
use billing::payment::identity::Terminal;
use billing::reconciliation::{
    DifferenceKind as Kind, DifferenceState as State, Listed, ListedChargeback, ListedOperation as Operation, Phase,
    Range, RunKind,
};
use billing::store::payments::{NewPayment, PaymentView};
use billing::store::reconciliation::{self as store, DecideError, Decision, Difference, Filter, Run};
use billing::{AccountId, clock};
use chrono::{DateTime, TimeDelta, Utc};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use crate::shop::{Shop, purchase, refused, took, unknown};
use crate::support::{at, hours, minutes, noon};

/// A payment of ours as the gateway has it.
pub(crate) fn listed(payment: &PaymentView, transaction_id: i64) -> Listed {
    let ours = payment.identity(Terminal::Test);
    Listed {
        transaction_id,
        created_at: noon(),
        operation: Operation::Payment,
        status: Some("Completed"),
        amount: Some(ours.amount.get()),
        currency: Some(ours.currency.to_string()),
        invoice_id: Some(ours.invoice_no.to_string()),
        account_id: Some(ours.account_id.to_string()),
        payment_id: Some(payment.id),
        bill_id: Some(payment.bill_id),
        original_id: None,
        refunded: None,
        test_mode: Some(true),
        on_our_terminal: true,
        payout_on: None,
        payout_amount: None,
    }
}

/// Of nobody here.
pub(crate) fn stray(transaction_id: i64) -> Listed {
    Listed {
        transaction_id,
        created_at: noon(),
        operation: Operation::Payment,
        status: Some("Completed"),
        amount: Some(39_900),
        currency: Some("RUB".to_owned()),
        invoice_id: Some("another-system".to_owned()),
        account_id: Some("somebody".to_owned()),
        payment_id: None,
        bill_id: None,
        original_id: None,
        refunded: None,
        test_mode: Some(true),
        on_our_terminal: true,
        payout_on: None,
        payout_amount: None,
    }
}

fn around_noon() -> Range {
    Range { from: noon() - hours(12), to: noon() + hours(12) }
}

impl Shop {
    pub(crate) async fn has_paid(&self, transaction_id: i64) -> PaymentView {
        let payment = self.created().await;
        self.charge(payment.id, took(&payment, transaction_id), noon()).await.payment
    }

    /// A run over a list that has come to rest, up to what is put right.
    async fn compared(&self, range: Range, list: &[Listed], claims: &[ListedChargeback], now: DateTime<Utc>) -> Run {
        let mut conn = self.conn().await;
        let mut run = store::ask(&mut conn, RunKind::Asked, range, "anna", now).await.unwrap();
        run = store::claim(&mut conn, run.id, now, now).await.unwrap().unwrap();
        while run.phase == Phase::Listing {
            for page in list.chunks(3) {
                run = store::keep_page(&mut conn, &run, page, now, now).await.unwrap().unwrap();
            }
            run = store::end_reading(&mut conn, &run).await.unwrap().unwrap();
        }
        assert_eq!(run.is_stable, Some(true));
        if !claims.is_empty() {
            run = store::keep_chargebacks(&mut conn, &run, claims, now, now).await.unwrap().unwrap();
        }
        run = store::keep_chargebacks(&mut conn, &run, &[], now, now).await.unwrap().unwrap();
        while run.phase != Phase::Settling {
            run = store::compare(&mut conn, &run, 2, now, now).await.unwrap().run.unwrap();
        }
        run
    }

    /// Likewise, to its end, with nothing put right.
    pub(crate) async fn reconciled(&self, range: Range, list: &[Listed], now: DateTime<Utc>) -> Run {
        let run = self.compared(range, list, &[], now).await;
        store::end(&mut *self.conn().await, &run, now).await.unwrap()
    }

    pub(crate) async fn differences(&self, filter: Filter) -> Vec<Difference> {
        store::list(&mut *self.conn().await, filter, 1_000).await.unwrap()
    }
}

fn told(differences: &[Difference]) -> BTreeSet<(Kind, String)> {
    differences.iter().map(|found| (found.kind, found.subject.clone())).collect()
}

/// C33.
#[tokio::test(flavor = "multi_thread")]
async fn five_things_that_do_not_agree_are_five_rows_however_often_they_are_compared() {
    let shop = Shop::open().await;
    let (agrees, cheaper, twice, gone) =
        (shop.has_paid(1).await, shop.has_paid(2).await, shop.has_paid(3).await, shop.has_paid(4).await);
    let list = [
        listed(&agrees, 1),
        Listed { amount: Some(39_898), ..listed(&cheaper, 2) },
        listed(&twice, 3),
        Listed { created_at: noon() + minutes(1), ..listed(&twice, 33) },
        stray(5),
        Listed { operation: Operation::Refund, original_id: Some(1), ..listed(&agrees, 6) },
    ];
    for n in 0..3 {
        let run = shop.reconciled(around_noon(), &list, noon() + hours(13 + n)).await;
        assert_eq!((run.transactions, run.payments, run.found), (6, 4, 5));
    }
    let found = shop.differences(Filter::default()).await;
    let expected = [
        (Kind::MissingHere, "transaction:5".to_owned()),
        (Kind::MissingThere, format!("payment:{}", gone.id)),
        (Kind::Amount, "transaction:2".to_owned()),
        (Kind::Duplicate, "transaction:33".to_owned()),
        (Kind::RefundMissingHere, "transaction:6".to_owned()),
    ];
    assert_eq!(told(&found), expected.into());
    assert_eq!(found.len(), 5, "each once");
    assert!(found.iter().all(|found| found.state == State::Open));
    let amount = found.iter().find(|found| found.kind == Kind::Amount).unwrap();
    let amounts = (amount.our_amount.unwrap().get(), amount.their_amount.unwrap().get());
    assert_eq!((amounts, amount.payment_id), ((39_900, 39_898), Some(cheaper.id)));
    let alarms = "event where kind = 'needs_attention' and detail ? 'difference_id'";
    assert_eq!(shop.count(alarms).await, 5, "each is told once");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_made_at_midnight_is_of_the_day_that_begins() {
    let shop = Shop::open().await;
    let last = Listed { created_at: at("2026-03-09T23:59:59+03:00"), ..stray(1) };
    let first = Listed { created_at: at("2026-03-10T00:00:00+03:00"), ..stray(2) };
    let list = [last, first];
    for (day, subject) in [("2026-03-09", "transaction:1"), ("2026-03-10", "transaction:2")] {
        let run = shop.reconciled(Range::of_day(day.parse().unwrap()), &list, noon() + hours(48)).await;
        let found = shop.differences(Filter { run: Some(run.id), ..Filter::default() }).await;
        assert_eq!(told(&found), [(Kind::MissingHere, subject.to_owned())].into(), "{day}");
    }
    // A payment that we sent in the last second of a day, and the gateway made in the first of the next, agrees on both.
    let sent_at = at("2026-03-11T23:59:59+03:00");
    let payment = shop.create(NewPayment { now: sent_at, ..purchase(shop.account().await) }).await.unwrap().payment;
    shop.charge(payment.id, took(&payment, 3), sent_at).await;
    let list = [Listed { created_at: at("2026-03-12T00:00:01+03:00"), ..listed(&payment, 3) }];
    for day in ["2026-03-11", "2026-03-12"] {
        let run = shop.reconciled(Range::of_day(day.parse().unwrap()), &list, noon() + hours(96)).await;
        assert_eq!(run.found, 0, "{day}");
    }
}

/// C38: the number is ours, the money is not.
#[tokio::test(flavor = "multi_thread")]
async fn an_invoice_number_of_ours_with_another_account_or_payment_is_no_payment_of_ours() {
    let shop = Shop::open().await;
    let (one, other) = (shop.created().await, shop.created().await);
    let of_another = Some(AccountId::new().to_string());
    let list = [
        Listed { account_id: of_another, payment_id: None, ..listed(&one, 1) },
        Listed { payment_id: Some(one.id), ..listed(&other, 2) },
    ];
    shop.reconciled(around_noon(), &list, noon()).await;
    let expected = [(Kind::MissingHere, "transaction:1".to_owned()), (Kind::MissingHere, "transaction:2".to_owned())];
    let found = shop.differences(Filter::default()).await;
    assert_eq!(told(&found), expected.into());
    assert!(found.iter().all(|found| found.payment_id.is_none()));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_person_has_decided_stays_decided_unless_it_is_other_money_by_then() {
    let shop = Shop::open().await;
    shop.reconciled(around_noon(), &[stray(1)], noon()).await;
    let id = shop.differences(Filter::default()).await[0].id;
    let decide = async |state, by: &str, reason: &str| {
        let decision = Decision { state, by: by.to_owned(), reason: reason.to_owned() };
        store::decide(&mut *shop.conn().await, id, decision, noon()).await
    };
    assert!(matches!(decide(State::Explained, "anna", "  ").await, Err(DecideError::Reason)));
    assert!(matches!(decide(State::Explained, "", "why").await, Err(DecideError::By)));
    assert!(matches!(decide(State::Open, "anna", "why").await, Err(DecideError::NoChange)));
    let decided = decide(State::Explained, "anna", "the shop for gifts").await.unwrap();
    assert_eq!((decided.decided_by.as_deref(), decided.reason.as_deref()), (Some("anna"), Some("the shop for gifts")));
    assert!(matches!(decide(State::Explained, "boris", "the shop for gifts").await, Err(DecideError::NoChange)));
    let decision = "event where kind = 'difference_decided' and to_state = 'explained' and detail ->> 'by' = 'anna'";
    assert_eq!(shop.count(decision).await, 1);

    shop.reconciled(around_noon(), &[stray(1)], noon() + hours(1)).await;
    assert_eq!(shop.differences(Filter::default()).await[0].state, State::Explained);
    shop.reconciled(around_noon(), &[Listed { amount: Some(1), ..stray(1) }], noon() + hours(2)).await;
    let again = &shop.differences(Filter::default()).await[0];
    assert_eq!((again.id, again.state, again.decided_by.clone()), (id, State::Open, None));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_agrees_by_now_is_closed_by_the_run_that_sees_it_no_more() {
    let shop = Shop::open().await;
    let payment = shop.has_paid(1).await;
    shop.reconciled(around_noon(), &[], noon()).await;
    let found = shop.differences(Filter::default()).await;
    assert_eq!(told(&found), [(Kind::MissingThere, format!("payment:{}", payment.id))].into());
    // A run of another day says nothing about it.
    let elsewhere = Range { from: noon() + hours(20), to: noon() + hours(40) };
    shop.reconciled(elsewhere, &[listed(&payment, 1)], noon() + minutes(1)).await;
    assert_eq!(shop.differences(Filter::default()).await[0].state, State::Open);

    shop.reconciled(around_noon(), &[listed(&payment, 1)], noon() + minutes(2)).await;
    let closed = &shop.differences(Filter::default()).await[0];
    assert_eq!((closed.state, closed.decided_by.as_deref()), (State::Resolved, Some(store::RECONCILIATION)));
    let open = Filter { state: Some(State::Open), ..Filter::default() };
    assert_eq!(shop.differences(open).await, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chargeback_is_a_row_of_its_own() {
    let shop = Shop::open().await;
    let payment = shop.has_paid(1).await;
    let claim = |id: &str, transaction_id| ListedChargeback {
        chargeback_id: id.to_owned(),
        transaction_id,
        amount: Some(39_900),
        currency: Some("RUB".to_owned()),
        kind: Some("Chargeback".to_owned()),
        operation: None,
        at: noon() + hours(1),
    };
    for _ in 0..2 {
        shop.compared(around_noon(), &[listed(&payment, 1)], &[claim("a", 1), claim("b", 7)], noon()).await;
    }
    let found = shop.differences(Filter::default()).await;
    let expected = [(Kind::Chargeback, "chargeback:a".to_owned()), (Kind::Chargeback, "chargeback:b".to_owned())];
    assert_eq!(told(&found), expected.into());
    let of_ours = found.iter().find(|found| found.subject == "chargeback:a").unwrap();
    assert_eq!(of_ours.payment_id, Some(payment.id));
}

/// Pages are no snapshot: a list is read again until a whole reading has taught nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_list_is_read_until_it_rests_and_goes_on_where_a_dead_worker_has_left_it() {
    let shop = Shop::open().await;
    let mut conn = shop.conn().await;
    let run = store::ask(&mut conn, RunKind::Asked, around_noon(), "anna", noon()).await.unwrap();
    let claimed = store::claim(&mut conn, run.id, noon() + minutes(5), noon()).await.unwrap().unwrap();
    assert_eq!(store::claim(&mut conn, run.id, noon() + minutes(5), noon()).await.unwrap(), None, "it is leased");
    assert_eq!(store::due(&mut conn, noon()).await.unwrap(), None);
    let until = noon() + minutes(5);
    let one = store::keep_page(&mut conn, &claimed, &[stray(1), stray(2)], until, noon()).await.unwrap().unwrap();
    assert_eq!(store::keep_page(&mut conn, &claimed, &[stray(1)], until, noon()).await.unwrap(), None, "kept once");
    assert_eq!((one.next_page, one.taught), (2, true));

    // Its worker dies; another goes on with the page after it.
    assert_eq!(store::due(&mut conn, until).await.unwrap(), Some(run.id));
    let taken = store::claim(&mut conn, run.id, until, until).await.unwrap().unwrap();
    assert_eq!((taken.next_page, taken.reading), (2, 1));
    let second = store::end_reading(&mut conn, &taken).await.unwrap().unwrap();
    assert_eq!((second.phase, second.reading, second.next_page), (Phase::Listing, 2, 1));
    // Between the readings one was made, and another has changed.
    let moved = [Listed { status: Some("Cancelled"), ..stray(1) }, stray(2), stray(3)];
    let second = store::keep_page(&mut conn, &second, &moved, until, until).await.unwrap().unwrap();
    let third = store::end_reading(&mut conn, &second).await.unwrap().unwrap();
    assert_eq!((third.phase, third.reading), (Phase::Listing, 3));
    let third = store::keep_page(&mut conn, &third, &moved, until, until).await.unwrap().unwrap();
    let rested = store::end_reading(&mut conn, &third).await.unwrap().unwrap();
    assert_eq!((rested.phase, rested.is_stable), (Phase::Chargebacks, Some(true)));
    assert_eq!(shop.count("gateway_transaction").await, 3);

    // One that never rests is compared as it is, after so many readings.
    let mut restless = store::ask(&mut conn, RunKind::Asked, around_noon(), "anna", until).await.unwrap();
    while restless.phase == Phase::Listing {
        let page = [stray(100 + i64::from(restless.reading))];
        restless = store::keep_page(&mut conn, &restless, &page, until, until).await.unwrap().unwrap();
        restless = store::end_reading(&mut conn, &restless).await.unwrap().unwrap();
    }
    assert_eq!((restless.reading, restless.is_stable), (store::MAX_READINGS, Some(false)));
}

#[tokio::test(flavor = "multi_thread")]
async fn each_of_the_last_eight_closed_days_has_a_run_a_day_and_a_day_without_one_is_shown_as_not_run() {
    let shop = Shop::open().await;
    let mut conn = shop.conn().await;
    assert_eq!(store::open_daily(&mut conn, noon()).await.unwrap(), 8);
    assert_eq!(store::open_daily(&mut conn, noon() + hours(5)).await.unwrap(), 0, "once a day");
    assert_eq!(store::open_daily(&mut conn, noon() + hours(24)).await.unwrap(), 8);
    drop(conn);
    let days = async || {
        let (first, last) = ("2026-03-08".parse().unwrap(), "2026-03-09".parse().unwrap());
        let days = store::days(&mut *shop.conn().await, first, last).await.unwrap();
        days.into_iter().map(|day| (day.run.is_some(), day.open)).collect::<Vec<_>>()
    };
    assert_eq!(days().await, [(false, 0), (false, 0)]);
    // A run that was begun while the day went on has not seen all of it.
    let second = Range::of_day("2026-03-09".parse().unwrap());
    let list = [Listed { created_at: second.from, ..stray(1) }];
    shop.reconciled(second, &list, second.to - minutes(1)).await;
    assert_eq!(days().await, [(false, 0), (false, 1)]);
    shop.reconciled(second, &list, second.to + minutes(80)).await;
    assert_eq!(days().await, [(false, 0), (true, 1)]);
}

#[derive(Debug, Clone, Copy)]
enum Fate {
    Created,
    Sending,
    Unknown,
    Declined,
    Paid,
    Held,
}

/// How the gateway has it.
#[derive(Debug, Clone, Copy)]
enum Theirs {
    Nothing,
    Same(&'static str),
    OtherAmount,
    OtherCurrency,
    OtherNumber(&'static str),
    Twice,
    TwiceAndBack,
    OtherAccount,
    InTestMode,
}

fn fate() -> impl Strategy<Value = Fate> {
    use Fate as F;
    prop::sample::select(vec![F::Created, F::Sending, F::Unknown, F::Declined, F::Paid, F::Paid, F::Paid, F::Held])
}

fn theirs() -> impl Strategy<Value = Theirs> {
    use Theirs as T;
    prop::sample::select(vec![
        T::Nothing,
        T::Same("Completed"),
        T::Same("Completed"),
        T::Same("Authorized"),
        T::Same("Declined"),
        T::Same("Cancelled"),
        T::OtherAmount,
        T::OtherCurrency,
        T::OtherNumber("Completed"),
        T::OtherNumber("Declined"),
        T::Twice,
        T::TwiceAndBack,
        T::OtherAccount,
        T::InTestMode,
    ])
}

/// Our row, as far as it is compared.
struct Ours {
    view: PaymentView,
    invoice_id: String,
    sent: bool,
}

/// What the SQL says, said again: every pair is looked at.
fn naive(ours: &[Ours], theirs: &[Listed]) -> BTreeSet<(Kind, String)> {
    let succeeded = |state| matches!(state, PaymentState::Succeeded | PaymentState::SucceededDuplicate);
    let counted: Vec<&Listed> = theirs.iter().filter(|it| it.on_our_terminal).collect();
    let mut found = BTreeSet::new();
    for it in &counted {
        let is_money = matches!(it.status, Some("Completed" | "Authorized"));
        let by_number = ours.iter().find(|row| row.view.transaction_id == Some(it.transaction_id));
        let by_invoice = ours.iter().find(|row| {
            Some(&row.invoice_id) == it.invoice_id.as_ref()
                && Some(row.view.account_id.to_string()) == it.account_id
                && it.payment_id.is_none_or(|id| id == row.view.id)
        });
        let row = by_number.or(by_invoice);
        let same: Vec<i64> = counted
            .iter()
            .filter(|o| o.invoice_id == it.invoice_id && o.account_id == it.account_id && o.status == Some("Completed"))
            .map(|o| o.transaction_id)
            .collect();
        let named = by_invoice.and_then(|row| row.view.transaction_id);
        let first = match named {
            Some(named) if by_invoice.is_some_and(|row| succeeded(row.view.state)) || same.contains(&named) => {
                Some(named)
            }
            _ => same.iter().min().copied(),
        };
        let numbered = it.invoice_id.as_ref().is_some_and(|id| id.parse::<i64>().is_ok());
        let is_extra = it.status == Some("Completed")
            && numbered
            && it.refunded != Some(true)
            && first.is_some_and(|first| first != it.transaction_id);
        let mut tell = |kind| {
            found.insert((kind, format!("transaction:{}", it.transaction_id)));
        };
        match row {
            _ if is_extra => tell(Kind::Duplicate),
            None if is_money => tell(Kind::MissingHere),
            None => {}
            Some(row) => {
                if is_money && it.amount != Some(row.view.amount.get()) {
                    tell(Kind::Amount);
                }
                if is_money && it.currency != Some(row.view.currency.to_string()) {
                    tell(Kind::Currency);
                }
                let state = row.view.state;
                let disagrees = match it.status {
                    Some("Completed") => !succeeded(state),
                    Some("Authorized") => state != PaymentState::Authorized,
                    _ => by_number.is_some() && (succeeded(state) || state == PaymentState::Authorized),
                };
                if disagrees {
                    tell(Kind::Status);
                }
            }
        }
    }
    for row in ours.iter().filter(|row| row.sent) {
        let says_so = succeeded(row.view.state) || row.view.state == PaymentState::Authorized;
        let Some(number) = row.view.transaction_id.filter(|_| says_so) else { continue };
        if !theirs.iter().any(|it| it.transaction_id == number) {
            found.insert((Kind::MissingThere, format!("payment:{}", row.view.id)));
        }
    }
    found
}

async fn happens(shop: &Shop, fate: Fate, number: i64) -> Ours {
    let payment = shop.created().await;
    let held = || billing::payment::Outcome::Authorized {
        transaction_id: number,
        token: None,
        amount: payment.amount,
        currency: payment.currency,
        card: None,
    };
    match fate {
        Fate::Created => {}
        Fate::Sending => drop(shop.send(payment.id, noon()).await),
        Fate::Unknown => drop(shop.charge(payment.id, unknown(noon()), noon()).await),
        Fate::Declined => drop(shop.charge(payment.id, refused(5051), noon()).await),
        Fate::Paid => drop(shop.charge(payment.id, took(&payment, number), noon()).await),
        Fate::Held => drop(shop.charge(payment.id, held(), noon()).await),
    }
    let view = shop.view(payment.id).await;
    let invoice_id = view.identity(Terminal::Test).invoice_no.to_string();
    Ours { view, invoice_id, sent: !matches!(fate, Fate::Created) }
}

fn at_the_gateway(ours: &Ours, how: Theirs, number: i64) -> Vec<Listed> {
    let same = listed(&ours.view, number);
    match how {
        Theirs::Nothing => Vec::new(),
        Theirs::Same(status) => vec![Listed { status: Some(status), ..same }],
        Theirs::OtherAmount => vec![Listed { amount: Some(7), ..same }],
        Theirs::OtherCurrency => vec![Listed { currency: Some("USD".to_owned()), ..same }],
        Theirs::OtherNumber(status) => vec![Listed { transaction_id: number + 1, status: Some(status), ..same }],
        Theirs::Twice => vec![Listed { transaction_id: number + 2, ..same.clone() }, same],
        Theirs::TwiceAndBack => {
            vec![Listed { transaction_id: number + 2, refunded: Some(true), ..same.clone() }, same]
        }
        Theirs::OtherAccount => vec![Listed { account_id: Some("somebody".to_owned()), ..same }],
        Theirs::InTestMode => vec![Listed { on_our_terminal: false, ..same }],
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sql_finds_what_comparing_every_pair_finds() {
    let shop = Shop::open().await;
    let handle = tokio::runtime::Handle::current();
    let (mut ours, mut theirs_all, mut number) = (Vec::new(), Vec::new(), 1_000_i64);
    let ran = tokio::task::spawn_blocking(move || {
        let mut runner = TestRunner::new(Config { cases: 12, failure_persistence: None, ..Config::default() });
        let state = std::cell::RefCell::new((&mut ours, &mut theirs_all, &mut number));
        runner.run(&prop::collection::vec((fate(), theirs()), 1..12), |cases| {
            let (ours, theirs_all, number) = &mut *state.borrow_mut();
            handle.block_on(async {
                for (fate, how) in cases {
                    **number += 10;
                    let row = happens(&shop, fate, **number).await;
                    theirs_all.extend(at_the_gateway(&row, how, **number));
                    ours.push(row);
                }
                let run = shop.compared(around_noon(), theirs_all, &[], noon()).await;
                let found = shop.differences(Filter { run: Some(run.id), ..Filter::default() }).await;
                prop_assert_eq!(told(&found), naive(ours, theirs_all));
                Ok(())
            })
        })
    });
    ran.await.unwrap().unwrap();
}

/// A run that is asked for is the one that is worked on next, before those of the timetable.
#[tokio::test(flavor = "multi_thread")]
async fn a_person_who_waits_comes_before_the_timetable() {
    let shop = Shop::open().await;
    let mut conn = shop.conn().await;
    let now = clock::now();
    store::open_daily(&mut conn, now).await.unwrap();
    let asked =
        store::ask(&mut conn, RunKind::Asked, around_noon(), "anna", now + TimeDelta::seconds(1)).await.unwrap();
    assert_eq!(store::due(&mut conn, now + minutes(1)).await.unwrap(), Some(asked.id));
}

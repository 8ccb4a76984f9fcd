//! The transition table of an attempt, cell by cell, and what each step writes down.

use billing::decline::DeclineGroup;
use billing::payment::{Instrument, Outcome, OutcomeKind, Payment, PaymentState};
use billing::{Currency, Kopecks};

use crate::support::sample::{KINDS, PRICE, TRANSACTION, completed, declined, outcome, payment, three_ds};
use crate::support::{minutes, noon};

/// One row a state, one letter an outcome: the state that follows, `=` for the same, `!` for what cannot have happened.
const TABLE: &str = "
                     Completed
                     | Refunded
                     | | Authorized
                     | | | ThreeDsRequired
                     | | | | Declined
                     | | | | | Rejected
                     | | | | | | OnlyTest
                     | | | | | | | Disputed
                     | | | | | | | | NotSent
                     | | | | | | | | | Unknown
                     | | | | | | | | | | NotFound
                     | | | | | | | | | | | AwaitingAuthentication
                     | | | | | | | | | | | | NeverAuthenticated
                     | | | | | | | | | | | | | Expired
                     | | | | | | | | | | | | | | NotExecuted
                     | | | | | | | | | | | | | | | FoundNowhere
                     | | | | | | | | | | | | | | | | Withdrawn
                     | | | | | | | | | | | | | | | | | Voided
created              S S A ! ! ! ! ! = ! ! ! ! ! ! ! N !
sending              S S A W D R R U C U ! ! ! ! ! ! ! !
awaiting_3ds         S S A = D = R U = = = = B B ! ! B V
posting_3ds          S S A = D R R U = U ! = ! = ! ! ! !
unknown              S S A W D = R = = = = = B ! N N ! V
authorized           S S = = = = = = = = = = = = = = = V
succeeded            = = = = = = = = = = = = = = = = = =
succeeded_duplicate  = = = = = = = = = = = = = = = = = =
declined             S X A = = = = = = = = = = = = = = =
rejected             S X A = = = = = = = = = = = = = = =
abandoned            S X A = = = = = = = = = = = = = = =
not_executed         S X A = = = = = = = = = = = = = = =
voided               S X A = = = = = = = = = = = = = = =
verified             S X = = = = = = = = = = = = = = = =
";

/// Where the end of a verification differs: money is never taken for it, and what is held is always let go.
#[test]
fn a_verification_takes_no_money_and_lets_go_what_is_held() {
    for state in PaymentState::ALL.iter().filter(|state| !state.is_success()) {
        let verifies = |owed| Payment { verifies: true, owed, ..payment(*state) };
        let taken = verifies(true).apply(completed(7), noon()).unwrap();
        assert_eq!(taken.state, PaymentState::SucceededDuplicate, "{state}: it goes back");
        let known_late = verifies(false).apply(outcome(OutcomeKind::Authorized), noon()).unwrap();
        let held = if *state == PaymentState::Verified { PaymentState::Verified } else { PaymentState::Authorized };
        assert_eq!(known_late.state, held, "{state}: however late it is known");
    }
    let held = Payment { verifies: true, ..payment(PaymentState::Authorized) };
    let released = held.apply(Outcome::Voided, noon()).unwrap();
    assert_eq!((released.state, released.finished_at), (PaymentState::Verified, Some(noon())));
    assert!(released.state.is_failure() && !released.state.is_success(), "no money was taken");
    let gone = Payment { verifies: true, ..payment(PaymentState::Unknown) }.apply(Outcome::Voided, noon()).unwrap();
    assert_eq!(gone.state, PaymentState::Voided, "nobody saw that it was good");
}

fn expected(cell: &str, from: PaymentState) -> Option<PaymentState> {
    Some(match cell {
        "=" => from,
        "S" => PaymentState::Succeeded,
        "X" => PaymentState::SucceededDuplicate,
        "A" => PaymentState::Authorized,
        "W" => PaymentState::AwaitingThreeDs,
        "D" => PaymentState::Declined,
        "R" => PaymentState::Rejected,
        "C" => PaymentState::Created,
        "U" => PaymentState::Unknown,
        "B" => PaymentState::Abandoned,
        "N" => PaymentState::NotExecuted,
        "V" => PaymentState::Voided,
        "!" => return None,
        other => panic!("no such cell: {other}"),
    })
}

#[test]
fn every_state_takes_every_outcome_as_the_table_says() {
    let rows: Vec<&str> = TABLE.lines().filter(|line| line.starts_with(|c: char| c.is_ascii_lowercase())).collect();
    assert_eq!(rows.len(), PaymentState::ALL.len());
    for (row, from) in rows.iter().zip(PaymentState::ALL) {
        let mut cells = row.split_whitespace();
        assert_eq!(cells.next(), Some(from.as_str()));
        for (cell, kind) in cells.by_ref().zip(KINDS) {
            let after = payment(*from).apply(outcome(kind), noon() + minutes(1));
            assert_eq!(after.map(|p| p.state).ok(), expected(cell, *from), "{from} takes {kind:?}");
        }
        assert_eq!(cells.next(), None);
    }
}

#[test]
fn what_cannot_have_happened_names_the_state_and_the_event() {
    let error = payment(PaymentState::Created).apply(declined(5051), noon()).unwrap_err();
    assert_eq!(error.to_string(), "an attempt that is created cannot take declined");
}

#[test]
fn money_nobody_owes_is_a_duplicate_whatever_the_attempt_was_believed_to_be() {
    for state in PaymentState::ALL.iter().filter(|state| !state.is_success()) {
        let after = Payment { owed: false, ..payment(*state) }.apply(completed(7), noon()).unwrap();
        assert_eq!((after.state, after.transaction_id), (PaymentState::SucceededDuplicate, Some(7)));
    }
}

#[test]
fn a_hold_nobody_wants_stays_dead() {
    let hold = outcome(OutcomeKind::Authorized);
    let after = Payment { owed: false, ..payment(PaymentState::Declined) }.apply(hold, noon()).unwrap();
    assert_eq!(after.state, PaymentState::Declined);
}

#[test]
fn another_amount_or_currency_waits_for_a_person() {
    for (amount, currency) in [(Kopecks::new(39_800), Currency::RUB), (PRICE, "USD".parse().unwrap())] {
        let other = Outcome::Completed { transaction_id: 7, token: None, amount, currency, card: None };
        let after = payment(PaymentState::Sending).apply(other.clone(), noon()).unwrap();
        assert_eq!((after.state, after.look_again_at), (PaymentState::Unknown, None));
        assert!(after.info.unwrap().contains("a person must decide"));
        let dead = payment(PaymentState::Declined).apply(other, noon()).unwrap();
        assert_eq!((dead.state, dead.transaction_id), (PaymentState::Declined, Some(7)));
    }
}

#[test]
fn a_repeated_request_that_was_not_executed_says_nothing_about_the_first() {
    let resent = payment(PaymentState::Unknown).begin_resend(noon() + minutes(7)).unwrap();
    assert_eq!((resent.state, resent.sends), (PaymentState::Sending, 2));
    for kind in [OutcomeKind::NotSent, OutcomeKind::Rejected] {
        let now = noon() + minutes(7);
        let after = resent.clone().apply(outcome(kind), now).unwrap();
        assert_eq!((after.state, after.look_again_at), (PaymentState::Unknown, Some(now + minutes(1))));
    }
    let posted = Payment { posts: 1, ..payment(PaymentState::Unknown) }.begin_resend(noon()).unwrap();
    assert_eq!((posted.state, posted.posts), (PaymentState::PostingThreeDs, 2));
    for kind in [OutcomeKind::NotSent, OutcomeKind::Rejected] {
        assert_eq!(posted.clone().apply(outcome(kind), noon()).unwrap().state, PaymentState::Unknown);
    }
}

#[test]
fn what_was_provably_not_processed_counts_as_never_sent() {
    let later = noon() + minutes(2);
    let put_off = Outcome::NotSent { why: "429".into(), retry_after: Some(later) };
    let after = payment(PaymentState::Sending).apply(put_off, noon()).unwrap();
    assert_eq!((after.state, after.sends, after.first_sent_at), (PaymentState::Created, 0, None));
    assert_eq!(after.look_again_at, Some(later));
    let sent = after.begin_sending(later).unwrap();
    assert_eq!((sent.sends, sent.first_sent_at, sent.look_again_at), (1, Some(later), None));

    let unposted = payment(PaymentState::PostingThreeDs).apply(outcome(OutcomeKind::NotSent), noon()).unwrap();
    assert_eq!((unposted.state, unposted.posts), (PaymentState::PostingThreeDs, 0));
    assert_eq!(unposted.begin_posting(noon()).unwrap().posts, 1);
}

#[test]
fn a_charge_without_the_customer_cannot_answer_the_bank() {
    let token = Payment { instrument: Instrument::Token, ..payment(PaymentState::Sending) };
    let after = token.apply(outcome(OutcomeKind::ThreeDsRequired), noon()).unwrap();
    assert_eq!((after.state, after.three_ds), (PaymentState::Abandoned, None));
}

#[test]
fn not_found_ends_an_attempt_only_when_it_was_absent_before() {
    let doubted = Payment { absent_at: None, ..payment(PaymentState::Unknown) };
    assert!(doubted.clone().apply(Outcome::NotExecuted, noon()).is_err());
    let absent = Outcome::NotFound { absent: true, look_again_at: noon() + minutes(10) };
    let once = doubted.apply(absent, noon()).unwrap();
    assert_eq!((once.state, once.absent_at), (PaymentState::Unknown, Some(noon())));
    assert!(once.clone().apply(Outcome::NotExecuted, noon()).is_err(), "the same look is no second one");
    let twice = once.clone().apply(Outcome::NotExecuted, noon() + minutes(10)).unwrap();
    assert_eq!(twice.state, PaymentState::NotExecuted);
    let seen = once.apply(outcome(OutcomeKind::AwaitingAuthentication), noon()).unwrap();
    assert_eq!(seen.absent_at, None, "what was seen again is not absent");
}

#[test]
fn each_step_is_taken_once() {
    let created = payment(PaymentState::Created);
    let sending = created.begin_sending(noon()).unwrap();
    assert!(sending.clone().begin_sending(noon()).is_err());
    assert!(sending.begin_resend(noon()).is_err());

    let awaiting = payment(PaymentState::AwaitingThreeDs);
    assert!(awaiting.clone().begin_posting(noon()).is_err());
    let answered = awaiting.answer_three_ds().unwrap();
    assert!(answered.clone().answer_three_ds().is_err());
    let posting = answered.begin_posting(noon()).unwrap();
    assert!(posting.begin_posting(noon()).is_err());
}

#[test]
fn the_times_of_resolving_count_from_the_request_in_question() {
    let later = noon() + minutes(20);
    let posting = payment(PaymentState::AwaitingThreeDs).answer_three_ds().unwrap().begin_posting(later).unwrap();
    assert_eq!((posting.first_sent_at, posting.last_sent_at), (Some(later), Some(later)));
    let doubted = posting.apply(outcome(OutcomeKind::Unknown), later).unwrap();
    let again = doubted.begin_resend(later + minutes(7)).unwrap();
    assert_eq!((again.first_sent_at, again.last_sent_at), (Some(later), Some(later + minutes(7))));
}

#[test]
fn a_decline_keeps_the_gateways_words_and_a_limit_on_them() {
    let long = "я".repeat(5_000) + "\0";
    let after = payment(PaymentState::Sending)
        .apply(
            Outcome::Declined {
                transaction_id: Some(TRANSACTION),
                code: 5051,
                reason: "Insufficient\0Funds".into(),
                cardholder_message: long,
                retry_after: Some(noon()),
            },
            noon(),
        )
        .unwrap();
    let decline = after.decline.unwrap();
    assert_eq!((decline.code, decline.group), (5051, DeclineGroup::Soft));
    assert_eq!((decline.reason.as_str(), decline.message.chars().count()), ("InsufficientFunds", 1_000));
    assert_eq!(decline.retry_after, Some(noon()));
}

#[test]
fn secrets_are_kept_only_while_a_request_may_still_need_them() {
    let needs = |p: Payment| (p.needs_cryptogram(), p.needs_pa_res());
    let expected = |state| match state {
        PaymentState::Created | PaymentState::Sending | PaymentState::Unknown => (true, false),
        PaymentState::PostingThreeDs => (false, true),
        _ => (false, false),
    };
    for state in PaymentState::ALL {
        assert_eq!(needs(payment(*state)), expected(*state), "{state}");
    }
    assert_eq!(needs(Payment { posts: 1, ..payment(PaymentState::Unknown) }), (false, true));
    let token = Payment { instrument: Instrument::Token, ..payment(PaymentState::Sending) };
    assert_eq!(needs(token), (false, false));
}

#[test]
fn the_end_leaves_nothing_to_wait_for() {
    for kind in [OutcomeKind::Completed, OutcomeKind::Declined, OutcomeKind::Expired] {
        let after = payment(PaymentState::AwaitingThreeDs).apply(outcome(kind), noon()).unwrap();
        assert_eq!((after.three_ds, after.look_again_at, after.finished_at), (None, None, Some(noon())));
    }
    let asked = payment(PaymentState::Sending).apply(outcome(OutcomeKind::ThreeDsRequired), noon()).unwrap();
    assert_eq!((asked.three_ds, asked.finished_at), (Some(three_ds()), None));
}

#[test]
fn money_taken_twice_for_one_attempt_is_noticed() {
    let paid = payment(PaymentState::Succeeded);
    assert_eq!(paid.second_transaction(&completed(TRANSACTION)), None);
    let second = paid.second_transaction(&completed(TRANSACTION + 1)).unwrap();
    assert_eq!((second.transaction_id, second.amount, second.currency), (TRANSACTION + 1, PRICE, Currency::RUB));
    assert_eq!(payment(PaymentState::Sending).second_transaction(&completed(7)), None);
}

#[test]
fn what_the_gateway_says_of_the_ends_of_time_is_not_taken_for_a_date() {
    for (told, kept) in [
        ("-200000-01-01T00:00:00Z", false),
        ("1899-12-31T23:59:59Z", false),
        ("1900-01-01T00:00:00Z", true),
        ("9999-12-31T23:59:59Z", true),
        ("+10000-01-01T00:00:00Z", false),
        ("+262000-01-01T00:00:00Z", false),
    ] {
        let told = told.parse().unwrap();
        let Outcome::Declined { transaction_id, code, reason, cardholder_message, .. } = declined(5051) else {
            panic!("no decline")
        };
        let refused = Outcome::Declined { transaction_id, code, reason, cardholder_message, retry_after: Some(told) };
        let after = payment(PaymentState::Sending).apply(refused, noon()).unwrap();
        assert_eq!(after.decline.unwrap().retry_after, kept.then_some(told));
        let put_off = Outcome::NotSent { why: "429".into(), retry_after: Some(told) };
        let after = payment(PaymentState::Sending).apply(put_off, noon()).unwrap();
        assert_eq!(after.look_again_at, kept.then_some(told));
    }
}

#[test]
fn what_was_given_back_in_part_is_paid_and_in_whole_is_not_taken_for_a_debt() {
    let back = |whole| Outcome::Refunded {
        transaction_id: 7,
        token: None,
        amount: PRICE,
        currency: Currency::RUB,
        card: None,
        whole,
    };
    for whole in [true, false] {
        let after = payment(PaymentState::Unknown).apply(back(whole), noon()).unwrap();
        assert_eq!((after.state, after.transaction_id), (PaymentState::Succeeded, Some(7)));
        assert!(after.info.unwrap().contains("given back"));
    }
    let dead = payment(PaymentState::Declined);
    assert_eq!(dead.clone().apply(back(true), noon()).unwrap().state, PaymentState::SucceededDuplicate);
    assert_eq!(dead.apply(back(false), noon()).unwrap().state, PaymentState::Succeeded);
}

#[test]
fn an_answer_of_the_page_that_was_never_passed_on_can_be_given_up() {
    let answered = payment(PaymentState::AwaitingThreeDs).answer_three_ds().unwrap();
    let given_up = answered.apply(outcome(OutcomeKind::NeverAuthenticated), noon()).unwrap();
    assert_eq!((given_up.state, given_up.needs_pa_res()), (PaymentState::Abandoned, false));
}

#[test]
fn a_dispute_waits_for_a_person() {
    let after = payment(PaymentState::Sending).apply(outcome(OutcomeKind::Disputed), noon()).unwrap();
    assert_eq!((after.state, after.look_again_at, after.transaction_id), (PaymentState::Unknown, None, None));
    assert!(after.info.is_some());
}

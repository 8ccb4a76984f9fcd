//! The transition table of a bill, and which steps of an attempt reach it.

use billing::bill::{Bill, BillEvent, BillKind, BillStatus};
use billing::payment::PaymentState;

use crate::support::noon;

const EVENTS: [BillEvent; 8] = [
    BillEvent::AttemptStarted,
    BillEvent::AttemptFailed,
    BillEvent::AttemptSucceeded,
    BillEvent::GivenUp,
    BillEvent::Voided,
    BillEvent::Refunded { whole: false },
    BillEvent::Refunded { whole: true },
    BillEvent::VerificationEnded,
];

#[test]
fn every_status_takes_every_event_as_the_table_says() {
    use BillStatus as S;
    #[rustfmt::skip]
    let table = [
        //                      started          failed            succeeded      given up                voided         part back                   all back           verified
        (S::NotPaid,           [Some(S::InWork), None,             Some(S::Paid), Some(S::Uncollectible), Some(S::Void), None,                       None, None]),
        (S::InWork,            [None,            Some(S::NotPaid), Some(S::Paid), None,                   None,          None,                       None, Some(S::Void)]),
        (S::Paid,              [None,            None,             None,          None,                   None,          Some(S::PartiallyRefunded), Some(S::Refunded), None]),
        (S::Void,              [None,            None,             None,          None,                   Some(S::Void), None,                       None, None]),
        (S::Uncollectible,     [None,            None,             Some(S::Paid), None,                   None,          None,                       None, None]),
        (S::PartiallyRefunded, [None,            None,             None,          None,                   None,          Some(S::PartiallyRefunded), Some(S::Refunded), None]),
        (S::Refunded,          [None,            None,             None,          None,                   None,          None,                       None, None]),
    ];
    assert_eq!(table.map(|(status, _)| status), *S::ALL);
    for (status, row) in table {
        for (event, expected) in EVENTS.into_iter().zip(row) {
            let after = Bill { kind: BillKind::Renewal, status, paid_at: None }.apply(event, noon());
            assert_eq!(after.map(|bill| bill.status).ok(), expected, "`{status}` takes {event:?}");
        }
    }
}

#[test]
fn a_bill_knows_when_it_was_paid() {
    let paid = Bill { kind: BillKind::Renewal, status: BillStatus::InWork, paid_at: None }
        .apply(BillEvent::AttemptSucceeded, noon())
        .unwrap();
    assert_eq!(paid.paid_at, Some(noon()));
    let refunded = paid.apply(BillEvent::Refunded { whole: true }, noon() + chrono::Duration::days(1)).unwrap();
    assert_eq!(refunded.paid_at, Some(noon()));
}

#[test]
fn only_a_bill_without_a_live_attempt_can_be_voided_or_given_up() {
    for event in [BillEvent::Voided, BillEvent::GivenUp] {
        let error = Bill { kind: BillKind::Renewal, status: BillStatus::InWork, paid_at: None }
            .apply(event, noon())
            .unwrap_err();
        assert_eq!((error.status, error.event), (BillStatus::InWork, event));
    }
}

#[test]
fn a_bill_follows_its_attempts() {
    for before in PaymentState::ALL {
        for after in PaymentState::ALL.iter().filter(|after| *after != before) {
            let expected = match (before, after) {
                _ if before.is_success() => None,
                (_, PaymentState::Succeeded) => Some(BillEvent::AttemptSucceeded),
                (_, PaymentState::SucceededDuplicate) => before.is_live().then_some(BillEvent::AttemptFailed),
                _ if before.is_live() && after.is_failure() => Some(BillEvent::AttemptFailed),
                _ if before.is_failure() && after.is_live() => Some(BillEvent::AttemptStarted),
                _ => None,
            };
            assert_eq!(BillEvent::of(*before, *after), expected, "{before} → {after}");
        }
    }
}

#[test]
fn the_bill_of_a_verification_ends_once_money_is_held_or_will_not_be() {
    for before in PaymentState::ALL {
        for after in PaymentState::ALL {
            let ended = |state: &PaymentState| !state.is_live() || *state == PaymentState::Authorized;
            let expected = (!ended(before) && ended(after)).then_some(BillEvent::VerificationEnded);
            assert_eq!(BillKind::Verification.event(*before, *after), expected, "{before} → {after}");
        }
    }
}

#[test]
fn the_words_of_the_original_are_kept() {
    let words = BillStatus::ALL.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(words[..3], ["Not paid", "In work", "Paid"]);
    assert_eq!("In work".parse(), Ok(BillStatus::InWork));
    assert!("in work".parse::<BillStatus>().is_err());
}

#[test]
fn a_change_at_once_is_no_debt_when_its_attempt_fails() {
    let bill = Bill { kind: BillKind::Change, status: BillStatus::InWork, paid_at: None };
    assert_eq!(bill.apply(BillEvent::AttemptFailed, noon()).unwrap().status, BillStatus::Void);
    assert_eq!(bill.apply(BillEvent::AttemptSucceeded, noon()).unwrap().status, BillStatus::Paid);
}

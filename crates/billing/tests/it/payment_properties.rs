//! What holds for an attempt whatever happens to it, in whatever order.

use billing::payment::{OutcomeKind, Payment, PaymentState};
use proptest::prelude::*;

use crate::support::sample::{KINDS, outcome, payment};
use crate::support::{minutes, noon};

#[derive(Debug, Clone, Copy)]
enum Happening {
    BeginSending,
    BeginResend,
    AnswerThreeDs,
    BeginPosting,
    Outcome(OutcomeKind),
}

fn happening() -> impl Strategy<Value = Happening> {
    prop_oneof![
        Just(Happening::BeginSending),
        Just(Happening::BeginResend),
        Just(Happening::AnswerThreeDs),
        Just(Happening::BeginPosting),
        proptest::sample::select(&KINDS[..]).prop_map(Happening::Outcome),
    ]
}

fn take(before: Payment, happening: Happening, minute: i64) -> Option<Payment> {
    let now = noon() + minutes(minute);
    match happening {
        Happening::BeginSending => before.begin_sending(now).ok(),
        Happening::BeginResend => before.begin_resend(now).ok(),
        Happening::AnswerThreeDs => before.answer_three_ds().ok(),
        Happening::BeginPosting => before.begin_posting(now).ok(),
        Happening::Outcome(kind) => before.apply(outcome(kind), now).ok(),
    }
}

/// What the gateway itself tells about the fate of the money.
const fn is_evidence(kind: OutcomeKind) -> bool {
    matches!(
        kind,
        OutcomeKind::Completed
            | OutcomeKind::Refunded
            | OutcomeKind::OnlyTest
            | OutcomeKind::Voided
            | OutcomeKind::Authorized
            | OutcomeKind::Declined
            | OutcomeKind::ThreeDsRequired
            | OutcomeKind::NeverAuthenticated
            | OutcomeKind::NotExecuted
            // What two people saw in the gateway's cabinet, long after the last request.
            | OutcomeKind::FoundNowhere
    )
}

/// Every step of a history that was taken: before, what happened, after.
fn history(happenings: &[Happening]) -> Vec<(Payment, Happening, Payment)> {
    let mut present = payment(PaymentState::Created);
    let mut taken = Vec::new();
    for (minute, happening) in happenings.iter().enumerate() {
        let minute = i64::try_from(minute).unwrap();
        if let Some(after) = take(present.clone(), *happening, minute) {
            taken.push((present, *happening, after.clone()));
            present = after;
        }
    }
    taken
}

proptest! {
    #[test]
    fn success_is_absorbing(happenings in prop::collection::vec(happening(), 0..40)) {
        for (before, _, after) in history(&happenings) {
            if before.state.is_success() {
                prop_assert_eq!(before, after);
            }
        }
    }

    #[test]
    fn money_taken_is_always_written_down(happenings in prop::collection::vec(happening(), 0..40)) {
        let steps = history(&happenings);
        let taken = steps.iter().any(|(_, h, _)| matches!(h, Happening::Outcome(OutcomeKind::Completed | OutcomeKind::Refunded)));
        let last = steps.last().map(|(_, _, after)| after.state);
        prop_assert_eq!(taken, last.is_some_and(PaymentState::is_success));
    }

    #[test]
    fn doubt_ends_by_evidence_alone(happenings in prop::collection::vec(happening(), 0..40)) {
        for (before, happening, after) in history(&happenings) {
            if before.state == PaymentState::Unknown && after.state != PaymentState::Unknown {
                let by_evidence = matches!(happening, Happening::Outcome(kind) if is_evidence(kind));
                prop_assert!(by_evidence || matches!(happening, Happening::BeginResend), "{:?}", happening);
                if matches!(happening, Happening::Outcome(OutcomeKind::NotExecuted)) {
                    prop_assert!(before.absent_at.is_some());
                }
            }
        }
    }

    /// A request that may have arrived is never forgotten: only the gateway's word brings an attempt back to where
    /// nothing was sent.
    #[test]
    fn an_attempt_that_may_have_arrived_is_never_sent_as_new(happenings in prop::collection::vec(happening(), 0..40)) {
        let mut may_have_arrived = false;
        for (before, happening, after) in history(&happenings) {
            if matches!(happening, Happening::Outcome(OutcomeKind::Unknown)) && before.state == PaymentState::Sending {
                may_have_arrived = true;
            }
            prop_assert!(!(may_have_arrived && after.state == PaymentState::Created));
        }
    }

    #[test]
    fn the_row_is_always_one_the_database_takes(happenings in prop::collection::vec(happening(), 0..40)) {
        for (_, _, after) in history(&happenings) {
            prop_assert_eq!(after.finished_at.is_some(), after.state.verdict().is_some());
            prop_assert!(after.three_ds.is_none() || after.state.is_live());
            prop_assert!(!after.state.is_success() || after.transaction_id.is_some());
            prop_assert!(after.state != PaymentState::Sending || (after.sends > 0 && after.first_sent_at.is_some()));
            prop_assert_eq!(after.first_sent_at.is_some(), after.last_sent_at.is_some());
        }
    }

    #[test]
    fn hearing_the_same_thing_again_changes_nothing(
        happenings in prop::collection::vec(happening(), 0..20),
        kind in proptest::sample::select(&KINDS[..]),
    ) {
        let before = history(&happenings).pop().map_or_else(|| payment(PaymentState::Created), |(_, _, after)| after);
        let now = noon() + minutes(60);
        if let Ok(once) = before.apply(outcome(kind), now) {
            // A second delivery may be refused (the attempt has moved on), but never moves the state.
            let twice = once.clone().apply(outcome(kind), now).unwrap_or_else(|_| once.clone());
            prop_assert_eq!(once.state, twice.state);
        }
    }
}

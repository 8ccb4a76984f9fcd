//! The transition table of an attempt.

use super::{OutcomeKind, PaymentState};

/// One cell of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Money was taken: a success, or a duplicate when the bill does not owe it.
    Take,
    /// Money was taken, and some or all of it was given back.
    GiveBack,
    /// Money is held: live again if the bill owes it.
    Hold,
    /// In doubt, until a person has decided.
    Dispute,
    /// Show the bank's page to the customer; nobody can be asked when a token is charged.
    Ask,
    /// Over, or in doubt, with what the outcome tells.
    To(PaymentState),
    /// What was held is let go: for a verification that is how it ends well.
    Release,
    /// Over, if the answer of the bank's page was never passed on.
    GiveUp,
    /// The request was not executed: back where it came from, unless an earlier one of the same id may have been.
    Undo(PaymentState),
    /// Evidence that counts only if the first half of it was written down before.
    Conclude,
    /// The state stays; what was learnt is written down.
    Note,
    /// Nothing is learnt: late, repeated or weaker than what is known.
    Ignore,
    Illegal,
}

pub(super) const fn step(state: PaymentState, outcome: OutcomeKind) -> Step {
    use {OutcomeKind as O, PaymentState as S};
    match (state, outcome) {
        (S::Succeeded | S::SucceededDuplicate, _) => Step::Ignore,
        (_, O::Completed) => Step::Take,
        (_, O::Refunded) => Step::GiveBack,

        (S::Authorized, O::Voided) => Step::Release,
        (S::Authorized | S::Verified, _) => Step::Ignore,
        (_, O::Authorized) => Step::Hold,

        (S::Declined | S::Rejected | S::Abandoned | S::NotExecuted | S::Voided, _) => Step::Ignore,

        (S::Unknown, O::FoundNowhere) => Step::To(S::NotExecuted),
        (_, O::FoundNowhere) => Step::Illegal,

        (S::Created, O::OnlyTest | O::Disputed) => Step::Illegal,
        (_, O::OnlyTest) => Step::To(S::Rejected),
        (_, O::Disputed) => Step::Dispute,

        (S::Created, O::Withdrawn) => Step::To(S::NotExecuted),
        (S::Created, O::NotSent) => Step::Note,
        (S::Created, _) => Step::Illegal,

        (S::Sending, O::ThreeDsRequired) => Step::Ask,
        (S::Sending, O::Declined) => Step::To(S::Declined),
        (S::Sending, O::Rejected) => Step::Undo(S::Rejected),
        (S::Sending, O::NotSent) => Step::Undo(S::Created),
        (S::Sending, O::Unknown) => Step::To(S::Unknown),
        (S::Sending, _) => Step::Illegal,

        (S::AwaitingThreeDs, O::Declined) => Step::To(S::Declined),
        (S::AwaitingThreeDs, O::Expired | O::NeverAuthenticated | O::Withdrawn) => Step::To(S::Abandoned),
        (S::AwaitingThreeDs, O::Voided) => Step::To(S::Voided),
        (S::AwaitingThreeDs, O::NotExecuted) => Step::Illegal,
        (S::AwaitingThreeDs, _) => Step::Ignore,

        (S::PostingThreeDs, O::Declined) => Step::To(S::Declined),
        (S::PostingThreeDs, O::Rejected) => Step::Undo(S::Rejected),
        (S::PostingThreeDs, O::NotSent) => Step::Undo(S::PostingThreeDs),
        (S::PostingThreeDs, O::Unknown) => Step::To(S::Unknown),
        (S::PostingThreeDs, O::NeverAuthenticated) => Step::GiveUp,
        (S::PostingThreeDs, O::ThreeDsRequired | O::AwaitingAuthentication | O::Expired) => Step::Ignore,
        (S::PostingThreeDs, _) => Step::Illegal,

        (S::Unknown, O::ThreeDsRequired) => Step::Ask,
        (S::Unknown, O::Declined) => Step::To(S::Declined),
        (S::Unknown, O::NeverAuthenticated) => Step::To(S::Abandoned),
        (S::Unknown, O::Voided) => Step::To(S::Voided),
        (S::Unknown, O::NotExecuted) => Step::Conclude,
        (S::Unknown, O::Unknown | O::NotFound | O::AwaitingAuthentication | O::NotSent | O::Rejected) => Step::Note,
        (S::Unknown, _) => Step::Illegal,
    }
}

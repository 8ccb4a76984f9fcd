//! What an account owes for one period, as a state machine. Pure.
//!
//! `In work` is never set by itself: it follows from the attempts, in the transaction that changes them. A crash can
//! therefore not leave a bill in work without an attempt that says why.

use chrono::{DateTime, Utc};

use crate::macros::text_enum;
use crate::payment::{OutcomeKind, PaymentState};

text_enum! {
    /// The texts of the original for what the original had, and new ones for what it had not.
    pub enum BillStatus {
        /// Owed; no attempt is live.
        NotPaid = "Not paid",
        /// An attempt is live.
        InWork = "In work",
        Paid = "Paid",
        /// Taken back before it was paid.
        Void = "Void",
        /// Given up after the last reminder. A late success still pays it.
        Uncollectible = "Uncollectible",
        PartiallyRefunded = "Partially refunded",
        Refunded = "Refunded",
    }
}

impl BillStatus {
    /// Whether it waits to be paid.
    #[must_use]
    pub const fn is_open(self) -> bool {
        matches!(self, Self::NotPaid | Self::InWork)
    }

    /// Whether it owes the money that comes with this outcome. One that was given up still takes money that has come,
    /// but no hold: nobody would take the money then. (Whether an attempt may be started is another question: that
    /// needs `NotPaid`.)
    #[must_use]
    pub const fn owes_after(self, outcome: OutcomeKind) -> bool {
        match self {
            Self::NotPaid | Self::InWork => true,
            Self::Uncollectible => !matches!(outcome, OutcomeKind::Authorized),
            Self::Paid | Self::Void | Self::PartiallyRefunded | Self::Refunded => false,
        }
    }
}

text_enum! {
    /// Why a bill was opened. Bills are unique by account, kind and period number among those not void.
    pub enum BillKind {
        /// The customer bought: the first period, or the first after a cancellation or under another tariff.
        Primary = "primary",
        /// The next period of a running subscription, whoever pays it and with whatever card.
        Renewal = "renewal",
        /// A dearer tariff at once. It is paid by its one attempt or not at all.
        Change = "change",
        /// Nothing is bought: money is held on a new card and let go, to see that the card is good. It is never owed, has
        /// no period, and gives no revenue.
        Verification = "verification",
    }
}

impl BillKind {
    /// What a step of one of its attempts means for a bill of this kind.
    #[must_use]
    pub const fn event(self, before: PaymentState, after: PaymentState) -> Option<BillEvent> {
        match self {
            Self::Verification => BillEvent::of_verification(before, after),
            _ => BillEvent::of(before, after),
        }
    }
}

text_enum! {
    /// Why no trial began although the card is good.
    pub enum TrialRefusal {
        /// The card, or the account, has had its trial.
        Used = "used",
        /// The gateway lets the card not be charged later, so there is nothing to go on with after the trial.
        NotKept = "not_kept",
        /// It was known when the customer had been told that it came to nothing, or had begun something else.
        Late = "late",
    }
}

text_enum! {
    /// The original's `payment_type`: which gateway method the last attempt uses.
    pub enum PaymentType {
        Cryptogram = "CRYPTOGRAM",
        Token = "TOKEN",
        Post3ds = "POST3DS",
    }
}

/// What happens to a bill.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BillEvent {
    AttemptStarted,
    /// An attempt ended without money.
    AttemptFailed,
    AttemptSucceeded,
    GivenUp,
    Voided,
    /// The card is verified, or will not be: nothing more is to come.
    VerificationEnded,
    /// So much of it is back with the customer in total.
    Refunded {
        whole: bool,
    },
}

impl BillEvent {
    /// What a step of one of its attempts means for the bill.
    #[must_use]
    pub const fn of(before: PaymentState, after: PaymentState) -> Option<Self> {
        match (before.verdict(), after) {
            (Some(true), _) => None,
            (_, PaymentState::Succeeded) => Some(Self::AttemptSucceeded),
            // Its money is nobody's debt: that of an account which was closed meanwhile.
            (None, PaymentState::SucceededDuplicate) => Some(Self::AttemptFailed),
            (None, _) if after.is_failure() => Some(Self::AttemptFailed),
            (Some(false), _) if after.is_live() => Some(Self::AttemptStarted),
            _ => None,
        }
    }

    /// Likewise, for a verification: once the money is held the card is good, and letting it go is nobody's debt.
    #[must_use]
    pub const fn of_verification(before: PaymentState, after: PaymentState) -> Option<Self> {
        const fn has_ended(state: PaymentState) -> bool {
            !state.is_live() || matches!(state, PaymentState::Authorized)
        }
        if !has_ended(before) && has_ended(after) { Some(Self::VerificationEnded) } else { None }
    }
}

/// The event does not fit the bill: a bug of the caller. Nothing changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a bill that is `{status}` cannot take {event:?}")]
pub struct IllegalBillEvent {
    pub status: BillStatus,
    pub event: BillEvent,
}

/// The state of a bill.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bill {
    pub kind: BillKind,
    pub status: BillStatus,
    pub paid_at: Option<DateTime<Utc>>,
}

impl Bill {
    /// Takes what happened and returns where the bill stands now.
    ///
    /// # Errors
    /// [`IllegalBillEvent`] when this cannot happen to a bill in its state.
    pub fn apply(self, event: BillEvent, now: DateTime<Utc>) -> Result<Self, IllegalBillEvent> {
        use {BillEvent as E, BillStatus as S};
        let status = match (self.status, event) {
            (S::NotPaid, E::AttemptStarted) => S::InWork,
            (S::InWork, E::AttemptFailed) if self.kind == BillKind::Change => S::Void,
            (S::InWork, E::AttemptFailed) => S::NotPaid,
            (S::NotPaid | S::InWork | S::Uncollectible, E::AttemptSucceeded) => S::Paid,
            (S::NotPaid, E::GivenUp) => S::Uncollectible,
            // A change at once whose attempt has failed is void already.
            (S::NotPaid | S::Void, E::Voided) | (S::InWork, E::VerificationEnded) => S::Void,
            (S::Paid | S::PartiallyRefunded, E::Refunded { whole: false }) => S::PartiallyRefunded,
            (S::Paid | S::PartiallyRefunded, E::Refunded { whole: true }) => S::Refunded,
            _ => return Err(IllegalBillEvent { status: self.status, event }),
        };
        let paid_at = if event == E::AttemptSucceeded { Some(now) } else { self.paid_at };
        Ok(Self { status, paid_at, ..self })
    }
}

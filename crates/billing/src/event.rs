//! What happened, as the log of the system tells it. Pure.
//!
//! One row for one thing, written in the transaction of the change itself. All of them together are the story of a
//! payment or an account; those that others must know are [public](EventKind::is_public), and readers follow them by a
//! [position](ResumeToken).

mod token;

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};

pub use self::token::{BadToken, Position, ResumeToken};
use crate::macros::text_enum;
use crate::{AccountId, BillId, PaymentId};

text_enum! {
    /// What an event tells.
    pub enum EventKind {
        /// An account became known.
        AccountRegistered = "account_registered",
        /// A period was paid: access until the stated day, and longer than that only in doubt or grace.
        AccessGranted = "access_granted",
        /// No further period will be charged; access ends with what is paid.
        AccessEnds = "access_ends",
        /// Access is over.
        AccessEnded = "access_ended",
        PaymentSucceeded = "payment_succeeded",
        PaymentDeclined = "payment_declined",
        /// A trial begins: access until the stated day, and then the first full charge.
        TrialBegan = "trial_began",
        /// No trial begins although the card is good; what was taken for it goes back.
        TrialRefused = "trial_refused",
        /// A renewal will be charged soon.
        RenewalUpcoming = "renewal_upcoming",
        /// A renewal came to nothing; when it is tried again, if it is.
        RenewalRefused = "renewal_refused",
        /// The card that renewals are charged to expires.
        CardExpiring = "card_expiring",
        /// The card is kept no longer; no renewal can be charged to it.
        CardForgotten = "card_forgotten",
        /// Another tariff runs from now on.
        TariffChanged = "tariff_changed",
        /// The tariff will cost something else.
        PriceChangeUpcoming = "price_change_upcoming",
        RefundSucceeded = "refund_succeeded",
        ReceiptIssued = "receipt_issued",
        /// A person must look.
        NeedsAttention = "needs_attention",
        /// A payment went from one state to another.
        PaymentMoved = "payment_moved",
        /// A bill went from one state to another.
        BillMoved = "bill_moved",
        /// A subscription went from one state to another.
        AccountMoved = "account_moved",
        /// The customer wants no further period.
        CancelRequested = "cancel_requested",
        /// The customer wants further periods after all.
        Resumed = "resumed",
        /// The person asked to be forgotten.
        AccountClosed = "account_closed",
        /// The customer wants another tariff from the next period on.
        TariffChangeAsked = "tariff_change_asked",
        /// The customer wants to keep the present tariff after all.
        TariffChangeTakenBack = "tariff_change_taken_back",
        /// Whether, and for what, a tariff may be tried was set.
        TrialSet = "trial_set",
        /// What a tariff costs from a time on was set.
        PriceSet = "price_set",
        /// Periods that passed while nobody could charge them; they are not charged any more.
        PeriodsSkipped = "periods_skipped",
        /// Another card was verified, and is charged from now on.
        CardReplaced = "card_replaced",
        /// A refund went from one state to another.
        RefundMoved = "refund_moved",
        /// The customer's bank took a payment back.
        ChargebackReceived = "chargeback_received",
        /// The end of the paid time was moved by hand.
        ExpirationMoved = "expiration_moved",
        /// Somebody has decided about a difference between the gateway and our rows.
        DifferenceDecided = "difference_decided",
    }
}

impl EventKind {
    /// Whether it is told to others. The rest is for the people who look after a payment.
    #[must_use]
    pub const fn is_public(self) -> bool {
        !matches!(
            self,
            Self::PaymentMoved
                | Self::BillMoved
                | Self::AccountMoved
                | Self::CancelRequested
                | Self::Resumed
                | Self::AccountClosed
                | Self::TariffChangeAsked
                | Self::TariffChangeTakenBack
                | Self::PriceSet
                | Self::TrialSet
                | Self::PeriodsSkipped
                | Self::CardReplaced
                | Self::RefundMoved
                | Self::ChargebackReceived
                | Self::ExpirationMoved
                | Self::DifferenceDecided
        )
    }
}

text_enum! {
    /// Who made the change.
    pub enum Source {
        /// A caller of the gRPC services.
        Api = "api",
        /// A task about one payment.
        Worker = "worker",
        /// A task that the clock started.
        Timetable = "timetable",
        /// The gateway, by a notification.
        Notification = "notification",
        Reconciliation = "reconciliation",
        /// A person of the staff.
        Staff = "staff",
    }
}

/// What is to be written down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewEvent {
    pub kind: EventKind,
    pub account_id: Option<AccountId>,
    pub bill_id: Option<BillId>,
    pub payment_id: Option<PaymentId>,
    pub from_state: Option<&'static str>,
    pub to_state: Option<&'static str>,
    /// Ids, dates, amounts and reason codes; never a secret, never a personal trace.
    pub detail: Map<String, Value>,
}

impl NewEvent {
    /// An event about an account.
    #[must_use]
    pub fn of_account(kind: EventKind, account_id: AccountId) -> Self {
        Self { account_id: Some(account_id), ..Self::of_nobody(kind) }
    }

    /// An event about the system as a whole.
    #[must_use]
    pub fn of_nobody(kind: EventKind) -> Self {
        Self {
            kind,
            account_id: None,
            bill_id: None,
            payment_id: None,
            from_state: None,
            to_state: None,
            detail: Map::new(),
        }
    }

    /// About this bill of the account.
    #[must_use]
    pub fn bill(self, id: BillId) -> Self {
        Self { bill_id: Some(id), ..self }
    }

    /// About this payment of the account.
    #[must_use]
    pub fn payment(self, id: PaymentId) -> Self {
        Self { payment_id: Some(id), ..self }
    }

    /// Something went from one state to another.
    #[must_use]
    pub fn states(self, from: Option<&'static str>, to: &'static str) -> Self {
        Self { from_state: from, to_state: Some(to), ..self }
    }

    /// With one more value.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.detail.insert(name.to_owned(), value.into());
        self
    }
}

/// What was written down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Grows with time within one account; across accounts only [`Event::position`] says the order.
    pub id: i64,
    pub at: DateTime<Utc>,
    pub kind: EventKind,
    pub account_id: Option<AccountId>,
    pub bill_id: Option<BillId>,
    pub payment_id: Option<PaymentId>,
    pub from_state: Option<String>,
    pub to_state: Option<String>,
    pub source: Source,
    pub task_id: Option<String>,
    pub trace_id: Option<String>,
    pub detail: Value,
    /// Where a public event stands in the order of the log.
    pub position: Option<Position>,
}

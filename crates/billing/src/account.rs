//! A subscription, as a state machine. Pure.
//!
//! An account counts its paid periods in one series that never starts anew: the first purchase pays number 1, a return
//! after a cancellation the next number. Where a period ends follows from the **term** – an anchor, the number of
//! periods paid before it, and the length of one – so that ends never drift.

mod machine;
mod term;
mod window;

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use chrono_tz::Tz;

use crate::bill::BillKind;
use crate::decline::{RetryTerms, Ruling};
use crate::macros::text_enum;
use crate::payment::{Instrument, Payment, PaymentState};
use crate::period::{Period, PeriodError};

pub use self::term::{CHARGED_SHARE, Term};
pub use self::window::{WINDOW, renewal_at, window_place};
use crate::{AccountId, TariffId};

text_enum! {
    /// The texts of the original, and `Inactive` for who has never paid.
    pub enum AccountStatus {
        Inactive = "Inactive",
        Active = "Active",
        /// The renewal was refused; access goes on for the time of grace.
        Overdue = "Overdue",
        Canceled = "Canceled",
    }
}

/// How long access goes on behind the paid time while we do not know whether the renewal was paid: once for a period.
pub const DOUBT: TimeDelta = TimeDelta::hours(48);

/// The state of a subscription.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    pub id: AccountId,
    pub status: AccountStatus,
    pub tariff_id: Option<TariffId>,
    /// Another tariff that the customer has chosen from the next period on.
    pub pending_tariff_id: Option<TariffId>,
    /// Whose wall clocks its days and months are counted on.
    pub time_zone: Tz,
    pub term: Option<Term>,
    /// The number of the last paid period; 0: none.
    pub period_no: i32,
    /// Where the paid time ends.
    pub paid_until: Option<DateTime<Utc>>,
    /// Where access ends if nothing more happens: the paid time, and what is granted behind it.
    pub access_until: Option<DateTime<Utc>>,
    /// When a renewal is due, or the next try of one that was refused. `None`: nothing is to be charged, or it is
    /// being charged already.
    pub next_charge_at: Option<DateTime<Utc>>,
    /// A card to charge without the customer is kept.
    pub has_token: bool,
    /// The bank forbids that card to be charged without the customer again.
    pub card_barred: bool,
    pub cancel_at_period_end: bool,
    /// When its person asked to be forgotten. Nothing is charged after that.
    pub closed_at: Option<DateTime<Utc>>,
    /// Refusals of the renewal that is owed now, and the time of the first.
    pub declines: i32,
    pub first_declined_at: Option<DateTime<Utc>>,
    /// Charges of the renewal that is owed now that came to nothing through our own fault.
    pub faults: i32,
    /// The number of the period that was its trial; `None`: it has had none.
    pub trial_period_no: Option<i32>,
}

/// What a payment leaves of the card that is charged without the customer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeptCard {
    /// It stays as it was.
    Same,
    /// The card that has paid takes its place.
    New,
    /// The card that has paid cannot be kept, and the one before it must not be charged any more.
    None,
}

/// What happens to a subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AccountEvent {
    /// A bill was paid.
    Paid { kind: BillKind, tariff_id: TariffId, period: Period, period_no: i32, card: KeptCard },
    /// A trial begins: it was paid, or costs nothing and its card is good.
    TrialBegun { tariff_id: TariffId, period: Period, period_no: i32, card: KeptCard },
    /// A renewal was opened, or the next try of one; it is being charged.
    RenewalOpened,
    /// The charge for this period was refused.
    RenewalRefused { period_no: i32, terms: RetryTerms, retry_after: Option<DateTime<Utc>> },
    /// The charge for this period came to nothing through our own fault, not the customer's.
    RenewalNotCharged { period_no: i32 },
    /// Due, and there is no card to charge.
    NoCard,
    /// The customer wants no further period.
    CancelRequested,
    /// The customer wants further periods after all.
    Resumed,
    /// The customer wants this tariff from the next period on; the present one: to stay with it.
    TariffChosen(TariffId),
    /// The customer wants the card forgotten.
    CardForgotten,
    /// The person asks to be forgotten: access goes on until the end of what is paid, or ends at once.
    Closed { access_ends_at_once: bool },
    /// Another card was verified. `debt_waits`: a renewal is owed that is not being charged.
    CardReplaced { card: KeptCard, debt_waits: bool },
    /// The charge for this period was refused, and the card that it charged is not kept any more.
    ReplacedCardRefused { period_no: i32 },
    /// The money of the present period went back, and its access with it.
    AccessTakenBack,
    /// A part of the money went back, and so many days of the paid time with it.
    PaidTimeShortened { days: i64 },
    /// Time has passed: [`Account::access_until`] is reached.
    AccessRanOut,
}

impl AccountEvent {
    /// What the end of an attempt without money, for period `period_no`, means for the subscription. Only a charge
    /// without the customer says anything: a card typed in and refused is not the one that is kept. `ruling`: how a refusal is judged;
    /// without it as in a new database. `card_is_kept`: the card that was charged is still the one that is.
    #[must_use]
    pub fn of_failure(
        before: PaymentState,
        after: &Payment,
        ruling: Option<&Ruling>,
        period_no: i32,
        card_is_kept: bool,
    ) -> Option<Self> {
        if !before.is_live() || after.instrument != Instrument::Token {
            return None;
        }
        match (after.state, &after.decline) {
            (PaymentState::Declined | PaymentState::Abandoned, _) if !card_is_kept => {
                Some(Self::ReplacedCardRefused { period_no })
            }
            (PaymentState::Declined, Some(decline)) => {
                let terms = ruling.map_or_else(|| RetryTerms::seeded(decline.group), Ruling::terms);
                Some(Self::RenewalRefused { period_no, terms, retry_after: decline.retry_after })
            }
            (PaymentState::Declined | PaymentState::Abandoned, _) => {
                Some(Self::RenewalRefused { period_no, terms: RetryTerms::CUSTOMER_MUST_PAY, retry_after: None })
            }
            (PaymentState::Rejected | PaymentState::NotExecuted | PaymentState::Voided, _) => {
                Some(Self::RenewalNotCharged { period_no })
            }
            _ => None,
        }
    }
}

/// Why an event was not taken. Nothing changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AccountError {
    #[error("an account that is {status} cannot take {event}")]
    Illegal { status: AccountStatus, event: &'static str },
    #[error(transparent)]
    Period(#[from] PeriodError),
}

/// The period a renewal is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NextPeriod {
    pub no: i32,
    pub ends_at: DateTime<Utc>,
    /// Periods that passed unpaid, as after an outage, the last of them perhaps not wholly. They are not charged.
    pub skipped: i32,
}

/// A period that passed unpaid and is not charged for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SkippedPeriod {
    pub no: i32,
    pub begins_at: DateTime<Utc>,
    pub ends_at: DateTime<Utc>,
}

/// Whether the customer may watch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Access {
    pub has_access: bool,
    pub tariff_id: Option<TariffId>,
    pub status: AccountStatus,
    /// The day on which the paid time ends, in the account's zone.
    pub expires_on: Option<NaiveDate>,
    /// The next period is charged without the customer. Otherwise they must pay it themselves.
    pub renews: bool,
}

impl Account {
    /// An account that has just become known.
    #[must_use]
    pub const fn registered(id: AccountId, time_zone: Tz) -> Self {
        Self {
            id,
            status: AccountStatus::Inactive,
            tariff_id: None,
            pending_tariff_id: None,
            time_zone,
            term: None,
            period_no: 0,
            paid_until: None,
            access_until: None,
            next_charge_at: None,
            has_token: false,
            card_barred: false,
            cancel_at_period_end: false,
            closed_at: None,
            declines: 0,
            first_declined_at: None,
            faults: 0,
            trial_period_no: None,
        }
    }

    /// Whether the customer may watch at `now`.
    #[must_use]
    pub fn access(&self, now: DateTime<Utc>) -> Access {
        let running = self.is_running();
        Access {
            has_access: running && self.access_until.is_some_and(|end| now < end),
            tariff_id: self.tariff_id.filter(|_| running),
            status: self.status,
            expires_on: self.expires_on(),
            renews: self.renews(),
        }
    }

    /// Whether the next period is charged without the customer.
    #[must_use]
    pub const fn renews(&self) -> bool {
        self.is_running() && !self.cancel_at_period_end && self.can_be_charged()
    }

    /// Whether there is a card that may be charged without the customer.
    #[must_use]
    pub const fn can_be_charged(&self) -> bool {
        self.has_token && !self.card_barred
    }

    /// Nothing is owed at `now`: the subscription runs, and so does the access it gives.
    #[must_use]
    pub fn is_paid_up(&self, now: DateTime<Utc>) -> bool {
        self.status == AccountStatus::Active && self.access(now).has_access
    }

    /// Whether a subscription runs, that a renewal continues.
    #[must_use]
    pub const fn is_running(&self) -> bool {
        matches!(self.status, AccountStatus::Active | AccountStatus::Overdue)
    }

    /// Whether what runs is the trial: nothing of the tariff's own price was charged yet.
    #[must_use]
    pub fn is_on_trial(&self) -> bool {
        self.is_running() && self.trial_period_no == Some(self.period_no)
    }

    /// The tariff of the next period: the one that was chosen, or else the present one.
    #[must_use]
    pub fn next_tariff_id(&self) -> Option<TariffId> {
        self.pending_tariff_id.or(self.tariff_id)
    }

    /// Whether paying for `tariff` continues the subscription; otherwise it is a purchase.
    #[must_use]
    pub fn continues(&self, tariff: TariffId) -> bool {
        self.is_running() && !self.cancel_at_period_end && self.next_tariff_id() == Some(tariff)
    }

    /// The day on which the paid time ends: the original's `expiration_dt`.
    #[must_use]
    pub fn expires_on(&self) -> Option<NaiveDate> {
        self.paid_until.map(|end| end.with_timezone(&self.time_zone).date_naive())
    }
}

//! Why a request is not served, whatever crate the reason comes from. `status.rs` says it to the caller.

use std::error::Error;
use std::time::Duration;

use billing::db::DbError;
use billing::store::StoreError;
use billing::store::events::Gone;
use billing::store::payments::{CreateError, NoTrial, SubmitError};
use billing::store::refunds::RefundError;
use billing::store::subscriptions::VerbError;
use chrono::{DateTime, Utc};

use crate::denied::Denied;

/// Why a request was not served.
#[derive(Debug)]
pub(crate) enum ApiError {
    /// Fields are missing or malformed: all of them.
    Invalid(Vec<Violation>),
    Denied(Denied),
    NoSuchMethod,
    NotFound {
        resource: Resource,
        id: String,
    },
    /// The idempotency key made a payment with other content.
    IdempotencyKeyReused,
    /// The account has a running subscription.
    AlreadyActive,
    /// Another payment of the account is not final.
    PaymentInProgress {
        payment_id: String,
    },
    /// `md` is the transaction of another payment.
    WrongTransaction,
    NotAwaitingThreeDs,
    ThreeDsExpired,
    DeadlineExceeded,
    /// The message of the caller did not come in time.
    MessageLate {
        within: Duration,
    },
    /// More requests at once than this server takes.
    Overloaded,
    /// More requests at once than one client may have.
    TooManyRequests {
        limit: usize,
    },
    /// More at once of what needs no token than one connection, or all together, may have.
    TooManyPublic,
    /// More open streams than one client may have.
    TooManyStreams {
        limit: usize,
    },
    /// Nothing was ever paid.
    NoSubscription,
    /// What was paid is over.
    SubscriptionEnded,
    /// There is no next period.
    SubscriptionCancelled,
    /// A tariff cannot be changed at once.
    NotAtOnce(NotAtOnce),
    /// There is no card that a renewal could be charged to.
    NoCard,
    /// The tariff cannot be tried by this account.
    NoTrial(NoTrial),
    /// Its person has asked to be forgotten.
    AccountClosed,
    /// Why no money goes back.
    NotRefundable(NotRefundable),
    /// A reader of the log cannot go on from its token.
    Gone(Gone),
    ShuttingDown,
    /// The gateway is left alone for so long.
    GatewayRests {
        retry_in: Duration,
    },
    /// A server we need cannot be reached now.
    Unavailable(Box<dyn Error + Send + Sync>),
    /// A defect of ours.
    Internal(Box<dyn Error + Send + Sync>),
}

/// Why a tariff cannot be changed at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotAtOnce {
    SameTariff,
    RenewalInProgress,
    ChangeInProgress,
    ChargedTooOften { until: DateTime<Utc> },
    RefundInProgress,
    PartiallyRefunded,
    OtherCurrency,
    NotUpwards,
    PreviewChanged { amount_kopecks: i64 },
}

impl NotAtOnce {
    pub(crate) const fn reason(self) -> &'static str {
        match self {
            Self::SameTariff => "SAME_TARIFF",
            Self::RenewalInProgress => "RENEWAL_IN_PROGRESS",
            Self::ChangeInProgress => "CHANGE_IN_PROGRESS",
            Self::ChargedTooOften { .. } => "CHARGED_TOO_OFTEN",
            Self::RefundInProgress => "REFUND_IN_PROGRESS",
            Self::PartiallyRefunded => "PARTIALLY_REFUNDED",
            Self::OtherCurrency => "OTHER_CURRENCY",
            Self::NotUpwards => "NOT_UPWARDS",
            Self::PreviewChanged { .. } => "PREVIEW_CHANGED",
        }
    }
}

/// Why no money goes back, or a refund does not move.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NotRefundable {
    InDoubt,
    NothingTaken,
    TooOld,
    AlreadyBeingReturned {
        refund_id: String,
    },
    Unfinished {
        refund_id: String,
    },
    MoreThanLeft {
        left_kopecks: i64,
    },
    PartOfAHold,
    ChargedBack,
    /// The role may give nothing back, or not so much.
    RoleMayNot,
    SamePerson,
    NotWaiting,
    NotWithdrawable,
}

/// A field and the rule it breaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Violation {
    pub(crate) field: &'static str,
    pub(crate) rule: &'static str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Resource {
    Account,
    Tariff,
    Payment,
    Bill,
    Refund,
    Reconciliation,
    Difference,
}

impl ApiError {
    /// A defect that is known by its description only.
    pub(crate) fn defect(what: &'static str) -> Self {
        Self::Internal(what.into())
    }

    /// The gateway is left alone until then.
    pub(crate) fn gateway_rests(until: DateTime<Utc>, now: DateTime<Utc>) -> Self {
        Self::GatewayRests { retry_in: (until - now).to_std().unwrap_or_default() }
    }

    pub(crate) fn not_found(resource: Resource, id: &impl ToString) -> Self {
        Self::NotFound { resource, id: id.to_string() }
    }
}

impl From<DbError> for ApiError {
    fn from(error: DbError) -> Self {
        if error.is_transient() { Self::Unavailable(error.into()) } else { Self::Internal(error.into()) }
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::UnknownPayment(id) => Self::not_found(Resource::Payment, &id),
            StoreError::UnknownRefund(id) => Self::not_found(Resource::Refund, &id),
            error if error.is_transient() => Self::Unavailable(error.into()),
            error => Self::Internal(error.into()),
        }
    }
}

impl From<Gone> for ApiError {
    fn from(gone: Gone) -> Self {
        Self::Gone(gone)
    }
}

impl From<CreateError> for ApiError {
    fn from(error: CreateError) -> Self {
        match error {
            CreateError::UnknownAccount(id) => Self::not_found(Resource::Account, &id),
            CreateError::UnknownTariff(id) => Self::not_found(Resource::Tariff, &id),
            CreateError::IdempotencyConflict => Self::IdempotencyKeyReused,
            CreateError::AlreadyActive => Self::AlreadyActive,
            CreateError::Closed => Self::AccountClosed,
            CreateError::NoTrial(why) => Self::NoTrial(why),
            CreateError::PaymentInProgress { payment_id } => {
                Self::PaymentInProgress { payment_id: payment_id.to_string() }
            }
            CreateError::Store(error) => error.into(),
        }
    }
}

impl From<VerbError> for ApiError {
    fn from(error: VerbError) -> Self {
        match error {
            VerbError::UnknownAccount(id) => Self::not_found(Resource::Account, &id),
            VerbError::IdempotencyConflict => Self::IdempotencyKeyReused,
            VerbError::NoSubscription => Self::NoSubscription,
            VerbError::Ended => Self::SubscriptionEnded,
            VerbError::Cancelled => Self::SubscriptionCancelled,
            VerbError::UnknownTariff(id) => Self::not_found(Resource::Tariff, &id),
            VerbError::NoCard => Self::NoCard,
            VerbError::Closed => Self::AccountClosed,
            VerbError::PaymentInProgress { payment_id } => {
                Self::PaymentInProgress { payment_id: payment_id.to_string() }
            }
            VerbError::SameTariff => Self::NotAtOnce(NotAtOnce::SameTariff),
            VerbError::RenewalInProgress => Self::NotAtOnce(NotAtOnce::RenewalInProgress),
            VerbError::ChangeInProgress => Self::NotAtOnce(NotAtOnce::ChangeInProgress),
            VerbError::ChargedTooOften { until } => Self::NotAtOnce(NotAtOnce::ChargedTooOften { until }),
            VerbError::RefundInProgress => Self::NotAtOnce(NotAtOnce::RefundInProgress),
            VerbError::PartiallyRefunded => Self::NotAtOnce(NotAtOnce::PartiallyRefunded),
            VerbError::OtherCurrency => Self::NotAtOnce(NotAtOnce::OtherCurrency),
            VerbError::NotUpwards => Self::NotAtOnce(NotAtOnce::NotUpwards),
            VerbError::PreviewChanged { amount } => {
                Self::NotAtOnce(NotAtOnce::PreviewChanged { amount_kopecks: amount.get() })
            }
            VerbError::Store(error) => error.into(),
        }
    }
}

impl From<RefundError> for ApiError {
    fn from(error: RefundError) -> Self {
        use NotRefundable as Why;
        Self::NotRefundable(match error {
            RefundError::UnknownPayment(id) => return Self::not_found(Resource::Payment, &id),
            RefundError::UnknownRefund(id) => return Self::not_found(Resource::Refund, &id),
            RefundError::IdempotencyConflict => return Self::IdempotencyKeyReused,
            RefundError::Store(error) => return error.into(),
            RefundError::InDoubt(_) => Why::InDoubt,
            RefundError::NotTaken { .. } => Why::NothingTaken,
            RefundError::TooOld(_) => Why::TooOld,
            RefundError::AlreadyBeingReturned { refund_id, .. } => {
                Why::AlreadyBeingReturned { refund_id: refund_id.to_string() }
            }
            RefundError::Unfinished { refund_id, .. } => Why::Unfinished { refund_id: refund_id.to_string() },
            RefundError::MoreThanLeft { left } => Why::MoreThanLeft { left_kopecks: left.get() },
            RefundError::PartOfAHold => Why::PartOfAHold,
            RefundError::ChargedBack(_) => Why::ChargedBack,
            RefundError::RoleMayNot(_) | RefundError::ApprovesLess { .. } => Why::RoleMayNot,
            RefundError::SamePerson => Why::SamePerson,
            RefundError::NotWaiting { .. } => Why::NotWaiting,
            RefundError::NotWithdrawable { .. } => Why::NotWithdrawable,
        })
    }
}

impl From<SubmitError> for ApiError {
    fn from(error: SubmitError) -> Self {
        match error {
            SubmitError::UnknownPayment(id) => Self::not_found(Resource::Payment, &id),
            SubmitError::NotAwaiting(_) => Self::NotAwaitingThreeDs,
            SubmitError::WrongTransaction => Self::WrongTransaction,
            SubmitError::Expired => Self::ThreeDsExpired,
            SubmitError::Store(error) => error.into(),
        }
    }
}

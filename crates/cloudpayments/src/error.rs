//! Errors that say what to do.

use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::{
    Transaction,
    reason::{self, ReasonGroup},
};

/// Why a call brought no result, by what the caller should do about it.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// The bank or the gateway said no. Final for this attempt; the group says what may come next.
    #[error("declined: {0}")]
    Declined(Box<Decline>),

    /// The gateway provably did not process the request: send it again, the same way, later.
    #[error("not processed: {why}")]
    SafeToRetry {
        /// What kept it from being processed.
        why: NotProcessed,
        /// How long the gateway asked to wait (`Retry-After`).
        retry_after: Option<Duration>,
    },

    /// The request may have been processed. Look the payment up; never charge anew.
    #[error("outcome unknown: {why}")]
    OutcomeUnknown {
        /// What keeps us from knowing.
        why: Doubt,
    },

    /// The gateway refused the request as wrong, in documented words (see [`refusal`](crate::answer::refusal)); nothing
    /// was processed. Sending it again cannot help.
    #[error("request refused: {message}")]
    OurFault {
        /// The gateway's explanation.
        message: String,
    },

    /// HTTP 401: the Public ID or the API Secret is wrong. Nothing was processed; stop and alert.
    #[error("the gateway does not accept the Public ID and API Secret")]
    Unauthorized,
}

impl Error {
    /// Which one it is, in a word for figures and traces.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Declined(_) => "declined",
            Self::SafeToRetry { .. } => "safe_to_retry",
            Self::OutcomeUnknown { .. } => "unknown",
            Self::OurFault { .. } | Self::Unauthorized => "our_fault",
        }
    }
}

/// Reasons that prove the request was not processed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotProcessed {
    /// HTTP 429: more requests were in flight than the terminal may have.
    #[error("too many requests in flight at the gateway")]
    RateLimited,
    /// No connection came about (name not found, refused, TLS failed): not a byte of the request left.
    #[error("cannot connect: {0}")]
    Unreachable(String),
    /// The client's own limit stayed full for as long as a request may take.
    #[error("no free slot among this client's requests in flight")]
    Busy,
}

/// Reasons not to know the outcome.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Doubt {
    /// No complete answer in time.
    #[error("no answer in time")]
    Timeout,
    /// The connection broke after it was established.
    #[error("connection lost: {0}")]
    ConnectionLost(String),
    /// An HTTP status that says nothing about the request.
    #[error("HTTP status {0}")]
    Status(u16),
    /// The answer is larger than any the gateway sends.
    #[error("answer too large")]
    TooLarge,
    /// The answer cannot be read.
    #[error("unreadable answer: {0}")]
    Undecodable(&'static str),
    /// The answer contradicts itself.
    #[error("contradictory answer: {0}")]
    Contradictory(&'static str),
    /// Refused without a transaction, in words that do not prove that nothing was processed (see
    /// [`refusal`](crate::answer::refusal)).
    #[error("refused in words that prove nothing: {0}")]
    Refusal(String),
}

impl From<Doubt> for Error {
    fn from(why: Doubt) -> Self {
        Self::OutcomeUnknown { why }
    }
}

impl From<Decline> for Error {
    fn from(decline: Decline) -> Self {
        Self::Declined(Box::new(decline))
    }
}

/// A declined operation.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{code} {}", reason.as_deref().unwrap_or("(no reason given)"))]
pub struct Decline {
    /// `ReasonCode`; 0 when the gateway gave none.
    pub code: i32,
    /// What the code means for the next attempt.
    pub group: ReasonGroup,
    /// The gateway's name of the reason (`InsufficientFunds`).
    pub reason: Option<String>,
    /// What to tell the customer: the gateway's words, else the documentation's for the code.
    pub cardholder_message: Option<String>,
    /// Not before then may the customer be charged again (`RetryAfter`); overrides any own schedule.
    pub retry_after: Option<DateTime<Utc>>,
    /// The declined transaction, unless the answer did not name one.
    pub transaction: Option<Box<Transaction>>,
}

impl Decline {
    /// A decline with that code and those words of the gateway.
    pub(crate) fn new(
        code: i32,
        reason: Option<String>,
        cardholder_message: Option<String>,
        retry_after: Option<DateTime<Utc>>,
    ) -> Self {
        let documented = || Some(reason::find(code)?.cardholder_message.to_owned());
        Self {
            code,
            group: ReasonGroup::of(code),
            reason,
            cardholder_message: cardholder_message.or_else(documented),
            retry_after,
            transaction: None,
        }
    }

    /// The gateway's id of the declined transaction.
    pub fn transaction_id(&self) -> Option<i64> {
        self.transaction.as_ref().map(|transaction| transaction.transaction_id)
    }
}

impl From<Transaction> for Decline {
    /// The decline a looked-up transaction tells of.
    fn from(transaction: Transaction) -> Self {
        Self {
            transaction: Some(Box::new(transaction.clone())),
            ..Self::new(
                transaction.reason_code.unwrap_or(0),
                transaction.reason,
                transaction.cardholder_message,
                transaction.retry_after,
            )
        }
    }
}

//! What can become of an attempt: the words in which the world outside speaks to the machine.

use chrono::{DateTime, Utc};
use diesel::deserialize::{self, FromSql, FromSqlRow};
use diesel::expression::AsExpression;
use diesel::pg::{Pg, PgValue};
use diesel::serialize::{self, Output, ToSql};
use diesel::sql_types::Jsonb;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};

use crate::{Currency, Kopecks};

/// What became of a request, of a look-up, or of the waiting.
#[derive(Debug, Clone)]
pub enum Outcome {
    /// The money was taken.
    Completed {
        transaction_id: i64,
        /// For later charges without the customer.
        token: Option<SecretString>,
        /// What the gateway says it took.
        amount: Kopecks,
        currency: Currency,
        card: Option<CardMask>,
    },
    /// The money was taken, and has been given back since, all of it (`whole`) or a part: by hand in the gateway's
    /// cabinet, before anybody here knew that it was taken.
    Refunded {
        transaction_id: i64,
        /// As for [`Completed`](Self::Completed).
        token: Option<SecretString>,
        /// What the gateway says it took.
        amount: Kopecks,
        currency: Currency,
        card: Option<CardMask>,
        whole: bool,
    },
    /// The money is held, to be taken later.
    Authorized {
        transaction_id: i64,
        /// As for [`Completed`](Self::Completed).
        token: Option<SecretString>,
        amount: Kopecks,
        currency: Currency,
        card: Option<CardMask>,
    },
    /// The customer must answer a page of the bank.
    ThreeDsRequired { transaction_id: i64, acs_url: String, pa_req: String, expires_at: DateTime<Utc> },
    /// Refused. The group follows from the code.
    Declined {
        transaction_id: Option<i64>,
        code: i32,
        reason: String,
        cardholder_message: String,
        retry_after: Option<DateTime<Utc>>,
    },
    /// Not understood: no transaction came of it, and the same request will never do better.
    Rejected { message: String },
    /// Executed in test mode on a terminal that takes money: none was taken, our terminal or our settings are wrong.
    OnlyTest { transaction_id: i64 },
    /// The gateway says of it what cannot be true of it. No rule can tell what became of it: a person must.
    Disputed { why: String },
    /// Provably not processed (429, 401, connection refused): may be sent again.
    NotSent { why: String, retry_after: Option<DateTime<Utc>> },
    /// Sent, and no answer that tells what became of it.
    Unknown { why: String, look_again_at: DateTime<Utc> },
    /// Looked up and not found. `absent`: by both searches, and late enough to count as evidence
    /// (see [`ResolvePolicy::not_found`](crate::resolve::ResolvePolicy::not_found)).
    NotFound { absent: bool, look_again_at: DateTime<Utc> },
    /// Looked up: the gateway still waits for 3-D Secure, which may yet come.
    AwaitingAuthentication { transaction_id: i64, look_again_at: DateTime<Utc> },
    /// Looked up: the gateway still waits for 3-D Secure, and we shall not answer it any more.
    NeverAuthenticated { transaction_id: i64 },
    /// The customer did not answer the page in time.
    Expired,
    /// Absent twice, far enough apart: the gateway never executed it.
    NotExecuted,
    /// A person has looked for it in the gateway's cabinet, where it is shown nowhere.
    FoundNowhere { why: String },
    /// Taken back before it was sent, or superseded while the customer was on the page.
    Withdrawn { why: String },
    /// The hold was released.
    Voided,
}

/// An [`Outcome`] without its details: the columns of the transition table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OutcomeKind {
    Completed,
    Refunded,
    Authorized,
    ThreeDsRequired,
    Declined,
    Rejected,
    OnlyTest,
    Disputed,
    NotSent,
    Unknown,
    NotFound,
    AwaitingAuthentication,
    NeverAuthenticated,
    Expired,
    NotExecuted,
    FoundNowhere,
    Withdrawn,
    Voided,
}

impl Outcome {
    /// The same, without what it shows of the card.
    #[must_use]
    pub fn without_card(self) -> Self {
        match self {
            Self::Completed { transaction_id, token, amount, currency, card: _ } => {
                Self::Completed { transaction_id, token, amount, currency, card: None }
            }
            Self::Refunded { transaction_id, token, amount, currency, card: _, whole } => {
                Self::Refunded { transaction_id, token, amount, currency, card: None, whole }
            }
            Self::Authorized { transaction_id, token, amount, currency, card: _ } => {
                Self::Authorized { transaction_id, token, amount, currency, card: None }
            }
            other => other,
        }
    }

    /// The same, with what the card can be charged by again, if it is of money.
    #[must_use]
    pub fn with_token(self, secret: SecretString) -> Self {
        let token = Some(secret);
        match self {
            Self::Completed { transaction_id, amount, currency, card, .. } => {
                Self::Completed { transaction_id, token, amount, currency, card }
            }
            Self::Authorized { transaction_id, amount, currency, card, .. } => {
                Self::Authorized { transaction_id, token, amount, currency, card }
            }
            other => other,
        }
    }

    /// What it shows of the card.
    #[must_use]
    pub const fn card(&self) -> Option<&CardMask> {
        match self {
            Self::Completed { card, .. } | Self::Refunded { card, .. } | Self::Authorized { card, .. } => card.as_ref(),
            _ => None,
        }
    }

    /// The gateway's number that comes with it.
    #[must_use]
    pub const fn transaction_id(&self) -> Option<i64> {
        match self {
            Self::Completed { transaction_id, .. }
            | Self::Refunded { transaction_id, .. }
            | Self::Authorized { transaction_id, .. }
            | Self::ThreeDsRequired { transaction_id, .. }
            | Self::OnlyTest { transaction_id }
            | Self::AwaitingAuthentication { transaction_id, .. }
            | Self::NeverAuthenticated { transaction_id } => Some(*transaction_id),
            Self::Declined { transaction_id, .. } => *transaction_id,
            _ => None,
        }
    }

    /// The money that the gateway says it took or holds.
    #[must_use]
    pub const fn money(&self) -> Option<(Kopecks, Currency)> {
        match self {
            Self::Completed { amount, currency, .. }
            | Self::Refunded { amount, currency, .. }
            | Self::Authorized { amount, currency, .. } => Some((*amount, *currency)),
            _ => None,
        }
    }

    /// Which column of the transition table this is.
    #[must_use]
    pub const fn kind(&self) -> OutcomeKind {
        match self {
            Self::Completed { .. } => OutcomeKind::Completed,
            Self::Refunded { .. } => OutcomeKind::Refunded,
            Self::Authorized { .. } => OutcomeKind::Authorized,
            Self::ThreeDsRequired { .. } => OutcomeKind::ThreeDsRequired,
            Self::Declined { .. } => OutcomeKind::Declined,
            Self::Rejected { .. } => OutcomeKind::Rejected,
            Self::OnlyTest { .. } => OutcomeKind::OnlyTest,
            Self::Disputed { .. } => OutcomeKind::Disputed,
            Self::NotSent { .. } => OutcomeKind::NotSent,
            Self::Unknown { .. } => OutcomeKind::Unknown,
            Self::NotFound { .. } => OutcomeKind::NotFound,
            Self::AwaitingAuthentication { .. } => OutcomeKind::AwaitingAuthentication,
            Self::NeverAuthenticated { .. } => OutcomeKind::NeverAuthenticated,
            Self::Expired => OutcomeKind::Expired,
            Self::NotExecuted => OutcomeKind::NotExecuted,
            Self::FoundNowhere { .. } => OutcomeKind::FoundNowhere,
            Self::Withdrawn { .. } => OutcomeKind::Withdrawn,
            Self::Voided => OutcomeKind::Voided,
        }
    }
}

impl OutcomeKind {
    /// For messages.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Refunded => "refunded",
            Self::Authorized => "authorized",
            Self::ThreeDsRequired => "three_ds_required",
            Self::Declined => "declined",
            Self::Rejected => "rejected",
            Self::OnlyTest => "only_test",
            Self::Disputed => "disputed",
            Self::NotSent => "not_sent",
            Self::Unknown => "unknown",
            Self::NotFound => "not_found",
            Self::AwaitingAuthentication => "awaiting_authentication",
            Self::NeverAuthenticated => "never_authenticated",
            Self::Expired => "expired",
            Self::NotExecuted => "not_executed",
            Self::FoundNowhere => "found_nowhere",
            Self::Withdrawn => "withdrawn",
            Self::Voided => "voided",
        }
    }
}

/// What may be shown of a card. Stored as JSON: nothing is ever searched by it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, AsExpression, FromSqlRow)]
#[diesel(sql_type = Jsonb)]
pub struct CardMask {
    pub first_six: Option<String>,
    pub last_four: Option<String>,
    /// `MM/YY`.
    pub expires: Option<String>,
    /// The scheme, as in `Visa`.
    pub scheme: Option<String>,
    /// What the gateway tells the card by from every other. It is never stored: see [`CardHash`](crate::card::CardHash).
    #[serde(skip)]
    pub fingerprint: Option<String>,
}

impl CardMask {
    pub(super) fn storable(self) -> Self {
        let storable = |text: Option<String>| text.as_deref().map(super::clip);
        Self {
            first_six: storable(self.first_six),
            last_four: storable(self.last_four),
            expires: storable(self.expires),
            scheme: storable(self.scheme),
            fingerprint: None,
        }
    }
}

impl ToSql<Jsonb, Pg> for CardMask {
    fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Pg>) -> serialize::Result {
        let json = serde_json::to_value(self)?;
        ToSql::<Jsonb, Pg>::to_sql(&json, &mut out.reborrow())
    }
}

impl FromSql<Jsonb, Pg> for CardMask {
    fn from_sql(value: PgValue<'_>) -> deserialize::Result<Self> {
        Ok(serde_json::from_value(<serde_json::Value as FromSql<Jsonb, Pg>>::from_sql(value)?)?)
    }
}

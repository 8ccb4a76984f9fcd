//! One operation in the ledger, and the little types it is made of.

use std::fmt;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use super::order::OrderId;
use crate::{
    cards::CardMask,
    cryptogram::PacketDigest,
    money::{Amount, Currency},
    reason::Reason,
};

/// Longer than 32 bits, as the gateway's `Long` may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct TransactionId(pub(crate) i64);

impl fmt::Display for TransactionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// `X-Request-ID`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct RequestId(pub(crate) String);

/// A card's token. Whoever has it can charge the card, so it does not show itself in logs.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Token(pub(crate) String);

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(***)")
    }
}

/// Operation types of the gateway's handbook.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Kind {
    Payment,
    Refund,
    CardPayout,
}

impl Kind {
    /// `Type` of the transaction model.
    pub(crate) const fn code(self) -> u8 {
        match self {
            Self::Payment => 0,
            Self::Refund => 1,
            Self::CardPayout => 2,
        }
    }

    /// `OperationType` of notifications.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Payment => "Payment",
            Self::Refund => "Refund",
            Self::CardPayout => "CardPayout",
        }
    }
}

/// Statuses of the gateway's handbook with the actions it allows: `Authorized` can be confirmed and voided,
/// `Completed` refunded, the others nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Status {
    AwaitingAuthentication,
    Authorized,
    Completed,
    Cancelled,
    Declined,
}

impl Status {
    const ALL: [Self; 5] =
        [Self::AwaitingAuthentication, Self::Authorized, Self::Completed, Self::Cancelled, Self::Declined];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::AwaitingAuthentication => "AwaitingAuthentication",
            Self::Authorized => "Authorized",
            Self::Completed => "Completed",
            Self::Cancelled => "Cancelled",
            Self::Declined => "Declined",
        }
    }

    /// `StatusCode` of the transaction model.
    pub(crate) const fn code(self) -> u8 {
        match self {
            Self::AwaitingAuthentication => 1,
            Self::Authorized => 2,
            Self::Completed => 3,
            Self::Cancelled => 4,
            Self::Declined => 5,
        }
    }

    pub(crate) fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.name().eq_ignore_ascii_case(name))
    }
}

/// How long an authorization waits for its confirmation before the gateway cancels it ("до 7 дней").
const AUTHORIZATION_LIFE: TimeDelta = TimeDelta::days(7);
/// Refunds are not made for transactions older than a year.
const REFUND_LIFE: TimeDelta = TimeDelta::days(365);

/// What the merchant says about a payment; the same for cards and tokens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Purpose {
    pub(crate) amount: Amount,
    pub(crate) currency: Currency,
    pub(crate) invoice_id: Option<String>,
    pub(crate) account_id: Option<String>,
    pub(crate) email: Option<String>,
    pub(crate) description: Option<String>,
    /// JSON as text, as the model shows it.
    pub(crate) json_data: Option<String>,
    pub(crate) ip_address: Option<String>,
    /// Language of the messages to the payer.
    pub(crate) culture: String,
    /// Authorize now, confirm later (`…/auth` instead of `…/charge`).
    pub(crate) two_stage: bool,
}

/// A payment or a refund.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Transaction {
    pub(crate) id: TransactionId,
    pub(crate) kind: Kind,
    /// As last decided; [`Transaction::status`] also knows what time has done to it.
    pub(crate) recorded_status: Status,
    /// `None` while it waits for 3-D Secure.
    pub(crate) reason: Option<Reason>,
    /// `purpose.amount` is what was asked for; after a partial confirmation, what was confirmed.
    pub(crate) purpose: Purpose,
    pub(crate) holder_name: Option<String>,
    pub(crate) card: Option<CardMask>,
    pub(crate) save_card: bool,
    pub(crate) token: Option<Token>,
    /// Who began a token charge: 0 merchant, 1 cardholder.
    pub(crate) initiator: Option<i64>,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) authorized_at: Option<DateTime<Utc>>,
    pub(crate) confirmed_at: Option<DateTime<Utc>>,
    /// The payment a refund belongs to.
    pub(crate) original_id: Option<TransactionId>,
    /// Σ of this payment's refunds.
    pub(crate) refunded: Amount,
    pub(crate) request_id: Option<RequestId>,
    pub(crate) packet: Option<PacketDigest>,
    /// The subscription that made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) subscription_id: Option<String>,
    /// The order whose link it was made at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) order_id: Option<OrderId>,
    /// Whom a payout is for, JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) receiver: Option<String>,
}

impl Transaction {
    /// The status at `now`: an authorization nobody confirmed for seven days is cancelled.
    pub(crate) fn status(&self, now: DateTime<Utc>) -> Status {
        let forgotten = self.recorded_status == Status::Authorized
            && self.authorized_at.is_some_and(|at| now >= at + AUTHORIZATION_LIFE);
        if forgotten { Status::Cancelled } else { self.recorded_status }
    }

    /// When an authorization ends if nobody confirms it.
    pub(crate) fn expires_at(&self) -> Option<DateTime<Utc>> {
        let waits = self.recorded_status == Status::Authorized;
        self.authorized_at.filter(|_| waits).map(|at| at + AUTHORIZATION_LIFE)
    }

    /// What can still be given back.
    pub(crate) fn refundable(&self) -> Amount {
        self.purpose.amount.minus(self.refunded)
    }

    pub(crate) fn too_old_to_refund(&self, now: DateTime<Utc>) -> bool {
        now > self.created_at + REFUND_LIFE
    }

    /// All of it was given back.
    pub(crate) fn is_refunded(&self) -> bool {
        self.refunded >= self.purpose.amount
    }

    /// The bank's answer, good or bad. A good one completes the payment or, in two stages, authorizes it.
    pub(crate) fn decide(&mut self, reason: Reason, now: DateTime<Utc>) {
        self.reason = Some(reason);
        if reason != Reason::APPROVED {
            self.recorded_status = Status::Declined;
            return;
        }
        self.authorized_at = Some(now);
        if self.purpose.two_stage {
            self.recorded_status = Status::Authorized;
        } else {
            self.confirm(self.purpose.amount, now);
        }
    }

    pub(crate) fn confirm(&mut self, amount: Amount, now: DateTime<Utc>) {
        self.recorded_status = Status::Completed;
        self.purpose.amount = amount;
        self.confirmed_at = Some(now);
    }
}

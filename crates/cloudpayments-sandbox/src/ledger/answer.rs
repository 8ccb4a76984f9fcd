//! What a command or a query comes to.

use std::{fmt, sync::Arc};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{
    Chargeback, IssuedToken,
    order::{Order, OrderId},
    receipt::{Receipt, ReceiptId},
    subscription::{Subscription, SubscriptionId},
    transaction::{Transaction, TransactionId},
};
use crate::notification::settings::Settings;

/// The answer to a command. Transactions are named by id, and shown as they are when the answer is made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Verdict {
    Pong(Uuid),
    Done,
    Transaction(TransactionId),
    ThreeDs(TransactionId),
    Refunded(TransactionId),
    Subscription(SubscriptionId),
    Order(OrderId),
    /// Queued.
    Receipt(ReceiptId),
    Refused(String),
}

/// What is shown to the merchant: a snapshot, which later changes do not touch.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    Pong(Uuid),
    Done,
    Transaction(Arc<Transaction>),
    ThreeDs(Arc<Transaction>),
    Refunded(TransactionId),
    Transactions(Vec<Arc<Transaction>>),
    Tokens(Vec<Arc<IssuedToken>>),
    Subscription(Arc<Subscription>),
    Subscriptions(Vec<Arc<Subscription>>),
    Order(Arc<Order>),
    ReceiptQueued(ReceiptId),
    Receipt(Arc<Receipt>),
    Chargebacks(Vec<Chargeback>),
    Notifications(Settings),
    ApplePay(serde_json::Value),
    Refused(String),
}

/// For logs: whom it concerns is left out.
impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pong(_) => f.write_str("pong"),
            Self::Done => f.write_str("done"),
            Self::Transaction(it) => write!(f, "transaction {} {}", it.id, it.recorded_status.name()),
            Self::ThreeDs(it) => write!(f, "transaction {} needs 3-D Secure", it.id),
            Self::Refunded(id) => write!(f, "refund {id}"),
            Self::Transactions(list) => write!(f, "{} transactions", list.len()),
            Self::Tokens(list) => write!(f, "{} tokens", list.len()),
            Self::Subscription(it) => write!(f, "subscription {} {}", it.id.0, it.status.name()),
            Self::Subscriptions(list) => write!(f, "{} subscriptions", list.len()),
            Self::Order(it) => write!(f, "order {} {}", it.number, it.status.name()),
            Self::ReceiptQueued(_) => f.write_str("receipt queued"),
            Self::Receipt(it) => write!(f, "receipt {}", it.number),
            Self::Chargebacks(list) => write!(f, "{} chargebacks", list.len()),
            Self::Notifications(_) => f.write_str("settings of notifications"),
            Self::ApplePay(_) => f.write_str("session of Apple Pay"),
            Self::Refused(message) => write!(f, "refused: {message}"),
        }
    }
}

/// An answer and the moment it was true.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    pub(crate) answer: Answer,
    pub(crate) at: DateTime<Utc>,
}

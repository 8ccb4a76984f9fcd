//! Orders ("Создание счета для отправки по почте"): a link the payer pays at.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{subscription::Interval, transaction::TransactionId};
use crate::money::{Amount, Currency};

/// Sixteen letters and digits.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct OrderId(pub(crate) String);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Status {
    Created,
    Paid,
    Cancelled,
}

impl Status {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Created => "Created",
            Self::Paid => "Paid",
            Self::Cancelled => "Cancelled",
        }
    }

    /// The documentation's example has 0 for `Created`; the others are by order.
    pub(crate) const fn code(self) -> u8 {
        match self {
            Self::Created => 0,
            Self::Paid => 1,
            Self::Cancelled => 2,
        }
    }
}

/// What the merchant asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Offer {
    pub(crate) amount: Amount,
    pub(crate) currency: Currency,
    pub(crate) description: String,
    pub(crate) email: Option<String>,
    pub(crate) phone: Option<String>,
    /// `RequireConfirmation`.
    pub(crate) two_stage: bool,
    pub(crate) invoice_id: Option<String>,
    pub(crate) account_id: Option<String>,
    pub(crate) culture: String,
    /// A payment begins a subscription of so often (`CreateWeekly`, `CreateMonthly`).
    pub(crate) subscribes: Option<Interval>,
    pub(crate) success_url: Option<String>,
    pub(crate) fail_url: Option<String>,
    pub(crate) json_data: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Order {
    pub(crate) id: OrderId,
    pub(crate) number: u64,
    pub(crate) offer: Offer,
    pub(crate) status: Status,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) paid_at: Option<DateTime<Utc>>,
    /// The last payment begun at its link.
    pub(crate) payment: Option<TransactionId>,
}

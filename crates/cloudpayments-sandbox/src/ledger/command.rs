//! What a merchant can ask of the ledger. Commands may change it and are remembered by their request id; queries only
//! look.

use chrono::{DateTime, NaiveDate, Utc};
use uuid::Uuid;

use super::{
    TokenRule,
    order::{Offer, OrderId},
    receipt::{self, ReceiptId},
    subscription::{Patch, SubscriptionId, Terms},
    transaction::{Purpose, Status, Token, TransactionId},
};
use crate::{
    cryptogram::Packet,
    money::Amount,
    notification::{Kind, settings::Settings},
    reason::Reason,
};

#[derive(Clone, Debug)]
pub(crate) enum Command {
    /// `/test`: answered with this id.
    Ping(Uuid),
    ChargeCard(CardCharge),
    ChargeToken(TokenCharge),
    PostThreeDs {
        id: TransactionId,
        pa_res: PaRes,
    },
    Confirm {
        id: TransactionId,
        amount: Amount,
        /// Takes the place of the payment's own.
        json_data: Option<String>,
    },
    Void {
        id: TransactionId,
    },
    Refund {
        id: TransactionId,
        amount: Amount,
        json_data: Option<String>,
    },
    PayOut(Payout),
    CreateSubscription(Terms),
    UpdateSubscription {
        id: SubscriptionId,
        patch: Patch,
    },
    CancelSubscription {
        id: SubscriptionId,
    },
    CreateOrder(Offer),
    CancelOrder {
        id: OrderId,
    },
    QueueReceipt(receipt::Order),
    SetNotifications {
        kind: Kind,
        settings: Settings,
    },
    /// The sandbox's own: the bank takes a payment back.
    ChargeBack {
        id: TransactionId,
        /// `None`: all of it.
        amount: Option<Amount>,
    },
    /// The sandbox's own: a token will be declined.
    SpoilToken(TokenRule),
    /// What time does.
    CancelAuthorization {
        id: TransactionId,
    },
    ChargeSubscription {
        id: SubscriptionId,
        checked: Option<Checked>,
    },
    IssueReceipt {
        id: ReceiptId,
    },
}

#[derive(Clone, Debug)]
pub(crate) struct Payout {
    pub(crate) purpose: Purpose,
    pub(crate) to: PayoutTo,
    pub(crate) holder_name: Option<String>,
    /// JSON.
    pub(crate) receiver: Option<String>,
}

#[derive(Clone, Debug)]
pub(crate) enum PayoutTo {
    Card(Packet),
    Token(Token),
    /// By the faster payments system: the phone is in the receiver.
    Phone,
}

#[derive(Clone, Debug)]
pub(crate) struct CardCharge {
    pub(crate) purpose: Purpose,
    pub(crate) packet: Packet,
    pub(crate) holder_name: Option<String>,
    pub(crate) save_card: bool,
    pub(crate) checked: Option<Checked>,
    /// The order whose link the payer is at.
    pub(crate) order_id: Option<OrderId>,
}

#[derive(Clone, Debug)]
pub(crate) struct TokenCharge {
    pub(crate) purpose: Purpose,
    pub(crate) token: Token,
    pub(crate) initiator: Option<i64>,
    pub(crate) checked: Option<Checked>,
}

/// What the shop said to the check of a payment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Checked {
    /// Kept for the payment, since the check names it.
    pub(crate) id: TransactionId,
    /// `None`: go on.
    pub(crate) refusal: Option<Reason>,
}

impl Command {
    /// Where the result of a check goes, for a command that is preceded by one.
    pub(crate) fn checked_mut(&mut self) -> Option<&mut Option<Checked>> {
        match self {
            Self::ChargeCard(charge) => Some(&mut charge.checked),
            Self::ChargeToken(charge) => Some(&mut charge.checked),
            Self::ChargeSubscription { checked, .. } => Some(checked),
            _ => None,
        }
    }
}

/// The payer's authentication result. Not shown in logs.
#[derive(Clone)]
pub(crate) struct PaRes(pub(crate) String);

impl std::fmt::Debug for PaRes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PaRes(***)")
    }
}

#[derive(Clone, Debug)]
pub(crate) enum Query {
    Get { id: TransactionId },
    Find { invoice_id: String, scope: FindScope },
    List(ListQuery),
    Tokens { page: Page },
    Subscription { id: SubscriptionId },
    Subscriptions { account_id: String },
    Receipt { id: ReceiptId },
    Chargebacks { period: Period, page: Page },
    Notifications { kind: Kind },
    ApplePay { domain: String },
}

/// What shares an invoice id with a payment: `/v2/payments/find` sees refunds too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FindScope {
    Payments,
    AllOperations,
}

#[derive(Clone, Debug)]
pub(crate) struct ListQuery {
    pub(crate) period: Period,
    /// Empty: all.
    pub(crate) statuses: Vec<Status>,
    /// `None`: everything at once, as `/payments/list` answers.
    pub(crate) page: Option<Page>,
}

/// By creation, both ends included.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Period {
    pub(crate) from: DateTime<Utc>,
    pub(crate) to: DateTime<Utc>,
}

impl Period {
    /// One calendar day of a time zone.
    pub(crate) fn day(date: NaiveDate, zone: chrono::FixedOffset) -> Option<Self> {
        let from = date.and_time(chrono::NaiveTime::MIN).and_local_timezone(zone).single()?.to_utc();
        Some(Self { from, to: from + chrono::TimeDelta::days(1) - chrono::TimeDelta::nanoseconds(1) })
    }

    pub(super) fn contains(self, moment: DateTime<Utc>) -> bool {
        (self.from..=self.to).contains(&moment)
    }
}

/// Counted from 1; a hundred items each.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Page(pub(crate) usize);

impl Page {
    const SIZE: usize = 100;

    pub(super) fn of<T>(self, items: impl Iterator<Item = T>) -> Vec<T> {
        items.skip(self.0.saturating_sub(1).saturating_mul(Self::SIZE)).take(Self::SIZE).collect()
    }
}

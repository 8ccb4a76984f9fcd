//! What a subscriber does after the first payment. Each verb is one transaction under the account's lock.

mod change_at_once;
mod change_tariff;
mod close;
mod history;
mod replace_card;
mod request;
mod verbs;

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};

pub use self::change_at_once::{Preview, change_tariff_at_once, changed_before, preview_change};
pub use self::change_tariff::change_tariff;
pub use self::close::close;
pub use self::history::{BillView, Page, bill, bills, payments};
pub use self::replace_card::{NewCard, Replacing, replace_card, replaced_before};
pub use self::request::{Request, VerbError, Written};
pub use self::verbs::{Verb, perform};
use super::payments::PaymentView;
use super::{StoreError, declines, tariffs};
use crate::account::{Account, AccountStatus};
use crate::bill::BillKind;
use crate::decline::Rule;
use crate::explain::{self, Explanation, PaymentFacts, UnderWay};
use crate::models::{AccountRow, BillRow, PaymentRow, Tariff};
use crate::payment::{CardMask, Instrument, Payment, PaymentState};
use crate::schema::{account, bill, payment};
use crate::times::Times;
use crate::{AccountId, BillId, TariffId};

/// A subscription with what belongs to it. Holds no secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscription {
    pub account: Account,
    /// The tariff that runs, or ran last, with its price at the next charge.
    pub tariff: Option<Tariff>,
    /// Another tariff that was chosen from the next period on, likewise.
    pub pending: Option<Tariff>,
    /// What may be shown of the card that renewals are charged to.
    pub card: Option<CardMask>,
    /// The bill that is owed, with the payment for it that is under way.
    pub open: Option<OpenBill>,
    /// Of an overdue subscription: what its last refusal means.
    pub refusal: Option<Rule>,
}

/// A bill that is owed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenBill {
    pub bill: BillView,
    pub payment: Option<(PaymentView, Payment)>,
}

impl Subscription {
    /// What will be charged without the customer, and when.
    #[must_use]
    pub fn next_charge(&self) -> Option<(DateTime<Utc>, crate::Kopecks, crate::Currency)> {
        let at = self.account.next_charge_at.filter(|_| self.account.renews())?;
        let owed = self.open.as_ref().filter(|open| open.bill.kind != BillKind::Change);
        let owed = owed.map(|open| (open.bill.amount, open.bill.currency));
        let next = self.pending.as_ref().or(self.tariff.as_ref());
        let (amount, currency) = owed.or_else(|| next.map(|tariff| (tariff.amount, tariff.currency)))?;
        Some((at, amount, currency))
    }

    /// Why it is in its state at `now`, and what comes next, by the times that the workers act by.
    #[must_use]
    pub fn explained(&self, times: &Times, now: DateTime<Utc>) -> Explanation {
        let zone = self.account.time_zone;
        let attempt = self.open.as_ref().and_then(|open| open.payment.as_ref()).map(|(_, payment)| {
            let facts = PaymentFacts { payment, policy: &times.resolve, answer_within: times.answer_within, zone };
            explain::payment(facts, now)
        });
        let kind = self.open.as_ref().map(|open| open.bill.kind);
        let under_way = kind.zip(attempt.as_ref()).map(|(kind, payment)| UnderWay { kind, payment });
        explain::account(&self.account, under_way, self.refusal.as_ref(), now)
    }
}

/// The subscription of an account; `None`: it is not known.
///
/// # Errors
/// [`StoreError::Db`].
pub async fn get(conn: &mut AsyncPgConnection, id: AccountId) -> Result<Option<Subscription>, StoreError> {
    let row = account::table.find(id).select(AccountRow::as_select()).first(conn).await.optional()?;
    match row {
        Some(row) => Ok(Some(of(conn, row).await?)),
        None => Ok(None),
    }
}

/// Reads what belongs to an account's row.
async fn of(conn: &mut AsyncPgConnection, row: AccountRow) -> Result<Subscription, StoreError> {
    let prices = tariffs::price_list(conn, row.tariff_id.into_iter().chain(row.pending_tariff_id)).await?;
    let charged_at = row.next_charge_at.or(row.paid_until).unwrap_or(row.updated_at);
    let priced = |id: Option<TariffId>| id.and_then(|id| prices.get(id, charged_at));
    let (tariff, pending) = (priced(row.tariff_id), priced(row.pending_tariff_id));
    let open = open_bill(conn, row.id).await?;
    let open = match open {
        Some(bill) => {
            let live = live_payment(conn, &bill).await?;
            let payment = live.map(|live| (PaymentView::from_rows(&row, &bill, &live), live.machine(&bill)));
            Some(OpenBill { bill: BillView::of(&bill), payment })
        }
        None => None,
    };
    let refusal = match &open {
        Some(open) if row.status == AccountStatus::Overdue && row.declines > 0 => {
            last_refusal(conn, open.bill.id).await?
        }
        _ => None,
    };
    Ok(Subscription { account: row.machine(), tariff, pending, card: row.card.clone(), open, refusal })
}

/// What the last refusal of the kept card for this bill means, by the rules of this moment.
async fn last_refusal(conn: &mut AsyncPgConnection, bill: BillId) -> Result<Option<Rule>, StoreError> {
    let code: Option<Option<i32>> = payment::table
        .filter(payment::bill_id.eq(bill).and(payment::instrument.eq(Instrument::Token)))
        .filter(payment::state.eq(PaymentState::Declined))
        .order(payment::finished_at.desc())
        .select(payment::reason_code)
        .first(conn)
        .await
        .optional()?;
    match code.flatten() {
        Some(code) => Ok(Some(declines::ruling(conn, code).await?.rule)),
        None => Ok(None),
    }
}

/// The one bill that an account owes.
async fn open_bill(conn: &mut AsyncPgConnection, id: AccountId) -> Result<Option<BillRow>, StoreError> {
    Ok(bill::table
        .filter(bill::account_id.eq(id))
        .filter(super::owed())
        .select(BillRow::as_select())
        .first(conn)
        .await
        .optional()?)
}

/// The payment of a bill that is under way; there is at most one.
async fn live_payment(conn: &mut AsyncPgConnection, bill: &BillRow) -> Result<Option<PaymentRow>, StoreError> {
    Ok(payment::table
        .filter(payment::bill_id.eq(bill.id).and(payment::is_success.is_null()))
        .select(PaymentRow::as_select())
        .first(conn)
        .await
        .optional()?)
}

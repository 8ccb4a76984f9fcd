//! What an account has paid and owed, the newest first.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};

use super::super::StoreError;
use super::super::payments::PaymentView;
use crate::account::SkippedPeriod;
use crate::bill::{BillKind, BillStatus};
use crate::models::{AccountRow, BillRow, PaymentRow, SkippedRow};
use crate::schema::{account, bill, payment, skipped_period};
use crate::{AccountId, BillId, Currency, Kopecks, PaymentId, TariffId};

/// A bill as others see it. Holds no secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BillView {
    pub id: BillId,
    pub account_id: AccountId,
    pub tariff_id: TariffId,
    pub status: BillStatus,
    pub kind: BillKind,
    pub description: String,
    pub amount: Kopecks,
    pub currency: Currency,
    pub period_no: i32,
    pub is_trial: bool,
    pub created_at: DateTime<Utc>,
    pub paid_at: Option<DateTime<Utc>>,
    /// Periods that passed unpaid before this one and are not charged for, the first of them first.
    pub skipped: Vec<SkippedPeriod>,
}

impl BillView {
    pub(in crate::store) fn of(row: &BillRow) -> Self {
        Self {
            id: row.id,
            account_id: row.account_id,
            tariff_id: row.tariff_id,
            status: row.status,
            kind: row.kind,
            description: row.description.clone(),
            amount: row.amount,
            currency: row.currency,
            period_no: row.period_no,
            is_trial: row.trial_days.is_some(),
            created_at: row.created_at,
            paid_at: row.paid_at,
            skipped: Vec::new(),
        }
    }
}

/// A part of a list, and where the next part begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T, Id> {
    pub rows: Vec<T>,
    /// `None`: this is the end.
    pub next: Option<Id>,
}

/// The bills of an account older than `before`, the newest first. `None`: the account is not known.
///
/// # Errors
/// [`StoreError::Db`].
pub async fn bills(
    conn: &mut AsyncPgConnection,
    id: AccountId,
    before: Option<BillId>,
    limit: i64,
) -> Result<Option<Page<BillView, BillId>>, StoreError> {
    if !is_known(conn, id).await? {
        return Ok(None);
    }
    let before = before.unwrap_or_else(|| uuid::Uuid::max().into());
    let rows: Vec<BillRow> = bill::table
        .filter(bill::account_id.eq(id).and(bill::id.lt(before)))
        .filter(bill::kind.ne(BillKind::Verification))
        .order(bill::id.desc())
        .limit(limit + 1)
        .select(BillRow::as_select())
        .load(conn)
        .await?;
    let mut page = page(rows.iter().map(BillView::of).collect(), limit, |bill| bill.id);
    let skipped = skipped_instead_of(conn, id, page.rows.iter().map(|bill| bill.id)).await?;
    for row in skipped {
        if let Some(bill) = page.rows.iter_mut().find(|bill| bill.id == row.bill_id) {
            bill.skipped.push(row.period());
        }
    }
    Ok(Some(page))
}

/// The payments of an account older than `before`, the newest first. `None`: the account is not known.
///
/// # Errors
/// [`StoreError::Db`].
pub async fn payments(
    conn: &mut AsyncPgConnection,
    id: AccountId,
    before: Option<PaymentId>,
    limit: i64,
) -> Result<Option<Page<PaymentView, PaymentId>>, StoreError> {
    if !is_known(conn, id).await? {
        return Ok(None);
    }
    let before = before.unwrap_or_else(|| uuid::Uuid::max().into());
    let rows: Vec<(AccountRow, BillRow, PaymentRow)> = account::table
        .inner_join(bill::table.inner_join(payment::table))
        .filter(account::id.eq(id).and(payment::id.lt(before)))
        .order(payment::id.desc())
        .limit(limit + 1)
        .select((AccountRow::as_select(), BillRow::as_select(), PaymentRow::as_select()))
        .load(conn)
        .await?;
    let views = rows.iter().map(|(account, bill, payment)| PaymentView::from_rows(account, bill, payment)).collect();
    Ok(Some(page(views, limit, |payment: &PaymentView| payment.id)))
}

/// One bill.
///
/// # Errors
/// [`StoreError::Db`].
pub async fn bill(conn: &mut AsyncPgConnection, id: BillId) -> Result<Option<BillView>, StoreError> {
    let row = bill::table.find(id).select(BillRow::as_select()).first(conn).await.optional()?;
    let Some(row) = row else { return Ok(None) };
    let skipped = skipped_instead_of(conn, row.account_id, [id]).await?;
    Ok(Some(BillView { skipped: skipped.iter().map(SkippedRow::period).collect(), ..BillView::of(&row) }))
}

/// The periods that were skipped when these bills of an account were opened, in their order.
async fn skipped_instead_of(
    conn: &mut AsyncPgConnection,
    account_id: AccountId,
    bills: impl IntoIterator<Item = BillId>,
) -> Result<Vec<SkippedRow>, StoreError> {
    Ok(skipped_period::table
        .filter(skipped_period::account_id.eq(account_id))
        .filter(skipped_period::bill_id.eq_any(bills.into_iter().collect::<Vec<_>>()))
        .order(skipped_period::begins_at)
        .select(SkippedRow::as_select())
        .load(conn)
        .await?)
}

async fn is_known(conn: &mut AsyncPgConnection, id: AccountId) -> Result<bool, StoreError> {
    Ok(diesel::select(diesel::dsl::exists(account::table.find(id))).get_result(conn).await?)
}

/// One row more than the limit was asked for: it says that there is a next page.
fn page<T, Id>(mut rows: Vec<T>, limit: i64, id: impl Fn(&T) -> Id) -> Page<T, Id> {
    let limit = usize::try_from(limit).unwrap_or_default();
    let more = rows.len() > limit;
    rows.truncate(limit);
    let next = rows.last().map(id).filter(|_| more);
    Page { rows, next }
}

//! Receipts that were not made an hour after their money moved: a person is told, and may have the register asked for others.

use chrono::{DateTime, Utc};
use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::Bool;
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl};

use super::super::payments::load::lock_known;
use super::super::{StoreError, events};
use super::{issued, orders};
use crate::event::{EventKind, NewEvent};
use crate::receipt::{MISSING_AFTER, OrderState, ReceiptKind, ReceiptWay};
use crate::schema::receipt;
use crate::{Kopecks, PaymentId, ReceiptId};

/// A receipt that nobody has made.
#[derive(Debug, Clone, PartialEq, Eq, Queryable)]
pub struct Missing {
    pub id: ReceiptId,
    pub payment_id: PaymentId,
    pub kind: ReceiptKind,
    pub way: ReceiptWay,
    pub amount: Kopecks,
    /// Since when there is reason for it.
    pub due_at: DateTime<Utc>,
    /// Where an order stands.
    pub state: Option<OrderState>,
}

/// As the indexes have it.
fn awaited() -> diesel::expression::SqlLiteral<Bool> {
    sql("receipt.due_at is not null and receipt.issued_at is null and receipt.covered_by is null")
}

/// What is missing, the longest first.
///
/// # Errors
/// [`StoreError::Db`].
pub async fn list_missing(
    conn: &mut AsyncPgConnection,
    now: DateTime<Utc>,
    limit: i64,
) -> Result<Vec<Missing>, StoreError> {
    let missing = receipt::table.filter(awaited()).filter(receipt::due_at.le(now - MISSING_AFTER));
    Ok(missing
        .order(receipt::due_at)
        .limit(limit)
        .select((
            receipt::id,
            receipt::payment_id,
            receipt::kind,
            receipt::way,
            receipt::amount,
            receipt::due_at.assume_not_null(),
            receipt::state,
        ))
        .load(conn)
        .await?)
}

/// Tells a person of what is missing, once for each payment; at most `limit` receipts at once. Returns the payments that were
/// told of.
///
/// # Errors
/// [`StoreError`].
pub async fn tell_missing(
    conn: &mut AsyncPgConnection,
    now: DateTime<Utc>,
    limit: i64,
) -> Result<Vec<PaymentId>, StoreError> {
    let untold = receipt::table.filter(awaited()).filter(receipt::told_at.is_null());
    let untold = untold.filter(receipt::due_at.le(now - MISSING_AFTER)).order(receipt::due_at).limit(limit);
    let mut payments: Vec<PaymentId> = untold.select(receipt::payment_id).load(conn).await?;
    payments.sort_unstable();
    payments.dedup();
    let mut told = Vec::new();
    for id in payments {
        if tell(conn, id, now).await? {
            told.push(id);
        }
    }
    Ok(told)
}

/// Returns whether this payment was not told of before.
async fn tell(conn: &mut AsyncPgConnection, id: PaymentId, now: DateTime<Utc>) -> Result<bool, StoreError> {
    conn.transaction(async |conn| {
        let locked = lock_known(conn, id).await?;
        let of_payment = receipt::table.filter(receipt::payment_id.eq(id));
        let before: i64 = of_payment.filter(receipt::told_at.is_not_null()).count().get_result(conn).await?;
        let missing = of_payment.filter(awaited()).filter(receipt::due_at.le(now - MISSING_AFTER));
        let found = diesel::update(missing).set(receipt::told_at.eq(now)).execute(conn).await?;
        if before > 0 || found == 0 {
            return Ok(false);
        }
        let event = NewEvent::of_account(EventKind::NeedsAttention, locked.account.id).bill(locked.bill.id);
        let event = event.payment(id).with("what", "a receipt was not made within an hour");
        events::append(conn, vec![event], now).await?;
        Ok(true)
    })
    .await
}

/// Has the register asked for everything that is missing of a payment, each once more. After the commit send
/// [`SendReceipt`](crate::tasks::SendReceipt) for each; nothing is missing if there is none.
///
/// # Errors
/// [`StoreError`]; [`StoreError::UnknownPayment`] if there is none.
pub async fn order_missing(
    conn: &mut AsyncPgConnection,
    payment_id: PaymentId,
    by: &str,
    now: DateTime<Utc>,
) -> Result<Vec<ReceiptId>, StoreError> {
    conn.transaction(async |conn| {
        lock_known(conn, payment_id).await?;
        let known = issued::of_payment(conn, payment_id).await?;
        let mut ordered = Vec::new();
        for missing in known.into_iter().filter(|known| known.is_missing(now)) {
            let refund_id = receipt::table.find(missing.id).select(receipt::refund_id).first(conn).await?;
            let order = orders::NewOrder { payment_id, refund_id, kind: missing.kind, amount: missing.amount };
            let id = orders::order(conn, &order, by, now).await?;
            diesel::update(receipt::table.find(missing.id)).set(receipt::covered_by.eq(id)).execute(conn).await?;
            ordered.push(id);
        }
        Ok(ordered)
    })
    .await
}

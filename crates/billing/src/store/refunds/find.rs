//! Reading refunds.

use chrono::{DateTime, Utc};
use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Bool};
use diesel_async::{AsyncPgConnection, RunQueryDsl};

use super::super::StoreError;
use crate::models::RefundRow;
use crate::refund::RefundState;
use crate::schema::{bill, payment, refund};
use crate::{AccountId, Kopecks, PaymentId, RefundId};

/// One refund.
///
/// # Errors
/// [`StoreError::Db`].
pub async fn get(conn: &mut AsyncPgConnection, id: RefundId) -> Result<Option<RefundRow>, StoreError> {
    Ok(refund::table.find(id).select(RefundRow::as_select()).first(conn).await.optional()?)
}

/// All refunds of a payment, from the first.
///
/// # Errors
/// [`StoreError::Db`].
pub async fn of_payment(conn: &mut AsyncPgConnection, id: PaymentId) -> Result<Vec<RefundRow>, StoreError> {
    let refunds = refund::table.filter(refund::payment_id.eq(id)).order((refund::created_at, refund::id));
    Ok(refunds.select(RefundRow::as_select()).load(conn).await?)
}

/// How much of a payment is back with its customer.
///
/// # Errors
/// [`StoreError::Db`].
pub async fn sum_of_payment(conn: &mut AsyncPgConnection, id: PaymentId) -> Result<Kopecks, StoreError> {
    let back = refund::table.filter(refund::payment_id.eq(id).and(refund::state.eq(RefundState::Succeeded)));
    Ok(Kopecks::new(back.select(sql::<BigInt>("coalesce(sum(amount), 0)::bigint")).get_result(conn).await?))
}

/// Which refunds to list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listing {
    pub account_id: Option<AccountId>,
    pub payment_id: Option<PaymentId>,
    /// Only those that wait for a second person.
    pub waiting_for_approval: bool,
    /// Those before this one, of an earlier page.
    pub before: Option<RefundId>,
    /// At most so many.
    pub limit: i64,
}

/// Refunds, the newest first.
///
/// # Errors
/// [`StoreError::Db`].
pub async fn list(conn: &mut AsyncPgConnection, wanted: &Listing) -> Result<Vec<RefundRow>, StoreError> {
    let mut rows = refund::table.into_boxed();
    if let Some(id) = wanted.account_id {
        let payments = payment::table.inner_join(bill::table).filter(bill::account_id.eq(id)).select(payment::id);
        rows = rows.filter(refund::payment_id.eq_any(payments));
    }
    if let Some(id) = wanted.payment_id {
        rows = rows.filter(refund::payment_id.eq(id));
    }
    if wanted.waiting_for_approval {
        rows = rows.filter(refund::state.eq(RefundState::Requested).and(waits()));
    }
    if let Some(before) = wanted.before {
        rows = rows.filter(refund::id.lt(before));
    }
    Ok(rows.order(refund::id.desc()).limit(wanted.limit).select(RefundRow::as_select()).load(conn).await?)
}

fn waits() -> diesel::expression::SqlLiteral<Bool> {
    sql("refund.needs_approval and refund.approved_by is null")
}

/// A refund that a worker is to turn to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Queryable)]
pub struct DueRefund {
    pub id: RefundId,
    /// Since when.
    pub due_at: DateTime<Utc>,
}

/// At most `limit` refunds that nobody turns to: asked for, or told to a worker, before `woken_before` and not sent; sent
/// before `sent_before` without an answer; in doubt and due for a look.
///
/// # Errors
/// [`StoreError::Db`].
pub async fn due(
    conn: &mut AsyncPgConnection,
    woken_before: DateTime<Utc>,
    sent_before: DateTime<Utc>,
    now: DateTime<Utc>,
    limit: i64,
) -> Result<Vec<DueRefund>, StoreError> {
    let stranded = refund::table
        .filter(
            sql::<Bool>("refund.state = 'requested' and not ")
                .sql("(refund.needs_approval and refund.approved_by is null)"),
        )
        .filter(refund::woken_at.le(woken_before))
        .filter(refund::look_again_at.is_null().or(refund::look_again_at.le(now)))
        .order(refund::woken_at)
        .limit(limit)
        .select((refund::id, refund::woken_at));
    let mut found: Vec<DueRefund> = stranded.load(conn).await?;
    let unanswered = refund::table
        .filter(sql::<Bool>("refund.state = 'sending'"))
        .filter(refund::last_sent_at.le(sent_before).and(refund::woken_at.le(woken_before)))
        .order(refund::last_sent_at)
        .limit(limit)
        .select((refund::id, refund::woken_at));
    found.extend(unanswered.load::<DueRefund>(conn).await?);
    let in_doubt = refund::table
        .filter(sql::<Bool>("refund.state = 'unknown'"))
        .filter(refund::look_again_at.le(now))
        .order(refund::look_again_at)
        .limit(limit)
        .select((refund::id, refund::look_again_at.assume_not_null()));
    found.extend(in_doubt.load::<DueRefund>(conn).await?);
    Ok(found)
}

/// A worker was told of these.
///
/// # Errors
/// [`StoreError::Db`].
pub async fn told(conn: &mut AsyncPgConnection, ids: &[RefundId], now: DateTime<Utc>) -> Result<(), StoreError> {
    if !ids.is_empty() {
        let unfinished = refund::table.filter(refund::id.eq_any(ids)).filter(refund::finished_at.is_null());
        diesel::update(unfinished).set(refund::woken_at.eq(now)).execute(conn).await?;
    }
    Ok(())
}

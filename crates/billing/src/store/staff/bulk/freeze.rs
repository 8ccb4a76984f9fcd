//! Which rows an action is of, written down once.

use chrono::{DateTime, TimeDelta, Utc};
use diesel::prelude::*;
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl};
use uuid::Uuid;

use super::super::{By, StoreError};
use super::read::bulk_by_id;
use super::{Bulk, BulkAsk, BulkError, BulkState, MAX_BULK_DAYS, MAX_CONDITIONS, MAX_ITEMS};
use crate::account::AccountStatus;
use crate::payment::PaymentState;
use crate::refund::RefundState;
use crate::schema::{bulk, bulk_item, refund};
use crate::store::browse::{self, AccountFilter, Part, PaymentFilter, Slice};
use crate::store::payments::PaymentView;
use crate::{AccountId, Currency, Kopecks, PaymentId};

struct NewItem {
    account_id: AccountId,
    payment_id: Option<PaymentId>,
    amount: Option<Kopecks>,
}

/// Writes down which rows fit, to be looked at. The same id again is the same draft.
///
/// # Errors
/// [`BulkError`].
pub async fn freeze_bulk(
    conn: &mut AsyncPgConnection,
    id: Uuid,
    ask: BulkAsk,
    conditions: &str,
    by: &By,
    now: DateTime<Utc>,
) -> Result<Bulk, BulkError> {
    let staff_id = by.staff_id.ok_or(BulkError::AnothersDraft)?;
    conn.transaction(async |conn| {
        forget_drafts(conn, now).await?;
        if let Some(same) = bulk_by_id(conn, id).await? {
            return if same.staff_id == staff_id { Ok(same) } else { Err(BulkError::AnothersDraft) };
        }
        let (found, items, currency) = match ask {
            BulkAsk::Extend { days, of } => {
                if !(1..=MAX_BULK_DAYS).contains(&days) {
                    return Err(BulkError::Days);
                }
                let (found, items) = running(conn, of).await?;
                (found, items, None)
            }
            BulkAsk::Refund { of, .. } => taken(conn, of).await?,
        };
        if items.is_empty() {
            return Err(BulkError::Nothing);
        }
        let (days, effect) = match ask {
            BulkAsk::Extend { days, .. } => (Some(i32::from(days)), None),
            BulkAsk::Refund { effect, .. } => (None, Some(effect)),
        };
        let count = i32::try_from(items.len()).unwrap_or(i32::MAX);
        let total: i64 = items.iter().filter_map(|item| item.amount).map(Kopecks::get).sum();
        let conditions: String = conditions.chars().filter(|c| *c != '\0').take(MAX_CONDITIONS / 4).collect();
        let made: Bulk = diesel::insert_into(bulk::table)
            .values((
                (bulk::id.eq(id), bulk::created_at.eq(now), bulk::kind.eq(ask.kind()), bulk::days.eq(days)),
                (bulk::effect.eq(effect), bulk::conditions.eq(conditions), bulk::staff_id.eq(staff_id)),
                (bulk::made_by.eq(&by.name), bulk::made_role.eq(&by.role), bulk::address.eq(&by.address)),
                (bulk::items.eq(count), bulk::left_out.eq(found - count), bulk::total.eq(total)),
                (bulk::currency.eq(currency), bulk::state.eq(BulkState::Draft)),
            ))
            .returning(Bulk::as_returning())
            .get_result(conn)
            .await?;
        let mut rows = (1_i32..).zip(items).map(|(no, item)| {
            (
                bulk_item::bulk_id.eq(id),
                bulk_item::no.eq(no),
                bulk_item::account_id.eq(item.account_id),
                bulk_item::payment_id.eq(item.payment_id),
                bulk_item::amount.eq(item.amount),
            )
        });
        loop {
            // A statement takes at most 65,535 parameters.
            let some: Vec<_> = rows.by_ref().take(2_000).collect();
            if some.is_empty() {
                return Ok(made);
            }
            diesel::insert_into(bulk_item::table).values(some).execute(conn).await?;
        }
    })
    .await
}

/// What nobody asked for within a day is nobody's any more.
async fn forget_drafts(conn: &mut AsyncPgConnection, now: DateTime<Utc>) -> Result<(), StoreError> {
    let old =
        bulk::table.filter(bulk::state.eq(BulkState::Draft)).filter(bulk::created_at.lt(now - TimeDelta::days(1)));
    let ids: Vec<Uuid> = old.select(bulk::id).for_update().load(conn).await?;
    diesel::delete(bulk_item::table.filter(bulk_item::bulk_id.eq_any(&ids))).execute(conn).await?;
    diesel::delete(bulk::table.filter(bulk::id.eq_any(&ids))).execute(conn).await?;
    Ok(())
}

/// Of the accounts that fit, those whose access can be extended; and how many fit.
async fn running(conn: &mut AsyncPgConnection, of: AccountFilter) -> Result<(i32, Vec<NewItem>), BulkError> {
    let found = all(browse::accounts(conn, of, Part::First, MAX_ITEMS).await?)?;
    let count = i32::try_from(found.len()).unwrap_or(i32::MAX);
    let runs = |status| matches!(status, AccountStatus::Active | AccountStatus::Overdue);
    let items = found.into_iter().filter(|line| runs(line.status) && line.paid_until.is_some());
    Ok((count, items.map(|line| NewItem { account_id: line.id, payment_id: None, amount: None }).collect()))
}

/// Of the payments that fit, those of which something is left to go back; how many fit, and in what currency they are.
async fn taken(
    conn: &mut AsyncPgConnection,
    of: PaymentFilter,
) -> Result<(i32, Vec<NewItem>, Option<Currency>), BulkError> {
    let found = all(browse::payments(conn, of, Part::First, MAX_ITEMS).await?)?;
    let count = i32::try_from(found.len()).unwrap_or(i32::MAX);
    let found: Vec<PaymentView> = found.into_iter().filter(|view| view.state == PaymentState::Succeeded).collect();
    let currency = found.as_slice().first().map(|view| view.currency);
    if found.iter().any(|view| Some(view.currency) != currency) {
        return Err(BulkError::Currencies);
    }
    let ids: Vec<PaymentId> = found.iter().map(|view| view.id).collect();
    let back: Vec<(PaymentId, Kopecks)> = refund::table
        .filter(refund::payment_id.eq_any(ids))
        .filter(refund::state.ne(RefundState::Failed))
        .select((refund::payment_id, refund::amount))
        .load(conn)
        .await?;
    let mut gone = std::collections::HashMap::<PaymentId, i64>::new();
    for (id, amount) in back {
        *gone.entry(id).or_default() += amount.get();
    }
    let item = |view: PaymentView| {
        let left = view.amount.get() - gone.get(&view.id).copied().unwrap_or_default();
        let amount = Some(Kopecks::new(left)).filter(|left| left.get() > 0)?;
        Some(NewItem { account_id: view.account_id, payment_id: Some(view.id), amount: Some(amount) })
    };
    Ok((count, found.into_iter().filter_map(item).collect(), currency))
}

fn all<T>(slice: Slice<T>) -> Result<Vec<T>, BulkError> {
    if slice.has_behind { Err(BulkError::TooMany) } else { Ok(slice.rows) }
}

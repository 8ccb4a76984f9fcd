//! Actions and their rows, to be looked at.

use chrono::{DateTime, Utc};
use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::{Bool, Timestamptz};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use uuid::Uuid;

use super::super::StoreError;
use super::{BULK_AGREED_WITHIN, Bulk, BulkItem, BulkState, ItemState, Progress};
use crate::Kopecks;
use crate::schema::{bulk, bulk_item};
use crate::store::browse::{Order, Part, Slice, beyond};

/// One action.
///
/// # Errors
/// [`StoreError::Db`].
pub async fn bulk_by_id(conn: &mut AsyncPgConnection, id: Uuid) -> Result<Option<Bulk>, StoreError> {
    Ok(bulk::table.find(id).select(Bulk::as_select()).first(conn).await.optional()?)
}

/// All that were asked for, by when they were prepared: a part of them.
///
/// # Errors
/// [`StoreError::Db`].
pub async fn bulks(
    conn: &mut AsyncPgConnection,
    state: Option<BulkState>,
    order: Order,
    part: Part<(DateTime<Utc>, Uuid)>,
    limit: i64,
) -> Result<Slice<Bulk>, StoreError> {
    let mut query = bulk::table.filter(bulk::state.ne(BulkState::Draft)).into_boxed();
    if let Some(state) = state {
        query = query.filter(bulk::state.eq(state));
    }
    let (place, is_ascending) = part.reading(order);
    if let Some((at, id)) = place {
        // Compared as a row: rows of one time are found by the index, however many there are.
        let behind = sql::<Bool>(&format!("(bulk.created_at, bulk.id) {} (", beyond(is_ascending)))
            .bind::<Timestamptz, _>(*at)
            .sql(", ")
            .bind::<diesel::sql_types::Uuid, _>(*id)
            .sql(")");
        query = query.filter(behind);
    }
    query = if is_ascending {
        query.order((bulk::created_at.asc(), bulk::id.asc()))
    } else {
        query.order((bulk::created_at.desc(), bulk::id.desc()))
    };
    let rows = query.limit(limit + 1).select(Bulk::as_select()).load(conn).await?;
    Ok(Slice::new(rows, &part, limit))
}

/// Those that wait for somebody to agree, the oldest first; at most `limit`.
///
/// # Errors
/// [`StoreError::Db`].
pub async fn bulks_waiting(
    conn: &mut AsyncPgConnection,
    now: DateTime<Utc>,
    limit: i64,
) -> Result<Vec<Bulk>, StoreError> {
    let waiting = bulk::table.filter(bulk::state.eq(BulkState::Waiting));
    let waiting = waiting.filter(bulk::asked_at.gt(now - BULK_AGREED_WITHIN));
    Ok(waiting.order(bulk::asked_at).limit(limit).select(Bulk::as_select()).load(conn).await?)
}

/// Its rows, in their order, behind a number; at most `limit`.
///
/// # Errors
/// [`StoreError::Db`].
pub async fn bulk_items(
    conn: &mut AsyncPgConnection,
    id: Uuid,
    state: Option<ItemState>,
    part: Part<i32>,
    limit: i64,
) -> Result<Slice<BulkItem>, StoreError> {
    let mut query = bulk_item::table.filter(bulk_item::bulk_id.eq(id)).into_boxed();
    if let Some(state) = state {
        query = query.filter(bulk_item::state.eq(state));
    }
    query = match part {
        Part::First => query.order(bulk_item::no.asc()),
        Part::Behind(no) => query.filter(bulk_item::no.gt(no)).order(bulk_item::no.asc()),
        Part::Before(no) => query.filter(bulk_item::no.lt(no)).order(bulk_item::no.desc()),
    };
    let rows = query.limit(limit + 1).select(BulkItem::as_select()).load(conn).await?;
    Ok(Slice::new(rows, &part, limit))
}

/// How far it is.
///
/// # Errors
/// [`StoreError::Db`].
pub async fn bulk_progress(conn: &mut AsyncPgConnection, id: Uuid) -> Result<Progress, StoreError> {
    use diesel::dsl::{count_star, sql};
    use diesel::sql_types::BigInt;
    let rows: Vec<(ItemState, i64, i64)> = bulk_item::table
        .filter(bulk_item::bulk_id.eq(id))
        .group_by(bulk_item::state)
        .select((bulk_item::state, count_star(), sql::<BigInt>("coalesce(sum(amount), 0)::bigint")))
        .load(conn)
        .await?;
    let mut progress = Progress { waiting: 0, done: 0, refused: 0, left: 0, moved: Kopecks::ZERO };
    for (state, count, amount) in rows {
        match state {
            ItemState::Waiting => progress.waiting = count,
            ItemState::Done => (progress.done, progress.moved) = (count, Kopecks::new(amount)),
            ItemState::Refused => progress.refused = count,
            ItemState::Left => progress.left = count,
        }
    }
    Ok(progress)
}

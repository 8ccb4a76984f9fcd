//! The log of events: written with the change it tells of, put in order after the commit, read by position.
//!
//! Rows of different accounts commit in any order, so their ids say nothing to a reader: one that has read id 7 would
//! miss id 6, committed later. [`sequence`] therefore gives every committed public row its position, one sequencer at a
//! time. Ids are drawn after the account's lock, so within one account the order of ids is the order of the changes.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Integer, Timestamptz};
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl};
use serde_json::Value;
use uuid::Uuid;

use super::StoreError;
use super::prepared::Prepare;
use crate::db::DbError;
use crate::event::{Event, EventKind, NewEvent, Position, ResumeToken, Source};
use crate::schema::{event, event_log};
use crate::trail::{self, Trail};
use crate::{AccountId, BillId, PaymentId};

/// Writes events down, in their order, within the transaction of the change. The account is locked already.
///
/// # Errors
/// [`StoreError::Db`].
pub async fn append(conn: &mut AsyncPgConnection, events: Vec<NewEvent>, now: DateTime<Utc>) -> Result<(), StoreError> {
    // A statement takes at most 65,535 parameters.
    const ROWS: usize = 2_000;
    if events.is_empty() {
        return Ok(());
    }
    if events.iter().any(|event| event.kind.is_public()) {
        trail::has_news();
    }
    let trail = trail::current();
    let mut rows: Vec<NewRow> = events.into_iter().map(|event| NewRow::new(event, &trail, now)).collect();
    while rows.len() > ROWS {
        let rest = rows.split_off(ROWS);
        diesel::insert_into(event::table).values(std::mem::replace(&mut rows, rest)).execute(conn).await?;
    }
    // Few rows, few texts; a timetable's chunk is prepared each time.
    if rows.len() <= 8 {
        diesel::insert_into(event::table).values(rows).prepared().execute(conn).await?;
    } else {
        diesel::insert_into(event::table).values(rows).execute(conn).await?;
    }
    Ok(())
}

/// Gives the committed public rows their positions, in the order of their ids, and returns the last position of the log.
/// Whoever calls at the same time waits; at most `limit` rows at once.
///
/// # Errors
/// [`StoreError::Db`].
pub async fn sequence(conn: &mut AsyncPgConnection, limit: i32) -> Result<Position, StoreError> {
    if !unsequenced(conn).await? {
        return Ok(log(conn).await?.last_position);
    }
    conn.transaction(async |conn| {
        // The next statement has to see what was committed before this lock was had: two statements, two snapshots.
        let last: Position = event_log::table.select(event_log::last_position).for_no_key_update().first(conn).await?;
        let moved: Moved =
            diesel::sql_query(SEQUENCE).bind::<BigInt, _>(last).bind::<Integer, _>(limit).get_result(conn).await?;
        Ok(moved.last_position)
    })
    .await
}

/// Likewise, all of them, at most `chunk` in one transaction.
///
/// # Errors
/// [`StoreError::Db`].
pub async fn sequence_all(conn: &mut AsyncPgConnection, chunk: i32) -> Result<Position, StoreError> {
    let mut end = sequence(conn, chunk).await?;
    loop {
        let further = sequence(conn, chunk).await?;
        if further == end {
            return Ok(end);
        }
        end = further;
    }
}

const SEQUENCE: &str = "
    with fresh as (
        select id, at, row_number() over (order by id) as n
        from (select id, at from event where is_public and position is null order by id limit $2) as found
    ), moved as (
        update event set position = $1 + fresh.n from fresh
        where event.id = fresh.id and event.at = fresh.at
        returning 1
    )
    update event_log set last_position = $1 + (select count(*) from moved) returning last_position";

#[derive(QueryableByName)]
struct Moved {
    #[diesel(sql_type = BigInt)]
    last_position: Position,
}

async fn unsequenced(conn: &mut AsyncPgConnection) -> Result<bool, DbError> {
    let fresh = event::table.filter(event::is_public.and(event::position.is_null()));
    Ok(diesel::select(diesel::dsl::exists(fresh)).get_result(conn).await?)
}

/// Where the log begins and ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Queryable, Selectable)]
#[diesel(table_name = event_log, check_for_backend(diesel::pg::Pg))]
pub struct Log {
    pub epoch: Uuid,
    pub last_position: Position,
    /// Rows up to here are gone.
    pub dropped_position: Position,
}

impl Log {
    /// The token of who has read everything that is in order now.
    #[must_use]
    pub const fn end(&self) -> ResumeToken {
        ResumeToken { epoch: self.epoch, position: self.last_position }
    }

    /// Whether a reader can go on from there without missing a row.
    ///
    /// # Errors
    /// [`Gone`]: it has to begin anew.
    pub fn resume(&self, token: ResumeToken) -> Result<Position, Gone> {
        if token.epoch != self.epoch {
            Err(Gone::OtherEpoch)
        } else if token.position < self.dropped_position {
            Err(Gone::Dropped)
        } else if token.position > self.last_position {
            Err(Gone::Ahead)
        } else {
            Ok(token.position)
        }
    }
}

/// Why a reader cannot go on from where it stood.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Gone {
    #[error("the database was restored since this token was given")]
    OtherEpoch,
    #[error("the events after this token are not kept any more")]
    Dropped,
    #[error("this token is ahead of the log")]
    Ahead,
}

/// Where the log begins and ends now.
///
/// # Errors
/// [`StoreError::Db`].
pub async fn log(conn: &mut AsyncPgConnection) -> Result<Log, StoreError> {
    Ok(event_log::table.select(Log::as_select()).first(conn).await?)
}

/// The public events after `after` of these kinds, of this account or of all, in order; at most `limit`.
///
/// # Errors
/// [`StoreError::Db`].
pub async fn read(
    conn: &mut AsyncPgConnection,
    after: Position,
    kinds: &[EventKind],
    account_id: Option<AccountId>,
    limit: i64,
) -> Result<Vec<Event>, StoreError> {
    let mut rows = event::table.filter(event::position.gt(after)).into_boxed();
    if !kinds.is_empty() {
        rows = rows.filter(event::kind.eq_any(kinds));
    }
    if let Some(account_id) = account_id {
        rows = rows.filter(event::account_id.eq(account_id));
    }
    let rows: Vec<EventRow> = rows.order(event::position).limit(limit).select(EventRow::as_select()).load(conn).await?;
    Ok(rows.into_iter().map(Event::from).collect())
}

/// Everything that happened to an account before `before`, the latest first; at most `limit`.
///
/// # Errors
/// [`StoreError::Db`].
pub async fn story_of_account(
    conn: &mut AsyncPgConnection,
    account_id: AccountId,
    before: Option<i64>,
    limit: i64,
) -> Result<Vec<Event>, StoreError> {
    let rows: Vec<EventRow> = event::table
        .filter(event::account_id.eq(account_id).and(event::id.lt(before.unwrap_or(i64::MAX))))
        .order(event::id.desc())
        .limit(limit)
        .select(EventRow::as_select())
        .load(conn)
        .await?;
    Ok(rows.into_iter().map(Event::from).collect())
}

/// Everything that happened to a payment, from the beginning.
///
/// # Errors
/// [`StoreError::Db`].
pub async fn story_of_payment(conn: &mut AsyncPgConnection, payment_id: PaymentId) -> Result<Vec<Event>, StoreError> {
    let rows: Vec<EventRow> = event::table
        .filter(event::payment_id.eq(payment_id))
        .order(event::id)
        .select(EventRow::as_select())
        .load(conn)
        .await?;
    Ok(rows.into_iter().map(Event::from).collect())
}

/// So many months are made ahead.
pub(super) const MONTHS_AHEAD: i32 = 3;

/// Makes room for the months to come, and drops the months that ended before `keep_from`. Returns how many partitions
/// were made and dropped. Whoever reads the log for long is not waited for, as all who write would wait behind: then it
/// fails, and is done another time.
///
/// # Errors
/// [`StoreError::Db`].
pub async fn keep(
    conn: &mut AsyncPgConnection,
    now: DateTime<Utc>,
    keep_from: DateTime<Utc>,
) -> Result<(i32, i32), StoreError> {
    diesel::define_sql_function! { fn make_event_partitions(first: Timestamptz, months: Integer) -> Integer; }
    diesel::define_sql_function! { fn drop_event_partitions(before: Timestamptz) -> Integer; }
    conn.transaction(async |conn| {
        diesel::sql_query("set local lock_timeout = '3s'").execute(conn).await?;
        let made = diesel::select(make_event_partitions(now, MONTHS_AHEAD)).get_result(conn).await?;
        let dropped = diesel::select(drop_event_partitions(keep_from)).get_result(conn).await?;
        Ok((made, dropped))
    })
    .await
}

#[derive(Insertable)]
#[diesel(table_name = event)]
struct NewRow {
    at: DateTime<Utc>,
    kind: EventKind,
    account_id: Option<AccountId>,
    bill_id: Option<BillId>,
    payment_id: Option<PaymentId>,
    from_state: Option<&'static str>,
    to_state: Option<&'static str>,
    source: Source,
    task_id: Option<String>,
    trace_id: Option<String>,
    detail: Value,
    is_public: bool,
}

impl NewRow {
    fn new(event: NewEvent, trail: &Trail, now: DateTime<Utc>) -> Self {
        Self {
            at: now,
            kind: event.kind,
            account_id: event.account_id,
            bill_id: event.bill_id,
            payment_id: event.payment_id,
            from_state: event.from_state,
            to_state: event.to_state,
            source: trail.source,
            task_id: trail.task_id.clone(),
            trace_id: trail.trace_id.clone(),
            detail: Value::Object(event.detail),
            is_public: event.kind.is_public(),
        }
    }
}

#[derive(Queryable, Selectable)]
#[diesel(table_name = event, check_for_backend(diesel::pg::Pg))]
pub(super) struct EventRow {
    id: i64,
    at: DateTime<Utc>,
    kind: EventKind,
    account_id: Option<AccountId>,
    bill_id: Option<BillId>,
    payment_id: Option<PaymentId>,
    from_state: Option<String>,
    to_state: Option<String>,
    source: Source,
    task_id: Option<String>,
    trace_id: Option<String>,
    detail: Value,
    position: Option<Position>,
}

impl From<EventRow> for Event {
    fn from(row: EventRow) -> Self {
        Self {
            id: row.id,
            at: row.at,
            kind: row.kind,
            account_id: row.account_id,
            bill_id: row.bill_id,
            payment_id: row.payment_id,
            from_state: row.from_state,
            to_state: row.to_state,
            source: row.source,
            task_id: row.task_id,
            trace_id: row.trace_id,
            detail: row.detail,
            position: row.position,
        }
    }
}

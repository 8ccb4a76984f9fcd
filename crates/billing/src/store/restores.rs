//! After a restore. What the gateway did in the time that was lost is in no row; until a reconciliation has put it there nothing
//! is charged and nothing given back. Each send asks for that in the transaction that writes it ahead.

use chrono::{DateTime, SubsecRound as _, TimeDelta, Utc};
use diesel::dsl::exists;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Timestamptz, Uuid as SqlUuid};
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl};
use uuid::Uuid;

use super::{StoreError, events, reconciliation as runs};
use crate::ReconciliationId;
use crate::event::{EventKind, NewEvent};
use crate::reconciliation::{Range, RunKind};
use crate::schema::restore;

/// What was sent before the backup may have ended in the time that was lost; and clocks differ.
const BEFORE: TimeDelta = TimeDelta::hours(1);
const CLOCKS_APART: TimeDelta = TimeDelta::minutes(5);

/// So many numbers are jumped at least, of payments and of events: more than the lost time can have used.
const JUMP: i64 = 1_000_000_000;

/// The longest time that can have been lost: refunds are possible for a year.
pub const LONGEST: TimeDelta = TimeDelta::days(365);

/// A restore as its row has it.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable)]
#[diesel(table_name = restore, check_for_backend(diesel::pg::Pg))]
pub struct Restore {
    pub id: Uuid,
    pub at: DateTime<Utc>,
    pub told_by: String,
    pub since: DateTime<Utc>,
    pub epoch: Uuid,
    pub invoice_from: i64,
    /// What has to end before anything is charged.
    pub reconciliation_id: ReconciliationId,
    pub lifted_at: Option<DateTime<Utc>>,
}

/// Why a restore was not taken note of.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    #[error("--since: {0} is not in the past")]
    Future(DateTime<Utc>),
    #[error("--since: {0} is more than a year ago")]
    TooLongAgo(DateTime<Utc>),
    /// One that goes further back would be missed.
    #[error("a restore to {} is being reconciled already: wait for its end", .0.since.to_rfc3339())]
    AlreadyTold(Box<Restore>),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<diesel::result::Error> for RestoreError {
    fn from(error: diesel::result::Error) -> Self {
        Self::Store(error.into())
    }
}

/// Begins a new epoch: nothing is charged or given back from its commit on, resume tokens are void, and the numbers that the
/// lost time may have used are jumped. Told again of the same restore, it is the same.
///
/// # Errors
/// [`RestoreError`].
pub async fn tell(
    conn: &mut AsyncPgConnection,
    since: DateTime<Utc>,
    by: &str,
    now: DateTime<Utc>,
) -> Result<Restore, RestoreError> {
    // As the database keeps it.
    let since = since.trunc_subsecs(6);
    if since > now {
        return Err(RestoreError::Future(since));
    }
    if since < now - LONGEST {
        return Err(RestoreError::TooLongAgo(since));
    }
    conn.transaction(async |conn| {
        // One at a time, and no send in between sees half of it.
        diesel::sql_query("lock table restore in share row exclusive mode").execute(conn).await?;
        if let Some(held) = in_force(conn).await? {
            return if held.since == since { Ok(held) } else { Err(RestoreError::AlreadyTold(Box::new(held))) };
        }
        let range = Range { from: since - BEFORE, to: now + CLOCKS_APART };
        let run = runs::ask(conn, RunKind::Restore, range, by, now).await?;
        let epoch = Uuid::new_v4();
        diesel::sql_query("update event_log set epoch = $1, last_position = last_position + $2")
            .bind::<SqlUuid, _>(epoch)
            .bind::<BigInt, _>(JUMP)
            .execute(conn)
            .await?;
        let restored: Restore = diesel::insert_into(restore::table)
            .values((
                restore::id.eq(Uuid::now_v7()),
                restore::at.eq(now),
                restore::told_by.eq(by),
                restore::since.eq(since),
                restore::epoch.eq(epoch),
                restore::invoice_from.eq(jump(conn, now).await?),
                restore::reconciliation_id.eq(run.id),
            ))
            .returning(Restore::as_returning())
            .get_result(conn)
            .await?;
        let told = NewEvent::of_nobody(EventKind::NeedsAttention).with("restored_to", since.to_rfc3339());
        events::append(conn, vec![told.with("by", by)], now).await?;
        Ok(restored)
    })
    .await
}

/// Moves the sequence of invoice numbers on: behind all that were used here, and behind those of this moment, for the numbers
/// began as microseconds of the clock and are used more slowly.
async fn jump(conn: &mut AsyncPgConnection, now: DateTime<Utc>) -> Result<i64, StoreError> {
    #[derive(QueryableByName)]
    struct Next {
        #[diesel(sql_type = BigInt)]
        next: i64,
    }
    let query = "select setval('payment_invoice_no_seq',
                     greatest(last_value + $1, extract(epoch from $2::timestamptz)::bigint * 1000000), false) as next
                 from payment_invoice_no_seq";
    let jumping = diesel::sql_query(query).bind::<BigInt, _>(JUMP).bind::<Timestamptz, _>(now);
    Ok(jumping.get_result::<Next>(conn).await?.next)
}

/// The restore that is not reconciled yet, if there is one.
///
/// # Errors
/// [`StoreError::Db`].
pub async fn in_force(conn: &mut AsyncPgConnection) -> Result<Option<Restore>, StoreError> {
    let held = restore::table.filter(restore::lifted_at.is_null());
    Ok(held.select(Restore::as_select()).first(conn).await.optional()?)
}

/// Whether nothing may be charged or given back. To be asked in the transaction that writes a request ahead.
///
/// # Errors
/// [`StoreError::Db`].
pub async fn is_held(conn: &mut AsyncPgConnection) -> Result<bool, StoreError> {
    Ok(diesel::select(exists(restore::table.filter(restore::lifted_at.is_null()))).get_result(conn).await?)
}

/// Charging goes on: the run has ended. What was written down before the restore and was not sent since goes out under
/// numbers that the lost time cannot have used.
pub(super) async fn lift(
    conn: &mut AsyncPgConnection,
    run: ReconciliationId,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    let held = restore::table.filter(restore::reconciliation_id.eq(run).and(restore::lifted_at.is_null()));
    let lifted: Option<Restore> = diesel::update(held)
        .set(restore::lifted_at.eq(now))
        .returning(Restore::as_returning())
        .get_result(conn)
        .await
        .optional()?;
    let Some(restore) = lifted else { return Ok(()) };
    // Those of `payment_stranded`: what waits to be sent.
    let renumbering = diesel::sql_query(
        "update payment set invoice_no = nextval('payment_invoice_no_seq'), request_id = request_id || ':' || $2
         where state = 'created' and created_at <= $1 and sends = 0",
    );
    renumbering
        .bind::<Timestamptz, _>(restore.at)
        .bind::<diesel::sql_types::Text, _>(restore.epoch.to_string())
        .execute(conn)
        .await?;
    Ok(())
}

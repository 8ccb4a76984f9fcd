//! How things stand, in figures for those who watch: a few numbers, each by an index, whatever the tables hold.

use chrono::{DateTime, TimeDelta, Utc};
use diesel::sql_types::{BigInt, Nullable, Text, Timestamptz};
use diesel_async::{AsyncPgConnection, RunQueryDsl};

use super::StoreError;
use crate::receipt::MISSING_AFTER;

/// How things stood at a moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// Payments of which nobody knows whether they were taken.
    pub unknown: i64,
    /// How long the oldest of them is.
    pub oldest_unknown: TimeDelta,
    /// Accounts whose renewal was due an hour ago and has not begun; at most [`MOST_LATE`] are counted.
    pub late_renewals: i64,
    /// By how many positions each reader inside this system is behind the log.
    pub readers: Vec<(String, i64)>,
    /// For how long each of them has not seen the first of those.
    pub lags: Vec<(String, TimeDelta)>,
    /// Public events that have no position yet.
    pub unsequenced: i64,
    /// Receipts that were not made an hour after their money moved; at most [`MOST_LATE`] are counted.
    pub missing_receipts: i64,
    /// Differences between the gateway and our rows that nobody has decided about; at most [`MOST_LATE`] are counted.
    pub open_differences: i64,
}

/// What is counted ends here: an alarm needs no exact number, and a count of a million rows takes a second.
pub const MOST_LATE: i64 = 10_000;

/// A renewal that begins so long after its time is late.
const LATE: TimeDelta = TimeDelta::hours(1);

#[derive(diesel::QueryableByName)]
struct Doubts {
    #[diesel(sql_type = BigInt)]
    unknown: i64,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    oldest: Option<DateTime<Utc>>,
    #[diesel(sql_type = BigInt)]
    late: i64,
    #[diesel(sql_type = BigInt)]
    unsequenced: i64,
    #[diesel(sql_type = BigInt)]
    receipts: i64,
    #[diesel(sql_type = BigInt)]
    differences: i64,
}

#[derive(diesel::QueryableByName)]
struct Reader {
    #[diesel(sql_type = Text)]
    name: String,
    #[diesel(sql_type = BigInt)]
    behind: i64,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    first_unseen: Option<DateTime<Utc>>,
}

/// How things stand.
///
/// # Errors
/// [`StoreError::Db`].
pub async fn look(conn: &mut AsyncPgConnection, now: DateTime<Utc>) -> Result<Standing, StoreError> {
    // In the order of an index, so that many of them are no reason to read a table from its beginning.
    let doubts: Doubts = diesel::sql_query(
        "select (select count(*) from payment where state = 'unknown') as unknown, \
         (select min(first_sent_at) from payment where state = 'unknown') as oldest, \
         (select count(*) from (select 1 from account where next_charge_at <= $1 order by next_charge_at limit $2) late) \
         as late, \
         (select count(*) from (select 1 from event where is_public and position is null order by id limit $2) new) \
         as unsequenced, \
         (select count(*) from (select 1 from receipt where due_at <= $3 and due_at is not null and issued_at is null \
         and covered_by is null order by due_at limit $2) missing) as receipts, \
         (select count(*) from (select 1 from difference where state = 'open' order by id limit $2) open) as differences",
    )
    .bind::<Timestamptz, _>(now - LATE)
    .bind::<BigInt, _>(MOST_LATE)
    .bind::<Timestamptz, _>(now - MISSING_AFTER)
    .get_result(conn)
    .await?;
    let readers: Vec<Reader> = diesel::sql_query(
        "select name, case when reader.epoch = log.epoch then greatest(last_position - position, 0) \
         else last_position end as behind, \
         (select at from event where event.position > case when reader.epoch = log.epoch then reader.position else 0 end \
         order by event.position limit 1) as first_unseen \
         from event_reader reader cross join event_log log order by name",
    )
    .load(conn)
    .await?;
    Ok(Standing {
        unknown: doubts.unknown,
        oldest_unknown: doubts.oldest.map_or(TimeDelta::zero(), |oldest| now - oldest),
        late_renewals: doubts.late,
        lags: readers.iter().map(|reader| (reader.name.clone(), lag(reader, now))).collect(),
        readers: readers.into_iter().map(|reader| (reader.name, reader.behind)).collect(),
        unsequenced: doubts.unsequenced,
        missing_receipts: doubts.receipts,
        open_differences: doubts.differences,
    })
}

fn lag(reader: &Reader, now: DateTime<Utc>) -> TimeDelta {
    reader.first_unseen.map_or(TimeDelta::zero(), |at| (now - at).max(TimeDelta::zero()))
}

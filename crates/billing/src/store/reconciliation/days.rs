//! Which days were compared.

use chrono::{DateTime, NaiveDate, Utc};
use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Date, Nullable, Timestamptz, Uuid as SqlUuid};
use diesel_async::{AsyncPgConnection, RunQueryDsl};

use super::super::StoreError;
use crate::ReconciliationId;
use crate::reconciliation::Range;

/// A day of the gateway.
#[derive(Debug, Clone, PartialEq, Eq, QueryableByName)]
pub struct Day {
    #[diesel(sql_type = Date)]
    pub day: NaiveDate,
    /// The last run that has compared all of it, after it was over; `None`: it was not run.
    #[diesel(sql_type = Nullable<SqlUuid>)]
    pub run: Option<ReconciliationId>,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    pub ended_at: Option<DateTime<Utc>>,
    /// Differences of that day that nobody has decided about.
    #[diesel(sql_type = BigInt)]
    pub open: i64,
}

/// These days, the last included, each with the run that compared it last.
///
/// # Errors
/// [`StoreError::Db`].
pub async fn days(conn: &mut AsyncPgConnection, first: NaiveDate, last: NaiveDate) -> Result<Vec<Day>, StoreError> {
    let days: Vec<NaiveDate> = first.iter_days().take_while(|day| *day <= last).collect();
    let ranges = days.iter().map(|day| Range::of_day(*day));
    let (from, to): (Vec<_>, Vec<_>) = ranges.map(|range| (range.from, range.to)).unzip();
    let query = diesel::sql_query(
        "select d.day, r.id as run, r.ended_at,
             (select count(*) from difference where state = 'open' and at >= d.range_from and at < d.range_to) as open
         from unnest($1, $2, $3) as d (day, range_from, range_to)
         left join lateral (
             select id, ended_at from reconciliation
             where ended_at is not null and range_from <= d.range_from and range_to >= d.range_to
                 and started_at >= d.range_to
                 -- None is longer.
                 and range_from > d.range_from - interval '367 days'
             order by ended_at desc limit 1
         ) r on true
         order by d.day",
    );
    let query = query.bind::<Array<Date>, _>(days).bind::<Array<Timestamptz>, _>(from);
    Ok(query.bind::<Array<Timestamptz>, _>(to).load(conn).await?)
}

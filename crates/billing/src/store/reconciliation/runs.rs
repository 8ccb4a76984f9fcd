//! The life of a run.

use chrono::{DateTime, NaiveDate, Utc};
use diesel::prelude::*;
use diesel::sql_types::{Array, Date, Timestamptz, Uuid as SqlUuid};
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl};
use uuid::Uuid;

use super::super::{StoreError, restores};
use super::compare::compare_days;
use super::differences;
use crate::ReconciliationId;
use crate::reconciliation::{Phase, Range, RunKind, closed_days, today};
use crate::schema::reconciliation;

/// A list that has not come to rest after so many readings is compared as it is: the next run reads it again.
pub const MAX_READINGS: i32 = 6;

/// A run as its row has it.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable)]
#[diesel(table_name = reconciliation, check_for_backend(diesel::pg::Pg))]
pub struct Run {
    pub id: ReconciliationId,
    pub created_at: DateTime<Utc>,
    pub kind: RunKind,
    /// Who wanted it; `None`: the timetable.
    pub asked_by: Option<String>,
    pub range_from: DateTime<Utc>,
    pub range_to: DateTime<Utc>,
    pub phase: Phase,
    pub started_at: Option<DateTime<Utc>>,
    pub ended_at: Option<DateTime<Utc>>,
    /// Which reading of the list it is, from 1.
    pub reading: i32,
    /// Which page is read next, from 1.
    pub next_page: i32,
    /// Whether a page of this reading has had anything new.
    pub taught: bool,
    /// Whether the list has come to rest; `None`: it is being read.
    pub is_stable: Option<bool>,
    pub cursor_at: Option<DateTime<Utc>>,
    pub cursor_id: Option<i64>,
    pub cursor_payment: Option<Uuid>,
    pub cursor_difference: Option<Uuid>,
    /// What went wrong last, until something goes well.
    pub trouble: Option<String>,
    /// So many steps went wrong, one after the other.
    pub fruitless: i32,
    pub pages: i32,
    /// Operations of the gateway that were compared.
    pub transactions: i64,
    /// Payments of ours that were compared.
    pub payments: i64,
    /// Differences that it has seen, also those which were known.
    pub found: i64,
    /// Of them, those that it has put right.
    pub settled: i64,
}

impl Run {
    /// What is compared.
    #[must_use]
    pub const fn range(&self) -> Range {
        Range { from: self.range_from, to: self.range_to }
    }
}

/// Makes a run for each of the last closed days that has none of this day. Returns how many are new.
///
/// # Errors
/// [`StoreError::Db`].
pub async fn open_daily(conn: &mut AsyncPgConnection, now: DateTime<Utc>) -> Result<usize, StoreError> {
    let days: Vec<NaiveDate> = closed_days(now).collect();
    let (ids, ranges): (Vec<Uuid>, Vec<Range>) =
        days.into_iter().map(|day| (ReconciliationId::new().get(), Range::of_day(day))).unzip();
    let (from, to): (Vec<_>, Vec<_>) = ranges.into_iter().map(|range| (range.from, range.to)).unzip();
    let opening = diesel::sql_query(
        "insert into reconciliation (id, created_at, kind, made_on, range_from, range_to, phase, leased_until)
         select id, $4, 'daily', $5, range_from, range_to, 'listing', $4
         from unnest($1, $2, $3) as day (id, range_from, range_to)
         on conflict do nothing",
    );
    let opened = opening
        .bind::<Array<SqlUuid>, _>(ids)
        .bind::<Array<Timestamptz>, _>(from)
        .bind::<Array<Timestamptz>, _>(to)
        .bind::<Timestamptz, _>(now)
        .bind::<Date, _>(today(now))
        .execute(conn)
        .await?;
    Ok(opened)
}

/// Makes a run of a range that somebody asks for.
///
/// # Errors
/// [`StoreError::Db`].
pub async fn ask(
    conn: &mut AsyncPgConnection,
    kind: RunKind,
    range: Range,
    by: &str,
    now: DateTime<Utc>,
) -> Result<Run, StoreError> {
    let asking = diesel::insert_into(reconciliation::table).values((
        reconciliation::id.eq(ReconciliationId::new()),
        reconciliation::created_at.eq(now),
        reconciliation::kind.eq(kind),
        reconciliation::asked_by.eq(by),
        reconciliation::range_from.eq(range.from),
        reconciliation::range_to.eq(range.to),
        reconciliation::phase.eq(Phase::Listing),
        reconciliation::leased_until.eq(now),
    ));
    Ok(asking.returning(Run::as_returning()).get_result(conn).await?)
}

/// A run by its id.
///
/// # Errors
/// [`StoreError::Db`].
pub async fn get(conn: &mut AsyncPgConnection, id: ReconciliationId) -> Result<Option<Run>, StoreError> {
    Ok(reconciliation::table.find(id).select(Run::as_select()).first(conn).await.optional()?)
}

/// The run that is to be worked on next: charging waits for one after a restore, a person for one that was asked for. While
/// somebody works on one, or one is put off, the others wait: the gateway is not asked for two lists at once.
///
/// # Errors
/// [`StoreError::Db`].
pub async fn due(conn: &mut AsyncPgConnection, now: DateTime<Utc>) -> Result<Option<ReconciliationId>, StoreError> {
    #[derive(QueryableByName)]
    struct Next {
        #[diesel(sql_type = SqlUuid)]
        id: ReconciliationId,
        #[diesel(sql_type = Timestamptz)]
        leased_until: DateTime<Utc>,
    }
    let query = "select id, leased_until from reconciliation where ended_at is null
                 order by (kind = 'restore') desc, (kind = 'asked') desc, created_at, range_from, id limit 1";
    let next: Option<Next> = diesel::sql_query(query).get_result(conn).await.optional()?;
    Ok(next.filter(|next| next.leased_until <= now).map(|next| next.id))
}

/// Leases a run to whoever works on it. `None`: it has ended, or somebody else works on it.
///
/// # Errors
/// [`StoreError::Db`].
pub async fn claim(
    conn: &mut AsyncPgConnection,
    id: ReconciliationId,
    until: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Result<Option<Run>, StoreError> {
    let free = reconciliation::table.find(id).filter(reconciliation::ended_at.is_null());
    let claiming = diesel::update(free.filter(reconciliation::leased_until.le(now))).set((
        reconciliation::leased_until.eq(until),
        reconciliation::started_at.eq(diesel::dsl::sql::<diesel::sql_types::Nullable<Timestamptz>>(
            "coalesce(started_at, ",
        )
        .bind::<Timestamptz, _>(now)
        .sql(")")),
    ));
    Ok(claiming.returning(Run::as_returning()).get_result(conn).await.optional()?)
}

/// Gives a run back: another task goes on at once.
///
/// # Errors
/// [`StoreError::Db`].
pub async fn release(conn: &mut AsyncPgConnection, run: &Run, now: DateTime<Utc>) -> Result<(), StoreError> {
    let given_back = diesel::update(reconciliation::table.find(run.id)).set(reconciliation::leased_until.eq(now));
    given_back.execute(conn).await?;
    Ok(())
}

/// The longest trouble that is kept, in characters.
const MAX_TROUBLE: usize = 500;

/// A step went wrong: the run is put off.
///
/// # Errors
/// [`StoreError::Db`].
pub async fn troubled(
    conn: &mut AsyncPgConnection,
    run: &Run,
    why: &str,
    again_at: DateTime<Utc>,
) -> Result<(), StoreError> {
    let why: String = why.replace('\0', "").chars().take(MAX_TROUBLE).collect();
    diesel::update(reconciliation::table.find(run.id).filter(reconciliation::ended_at.is_null()))
        .set((
            reconciliation::trouble.eq(why),
            reconciliation::fruitless.eq(reconciliation::fruitless + 1),
            reconciliation::leased_until.eq(again_at),
        ))
        .execute(conn)
        .await?;
    Ok(())
}

/// The last page was read. A reading that had nothing new shows that the list has come to rest; any other is followed by
/// one more, for pages are no snapshot: what is made, or changes its status, while they are read moves others from page to
/// page.
///
/// # Errors
/// [`StoreError::Db`].
pub async fn end_reading(conn: &mut AsyncPgConnection, run: &Run) -> Result<Option<Run>, StoreError> {
    // Nothing at all is read twice before it is believed.
    let at_rest = !run.taught && (run.next_page > 1 || run.reading > 1);
    let reading = reconciliation::table
        .find(run.id)
        .filter(reconciliation::phase.eq(Phase::Listing).and(reconciliation::reading.eq(run.reading)));
    // Charging waits until nothing is missing: after a restore it is read until it rests.
    let is_enough = run.reading >= MAX_READINGS && run.kind != RunKind::Restore;
    let ended = if at_rest || is_enough {
        diesel::update(reading)
            .set((
                reconciliation::phase.eq(Phase::Chargebacks),
                reconciliation::is_stable.eq(at_rest),
                reconciliation::next_page.eq(1),
                reconciliation::taught.eq(false),
            ))
            .returning(Run::as_returning())
            .get_result(conn)
            .await
    } else {
        diesel::update(reading)
            .set((
                reconciliation::reading.eq(run.reading + 1),
                reconciliation::next_page.eq(1),
                reconciliation::taught.eq(false),
            ))
            .returning(Run::as_returning())
            .get_result(conn)
            .await
    };
    Ok(ended.optional()?)
}

/// Ends a run: everything was compared, and what could be put right was. What is left to compare is the ledger, day by day. Open
/// differences of its range that it has not seen are none any more. After a restore charging goes on from here.
///
/// # Errors
/// [`StoreError`].
pub async fn end(conn: &mut AsyncPgConnection, run: &Run, now: DateTime<Utc>) -> Result<Run, StoreError> {
    conn.transaction(async |conn| {
        // After a restore people wait, and what it leaves open the next night finds.
        if run.kind != RunKind::Restore {
            compare_days(conn, run, now).await?;
        }
        differences::close_what_is_gone(conn, run, now).await?;
        let ending = diesel::sql_query(
            "update reconciliation
             set phase = 'ended', ended_at = $2, leased_until = $2,
                 found = (select count(*) from difference where seen_by = $1)
             where id = $1 and ended_at is null",
        );
        let ended = ending.bind::<SqlUuid, _>(run.id.get()).bind::<Timestamptz, _>(now).execute(conn).await?;
        if ended > 0 && run.kind == RunKind::Restore {
            restores::lift(conn, run.id, now).await?;
        }
        Ok(reconciliation::table.find(run.id).select(Run::as_select()).first(conn).await?)
    })
    .await
}

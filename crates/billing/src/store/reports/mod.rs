//! What accounting and management ask: money by day and tariff, subscribers and what they are worth, refusals and what came
//! of them.
//!
//! Reports add up `daily_figure`, never the rows of a million accounts. The figures of a day are made once, by
//! [`roll_up`], when its revenue is entered: whatever they are made of is not changed after that, so the same comes of
//! them at any time. Amounts of money are the ledger's.

mod open;

use chrono::{DateTime, Days, NaiveDate, Utc};
use chrono_tz::Tz;
use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Date, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl};

pub use self::open::{Open, OpenKind, open};
use super::StoreError;
use crate::macros::text_enum;
use crate::period::start_of_day;
use crate::schema::{report_day, revenue_day};
use crate::{Currency, Kopecks, TariffId};

text_enum! {
    /// What a figure is of.
    pub enum Figure {
        /// Money that the gateway has taken for us.
        Taken = "taken",
        /// Money that went back, or was taken back by a bank. Labels: `refund`, `chargeback`.
        GivenBack = "given_back",
        /// Revenue of the day, without VAT.
        Earned = "earned",
        /// By how much deferred revenue has grown.
        Deferred = "deferred",
        Vat = "vat",
        /// Subscribers whose period is paid; the amount is what they are worth in a month.
        Paying = "paying",
        /// Subscribers on trial.
        Trial = "trial",
        /// Subscribers whose worth is another than the day before; the label is a [`Change`].
        Gained = "gained",
        /// Attempts that ended. Labels: the instrument, a colon, and the group of the decline or the state.
        Attempt = "attempt",
        /// Renewals whose first attempt was refused. Labels: the gateway's reason code.
        Refused = "refused",
        /// Renewals that were paid after refusals. Labels: the code of the first refusal, a colon, and how many there were.
        Recovered = "recovered",
        /// Requests to the gateway; the amount is how many milliseconds they took. Labels: how they ended, a colon, and the
        /// number of milliseconds each took at most.
        Call = "call",
        /// Of the last day of a month: subscribers who pay. Labels: the month in which they first paid.
        Cohort = "cohort",
    }
}

text_enum! {
    /// Why a subscriber is worth another sum than the day before.
    pub enum Change {
        /// Pays for the first time.
        New = "new",
        /// Pays again.
        Returned = "returned",
        Expanded = "expanded",
        Contracted = "contracted",
        /// Pays no more, as they wished.
        Left = "left",
        /// Pays no more, because nothing could be charged.
        Lapsed = "lapsed",
    }
}

/// The day to be rolled up next: its revenue is entered, and all before it are rolled up.
///
/// # Errors
/// [`StoreError::Db`].
pub async fn next_day(conn: &mut AsyncPgConnection) -> Result<Option<NaiveDate>, StoreError> {
    let last: Option<NaiveDate> = report_day::table.select(diesel::dsl::max(report_day::day)).first(conn).await?;
    let entered = revenue_day::table.into_boxed();
    let entered = match last {
        Some(last) => entered.filter(revenue_day::day.gt(last)),
        None => entered,
    };
    Ok(entered.select(diesel::dsl::min(revenue_day::day)).first(conn).await?)
}

/// Makes the figures of a day, if it is the next. Returns how many there are; `None`: another was at it, or the day is not
/// the next.
///
/// # Errors
/// [`StoreError::Db`].
pub async fn roll_up(
    conn: &mut AsyncPgConnection,
    day: NaiveDate,
    zone: Tz,
    now: DateTime<Utc>,
) -> Result<Option<usize>, StoreError> {
    conn.transaction(async |conn| {
        if next_day(conn).await? != Some(day) {
            return Ok(None);
        }
        let row = (report_day::day.eq(day), report_day::rolled_up_at.eq(now));
        let is_first =
            diesel::insert_into(report_day::table).values(row).on_conflict_do_nothing().execute(conn).await? > 0;
        if !is_first {
            return Ok(None);
        }
        let figures = diesel::sql_query(include_str!("roll_up.sql"))
            .bind::<Date, _>(day)
            .bind::<Timestamptz, _>(start_of_day(day, zone)?)
            .bind::<Timestamptz, _>(start_of_day(day + Days::new(1), zone)?);
        Ok(Some(figures.execute(conn).await?))
    })
    .await
}

/// The last day that is rolled up.
///
/// # Errors
/// [`StoreError::Db`].
pub async fn last_day(conn: &mut AsyncPgConnection) -> Result<Option<NaiveDate>, StoreError> {
    Ok(report_day::table.select(diesel::dsl::max(report_day::day)).first(conn).await?)
}

/// Figures of a day, or of several, added up.
#[derive(Debug, Clone, PartialEq, Eq, QueryableByName)]
pub struct Sum {
    /// Present in a series.
    #[diesel(sql_type = Nullable<Date>)]
    pub day: Option<NaiveDate>,
    #[diesel(sql_type = Text)]
    pub figure: Figure,
    #[diesel(sql_type = Text)]
    pub label: String,
    /// Present where tariffs are kept apart.
    #[diesel(sql_type = Nullable<SqlUuid>)]
    pub tariff_id: Option<TariffId>,
    #[diesel(sql_type = Text)]
    pub currency: Currency,
    #[diesel(sql_type = BigInt)]
    pub count: i64,
    #[diesel(sql_type = BigInt)]
    pub amount: Kopecks,
}

/// Days of a report, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    pub from: NaiveDate,
    pub to: NaiveDate,
}

impl Span {
    /// So many days, the last one included.
    #[must_use]
    pub fn ending(to: NaiveDate, days: u64) -> Self {
        Self { from: to - Days::new(days.saturating_sub(1)), to }
    }

    /// How many days there are; 0 if the end is before the beginning.
    #[must_use]
    pub fn days(&self) -> i64 {
        ((self.to - self.from).num_days() + 1).max(0)
    }

    /// As many days right before these.
    #[must_use]
    pub fn before(&self) -> Self {
        let shift = Days::new(self.days().unsigned_abs());
        Self { from: self.from - shift, to: self.to - shift }
    }
}

/// These figures day by day, in the order of days; all tariffs together.
///
/// # Errors
/// [`StoreError::Db`].
pub async fn series(conn: &mut AsyncPgConnection, span: Span, figures: &[Figure]) -> Result<Vec<Sum>, StoreError> {
    sums(conn, SERIES, span, figures).await
}

/// These figures of all the days together, tariff by tariff and label by label.
///
/// # Errors
/// [`StoreError::Db`].
pub async fn totals(conn: &mut AsyncPgConnection, span: Span, figures: &[Figure]) -> Result<Vec<Sum>, StoreError> {
    sums(conn, TOTALS, span, figures).await
}

/// What deferred revenue came to at the end of a day, as far as days are rolled up.
///
/// # Errors
/// [`StoreError::Db`].
pub async fn deferred_until(conn: &mut AsyncPgConnection, day: NaiveDate) -> Result<Vec<Sum>, StoreError> {
    let span = Span { from: NaiveDate::MIN.max(FIRST), to: day };
    sums(conn, TOTAL, span, &[Figure::Deferred]).await
}

/// What deferred revenue came to at the end of a day, tariff by tariff, as far as days are rolled up.
///
/// # Errors
/// [`StoreError::Db`].
pub async fn deferred_by_tariff(conn: &mut AsyncPgConnection, day: NaiveDate) -> Result<Vec<Sum>, StoreError> {
    totals(conn, Span { from: FIRST, to: day }, &[Figure::Deferred]).await
}

/// Cohorts at the ends of all months until a day.
///
/// # Errors
/// [`StoreError::Db`].
pub async fn cohorts(conn: &mut AsyncPgConnection, until: NaiveDate) -> Result<Vec<Sum>, StoreError> {
    series(conn, Span { from: FIRST, to: until }, &[Figure::Cohort]).await
}

/// No figure is of a day before this one.
const FIRST: NaiveDate = NaiveDate::from_ymd_opt(2000, 1, 1).expect("a day of the calendar");

async fn sums(conn: &mut AsyncPgConnection, sql: &str, span: Span, figures: &[Figure]) -> Result<Vec<Sum>, StoreError> {
    let figures: Vec<&str> = figures.iter().map(|figure| figure.as_str()).collect();
    let sums = diesel::sql_query(sql)
        .bind::<Date, _>(span.from)
        .bind::<Date, _>(span.to)
        .bind::<Array<Text>, _>(figures)
        .load(conn)
        .await?;
    Ok(sums)
}

const SERIES: &str = "
    select day, figure, label, null::uuid as tariff_id, currency::text as currency, sum(count)::bigint as count,
        sum(amount)::bigint as amount
    from daily_figure where figure = any($3) and day between $1 and $2
    group by day, figure, label, currency order by day, figure, label, currency";

const TOTALS: &str = "
    select null::date as day, figure, label, tariff_id, currency::text as currency, sum(count)::bigint as count,
        sum(amount)::bigint as amount
    from daily_figure where figure = any($3) and day between $1 and $2
    group by figure, label, tariff_id, currency order by figure, label, tariff_id, currency";

const TOTAL: &str = "
    select null::date as day, figure, '' as label, null::uuid as tariff_id, currency::text as currency,
        sum(count)::bigint as count, sum(amount)::bigint as amount
    from daily_figure where figure = any($3) and day between $1 and $2
    group by figure, currency order by currency";

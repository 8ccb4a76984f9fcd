//! Paid periods: how long one lasts, and when the n-th one ends.
//!
//! Every end is computed from the ORIGINAL anchor, `anchor + n × period`, clamped to the last day of the month:
//! 31 Jan → 28 Feb → **31 Mar**. Adding a month to the previous end instead would drift to the 28th and stay there.

use chrono::{DateTime, Days, Months, NaiveDate, NaiveDateTime, Offset, TimeDelta, TimeZone, Utc};
use chrono_tz::Tz;
use diesel::data_types::PgInterval;
use diesel::deserialize::{self, FromSql, FromSqlRow};
use diesel::expression::AsExpression;
use diesel::pg::{Pg, PgValue};
use diesel::serialize::{self, Output, ToSql};
use diesel::sql_types::Interval;

/// How long one paid period lasts: whole months or whole days, never a mixture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, AsExpression, FromSqlRow)]
#[diesel(sql_type = Interval)]
pub struct Period(Unit);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Unit {
    Months(u32),
    Days(u32),
}

/// Why something is no period, or has no n-th end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PeriodError {
    /// Zero, or longer than ten years.
    #[error("a period must be from 1 to {max} {unit}, got {got}")]
    OutOfRange {
        /// What was asked for.
        got: u32,
        /// The longest that is allowed.
        max: u32,
        /// `months` or `days`.
        unit: &'static str,
    },
    /// An interval from the database that mixes units, is negative or contains hours.
    #[error("a period must be whole months or whole days")]
    Mixed,
    /// The end lies outside the calendar.
    #[error("the end of the period lies outside the calendar")]
    OutsideCalendar,
}

impl Period {
    /// The longest period in months.
    pub const MAX_MONTHS: u32 = 120;
    /// The longest period in days.
    pub const MAX_DAYS: u32 = 3_600;
    /// The most time that a period can last: ten years with three leap days.
    pub const LONGEST: TimeDelta = TimeDelta::days(3_653);

    /// `n` months; a year is 12 of them.
    ///
    /// # Errors
    /// [`PeriodError::OutOfRange`] outside 1 to [`Period::MAX_MONTHS`].
    pub const fn months(n: u32) -> Result<Self, PeriodError> {
        match n {
            1..=Self::MAX_MONTHS => Ok(Self(Unit::Months(n))),
            got => Err(PeriodError::OutOfRange { got, max: Self::MAX_MONTHS, unit: "months" }),
        }
    }

    /// `n` days.
    ///
    /// # Errors
    /// [`PeriodError::OutOfRange`] outside 1 to [`Period::MAX_DAYS`].
    pub const fn days(n: u32) -> Result<Self, PeriodError> {
        match n {
            1..=Self::MAX_DAYS => Ok(Self(Unit::Days(n))),
            got => Err(PeriodError::OutOfRange { got, max: Self::MAX_DAYS, unit: "days" }),
        }
    }

    /// Months and days; one of the two is zero.
    #[must_use]
    pub const fn months_and_days(self) -> (u32, u32) {
        match self.0 {
            Unit::Months(n) => (n, 0),
            Unit::Days(n) => (0, n),
        }
    }

    /// The most time that it can last, wherever it begins: a month has 31 days, a year 366.
    #[must_use]
    pub fn at_most(self) -> TimeDelta {
        let days = match self.0 {
            Unit::Days(days) => i64::from(days),
            Unit::Months(months) => {
                let (years, rest) = (i64::from(months / 12), i64::from(months % 12));
                years * 365 + (years + 3) / 4 + rest * 31
            }
        };
        TimeDelta::days(days)
    }

    /// The date `n` periods after the anchor.
    ///
    /// # Errors
    /// [`PeriodError::OutsideCalendar`] some hundred thousand years from now.
    pub fn nth(self, anchor: NaiveDate, n: u32) -> Result<NaiveDate, PeriodError> {
        match self.0 {
            Unit::Months(months) => months.checked_mul(n).and_then(|m| anchor.checked_add_months(Months::new(m))),
            Unit::Days(days) => anchor.checked_add_days(Days::new(u64::from(days) * u64::from(n))),
        }
        .ok_or(PeriodError::OutsideCalendar)
    }

    /// The instant `n` periods after the anchor: the same time of day on the wall clocks of `zone`.
    ///
    /// Equal to `((anchor AT TIME ZONE zone) + n * period) AT TIME ZONE zone` of PostgreSQL, also where clocks change.
    ///
    /// # Errors
    /// As [`Period::nth`].
    pub fn nth_instant(self, anchor: DateTime<Utc>, n: u32, zone: Tz) -> Result<DateTime<Utc>, PeriodError> {
        let wall = anchor.with_timezone(&zone).naive_local();
        let end = self.nth(wall.date(), n)?.and_time(wall.time());
        from_wall_clock(end, zone).ok_or(PeriodError::OutsideCalendar)
    }

    /// The instant one period before the anchor, likewise.
    ///
    /// # Errors
    /// As [`Period::nth`].
    pub fn instant_before(self, anchor: DateTime<Utc>, zone: Tz) -> Result<DateTime<Utc>, PeriodError> {
        let wall = anchor.with_timezone(&zone).naive_local();
        let date = match self.0 {
            Unit::Months(months) => wall.date().checked_sub_months(Months::new(months)),
            Unit::Days(days) => wall.date().checked_sub_days(Days::new(u64::from(days))),
        };
        date.and_then(|date| from_wall_clock(date.and_time(wall.time()), zone)).ok_or(PeriodError::OutsideCalendar)
    }
}

/// The instant at which `date` begins on the wall clocks of `zone`.
///
/// # Errors
/// [`PeriodError::OutsideCalendar`] at the very ends of the calendar.
pub fn start_of_day(date: NaiveDate, zone: Tz) -> Result<DateTime<Utc>, PeriodError> {
    from_wall_clock(date.and_time(chrono::NaiveTime::MIN), zone).ok_or(PeriodError::OutsideCalendar)
}

/// PostgreSQL's reading of a wall clock: an hour that is skipped is read with the offset before the change, an hour
/// that comes twice with the offset after it (`DetermineTimeZoneOffset` in its `datetime.c`).
fn from_wall_clock(wall: NaiveDateTime, zone: Tz) -> Option<DateTime<Utc>> {
    if let Some(instant) = zone.from_local_datetime(&wall).latest() {
        return Some(instant.to_utc());
    }
    let before = wall.checked_sub_signed(TimeDelta::days(1))?;
    let offset = zone.offset_from_local_datetime(&before).latest()?.fix();
    Some(wall.checked_sub_offset(offset)?.and_utc())
}

/// `3 months`, `1 day`.
impl std::fmt::Display for Period {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (n, unit) = match self.0 {
            Unit::Months(n) => (n, "month"),
            Unit::Days(n) => (n, "day"),
        };
        write!(f, "{n} {unit}{}", if n == 1 { "" } else { "s" })
    }
}

impl TryFrom<PgInterval> for Period {
    type Error = PeriodError;

    fn try_from(interval: PgInterval) -> Result<Self, Self::Error> {
        let positive = |n: i32| u32::try_from(n).map_err(|_| PeriodError::Mixed);
        match interval {
            PgInterval { microseconds: 0, days: 0, months } => Self::months(positive(months)?),
            PgInterval { microseconds: 0, days, months: 0 } => Self::days(positive(days)?),
            _ => Err(PeriodError::Mixed),
        }
    }
}

impl From<Period> for PgInterval {
    fn from(period: Period) -> Self {
        let (months, days) = period.months_and_days();
        let fits = |n: u32| i32::try_from(n).expect("a period is at most ten years");
        PgInterval::new(0, fits(days), fits(months))
    }
}

impl ToSql<Interval, Pg> for Period {
    fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Pg>) -> serialize::Result {
        let interval = PgInterval::from(*self);
        ToSql::<Interval, Pg>::to_sql(&interval, &mut out.reborrow())
    }
}

impl FromSql<Interval, Pg> for Period {
    fn from_sql(value: PgValue<'_>) -> deserialize::Result<Self> {
        Ok(<PgInterval as FromSql<Interval, Pg>>::from_sql(value)?.try_into()?)
    }
}

//! Celery's crontab: five fields, all of which must match (`celery/schedules.py`, `crontab`).

use std::fmt;
use std::str::FromStr;

use chrono::MappedLocalTime;
use chrono::{DateTime, Datelike, Days, NaiveDate, NaiveDateTime, TimeDelta, TimeZone, Utc};
use chrono_tz::Tz;

/// How far ahead a date is looked for. The rarest that exist, such as 29 February on a Monday across a century
/// without a leap day, come again within 40 years.
const HORIZON_YEARS: i32 = 41;

/// When a task runs, by the clock on the wall.
///
/// Unlike in `cron(8)`, a day must match day of month *and* day of week, as in Celery.
///
/// ```
/// use celeriac::beat::{Crontab, CrontabError};
///
/// // In the order of Celery's constructor, or as a line of `cron(8)`.
/// let weekdays = Crontab::new("*/15", "8-17", "mon-fri", "*", "*")?;
/// assert_eq!("*/15 8-17 * * mon-fri".parse::<Crontab>()?, weekdays);
/// assert!("0 9 30 2 *".parse::<Crontab>().is_err(), "there is no 30th of February");
/// # Ok::<(), CrontabError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Crontab {
    minute: Field,
    hour: Field,
    day_of_week: Field,
    day_of_month: Field,
    month_of_year: Field,
}

/// The values a field allows, as bits, and the text it was made of.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Field {
    text: String,
    bits: u64,
}

/// What is wrong with a crontab, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CrontabError {
    /// A field has a value out of its range, or is written in a way that Celery does not know.
    #[error("{field}: {text:?} {reason}")]
    Field {
        /// `minute`, `hour`, `day_of_week`, `day_of_month` or `month_of_year`.
        field: &'static str,
        /// What was given for it.
        text: String,
        /// What is expected instead.
        reason: String,
    },
    /// A line in the order of `cron(8)` that has not five fields.
    #[error("five fields expected (minute hour day_of_month month_of_year day_of_week), {0} found")]
    FieldCount(usize),
    /// For instance the 30th of February.
    #[error("day_of_month {day_of_month:?} does not exist in month_of_year {month_of_year:?}")]
    NoSuchDate {
        /// The days that were asked for.
        day_of_month: String,
        /// The months, none of which has any of the days.
        month_of_year: String,
    },
}

const MINUTE: Range = Range { field: "minute", min: 0, max: 59 };
const HOUR: Range = Range { field: "hour", min: 0, max: 23 };
const DAY_OF_WEEK: Range = Range { field: "day_of_week", min: 0, max: 6 };
const DAY_OF_MONTH: Range = Range { field: "day_of_month", min: 1, max: 31 };
const MONTH_OF_YEAR: Range = Range { field: "month_of_year", min: 1, max: 12 };

impl Crontab {
    /// Reads the fields in the order of Celery's constructor. `*` is every value, `*/15` every 15th, `mon-fri`,
    /// `8-17/2` and lists of those are understood. Sunday is 0.
    ///
    /// # Errors
    /// Names the field that cannot be read.
    pub fn new(
        minute: &str,
        hour: &str,
        day_of_week: &str,
        day_of_month: &str,
        month_of_year: &str,
    ) -> Result<Self, CrontabError> {
        let crontab = Self {
            minute: MINUTE.parse(minute)?,
            hour: HOUR.parse(hour)?,
            day_of_week: DAY_OF_WEEK.parse(day_of_week)?,
            day_of_month: DAY_OF_MONTH.parse(day_of_month)?,
            month_of_year: MONTH_OF_YEAR.parse(month_of_year)?,
        };
        let exists = (1..=12).any(|month| {
            crontab.month_of_year.allows(month) && (1..=longest(month)).any(|day| crontab.day_of_month.allows(day))
        });
        if exists {
            Ok(crontab)
        } else {
            let (day, month) = (crontab.day_of_month.text, crontab.month_of_year.text);
            Err(CrontabError::NoSuchDate { day_of_month: day, month_of_year: month })
        }
    }

    /// The first moment after `after`, by the clocks of `zone`; `None` if there is none (29 February on a day of week
    /// that it never has).
    ///
    /// Where clocks go forward, a time that does not exist is run when they have; where they go back, a time that
    /// comes twice is run the first time. Only with an `hour` that allows all (`*`, `*/1`, `0-23`) every real hour counts:
    /// nothing is added and the hour that comes twice is served twice.
    #[must_use]
    pub fn next_after(&self, after: DateTime<Utc>, zone: Tz) -> Option<DateTime<Utc>> {
        // A day early: where clocks went back over midnight, the local date of `after` may come again.
        let first = after.with_timezone(&zone).date_naive() - Days::new(1);
        let last = first.with_year(first.year() + HORIZON_YEARS).unwrap_or(NaiveDate::MAX);
        first
            .iter_days()
            .take_while(|day| *day <= last)
            .filter(|day| self.runs_on(*day))
            .find_map(|day| self.moments_of(day, zone).filter(|moment| *moment > after).min())
    }

    fn runs_on(&self, day: NaiveDate) -> bool {
        self.month_of_year.allows(day.month())
            && self.day_of_month.allows(day.day())
            && self.day_of_week.allows(day.weekday().num_days_from_sunday())
    }

    /// All moments of one local day. They are not in order where clocks go back.
    fn moments_of(&self, day: NaiveDate, zone: Tz) -> impl Iterator<Item = DateTime<Utc>> {
        let minutes = move |hour| self.minute.values().map(move |minute| (hour, minute));
        let times = self.hour.values().flat_map(minutes);
        let local = times.filter_map(move |(hour, minute)| day.and_hms_opt(hour, minute, 0));
        local.flat_map(move |local| self.moments(local, zone)).flatten()
    }

    fn moments(&self, local: NaiveDateTime, zone: Tz) -> [Option<DateTime<Utc>>; 2] {
        // However it is written.
        let every_hour = self.hour.bits == HOUR.all();
        match zone.from_local_datetime(&local) {
            MappedLocalTime::Single(time) => [Some(time.to_utc()), None],
            MappedLocalTime::Ambiguous(first, second) => [Some(first.to_utc()), every_hour.then(|| second.to_utc())],
            MappedLocalTime::None if every_hour => [None, None],
            MappedLocalTime::None => [after_gap(local, zone), None],
        }
    }
}

/// The moment when clocks that went forward over `local` had done so.
fn after_gap(local: NaiveDateTime, zone: Tz) -> Option<DateTime<Utc>> {
    // Transitions are on whole minutes, and no gap is longer than a day (Samoa skipped one in 2011).
    (1..=24 * 60)
        .filter_map(|minutes| local.checked_add_signed(TimeDelta::minutes(minutes)))
        .find_map(|later| zone.from_local_datetime(&later).earliest())
        .map(|time| time.to_utc())
}

/// Reads `minute hour day_of_month month_of_year day_of_week`, the order of `cron(8)` and of Celery's
/// `crontab.from_string`.
impl FromStr for Crontab {
    type Err = CrontabError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let fields: Vec<_> = text.split_whitespace().collect();
        let [minute, hour, day_of_month, month_of_year, day_of_week] = fields[..] else {
            return Err(CrontabError::FieldCount(fields.len()));
        };
        Self::new(minute, hour, day_of_week, day_of_month, month_of_year)
    }
}

/// As `cron(8)` writes it.
impl fmt::Display for Crontab {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [minute, hour] = [&self.minute.text, &self.hour.text];
        let [day, month, weekday] = [&self.day_of_month.text, &self.month_of_year.text, &self.day_of_week.text];
        write!(f, "{minute} {hour} {day} {month} {weekday}")
    }
}

impl Field {
    fn allows(&self, value: u32) -> bool {
        self.bits & (1 << value) != 0
    }

    fn values(&self) -> impl Iterator<Item = u32> + use<'_> {
        (0..60).filter(|value| self.allows(*value))
    }
}

struct Range {
    field: &'static str,
    min: u32,
    max: u32,
}

impl Range {
    /// The bits of all values.
    fn all(&self) -> u64 {
        (self.min..=self.max).fold(0, |bits, value| bits | 1 << value)
    }

    fn parse(&self, text: &str) -> Result<Field, CrontabError> {
        let mut bits = 0;
        for part in text.split(',') {
            bits |= self.part(part).map_err(|reason| CrontabError::Field {
                field: self.field,
                text: text.to_owned(),
                reason,
            })?;
        }
        Ok(Field { text: text.to_owned(), bits })
    }

    /// `*`, `5`, `mon`, `8-17`, `fri-mon` (over the end of the week), and `*` or a range with `/step`.
    fn part(&self, part: &str) -> Result<u64, String> {
        let (span, step) = match part.split_once('/') {
            Some((span, step)) => (span, Some(step)),
            None => (part, None),
        };
        let values: Vec<u32> = match span.split_once('-') {
            _ if span == "*" => (self.min..=self.max).collect(),
            Some((first, last)) => {
                let (first, last) = (self.number(first)?, self.number(last)?);
                if last < first {
                    (first..=self.max).chain(self.min..=last).collect()
                } else {
                    (first..=last).collect()
                }
            }
            None if step.is_some() => return Err("has a step, so it needs a range or *".to_owned()),
            None => vec![self.number(span)?],
        };
        let step = match step.map(str::parse::<usize>) {
            None => 1,
            Some(Ok(step)) if step > 0 => step,
            Some(_) => return Err("has a step that is no positive number".to_owned()),
        };
        Ok(values.into_iter().step_by(step).fold(0, |bits, value| bits | 1 << value))
    }

    fn number(&self, text: &str) -> Result<u32, String> {
        let value = match text.parse::<u32>() {
            Ok(value) => value,
            Err(_) => named(text).ok_or_else(|| format!("has {text:?}, which is neither a number nor a name"))?,
        };
        let Self { min, max, .. } = self;
        if (*min..=*max).contains(&value) {
            Ok(value)
        } else {
            Err(format!("has {value}, which is not between {min} and {max}"))
        }
    }
}

/// Names of months and days of the week; only the first three letters count, as in `celery/utils/time.py`.
fn named(text: &str) -> Option<u32> {
    const MONTHS: [&str; 12] = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
    const DAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];
    let short = text.get(..3)?.to_ascii_lowercase();
    let month = (1..).zip(MONTHS).find_map(|(number, name)| (name == short).then_some(number));
    month.or_else(|| (0..).zip(DAYS).find_map(|(number, name)| (name == short).then_some(number)))
}

/// The days of a month in the year when it has most.
fn longest(month: u32) -> u32 {
    match month {
        2 => 29,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(range: &Range, text: &str) -> Vec<u32> {
        range.parse(text).unwrap().values().collect()
    }

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    /// The next moments as local times of `zone`.
    fn moments(crontab: &str, after: &str, zone: Tz, count: usize) -> Vec<String> {
        let crontab: Crontab = crontab.parse().unwrap();
        let next = |after: &DateTime<Utc>| crontab.next_after(*after, zone);
        std::iter::successors(next(&at(after)), next)
            .take(count)
            .map(|moment| moment.with_timezone(&zone).format("%m-%d %H:%M %z").to_string())
            .collect()
    }

    /// Checked against `crontab_parser` of Celery 5.7.0.
    #[test]
    fn fields_mean_what_celery_says() {
        assert_eq!(values(&MINUTE, "*/15"), [0, 15, 30, 45]);
        assert_eq!(values(&MINUTE, "1,13,30-35,50-59/2"), [1, 13, 30, 31, 32, 33, 34, 35, 50, 52, 54, 56, 58]);
        assert_eq!(values(&HOUR, "22-2"), [0, 1, 2, 22, 23]);
        assert_eq!(values(&HOUR, "22-3/2"), [0, 2, 22]);
        assert_eq!(values(&HOUR, "0,8-17/2"), [0, 8, 10, 12, 14, 16]);
        assert_eq!(values(&DAY_OF_WEEK, "mon-fri"), [1, 2, 3, 4, 5]);
        assert_eq!(values(&DAY_OF_WEEK, "Saturday-mon"), [0, 1, 6]);
        assert_eq!(values(&DAY_OF_WEEK, "*/2"), [0, 2, 4, 6]);
        assert_eq!(values(&DAY_OF_MONTH, "*/10"), [1, 11, 21, 31]);
        assert_eq!(values(&MONTH_OF_YEAR, "*/3"), [1, 4, 7, 10]);
        assert_eq!(values(&MONTH_OF_YEAR, "jan,june-august"), [1, 6, 7, 8]);
        assert_eq!(values(&MINUTE, "*/100"), [0]);
    }

    #[test]
    fn a_field_that_cannot_be_read_is_named() {
        for (crontab, field) in [
            ("60 * * * *", "minute"),
            ("* 24 * * *", "hour"),
            ("* * 0 * *", "day_of_month"),
            ("* * 32 * *", "day_of_month"),
            ("* * * 13 * ", "month_of_year"),
            ("* * * * 7", "day_of_week"),
            ("* * * * someday", "day_of_week"),
            ("*/0 * * * *", "minute"),
            ("*/ * * * *", "minute"),
            ("*/x * * * *", "minute"),
            ("5/10 * * * *", "minute"),
            ("-5 * * * *", "minute"),
            ("1,,2 * * * *", "minute"),
            ("1- * * * *", "minute"),
            ("* é * * *", "hour"),
        ] {
            let Err(CrontabError::Field { field: found, .. }) = crontab.parse::<Crontab>() else {
                panic!("{crontab} was accepted");
            };
            assert_eq!(found, field, "{crontab}");
        }
        assert_eq!("* * * *".parse::<Crontab>(), Err(CrontabError::FieldCount(4)));
        assert!(matches!("0 0 30 2 *".parse::<Crontab>(), Err(CrontabError::NoSuchDate { .. })));
        assert!(matches!("0 0 31 4,feb *".parse::<Crontab>(), Err(CrontabError::NoSuchDate { .. })));
    }

    #[test]
    fn the_next_moment_is_strictly_later() {
        assert_eq!(
            moments("*/30 * * * *", "2026-01-01T00:00:00Z", Tz::UTC, 2),
            ["01-01 00:30 +0000", "01-01 01:00 +0000"]
        );
        assert_eq!(moments("0 0 * * *", "2025-12-31T23:59:59.999Z", Tz::UTC, 1), ["01-01 00:00 +0000"]);
    }

    #[test]
    fn day_of_month_and_day_of_week_must_both_match() {
        // The first and third Monday of each month.
        assert_eq!(
            moments("0 9 1-7,15-21 * mon", "2026-01-01T00:00:00Z", Tz::UTC, 3),
            ["01-05 09:00 +0000", "01-19 09:00 +0000", "02-02 09:00 +0000"]
        );
    }

    #[test]
    fn the_29th_of_february_on_a_monday_is_found_though_years_ahead() {
        let crontab: Crontab = "0 0 29 2 mon".parse().unwrap();
        assert_eq!(crontab.next_after(at("2072-03-01T00:00:00Z"), Tz::UTC), Some(at("2112-02-29T00:00:00Z")));
    }

    #[test]
    fn fields_are_read_on_the_clocks_of_the_zone() {
        assert_eq!(moments("0 4 * * *", "2026-06-01T00:00:00Z", Tz::Europe__Moscow, 1), ["06-01 04:00 +0300"]);
        assert_eq!(moments("0 4 * * *", "2026-06-01T01:00:00Z", Tz::Europe__Moscow, 1), ["06-02 04:00 +0300"]);
    }

    #[test]
    fn a_time_skipped_by_summer_time_runs_when_the_clocks_have_gone_forward() {
        // Berlin, 29 March 2026: 02:00 becomes 03:00.
        assert_eq!(
            moments("30 2 * * *", "2026-03-28T12:00:00Z", Tz::Europe__Berlin, 2),
            ["03-29 03:00 +0200", "03-30 02:30 +0200"]
        );
        assert_eq!(
            moments("30 * * * *", "2026-03-29T00:00:00Z", Tz::Europe__Berlin, 2),
            ["03-29 01:30 +0100", "03-29 03:30 +0200"]
        );
    }

    #[test]
    fn a_time_that_comes_twice_runs_once_unless_every_hour_counts() {
        // Berlin, 25 October 2026: 03:00 becomes 02:00.
        assert_eq!(
            moments("30 2 * * *", "2026-10-24T12:00:00Z", Tz::Europe__Berlin, 2),
            ["10-25 02:30 +0200", "10-26 02:30 +0100"]
        );
        assert_eq!(
            moments("30 * * * *", "2026-10-24T23:45:00Z", Tz::Europe__Berlin, 3),
            ["10-25 02:30 +0200", "10-25 02:30 +0100", "10-25 03:30 +0100"]
        );
    }

    #[test]
    fn crontabs_that_mean_the_same_are_due_at_the_same_moments_where_clocks_change() {
        // An hour comes twice in Berlin, half an hour on Lord Howe Island, and one is left out.
        for (zone, after) in [
            (Tz::Europe__Berlin, "2026-10-24T23:45:00Z"),
            (Tz::Europe__Berlin, "2026-03-29T00:15:00Z"),
            (Tz::Australia__Lord_Howe, "2026-04-04T14:00:00Z"),
            (Tz::Australia__Lord_Howe, "2026-10-03T15:00:00Z"),
        ] {
            let expected = moments("*/10 * * * *", after, zone, 30);
            for same in ["*/1", "0-23", "*/1,5", "0-11,12-23", "23-22", "0-22/2,1-23/2", "12-23,*"] {
                assert_eq!(moments(&format!("*/10 {same} * * *"), after, zone, 30), expected, "{same} {zone} {after}");
            }
            let one = moments("10 2 * * *", after, zone, 3);
            for same in ["2-2", "2,2", "2-3/2"] {
                assert_eq!(moments(&format!("10 {same} * * *"), after, zone, 3), one, "{same} {zone} {after}");
            }
        }
    }

    #[test]
    fn a_crontab_prints_as_it_was_written() {
        let text = "*/5 8-17 1-7 jan mon";
        assert_eq!(text.parse::<Crontab>().unwrap().to_string(), text);
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text in ".{0,40}") {
            let _ = text.parse::<Crontab>();
            let _ = MINUTE.parse(&text);
        }

        #[test]
        fn between_a_moment_and_the_next_no_minute_matches(
            start in 1_600_000_000_i64..1_900_000_000,
            minute in 0_u32..60,
            hour in 0_u32..24,
        ) {
            let crontab = Crontab::new(&minute.to_string(), &hour.to_string(), "*", "*", "*").unwrap();
            let after = DateTime::from_timestamp(start, 0).unwrap();
            let next = crontab.next_after(after, Tz::UTC).unwrap();
            proptest::prop_assert!(next > after && next - after <= TimeDelta::days(1));
            let expected = next.date_naive().and_hms_opt(hour, minute, 0).unwrap();
            proptest::prop_assert_eq!(next.naive_utc(), expected);
        }
    }
}

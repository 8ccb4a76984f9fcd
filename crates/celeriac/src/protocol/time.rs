//! Points in time as Python prints them.

use chrono::{DateTime, Datelike, FixedOffset, NaiveDateTime, NaiveTime, SecondsFormat, Timelike, Utc};

use super::isoparse::isoparse;

/// Reads ISO 8601 as Celery does (`dateutil.parser.isoparse`, by `celery.utils.time.maybe_iso8601`): the extended format and
/// the basic one, dates by day, by week and by number of the day, any character between date and time, fractions behind a dot
/// or a comma, `24:00`, any offset, and no offset for UTC (`enable_utc`).
#[must_use]
pub fn parse_time(text: &str) -> Option<DateTime<FixedOffset>> {
    let text = text.trim();
    parse_offset(text).or_else(|| Some(parse_naive(text)?.and_utc().fixed_offset()))
}

/// A time with an offset.
pub(super) fn parse_offset(text: &str) -> Option<DateTime<FixedOffset>> {
    let (time, offset) = isoparse(text)?;
    time.and_local_timezone(offset?).single()
}

/// A time without an offset.
pub(super) fn parse_naive(text: &str) -> Option<NaiveDateTime> {
    isoparse(text).filter(|(_, offset)| offset.is_none()).map(|(time, _)| time)
}

/// Prints a time as `datetime.isoformat()` does: microseconds only where there are some, the offset as `+00:00`.
#[must_use]
pub fn format_time(time: &DateTime<FixedOffset>) -> String {
    let precision = if time.nanosecond() / 1000 == 0 { SecondsFormat::Secs } else { SecondsFormat::Micros };
    time.to_rfc3339_opts(precision, false)
}

/// A time as `datetime.isoformat()` prints it; `None` outside Python's calendar. A leap second is the last microsecond
/// before it.
pub(super) fn isoformat(time: NaiveDateTime, offset: Option<FixedOffset>) -> Option<String> {
    if !(1..=9999).contains(&time.year()) {
        return None;
    }
    let offset = match offset.map(|offset| offset.local_minus_utc()) {
        None => String::new(),
        Some(seconds) => {
            let (sign, seconds) = if seconds < 0 { ('-', -seconds) } else { ('+', seconds) };
            let hours_and_minutes = format!("{sign}{:02}:{:02}", seconds / 3600, seconds / 60 % 60);
            if seconds % 60 == 0 { hours_and_minutes } else { format!("{hours_and_minutes}:{:02}", seconds % 60) }
        }
    };
    Some(format!("{}T{}{offset}", time.date(), isoformat_time(time.time())))
}

/// A time of a day as `time.isoformat()` prints it.
pub(super) fn isoformat_time(time: NaiveTime) -> String {
    let microseconds = (time.nanosecond() / 1000).min(999_999);
    let seconds = format!("{:02}:{:02}:{:02}", time.hour(), time.minute(), time.second());
    if microseconds == 0 { seconds } else { format!("{seconds}.{microseconds:06}") }
}

/// [`format_time`] of a time in UTC.
#[must_use]
pub fn format_utc(time: DateTime<Utc>) -> String {
    format_time(&time.fixed_offset())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_python_writes_a_time_is_read() {
        for (text, expected) in [
            ("2031-05-06T07:08:09.123456+00:00", "2031-05-06T07:08:09.123456+00:00"),
            ("2031-05-06T07:08:09+03:00", "2031-05-06T07:08:09+03:00"),
            ("2031-05-06T07:08:09Z", "2031-05-06T07:08:09+00:00"),
            ("2031-05-06T07:08:09.5", "2031-05-06T07:08:09.500000+00:00"),
            ("2031-05-06 07:08:09", "2031-05-06T07:08:09+00:00"),
            ("2031-05-06T07:08:09-0330", "2031-05-06T07:08:09-03:30"),
            ("2031-05-06T07:08", "2031-05-06T07:08:00+00:00"),
            ("2031-05-06", "2031-05-06T00:00:00+00:00"),
        ] {
            assert_eq!(parse_time(text).as_ref().map(format_time).as_deref(), Some(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_time_is_not_read() {
        for text in ["", "tomorrow", "1795374209", "2031-13-01T00:00:00", "2031-05-06T25:00:00", "T", "\u{0}"] {
            assert_eq!(parse_time(text), None, "{text:?}");
        }
    }
}

//! How things are written: times, durations, numbers, states.

use askama::Template;
use celeriac::protocol::State;
use chrono::{DateTime, SecondsFormat, TimeZone as _, Utc};
use chrono_tz::Tz;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// What needs no escape in a segment of a path or in a query.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A text as a segment of a path, or as a value in a query.
pub(crate) fn encoded(text: &str) -> String {
    utf8_percent_encode(text, PLAIN).to_string()
}

/// A moment, by the clocks of a zone, with UTC for who asks.
#[derive(Clone, Debug, Template)]
#[template(ext = "html", source = r#"<time datetime="{{ iso }}" title="{{ utc }}">{{ text }}</time>"#)]
pub(crate) struct When {
    iso: String,
    utc: String,
    text: String,
}

impl When {
    /// With the day and milliseconds. `at` is in seconds since 1970.
    pub(crate) fn full(at: f64, zone: Tz) -> Self {
        Self::new(moment(at), zone, "%Y-%m-%d %H:%M:%S%.3f")
    }

    /// With the day, to the second.
    pub(crate) fn to_the_second(at: DateTime<Utc>, zone: Tz) -> Self {
        Self::new(at, zone, "%Y-%m-%d %H:%M:%S")
    }

    /// Without the day, which is that of `now`; with it if it is another.
    pub(crate) fn short(at: f64, now: f64, zone: Tz) -> Self {
        let day = |at: f64| zone.from_utc_datetime(&moment(at).naive_utc()).date_naive();
        let format = if day(at) == day(now) { "%H:%M:%S%.3f" } else { "%Y-%m-%d %H:%M:%S%.3f" };
        Self::new(moment(at), zone, format)
    }

    fn new(at: DateTime<Utc>, zone: Tz, format: &str) -> Self {
        let local = at.with_timezone(&zone);
        Self {
            iso: local.to_rfc3339_opts(SecondsFormat::Millis, false),
            utc: format!("{} UTC", at.format("%Y-%m-%d %H:%M:%S%.6f")),
            text: local.format(format).to_string(),
        }
    }
}

/// Seconds since 1970 as a time; what no calendar has is its end.
fn moment(at: f64) -> DateTime<Utc> {
    DateTime::from_timestamp_micros((at * 1e6) as i64).unwrap_or(DateTime::<Utc>::MAX_UTC)
}

/// The zone as it stands on each page: `Europe/Moscow (UTC+03:00)`.
pub(crate) fn zone(zone: Tz, now: f64) -> String {
    let offset = moment(now).with_timezone(&zone).format("UTC%:z").to_string();
    if zone == Tz::UTC { "UTC".to_owned() } else { format!("{zone} ({offset})") }
}

/// `812 ms`, `1.2 s`, `3 min 4 s`, `2 h 5 min`, `3 d 1 h`. Never below 0.
pub(crate) fn duration(seconds: f64) -> String {
    let seconds = seconds.max(0.0);
    let two = |big: f64, unit: f64, names: (&str, &str)| {
        let (major, minor) = ((seconds / big).floor(), ((seconds % big) / unit).floor());
        if minor == 0.0 { format!("{major} {}", names.0) } else { format!("{major} {} {minor} {}", names.0, names.1) }
    };
    match seconds {
        s if s < 0.000_95 => format!("{:.1} ms", s * 1e3),
        s if s < 0.9995 => format!("{:.0} ms", s * 1e3),
        s if s < 59.95 => format!("{s:.1} s"),
        s if s < 3600.0 => two(60.0, 1.0, ("min", "s")),
        s if s < 86_400.0 => two(3600.0, 60.0, ("h", "min")),
        _ => two(86_400.0, 3600.0, ("d", "h")),
    }
}

/// The same in whole seconds, for what changes all the time.
pub(crate) fn age(seconds: f64) -> String {
    if seconds < 1.0 {
        "now".to_owned()
    } else if seconds < 60.0 {
        format!("{seconds:.0} s ago")
    } else {
        format!("{} ago", duration(seconds))
    }
}

/// `12,345`
pub(crate) fn number(number: u64) -> String {
    let digits = number.to_string();
    let groups: Vec<_> = digits.as_bytes().rchunks(3).rev().map(|group| String::from_utf8_lossy(group)).collect();
    groups.join(",")
}

/// `1 task`, `2 tasks`
pub(crate) fn counted(count: u64, one: &str, many: &str) -> String {
    format!("{} {}", number(count), if count == 1 { one } else { many })
}

/// `12.3 MB`
pub(crate) fn bytes(bytes: u64) -> String {
    match bytes {
        0..1_000 => format!("{bytes} B"),
        1_000..1_000_000 => format!("{:.0} kB", bytes as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} MB", bytes as f64 / 1e6),
        _ => format!("{:.1} GB", bytes as f64 / 1e9),
    }
}

/// A long id with its middle left out; the whole stands in its title.
pub(crate) fn shortened(id: &str) -> String {
    if id.chars().count() <= 12 {
        return id.to_owned();
    }
    id.chars().take(8).collect()
}

/// A state: a shape, a word and a colour, in this order of importance.
#[derive(Clone, Debug, PartialEq, Eq, Template)]
#[template(
    ext = "html",
    source = r#"<span class="status {{ class }}"><span aria-hidden="true">{{ shape }}</span> {{ word }}</span>"#
)]
pub(crate) struct Pill {
    class: &'static str,
    shape: &'static str,
    pub(crate) word: String,
}

impl Pill {
    pub(crate) fn new(class: &'static str, shape: &'static str, word: impl Into<String>) -> Self {
        Self { class, shape, word: word.into() }
    }

    /// The state of a task, in Celery's words.
    pub(crate) fn of(state: &State) -> Self {
        let (class, shape) = match state {
            State::Success => ("ok", "✓"),
            State::Started => ("run", "▶"),
            State::Failure => ("bad", "✕"),
            State::Retry => ("doubt", "↻"),
            State::Rejected => ("doubt", "!"),
            State::Pending | State::Received => ("idle", "○"),
            State::Revoked | State::Ignored => ("idle", "–"),
            State::Custom(_) => ("run", "◆"),
        };
        Self::new(class, shape, state.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_told_in_two_units_at_most() {
        for (seconds, told) in [
            (-3.0, "0.0 ms"),
            (0.0004, "0.4 ms"),
            (0.812, "812 ms"),
            (0.9999, "1.0 s"),
            (1.24, "1.2 s"),
            (60.0, "1 min"),
            (184.9, "3 min 4 s"),
            (7_500.0, "2 h 5 min"),
            (90_000.0, "1 d 1 h"),
        ] {
            assert_eq!(duration(seconds), told);
        }
    }

    #[test]
    fn times_are_told_by_the_clocks_of_the_zone_and_in_utc_for_who_asks() {
        let when = When::full(1_700_000_000.125, chrono_tz::Europe::Moscow).render().unwrap();
        assert_eq!(
            when,
            "<time datetime=\"2023-11-15T01:13:20.125+03:00\" title=\"2023-11-14 22:13:20.125000 UTC\">\
             2023-11-15 01:13:20.125</time>"
        );
        assert_eq!(zone(chrono_tz::Europe::Moscow, 1_700_000_000.0), "Europe/Moscow (UTC+03:00)");
    }

    #[test]
    fn numbers_are_grouped_and_names_are_encoded() {
        assert_eq!([number(7), number(1_234), number(1_234_567)], ["7", "1,234", "1,234,567"]);
        assert_eq!(encoded("celery@w/ü?"), "celery%40w%2F%C3%BC%3F");
    }
}

//! The spellings of a moment that the gateway uses.

use chrono::{DateTime, Datelike as _, NaiveDateTime, Utc};

/// The years of a date that means something. .NET's "no date" is the first of January of the year 1, and what lies far
/// outside is not kept by any database.
const YEARS: std::ops::RangeInclusive<i32> = 1900..=9999;

/// Reads `/Date(1635154784619)/` (milliseconds since 1970), `2021-10-25T09:39:44` and
/// `2021-10-25 09:39:44` (both UTC: the documentation's pairs prove it), and RFC 3339.
///
/// A date outside the years 1900 to 9999 is none.
pub(crate) fn parse(text: &str) -> Option<DateTime<Utc>> {
    read(text).filter(|moment| YEARS.contains(&moment.year()))
}

fn read(text: &str) -> Option<DateTime<Utc>> {
    if let Some(dotnet) = text.strip_prefix("/Date(") {
        return parse_dotnet(dotnet.strip_suffix(")/")?);
    }
    if let Ok(moment) = DateTime::parse_from_rfc3339(text) {
        return Some(moment.to_utc());
    }
    ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f"]
        .iter()
        .find_map(|format| NaiveDateTime::parse_from_str(text, format).ok())
        .map(|naive| naive.and_utc())
}

/// `1635154784619`, or `1635154784619+0300`: there the offset is only for display.
fn parse_dotnet(text: &str) -> Option<DateTime<Utc>> {
    let offset = text.char_indices().skip(1).find(|(_, letter)| matches!(letter, '+' | '-'));
    let milliseconds = offset.map_or(text, |(at, _)| &text[..at]);
    DateTime::from_timestamp_millis(milliseconds.parse().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_of_a_moment_is_read() {
        for (text, expected) in [
            ("/Date(1635154784619)/", "2021-10-25T09:39:44.619Z"),
            ("/Date(1635154784619+0300)/", "2021-10-25T09:39:44.619Z"),
            ("/Date(-1000)/", "1969-12-31T23:59:59Z"),
            ("2021-10-25T09:39:44", "2021-10-25T09:39:44Z"),
            ("2021-10-25T09:39:44.619", "2021-10-25T09:39:44.619Z"),
            ("2021-10-25T12:39:44+03:00", "2021-10-25T09:39:44Z"),
            ("2026-11-01 00:00:05", "2026-11-01T00:00:05Z"),
        ] {
            let expected = DateTime::parse_from_rfc3339(expected).unwrap().to_utc();
            assert_eq!(parse(text), Some(expected), "{text}");
        }
    }

    #[test]
    fn a_date_at_the_ends_of_time_is_no_date() {
        for (text, is_date) in [
            ("/Date(-8000000000000000)/", false),
            ("/Date(8000000000000000)/", false),
            ("/Date(-62135596800000)/", false),
            ("0001-01-01T00:00:00", false),
            ("1899-12-31T23:59:59", false),
            ("1900-01-01T00:00:00", true),
            ("9999-12-31T23:59:59", true),
            ("/Date(253402300800000)/", false),
        ] {
            assert_eq!(parse(text).is_some(), is_date, "{text}");
        }
    }

    #[test]
    fn nonsense_is_no_date() {
        for text in
            ["", "/Date()/", "/Date(x)/", "/Date(9223372036854775807)/", "2021-13-45T00:00:00", "12/25", "/Date(é+1)/"]
        {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}

//! Python's own `repr` of strings and floats.

use std::fmt::Write as _;

use chrono::{DateTime, Datelike, FixedOffset, NaiveDate, NaiveDateTime, NaiveTime, Timelike};
use serde_json::Value;

use crate::protocol::json::Tagged;
use crate::protocol::time::{parse_naive, parse_offset};

/// `repr` of a string: single quotes unless there is one inside and no double one; what cannot be printed is escaped.
pub fn quoted(text: &str, out: &mut String) {
    let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    out.push(quote);
    for character in text.chars() {
        match character {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            _ if character == quote => {
                out.push('\\');
                out.push(quote);
            }
            '\0'..='\u{1f}' | '\u{7f}'..='\u{a0}' | '\u{ad}' => {
                let _ = write!(out, "\\x{:02x}", u32::from(character));
            }
            _ => out.push(character),
        }
    }
    out.push(quote);
}

/// `repr` of any JSON value.
pub fn value(json: &Value, out: &mut String) {
    match json {
        Value::Null => out.push_str("None"),
        Value::Bool(true) => out.push_str("True"),
        Value::Bool(false) => out.push_str("False"),
        Value::Number(number) => match number.as_f64() {
            Some(float_value) if number.is_f64() => out.push_str(&float(float_value)),
            _ => out.push_str(&number.to_string()),
        },
        Value::String(text) => quoted(text, out),
        Value::Array(elements) => {
            out.push('[');
            separated(elements, out, value);
            out.push(']');
        }
        Value::Object(entries) => {
            out.push('{');
            separated(entries, out, |(key, element), out| {
                quoted(key, out);
                out.push_str(": ");
                value(element, out);
            });
            out.push('}');
        }
    }
}

/// `Name(first, second)`: how Python shows an exception.
#[must_use]
pub fn call(name: &str, arguments: &[Value]) -> String {
    let mut out = format!("{name}(");
    separated(arguments, &mut out, value);
    out.push(')');
    out
}

fn separated<T>(items: impl IntoIterator<Item = T>, out: &mut String, write: impl Fn(T, &mut String)) {
    for (index, item) in items.into_iter().enumerate() {
        if index > 0 {
            out.push_str(", ");
        }
        write(item, out);
    }
}

/// `repr` of a float: the shortest digits that read back, an exponent below 1e-4 and from 1e16 on.
#[must_use]
pub fn float(number: f64) -> String {
    if number.is_nan() {
        return "nan".to_owned();
    }
    if number.is_infinite() {
        return if number > 0.0 { "inf" } else { "-inf" }.to_owned();
    }
    let magnitude = number.abs();
    if magnitude != 0.0 && !(1e-4..1e16).contains(&magnitude) {
        // Rust writes 1e-7 where Python writes 1e-07.
        let text = format!("{number:e}");
        let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        let (sign, exponent) = exponent.strip_prefix('-').map_or(("+", exponent), |exponent| ("-", exponent));
        return format!("{digits}e{sign}{exponent:0>2}");
    }
    let text = number.to_string();
    if text.contains('.') { text } else { text + ".0" }
}

/// `repr` of a value that JSON does not have. Text that says no such value is shown as it is.
pub(super) fn tagged(tagged: &Tagged) -> String {
    let shown = match tagged {
        Tagged::DateTime(text) => datetime(text),
        Tagged::Date(text) => text.parse::<NaiveDate>().ok().map(|date| format!("datetime.date({})", ymd(&date))),
        Tagged::Time(text) => text.parse::<NaiveTime>().ok().map(|time| format!("datetime.time({})", hms(&time))),
        Tagged::Uuid(uuid) => Some(format!("UUID('{uuid}')")),
        Tagged::Decimal(text) => Some(format!("Decimal('{text}')")),
        Tagged::Bytes(_) | Tagged::Unknown { .. } => None,
    };
    shown.unwrap_or_else(|| tagged.to_string())
}

/// `datetime.datetime(2031, 5, 6, 7, 8, 9, 123456, tzinfo=datetime.timezone.utc)`
fn datetime(text: &str) -> Option<String> {
    let naive = |time: &NaiveDateTime| format!("{}, {}", ymd(&time.date()), hms(&time.time()));
    if let Some(time) = parse_offset(text) {
        return Some(format!("datetime.datetime({}, tzinfo={})", naive(&time.naive_local()), timezone(&time)));
    }
    Some(format!("datetime.datetime({})", naive(&parse_naive(text)?)))
}

fn ymd(date: &NaiveDate) -> String {
    format!("{}, {}, {}", date.year(), date.month(), date.day())
}

/// Seconds only where they are not zero, or where microseconds follow.
fn hms(time: &NaiveTime) -> String {
    let mut text = format!("{}, {}", time.hour(), time.minute());
    let microseconds = time.nanosecond() / 1000;
    if time.second() != 0 || microseconds != 0 {
        let _ = write!(text, ", {}", time.second());
    }
    if microseconds != 0 {
        let _ = write!(text, ", {microseconds}");
    }
    text
}

/// A `timedelta` has its sign in the days alone.
fn timezone(time: &DateTime<FixedOffset>) -> String {
    match time.offset().local_minus_utc() {
        0 => "datetime.timezone.utc".to_owned(),
        seconds @ 1.. => format!("datetime.timezone(datetime.timedelta(seconds={seconds}))"),
        seconds => format!("datetime.timezone(datetime.timedelta(days=-1, seconds={}))", seconds + 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_quoted_as_python_quotes_them() {
        for (text, expected) in [
            ("boom", "'boom'"),
            ("it's", "\"it's\""),
            ("say \"hi\"", "'say \"hi\"'"),
            ("it's \"hi\"", "'it\\'s \"hi\"'"),
            ("a\\b\n\t\u{0}", "'a\\\\b\\n\\t\\x00'"),
            ("Привет ☃", "'Привет ☃'"),
        ] {
            let mut out = String::new();
            quoted(text, &mut out);
            assert_eq!(out, expected);
        }
    }

    #[test]
    fn floats_are_printed_as_python_prints_them() {
        for (number, expected) in [
            (0.0, "0.0"),
            (-0.0, "-0.0"),
            (1.0, "1.0"),
            (199.5, "199.5"),
            (0.1, "0.1"),
            (1e15, "1000000000000000.0"),
            (1e16, "1e+16"),
            (1.5e300, "1.5e+300"),
            (1e-4, "0.0001"),
            (1e-5, "1e-05"),
            (-2.5e-7, "-2.5e-07"),
            (f64::NAN, "nan"),
            (f64::NEG_INFINITY, "-inf"),
        ] {
            assert_eq!(float(number), expected);
        }
    }

    #[test]
    fn times_are_printed_as_their_constructors() {
        let utc = "datetime.datetime(2031, 5, 6, 7, 8, 9, 123456, tzinfo=datetime.timezone.utc)";
        for (tag, expected) in [
            (Tagged::DateTime("2031-05-06T07:08:09.123456+00:00".into()), utc),
            (Tagged::DateTime("2024-01-01T00:00:00".into()), "datetime.datetime(2024, 1, 1, 0, 0)"),
            (
                Tagged::DateTime("2024-01-01T00:00:01-03:30".into()),
                "datetime.datetime(2024, 1, 1, 0, 0, 1, tzinfo=datetime.timezone(datetime.timedelta(days=-1, seconds=73800)))",
            ),
            (Tagged::Date("2024-02-29".into()), "datetime.date(2024, 2, 29)"),
            (Tagged::Time("01:02:03".into()), "datetime.time(1, 2, 3)"),
            (Tagged::Decimal("12.3400".into()), "Decimal('12.3400')"),
            (Tagged::Date("soon".into()), "soon"),
        ] {
            assert_eq!(tagged(&tag), expected);
        }
    }
}

//! ISO 8601 as `dateutil.parser.isoparse` reads it.

use chrono::{Days, FixedOffset, NaiveDate, NaiveDateTime, NaiveTime, Weekday};

/// A time, and its offset if it has one; `None`: it is no time.
pub(super) fn isoparse(text: &str) -> Option<(NaiveDateTime, Option<FixedOffset>)> {
    if !text.is_ascii() {
        return None;
    }
    let (date, rest) = common_date(text).or_else(|| uncommon_date(text))?;
    let date = date?;
    if rest.is_empty() {
        return Some((date.and_time(NaiveTime::MIN), None));
    }
    // Any character may stand between them.
    let (time, offset) = time(&rest[1..])?;
    let date = if time.is_midnight_after { date.checked_add_days(Days::new(1))? } else { date };
    Some((date.and_time(time.time), offset))
}

/// A date that may not exist, `YYYY`, `YYYY-MM`, `YYYY-MM-DD` or `YYYYMMDD`, and what follows.
fn common_date(text: &str) -> Option<(Option<NaiveDate>, &str)> {
    let (year, rest) = number(text, 4)?;
    let year = i32::try_from(year).ok()?;
    if rest.is_empty() {
        return Some((NaiveDate::from_ymd_opt(year, 1, 1), rest));
    }
    let separated = rest.strip_prefix('-');
    let (month, rest) = number(separated.unwrap_or(rest), 2)?;
    if rest.is_empty() {
        // `YYYYMM` could be a date with two digits for the year.
        separated?;
        return Some((NaiveDate::from_ymd_opt(year, month, 1), rest));
    }
    let rest = if separated.is_some() { rest.strip_prefix('-')? } else { rest };
    let (day, rest) = number(rest, 2)?;
    Some((NaiveDate::from_ymd_opt(year, month, day), rest))
}

/// `YYYY-Www`, `YYYY-Www-D`, `YYYY-DDD`, and the same without dashes, and what follows.
fn uncommon_date(text: &str) -> Option<(Option<NaiveDate>, &str)> {
    let (year, rest) = number(text, 4)?;
    let year = i32::try_from(year).ok()?;
    let separated = rest.strip_prefix('-');
    let rest = separated.unwrap_or(rest);
    let Some(week) = rest.strip_prefix('W') else {
        let (day, rest) = number(rest, 3)?;
        return Some((NaiveDate::from_yo_opt(year, day), rest));
    };
    let (week, rest) = number(week, 2)?;
    let monday = NaiveDate::from_isoywd_opt(year, 1, Weekday::Mon)?;
    let (day, rest) = if rest.is_empty() {
        (1, rest)
    } else {
        let day = rest.strip_prefix('-');
        if day.is_some() != separated.is_some() {
            return None;
        }
        number(day.unwrap_or(rest), 1)?
    };
    let is_day = (1..=53).contains(&week) && (1..=7).contains(&day);
    let days = is_day.then(|| u64::from(week - 1) * 7 + u64::from(day - 1))?;
    // The last week of a year that has 52 is the first of the next one.
    Some((monday.checked_add_days(Days::new(days)), rest))
}

struct Time {
    time: NaiveTime,
    /// `24:00`
    is_midnight_after: bool,
}

/// `hh`, `hh:mm`, `hhmm`, `hh:mm:ss`, `hhmmss`, with a fraction behind seconds, and with an offset behind any of them.
fn time(text: &str) -> Option<(Time, Option<FixedOffset>)> {
    if text.len() < 2 {
        return None;
    }
    let mut parts = [0_u32; 3];
    let mut rest = text;
    let mut is_separated = false;
    let (mut read, mut nanos) = (0, 0);
    while read < 3 && !rest.is_empty() && !rest.starts_with(['-', '+', 'Z', 'z']) {
        match (read, rest.strip_prefix(':')) {
            (1, Some(after)) => (is_separated, rest) = (true, after),
            (2, after) if is_separated => rest = after?,
            _ => {}
        }
        (parts[read], rest) = number(rest, 2)?;
        read += 1;
    }
    if read == 3
        && let Some(after) = rest.strip_prefix(['.', ','])
    {
        let digits = after.bytes().take_while(u8::is_ascii_digit).count();
        // Microseconds, as Python has them.
        let micros: u32 = format!("{:0<6.6}", after.get(..digits).filter(|digits| !digits.is_empty())?).parse().ok()?;
        (nanos, rest) = (micros * 1000, &after[digits..]);
    }
    let offset = if rest.is_empty() { None } else { Some(offset(rest)?) };
    let [hour, minute, second] = parts;
    if hour == 24 {
        let is_midnight = minute == 0 && second == 0 && nanos == 0;
        return is_midnight.then_some((Time { time: NaiveTime::MIN, is_midnight_after: true }, offset));
    }
    // A leap second is none for Python, but Rust writes it.
    let (second, nanos) = if second == 60 { (59, nanos + 1_000_000_000) } else { (second, nanos) };
    let time = NaiveTime::from_hms_nano_opt(hour, minute, second, nanos)?;
    Some((Time { time, is_midnight_after: false }, offset))
}

/// `Z`, `±hh`, `±hhmm` or `±hh:mm`
fn offset(text: &str) -> Option<FixedOffset> {
    if matches!(text, "Z" | "z") {
        return FixedOffset::east_opt(0);
    }
    let (is_west, rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+')?),
    };
    let (hours, rest) = number(rest, 2)?;
    let (minutes, rest) = if rest.is_empty() { (0, "") } else { number(rest.strip_prefix(':').unwrap_or(rest), 2)? };
    if !rest.is_empty() || hours > 23 || minutes > 59 {
        return None;
    }
    let seconds = i32::try_from((hours * 60 + minutes) * 60).ok()?;
    if is_west { FixedOffset::west_opt(seconds) } else { FixedOffset::east_opt(seconds) }
}

/// A number of so many digits, and what follows.
fn number(text: &str, digits: usize) -> Option<(u32, &str)> {
    let (number, rest) = text.split_at_checked(digits)?;
    number.bytes().all(|byte| byte.is_ascii_digit()).then(|| Some((number.parse().ok()?, rest)))?
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checked against `dateutil.parser.isoparse` 2.9.
    #[test]
    fn what_isoparse_reads_is_read() {
        for (text, time) in [
            ("20261129T174338Z", "2026-11-29T17:43:38 +00:00"),
            ("20261129T174338", "2026-11-29T17:43:38"),
            ("20261129T174338.5+0300", "2026-11-29T17:43:38.500 +03:00"),
            ("20261129T1743", "2026-11-29T17:43:00"),
            ("20261129T17", "2026-11-29T17:00:00"),
            ("20261129T17+03", "2026-11-29T17:00:00 +03:00"),
            ("20261129", "2026-11-29T00:00:00"),
            ("2026", "2026-01-01T00:00:00"),
            ("2026-11", "2026-11-01T00:00:00"),
            ("2026-11-29", "2026-11-29T00:00:00"),
            ("2026-11-29T17:43:38.123456789-03:30", "2026-11-29T17:43:38.123456 -03:30"),
            ("2026-11-29T17:43:38,5", "2026-11-29T17:43:38.500"),
            ("2026-11-29 17:43z", "2026-11-29T17:43:00 +00:00"),
            ("2026-11-29x17:43", "2026-11-29T17:43:00"),
            ("2026-11-29T174338", "2026-11-29T17:43:38"),
            ("20261129T17:43:38", "2026-11-29T17:43:38"),
            ("2026-11-29T24:00", "2026-11-30T00:00:00"),
            ("2026-11-29T24", "2026-11-30T00:00:00"),
            ("20261231T240000Z", "2027-01-01T00:00:00 +00:00"),
            ("2026-W48-7", "2026-11-29T00:00:00"),
            ("2026W487T10", "2026-11-29T10:00:00"),
            ("2026-W48", "2026-11-23T00:00:00"),
            ("2026W48", "2026-11-23T00:00:00"),
            ("2025-W53-1", "2025-12-29T00:00:00"),
            ("2026-333", "2026-11-29T00:00:00"),
            ("2026333", "2026-11-29T00:00:00"),
            ("2024-366T01:02:03Z", "2024-12-31T01:02:03 +00:00"),
        ] {
            let shown = |(time, offset): (NaiveDateTime, Option<FixedOffset>)| {
                let offset = offset.map_or_else(String::new, |offset| format!(" {offset}"));
                format!("{time:?}{offset}")
            };
            assert_eq!(isoparse(text).map(shown).as_deref(), Some(time), "{text}");
        }
    }

    #[test]
    fn what_isoparse_refuses_is_refused() {
        for text in [
            "",
            "202",
            "202611",
            "2026-1-1",
            "2026-13-01",
            "2026-02-30",
            "2026-366",
            "2026-W54",
            "2026-W48-8",
            "2026-W487",
            "2026W48-7",
            "2026-11-29T",
            "2026-11-29T1",
            "2026-11-29T25:00",
            "2026-11-29T24:01",
            "2026-11-29T17:4338",
            "2026-11-29T17:43:38.",
            "2026-11-29T17:43:38+3",
            "2026-11-29T17:43:38+24:00",
            "2026-11-29T17:43:38+03:60",
            "2026-11-29T17:43:38+03:00:00",
            "2026-11-29T17:43:38 Z",
            "2026-11-29T17.5",
            "1795374209",
            "tomorrow",
            "２０２６",
            "2026-11-29T17:43:61",
        ] {
            assert_eq!(isoparse(text), None, "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text in "[-0-9W:.,+TZ ]{0,30}") {
            let _ = isoparse(&text);
        }
    }
}

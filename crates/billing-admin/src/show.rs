//! How things are written: times, amounts, states.

use askama::Template;
use billing::payment::CardMask;
use billing::{Currency, Kopecks};
use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use chrono_tz::Tz;

use crate::lang::Lang;

/// A moment by the clocks of the billing zone, with UTC for who asks.
#[derive(Clone, Debug, Template)]
#[template(ext = "html", source = r#"<time datetime="{{ iso }}" title="{{ utc }}">{{ text }}</time>"#)]
pub(crate) struct When {
    iso: String,
    utc: String,
    text: String,
}

impl When {
    pub(crate) fn minutes(at: DateTime<Utc>, zone: Tz, lang: Lang) -> Self {
        Self::new(at, zone, lang.of("%-d %b %Y, %H:%M", "%d.%m.%Y %H:%M"))
    }

    pub(crate) fn seconds(at: DateTime<Utc>, zone: Tz, lang: Lang) -> Self {
        Self::new(at, zone, lang.of("%-d %b %Y, %H:%M:%S", "%d.%m.%Y %H:%M:%S"))
    }

    /// As people read it.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    fn new(at: DateTime<Utc>, zone: Tz, format: &str) -> Self {
        let local = at.with_timezone(&zone);
        Self {
            iso: local.to_rfc3339_opts(SecondsFormat::Millis, false),
            utc: format!("{} UTC", at.format("%Y-%m-%d %H:%M:%S%.3f")),
            text: local.format(format).to_string(),
        }
    }
}

/// The zone as it stands on each page: `Europe/Moscow (UTC+03:00)`.
pub(crate) fn zone(zone: Tz, now: DateTime<Utc>) -> String {
    let offset = now.with_timezone(&zone).format("UTC%:z").to_string();
    if zone == Tz::UTC { "UTC".to_owned() } else { format!("{zone} ({offset})") }
}

/// How far a time is from now, in its largest unit: `in 3 days`, `2 часа назад`.
pub(crate) fn distance(at: DateTime<Utc>, now: DateTime<Utc>, lang: Lang) -> String {
    let gap = (at - now).abs();
    let (n, en, ru) = match gap {
        gap if gap < TimeDelta::minutes(1) => return lang.of("now", "сейчас").to_owned(),
        gap if gap < TimeDelta::hours(1) => (gap.num_minutes(), ["minute", "minutes"], ["минуту", "минуты", "минут"]),
        gap if gap < TimeDelta::days(1) => (gap.num_hours(), ["hour", "hours"], ["час", "часа", "часов"]),
        gap => (gap.num_days(), ["day", "days"], ["день", "дня", "дней"]),
    };
    let unit = lang.counted(n.unsigned_abs(), en, ru);
    match (lang, at > now) {
        (Lang::En, true) => format!("in {n} {unit}"),
        (Lang::En, false) => format!("{n} {unit} ago"),
        (Lang::Ru, true) => format!("через {n} {unit}"),
        (Lang::Ru, false) => format!("{n} {unit} назад"),
    }
}

/// How long something took.
pub(crate) fn took(span: TimeDelta, lang: Lang) -> String {
    let ms = span.num_milliseconds().max(0);
    match ms {
        0..1_000 => format!("{ms} {}", lang.of("ms", "мс")),
        1_000..60_000 => {
            format!("{}{}{} {}", ms / 1_000, lang.of(".", ","), ms % 1_000 / 100, lang.of("s", "с"))
        }
        _ => format!("{} {} {} {}", ms / 60_000, lang.of("min", "мин"), ms % 60_000 / 1_000, lang.of("s", "с")),
    }
}

/// `1 234 567,00 ₽` and `RUB 1,234,567.00`.
pub(crate) fn money(amount: Kopecks, currency: Currency, lang: Lang) -> String {
    let (digits, minor) = (amount.get().unsigned_abs(), currency.decimals());
    let unit = 10_u64.pow(minor);
    let sign = if amount.get() < 0 { "\u{2212}" } else { "" };
    let whole = grouped(digits / unit, lang.of(",", "\u{a0}"));
    let fraction = match minor {
        0 => String::new(),
        width => format!("{}{:0width$}", lang.of(".", ","), digits % unit, width = width as usize),
    };
    match (lang, currency) {
        (Lang::En, _) => format!("{sign}{currency}\u{a0}{whole}{fraction}"),
        (Lang::Ru, Currency::RUB) => format!("{sign}{whole}{fraction}\u{a0}₽"),
        (Lang::Ru, _) => format!("{sign}{whole}{fraction}\u{a0}{currency}"),
    }
}

/// A number in groups of three digits.
fn grouped(n: u64, between: &str) -> String {
    let digits = n.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push_str(between);
        }
        text.push(digit);
    }
    text
}

/// An amount as people type it: `200`, `200,00`, `200.5`. A third decimal is no amount.
pub(crate) fn parsed_amount(text: &str) -> Option<Kopecks> {
    let text: String = text.chars().filter(|c| !matches!(c, ' ' | '\u{a0}' | '₽')).collect();
    let (whole, fraction) = text.split_once([',', '.']).unwrap_or((&text, "0"));
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !is_number(whole) || !is_number(fraction) || fraction.len() > 2 {
        return None;
    }
    let minor: i64 = format!("{fraction:0<2}").parse().ok()?;
    Some(Kopecks::new(whole.parse::<i64>().ok()?.checked_mul(100)?.checked_add(minor)?))
}

/// An amount as it stands in a field to be typed in: `599,00`.
pub(crate) fn typed_amount(amount: Kopecks, currency: Currency) -> String {
    match currency.decimals() {
        0 => amount.get().to_string(),
        width => {
            let unit = 10_i64.pow(width);
            format!("{},{:0width$}", amount.get() / unit, amount.get() % unit, width = width as usize)
        }
    }
}

/// `Visa ·· 4242`; nothing more of a card is shown.
pub(crate) fn card(mask: &CardMask) -> String {
    let scheme = mask.scheme.as_deref().unwrap_or_default();
    let last = mask.last_four.as_deref().unwrap_or("????");
    format!("{scheme} ·· {last}").trim().to_owned()
}

/// `1 month`, `7 дней`.
pub(crate) fn period(period: billing::period::Period, lang: Lang) -> String {
    let text = period.to_string();
    let (count, unit) = text.split_once(' ').unwrap_or((&text, ""));
    let n: u64 = count.parse().unwrap_or_default();
    let unit = if unit.starts_with("month") {
        lang.counted(n, ["month", "months"], ["месяц", "месяца", "месяцев"])
    } else {
        lang.counted(n, ["day", "days"], ["день", "дня", "дней"])
    };
    format!("{n} {unit}")
}

/// An address of the network without what tells one customer from another: `203.0.•.•`.
pub(crate) fn masked_address(address: &str) -> String {
    let (sign, kept, rest) = if address.contains(':') { (':', 2, ":•") } else { ('.', 2, ".•.•") };
    let parts: Vec<&str> = address.split(sign).take(kept).collect();
    parts.join(&sign.to_string()) + rest
}

/// The beginning of an id, where the whole of it stands beside.
#[expect(clippy::needless_pass_by_value, reason = "ids are copied")]
pub(crate) fn short(id: impl ToString) -> String {
    let text = id.to_string();
    // The ends differ more than the beginnings do: those tell the time.
    format!("…{}", &text[text.len().saturating_sub(8)..])
}

/// A state as a shape and a word in a colour of its kind.
#[derive(Clone, Debug, PartialEq, Eq, Template)]
#[template(
    ext = "html",
    source = r#"<span class="status {{ kind }}"><span aria-hidden="true">{{ shape }}</span> {{ word }}</span>"#
)]
pub(crate) struct Pill {
    pub(crate) kind: &'static str,
    pub(crate) shape: &'static str,
    pub(crate) word: &'static str,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_written_as_people_write_them() {
        let ru = |kopecks| money(Kopecks::new(kopecks), Currency::RUB, Lang::Ru);
        assert_eq!(
            [0, 5, 59_900, 123_456_700, -100].map(ru),
            ["0,00\u{a0}₽", "0,05\u{a0}₽", "599,00\u{a0}₽", "1\u{a0}234\u{a0}567,00\u{a0}₽", "\u{2212}1,00\u{a0}₽"]
        );
        assert_eq!(money(Kopecks::new(123_456_700), Currency::RUB, Lang::En), "RUB\u{a0}1,234,567.00");
        assert_eq!(money(Kopecks::new(500), "JPY".parse().unwrap(), Lang::En), "JPY\u{a0}500");
    }

    #[test]
    fn an_amount_is_read_as_it_is_typed() {
        for (text, is) in [
            ("200", Some(20_000)),
            ("200,5", Some(20_050)),
            ("1 234.05 ₽", Some(123_405)),
            ("0,01", Some(1)),
            ("200,001", None),
            ("-1", None),
            ("1e3", None),
            ("", None),
            ("99999999999999999999", None),
        ] {
            assert_eq!(parsed_amount(text), is.map(Kopecks::new), "{text}");
        }
    }

    #[test]
    fn an_address_is_shown_without_its_end() {
        for (address, is) in [("203.0.113.7", "203.0.•.•"), ("2001:db8::7", "2001:db8:•")] {
            assert_eq!(masked_address(address), is);
        }
    }

    #[test]
    fn distances_are_in_their_largest_unit() {
        let now = DateTime::UNIX_EPOCH;
        for (seconds, en, ru) in [
            (30, "now", "сейчас"),
            (60, "in 1 minute", "через 1 минуту"),
            (-7_200, "2 hours ago", "2 часа назад"),
            (86_400 * 5, "in 5 days", "через 5 дней"),
            (-86_400 * 21, "21 days ago", "21 день назад"),
        ] {
            let at = now + TimeDelta::seconds(seconds);
            assert_eq!((distance(at, now, Lang::En).as_str(), distance(at, now, Lang::Ru).as_str()), (en, ru));
        }
    }

    #[test]
    fn a_duration_is_never_below_zero() {
        let shown = [-5, 812, 1_250, 61_000].map(|ms| took(TimeDelta::milliseconds(ms), Lang::En));
        assert_eq!(shown, ["0 ms", "812 ms", "1.2 s", "1 min 1 s"]);
    }
}

//! Times, days and amounts as people write them.

use chrono::{DateTime, Datelike, Timelike, Utc};
use chrono_tz::Tz;

use super::Text;
use crate::{Currency, Kopecks};

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const MESYATSY: [&str; 12] = [
    "января",
    "февраля",
    "марта",
    "апреля",
    "мая",
    "июня",
    "июля",
    "августа",
    "сентября",
    "октября",
    "ноября",
    "декабря",
];

/// The day and the minute on the wall clocks of `zone`, with the zone named.
pub(super) fn time(at: DateTime<Utc>, zone: Tz) -> Text {
    let at = at.with_timezone(&zone);
    let month = usize::try_from(at.month0()).unwrap_or_default();
    let (day, year, hour, minute) = (at.day(), at.year(), at.hour(), at.minute());
    Text::new(
        format!("{day} {} {year}, {hour:02}:{minute:02} ({zone})", MONTHS[month]),
        format!("{day} {} {year} г., {hour:02}:{minute:02} ({zone})", MESYATSY[month]),
    )
}

/// An amount with its currency.
pub(super) fn money(amount: Kopecks, currency: Currency) -> Text {
    let (whole, part) = (amount.get() / 100, amount.get() % 100);
    if currency == Currency::RUB {
        return Text::new(format!("{whole}.{part:02} RUB"), format!("{whole},{part:02} ₽"));
    }
    Text::new(format!("{whole}.{part:02} {currency}"), format!("{whole},{part:02} {currency}"))
}

/// `n` times, with the plural that the language asks for.
pub(super) fn times(n: i32) -> Text {
    let en = if n == 1 { "once".to_owned() } else { format!("{n} times") };
    let few = matches!(n % 10, 2..=4) && !matches!(n % 100, 12..=14);
    Text::new(en, format!("{n} {}", if few { "раза" } else { "раз" }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_told_on_the_wall_clocks_of_its_zone() {
        let told = time("2026-02-28T21:30:00Z".parse().unwrap(), Tz::Europe__Moscow);
        assert_eq!(told.en, "1 March 2026, 00:30 (Europe/Moscow)");
        assert_eq!(told.ru, "1 марта 2026 г., 00:30 (Europe/Moscow)");
    }

    #[test]
    fn amounts_have_two_places() {
        let told = money(Kopecks::new(39_905), Currency::RUB);
        assert_eq!((&*told.en, &*told.ru), ("399.05 RUB", "399,05 ₽"));
    }

    #[test]
    fn russian_counts_have_their_plural() {
        let told = [1, 2, 4, 5, 11, 12, 14, 21, 22, 25, 112].map(|n| times(n).ru);
        assert_eq!(
            told,
            [
                "1 раз",
                "2 раза",
                "4 раза",
                "5 раз",
                "11 раз",
                "12 раз",
                "14 раз",
                "21 раз",
                "22 раза",
                "25 раз",
                "112 раз"
            ]
        );
    }
}

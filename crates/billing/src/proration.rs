//! What a change to a dearer tariff costs at once. Pure.
//!
//! The price of the new tariff, less what is left of the present period: what was captured for it and not given back, in
//! the share of its whole days that are still to come. Days are those of the account's wall clocks, so an hour that is
//! skipped or comes twice changes nothing.

use chrono::{DateTime, Utc};
use chrono_tz::Tz;

use crate::Kopecks;

/// How much of a period is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    /// Whole days until its end; never more than there are.
    pub days_left: i64,
    /// Its days; at least 1.
    pub days: i64,
}

impl Share {
    /// What is left at `now` of the period from `begins` to `ends`, on the wall clocks of `zone`.
    #[must_use]
    pub fn of(begins: DateTime<Utc>, ends: DateTime<Utc>, zone: Tz, now: DateTime<Utc>) -> Self {
        let wall = |at: DateTime<Utc>| at.with_timezone(&zone).naive_local();
        let days = (wall(ends) - wall(begins)).num_days().max(1);
        let days_left = (wall(ends) - wall(now)).num_days().clamp(0, days);
        Self { days_left, days }
    }
}

/// What is to be paid: whole minor units, a half rounded up. `kept`: what was captured for the present period, less what was
/// given back. `None`: nothing is to be paid, so it is no change upwards.
#[must_use]
pub fn price_at_once(new_price: Kopecks, kept: Kopecks, share: Share) -> Option<Kopecks> {
    let (left, days) = (i128::from(share.days_left), i128::from(share.days));
    let owed = i128::from(new_price.get()) * days - i128::from(kept.get().max(0)) * left;
    let rounded = (owed * 2 + days).div_euclid(days * 2);
    i64::try_from(rounded).ok().filter(|owed| *owed > 0).map(Kopecks::new)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().expect("a time")
    }

    #[test]
    fn whole_days_are_counted_on_the_wall_clocks_of_the_account() {
        let moscow = Tz::Europe__Moscow;
        for (begins, ends, zone, now, left) in [
            // Months of 31, 28 and 29 days.
            ("2026-03-10T09:00:00Z", "2026-04-10T09:00:00Z", moscow, "2026-03-10T09:00:00Z", (31, 31)),
            ("2026-03-10T09:00:00Z", "2026-04-10T09:00:00Z", moscow, "2026-03-10T09:00:01Z", (30, 31)),
            ("2026-01-31T09:00:00Z", "2026-02-28T09:00:00Z", moscow, "2026-02-14T09:00:00Z", (14, 28)),
            ("2028-02-10T09:00:00Z", "2028-03-10T09:00:00Z", moscow, "2028-03-09T09:00:01Z", (0, 29)),
            // A year, of which a leap day is a part.
            ("2028-01-01T09:00:00Z", "2029-01-01T09:00:00Z", moscow, "2028-12-31T09:00:00Z", (1, 366)),
            // Clocks go forward and back: the same wall time is 23 and 25 hours later.
            ("2026-03-28T11:00:00Z", "2026-03-29T10:00:00Z", Tz::Europe__Berlin, "2026-03-28T11:00:00Z", (1, 1)),
            ("2026-10-20T10:00:00Z", "2026-10-27T11:00:00Z", Tz::Europe__Berlin, "2026-10-24T10:00:00Z", (3, 7)),
            ("2026-10-20T10:00:00Z", "2026-10-27T11:00:00Z", Tz::Europe__Berlin, "2026-10-24T10:30:00Z", (2, 7)),
            // The next period is paid already: no more than all of it is left. And over is over.
            ("2026-03-10T09:00:00Z", "2026-04-10T09:00:00Z", moscow, "2026-03-09T09:00:00Z", (31, 31)),
            ("2026-03-10T09:00:00Z", "2026-04-10T09:00:00Z", moscow, "2026-05-10T09:00:00Z", (0, 31)),
        ] {
            let share = Share::of(at(begins), at(ends), zone, at(now));
            assert_eq!((share.days_left, share.days), left, "{begins} {now} {zone}");
        }
    }

    #[test]
    fn what_is_left_of_the_money_is_taken_off_and_a_half_is_rounded_up() {
        for (new_price, kept, days_left, days, owed) in [
            (299_000, 39_900, 31, 31, Some(259_100)),
            (299_000, 39_900, 0, 31, Some(299_000)),
            // 299000 − 39900 × 15 / 31 = 279693.548…
            (299_000, 39_900, 15, 31, Some(279_694)),
            // A half, up: 1000 − 1 × 1 / 2.
            (1_000, 1, 1, 2, Some(1_000)),
            (1_000, 3, 1, 2, Some(999)),
            // A part was given back: 39900 − 10000 are kept. Or all of it.
            (299_000, 29_900, 10, 30, Some(289_033)),
            (299_000, 0, 31, 31, Some(299_000)),
            (299_000, -5, 31, 31, Some(299_000)),
            // Not upwards.
            (39_900, 39_900, 31, 31, None),
            (5_900, 299_000, 300, 365, None),
        ] {
            let share = Share { days_left, days };
            let price = price_at_once(Kopecks::new(new_price), Kopecks::new(kept), share);
            assert_eq!(price.map(Kopecks::get), owed, "{new_price} {kept} {share:?}");
        }
    }

    proptest! {
        #[test]
        fn it_is_never_more_than_the_new_price_and_the_later_the_more(
            new_price in 1i64..=100_000_000, kept in 0i64..=100_000_000, days in 1i64..=3_700, part in 0i64..=1_000,
        ) {
            let days_left = days * part / 1_000;
            let price = |kept: i64, days_left: i64| {
                price_at_once(Kopecks::new(new_price), Kopecks::new(kept), Share { days_left, days }).map_or(0, Kopecks::get)
            };
            let owed = price(kept, days_left);
            prop_assert!((0..=new_price).contains(&owed));
            prop_assert_eq!(price(0, days_left), new_price);
            prop_assert!(price(kept, (days_left - 1).max(0)) >= owed, "a day later it is no less");
            prop_assert!(price(kept + 1, days_left) <= owed, "who has paid more owes no more");
            // Within half a kopeck of the exact fraction.
            if owed > 0 {
                let exact = i128::from(new_price) * i128::from(days) - i128::from(kept) * i128::from(days_left);
                prop_assert!((i128::from(owed) * i128::from(days) - exact).abs() * 2 <= i128::from(days));
            }
        }
    }
}

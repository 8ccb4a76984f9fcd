//! Until when a card may be charged, as its mask tells.

use chrono::{DateTime, Datelike, Months, NaiveDate, Utc};
use chrono_tz::Tz;

use super::CardMask;

impl CardMask {
    /// The last day on which the card may be charged: that of the month on it. `None`: the mask tells no month. (The
    /// function `card_expires` of the database reads it likewise.)
    #[must_use]
    pub fn valid_through(&self) -> Option<NaiveDate> {
        let (month, year) = self.expires.as_deref()?.split_once('/')?;
        let two_digits = |text: &str| text.len() == 2 && text.bytes().all(|b| b.is_ascii_digit());
        if !two_digits(month) || !two_digits(year) {
            return None;
        }
        let first = NaiveDate::from_ymd_opt(2000 + year.parse::<i32>().ok()?, month.parse().ok()?, 1)?;
        first.checked_add_months(Months::new(1))?.pred_opt()
    }

    /// Whether the card has expired at `at`, on the wall clocks of `zone`: it is not charged any more. A card that tells
    /// no month has not: its bank will say.
    #[must_use]
    pub fn has_expired(&self, at: DateTime<Utc>, zone: Tz) -> bool {
        let today = at.with_timezone(&zone).date_naive();
        self.valid_through().is_some_and(|last| (today.year(), today.month()) > (last.year(), last.month()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mask(expires: &str) -> CardMask {
        CardMask { expires: Some(expires.to_owned()), ..CardMask::default() }
    }

    #[test]
    fn a_card_is_good_through_the_last_day_of_its_month() {
        for (expires, last) in [("02/28", "2028-02-29"), ("12/26", "2026-12-31"), ("04/30", "2030-04-30")] {
            assert_eq!(mask(expires).valid_through().map(|day| day.to_string()).as_deref(), Some(last));
        }
        for wrong in ["", "13/26", "00/26", "1/26", "12/2026", "12-26", "/", "аб/26", "+1/26"] {
            assert_eq!(mask(wrong).valid_through(), None, "{wrong}");
        }
        assert_eq!(CardMask::default().valid_through(), None);
    }

    #[test]
    fn it_expires_at_midnight_of_the_account() {
        let at = |text: &str| text.parse().expect("a time");
        let card = mask("12/26");
        assert!(!card.has_expired(at("2026-12-31T20:59:59Z"), Tz::Europe__Moscow));
        assert!(card.has_expired(at("2026-12-31T21:00:00Z"), Tz::Europe__Moscow));
        assert!(!card.has_expired(at("2026-12-31T21:00:00Z"), Tz::UTC));
        assert!(!mask("never").has_expired(at("2099-01-01T00:00:00Z"), Tz::UTC));
    }
}

//! Periods count from the original anchor, on the wall clocks of the zone, as PostgreSQL would count them.

use billing::period::{Period, PeriodError, start_of_day};
use chrono::NaiveDate;
use chrono_tz::Tz;
use serde::Deserialize;

use crate::support::at;

#[derive(Deserialize)]
pub(crate) struct Vector {
    pub(crate) anchor: NaiveDate,
    pub(crate) anchored_correct: Vec<NaiveDate>,
    chained_wrong_drifts: Vec<NaiveDate>,
    plus_1_year_x4: Vec<NaiveDate>,
}

pub(crate) fn vectors() -> Vec<Vector> {
    serde_json::from_str(include_str!("../fixtures/month_vectors.json")).unwrap()
}

#[test]
fn the_nth_month_is_counted_from_the_anchor_and_clamped() {
    let (month, year) = (Period::months(1).unwrap(), Period::months(12).unwrap());
    let vectors = vectors();
    assert_eq!(vectors.len(), 9);
    for vector in vectors {
        let nth = |period: Period, n: usize| period.nth(vector.anchor, u32::try_from(n).unwrap()).unwrap();
        let months: Vec<_> = (1..=vector.anchored_correct.len()).map(|n| nth(month, n)).collect();
        let years: Vec<_> = (1..=vector.plus_1_year_x4.len()).map(|n| nth(year, n)).collect();
        assert_eq!(months, vector.anchored_correct, "{}", vector.anchor);
        assert_eq!(years, vector.plus_1_year_x4, "{}", vector.anchor);
    }
}

#[test]
fn adding_to_the_previous_end_would_drift() {
    let month = Period::months(1).unwrap();
    for vector in vectors() {
        let chained: Vec<_> = (0..vector.chained_wrong_drifts.len())
            .scan(vector.anchor, |end, _| {
                *end = month.nth(*end, 1).unwrap();
                Some(*end)
            })
            .collect();
        assert_eq!(chained, vector.chained_wrong_drifts);
    }
}

#[test]
fn days_are_days() {
    let anchor = NaiveDate::from_ymd_opt(2026, 2, 27).unwrap();
    let after = |n| Period::days(1).unwrap().nth(anchor, n).unwrap().to_string();
    assert_eq!([after(0), after(1), after(2), after(366)], ["2026-02-27", "2026-02-28", "2026-03-01", "2027-02-28"]);
}

#[test]
fn a_period_has_bounds() {
    assert!(matches!(Period::months(0), Err(PeriodError::OutOfRange { got: 0, max: 120, unit: "months" })));
    assert!(matches!(Period::days(0), Err(PeriodError::OutOfRange { got: 0, max: 3_600, unit: "days" })));
    assert!(Period::months(120).is_ok() && Period::months(121).is_err());
    assert!(Period::days(3_600).is_ok() && Period::days(3_601).is_err());
    let anchor = NaiveDate::from_ymd_opt(2026, 1, 1).unwrap();
    assert_eq!(Period::months(120).unwrap().nth(anchor, u32::MAX), Err(PeriodError::OutsideCalendar));
    assert_eq!(Period::days(3_600).unwrap().nth(anchor, u32::MAX), Err(PeriodError::OutsideCalendar));
}

#[test]
fn the_time_of_day_is_kept_on_the_wall_clocks_of_the_zone() {
    let day = Period::days(1).unwrap();
    let nth = |anchor, n, zone: Tz| day.nth_instant(at(anchor), n, zone).unwrap();
    // Clocks go forward in the night to 29 March 2026, back in the night to 25 October.
    assert_eq!(nth("2026-03-28T10:00:00Z", 1, Tz::Europe__Berlin), at("2026-03-29T09:00:00Z"));
    assert_eq!(nth("2026-10-24T10:00:00Z", 1, Tz::Europe__Berlin), at("2026-10-25T11:00:00Z"));
    assert_eq!(nth("2026-03-28T10:00:00Z", 1, Tz::Europe__Moscow), at("2026-03-29T10:00:00Z"));
    // 02:30 does not exist on 29 March, and comes twice on 25 October.
    assert_eq!(nth("2026-03-28T01:30:00Z", 1, Tz::Europe__Berlin), at("2026-03-29T01:30:00Z"));
    assert_eq!(nth("2026-10-24T00:30:00Z", 1, Tz::Europe__Berlin), at("2026-10-25T01:30:00Z"));
}

#[test]
fn late_evening_in_utc_is_the_next_day_in_moscow() {
    let month = Period::months(1).unwrap();
    // 31 January 00:30 in Moscow is still the 30th in UTC; the month is counted from the 31st.
    let end = month.nth_instant(at("2026-01-30T21:30:00Z"), 2, Tz::Europe__Moscow).unwrap();
    assert_eq!(end, at("2026-03-30T21:30:00Z"));
}

#[test]
fn a_day_starts_at_midnight_or_when_its_first_hour_does() {
    let day = |text: &str| text.parse::<NaiveDate>().unwrap();
    assert_eq!(start_of_day(day("2026-03-10"), Tz::Europe__Moscow).unwrap(), at("2026-03-09T21:00:00Z"));
    // In Beirut the clocks went forward at midnight.
    assert_eq!(start_of_day(day("2022-03-27"), Tz::Asia__Beirut).unwrap(), at("2022-03-26T22:00:00Z"));
}

#[test]
fn a_period_reads_as_people_say_it() {
    let shown =
        [Period::days(1), Period::days(30), Period::months(1), Period::months(12)].map(|p| p.unwrap().to_string());
    assert_eq!(shown, ["1 day", "30 days", "1 month", "12 months"]);
}

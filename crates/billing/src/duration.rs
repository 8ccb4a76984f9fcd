//! Durations in settings: a whole number and a unit, as in `500ms`, `15s`, `6m`, `1h`, `7d`.

use std::time::Duration;

/// The text is no duration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected a whole number with a unit, as in 500ms, 15s, 6m, 1h or 7d")]
pub struct NotADuration;

/// Reads a duration; fit for `#[arg(value_parser = billing::duration::parse)]`.
///
/// # Errors
/// [`NotADuration`] when there is no unit, no number, a fraction, or more than a century.
pub fn parse(text: &str) -> Result<Duration, NotADuration> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| NotADuration)?;
    let millis = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(NotADuration),
    };
    const CENTURY: u64 = 36_525 * 86_400_000;
    number.checked_mul(millis).filter(|total| *total <= CENTURY).map(Duration::from_millis).ok_or(NotADuration)
}

/// How long before something subscribers are told of it: from an hour to 90 days.
///
/// # Errors
/// In words.
pub fn notice(text: &str) -> Result<Duration, String> {
    const HOUR: Duration = Duration::from_secs(3_600);
    match parse(text) {
        Ok(notice) if (HOUR..=HOUR * 24 * 90).contains(&notice) => Ok(notice),
        Ok(_) => Err("must be from 1h to 90d".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_notice_is_from_an_hour_to_ninety_days() {
        assert!(["1h", "3d", "90d"].iter().all(|text| notice(text).is_ok()));
        assert!(["0s", "59m", "91d", "3", "soon"].iter().all(|text| notice(text).is_err()));
    }

    #[test]
    fn a_duration_is_a_whole_number_with_a_unit() {
        let millis = |text| parse(text).map(|d| d.as_millis());
        assert_eq!(millis("500ms"), Ok(500));
        assert_eq!(millis("0s"), Ok(0));
        assert_eq!(millis("15s"), Ok(15_000));
        assert_eq!(millis("6m"), Ok(360_000));
        assert_eq!(millis("1h"), Ok(3_600_000));
        assert_eq!(millis("7d"), Ok(604_800_000));
        for wrong in ["", "15", "s", "1.5s", "-1s", " 1s", "1 s", "1S", "1w", "18446744073709551615d", "36526d"] {
            assert_eq!(millis(wrong), Err(NotADuration), "{wrong}");
        }
    }
}

//! Money as the gateway writes it, without a float in between.

use std::{fmt, str::FromStr};

use serde_json::value::RawValue;

/// A sum in units of its currency, exact in both directions.
///
/// The gateway wants a JSON number in currency units with at most two decimals ("Money" in its
/// documentation); [`Display`](fmt::Display) prints that form, `29900` kopecks as `299.00`. Which part of a unit the
/// least coin is depends on the currency: see [`Amount::from_minor`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Amount {
    /// Ten thousandths of a unit: no currency counts more finely.
    parts: i128,
}

/// The text is not a sum of at most four decimals that any currency could have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an amount of money")]
pub struct InvalidAmount;

/// The longest text read as an amount: beyond it stand only zeros or nonsense.
const MAX_TEXT: usize = 40;

/// The decimals kept: those of the finest currencies of ISO 4217.
const DECIMALS: u32 = 4;

/// The largest sum in parts: what 64 bits of kopecks hold.
const MAX_PARTS: i128 = (i64::MAX as i128 + 1) * 100 + 99;

impl Amount {
    /// An amount of that many minor units of a currency with so many decimals by ISO 4217: 2 of the rouble, whose minor
    /// unit is the kopeck, 0 of the yen. More than four decimals, which no currency has, count as four.
    pub const fn from_minor(minor: i64, decimals: u32) -> Self {
        let finer = DECIMALS.saturating_sub(decimals);
        Self { parts: minor as i128 * 10_i128.pow(finer) }
    }

    /// An amount of that many kopecks, or cents.
    pub const fn from_kopecks(kopecks: i64) -> Self {
        Self::from_minor(kopecks, 2)
    }

    /// The amount in minor units of a currency with so many decimals; none if it is not a whole number of them.
    pub fn minor(self, decimals: u32) -> Option<i64> {
        let unit = 10_i128.pow(DECIMALS.saturating_sub(decimals));
        (self.parts % unit == 0).then_some(self.parts / unit)?.try_into().ok()
    }

    /// Whether the gateway takes it: it has two decimals at most.
    pub const fn is_whole_hundredths(self) -> bool {
        self.parts % 100 == 0
    }

    /// The JSON number to send.
    pub(crate) fn to_json(self) -> Box<RawValue> {
        RawValue::from_string(self.to_string()).expect("a printed amount is a JSON number")
    }
}

/// Two decimals, more only where they count.
impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.parts < 0 { "-" } else { "" };
        let magnitude = self.parts.unsigned_abs();
        let (units, parts) = (magnitude / 10_000, magnitude % 10_000);
        match parts {
            _ if parts.is_multiple_of(100) => write!(f, "{sign}{units}.{:02}", parts / 100),
            _ if parts.is_multiple_of(10) => write!(f, "{sign}{units}.{:03}", parts / 10),
            _ => write!(f, "{sign}{units}.{parts:04}"),
        }
    }
}

impl FromStr for Amount {
    type Err = InvalidAmount;

    /// Reads every spelling of a JSON number (`59`, `59.5`, `59.500`, `5.95e1`); more than four decimals are an
    /// error, never rounded.
    fn from_str(text: &str) -> Result<Self, InvalidAmount> {
        parse(text).map(|parts| Self { parts }).ok_or(InvalidAmount)
    }
}

/// The parts of a unit.
fn parse(text: &str) -> Option<i128> {
    if text.len() > MAX_TEXT {
        return None;
    }
    let (negative, unsigned) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i8>().ok()?),
        None => (unsigned, 0),
    };
    let (whole, fraction) = match mantissa.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (mantissa, None),
    };
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !fraction.is_none_or(digits) {
        return None;
    }
    let fraction = fraction.unwrap_or_default();
    let value: i128 = format!("{whole}{fraction}").parse().ok()?;
    // value × 10^shift parts
    let shift = DECIMALS.cast_signed() + i32::from(exponent) - i32::try_from(fraction.len()).ok()?;
    let power = 10_i128.checked_pow(shift.unsigned_abs());
    let parts = match power {
        _ if value == 0 => 0,
        Some(power) if shift >= 0 => value.checked_mul(power)?,
        Some(power) if value % power == 0 => value / power,
        _ => return None,
    };
    (parts <= MAX_PARTS).then_some(if negative { -parts } else { parts })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn amounts_are_printed_with_two_decimals() {
        for (kopecks, text) in [
            (29900, "299.00"),
            (1, "0.01"),
            (10, "0.10"),
            (0, "0.00"),
            (-50, "-0.50"),
            (i64::MAX, "92233720368547758.07"),
            (i64::MIN, "-92233720368547758.08"),
        ] {
            assert_eq!(Amount::from_kopecks(kopecks).to_string(), text);
            assert_eq!(Amount::from_kopecks(kopecks).to_json().get(), text);
        }
    }

    #[test]
    fn every_spelling_of_a_number_is_read_exactly() {
        for (text, kopecks) in [
            ("59", 5900),
            ("59.5", 5950),
            ("59.500000", 5950),
            ("5.95e1", 5950),
            ("5950E-2", 5950),
            ("1e+2", 10000),
            ("0.1", 10),
            ("-12.34", -1234),
            ("0e-9", 0),
            ("90071992547409.93", 9007199254740993), // 2^53 + 1: no float holds it
        ] {
            assert_eq!(text.parse(), Ok(Amount::from_kopecks(kopecks)), "{text}");
        }
    }

    #[test]
    fn a_currency_has_its_own_number_of_decimals() {
        for (minor, decimals, text) in [
            (500, 0, "500.00"),
            (500, 2, "5.00"),
            (1_230, 3, "1.23"),
            (1_234, 3, "1.234"),
            (12_345, 4, "1.2345"),
            (-500, 0, "-500.00"),
            (i64::MAX, 0, "9223372036854775807.00"),
        ] {
            let amount = Amount::from_minor(minor, decimals);
            assert_eq!(amount.to_string(), text);
            assert_eq!(amount.minor(decimals), Some(minor), "{text}");
        }
        assert_eq!("500".parse::<Amount>().unwrap().minor(0), Some(500));
        assert_eq!("500.00".parse::<Amount>().unwrap().minor(0), Some(500));
        assert_eq!("500.50".parse::<Amount>().unwrap().minor(0), None, "there is no half yen");
        assert_eq!("1.234".parse::<Amount>().unwrap().minor(2), None);
        assert!(
            Amount::from_minor(1_230, 3).is_whole_hundredths() && !Amount::from_minor(1_234, 3).is_whole_hundredths()
        );
    }

    #[test]
    fn what_is_no_sum_of_money_is_refused() {
        for text in [
            "",
            "-",
            ".5",
            "5.",
            "0.00001",
            "1e-5",
            "59,50",
            "1_000",
            "+1",
            " 1",
            "1 ",
            "NaN",
            "1e999",
            "92233720368547759.08",
            "--1",
            "1.2.3",
            "٣",
        ] {
            assert_eq!(text.parse::<Amount>(), Err(InvalidAmount), "{text}");
        }
    }

    proptest! {
        #[test]
        fn printing_and_reading_are_inverse(kopecks: i64) {
            let amount = Amount::from_kopecks(kopecks);
            prop_assert_eq!(amount.to_string().parse(), Ok(amount));
        }

        #[test]
        fn no_text_panics(text in ".{0,60}") {
            let _ = text.parse::<Amount>();
        }

        #[test]
        fn an_exponent_only_moves_the_point(kopecks in -1_000_000_000_i64..1_000_000_000) {
            prop_assert_eq!(format!("{kopecks}e-2").parse(), Ok(Amount::from_kopecks(kopecks)));
        }
    }
}

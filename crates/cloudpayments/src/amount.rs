//! Money as the gateway writes it, without a float in between.

use std::{fmt, str::FromStr};

use serde_json::value::RawValue;

/// A sum in kopecks (or the cents of another currency), exact in both directions.
///
/// The gateway wants a JSON number in currency units with at most two decimals ("Money" in its
/// documentation); [`Display`](fmt::Display) prints that form, `29900` kopecks as `299.00`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Amount {
    kopecks: i64,
}

/// The text is not a sum of whole kopecks that fits into 64 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an amount of whole kopecks")]
pub struct InvalidAmount;

/// The longest text read as an amount: beyond it stand only zeros or nonsense.
const MAX_TEXT: usize = 40;

impl Amount {
    /// An amount of that many kopecks.
    pub const fn from_kopecks(kopecks: i64) -> Self {
        Self { kopecks }
    }

    /// The amount in kopecks.
    pub const fn kopecks(self) -> i64 {
        self.kopecks
    }

    /// The JSON number to send.
    pub(crate) fn to_json(self) -> Box<RawValue> {
        RawValue::from_string(self.to_string()).expect("a printed amount is a JSON number")
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.kopecks < 0 { "-" } else { "" };
        let magnitude = self.kopecks.unsigned_abs();
        write!(f, "{sign}{}.{:02}", magnitude / 100, magnitude % 100)
    }
}

impl FromStr for Amount {
    type Err = InvalidAmount;

    /// Reads every spelling of a JSON number (`59`, `59.5`, `59.500`, `5.95e1`); a fraction of a
    /// kopeck is an error, never rounded.
    fn from_str(text: &str) -> Result<Self, InvalidAmount> {
        parse(text).map(Self::from_kopecks).ok_or(InvalidAmount)
    }
}

fn parse(text: &str) -> Option<i64> {
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
    // value × 10^shift kopecks
    let shift = 2 + i32::from(exponent) - i32::try_from(fraction.len()).ok()?;
    let power = 10_i128.checked_pow(shift.unsigned_abs());
    let kopecks = match power {
        _ if value == 0 => 0,
        Some(power) if shift >= 0 => value.checked_mul(power)?,
        Some(power) if value % power == 0 => value / power,
        _ => return None,
    };
    i64::try_from(if negative { -kopecks } else { kopecks }).ok()
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
    fn what_is_not_whole_kopecks_is_refused() {
        for text in [
            "",
            "-",
            ".5",
            "5.",
            "0.001",
            "1e-3",
            "59,50",
            "1_000",
            "+1",
            " 1",
            "1 ",
            "NaN",
            "1e999",
            "92233720368547758.08",
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

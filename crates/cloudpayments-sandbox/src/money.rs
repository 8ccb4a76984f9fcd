//! Money, exactly. An amount is a whole number of kopecks (hundredths of the currency unit); no float is ever made of it.

use std::fmt;

use rust_decimal::{Decimal, prelude::ToPrimitive};
use serde::{Deserialize, Serialize, Serializer, ser::Error as _};
use serde_json::value::RawValue;

/// Hundredths of the currency unit. Inside the ledger and its file it is a plain integer; on the gateway's wire it is
/// printed by [`Roubles`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Amount(i64);

/// Why a text is not an amount. The text of the error completes a sentence that begins with the field's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum AmountError {
    #[error("must be a number")]
    NotANumber,
    #[error("must have at most two decimal places")]
    TooPrecise,
    #[error("must be at least 0.01")]
    TooSmall,
    #[error("is too large")]
    TooLarge,
}

impl Amount {
    pub(crate) const ZERO: Self = Self(0);
    /// A billion roubles: far above any real payment, far below where sums of amounts could overflow.
    pub(crate) const MAX: Self = Self(100_000_000_000);

    pub(crate) const fn from_kopecks(kopecks: i64) -> Self {
        Self(kopecks)
    }

    /// Reads currency units with a dot separator, at most two decimals, at least `0.01` ("Number", gateway docs):
    /// `10`, `59.5`, `59.50`, `1e2`.
    pub(crate) fn parse(text: &str) -> Result<Self, AmountError> {
        let text = text.trim();
        if text.len() > 40 {
            return Err(AmountError::NotANumber);
        }
        let units = Decimal::from_str_exact(text)
            .or_else(|_| Decimal::from_scientific(text))
            .map_err(|_| AmountError::NotANumber)?;
        let kopecks = units.checked_mul(Decimal::ONE_HUNDRED).ok_or(AmountError::TooLarge)?;
        if kopecks > Decimal::from(Self::MAX.0) {
            return Err(AmountError::TooLarge);
        }
        if kopecks < Decimal::ONE {
            return Err(AmountError::TooSmall);
        }
        if !kopecks.fract().is_zero() {
            return Err(AmountError::TooPrecise);
        }
        kopecks.to_i64().map(Self).ok_or(AmountError::TooLarge)
    }

    /// Amounts are at most [`Amount::MAX`], so a sum of two cannot overflow.
    pub(crate) const fn plus(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// So many parts of so many, rounded half up.
    pub(crate) const fn share(self, parts: i64, of: i64) -> Self {
        Self((self.0 * parts * 2 + of) / (of * 2))
    }

    /// Zero rather than negative.
    pub(crate) const fn minus(self, other: Self) -> Self {
        if self.0 > other.0 { Self(self.0 - other.0) } else { Self::ZERO }
    }
}

/// `10`, `59.5`, `12.34`: the shortest exact decimal.
impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (units, hundredths) = (self.0 / 100, self.0 % 100);
        match hundredths {
            0 => write!(f, "{units}"),
            tens if tens % 10 == 0 => write!(f, "{units}.{}", tens / 10),
            _ => write!(f, "{units}.{hundredths:02}"),
        }
    }
}

/// An amount as notifications write it: `10.00`, always with two digits after the dot.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TwoDigits(pub(crate) Amount);

impl fmt::Display for TwoDigits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:02}", self.0.0 / 100, self.0.0 % 100)
    }
}

/// An amount as the gateway's JSON shows it: a number in currency units, digit for digit.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Roubles(pub(crate) Amount);

impl Serialize for Roubles {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        RawValue::from_string(self.0.to_string()).map_err(S::Error::custom)?.serialize(serializer)
    }
}

/// The currencies of the gateway's handbook in its order; the position is the `CurrencyCode`.
const CURRENCIES: [&str; 28] = [
    "RUB", "EUR", "USD", "GBP", "UAH", "BYR", "BYN", "KZT", "AZN", "CHF", "CZK", "CAD", "PLN", "SEK", "TRY", "CNY",
    "INR", "BRL", "ZAR", "UZS", "BGN", "RON", "AUD", "HKD", "GEL", "KGS", "AMD", "AED",
];

/// An ISO currency code the gateway accepts; roubles when a request names none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub(crate) struct Currency(usize);

impl Currency {
    pub(crate) const RUB: Self = Self(0);

    pub(crate) fn parse(code: &str) -> Option<Self> {
        CURRENCIES.iter().position(|known| known.eq_ignore_ascii_case(code)).map(Self)
    }

    pub(crate) const fn as_str(self) -> &'static str {
        CURRENCIES[self.0]
    }

    /// `CurrencyCode` of the transaction model.
    pub(crate) const fn code(self) -> usize {
        self.0
    }
}

impl From<Currency> for String {
    fn from(currency: Currency) -> Self {
        currency.as_str().to_owned()
    }
}

impl TryFrom<String> for Currency {
    type Error = String;

    fn try_from(code: String) -> Result<Self, Self::Error> {
        Self::parse(&code).ok_or_else(|| format!("unknown currency {code}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_read_exactly() {
        for (text, kopecks) in [
            ("10", 1000),
            ("59.5", 5950),
            ("59.50", 5950),
            ("59.500", 5950),
            ("0.01", 1),
            ("0.29", 29),
            ("1.005e3", 100_500),
            ("1e2", 10_000),
            ("1000000000", 100_000_000_000),
        ] {
            assert_eq!(Amount::parse(text), Ok(Amount(kopecks)), "{text}");
        }
    }

    #[test]
    fn what_is_not_an_amount_says_why() {
        for (text, why) in [
            ("", AmountError::NotANumber),
            ("ten", AmountError::NotANumber),
            ("10,50", AmountError::NotANumber),
            ("NaN", AmountError::NotANumber),
            ("0", AmountError::TooSmall),
            ("-5", AmountError::TooSmall),
            ("0.001", AmountError::TooSmall),
            ("59.505", AmountError::TooPrecise),
            ("1000000000.01", AmountError::TooLarge),
            ("79228162514264337593543950335", AmountError::TooLarge),
        ] {
            assert_eq!(Amount::parse(text), Err(why), "{text}");
        }
    }

    #[test]
    fn amounts_are_printed_exactly() {
        for (kopecks, json) in [(1000, "10"), (5950, "59.5"), (1234, "12.34"), (1, "0.01"), (10, "0.1"), (29, "0.29")] {
            assert_eq!(serde_json::to_string(&Roubles(Amount(kopecks))).unwrap(), json);
        }
    }
}

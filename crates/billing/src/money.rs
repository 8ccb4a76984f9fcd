//! Money: whole minor units and a currency beside them. No floating point comes near it.

use std::fmt;
use std::str::FromStr;

use diesel::deserialize::{self, FromSql, FromSqlRow};
use diesel::expression::AsExpression;
use diesel::pg::{Pg, PgValue};
use diesel::serialize::{self, Output, ToSql};
use diesel::sql_types::{BigInt, Text};

/// An amount in minor units of its currency: kopecks of the rouble, cents of the dollar, whole yen (see
/// [`Currency::decimals`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, AsExpression, FromSqlRow)]
#[diesel(sql_type = BigInt)]
pub struct Kopecks(i64);

/// The amount is not one a bill may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("amount must be from {min} to {max} kopecks, got {got}", min = Kopecks::MIN.0, max = Kopecks::MAX.0)]
pub struct AmountOutOfRange {
    /// What was asked for.
    pub got: i64,
}

impl Kopecks {
    /// The least that can be owed. (The gateway takes 0.01 of a currency: gateway documentation, `Amount`.)
    pub const ZERO: Self = Self(0);
    /// The least amount of a bill.
    pub const MIN: Self = Self(1);
    /// A million roubles: far above any tariff, far below what arithmetic could overflow.
    pub const MAX: Self = Self(100_000_000);

    /// Any amount, as reported by somebody else. What we ask for goes through [`Kopecks::billable`].
    #[must_use]
    pub const fn new(kopecks: i64) -> Self {
        Self(kopecks)
    }

    /// An amount that may stand on a bill.
    ///
    /// # Errors
    /// [`AmountOutOfRange`] outside [`Kopecks::MIN`]`..=`[`Kopecks::MAX`]; the database says the same.
    pub const fn billable(kopecks: i64) -> Result<Self, AmountOutOfRange> {
        if kopecks >= Self::MIN.0 && kopecks <= Self::MAX.0 {
            Ok(Self(kopecks))
        } else {
            Err(AmountOutOfRange { got: kopecks })
        }
    }

    /// The number of minor units.
    #[must_use]
    pub const fn get(self) -> i64 {
        self.0
    }

    /// The amount for people, as in `199.50 RUB` and `500 JPY`.
    #[must_use]
    pub const fn in_currency(self, currency: Currency) -> Money {
        Money { amount: self, currency }
    }
}

/// An amount with its currency, to be shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Money {
    amount: Kopecks,
    currency: Currency,
}

/// Units, as many decimals as the currency has, the currency.
impl fmt::Display for Money {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.amount.0 < 0 { "-" } else { "" };
        let minor = self.amount.0.unsigned_abs();
        let decimals = self.currency.decimals();
        let unit = 10_u64.pow(decimals);
        match decimals {
            0 => write!(f, "{sign}{minor} {}", self.currency),
            _ => {
                let width = decimals as usize;
                write!(f, "{sign}{}.{:0width$} {}", minor / unit, minor % unit, self.currency)
            }
        }
    }
}

impl From<Kopecks> for i64 {
    fn from(amount: Kopecks) -> Self {
        amount.0
    }
}

impl ToSql<BigInt, Pg> for Kopecks {
    fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Pg>) -> serialize::Result {
        ToSql::<BigInt, Pg>::to_sql(&self.0, out)
    }
}

impl FromSql<BigInt, Pg> for Kopecks {
    fn from_sql(value: PgValue<'_>) -> deserialize::Result<Self> {
        <i64 as FromSql<BigInt, Pg>>::from_sql(value).map(Self)
    }
}

/// An ISO 4217 code: three capital letters.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, AsExpression, FromSqlRow)]
#[diesel(sql_type = Text)]
pub struct Currency([u8; 3]);

/// The text is not three capital letters.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no currency code: expected three capital letters, as in RUB")]
pub struct NotACurrency(pub String);

impl Currency {
    /// The Russian rouble, the gateway's default.
    pub const RUB: Self = Self(*b"RUB");

    /// How many decimals an amount in this currency has: its minor unit is one unit divided by ten so many times
    /// (ISO 4217, "minor unit"). Two, but for the currencies named here.
    #[must_use]
    pub const fn decimals(self) -> u32 {
        match &self.0 {
            b"BIF" | b"BYR" | b"CLP" | b"DJF" | b"GNF" | b"ISK" | b"JPY" | b"KMF" | b"KRW" | b"PYG" | b"RWF"
            | b"UGX" | b"UYI" | b"VND" | b"VUV" | b"XAF" | b"XOF" | b"XPF" => 0,
            b"BHD" | b"IQD" | b"JOD" | b"KWD" | b"LYD" | b"OMR" | b"TND" => 3,
            b"CLF" | b"UYW" => 4,
            _ => 2,
        }
    }

    /// The code, as in `RUB`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("built from three ASCII letters")
    }
}

impl FromStr for Currency {
    type Err = NotACurrency;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match *text.as_bytes() {
            [a @ b'A'..=b'Z', b @ b'A'..=b'Z', c @ b'A'..=b'Z'] => Ok(Self([a, b, c])),
            _ => Err(NotACurrency(text.to_owned())),
        }
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl ToSql<Text, Pg> for Currency {
    fn to_sql<'b>(&'b self, out: &mut Output<'b, '_, Pg>) -> serialize::Result {
        <str as ToSql<Text, Pg>>::to_sql(self.as_str(), out)
    }
}

impl FromSql<Text, Pg> for Currency {
    fn from_sql(value: PgValue<'_>) -> deserialize::Result<Self> {
        Ok(std::str::from_utf8(value.as_bytes())?.parse()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_amount_is_shown_with_the_decimals_of_its_currency() {
        let roubles =
            [0, 1, 99, 100, 19_950, -5, i64::MIN].map(|k| Kopecks::new(k).in_currency(Currency::RUB).to_string());
        assert_eq!(
            roubles,
            ["0.00 RUB", "0.01 RUB", "0.99 RUB", "1.00 RUB", "199.50 RUB", "-0.05 RUB", "-92233720368547758.08 RUB"]
        );
        for (code, shown) in [("JPY", "500 JPY"), ("KWD", "0.500 KWD"), ("CLF", "0.0500 CLF"), ("EUR", "5.00 EUR")] {
            assert_eq!(Kopecks::new(500).in_currency(code.parse().unwrap()).to_string(), shown);
        }
    }

    #[test]
    fn only_amounts_the_gateway_takes_can_be_billed() {
        assert_eq!(Kopecks::billable(0), Err(AmountOutOfRange { got: 0 }));
        assert_eq!(Kopecks::billable(-1), Err(AmountOutOfRange { got: -1 }));
        assert_eq!(Kopecks::billable(1), Ok(Kopecks::MIN));
        assert_eq!(Kopecks::billable(100_000_000), Ok(Kopecks::MAX));
        assert_eq!(Kopecks::billable(100_000_001), Err(AmountOutOfRange { got: 100_000_001 }));
    }

    #[test]
    fn a_currency_is_three_capital_letters() {
        assert_eq!("RUB".parse(), Ok(Currency::RUB));
        for wrong in ["", "rub", "RU", "RUBL", "R1B", "РУБ"] {
            assert_eq!(wrong.parse::<Currency>(), Err(NotACurrency(wrong.to_owned())));
        }
    }
}

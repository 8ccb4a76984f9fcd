//! Why a transaction ended as it did, with what the payer is told in Russian and English.

mod table;

use serde::{Deserialize, Serialize};

use self::table::TABLE;

/// A code of the handbook. Serialized as that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "u16", try_from = "u16")]
pub(crate) struct Reason(u16);

impl Reason {
    pub(crate) const APPROVED: Self = Self(0);
    /// The merchant's check refused the payment: its code 10.
    pub(crate) const INVALID_INVOICE_ID: Self = Self(3001);
    /// Code 11.
    pub(crate) const INVALID_ACCOUNT_ID: Self = Self(3002);
    /// Code 12.
    pub(crate) const INVALID_AMOUNT: Self = Self(3003);
    /// Code 20: the payment is overdue.
    pub(crate) const OUT_OF_DATE: Self = Self(3004);
    /// The check was answered with something that is no code of its.
    pub(crate) const FORMAT_ERROR: Self = Self(3005);
    /// The check was answered with an HTTP error.
    pub(crate) const UNAVAILABLE: Self = Self(3006);
    /// The check could not be delivered.
    pub(crate) const UNABLE_TO_CONNECT: Self = Self(3007);
    /// Code 13: the payment cannot be accepted.
    pub(crate) const NOT_ACCEPTED: Self = Self(3008);
    /// Not one of the test cards.
    pub(crate) const INVALID_CARD_NUMBER: Self = Self(5014);
    pub(crate) const INSUFFICIENT_FUNDS: Self = Self(5051);
    pub(crate) const EXPIRED_CARD: Self = Self(5054);
    /// 3-D Secure refused, or a PaRes that is not of this transaction.
    pub(crate) const AUTHENTICATION_FAILED: Self = Self(5206);
    /// A token this terminal never gave.
    pub(crate) const CROSS_TERMINAL_TOKEN_RESTRICTION: Self = Self(6025);

    pub(crate) const fn code(self) -> u16 {
        self.0
    }

    /// `Reason` of the transaction model.
    pub(crate) fn name(self) -> &'static str {
        self.row().1
    }

    /// `CardHolderMessage` in the language of `CultureName`: Russian for `ru…` and `kk` (as the handbook of languages
    /// has it), English for all others.
    pub(crate) fn cardholder_message(self, culture: &str) -> &'static str {
        let language = culture.split(['-', '_']).next().unwrap_or_default();
        let (russian, english) = self.row().2;
        if ["ru", "kk"].iter().any(|known| known.eq_ignore_ascii_case(language)) { russian } else { english }
    }

    fn row(self) -> (u16, &'static str, (&'static str, &'static str)) {
        TABLE.into_iter().find(|row| row.0 == self.0).expect("a reason is made of a code of the table")
    }
}

impl From<Reason> for u16 {
    fn from(reason: Reason) -> Self {
        reason.0
    }
}

impl TryFrom<u16> for Reason {
    type Error = String;

    fn try_from(code: u16) -> Result<Self, Self::Error> {
        let known = TABLE.iter().any(|row| row.0 == code);
        known.then_some(Self(code)).ok_or_else(|| format!("unknown reason code {code}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_payer_is_told_in_the_language_of_the_request() {
        let message = |culture| Reason::INSUFFICIENT_FUNDS.cardholder_message(culture);
        for russian in ["ru-RU", "ru", "RU", "kk"] {
            assert_eq!(message(russian), "Недостаточно средств на карте", "{russian}");
        }
        for english in ["en-US", "en", "lv"] {
            assert_eq!(message(english), "Insufficient funds on the card", "{english}");
        }
    }

    #[test]
    fn every_documented_code_is_known_with_its_message() {
        let documented = include_str!("../../tests/fixtures/reason_codes.json");
        let documented: serde_json::Value = serde_json::from_str(documented).unwrap();
        let codes = documented["codes"].as_array().unwrap();
        for code in codes {
            let reason = Reason::try_from(u16::try_from(code["code"].as_u64().unwrap()).unwrap()).unwrap();
            assert_eq!(reason.cardholder_message("ru-RU"), code["cardholder_message_ru"], "{code}");
        }
        assert_eq!(TABLE.len(), codes.len() + 9);
        assert!(TABLE.is_sorted_by_key(|row| row.0));
        for known in [Reason::APPROVED, Reason::NOT_ACCEPTED, Reason::CROSS_TERMINAL_TOKEN_RESTRICTION] {
            assert_eq!(Reason::try_from(known.code()), Ok(known));
        }
        assert!(Reason::try_from(1).is_err());
    }
}

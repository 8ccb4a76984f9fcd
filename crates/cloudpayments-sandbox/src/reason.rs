//! The reason codes the sandbox gives ("Коды ошибок"), with what the payer is told in Russian and English.

use serde::{Deserialize, Serialize};

/// Why a transaction ended as it did. Serialized as its code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "u16", try_from = "u16")]
pub(crate) enum Reason {
    Approved,
    /// The merchant's check refused the payment: code 10, wrong order number.
    InvalidInvoiceId,
    /// Code 11, wrong account.
    InvalidAccountId,
    /// Code 12, wrong amount.
    InvalidAmount,
    /// Code 20, the payment is overdue.
    OutOfDate,
    /// The check was answered with something that is no code of its.
    FormatError,
    /// The check was answered with an HTTP error.
    Unavailable,
    /// The check could not be delivered.
    UnableToConnect,
    /// Code 13, the payment cannot be accepted.
    NotAccepted,
    /// Not one of the test cards.
    InvalidCardNumber,
    InsufficientFunds,
    ExpiredCard,
    /// 3-D Secure refused, or a PaRes that is not of this transaction.
    AuthenticationFailed,
    /// A token this terminal never gave.
    CrossTerminalTokenRestriction,
}

impl Reason {
    const ALL: [Self; 14] = [
        Self::Approved,
        Self::InvalidInvoiceId,
        Self::InvalidAccountId,
        Self::InvalidAmount,
        Self::OutOfDate,
        Self::FormatError,
        Self::Unavailable,
        Self::UnableToConnect,
        Self::NotAccepted,
        Self::InvalidCardNumber,
        Self::InsufficientFunds,
        Self::ExpiredCard,
        Self::AuthenticationFailed,
        Self::CrossTerminalTokenRestriction,
    ];

    pub(crate) const fn code(self) -> u16 {
        self.text().0
    }

    /// `Reason` of the transaction model.
    pub(crate) const fn name(self) -> &'static str {
        self.text().1
    }

    /// `CardHolderMessage` in the language of `CultureName`: Russian for `ru…` and `kk` (as the handbook of languages
    /// has it), English for all others.
    pub(crate) fn cardholder_message(self, culture: &str) -> &'static str {
        let language = culture.split(['-', '_']).next().unwrap_or_default();
        let (_, _, russian, english) = self.text();
        if ["ru", "kk"].iter().any(|known| known.eq_ignore_ascii_case(language)) { russian } else { english }
    }

    const fn text(self) -> (u16, &'static str, &'static str, &'static str) {
        match self {
            Self::Approved => (0, "Approved", "Оплата успешно проведена", "Payment successful"),
            Self::InvalidInvoiceId => unmade(3001, "InvalidInvoiceId"),
            Self::InvalidAccountId => unmade(3002, "InvalidAccountId"),
            Self::InvalidAmount => unmade(3003, "InvalidAmount"),
            Self::OutOfDate => unmade(3004, "OutOfDate"),
            Self::FormatError => unmade(3005, "FormatError"),
            Self::Unavailable => unmade(3006, "Unavailable"),
            Self::UnableToConnect => unmade(3007, "UnableToConnect"),
            Self::NotAccepted => unmade(3008, "NotAccepted"),
            Self::InvalidCardNumber => (
                5014,
                "InvalidCardNumber",
                "Проверьте правильность введенных данных карты или воспользуйтесь другой картой",
                "Check the card details or use another card",
            ),
            Self::InsufficientFunds => {
                (5051, "InsufficientFunds", "Недостаточно средств на карте", "Insufficient funds on the card")
            }
            Self::ExpiredCard => (
                5054,
                "ExpiredCard",
                "Проверьте правильность введенных данных карты или воспользуйтесь другой картой",
                "Check the card details or use another card",
            ),
            Self::AuthenticationFailed => (
                5206,
                "AuthenticationFailed",
                "Свяжитесь с вашим банком или воспользуйтесь другой картой",
                "Contact your bank or use another card",
            ),
            Self::CrossTerminalTokenRestriction => unmade(6025, "CrossTerminalTokenRestriction"),
        }
    }
}

/// A reason the payer can do nothing about.
const fn unmade(code: u16, name: &'static str) -> (u16, &'static str, &'static str, &'static str) {
    (code, name, "Невозможно провести оплату", "The payment cannot be made")
}

impl From<Reason> for u16 {
    fn from(reason: Reason) -> Self {
        reason.code()
    }
}

impl TryFrom<u16> for Reason {
    type Error = String;

    fn try_from(code: u16) -> Result<Self, Self::Error> {
        Self::ALL.into_iter().find(|reason| reason.code() == code).ok_or_else(|| format!("unknown reason code {code}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_payer_is_told_in_the_language_of_the_request() {
        let message = |culture| Reason::InsufficientFunds.cardholder_message(culture);
        for russian in ["ru-RU", "ru", "RU", "kk"] {
            assert_eq!(message(russian), "Недостаточно средств на карте", "{russian}");
        }
        for english in ["en-US", "en", "lv"] {
            assert_eq!(message(english), "Insufficient funds on the card", "{english}");
        }
    }

    #[test]
    fn every_reason_is_found_by_its_code() {
        for reason in Reason::ALL {
            assert_eq!(Reason::try_from(reason.code()), Ok(reason));
        }
        assert!(Reason::try_from(1).is_err());
    }
}

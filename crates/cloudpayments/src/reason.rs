//! The reason codes of declined payments, as data (the documentation's "Коды ошибок").

use std::fmt;

use ReasonGroup::{
    Authentication, Conditional, Configuration, CustomerData, Hard, MerchantCheck, NewCard, OnceMore, Temporary,
    Unreachable,
};

/// What a decline means for the next attempt.
///
/// `Hard` (its first eight codes), `Conditional` and `Temporary` are the documentation's own groups
/// with its rules for recurring charges; the rest is how we read the codes it leaves ungrouped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ReasonGroup {
    /// Never charge this credential again; the customer must pay anew, being present.
    Hard,
    /// This card cannot pay here: another is needed.
    NewCard,
    /// At most two attempts in 24 hours, and only after something changed.
    Conditional,
    /// At most two attempts in 24 hours; later the same charge may pass.
    Temporary,
    /// At most one more attempt, after 24 hours or more.
    OnceMore,
    /// The issuer or the network was unreachable: worth another attempt the same day.
    Unreachable,
    /// 3-D Secure failed or was unavailable: only the customer can try again.
    Authentication,
    /// Data of the customer is missing or wrong (a phone number).
    CustomerData,
    /// A mistake in our request or in the terminal's setup: alert, no customer can help.
    Configuration,
    /// Our own answer to a Check notification, or its absence, declined the payment.
    MerchantCheck,
    /// A code this table does not know.
    Unknown,
}

impl ReasonGroup {
    /// The group of a code. All of 6000–6999 is the gateway's own service; any other code the table
    /// does not know is [`ReasonGroup::Unknown`].
    pub fn of(code: i32) -> Self {
        match find(code) {
            Some(reason) => reason.group,
            None if (6000..7000).contains(&code) => Self::Configuration,
            None => Self::Unknown,
        }
    }

    /// A stable name for storage and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Hard => "hard",
            Self::NewCard => "new_card",
            Self::Conditional => "conditional",
            Self::Temporary => "temporary",
            Self::OnceMore => "once_more",
            Self::Unreachable => "unreachable",
            Self::Authentication => "authentication",
            Self::CustomerData => "customer_data",
            Self::Configuration => "configuration",
            Self::MerchantCheck => "merchant_check",
            Self::Unknown => "unknown",
        }
    }
}

impl fmt::Display for ReasonGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One row of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReasonCode {
    /// The value of `ReasonCode`.
    pub code: i32,
    /// The documentation's name of it.
    pub name: &'static str,
    /// What it means for the next attempt.
    pub group: ReasonGroup,
    /// What to tell the customer, in Russian, when the gateway sent no `CardHolderMessage`.
    pub cardholder_message: &'static str,
}

/// The row of a code.
pub fn find(code: i32) -> Option<&'static ReasonCode> {
    let at = REASON_CODES.binary_search_by_key(&code, |reason| reason.code).ok()?;
    Some(&REASON_CODES[at])
}

const fn code(code: i32, name: &'static str, group: ReasonGroup, cardholder_message: &'static str) -> ReasonCode {
    ReasonCode { code, name, group, cardholder_message }
}

const ASK_BANK: &str = "Свяжитесь с вашим банком или воспользуйтесь другой картой";
const CHECK_CARD: &str = "Проверьте правильность введенных данных карты или воспользуйтесь другой картой";
const OTHER_CARD: &str = "Воспользуйтесь другой картой";
const LATER: &str = "Повторите попытку позже";
const LATER_OR_OTHER_CARD: &str = "Повторите попытку позже или воспользуйтесь другой картой";
const CARD_FORBIDDEN: &str = "Платежи для этой карты запрещены. Попробуйте другую карту";
const CANNOT_PAY: &str = "Невозможно провести оплату";
const CANNOT_PAY_OUT: &str = "Невозможно провести выплату";

/// Every documented code, ascending: 3001–3008 come from Check notifications, the rest from banks,
/// card networks and the gateway.
#[rustfmt::skip]
pub static REASON_CODES: &[ReasonCode] = &[
    code(3001, "InvalidInvoiceId", MerchantCheck, CANNOT_PAY),
    code(3002, "InvalidAccountId", MerchantCheck, CANNOT_PAY),
    code(3003, "InvalidAmount", MerchantCheck, CANNOT_PAY),
    code(3004, "OutOfDate", MerchantCheck, CANNOT_PAY),
    code(3005, "FormatError", MerchantCheck, CANNOT_PAY),
    code(3006, "Unavailable", MerchantCheck, CANNOT_PAY),
    code(3007, "UnableToConnect", MerchantCheck, CANNOT_PAY),
    code(3008, "NotAccepted", MerchantCheck, CANNOT_PAY),
    code(5001, "Refer To Card Issuer", Hard, ASK_BANK),
    code(5003, "Invalid Merchant", Hard, ASK_BANK),
    code(5004, "Pick Up Card", Hard, ASK_BANK),
    code(5005, "Do Not Honor", Hard, ASK_BANK),
    code(5006, "Error", OnceMore, CHECK_CARD),
    code(5007, "Pick Up Card Special Conditions", Hard, ASK_BANK),
    code(5012, "Invalid Transaction", Hard, "Воспользуйтесь другой картой или свяжитесь с банком, выпустившим карту"),
    code(5013, "Amount Error", Conditional, "Проверьте корректность суммы"),
    code(5014, "Invalid Card Number", Conditional, CHECK_CARD),
    code(5015, "No Such Issuer", NewCard, CHECK_CARD),
    code(5017, "Customer Cancellation", Hard, OTHER_CARD),
    code(5019, "Transaction Error", OnceMore, ASK_BANK),
    code(5030, "Format Error", Conditional, LATER),
    code(5031, "Bank Not Supported By Switch", NewCard, OTHER_CARD),
    code(5033, "Expired Card Pickup", Hard, ASK_BANK),
    code(5034, "Suspected Fraud", Hard, ASK_BANK),
    code(5036, "Restricted Card", Hard, CARD_FORBIDDEN),
    code(5041, "Lost Card", Hard, ASK_BANK),
    code(5043, "Stolen Card", Hard, ASK_BANK),
    code(5051, "Insufficient Funds", Temporary, "Недостаточно средств на карте"),
    code(5054, "Expired Card", Conditional, CHECK_CARD),
    code(5055, "Invalid PIN", Conditional, OTHER_CARD),
    code(5057, "Transaction Not Permitted", Hard, ASK_BANK),
    code(5058, "Transaction Not Permitted To Card", OnceMore, ASK_BANK),
    code(5059, "Suspected Fraud Decline", OnceMore, "Свяжитесь с банком или воспользуйтесь другой картой"),
    code(5061, "Exceeds Approval Amount", Temporary, "Превышение лимита оплаты по карте. Измените настройки лимита или оплатите другой картой"),
    code(5062, "Restricted Card 2", Hard, CARD_FORBIDDEN),
    code(5063, "Security Violation", Conditional, OTHER_CARD),
    code(5065, "Exceed Withdrawal Frequency", Temporary, ASK_BANK),
    code(5082, "Incorrect CVV", NewCard, "Неверно указан код CVV"),
    code(5091, "Timeout", Unreachable, LATER_OR_OTHER_CARD),
    code(5092, "Cannot Reach Network", Unreachable, LATER_OR_OTHER_CARD),
    code(5096, "System Error", Temporary, LATER),
    code(5113, "Gateways do not support the currently selected payment card", NewCard, OTHER_CARD),
    code(5204, "Unable To Process", OnceMore, ASK_BANK),
    code(5206, "Authentication failed", Authentication, ASK_BANK),
    code(5207, "Authentication unavailable", Authentication, ASK_BANK),
    code(5300, "Anti Fraud", OnceMore, OTHER_CARD),
    code(5303, "Acquirer Terminal Limits Exceeded", Temporary, ASK_BANK),
    code(5761, "No Phone", CustomerData, OTHER_CARD),
    code(5762, "Invalid Phone", CustomerData, OTHER_CARD),
    code(5763, "Different Phones", CustomerData, OTHER_CARD),
    code(6001, "SaveCardRefused", Configuration, CANNOT_PAY),
    code(6002, "InvalidErrorCode", Configuration, CANNOT_PAY),
    code(6003, "AgentIdNotExists", Configuration, CANNOT_PAY),
    code(6004, "CurrencyNotValid", Configuration, "Обратитесь в поддержку сайта"),
    code(6005, "InvalidPaymentLink", Configuration, CANNOT_PAY),
    code(6006, "AmountCurrencyNotValid", Configuration, CANNOT_PAY),
    code(6007, "InvalidRedirectUrl", Configuration, CANNOT_PAY),
    code(6008, "InvalidParamsId", Configuration, CANNOT_PAY),
    code(6009, "InvalidTtl", Configuration, CANNOT_PAY),
    code(6010, "SubscriptionNotFound", Configuration, CANNOT_PAY),
    code(6011, "InvalidSubscription", Configuration, CANNOT_PAY),
    code(6013, "InvalidRefund", Configuration, CANNOT_PAY),
    code(6014, "OriginalDetailsIncorrect", Configuration, CANNOT_PAY),
    code(6015, "TransactionNotFound", Configuration, CANNOT_PAY),
    code(6016, "InvalidMemberId", Configuration, CANNOT_PAY),
    code(6017, "IncorrectMCCategory", Configuration, CANNOT_PAY),
    code(6021, "Receiver Account Error", Configuration, CANNOT_PAY_OUT),
    code(6022, "Receiver Name Error", Configuration, CANNOT_PAY_OUT),
    code(6025, "CrossTerminalTokenRestriction", Configuration, CANNOT_PAY),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_and_every_row_is_found() {
        assert!(REASON_CODES.is_sorted_by(|left, right| left.code < right.code));
        for reason in REASON_CODES {
            assert_eq!(find(reason.code), Some(reason));
        }
    }

    #[test]
    fn a_code_nobody_documented_has_an_unknown_group() {
        for code in [0, 3000, 5000, 5002, i32::MAX, -1, 7000] {
            assert_eq!(ReasonGroup::of(code), ReasonGroup::Unknown, "{code}");
        }
    }
}

//! The handbook of reason codes ("Коды ошибок").

/// What the payer is told, in Russian and English.
type Message = (&'static str, &'static str);

const PAID: Message = ("Оплата успешно проведена", "Payment successful");
const CONTACT_YOUR_BANK: Message =
    ("Свяжитесь с вашим банком или воспользуйтесь другой картой", "Contact your bank or use another card");
const CANNOT_PAY: Message = ("Невозможно провести оплату", "The payment cannot be made");
const OTHER_CARD: Message = ("Воспользуйтесь другой картой", "Use another card");
const CHECK_DETAILS: Message = (
    "Проверьте правильность введенных данных карты или воспользуйтесь другой картой",
    "Check the card details or use another card",
);
const LATER: Message = ("Повторите попытку позже", "Try again later");
const FORBIDDEN: Message = (
    "Платежи для этой карты запрещены. Попробуйте другую карту",
    "Payments with this card are forbidden. Try another card",
);
const LATER_OR_OTHER_CARD: Message =
    ("Повторите попытку позже или воспользуйтесь другой картой", "Try again later or use another card");
const CANNOT_PAY_OUT: Message = ("Невозможно провести выплату", "The payout cannot be made");
const OTHER_CARD_OR_BANK: Message = (
    "Воспользуйтесь другой картой или свяжитесь с банком, выпустившим карту",
    "Use another card or contact the bank that issued the card",
);
const CHECK_AMOUNT: Message = ("Проверьте корректность суммы", "Check the amount");
const NO_FUNDS: Message = ("Недостаточно средств на карте", "Insufficient funds on the card");
const CONTACT_BANK: Message =
    ("Свяжитесь с банком или воспользуйтесь другой картой", "Contact the bank or use another card");
const LIMIT: Message = (
    "Превышение лимита оплаты по карте. Измените настройки лимита или оплатите другой картой",
    "The limit of the card is exceeded. Change the limit or use another card",
);
const WRONG_CVV: Message = ("Неверно указан код CVV", "Wrong CVV code");
const SUPPORT: Message = ("Обратитесь в поддержку сайта", "Contact the support of the site");

/// Code, name as in `Reason` of the transaction model, and message; by code.
pub(super) const TABLE: [(u16, &str, Message); 70] = [
    (0, "Approved", PAID),
    (3001, "InvalidInvoiceId", CANNOT_PAY),
    (3002, "InvalidAccountId", CANNOT_PAY),
    (3003, "InvalidAmount", CANNOT_PAY),
    (3004, "OutOfDate", CANNOT_PAY),
    (3005, "FormatError", CANNOT_PAY),
    (3006, "Unavailable", CANNOT_PAY),
    (3007, "UnableToConnect", CANNOT_PAY),
    (3008, "NotAccepted", CANNOT_PAY),
    (5001, "ReferToCardIssuer", CONTACT_YOUR_BANK),
    (5003, "InvalidMerchant", CONTACT_YOUR_BANK),
    (5004, "PickUpCard", CONTACT_YOUR_BANK),
    (5005, "DoNotHonor", CONTACT_YOUR_BANK),
    (5006, "Error", CHECK_DETAILS),
    (5007, "PickUpCardSpecialConditions", CONTACT_YOUR_BANK),
    (5012, "InvalidTransaction", OTHER_CARD_OR_BANK),
    (5013, "AmountError", CHECK_AMOUNT),
    (5014, "InvalidCardNumber", CHECK_DETAILS),
    (5015, "NoSuchIssuer", CHECK_DETAILS),
    (5017, "CustomerCancellation", OTHER_CARD),
    (5019, "TransactionError", CONTACT_YOUR_BANK),
    (5030, "FormatError", LATER),
    (5031, "BankNotSupportedBySwitch", OTHER_CARD),
    (5033, "ExpiredCardPickup", CONTACT_YOUR_BANK),
    (5034, "SuspectedFraud", CONTACT_YOUR_BANK),
    (5036, "RestrictedCard", FORBIDDEN),
    (5041, "LostCard", CONTACT_YOUR_BANK),
    (5043, "StolenCard", CONTACT_YOUR_BANK),
    (5051, "InsufficientFunds", NO_FUNDS),
    (5054, "ExpiredCard", CHECK_DETAILS),
    (5055, "InvalidPIN", OTHER_CARD),
    (5057, "TransactionNotPermitted", CONTACT_YOUR_BANK),
    (5058, "TransactionNotPermittedToCard", CONTACT_YOUR_BANK),
    (5059, "SuspectedFraudDecline", CONTACT_BANK),
    (5061, "ExceedsApprovalAmount", LIMIT),
    (5062, "RestrictedCard2", FORBIDDEN),
    (5063, "SecurityViolation", OTHER_CARD),
    (5065, "ExceedWithdrawalFrequency", CONTACT_YOUR_BANK),
    (5082, "IncorrectCVV", WRONG_CVV),
    (5091, "Timeout", LATER_OR_OTHER_CARD),
    (5092, "CannotReachNetwork", LATER_OR_OTHER_CARD),
    (5096, "SystemError", LATER),
    (5113, "GatewaysDoNotSupportCard", OTHER_CARD),
    (5204, "UnableToProcess", CONTACT_YOUR_BANK),
    (5206, "AuthenticationFailed", CONTACT_YOUR_BANK),
    (5207, "AuthenticationUnavailable", CONTACT_YOUR_BANK),
    (5300, "AntiFraud", OTHER_CARD),
    (5303, "AcquirerTerminalLimitsExceeded", CONTACT_YOUR_BANK),
    (5761, "NoPhone", OTHER_CARD),
    (5762, "InvalidPhone", OTHER_CARD),
    (5763, "DifferentPhones", OTHER_CARD),
    (6001, "SaveCardRefused", CANNOT_PAY),
    (6002, "InvalidErrorCode", CANNOT_PAY),
    (6003, "AgentIdNotExists", CANNOT_PAY),
    (6004, "CurrencyNotValid", SUPPORT),
    (6005, "InvalidPaymentLink", CANNOT_PAY),
    (6006, "AmountCurrencyNotValid", CANNOT_PAY),
    (6007, "InvalidRedirectUrl", CANNOT_PAY),
    (6008, "InvalidParamsId", CANNOT_PAY),
    (6009, "InvalidTtl", CANNOT_PAY),
    (6010, "SubscriptionNotFound", CANNOT_PAY),
    (6011, "InvalidSubscription", CANNOT_PAY),
    (6013, "InvalidRefund", CANNOT_PAY),
    (6014, "OriginalDetailsIncorrect", CANNOT_PAY),
    (6015, "TransactionNotFound", CANNOT_PAY),
    (6016, "InvalidMemberId", CANNOT_PAY),
    (6017, "IncorrectMCCategory", CANNOT_PAY),
    (6021, "ReceiverAccountError", CANNOT_PAY_OUT),
    (6022, "ReceiverNameError", CANNOT_PAY_OUT),
    (6025, "CrossTerminalTokenRestriction", CANNOT_PAY),
];

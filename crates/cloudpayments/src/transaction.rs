//! What the gateway tells about an operation.

use chrono::{DateTime, NaiveDate, Utc};
use rust_decimal::Decimal;
use secrecy::SecretString;

use crate::{Amount, fields::Fields};

/// An operation as the gateway knows it (`Model` of the documentation's answers).
///
/// Only the id is certain. Everything else is there if the answer had it in a readable form; fields we
/// do not know are ignored.
#[derive(Clone, Debug)]
pub struct Transaction {
    /// The gateway's id.
    pub transaction_id: i64,
    /// Where the operation stands; none if the answer says nothing we know, or contradicts itself:
    /// then the outcome is unknown.
    pub status: Option<TransactionStatus>,
    /// What kind of operation it is: a search by invoice also finds refunds.
    pub operation: Option<Operation>,
    /// `ReasonCode`: 0 is approved, else see [`REASON_CODES`](crate::reason::REASON_CODES).
    pub reason_code: Option<i32>,
    /// The gateway's name of the reason.
    pub reason: Option<String>,
    /// The gateway's words for the customer.
    pub cardholder_message: Option<String>,
    /// Not before then may the customer be charged again.
    pub retry_after: Option<DateTime<Utc>>,

    /// The amount of the operation.
    pub amount: Option<Amount>,
    /// Its currency, as three letters.
    pub currency: Option<String>,
    /// The amount in the currency of the card.
    pub payment_amount: Option<Amount>,
    /// The currency of the card.
    pub payment_currency: Option<String>,
    /// The gateway's fee, in units of the currency.
    pub total_fee: Option<Decimal>,
    /// Whether the payment was refunded.
    pub refunded: Option<bool>,

    /// Our number of the attempt.
    pub invoice_id: Option<String>,
    /// Our customer.
    pub account_id: Option<String>,
    /// Our description.
    pub description: Option<String>,
    /// What we attached, as JSON.
    pub json_data: Option<String>,
    /// The customer's address.
    pub email: Option<String>,
    /// Where the customer paid from.
    pub ip_address: Option<String>,
    /// The name on the card.
    pub name: Option<String>,
    /// The card, masked.
    pub card: CardMask,
    /// The credential for charging the card again; a declined operation can have one too.
    pub token: Option<SecretString>,
    /// The operation this one belongs to (a refund's payment).
    pub original_transaction_id: Option<i64>,
    /// The declined operation this one replaced when the gateway tried another bank.
    pub fallback_declined_transaction_id: Option<i64>,

    /// When it was created.
    pub created_at: Option<DateTime<Utc>>,
    /// When it was authorized.
    pub authorized_at: Option<DateTime<Utc>>,
    /// When it was completed.
    pub confirmed_at: Option<DateTime<Utc>>,
    /// The day on which the gateway has paid it out, by the gateway's calendar.
    pub payout_on: Option<NaiveDate>,
    /// What it has paid out of it, its fee taken off, in the same currency.
    pub payout_amount: Option<Amount>,
    /// The bank's authorization code.
    pub auth_code: Option<String>,
    /// The bank's reference number.
    pub rrn: Option<String>,
    /// The bank or emulator behind the operation.
    pub gateway_name: Option<String>,
    /// Whether no real money moved.
    pub test_mode: Option<bool>,
}

impl Transaction {
    /// None if the object names no transaction.
    pub(crate) fn read(fields: &Fields<'_>) -> Option<Self> {
        Some(Self {
            transaction_id: fields.integer("TransactionId")?,
            status: standing(fields),
            operation: Operation::read(fields),
            reason_code: reason_code(fields),
            reason: fields.text("Reason"),
            cardholder_message: fields.text("CardHolderMessage"),
            retry_after: fields.moment("RetryAfter"),
            amount: fields.amount("Amount"),
            currency: fields.text("Currency"),
            payment_amount: fields.amount("PaymentAmount"),
            payment_currency: fields.text("PaymentCurrency"),
            total_fee: fields.decimal("TotalFee"),
            refunded: fields.boolean("Refunded"),
            invoice_id: fields.text("InvoiceId"),
            account_id: fields.text("AccountId"),
            description: fields.text("Description"),
            json_data: fields.json("JsonData"),
            email: fields.text("Email"),
            ip_address: fields.text("IpAddress"),
            name: fields.text("Name"),
            card: CardMask::read(fields),
            token: fields.secret("Token"),
            original_transaction_id: fields.integer("OriginalTransactionId"),
            fallback_declined_transaction_id: fields.integer("FallBackScenarioDeclinedTransactionId"),
            created_at: either_date(fields, "CreatedDate", "CreatedDateIso"),
            authorized_at: either_date(fields, "AuthDate", "AuthDateIso"),
            confirmed_at: either_date(fields, "ConfirmDate", "ConfirmDateIso"),
            payout_on: day(fields, "PayoutDateIso", "PayoutDate"),
            payout_amount: fields.amount("PayoutAmount"),
            auth_code: fields.text("AuthCode"),
            rrn: fields.text("Rrn"),
            gateway_name: fields.text("GatewayName"),
            test_mode: fields.boolean("TestMode"),
        })
    }
}

/// A date without a time: the day that is written, or else that of the moment.
fn day(fields: &Fields<'_>, iso: &str, exact: &str) -> Option<NaiveDate> {
    fields.moment(iso).or_else(|| fields.moment(exact)).map(|at| at.date_naive())
}

/// The first is exact to the millisecond, the second to the second.
fn either_date(fields: &Fields<'_>, exact: &str, iso: &str) -> Option<DateTime<Utc>> {
    fields.moment(exact).or_else(|| fields.moment(iso))
}

pub(crate) fn reason_code(fields: &Fields<'_>) -> Option<i32> {
    i32::try_from(fields.integer("ReasonCode")?).ok()
}

/// Where an operation stands ("Статусы операций").
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TransactionStatus {
    /// The customer is at the 3-D Secure page.
    AwaitingAuthentication,
    /// The money is held: confirm or void.
    Authorized,
    /// The money has moved.
    Completed,
    /// Voided.
    Cancelled,
    /// Refused.
    Declined,
}

impl TransactionStatus {
    /// The gateway's name of it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AwaitingAuthentication => "AwaitingAuthentication",
            Self::Authorized => "Authorized",
            Self::Completed => "Completed",
            Self::Cancelled => "Cancelled",
            Self::Declined => "Declined",
        }
    }

    fn of_name(name: &str) -> Option<Self> {
        [Self::AwaitingAuthentication, Self::Authorized, Self::Completed, Self::Cancelled, Self::Declined]
            .into_iter()
            .find(|status| name.eq_ignore_ascii_case(status.as_str()))
    }

    /// The codes seen in the documentation's examples; it does not list the others.
    const fn of_code(code: i64) -> Option<Self> {
        match code {
            2 => Some(Self::Authorized),
            3 => Some(Self::Completed),
            5 => Some(Self::Declined),
            _ => None,
        }
    }
}

/// What `Status`, `StatusCode` and `ReasonCode` say together, if they agree.
pub(crate) fn standing(fields: &Fields<'_>) -> Option<TransactionStatus> {
    use TransactionStatus::{Authorized, Completed, Declined};

    let by_code = fields.integer("StatusCode").and_then(TransactionStatus::of_code);
    let stated = if fields.has("Status") {
        let by_name = TransactionStatus::of_name(&fields.text("Status")?)?;
        if by_code.is_some_and(|status| status != by_name) {
            return None;
        }
        Some(by_name)
    } else {
        by_code
    };
    let reason = reason_code(fields);
    if reason.is_none() && fields.has("ReasonCode") {
        return None;
    }
    match (stated, reason) {
        (Some(Authorized | Completed), Some(code)) if code != 0 => None,
        (None, Some(code)) if code > 0 => Some(Declined),
        (stated, _) => stated,
    }
}

/// What kind of operation a transaction is: `Type` in answers, `OperationType` in notifications.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    /// The customer pays.
    Payment,
    /// Money goes back.
    Refund,
    /// Money goes out to a card.
    Payout,
}

impl Operation {
    /// 0 and 2 stand in the documentation's examples; 1 is the number between.
    pub(crate) fn read(fields: &Fields<'_>) -> Option<Self> {
        if let Some(name) = fields.text("OperationType") {
            return match name.as_str() {
                "Payment" => Some(Self::Payment),
                "Refund" => Some(Self::Refund),
                "CardPayout" => Some(Self::Payout),
                _ => None,
            };
        }
        match fields.integer("Type")? {
            0 => Some(Self::Payment),
            1 => Some(Self::Refund),
            2 => Some(Self::Payout),
            _ => None,
        }
    }
}

/// A card as it may be shown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CardMask {
    /// The first six digits.
    pub first_six: Option<String>,
    /// The last four digits.
    pub last_four: Option<String>,
    /// The payment system (`Visa`, `MIR`).
    pub brand: Option<String>,
    /// `MM/YY`.
    pub expires: Option<String>,
    /// The bank that issued it.
    pub issuer: Option<String>,
    /// That bank's country, as two letters.
    pub issuer_country: Option<String>,
    /// The gateway's id of the card (`CardId`), the same for every payment by it.
    pub fingerprint: Option<String>,
}

impl CardMask {
    pub(crate) fn read(fields: &Fields<'_>) -> Self {
        Self {
            first_six: fields.text("CardFirstSix"),
            last_four: fields.text("CardLastFour"),
            brand: fields.text("CardType"),
            expires: fields.text("CardExpDate"),
            issuer: fields.text("Issuer"),
            issuer_country: fields.text("IssuerBankCountry"),
            fingerprint: fields.text("CardId").filter(|id| !id.is_empty()),
        }
    }
}

//! The fields of each kind of notification. Required ones are those the documentation requires and
//! nothing can be done without; an optional one that cannot be read is left out.

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use secrecy::SecretString;

use super::ParseError;
use crate::{
    Amount, CardMask, Decline, Operation, TransactionStatus,
    fields::Fields,
    transaction::{reason_code, standing},
};

/// What Check, Pay, Fail and Confirm tell of a payment.
#[derive(Clone, Debug)]
pub struct Payment {
    /// The gateway's id.
    pub transaction_id: i64,
    /// The amount of the payment.
    pub amount: Amount,
    /// Its currency, as three letters.
    pub currency: Option<String>,
    /// The amount in the currency of the card.
    pub payment_amount: Option<Amount>,
    /// The currency of the card.
    pub payment_currency: Option<String>,
    /// When it was made.
    pub date_time: Option<DateTime<Utc>>,
    /// Where it stands: `Completed` or, in two stages, `Authorized`.
    pub status: Option<TransactionStatus>,
    /// The same by the gateway's name, also one that is not known here.
    pub status_name: Option<String>,
    /// What kind of operation it is.
    pub operation: Option<Operation>,
    /// Whether it calls itself a payment, or says nothing of that (Confirm does not).
    pub is_payment: bool,
    /// It has the fields of a Check, and not the one (`GatewayName`) that a payment which was made must have: the address
    /// of another kind may have been given for it in the gateway's cabinet.
    pub may_be_check: bool,
    /// Our number of the attempt.
    pub invoice_id: Option<String>,
    /// Our customer.
    pub account_id: Option<String>,
    /// The gateway's own subscription.
    pub subscription_id: Option<String>,
    /// The card, masked.
    pub card: CardMask,
    /// The credential for charging the card again.
    pub token: Option<SecretString>,
    /// The name on the card.
    pub name: Option<String>,
    /// The customer's address.
    pub email: Option<String>,
    /// Where the customer pays from.
    pub ip_address: Option<String>,
    /// That place's country, as two letters.
    pub ip_country: Option<String>,
    /// Our description.
    pub description: Option<String>,
    /// What we attached, as JSON.
    pub data: Option<String>,
    /// How it is paid (`ApplePay`), none for a card.
    pub payment_method: Option<String>,
    /// The bank's reference number.
    pub rrn: Option<String>,
    /// The declined operation this one replaced when the gateway tried another bank.
    pub fallback_declined_transaction_id: Option<i64>,
    /// Whether no real money moves.
    pub test_mode: Option<bool>,
}

impl Payment {
    fn read(fields: &Fields<'_>) -> Result<Self, ParseError> {
        let operation = Operation::read(fields);
        Ok(Self {
            transaction_id: transaction_id(fields)?,
            amount: amount(fields)?,
            currency: fields.text("Currency"),
            payment_amount: fields.amount("PaymentAmount"),
            payment_currency: fields.text("PaymentCurrency"),
            date_time: fields.moment("DateTime"),
            status: standing(fields),
            status_name: fields.text("Status"),
            operation,
            is_payment: operation == Some(Operation::Payment) || !fields.has("OperationType"),
            may_be_check: fields.has("OperationType") && fields.text("GatewayName").is_none(),
            invoice_id: fields.text("InvoiceId"),
            account_id: fields.text("AccountId"),
            subscription_id: fields.text("SubscriptionId"),
            card: CardMask::read(fields),
            token: fields.secret("Token"),
            name: fields.text("Name"),
            email: fields.text("Email"),
            ip_address: fields.text("IpAddress"),
            ip_country: fields.text("IpCountry"),
            description: fields.text("Description"),
            data: fields.json("Data"),
            payment_method: fields.text("PaymentMethod"),
            rrn: fields.text("Rrn"),
            fallback_declined_transaction_id: fields.integer("FallBackScenarioDeclinedTransactionId"),
            test_mode: fields.boolean("TestMode"),
        })
    }
}

/// A payment is about to be made.
#[derive(Clone, Debug)]
pub struct Check {
    /// The payment.
    pub payment: Payment,
}

impl Check {
    pub(super) fn read(fields: &Fields<'_>) -> Result<Self, ParseError> {
        Ok(Self { payment: Payment::read(fields)? })
    }
}

/// Money was taken (`Completed`) or is held (`Authorized`).
#[derive(Clone, Debug)]
pub struct Pay {
    /// The payment.
    pub payment: Payment,
    /// The bank or emulator behind it.
    pub gateway_name: Option<String>,
    /// The bank's authorization code.
    pub auth_code: Option<String>,
    /// The gateway's fee, in units of the currency.
    pub total_fee: Option<Decimal>,
}

impl Pay {
    pub(super) fn read(fields: &Fields<'_>) -> Result<Self, ParseError> {
        Ok(Self {
            payment: Payment::read(fields)?,
            gateway_name: fields.text("GatewayName"),
            auth_code: fields.text("AuthCode"),
            total_fee: fields.decimal("TotalFee"),
        })
    }
}

/// A payment was declined.
#[derive(Clone, Debug)]
pub struct Fail {
    /// The payment.
    pub payment: Payment,
    /// Why, and what may come next. Its `transaction` is none: that is `payment`.
    pub decline: Decline,
    /// The words of the bank.
    pub provider_message: Option<String>,
}

impl Fail {
    pub(super) fn read(fields: &Fields<'_>) -> Result<Self, ParseError> {
        let code = reason_code(fields).ok_or(ParseError::Field("ReasonCode"))?;
        let decline =
            Decline::new(code, fields.text("Reason"), fields.text("CardHolderMessage"), fields.moment("RetryAfter"));
        Ok(Self { payment: Payment::read(fields)?, decline, provider_message: fields.text("ProviderMessage") })
    }
}

/// Held money was taken. May arrive before its Pay, and implies it.
#[derive(Clone, Debug)]
pub struct Confirm {
    /// The payment.
    pub payment: Payment,
    /// The bank's authorization code.
    pub auth_code: Option<String>,
}

impl Confirm {
    pub(super) fn read(fields: &Fields<'_>) -> Result<Self, ParseError> {
        Ok(Self { payment: Payment::read(fields)?, auth_code: fields.text("AuthCode") })
    }
}

/// Money went back, by our order or by hand in the gateway's cabinet.
#[derive(Clone, Debug)]
pub struct Refund {
    /// The refund's own id.
    pub transaction_id: i64,
    /// The payment it gives back.
    pub payment_transaction_id: i64,
    /// How much of it.
    pub amount: Amount,
    /// When.
    pub date_time: Option<DateTime<Utc>>,
    /// What kind of operation it is.
    pub operation: Option<Operation>,
    /// Our number of the attempt that paid.
    pub invoice_id: Option<String>,
    /// Our customer.
    pub account_id: Option<String>,
    /// The customer's address.
    pub email: Option<String>,
    /// What we attached, as JSON.
    pub data: Option<String>,
    /// The bank's reference number.
    pub rrn: Option<String>,
}

impl Refund {
    pub(super) fn read(fields: &Fields<'_>) -> Result<Self, ParseError> {
        Ok(Self {
            transaction_id: transaction_id(fields)?,
            payment_transaction_id: fields
                .integer("PaymentTransactionId")
                .ok_or(ParseError::Field("PaymentTransactionId"))?,
            amount: amount(fields)?,
            date_time: fields.moment("DateTime"),
            operation: Operation::read(fields),
            invoice_id: fields.text("InvoiceId"),
            account_id: fields.text("AccountId"),
            email: fields.text("Email"),
            data: fields.json("Data"),
            rrn: fields.text("Rrn"),
        })
    }
}

/// A subscription kept by the gateway changed its status.
#[derive(Clone, Debug)]
pub struct Recurrent {
    /// The subscription's id.
    pub id: String,
    /// `Active`, `PastDue`, `Cancelled`, `Rejected` or `Expired`.
    pub status: String,
    /// Our customer.
    pub account_id: Option<String>,
    /// What is paid for.
    pub description: Option<String>,
    /// The customer's address.
    pub email: Option<String>,
    /// How much each time.
    pub amount: Option<Amount>,
    /// The currency, as three letters.
    pub currency: Option<String>,
    /// Whether each charge is in two stages.
    pub require_confirmation: Option<bool>,
    /// When it began.
    pub start_date: Option<DateTime<Utc>>,
    /// `Day`, `Week` or `Month`.
    pub interval: Option<String>,
    /// How many intervals lie between charges.
    pub period: Option<i64>,
    /// How many charges have passed.
    pub successful_transactions: Option<i64>,
    /// How many have failed.
    pub failed_transactions: Option<i64>,
    /// After how many charges it ends.
    pub max_periods: Option<i64>,
    /// When the last charge was.
    pub last_transaction_date: Option<DateTime<Utc>>,
    /// When the next will be.
    pub next_transaction_date: Option<DateTime<Utc>>,
}

impl Recurrent {
    pub(super) fn read(fields: &Fields<'_>) -> Result<Self, ParseError> {
        Ok(Self {
            id: fields.text("Id").ok_or(ParseError::Field("Id"))?,
            status: fields.text("Status").ok_or(ParseError::Field("Status"))?,
            account_id: fields.text("AccountId"),
            description: fields.text("Description"),
            email: fields.text("Email"),
            amount: fields.amount("Amount"),
            currency: fields.text("Currency"),
            require_confirmation: fields.boolean("RequireConfirmation"),
            start_date: fields.moment("StartDate"),
            interval: fields.text("Interval"),
            period: fields.integer("Period"),
            successful_transactions: fields.integer("SuccessfulTransactionsNumber"),
            failed_transactions: fields.integer("FailedTransactionsNumber"),
            max_periods: fields.integer("MaxPeriods"),
            last_transaction_date: fields.moment("LastTransactionDate"),
            next_transaction_date: fields.moment("NextTransactionDate"),
        })
    }
}

/// Held money was let go.
#[derive(Clone, Debug)]
pub struct Cancel {
    /// The gateway's id of the payment.
    pub transaction_id: i64,
    /// How much was held.
    pub amount: Amount,
    /// When.
    pub date_time: Option<DateTime<Utc>>,
    /// Our number of the attempt.
    pub invoice_id: Option<String>,
    /// Our customer.
    pub account_id: Option<String>,
    /// The customer's address.
    pub email: Option<String>,
    /// What we attached, as JSON.
    pub data: Option<String>,
    /// The bank's reference number.
    pub rrn: Option<String>,
}

impl Cancel {
    pub(super) fn read(fields: &Fields<'_>) -> Result<Self, ParseError> {
        Ok(Self {
            transaction_id: transaction_id(fields)?,
            amount: amount(fields)?,
            date_time: fields.moment("DateTime"),
            invoice_id: fields.text("InvoiceId"),
            account_id: fields.text("AccountId"),
            email: fields.text("Email"),
            data: fields.json("Data"),
            rrn: fields.text("Rrn"),
        })
    }
}

/// A fiscal receipt was made (CloudKassir).
#[derive(Clone, Debug)]
pub struct Receipt {
    /// The receipt's id at the gateway.
    pub id: String,
    /// The payment or refund it is for.
    pub transaction_id: Option<i64>,
    /// Our number of the attempt.
    pub invoice_id: Option<String>,
    /// Our customer.
    pub account_id: Option<String>,
    /// `Income`, `IncomeReturn`, `Expense` or `ExpenseReturn`.
    pub receipt_type: Option<String>,
    /// How much it is over.
    pub amount: Option<Amount>,
    /// When it was made.
    pub date_time: Option<DateTime<Utc>>,
    /// The number of the fiscal document.
    pub document_number: Option<String>,
    /// The fiscal sign of the document.
    pub fiscal_sign: Option<String>,
    /// The number of the fiscal storage.
    pub fiscal_number: Option<String>,
    /// The registration number of the cash register.
    pub registration_number: Option<String>,
    /// Where the receipt can be seen.
    pub url: Option<String>,
    /// The picture of its QR code.
    pub qr_code_url: Option<String>,
}

impl Receipt {
    pub(super) fn read(fields: &Fields<'_>) -> Result<Self, ParseError> {
        Ok(Self {
            id: fields.text("Id").ok_or(ParseError::Field("Id"))?,
            transaction_id: fields.integer("TransactionId"),
            invoice_id: fields.text("InvoiceId"),
            account_id: fields.text("AccountId"),
            receipt_type: fields.text("Type"),
            amount: fields.amount("Amount"),
            date_time: fields.moment("DateTime"),
            document_number: fields.text("DocumentNumber"),
            fiscal_sign: fields.text("FiscalSign"),
            fiscal_number: fields.text("FiscalNumber"),
            registration_number: fields.text("RegNumber"),
            url: fields.text("Url"),
            qr_code_url: fields.text("QrCodeUrl"),
        })
    }
}

fn transaction_id(fields: &Fields<'_>) -> Result<i64, ParseError> {
    fields.integer("TransactionId").ok_or(ParseError::Field("TransactionId"))
}

fn amount(fields: &Fields<'_>) -> Result<Amount, ParseError> {
    fields.amount("Amount").ok_or(ParseError::Field("Amount"))
}

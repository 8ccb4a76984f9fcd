//! What a notification says, field by field in the order of the documentation. An optional field that has no value is
//! left out.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::Kind;
use crate::{
    cards::Brand,
    ledger::{
        receipt::Receipt,
        subscription::Subscription,
        transaction::{Kind as Operation, Status, Transaction},
    },
    money::TwoDigits,
};

/// One field.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Field {
    pub(crate) name: String,
    pub(crate) value: String,
    /// Written in JSON as it is, not as a string: a number or a boolean.
    pub(crate) bare: bool,
}

/// Fields in order.
#[derive(Default)]
pub(super) struct Fields(Vec<Field>);

impl Fields {
    #[expect(clippy::needless_pass_by_value, reason = "callers hand over what they have just made")]
    pub(super) fn text(mut self, name: &str, value: impl ToString) -> Self {
        self.0.push(Field { name: name.to_owned(), value: value.to_string(), bare: false });
        self
    }

    #[expect(clippy::needless_pass_by_value, reason = "callers hand over what they have just made")]
    pub(super) fn bare(mut self, name: &str, value: impl ToString) -> Self {
        self.0.push(Field { name: name.to_owned(), value: value.to_string(), bare: true });
        self
    }

    pub(super) fn optional(self, name: &str, value: Option<impl ToString>) -> Self {
        match value {
            Some(value) => self.text(name, value),
            None => self,
        }
    }
}

impl From<Fields> for Vec<Field> {
    fn from(fields: Fields) -> Self {
        fields.0
    }
}

/// What has become of a transaction deserves which notification? `before` is the state it was in.
pub(crate) fn kind_of(before: Option<&Transaction>, after: &Transaction) -> Option<Kind> {
    let was = before.map(|transaction| transaction.recorded_status);
    if was == Some(after.recorded_status) {
        return None;
    }
    match (after.kind, after.recorded_status) {
        (Operation::Refund, _) => Some(Kind::Refund),
        (_, Status::AwaitingAuthentication) => None,
        (_, Status::Completed) if was == Some(Status::Authorized) => Some(Kind::Confirm),
        (_, Status::Authorized | Status::Completed) => Some(Kind::Pay),
        (_, Status::Declined) => Some(Kind::Fail),
        (_, Status::Cancelled) => Some(Kind::Cancel),
    }
}

/// The fields of a notification about a transaction that is in this state since `now`.
pub(crate) fn of_transaction(kind: Kind, transaction: &Transaction, now: DateTime<Utc>) -> Vec<Field> {
    match kind {
        Kind::Refund | Kind::Cancel => given_back(kind, transaction, now),
        _ => charged(kind, transaction, now),
    }
}

fn charged(kind: Kind, transaction: &Transaction, now: DateTime<Utc>) -> Vec<Field> {
    let purpose = &transaction.purpose;
    let card = transaction.card.as_ref();
    let fields = Fields::default()
        .bare("TransactionId", transaction.id)
        .bare("Amount", TwoDigits(purpose.amount))
        .text("Currency", purpose.currency.as_str())
        .text("PaymentAmount", TwoDigits(purpose.amount))
        .text("PaymentCurrency", purpose.currency.as_str())
        .text("DateTime", date_time(now))
        .text("CardFirstSix", card.map_or("", |card| &card.first_six))
        .text("CardLastFour", card.map_or("", |card| &card.last_four))
        .text("CardType", card.and_then(|card| Brand::of(&card.first_six)).map_or("", Brand::name))
        .text("CardExpDate", card.map_or_else(String::new, |card| card.expiry.month_year()))
        .bare("TestMode", 1);
    let fields = match (kind, transaction.reason) {
        (Kind::Fail, Some(reason)) => fields.text("Reason", reason.name()).bare("ReasonCode", reason.code()),
        // A check says what a good end would be.
        (Kind::Check, _) if purpose.two_stage => fields.text("Status", Status::Authorized.name()),
        (Kind::Check, _) => fields.text("Status", Status::Completed.name()),
        _ => fields.text("Status", transaction.recorded_status.name()),
    };
    let fields = if kind == Kind::Confirm { fields } else { fields.text("OperationType", transaction.kind.name()) };
    let fields = if kind == Kind::Pay { fields.text("GatewayName", "Test") } else { fields };
    let fields = fields
        .optional("InvoiceId", purpose.invoice_id.as_ref())
        .optional("AccountId", purpose.account_id.as_ref())
        .optional("SubscriptionId", transaction.subscription_id.as_ref())
        .optional("Name", transaction.holder_name.as_ref())
        .optional("Email", purpose.email.as_ref())
        .optional("IpAddress", purpose.ip_address.as_ref())
        .optional("Issuer", card.map(|_| "CloudPayments"))
        .optional("IssuerBankCountry", card.map(|_| "RU"))
        .optional("Description", purpose.description.as_ref());
    let approved = matches!(kind, Kind::Pay | Kind::Confirm);
    let fields = if approved { fields.text("AuthCode", "A1B2C3") } else { fields };
    let fields = fields.optional("Data", purpose.json_data.as_ref());
    let fields = match &transaction.token {
        Some(token) if kind != Kind::Check => fields.text("Token", &token.0),
        _ => fields,
    };
    if kind == Kind::Pay { fields.bare("TotalFee", "0.00").into() } else { fields.into() }
}

fn given_back(kind: Kind, transaction: &Transaction, now: DateTime<Utc>) -> Vec<Field> {
    let purpose = &transaction.purpose;
    let fields = Fields::default().bare("TransactionId", transaction.id);
    let fields = match transaction.original_id {
        Some(payment) => fields.bare("PaymentTransactionId", payment),
        None => fields,
    };
    let fields = fields.bare("Amount", TwoDigits(purpose.amount)).text("DateTime", date_time(now));
    let fields = if kind == Kind::Refund { fields.text("OperationType", transaction.kind.name()) } else { fields };
    fields
        .optional("InvoiceId", purpose.invoice_id.as_ref())
        .optional("AccountId", purpose.account_id.as_ref())
        .optional("Email", purpose.email.as_ref())
        .optional("Data", purpose.json_data.as_ref())
        .into()
}

/// The fields of "Recurrent".
pub(crate) fn of_subscription(subscription: &Subscription) -> Vec<Field> {
    let terms = &subscription.terms;
    Fields::default()
        .text("Id", &subscription.id.0)
        .text("AccountId", &terms.account_id)
        .text("Description", &terms.description)
        .text("Email", terms.email.as_deref().unwrap_or_default())
        .bare("Amount", TwoDigits(terms.amount))
        .text("Currency", terms.currency.as_str())
        .bare("RequireConfirmation", terms.two_stage)
        .text("StartDate", date_time(terms.start))
        .text("Interval", terms.interval.name())
        .bare("Period", terms.period)
        .text("Status", subscription.status.name())
        .bare("SuccessfulTransactionsNumber", subscription.successful)
        .bare("FailedTransactionsNumber", subscription.failed)
        .optional("MaxPeriods", terms.max_periods)
        .optional("LastTransactionDate", subscription.last_at.map(date_time))
        .optional("NextTransactionDate", subscription.next_at.map(date_time))
        .into()
}

/// The fields of "Receipt", for one that is printed.
pub(crate) fn of_receipt(receipt: &Receipt, base_url: &str) -> Vec<Field> {
    let mut fields = receipt.fiscal(base_url);
    fields.push(Field { name: "Type".to_owned(), value: receipt.order.kind.name().to_owned(), bare: false });
    fields.push(Field { name: "Receipt".to_owned(), value: receipt.order.content.to_string(), bare: false });
    fields
}

impl Receipt {
    /// What the cash register and the tax office's operator add to a receipt, as they know it.
    pub(crate) fn fiscal(&self, base_url: &str) -> Vec<Field> {
        let url = format!("{base_url}/receipts/{}", self.id.0);
        let order = &self.order;
        let fields = Fields::default().text("Id", &self.id.0).text("Inn", &order.inn);
        let fields = match self.issued_at {
            None => fields,
            Some(at) => fields
                .bare("DocumentNumber", self.number)
                .bare("SessionNumber", 1)
                .bare("Number", self.number)
                .text("FiscalSign", format!("{:010}", 1_000_000_007 * self.number % 10_000_000_000))
                .text("DeviceNumber", "00000000000000000001")
                .text("RegNumber", "0000000000000001")
                .text("FiscalNumber", "9999000000000001")
                .text("Ofd", "CloudPayments sandbox")
                .text("Url", &url)
                .text("QrCodeUrl", format!("{url}?qr"))
                .text("DateTime", date_time(at)),
        };
        fields
            .bare("Amount", TwoDigits(order.amount))
            .optional("TransactionId", order.transaction_id)
            .optional("InvoiceId", order.invoice_id.as_ref())
            .optional("AccountId", order.account_id.as_ref())
            .into()
    }
}

/// `yyyy-MM-dd HH:mm:ss`, UTC.
pub(super) fn date_time(moment: DateTime<Utc>) -> impl std::fmt::Display {
    moment.format("%Y-%m-%d %H:%M:%S")
}

//! What is kept of a notification: what follows from it, and what a person needs to understand it. No secret, no address,
//! no name.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::Kopecks;
use crate::payment::CardMask;
use crate::payment::identity::Told;
use crate::payment::operation::{Operation, OperationStatus, Refusal, Returned};

/// What a notification says, as far as it says it in a readable form.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Notice {
    /// The gateway's number of the operation; a refund's own.
    pub transaction_id: Option<i64>,
    /// Of a refund: the operation it gives back.
    pub payment_transaction_id: Option<i64>,
    /// When it happened, by the gateway's clock.
    pub at: Option<DateTime<Utc>>,
    pub invoice_id: Option<String>,
    pub account_id: Option<String>,
    /// Of `Data`, what we attached. None: it came without.
    pub ids: Option<Ids>,
    /// In minor units of the currency.
    pub amount: Option<i64>,
    pub currency: Option<String>,
    pub test_mode: Option<bool>,
    /// It calls itself another kind of operation than a payment.
    pub is_other_operation: bool,
    /// It says no more than a question whether a payment may be made would.
    pub may_be_check: bool,
    /// By the gateway's name; also one that we do not know.
    pub status: Option<String>,
    pub reason_code: Option<i32>,
    pub reason: Option<String>,
    pub cardholder_message: Option<String>,
    /// When the gateway allows another try.
    pub retry_after: Option<DateTime<Utc>>,
    /// The bank's own words, for operators.
    pub provider_message: Option<String>,
    /// The declined operation that this one replaced when the gateway tried another bank.
    pub fallback_of: Option<i64>,
    /// Kept until the notification has its effect.
    pub card: Option<CardMask>,
    pub fiscal: Option<Fiscal>,
}

/// Our ids in `Data`. All three missing: it is another's.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Ids {
    pub payment_id: Option<String>,
    pub bill_id: Option<String>,
    pub refund_id: Option<String>,
}

/// A fiscal receipt.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Fiscal {
    /// `Income`, `IncomeReturn`, `Expense` or `ExpenseReturn`.
    pub receipt_type: Option<String>,
    pub document_number: Option<String>,
    pub fiscal_sign: Option<String>,
    /// The number of the fiscal storage.
    pub fiscal_number: Option<String>,
    /// The registration number of the cash register.
    pub registration_number: Option<String>,
    /// Where it can be seen.
    pub url: Option<String>,
    pub qr_code_url: Option<String>,
}

/// The longest text that is kept, in characters.
const MAX_TEXT: usize = 500;

/// `text` as the database can keep it.
fn kept(text: &str) -> String {
    text.chars().filter(|c| *c != '\0').take(MAX_TEXT).collect()
}

impl Ids {
    /// Those in this JSON.
    #[must_use]
    pub fn of(json_data: &str) -> Self {
        let json: serde_json::Value = serde_json::from_str(json_data).unwrap_or_default();
        let id = |name: &str| Some(kept(json.get(name)?.as_str()?).to_ascii_lowercase());
        Self { payment_id: id("payment_id"), bill_id: id("bill_id"), refund_id: id("refund_id") }
    }
}

impl Notice {
    /// The same with every text as the database can keep it.
    #[must_use]
    pub fn storable(self) -> Self {
        let text = |text: Option<String>| text.map(|text| kept(&text));
        Self {
            invoice_id: text(self.invoice_id),
            account_id: text(self.account_id),
            currency: text(self.currency),
            status: text(self.status),
            reason: text(self.reason),
            cardholder_message: text(self.cardholder_message),
            provider_message: text(self.provider_message),
            card: self.card.map(|card| CardMask {
                first_six: text(card.first_six),
                last_four: text(card.last_four),
                expires: text(card.expires),
                scheme: text(card.scheme),
                fingerprint: None,
            }),
            fiscal: self.fiscal.map(|fiscal| Fiscal {
                receipt_type: text(fiscal.receipt_type),
                document_number: text(fiscal.document_number),
                fiscal_sign: text(fiscal.fiscal_sign),
                fiscal_number: text(fiscal.fiscal_number),
                registration_number: text(fiscal.registration_number),
                url: text(fiscal.url),
                qr_code_url: text(fiscal.qr_code_url),
            }),
            ..self
        }
    }

    /// What is compared with our attempt.
    #[must_use]
    pub fn told(&self) -> Told {
        Told {
            invoice_id: self.invoice_id.clone(),
            account_id: self.account_id.clone(),
            json_data: self.data(),
            amount: self.amount.map(Kopecks::new),
            currency: self.currency.clone(),
            test_mode: self.test_mode,
        }
    }

    /// `Data`, as far as it is kept.
    #[must_use]
    pub fn data(&self) -> Option<String> {
        let Ids { payment_id, bill_id, refund_id } = self.ids.as_ref()?;
        let ids = [("payment_id", payment_id), ("bill_id", bill_id), ("refund_id", refund_id)];
        let there = ids.into_iter().filter_map(|(name, id)| Some((name.to_owned(), id.clone()?.into())));
        Some(serde_json::Value::Object(there.collect()).to_string())
    }

    /// Where the operation stands, if that is something we know.
    #[must_use]
    pub fn stands(&self) -> Option<OperationStatus> {
        self.status.as_deref()?.parse().ok()
    }

    /// The operation in the words of a response, standing where it is said to.
    pub(super) fn operation(&self, transaction_id: i64, status: Option<OperationStatus>) -> Operation {
        Operation {
            transaction_id,
            told: self.told(),
            status,
            token: None,
            card: self.card.clone(),
            refusal: Refusal {
                code: self.reason_code.unwrap_or_default(),
                reason: self.reason.clone(),
                cardholder_message: self.cardholder_message.clone(),
                retry_after: self.retry_after,
            },
            returned: Returned::Nothing,
        }
    }
}

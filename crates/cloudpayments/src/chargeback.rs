//! What the gateway tells about a payment that a bank took back.

use chrono::{DateTime, Utc};

use crate::{Amount, fields::Fields};

/// A claim of a cardholder's bank, as `/chargebacks/list` has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chargeback {
    /// The gateway's id of it.
    pub chargeback_id: String,
    /// The payment.
    pub transaction_id: i64,
    /// How much of it.
    pub amount: Option<Amount>,
    /// In this currency, as three letters.
    pub currency: Option<String>,
    /// `Chargeback`, in the documentation's example.
    pub kind: Option<String>,
    /// `Presentment`, in the documentation's example.
    pub operation: Option<String>,
    /// When it was made.
    pub at: Option<DateTime<Utc>>,
}

impl Chargeback {
    /// None if the object names no chargeback and no payment.
    pub(crate) fn read(fields: &Fields<'_>) -> Option<Self> {
        Some(Self {
            chargeback_id: fields.text("ChargeBackId")?,
            transaction_id: fields.integer("TransactionId")?,
            amount: fields.amount("Amount"),
            currency: fields.text("Currency"),
            kind: fields.text("Type"),
            operation: fields.text("Operation"),
            at: fields.moment("Date"),
        })
    }
}

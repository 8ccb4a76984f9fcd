//! What is sent to the gateway.

mod body;
mod id;
mod list;
mod receipt;

use secrecy::SecretString;
use serde::Serialize;
use serde_json::value::RawValue;

pub(crate) use self::body::Body;
pub use self::{
    id::{InvalidRequestId, RequestId},
    list::ListRequest,
    receipt::{ReceiptKind, ReceiptOrder},
};
use crate::Amount;

/// A charge (or an authorization) of a card by the cryptogram the checkout script made of it.
#[derive(Clone, Debug)]
pub struct CardCharge {
    /// How much; at least 0.01.
    pub amount: Amount,
    /// The currency, as three letters.
    pub currency: String,
    /// Where the customer pays from.
    pub ip_address: String,
    /// The card's data, readable to the gateway only; it can be used once.
    pub cryptogram: SecretString,
    /// Our number of the attempt. One per attempt, not per bill: a search by it finds only the last
    /// operation.
    pub invoice_id: Option<String>,
    /// Our customer; without it the gateway gives no token.
    pub account_id: Option<String>,
    /// The name on the card, in Latin letters.
    pub name: Option<String>,
    /// The page the payment is made from.
    pub payment_url: Option<String>,
    /// What is paid for.
    pub description: Option<String>,
    /// The language of the words for the customer (`ru-RU`).
    pub culture_name: Option<String>,
    /// Where the receipt goes.
    pub email: Option<String>,
    /// Who pays.
    pub payer: Option<Payer>,
    /// Anything of ours to keep with the transaction, and instructions for the gateway.
    pub json_data: Option<Box<RawValue>>,
    /// Whether to make a token where the terminal makes them on request.
    pub save_card: Option<bool>,
}

impl CardCharge {
    /// A charge with only what is required.
    pub fn new(
        amount: Amount,
        currency: impl Into<String>,
        ip_address: impl Into<String>,
        cryptogram: SecretString,
    ) -> Self {
        Self {
            amount,
            currency: currency.into(),
            ip_address: ip_address.into(),
            cryptogram,
            invoice_id: None,
            account_id: None,
            name: None,
            payment_url: None,
            description: None,
            culture_name: None,
            email: None,
            payer: None,
            json_data: None,
            save_card: None,
        }
    }

    pub(crate) fn body(&self) -> Vec<u8> {
        Body::default()
            .field("Amount", &self.amount.to_json())
            .field("Currency", &self.currency)
            .field("IpAddress", &self.ip_address)
            .secret("CardCryptogramPacket", &self.cryptogram)
            .optional("InvoiceId", self.invoice_id.as_ref())
            .optional("AccountId", self.account_id.as_ref())
            .optional("Name", self.name.as_ref())
            .optional("PaymentUrl", self.payment_url.as_ref())
            .optional("Description", self.description.as_ref())
            .optional("CultureName", self.culture_name.as_ref())
            .optional("Email", self.email.as_ref())
            .optional("Payer", self.payer.as_ref())
            .optional("JsonData", self.json_data.as_ref())
            .optional("SaveCard", self.save_card.as_ref())
            .finish()
    }
}

/// A charge of a stored card.
#[derive(Clone, Debug)]
pub struct TokenCharge {
    /// How much; at least 0.01.
    pub amount: Amount,
    /// The currency, as three letters.
    pub currency: String,
    /// The customer the token was made for.
    pub account_id: String,
    /// The credential from an earlier payment on the same terminal.
    pub token: SecretString,
    /// Who started this charge.
    pub initiator: Initiator,
    /// Our number of the attempt; see [`CardCharge::invoice_id`].
    pub invoice_id: Option<String>,
    /// What is paid for.
    pub description: Option<String>,
    /// Where the customer pays from, if they are there.
    pub ip_address: Option<String>,
    /// Where the receipt goes.
    pub email: Option<String>,
    /// Who pays.
    pub payer: Option<Payer>,
    /// Anything of ours to keep with the transaction, and instructions for the gateway.
    pub json_data: Option<Box<RawValue>>,
}

/// Who started a charge of a stored card (`TrInitiatorCode`, `PaymentScheduled`; required since
/// 24 August 2023).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Initiator {
    /// We did, on the subscription's schedule.
    Schedule,
    /// We did, at a time of our choosing.
    Merchant,
    /// The customer did, with a button.
    Cardholder,
}

impl TokenCharge {
    /// A charge with only what is required.
    pub fn new(
        amount: Amount,
        currency: impl Into<String>,
        account_id: impl Into<String>,
        token: SecretString,
        initiator: Initiator,
    ) -> Self {
        Self {
            amount,
            currency: currency.into(),
            account_id: account_id.into(),
            token,
            initiator,
            invoice_id: None,
            description: None,
            ip_address: None,
            email: None,
            payer: None,
            json_data: None,
        }
    }

    pub(crate) fn body(&self) -> Vec<u8> {
        let (code, scheduled) = match self.initiator {
            Initiator::Schedule => (0, Some(&1)),
            Initiator::Merchant => (0, Some(&0)),
            Initiator::Cardholder => (1, None),
        };
        Body::default()
            .field("Amount", &self.amount.to_json())
            .field("Currency", &self.currency)
            .field("AccountId", &self.account_id)
            .secret("Token", &self.token)
            .field("TrInitiatorCode", &code)
            .optional("PaymentScheduled", scheduled)
            .optional("InvoiceId", self.invoice_id.as_ref())
            .optional("Description", self.description.as_ref())
            .optional("IpAddress", self.ip_address.as_ref())
            .optional("Email", self.email.as_ref())
            .optional("Payer", self.payer.as_ref())
            .optional("JsonData", self.json_data.as_ref())
            .finish()
    }
}

/// Who pays, as far as known.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
#[expect(missing_docs, reason = "the names say it")]
pub struct Payer {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub middle_name: Option<String>,
    /// `1955-02-24`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub birth: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub street: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub city: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub country: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phone: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub postcode: Option<String>,
}

/// The whole amount of a transaction or a part of it: to confirm or to refund.
#[derive(Clone, Debug)]
pub struct TransactionPart {
    /// The payment.
    pub transaction_id: i64,
    /// How much of it, in its currency.
    pub amount: Amount,
    /// Instructions for the gateway (the receipt).
    pub json_data: Option<Box<RawValue>>,
}

impl TransactionPart {
    /// That much of that transaction.
    pub const fn new(transaction_id: i64, amount: Amount) -> Self {
        Self { transaction_id, amount, json_data: None }
    }

    pub(crate) fn body(&self) -> Vec<u8> {
        Body::default()
            .field("TransactionId", &self.transaction_id)
            .field("Amount", &self.amount.to_json())
            .optional("JsonData", self.json_data.as_ref())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_leave_as_numbers_with_two_decimals() {
        let part = TransactionPart::new(455, Amount::from_kopecks(29900));
        assert_eq!(part.body(), br#"{"TransactionId":455,"Amount":299.00}"#);
    }

    #[test]
    fn the_initiator_decides_both_codes() {
        for (initiator, expected) in [
            (Initiator::Schedule, r#""TrInitiatorCode":0,"PaymentScheduled":1}"#),
            (Initiator::Merchant, r#""TrInitiatorCode":0,"PaymentScheduled":0}"#),
            (Initiator::Cardholder, r#""TrInitiatorCode":1}"#),
        ] {
            let charge = TokenCharge::new(Amount::from_kopecks(1), "RUB", "acc-1", "tk".into(), initiator);
            let body = String::from_utf8(charge.body()).unwrap();
            assert!(body.ends_with(expected), "{body}");
        }
    }
}

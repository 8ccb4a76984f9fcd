//! Everything in the ledger that must not be guessable – tokens, PaRes – is derived from one secret, so the ledger
//! needs no source of randomness, and its file needs no list of open 3-D Secure sessions.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use subtle::ConstantTimeEq as _;
use uuid::Uuid;

use super::{
    order::OrderId,
    receipt::ReceiptId,
    subscription::SubscriptionId,
    transaction::{Token, Transaction, TransactionId},
};
use crate::{
    cards::{BankAnswer, CardMask},
    money::Roubles,
};

/// The terminal's own key.
#[derive(Clone)]
pub(crate) struct Secret([u8; 32]);

/// What the payer did on the 3-D Secure page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PayerAnswer {
    Confirmed,
    Rejected,
}

impl PayerAnswer {
    const fn name(self) -> &'static str {
        match self {
            Self::Confirmed => "Y",
            Self::Rejected => "N",
        }
    }
}

impl Secret {
    /// From two random ids, of which 244 bits are random.
    pub(crate) fn new(one: Uuid, two: Uuid) -> Self {
        let mut bytes = [0; 32];
        bytes[..16].copy_from_slice(one.as_bytes());
        bytes[16..].copy_from_slice(two.as_bytes());
        Self(bytes)
    }

    pub(crate) fn from_base64(text: &str) -> Option<Self> {
        BASE64_STANDARD.decode(text).ok()?.try_into().ok().map(Self)
    }

    pub(crate) fn to_base64(&self) -> String {
        BASE64_STANDARD.encode(self.0)
    }

    /// The token of a card for an account: always the same one, so the gateway keeps one per pair.
    pub(super) fn token(&self, account_id: &str, card: &CardMask) -> Token {
        let number = card.masked();
        let expiry = card.expiry.month_year();
        let bytes = self.mac(&["token", account_id, &number, &expiry]);
        let id = Uuid::from_slice(&bytes[..16]).unwrap_or_default();
        // Test tokens of the gateway begin with what they will do ("success_…").
        let will = match card.test_card().and_then(|card| card.token_charge) {
            Some(BankAnswer::Success) => "success",
            Some(BankAnswer::InsufficientFunds) | None => "fail",
        };
        Token(format!("{will}_{id}"))
    }

    /// `sc_` and 29 hex digits.
    pub(super) fn subscription_id(&self, number: usize) -> SubscriptionId {
        SubscriptionId(format!("sc_{}", &self.numbered("subscription", number)[..29]))
    }

    pub(super) fn order_id(&self, number: usize) -> OrderId {
        OrderId(self.numbered("order", number)[..16].to_owned())
    }

    pub(super) fn receipt_id(&self, number: usize) -> ReceiptId {
        ReceiptId(self.numbered("receipt", number)[..24].to_owned())
    }

    pub(super) fn chargeback_id(&self, number: usize) -> String {
        self.numbered("chargeback", number)[..24].to_owned()
    }

    pub(super) fn nonce(&self, of: &str) -> String {
        hex(&self.mac(&["nonce", of])[..16])
    }

    fn numbered(&self, what: &str, number: usize) -> String {
        hex(&self.mac(&[what, &number.to_string()]))
    }

    /// `ThreeDsCallbackId`: 32 hex digits.
    pub(crate) fn three_ds_callback_id(&self, id: TransactionId) -> String {
        hex(&self.mac(&["callback", &id.to_string()])[..16])
    }

    /// `PaReq`: `+/` and base64 of JSON, as in the gateway's example; signed, so that the page can trust what it shows.
    pub(crate) fn pa_req(&self, transaction: &Transaction) -> String {
        #[derive(serde::Serialize)]
        #[serde(rename_all = "PascalCase")]
        struct PaReq<'a> {
            merchant_name: Option<&'a str>,
            first_six: &'a str,
            last_four: &'a str,
            amount: Roubles,
            currency_code: &'a str,
            date: String,
            sign: String,
        }
        let card = transaction.card.as_ref();
        let request = PaReq {
            merchant_name: None,
            first_six: card.map_or("", |card| &card.first_six),
            last_four: card.map_or("", |card| &card.last_four),
            amount: Roubles(transaction.purpose.amount),
            currency_code: transaction.purpose.currency.as_str(),
            date: transaction.created_at.to_rfc3339_opts(chrono::SecondsFormat::Secs, false),
            sign: hex(&self.mac(&["pa_req", &transaction.id.to_string()])),
        };
        let json = serde_json::to_vec(&request).expect("a struct of strings and a number is JSON");
        format!("+/{}", BASE64_STANDARD.encode(json))
    }

    /// Is this the `PaReq` that was given for the transaction?
    pub(crate) fn is_pa_req(&self, pa_req: &str, transaction: &Transaction) -> bool {
        self.pa_req(transaction).as_bytes().ct_eq(pa_req.as_bytes()).into()
    }

    /// What the bank's page sends back: the payer's answer, good for this transaction only.
    pub(crate) fn pa_res(&self, id: TransactionId, answer: PayerAnswer) -> String {
        let signature = self.mac(&["pa_res", &id.to_string(), answer.name()]);
        BASE64_STANDARD.encode(format!("{id}:{}:{}", answer.name(), hex(&signature)))
    }

    /// The payer's answer, or `None` for a PaRes that is not of this transaction.
    pub(super) fn payer_answer(&self, id: TransactionId, pa_res: &str) -> Option<PayerAnswer> {
        // A browser that posts a form may turn `+` into a space.
        let pa_res = pa_res.trim().replace(' ', "+");
        [PayerAnswer::Confirmed, PayerAnswer::Rejected]
            .into_iter()
            .find(|&answer| self.pa_res(id, answer).as_bytes().ct_eq(pa_res.as_bytes()).into())
    }

    fn mac(&self, parts: &[&str]) -> [u8; 32] {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("HMAC takes a key of any length");
        for part in parts {
            // With its length, so that no two lists of parts run together into the same bytes.
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part.as_bytes());
        }
        mac.finalize().into_bytes().into()
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

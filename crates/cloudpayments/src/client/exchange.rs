//! What may be kept of a request and its response: a list of fields, by name, so that a field which is new or secret is not
//! among them. No token, cryptogram or PaRes, no card number, no address of a person.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use serde_json::value::RawValue;

use crate::answer::Received;

/// A request that was made, and its response if one came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exchange {
    /// The endpoint, as `/payments/get`.
    pub path: &'static str,
    /// The HTTP status.
    pub status: Option<u16>,
    /// From the beginning of the request to the end of the response, or until none was waited for any longer.
    pub took: Duration,
    /// What may be kept of the request, as JSON of at most [`Exchange::MAX_TEXT`] bytes.
    pub request: String,
    /// Likewise of the response.
    pub response: Option<String>,
}

/// The exchanges of a [recorded](crate::Client::recorded) client. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Record(Arc<Mutex<Vec<Exchange>>>);

impl Record {
    /// The last exchange since this was last called. None: no request was made.
    #[must_use]
    pub fn take(&self) -> Option<Exchange> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner)).pop()
    }

    pub(super) fn keep(&self, exchange: Exchange) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(exchange);
    }
}

/// What may be kept of a request.
const ASKED: [&str; 15] = [
    "TransactionId",
    "InvoiceId",
    "AccountId",
    "Amount",
    "Currency",
    "Description",
    "TrInitiatorCode",
    "PaymentScheduled",
    "SaveCard",
    "PageNumber",
    "CreatedDateGte",
    "CreatedDateLte",
    "TimeZone",
    "ReceiptType",
    "Type",
];

/// What may be kept of a response, beside its `Model`.
const SAID: [&str; 3] = ["Success", "Message", "ErrorCode"];

/// What may be kept of a `Model`.
const TOLD: [&str; 23] = [
    "Id",
    "TransactionId",
    "OriginalTransactionId",
    "Type",
    "OperationType",
    "InvoiceId",
    "AccountId",
    "Amount",
    "Currency",
    "PaymentAmount",
    "PaymentCurrency",
    "Status",
    "StatusCode",
    "Reason",
    "ReasonCode",
    "CardHolderMessage",
    "RetryAfter",
    "Refunded",
    "TestMode",
    "CreatedDateIso",
    "AuthDateIso",
    "ConfirmDateIso",
    "Description",
];

/// Longer values are left out, in bytes of JSON.
const MAX_VALUE: usize = 300;

/// Values of a request that may not be kept and are at least this long are looked for in the response, too.
const SECRET_FROM: usize = 12;

impl Exchange {
    /// The longest text of a request or a response, in bytes.
    pub const MAX_TEXT: usize = 4_096;

    pub(super) fn new(path: &'static str, request: &[u8], received: Option<&Received>, took: Duration) -> Self {
        let asked = fields(request).unwrap_or_default();
        let response = received.map(|received| {
            let secrets =
                asked.iter().filter(|(name, _)| !ASKED.contains(&name.as_str())).map(|(_, value)| value.as_ref());
            without(secrets, answer(&received.body))
        });
        let status = received.map(|received| received.status);
        Self { path, status, took, request: cut(object(&asked, &ASKED, None)), response: response.map(cut) }
    }
}

type Fields = HashMap<String, Box<RawValue>>;

fn fields(json: &[u8]) -> Option<Fields> {
    serde_json::from_slice(json).ok()
}

/// The object with these of its fields, and `more` behind them.
fn object(fields: &Fields, names: &[&str], more: Option<String>) -> String {
    let plain = |value: &&RawValue| value.get().len() <= MAX_VALUE && !value.get().starts_with(['{', '[']);
    let kept = names.iter().filter_map(|name| {
        let value = fields.get(*name).map(Box::as_ref).filter(plain)?;
        Some(format!("\"{name}\":{value}"))
    });
    let kept: Vec<String> = kept.chain(more).collect();
    format!("{{{}}}", kept.join(","))
}

fn answer(body: &[u8]) -> String {
    let Some(said) = fields(body) else { return format!("[{} bytes that are no JSON object]", body.len()) };
    let model = said.get("Model").map(|model| {
        if let Some(told) = fields(model.get().as_bytes()) {
            return object(&told, &TOLD, None);
        }
        let list: Vec<Fields> = serde_json::from_str(model.get()).unwrap_or_default();
        let told: Vec<String> = list.iter().map(|told| object(told, &TOLD, None)).collect();
        format!("[{}]", told.join(","))
    });
    object(&said, &SAID, model.map(|model| format!("\"Model\":{model}")))
}

/// The text without what a response has repeated of the request's secrets.
fn without<'a>(secrets: impl Iterator<Item = &'a RawValue>, text: String) -> String {
    let inner = |secret: &'a RawValue| secret.get().trim_matches('"');
    secrets.map(inner).filter(|secret| secret.len() >= SECRET_FROM).fold(text, |text, secret| text.replace(secret, "…"))
}

fn cut(text: String) -> String {
    const MORE: &str = "…";
    if text.len() <= Exchange::MAX_TEXT {
        return text;
    }
    let end = text.floor_char_boundary(Exchange::MAX_TEXT - MORE.len());
    format!("{}{MORE}", &text[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exchange(request: &str, body: &str) -> Exchange {
        let received = Received { status: 200, retry_after: None, body: body.as_bytes().to_vec() };
        Exchange::new("/payments/tokens/charge", request.as_bytes(), Some(&received), Duration::ZERO)
    }

    #[test]
    fn only_the_fields_of_the_list_are_kept_and_numbers_as_they_were_written() {
        let request =
            r#"{"Amount":399.00,"Currency":"RUB","Token":"tk_1234567890","IpAddress":"203.0.113.7","InvoiceId":"7"}"#;
        let body = r#"{"Success":true,"Message":null,"Model":{"TransactionId":12,"Status":"Completed","Token":"tk_9",
            "CardFirstSix":"424242","Amount":399.00,"JsonData":{"x":1},"Reason":{"TransactionId":"nested"}}}"#;
        let kept = exchange(request, body);
        assert_eq!(kept.request, r#"{"InvoiceId":"7","Amount":399.00,"Currency":"RUB"}"#);
        let response =
            r#"{"Success":true,"Message":null,"Model":{"TransactionId":12,"Amount":399.00,"Status":"Completed"}}"#;
        assert_eq!(kept.response.as_deref(), Some(response));
    }

    #[test]
    fn what_the_gateway_repeats_of_a_secret_is_not_kept() {
        let request = r#"{"Token":"tk_1234567890","Amount":1}"#;
        let kept = exchange(request, r#"{"Success":false,"Message":"no such token: tk_1234567890"}"#);
        assert_eq!(kept.response.as_deref(), Some(r#"{"Success":false,"Message":"no such token: …"}"#));
    }

    #[test]
    fn no_text_is_longer_than_the_table_takes() {
        let operation = r#"{"TransactionId":1,"CardHolderMessage":"Недостаточно средств"}"#;
        let list = format!(r#"{{"Success":true,"Model":[{}]}}"#, vec![operation; 500].join(","));
        let long = "я".repeat(10_000);
        for body in [list, format!(r#"{{"Success":true,"Message":"{long}"}}"#), long] {
            let kept = exchange("{}", &body).response.unwrap();
            assert!(kept.len() <= Exchange::MAX_TEXT, "{}", kept.len());
            assert!(!kept.contains("яя"), "{kept}");
        }
    }
}

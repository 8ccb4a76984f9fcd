//! Parameters of a request: JSON or form, names in any case, numbers as they were written.

use std::collections::{BTreeMap, HashMap};

use rust_decimal::{Decimal, prelude::ToPrimitive};
use serde_json::value::RawValue;

use crate::money::Amount;

/// Longest value of an ordinary field, in bytes. `JsonData` is limited by the body alone.
const MAX_TEXT: usize = 8 * 1024;

/// A request that cannot be read. The message is the answer's `Message`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct BadRequest(pub(crate) String);

impl BadRequest {
    pub(crate) fn about(field: &str, what: impl std::fmt::Display) -> Self {
        Self(format!("{field} {what}"))
    }
}

/// One value; numbers keep their digits.
enum Value {
    /// A text, a number or a boolean, as text.
    Plain(String),
    /// An array or an object, as JSON.
    Json(String),
}

/// Values by lower-case name. A name given several times has several values, of which single-valued fields take the
/// last. Not `Debug`: there are cryptograms and tokens among them.
#[derive(Default)]
pub(crate) struct Params(HashMap<String, Vec<Value>>);

impl Params {
    /// Reads a body by its content type; an empty body has no parameters, whatever its type. Without a content type the
    /// body's first character decides.
    pub(crate) fn parse(content_type: Option<&str>, body: &[u8]) -> Result<Self, BadRequest> {
        if body.trim_ascii().is_empty() {
            return Ok(Self::default());
        }
        let media = content_type.map(|value| value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase());
        match media.as_deref() {
            Some("application/json") => Self::from_json(body),
            Some("application/x-www-form-urlencoded") => Ok(Self::from_form(body)),
            None if body.trim_ascii_start().starts_with(b"{") => Self::from_json(body),
            None => Ok(Self::from_form(body)),
            Some(_) => {
                Err(BadRequest("Content-Type must be application/json or application/x-www-form-urlencoded".to_owned()))
            }
        }
    }

    fn from_json(body: &[u8]) -> Result<Self, BadRequest> {
        let fields: BTreeMap<String, Box<RawValue>> =
            serde_json::from_slice(body).map_err(|_| BadRequest("Request body is not a JSON object".to_owned()))?;
        let mut params = Self::default();
        for (name, raw) in fields {
            let raw = raw.get();
            let value = match raw.as_bytes().first() {
                Some(b'n') => continue,
                Some(b'"') => Value::Plain(
                    serde_json::from_str(raw).map_err(|_| BadRequest::about(&name, "is not a valid string"))?,
                ),
                Some(b'{' | b'[') => Value::Json(raw.to_owned()),
                _ => Value::Plain(raw.to_owned()),
            };
            params.push(&name, value);
        }
        Ok(params)
    }

    fn from_form(body: &[u8]) -> Self {
        let mut params = Self::default();
        for (name, value) in url::form_urlencoded::parse(body) {
            // `Statuses[]=…` and `Statuses[0]=…` are ways to write a list.
            let name = name.split('[').next().unwrap_or_default();
            params.push(name, Value::Plain(value.into_owned()));
        }
        params
    }

    fn push(&mut self, name: &str, value: Value) {
        self.0.entry(name.to_lowercase()).or_default().push(value);
    }

    /// A parameter that stands in the path.
    pub(crate) fn set(&mut self, name: &str, value: &str) {
        self.0.insert(name.to_lowercase(), vec![Value::Plain(value.to_owned())]);
    }

    fn values(&self, field: &str) -> &[Value] {
        self.0.get(&field.to_lowercase()).map_or(&[], Vec::as_slice)
    }

    /// A text, `None` if absent, null or empty.
    pub(crate) fn text(&self, field: &str) -> Result<Option<&str>, BadRequest> {
        match self.values(field).last() {
            None => Ok(None),
            Some(Value::Json(_)) => Err(BadRequest::about(field, "is invalid")),
            Some(Value::Plain(text)) if text.len() > MAX_TEXT => Err(BadRequest::about(field, "is too long")),
            Some(Value::Plain(text)) => Ok(Some(text.trim()).filter(|text| !text.is_empty())),
        }
    }

    pub(crate) fn required(&self, field: &str) -> Result<&str, BadRequest> {
        self.text(field)?.ok_or_else(|| BadRequest::about(field, "is required"))
    }

    pub(crate) fn owned(&self, field: &str) -> Result<Option<String>, BadRequest> {
        Ok(self.text(field)?.map(str::to_owned))
    }

    pub(crate) fn amount(&self, field: &str) -> Result<Amount, BadRequest> {
        Amount::parse(self.required(field)?).map_err(|error| BadRequest::about(field, error))
    }

    /// A fractional number in an integer field is rounded, as the gateway does.
    pub(crate) fn integer(&self, field: &str) -> Result<Option<i64>, BadRequest> {
        let Some(text) = self.text(field)? else { return Ok(None) };
        let number = Decimal::from_str_exact(text).ok().and_then(|number| number.round().to_i64());
        number.map(Some).ok_or_else(|| BadRequest::about(field, "is invalid"))
    }

    pub(crate) fn boolean(&self, field: &str) -> Result<Option<bool>, BadRequest> {
        match self.text(field)?.map(str::to_ascii_lowercase).as_deref() {
            None => Ok(None),
            Some("true" | "1") => Ok(Some(true)),
            Some("false" | "0") => Ok(Some(false)),
            Some(_) => Err(BadRequest::about(field, "is invalid")),
        }
    }

    /// JSON as text: an object or array as written, or the text itself. (Clients send both.)
    pub(crate) fn json(&self, field: &str) -> Option<String> {
        match self.values(field).last()? {
            Value::Json(json) => Some(json.clone()),
            Value::Plain(text) => Some(text.clone()).filter(|text| !text.is_empty()),
        }
    }

    /// A JSON array of texts, a repeated form field, or texts with commas between.
    pub(crate) fn list(&self, field: &str) -> Result<Vec<String>, BadRequest> {
        let mut list = Vec::new();
        for value in self.values(field) {
            match value {
                Value::Plain(text) => {
                    list.extend(text.split(',').map(str::trim).filter(|text| !text.is_empty()).map(str::to_owned));
                }
                Value::Json(json) => {
                    let items: Vec<String> =
                        serde_json::from_str(json).map_err(|_| BadRequest::about(field, "is invalid"))?;
                    list.extend(items);
                }
            }
        }
        Ok(list)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const JSON: Option<&str> = Some("application/json; charset=utf-8");
    const FORM: Option<&str> = Some("application/x-www-form-urlencoded");

    fn json(body: &str) -> Params {
        Params::parse(JSON, body.as_bytes()).unwrap()
    }

    #[test]
    fn names_are_read_in_any_case() {
        for body in [r#"{"AccountId":"a"}"#, r#"{"accountId":"a"}"#, r#"{"ACCOUNTID":"a"}"#] {
            assert_eq!(json(body).required("AccountId"), Ok("a"));
        }
        let form = Params::parse(FORM, b"accountid=a%2Bb+c").unwrap();
        assert_eq!(form.required("AccountId"), Ok("a+b c"));
    }

    #[test]
    fn null_and_empty_are_missing() {
        for body in ["{}", "", r#"{"Amount":null}"#, r#"{"Amount":""}"#, r#"{"Amount":"  "}"#] {
            assert_eq!(json(body).amount("Amount"), Err(BadRequest("Amount is required".to_owned())), "{body}");
        }
    }

    #[test]
    fn numbers_keep_their_digits() {
        assert_eq!(json(r#"{"Amount":59.50}"#).amount("Amount"), Ok(Amount::from_kopecks(5950)));
        assert_eq!(json(r#"{"Amount":"59.5"}"#).amount("Amount"), Ok(Amount::from_kopecks(5950)));
        let form = Params::parse(FORM, b"Amount=59.50").unwrap();
        assert_eq!(form.amount("Amount"), Ok(Amount::from_kopecks(5950)));
        assert_eq!(json(r#"{"InvoiceId":1234567}"#).text("InvoiceId"), Ok(Some("1234567")));
        assert_eq!(json(r#"{"Id":9007199254740993}"#).integer("Id"), Ok(Some(9_007_199_254_740_993)));
    }

    #[test]
    fn fractions_in_integers_are_rounded() {
        assert_eq!(json(r#"{"TransactionId":455.4}"#).integer("TransactionId"), Ok(Some(455)));
        assert_eq!(json(r#"{"TransactionId":"455"}"#).integer("TransactionId"), Ok(Some(455)));
        assert!(json(r#"{"TransactionId":"x"}"#).integer("TransactionId").is_err());
    }

    #[test]
    fn json_data_may_be_an_object_or_a_text() {
        assert_eq!(json(r#"{"JsonData":{"tariff": "basic"}}"#).json("JsonData").unwrap(), r#"{"tariff": "basic"}"#);
        assert_eq!(json(r#"{"JsonData":"{\"a\":1}"}"#).json("JsonData").unwrap(), r#"{"a":1}"#);
    }

    #[test]
    fn lists_may_be_arrays_or_repeated_form_fields() {
        let both = ["Authorized", "Declined"];
        assert_eq!(json(r#"{"Statuses":["Authorized","Declined"]}"#).list("Statuses").unwrap(), both);
        for form in ["Statuses=Authorized&Statuses=Declined", "Statuses[0]=Authorized&statuses[1]=Declined"] {
            assert_eq!(Params::parse(FORM, form.as_bytes()).unwrap().list("Statuses").unwrap(), both, "{form}");
        }
    }

    #[test]
    fn bodies_that_are_neither_json_nor_form_are_refused() {
        for (content_type, body) in [(JSON, "{"), (JSON, "[1]"), (JSON, "\"x\""), (Some("text/xml"), "<a/>")] {
            assert!(Params::parse(content_type, body.as_bytes()).is_err(), "{body}");
        }
    }
}

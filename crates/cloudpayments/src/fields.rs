//! Lenient reading of what the gateway sends: answers (JSON) and notifications (JSON or form).
//!
//! An object is a set of named scalars. A field that is absent, null, empty or of an unexpected type
//! is simply not there; whoever needs it says so. So a surprise in a field nobody needs cannot change
//! what we make of an answer.

use std::{borrow::Cow, collections::HashMap, fmt};

use chrono::{DateTime, Utc};
use rust_decimal::Decimal;
use secrecy::SecretString;
use serde::{Deserialize, Deserializer, de};
use serde_json::value::RawValue;

use crate::{Amount, date};

/// The fields of one object, by name.
#[derive(Default)]
pub(crate) struct Fields<'a> {
    by_name: HashMap<Cow<'a, str>, Value<'a>>,
}

/// A field that is there. Null and empty text are not.
enum Value<'a> {
    Text(Cow<'a, str>),
    /// A JSON number, as spelled.
    Number(&'a str),
    Boolean(bool),
    /// An object or an array, as spelled.
    Nested(&'a str),
    /// There, but not readable (a string with half a surrogate pair).
    Unreadable,
}

impl<'a> Fields<'a> {
    /// Reads a JSON object. A name that stands twice is an error: there is no telling which counts.
    pub(crate) fn from_json(body: &'a [u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(body)
    }

    /// Reads `name=value&…`, form-urlencoded or the query of a URL; of repeated names the first
    /// counts.
    pub(crate) fn from_form(body: &'a [u8]) -> Self {
        let mut by_name = HashMap::new();
        for (name, value) in url::form_urlencoded::parse(body) {
            if !value.is_empty() {
                by_name.entry(name).or_insert(Value::Text(value));
            }
        }
        Self { by_name }
    }

    /// Whether the field is there at all, whatever it holds.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.by_name.contains_key(name)
    }

    /// Text; a number or a boolean counts as its spelling (`InvoiceId` comes as either).
    pub(crate) fn text(&self, name: &str) -> Option<String> {
        self.spelled(name).map(str::to_owned)
    }

    /// Text nobody may see in a log.
    pub(crate) fn secret(&self, name: &str) -> Option<SecretString> {
        self.spelled(name).map(SecretString::from)
    }

    /// A whole number, also when it comes as text.
    pub(crate) fn integer(&self, name: &str) -> Option<i64> {
        self.spelled(name)?.parse().ok()
    }

    /// A sum of money, also when it comes as text.
    pub(crate) fn amount(&self, name: &str) -> Option<Amount> {
        self.spelled(name)?.parse().ok()
    }

    /// A fraction of any precision: fees are not whole kopecks.
    pub(crate) fn decimal(&self, name: &str) -> Option<Decimal> {
        Decimal::from_str_exact(self.spelled(name)?).ok()
    }

    /// A boolean, also as `1`, `"0"`, `"true"` or `"False"`.
    pub(crate) fn boolean(&self, name: &str) -> Option<bool> {
        let spelled = self.spelled(name)?;
        match spelled {
            "1" => Some(true),
            "0" => Some(false),
            _ if spelled.eq_ignore_ascii_case("true") => Some(true),
            _ if spelled.eq_ignore_ascii_case("false") => Some(false),
            _ => None,
        }
    }

    /// A moment in any of the gateway's spellings.
    pub(crate) fn moment(&self, name: &str) -> Option<DateTime<Utc>> {
        date::parse(self.spelled(name)?)
    }

    /// JSON: what a text holds, or a nested object or array as spelled.
    pub(crate) fn json(&self, name: &str) -> Option<String> {
        match self.by_name.get(name)? {
            Value::Nested(json) => Some((*json).to_owned()),
            _ => self.text(name),
        }
    }

    /// An object or an array as spelled.
    pub(crate) fn nested(&self, name: &str) -> Option<&'a str> {
        match self.by_name.get(name)? {
            Value::Nested(json) => Some(json),
            _ => None,
        }
    }

    fn spelled(&self, name: &str) -> Option<&str> {
        match self.by_name.get(name)? {
            Value::Text(text) => Some(text),
            Value::Number(number) => Some(number),
            Value::Boolean(true) => Some("true"),
            Value::Boolean(false) => Some("false"),
            Value::Nested(_) | Value::Unreadable => None,
        }
    }
}

impl<'a> Value<'a> {
    /// None for null and for empty text.
    fn of(raw: &'a RawValue) -> Option<Self> {
        let json = raw.get();
        match json.as_bytes().first() {
            Some(b'"') => match serde_json::from_str::<String>(json) {
                Ok(text) if text.is_empty() => None,
                Ok(text) => Some(Self::Text(text.into())),
                Err(_) => Some(Self::Unreadable),
            },
            Some(b't') => Some(Self::Boolean(true)),
            Some(b'f') => Some(Self::Boolean(false)),
            Some(b'{' | b'[') => Some(Self::Nested(json)),
            Some(b'n') | None => None,
            Some(_) => Some(Self::Number(json)),
        }
    }
}

impl<'de> Deserialize<'de> for Fields<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Visitor)
    }
}

struct Visitor;

impl<'de> de::Visitor<'de> for Visitor {
    type Value = Fields<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut fields = HashMap::new();
        while let Some((name, raw)) = map.next_entry::<String, &'de RawValue>()? {
            if fields.insert(name, raw).is_some() {
                return Err(de::Error::custom("a field stands twice"));
            }
        }
        let by_name = fields.into_iter().filter_map(|(name, raw)| Some((name.into(), Value::of(raw)?))).collect();
        Ok(Fields { by_name })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scalar_is_read_whatever_type_it_came_as() {
        let json = br#"{"A":12,"B":"12","C":true,"D":"False","E":1,"F":59.50,"G":"x","H":""}"#;
        let fields = Fields::from_json(json).unwrap();
        assert_eq!(fields.text("A").as_deref(), Some("12"));
        assert_eq!(fields.integer("B"), Some(12));
        assert_eq!(fields.boolean("C"), Some(true));
        assert_eq!(fields.boolean("D"), Some(false));
        assert_eq!(fields.boolean("E"), Some(true));
        assert_eq!(fields.amount("F"), Some(Amount::from_kopecks(5950)));
        assert_eq!(fields.integer("G"), None);
        assert!(fields.has("G") && !fields.has("H"));
    }

    #[test]
    fn null_and_the_unexpected_are_absent_values() {
        let json = br#"{"A":null,"B":{"x":1},"C":[1],"D":"\ud800"}"#;
        let fields = Fields::from_json(json).unwrap();
        assert!(!fields.has("A") && fields.has("B") && fields.has("D"));
        for name in ["A", "B", "C", "D"] {
            assert_eq!(fields.text(name), None, "{name}");
        }
        assert_eq!(fields.json("B").as_deref(), Some(r#"{"x":1}"#));
        assert_eq!(fields.nested("C"), Some("[1]"));
    }

    #[test]
    fn a_name_that_stands_twice_is_an_error_in_json() {
        assert!(Fields::from_json(br#"{"Status":"Declined","Status":"Completed"}"#).is_err());
    }

    #[test]
    fn forms_are_decoded_and_empty_values_are_absent() {
        let fields = Fields::from_form(b"Name=CARD+HOLDER&City=%d0%9c&Message=&Name=second");
        assert_eq!(fields.text("Name").as_deref(), Some("CARD HOLDER"));
        assert_eq!(fields.text("City").as_deref(), Some("М"));
        assert!(!fields.has("Message"));
    }
}

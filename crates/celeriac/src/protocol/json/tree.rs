//! A JSON value as a tree: exact numbers, keys in their order, kombu's type tags kept apart.

use std::borrow::Cow;

use super::JsonError;
use super::scan::Scanner;

/// A JSON value. Unlike `serde_json::Value` it keeps the order of keys and every digit of a number.
#[derive(Clone, Debug, PartialEq)]
pub enum Json {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// An integer that fits.
    Int(i128),
    /// Any other number, as it was written: beyond 128 bits, or with a fraction or an exponent, `NaN`, `-Infinity`.
    Number(String),
    /// A string, its escapes resolved.
    Str(String),
    /// `[…]`
    List(Vec<Json>),
    /// `{…}`, its keys in the order of the text. Of a key that stands twice, [`get`](Self::get) answers the first.
    Object(Vec<(String, Json)>),
    /// `{"__type__": …, "__value__": …}` (`kombu/utils/json.py`).
    Tagged(Tagged),
}

/// What kombu writes for the Python values that JSON does not have.
#[derive(Clone, Debug, PartialEq)]
pub enum Tagged {
    /// ISO 8601, with or without an offset.
    DateTime(String),
    /// ISO 8601.
    Date(String),
    /// ISO 8601, with or without an offset.
    Time(String),
    /// Its value is `{"hex": …}`.
    Uuid(uuid::Uuid),
    /// The digits as Python's `Decimal` prints them.
    Decimal(String),
    /// `bytes`; sent as text where that is UTF-8, else in base64.
    Bytes(Vec<u8>),
    /// A tag that kombu does not know; reading the value is an error.
    Unknown {
        /// `__type__`
        tag: String,
        /// `__value__`
        value: Box<Json>,
        /// Why it cannot be read.
        reason: &'static str,
    },
}

impl Json {
    /// Reads text that a scanner has checked.
    pub(super) fn from_checked(text: &[u8]) -> Self {
        // A checked text cannot fail; were it to, an absent value is the safest reading.
        Self::scan(&mut Scanner::new(text), 0).unwrap_or(Self::Null)
    }

    /// The text of a string; `None` for all else.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::Str(text) => Some(text),
            _ => None,
        }
    }

    /// A number as the nearest double.
    #[must_use]
    pub fn as_f64(&self) -> Option<f64> {
        match self {
            Self::Int(number) => Some(*number as f64),
            Self::Number(text) => Some(float(text)),
            _ => None,
        }
    }

    /// The value of a key of an object.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Self> {
        match self {
            Self::Object(entries) => entries.iter().find(|(name, _)| name == key).map(|(_, value)| value),
            _ => None,
        }
    }

    /// It is `null`.
    #[must_use]
    pub fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    fn scan(scanner: &mut Scanner<'_>, depth: usize) -> Result<Self, JsonError> {
        scanner.skip_space();
        match scanner.peek() {
            Some(b'{') => {
                let mut entries = Vec::new();
                scanner.object(depth, |scanner, key, depth| {
                    let key = unescape(scanner.slice(key)).into_owned();
                    entries.push((key, Self::scan(scanner, depth)?));
                    Ok(())
                })?;
                Ok(Self::object(entries))
            }
            Some(b'[') => {
                let mut elements = Vec::new();
                scanner.list(depth, |scanner, depth| {
                    elements.push(Self::scan(scanner, depth)?);
                    Ok(())
                })?;
                Ok(Self::List(elements))
            }
            _ => {
                let range = scanner.value(depth)?;
                Ok(Self::scalar(scanner.slice(range)))
            }
        }
    }

    fn scalar(text: &[u8]) -> Self {
        match text {
            b"null" => Self::Null,
            b"true" => Self::Bool(true),
            b"false" => Self::Bool(false),
            [b'"', ..] => Self::Str(unescape(text).into_owned()),
            number => {
                let number = String::from_utf8_lossy(number);
                number.parse().map_or_else(|_| Self::Number(number.into_owned()), Self::Int)
            }
        }
    }

    /// An object, unless it is one of kombu's tags: exactly the two keys (`kombu/utils/json.py`, `object_hook`).
    pub(super) fn object(entries: Vec<(String, Self)>) -> Self {
        let value = Self::Object(entries);
        match (&value, value.get("__type__"), value.get("__value__")) {
            (Self::Object(entries), Some(Self::Str(tag)), Some(inner)) if entries.len() == 2 => {
                Self::Tagged(Tagged::resolve(tag, inner))
            }
            _ => value,
        }
    }
}

impl From<&str> for Json {
    fn from(text: &str) -> Self {
        Self::Str(text.to_owned())
    }
}

impl From<String> for Json {
    fn from(text: String) -> Self {
        Self::Str(text)
    }
}

impl From<bool> for Json {
    fn from(flag: bool) -> Self {
        Self::Bool(flag)
    }
}

impl From<i32> for Json {
    fn from(number: i32) -> Self {
        Self::Int(number.into())
    }
}

impl From<i64> for Json {
    fn from(number: i64) -> Self {
        Self::Int(number.into())
    }
}

impl From<u64> for Json {
    fn from(number: u64) -> Self {
        Self::Int(number.into())
    }
}

impl From<f64> for Json {
    /// As Python writes it: `NaN` and `Infinity` too.
    fn from(number: f64) -> Self {
        Self::Number(match number {
            number if number.is_nan() => "NaN".to_owned(),
            number if number.is_infinite() => if number > 0.0 { "Infinity" } else { "-Infinity" }.to_owned(),
            number => format!("{number:?}"),
        })
    }
}

impl From<Tagged> for Json {
    fn from(tagged: Tagged) -> Self {
        Self::Tagged(tagged)
    }
}

impl<T: Into<Json>> From<Option<T>> for Json {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

impl<T: Into<Json>> From<Vec<T>> for Json {
    fn from(elements: Vec<T>) -> Self {
        Self::List(elements.into_iter().map(Into::into).collect())
    }
}

impl Tagged {
    fn resolve(tag: &str, value: &Json) -> Self {
        let text = value.as_str();
        let unknown = |reason| Self::Unknown { tag: tag.to_owned(), value: Box::new(value.clone()), reason };
        let resolved = match tag {
            "datetime" => text.map(|text| Self::DateTime(text.to_owned())),
            "date" => text.map(|text| Self::Date(text.to_owned())),
            "time" => text.map(|text| Self::Time(text.to_owned())),
            "decimal" => text.map(|text| Self::Decimal(text.to_owned())),
            "uuid" => value.get("hex").and_then(Json::as_str).and_then(|hex| hex.parse().ok()).map(Self::Uuid),
            "bytes" => text.map(|text| Self::Bytes(text.as_bytes().to_vec())),
            "base64" => text.and_then(Self::from_base64),
            _ => return unknown("no such type"),
        };
        resolved.unwrap_or_else(|| unknown("the value does not fit the type"))
    }
}

/// The nearest double, as Python's `float` reads it.
pub(super) fn float(text: &str) -> f64 {
    match text {
        "NaN" => f64::NAN,
        "Infinity" => f64::INFINITY,
        "-Infinity" => f64::NEG_INFINITY,
        number => number.parse().unwrap_or(f64::NAN),
    }
}

/// What the value says, without its type.
impl std::fmt::Display for Tagged {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::DateTime(text) | Self::Date(text) | Self::Time(text) | Self::Decimal(text) => f.write_str(text),
            Self::Uuid(uuid) => uuid.fmt(f),
            Self::Bytes(bytes) => f.write_str(&String::from_utf8_lossy(bytes)),
            Self::Unknown { tag, .. } => write!(f, "<{tag}>"),
        }
    }
}

/// The text of a checked JSON string (with its quotes). A surrogate without its other half becomes U+FFFD.
pub(super) fn unescape(quoted: &[u8]) -> Cow<'_, str> {
    let inner = quoted.get(1..quoted.len().saturating_sub(1)).unwrap_or_default();
    // Cut at ASCII bytes, so every part is UTF-8 and `lossy` borrows.
    let text = String::from_utf8_lossy(inner);
    if !text.contains('\\') {
        return text;
    }
    let mut plain = String::with_capacity(text.len());
    let mut rest = &*text;
    while let Some(at) = rest.find('\\') {
        plain.push_str(&rest[..at]);
        rest = unescape_one(&rest[at + 1..], &mut plain);
    }
    plain.push_str(rest);
    Cow::Owned(plain)
}

/// Resolves the escape that `text` begins with (behind its backslash); answers what follows it.
fn unescape_one<'a>(text: &'a str, plain: &mut String) -> &'a str {
    let mut rest = text.chars();
    plain.push(match rest.next() {
        Some('b') => '\u{8}',
        Some('f') => '\u{c}',
        Some('n') => '\n',
        Some('r') => '\r',
        Some('t') => '\t',
        Some('u') => return unescape_unicode(rest.as_str(), plain),
        Some(same) => same,
        None => return "",
    });
    rest.as_str()
}

fn unescape_unicode<'a>(text: &'a str, plain: &mut String) -> &'a str {
    let unit = |text: &str| text.get(..4).and_then(|digits| u16::from_str_radix(digits, 16).ok());
    let Some(first) = unit(text) else { return text };
    let rest = &text[4..];
    let second = rest.strip_prefix("\\u").and_then(unit);
    match (char::decode_utf16([first]).next(), second) {
        (Some(Ok(character)), _) => plain.push(character),
        (_, Some(second)) if let Some(Ok(pair)) = char::decode_utf16([first, second]).next() => {
            plain.push(pair);
            return &rest[6..];
        }
        _ => plain.push(char::REPLACEMENT_CHARACTER),
    }
    rest
}

//! Which Rust types are written with kombu's type tags.

use std::any::TypeId;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, FixedOffset, Local, NaiveDate, NaiveDateTime, NaiveTime, Utc};
use uuid::Uuid;

use super::JsonError;
use super::tree::{Json, Tagged};
use crate::protocol::time::{isoformat, isoformat_time, parse_naive, parse_offset};

/// A type of Python's that JSON does not have (`kombu/utils/json.py`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tag {
    /// `datetime.datetime`, with or without an offset from UTC.
    DateTime,
    /// `datetime.date`
    Date,
    /// `datetime.time`
    Time,
    /// `decimal.Decimal`
    Decimal,
    /// `uuid.UUID`
    Uuid,
    /// `bytes`
    Bytes,
}

/// The Rust types whose values Python gets as its own types, for [`AppBuilder::type_tags`](crate::AppBuilder::type_tags).
///
/// ```
/// use celeriac::tagged::{Tag, TypeTags};
///
/// # struct BigDecimal;
/// let tags = TypeTags::known().with::<BigDecimal>(Tag::Decimal);
/// ```
///
/// A value is found by its type wherever it stands: in a field, an `Option`, a list, a map, behind `&`, `Box`, `Rc` or
/// `Arc`. Not found is what `serde` writes under another type: with `#[serde(with = "…")]`, which decides for itself, and in a
/// `#[serde(transparent)]` struct or an untagged enum; name such a type by [`with`](Self::with).
#[derive(Clone, Debug, Default)]
pub struct TypeTags(HashMap<TypeId, Tag>);

impl TypeTags {
    /// No types at all. What is written as bytes (`serde_bytes`) is tagged nevertheless.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// `rust_decimal::Decimal` (with the feature of that name, which is on by default), `uuid::Uuid`, and chrono's times:
    /// `DateTime` of `Utc`, `FixedOffset` and `Local`, `NaiveDateTime`, `NaiveDate`, `NaiveTime`.
    #[must_use]
    pub fn known() -> Self {
        let tags = Self::none()
            .with::<DateTime<Utc>>(Tag::DateTime)
            .with::<DateTime<FixedOffset>>(Tag::DateTime)
            .with::<DateTime<Local>>(Tag::DateTime)
            .with::<NaiveDateTime>(Tag::DateTime)
            .with::<NaiveDate>(Tag::Date)
            .with::<NaiveTime>(Tag::Time)
            .with::<Uuid>(Tag::Uuid);
        #[cfg(feature = "rust_decimal")]
        let tags = tags.with::<rust_decimal::Decimal>(Tag::Decimal);
        tags
    }

    /// Adds a type. It must be written by its `Serialize` as text that Python's constructor reads, a decimal as text or a
    /// number, bytes as a list or as bytes.
    #[must_use]
    pub fn with<T: 'static>(mut self, tag: Tag) -> Self {
        let types = [
            TypeId::of::<T>(),
            TypeId::of::<&T>(),
            TypeId::of::<Box<T>>(),
            TypeId::of::<Rc<T>>(),
            TypeId::of::<Arc<T>>(),
        ];
        self.0.extend(types.map(|id| (id, tag)));
        self
    }

    pub(super) fn of<T: ?Sized>(&self) -> Option<Tag> {
        self.0.get(&typeid::of::<T>()).copied()
    }
}

impl Tag {
    /// Tags all values in a tree: one, or those of a list, an object or an option.
    pub(crate) fn apply(self, json: Json) -> Result<Json, JsonError> {
        match json {
            Json::Null | Json::Tagged(_) => Ok(json),
            Json::List(elements) if self == Self::Bytes => match bytes(&elements) {
                Some(bytes) => Ok(Tagged::Bytes(bytes).into()),
                None => self.apply_all(elements),
            },
            Json::List(elements) => self.apply_all(elements),
            Json::Object(entries) => {
                let tagged = entries.into_iter().map(|(key, value)| Ok((key, self.apply(value)?)));
                tagged.collect::<Result<_, JsonError>>().map(Json::Object)
            }
            Json::Str(text) => self.text(&text),
            Json::Int(number) if self == Self::Decimal => Ok(Tagged::Decimal(number.to_string()).into()),
            Json::Number(text) if self == Self::Decimal => Ok(Tagged::Decimal(text).into()),
            Json::Int(_) | Json::Number(_) | Json::Bool(_) => Err(self.refused()),
        }
    }

    fn apply_all(self, elements: Vec<Json>) -> Result<Json, JsonError> {
        let tagged = elements.into_iter().map(|element| self.apply(element));
        tagged.collect::<Result<_, JsonError>>().map(Json::List)
    }

    /// Text as Python writes it: `chrono` writes `Z` and nanoseconds, which Python reads from 3.11 on only.
    fn text(self, text: &str) -> Result<Json, JsonError> {
        let tagged = match self {
            Self::DateTime => {
                let naive = || parse_naive(text).and_then(|time| isoformat(time, None));
                let time = parse_offset(text);
                let written = time.map_or_else(naive, |time| isoformat(time.naive_local(), Some(*time.offset())));
                written.map(Tagged::DateTime)
            }
            Self::Date => {
                text.parse::<NaiveDate>().ok().filter(is_in_pythons_calendar).map(|date| Tagged::Date(date.to_string()))
            }
            Self::Time => text.parse::<NaiveTime>().ok().map(|time| Tagged::Time(isoformat_time(time))),
            Self::Decimal => is_decimal(text).then(|| Tagged::Decimal(text.to_owned())),
            Self::Uuid => text.parse().ok().map(Tagged::Uuid),
            Self::Bytes => Some(Tagged::Bytes(text.as_bytes().to_vec())),
        };
        tagged.map(Json::Tagged).ok_or_else(|| self.refused())
    }

    fn refused(self) -> JsonError {
        let expected = match self {
            Self::DateTime => "a datetime of the years 1 to 9999 in ISO 8601",
            Self::Date => "a date of the years 1 to 9999 in ISO 8601",
            Self::Time => "a time of a day in ISO 8601",
            Self::Decimal => "a decimal number",
            Self::Uuid => "a UUID",
            Self::Bytes => "bytes",
        };
        JsonError::Type(format!("the value is not written as {expected}, which its type tag needs"))
    }
}

fn is_in_pythons_calendar(date: &NaiveDate) -> bool {
    use chrono::Datelike as _;
    (1..=9999).contains(&date.year())
}

/// A list of bytes, as `serde` writes a `Vec<u8>`.
fn bytes(elements: &[Json]) -> Option<Vec<u8>> {
    let byte = |element: &Json| match element {
        Json::Int(number) => u8::try_from(*number).ok(),
        _ => None,
    };
    elements.iter().map(byte).collect()
}

/// What Python's `Decimal` reads: `12.50`, `-1E+3`, `NaN`, `Infinity`.
fn is_decimal(text: &str) -> bool {
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    let is_number = digits.starts_with(|first: char| first.is_ascii_digit() || first == '.')
        && digits.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b'e' | b'E' | b'+' | b'-'))
        && digits.parse::<f64>().is_ok();
    is_number || matches!(digits, "NaN" | "sNaN" | "Infinity" | "Inf")
}

impl Tagged {
    /// A decimal number, by what it prints: `12.50`.
    ///
    /// # Errors
    /// It prints something else.
    pub fn decimal(number: impl std::fmt::Display) -> Result<Self, JsonError> {
        match Tag::Decimal.text(&number.to_string())? {
            Json::Tagged(tagged) => Ok(tagged),
            _ => Err(Tag::Decimal.refused()),
        }
    }

    /// Bytes from base64.
    pub(super) fn from_base64(text: &str) -> Option<Self> {
        STANDARD.decode(text).ok().map(Self::Bytes)
    }
}

/// As kombu writes them: a value that has a type in Python is tagged wherever it is turned into a tree by `into`.
macro_rules! tagged {
    ($($type:ty: $tag:ident),*) => {
        $(impl From<$type> for Json {
            fn from(value: $type) -> Self {
                let text = value.to_string();
                Tag::$tag.text(&text).unwrap_or(Self::Str(text))
            }
        })*
    };
}

tagged!(NaiveDate: Date, NaiveTime: Time, Uuid: Uuid);
#[cfg(feature = "rust_decimal")]
tagged!(rust_decimal::Decimal: Decimal);

impl From<NaiveDateTime> for Json {
    fn from(time: NaiveDateTime) -> Self {
        isoformat(time, None).map_or_else(|| Self::Str(time.to_string()), |text| Tagged::DateTime(text).into())
    }
}

impl<Z: chrono::TimeZone> From<DateTime<Z>> for Json {
    fn from(time: DateTime<Z>) -> Self {
        let time = time.fixed_offset();
        let written = isoformat(time.naive_local(), Some(*time.offset()));
        written.map_or_else(|| Self::Str(time.to_rfc3339()), |text| Tagged::DateTime(text).into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(tag: Tag, text: &str) -> Option<String> {
        let json = tag.apply(text.into()).ok()?;
        let mut out = Vec::new();
        json.write(&mut out);
        Some(String::from_utf8(out).unwrap())
    }

    #[test]
    fn what_rust_writes_is_written_as_python_writes_it() {
        for (tag, text, expected) in [
            (Tag::DateTime, "2026-11-29T17:43:38Z", "2026-11-29T17:43:38+00:00"),
            (Tag::DateTime, "2026-11-29T17:43:38.123456789+03:00", "2026-11-29T17:43:38.123456+03:00"),
            (Tag::DateTime, "2026-11-29T17:43:38.5", "2026-11-29T17:43:38.500000"),
            (Tag::DateTime, "0001-01-01T00:00:00", "0001-01-01T00:00:00"),
            (Tag::DateTime, "2016-12-31T23:59:60Z", "2016-12-31T23:59:59.999999+00:00"),
            (Tag::Date, "2026-11-29", "2026-11-29"),
            (Tag::Time, "17:43:38.000001", "17:43:38.000001"),
            (Tag::Time, "17:43:00", "17:43:00"),
            (Tag::Decimal, "-12.50", "-12.50"),
            (Tag::Decimal, "1E+3", "1E+3"),
        ] {
            let tag_name = format!("{tag:?}").to_lowercase();
            let expected = format!(r#"{{"__type__":"{tag_name}","__value__":"{expected}"}}"#);
            assert_eq!(written(tag, text), Some(expected), "{text}");
        }
        let uuid = written(Tag::Uuid, "6ba7b810-9dad-11d1-80b4-00c04fd430c8").unwrap();
        assert_eq!(uuid, r#"{"__type__":"uuid","__value__":{"hex":"6ba7b8109dad11d180b400c04fd430c8"}}"#);
    }

    #[test]
    fn what_python_could_not_read_is_refused() {
        for (tag, text) in [
            (Tag::DateTime, "tomorrow"),
            (Tag::DateTime, "+12026-11-29T17:43:38Z"),
            (Tag::DateTime, "0000-01-01T00:00:00"),
            (Tag::Date, "+12026-11-29"),
            (Tag::Time, "25:00:00"),
            (Tag::Decimal, "12,50"),
            (Tag::Decimal, "0x10"),
            (Tag::Decimal, ""),
            (Tag::Decimal, "infinitely many"),
            (Tag::Uuid, "none"),
        ] {
            assert_eq!(written(tag, text), None, "{tag:?} {text}");
        }
        assert!(Tag::DateTime.apply(Json::Int(5)).is_err() && Tag::Decimal.apply(Json::Bool(true)).is_err());
    }
}

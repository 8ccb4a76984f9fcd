//! Typed values from JSON text: by `serde_json` where the text allows it, else from the tree.

use serde::de::value::{MapDeserializer, SeqDeserializer};
use serde::de::{self, DeserializeSeed, Deserializer, IntoDeserializer, Visitor};
use serde::forward_to_deserialize_any;

use super::JsonError;
use super::by_serde::{TREE, Whole};
use super::tree::{Json, Tagged, float};
use crate::protocol::time::{parse_naive, parse_offset};

/// Reads one checked value.
pub(super) fn value<'de, S: DeserializeSeed<'de>>(
    text: &'de [u8],
    plain: bool,
    seed: S,
) -> Result<S::Value, JsonError> {
    if plain {
        let mut deserializer = serde_json::Deserializer::from_slice(text);
        let read = seed.deserialize(&mut deserializer);
        return read.map_err(|error| in_words(text, JsonError::Type(without_position(&error))));
    }
    seed.deserialize(Json::from_checked(text))
}

/// Says of the text of a string that is a time why it is of no use, where that may be its offset from UTC.
fn in_words(text: &[u8], error: JsonError) -> JsonError {
    match text {
        [b'"', text @ .., b'"'] if text.len() <= LONGEST_TIME => match std::str::from_utf8(text) {
            Ok(text) => of_time(text, error),
            Err(_) => error,
        },
        _ => error,
    }
}

/// `2026-11-29T17:43:38.123456789+03:00:00` and some room.
const LONGEST_TIME: usize = 48;

/// Python's naive times have no offset from UTC, and none is made up here.
fn of_time(text: &str, error: JsonError) -> JsonError {
    let JsonError::Type(reason) = &error else { return error };
    let has_time = text.contains(':');
    let words = if parse_offset(text).is_some() {
        "a time with an offset from UTC does not fit: read it as chrono::DateTime"
    } else if parse_naive(text).is_none() {
        return error;
    } else if has_time {
        "a time without an offset from UTC (a naive datetime of Python) does not fit: \
         send it with a time zone, or read it as chrono::NaiveDateTime"
    } else {
        "a date, without a time and an offset from UTC, does not fit: read it as chrono::NaiveDate"
    };
    JsonError::Type(format!("{words} ({reason})"))
}

/// `serde_json` counts lines and columns from the start of the slice, which says nothing to who sees the message.
fn without_position(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text.rfind(" at line ") {
        Some(end) if error.line() > 0 => text[..end].to_owned(),
        _ => text,
    }
}

impl<'de> IntoDeserializer<'de, JsonError> for Json {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

impl<'de> Deserializer<'de> for Json {
    type Error = JsonError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, JsonError> {
        match self {
            Self::Null => visitor.visit_unit(),
            Self::Bool(value) => visitor.visit_bool(value),
            Self::Int(value) => match (i64::try_from(value), u64::try_from(value)) {
                (Ok(value), _) => visitor.visit_i64(value),
                (_, Ok(value)) => visitor.visit_u64(value),
                _ => visitor.visit_i128(value),
            },
            Self::Number(text) => visitor.visit_f64(float(&text)),
            Self::Str(text) if text.len() <= LONGEST_TIME => {
                visitor.visit_str(&text).map_err(|error| of_time(&text, error))
            }
            Self::Str(text) => visitor.visit_string(text),
            Self::List(elements) => {
                let mut elements = SeqDeserializer::new(elements.into_iter());
                let value = visitor.visit_seq(&mut elements)?;
                elements.end()?;
                Ok(value)
            }
            Self::Object(entries) => {
                let mut entries = MapDeserializer::new(entries.into_iter());
                let value = visitor.visit_map(&mut entries)?;
                entries.end()?;
                Ok(value)
            }
            Self::Tagged(tagged) => tagged.visit(visitor),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, JsonError> {
        match self {
            Self::Null => visitor.visit_none(),
            value => visitor.visit_some(value),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, JsonError> {
        if name == TREE {
            return visitor.visit_newtype_struct(Whole(self));
        }
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, JsonError> {
        match self {
            Self::Str(variant) => visitor.visit_enum(variant.into_deserializer()),
            Self::Object(entries) if entries.len() == 1 => {
                visitor.visit_enum(de::value::MapAccessDeserializer::new(MapDeserializer::new(entries.into_iter())))
            }
            other => other.deserialize_any(visitor),
        }
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, JsonError> {
        match self {
            Self::Tagged(Tagged::Bytes(bytes)) => visitor.visit_seq(SeqDeserializer::new(bytes.into_iter())),
            other => other.deserialize_any(visitor),
        }
    }

    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, JsonError> {
        match self {
            Self::Tagged(Tagged::Bytes(bytes)) => visitor.visit_byte_buf(bytes),
            other => other.deserialize_any(visitor),
        }
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, JsonError> {
        self.deserialize_bytes(visitor)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, JsonError> {
        visitor.visit_unit()
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string unit unit_struct tuple tuple_struct map
        struct identifier
    }
}

impl Tagged {
    fn visit<'de, V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, JsonError> {
        match self {
            Self::DateTime(text) | Self::Date(text) => visitor.visit_str(&text).map_err(|error| of_time(&text, error)),
            Self::Time(text) | Self::Decimal(text) => visitor.visit_string(text),
            Self::Uuid(uuid) => visitor.visit_string(uuid.to_string()),
            Self::Bytes(bytes) => match String::from_utf8(bytes) {
                Ok(text) => visitor.visit_string(text),
                Err(error) => visitor.visit_byte_buf(error.into_bytes()),
            },
            Self::Unknown { tag, reason, .. } => Err(JsonError::Tag { tag, reason: reason.to_owned() }),
        }
    }
}

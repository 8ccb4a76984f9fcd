//! Trees and tagged values as `serde` sees them: an object of the two keys `__type__` and `__value__` for a tag.

use std::fmt;

use serde::de::value::{MapAccessDeserializer, MapDeserializer};
use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::ser::{Error as _, Serialize, SerializeMap, SerializeSeq, Serializer};
use serde_json::value::RawValue;

use super::JsonError;
use super::tree::{Json, Tagged};

/// Exact in JSON: `serde_json` writes every digit. What is no number (`NaN`) is `null` there, as for floats.
impl Serialize for Json {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => serializer.serialize_unit(),
            Self::Bool(flag) => serializer.serialize_bool(*flag),
            Self::Int(number) => match (i64::try_from(*number), u64::try_from(*number)) {
                (Ok(number), _) => serializer.serialize_i64(number),
                (_, Ok(number)) => serializer.serialize_u64(number),
                _ => serializer.serialize_i128(*number),
            },
            Self::Number(text) => match text.parse::<f64>() {
                Ok(number) if format!("{number:?}") == *text => serializer.serialize_f64(number),
                Ok(number) if !number.is_finite() && !text.contains(char::is_numeric) => {
                    serializer.serialize_f64(number)
                }
                _ => RawValue::from_string(text.clone()).map_err(S::Error::custom)?.serialize(serializer),
            },
            Self::Str(text) => serializer.serialize_str(text),
            Self::List(elements) => {
                let mut list = serializer.serialize_seq(Some(elements.len()))?;
                elements.iter().try_for_each(|element| list.serialize_element(element))?;
                list.end()
            }
            Self::Object(entries) => {
                let mut object = serializer.serialize_map(Some(entries.len()))?;
                entries.iter().try_for_each(|(key, value)| object.serialize_entry(key, value))?;
                object.end()
            }
            Self::Tagged(tagged) => tagged.serialize(serializer),
        }
    }
}

impl Serialize for Tagged {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (tag, value) = self.parts();
        let mut object = serializer.serialize_map(Some(2))?;
        object.serialize_entry("__type__", tag)?;
        object.serialize_entry("__value__", &value)?;
        object.end()
    }
}

/// By this name our own text is asked for trees with their tags.
pub(super) const TREE: &str = "$celeriac::Json";

/// With its tags. Numbers that fit neither 64 bits nor a double are rounded; [`RawJson`](super::RawJson) keeps them.
impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_newtype_struct(TREE, Tree)
    }
}

impl<'de> Deserialize<'de> for Tagged {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Json::deserialize(deserializer)? {
            Json::Tagged(tagged) => Ok(tagged),
            _ => Err(de::Error::custom("a value with a type tag expected")),
        }
    }
}

struct Tree;

impl<'de> Visitor<'de> for Tree {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<Json, D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_none<E>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Json, D::Error> {
        Json::deserialize(deserializer)
    }

    fn visit_bool<E>(self, flag: bool) -> Result<Json, E> {
        Ok(Json::Bool(flag))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Json, E> {
        Ok(number.into())
    }

    fn visit_u64<E>(self, number: u64) -> Result<Json, E> {
        Ok(number.into())
    }

    fn visit_i128<E>(self, number: i128) -> Result<Json, E> {
        Ok(Json::Int(number))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Json, E> {
        Ok(number.into())
    }

    fn visit_str<E>(self, text: &str) -> Result<Json, E> {
        Ok(text.into())
    }

    fn visit_string<E>(self, text: String) -> Result<Json, E> {
        Ok(Json::Str(text))
    }

    fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Json, E> {
        Ok(Json::Tagged(Tagged::Bytes(bytes.to_vec())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Json, A::Error> {
        let mut elements = Vec::new();
        while let Some(element) = list.next_element()? {
            elements.push(element);
        }
        Ok(Json::List(elements))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Json, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = object.next_entry()? {
            entries.push(entry);
        }
        Ok(Json::object(entries))
    }
}

/// A tree that is read as a tree: tags are objects, as they stand in the text.
pub(super) struct Whole(pub(super) Json);

impl<'de> Deserializer<'de> for Whole {
    type Error = JsonError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, JsonError> {
        match self.0 {
            Json::Tagged(tagged) => {
                let (tag, value) = tagged.parts();
                let entries = [("__type__", Json::from(tag)), ("__value__", value)];
                MapAccessDeserializer::new(MapDeserializer::new(entries.into_iter())).deserialize_any(visitor)
            }
            other => other.deserialize_any(visitor),
        }
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

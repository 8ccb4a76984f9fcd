//! Any value as a tree, by its `Serialize`.

use std::fmt::Display;

use serde::Serialize;
use serde::ser::{self, Impossible};

use super::JsonError;
use super::raw::RawJson;
use super::tree::{Json, Tagged};
use super::type_tags::TypeTags;

type Built = Result<Json, JsonError>;

impl serde::ser::Error for JsonError {
    fn custom<T: Display>(message: T) -> Self {
        Self::Type(message.to_string())
    }
}

impl Json {
    /// The tree of a value, as `serde_json` would write it.
    ///
    /// # Errors
    /// The value cannot be written: its `Serialize` failed, or it has a map whose keys are no strings.
    pub fn of<T: Serialize + ?Sized>(value: &T) -> Built {
        Builder { tags: None }.build(value)
    }

    /// The tree of a value, in which values of some types have kombu's tags.
    pub(crate) fn tagged<T: Serialize + ?Sized>(value: &T, tags: &TypeTags) -> Built {
        Builder { tags: Some(tags) }.build(value)
    }
}

#[derive(Clone, Copy)]
struct Builder<'a> {
    tags: Option<&'a TypeTags>,
}

impl Builder<'_> {
    /// Every value passes here with its type.
    fn build<T: Serialize + ?Sized>(self, value: &T) -> Built {
        let json = value.serialize(self)?;
        match self.tags.and_then(TypeTags::of::<T>) {
            Some(tag) => tag.apply(json),
            None => Ok(json),
        }
    }
}

fn number(value: f64, shortest: String) -> Json {
    // As `serde_json` writes what is no number.
    if value.is_finite() { Json::Number(shortest) } else { Json::Null }
}

fn variant(name: &str, value: Json) -> Json {
    Json::Object(vec![(name.to_owned(), value)])
}

macro_rules! integers {
    ($($method:ident: $type:ty),*) => {
        $(fn $method(self, value: $type) -> Built {
            Ok(Json::Int(value.into()))
        })*
    };
}

impl<'a> ser::Serializer for Builder<'a> {
    type Ok = Json;
    type Error = JsonError;
    type SerializeSeq = Elements<'a>;
    type SerializeTuple = Elements<'a>;
    type SerializeTupleStruct = Elements<'a>;
    type SerializeTupleVariant = Elements<'a>;
    type SerializeMap = Entries<'a>;
    type SerializeStruct = Entries<'a>;
    type SerializeStructVariant = Entries<'a>;

    integers!(serialize_i8: i8, serialize_i16: i16, serialize_i32: i32, serialize_i64: i64, serialize_i128: i128);
    integers!(serialize_u8: u8, serialize_u16: u16, serialize_u32: u32, serialize_u64: u64);

    fn serialize_u128(self, value: u128) -> Built {
        Ok(i128::try_from(value).map_or_else(|_| Json::Number(value.to_string()), Json::Int))
    }

    fn serialize_bool(self, value: bool) -> Built {
        Ok(Json::Bool(value))
    }

    fn serialize_f32(self, value: f32) -> Built {
        Ok(number(value.into(), format!("{value:?}")))
    }

    fn serialize_f64(self, value: f64) -> Built {
        Ok(number(value, format!("{value:?}")))
    }

    fn serialize_char(self, value: char) -> Built {
        Ok(Json::Str(value.into()))
    }

    fn serialize_str(self, value: &str) -> Built {
        Ok(value.into())
    }

    fn serialize_bytes(self, value: &[u8]) -> Built {
        Ok(match self.tags {
            Some(_) => Json::Tagged(Tagged::Bytes(value.to_vec())),
            None => Json::List(value.iter().map(|byte| Json::Int((*byte).into())).collect()),
        })
    }

    fn serialize_none(self) -> Built {
        Ok(Json::Null)
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Built {
        self.build(value)
    }

    fn serialize_unit(self) -> Built {
        Ok(Json::Null)
    }

    fn serialize_unit_struct(self, _name: &'static str) -> Built {
        Ok(Json::Null)
    }

    fn serialize_unit_variant(self, _name: &'static str, _index: u32, variant: &'static str) -> Built {
        Ok(variant.into())
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _name: &'static str, value: &T) -> Built {
        self.build(value)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _name: &'static str,
        _index: u32,
        name: &'static str,
        value: &T,
    ) -> Built {
        Ok(variant(name, self.build(value)?))
    }

    fn serialize_seq(self, length: Option<usize>) -> Result<Elements<'a>, JsonError> {
        Ok(Elements { builder: self, elements: Vec::with_capacity(length.unwrap_or(0).min(1024)), variant: None })
    }

    fn serialize_tuple(self, length: usize) -> Result<Elements<'a>, JsonError> {
        self.serialize_seq(Some(length))
    }

    fn serialize_tuple_struct(self, _name: &'static str, length: usize) -> Result<Elements<'a>, JsonError> {
        self.serialize_seq(Some(length))
    }

    fn serialize_tuple_variant(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        length: usize,
    ) -> Result<Elements<'a>, JsonError> {
        Ok(Elements { variant: Some(variant), ..self.serialize_seq(Some(length))? })
    }

    fn serialize_map(self, _length: Option<usize>) -> Result<Entries<'a>, JsonError> {
        Ok(Entries { builder: self, entries: Vec::new(), key: None, name: "", variant: None })
    }

    fn serialize_struct(self, name: &'static str, length: usize) -> Result<Entries<'a>, JsonError> {
        Ok(Entries { name, ..self.serialize_map(Some(length))? })
    }

    fn serialize_struct_variant(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        length: usize,
    ) -> Result<Entries<'a>, JsonError> {
        Ok(Entries { variant: Some(variant), ..self.serialize_map(Some(length))? })
    }
}

/// A list in the making.
struct Elements<'a> {
    builder: Builder<'a>,
    elements: Vec<Json>,
    variant: Option<&'static str>,
}

impl Elements<'_> {
    fn push<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), JsonError> {
        self.elements.push(self.builder.build(value)?);
        Ok(())
    }

    fn done(self) -> Json {
        let list = Json::List(self.elements);
        match self.variant {
            Some(name) => variant(name, list),
            None => list,
        }
    }
}

macro_rules! elements {
    ($($trait:ident $method:ident),*) => {
        $(impl ser::$trait for Elements<'_> {
            type Ok = Json;
            type Error = JsonError;

            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), JsonError> {
                self.push(value)
            }

            fn end(self) -> Built {
                Ok(self.done())
            }
        })*
    };
}

elements!(
    SerializeSeq serialize_element,
    SerializeTuple serialize_element,
    SerializeTupleStruct serialize_field,
    SerializeTupleVariant serialize_field
);

/// An object in the making.
struct Entries<'a> {
    builder: Builder<'a>,
    entries: Vec<(String, Json)>,
    key: Option<String>,
    name: &'static str,
    variant: Option<&'static str>,
}

/// By this name `serde_json` knows text that is JSON already.
const RAW: &str = "$serde_json::private::RawValue";

impl Entries<'_> {
    fn done(self) -> Built {
        if self.name == RAW
            && let [(_, Json::Str(text))] = self.entries.as_slice()
        {
            return Ok(RawJson::parse(text.clone())?.to_tree());
        }
        let object = Json::object(self.entries);
        Ok(match self.variant {
            Some(name) => variant(name, object),
            None => object,
        })
    }
}

impl ser::SerializeMap for Entries<'_> {
    type Ok = Json;
    type Error = JsonError;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), JsonError> {
        self.key = Some(key.serialize(Key)?);
        Ok(())
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), JsonError> {
        let value = self.builder.build(value)?;
        self.entries.push((self.key.take().unwrap_or_default(), value));
        Ok(())
    }

    fn end(self) -> Built {
        self.done()
    }
}

macro_rules! fields {
    ($($trait:ident),*) => {
        $(impl ser::$trait for Entries<'_> {
            type Ok = Json;
            type Error = JsonError;

            fn serialize_field<T: Serialize + ?Sized>(&mut self, key: &'static str, value: &T) -> Result<(), JsonError> {
                let value = self.builder.build(value)?;
                self.entries.push((key.to_owned(), value));
                Ok(())
            }

            fn end(self) -> Built {
                self.done()
            }
        })*
    };
}

fields!(SerializeStruct, SerializeStructVariant);

/// Writes the keys of maps, which are text in JSON.
struct Key;

macro_rules! keys {
    ($($method:ident: $type:ty),*) => {
        $(fn $method(self, value: $type) -> Result<String, JsonError> {
            Ok(value.to_string())
        })*
    };
}

macro_rules! no_keys {
    ($($method:ident($($argument:ty),*) -> $answer:ty;)*) => {
        $(fn $method(self, $(_: $argument),*) -> Result<$answer, JsonError> {
            Err(not_a_key())
        })*
    };
}

fn not_a_key() -> JsonError {
    JsonError::Type("key must be a string".to_owned())
}

type None = Impossible<String, JsonError>;

impl ser::Serializer for Key {
    type Ok = String;
    type Error = JsonError;
    type SerializeSeq = None;
    type SerializeTuple = None;
    type SerializeTupleStruct = None;
    type SerializeTupleVariant = None;
    type SerializeMap = None;
    type SerializeStruct = None;
    type SerializeStructVariant = None;

    keys!(serialize_i8: i8, serialize_i16: i16, serialize_i32: i32, serialize_i64: i64, serialize_i128: i128);
    keys!(serialize_u8: u8, serialize_u16: u16, serialize_u32: u32, serialize_u64: u64, serialize_u128: u128);
    keys!(serialize_bool: bool, serialize_char: char, serialize_str: &str);

    fn serialize_unit_variant(self, _: &'static str, _: u32, variant: &'static str) -> Result<String, JsonError> {
        Ok(variant.to_owned())
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _: &'static str, value: &T) -> Result<String, JsonError> {
        value.serialize(self)
    }

    fn serialize_some<T: Serialize + ?Sized>(self, _: &T) -> Result<String, JsonError> {
        Err(not_a_key())
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: &T,
    ) -> Result<String, JsonError> {
        Err(not_a_key())
    }

    no_keys! {
        serialize_f32(f32) -> String;
        serialize_f64(f64) -> String;
        serialize_bytes(&[u8]) -> String;
        serialize_none() -> String;
        serialize_unit() -> String;
        serialize_unit_struct(&'static str) -> String;
        serialize_seq(Option<usize>) -> None;
        serialize_tuple(usize) -> None;
        serialize_tuple_struct(&'static str, usize) -> None;
        serialize_tuple_variant(&'static str, u32, &'static str, usize) -> None;
        serialize_map(Option<usize>) -> None;
        serialize_struct(&'static str, usize) -> None;
        serialize_struct_variant(&'static str, u32, &'static str, usize) -> None;
    }
}

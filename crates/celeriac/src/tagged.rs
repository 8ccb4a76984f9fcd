//! Values that JSON does not have, written so that Python gets its own: `decimal.Decimal`, `datetime.datetime`, `date`,
//! `time`, `uuid.UUID`, `bytes`.
//!
//! kombu writes such a value as an object, `{"__type__": "decimal", "__value__": "12.50"}`, and reads it back as what it was.
//! `serde` writes it as text, and Python's `total * 2` is `"12.5012.50"` then. There are two ways to write tags:
//!
//! * for one field, with the module of its type here: it may be a value, or an `Option`, a list or a map of values;
//! * for all that an application sends and stores, by type: [`AppBuilder::type_tags`](crate::AppBuilder::type_tags).
//!
//! ```
//! use celeriac::Task;
//! use rust_decimal::Decimal;
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Task, Serialize, Deserialize)]
//! #[task(name = "shop.charge")]
//! struct Charge {
//!     #[serde(with = "celeriac::tagged::decimal")]
//!     total: Decimal,
//!     #[serde(default, with = "celeriac::tagged::datetime")]
//!     due: Option<chrono::DateTime<chrono::Utc>>,
//! }
//! # let charge = Charge { total: "12.50".parse().unwrap(), due: None };
//! # let json = serde_json::to_value(&charge).unwrap();
//! # assert_eq!(json["total"], serde_json::json!({"__type__": "decimal", "__value__": "12.50"}));
//! ```
//!
//! Whoever reads has nothing to do: a tagged value reads as the Rust type of the field, with or without these modules, and
//! what came without a tag reads as before. A datetime without an offset from UTC (naive, in Python) reads as
//! `chrono::NaiveDateTime`, a date as `NaiveDate`; as a `DateTime` they are refused in these words, for nobody can know
//! which offset was meant.
//!
//! In a [`Signature`](crate::canvas::Signature) arguments are trees: `arg` and `kwarg` take all these types and tag them, and
//! [`App::signature`](crate::App::signature) makes one of a typed task as the application writes it.

use serde::de::{DeserializeOwned, Error as _};
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::protocol::Json;
pub use crate::protocol::Tagged;
pub use crate::protocol::json::{Tag, TypeTags};

fn write<T: Serialize, S: Serializer>(value: &T, tag: Tag, serializer: S) -> Result<S::Ok, S::Error> {
    let tree = Json::of(value).and_then(|tree| tag.apply(tree)).map_err(S::Error::custom)?;
    tree.serialize(serializer)
}

fn read<'de, T: DeserializeOwned, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
    T::deserialize(Json::deserialize(deserializer)?).map_err(D::Error::custom)
}

macro_rules! modules {
    ($($(#[$doc:meta])* $name:ident: $tag:ident;)*) => {
        $($(#[$doc])*
        pub mod $name {
            use super::{DeserializeOwned, Deserializer, Serialize, Serializer, Tag};

            /// Writes the tag.
            ///
            /// # Errors
            /// The value is not written as one of this type.
            pub fn serialize<T: Serialize, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
                super::write(value, Tag::$tag, serializer)
            }

            /// Reads the value, with its tag or without one.
            ///
            /// # Errors
            /// It is of another type.
            pub fn deserialize<'de, T: DeserializeOwned, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
                super::read(deserializer)
            }
        })*
    };
}

modules! {
    /// `#[serde(with = "celeriac::tagged::decimal")]`: any type of decimal numbers, `decimal.Decimal` in Python.
    decimal: Decimal;
    /// `#[serde(with = "celeriac::tagged::datetime")]`: chrono's `DateTime` and `NaiveDateTime`, `datetime.datetime` in Python.
    datetime: DateTime;
    /// `#[serde(with = "celeriac::tagged::date")]`: `chrono::NaiveDate`, `datetime.date` in Python.
    date: Date;
    /// `#[serde(with = "celeriac::tagged::time")]`: `chrono::NaiveTime`, `datetime.time` in Python.
    time: Time;
    /// `#[serde(with = "celeriac::tagged::uuid")]`: `uuid::Uuid`, `uuid.UUID` in Python.
    uuid: Uuid;
    /// `#[serde(with = "celeriac::tagged::bytes")]`: `Vec<u8>`, `bytes` in Python. Written as text where that is UTF-8, else in
    /// base64.
    bytes: Bytes;
}

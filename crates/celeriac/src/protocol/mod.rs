//! What travels on the wire: pure encoding and decoding, no I/O and no clock.

mod compression;
pub mod event;
mod isoparse;
pub mod json;
mod message;
pub mod pidbox;
pub mod repr;
mod result;
mod signature;
mod task;
mod time;
pub(crate) mod trace;

pub use compression::Compression;
pub use json::{Json, JsonError, RawJson, Tagged};
pub use message::{DeliveryMode, Headers, Message, Properties, Value};
pub use result::{Extended, ResultError, ResultMeta, ResultTuple, Revocation, State};
pub use signature::{Embed, Signature};
pub(crate) use task::Due;
pub use task::{ArgumentsError, DecodeError, DecodeErrorKind, MAX_BODY, TaskMessage, read_arguments};
pub use time::{format_time, format_utc, parse_time};

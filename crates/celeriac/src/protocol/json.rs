//! JSON as Python writes it: what JSON allows, plus `NaN` and `Infinity`, integers of any size and kombu's type tags.
//!
//! A message is scanned once ([`RawJson::parse`]) and kept as text. Typed values are read straight from that text by
//! `serde_json`; only text that needs it (a tag, a `NaN`) goes through the tree of [`Json`].

mod build;
mod by_serde;
mod object;
mod raw;
mod read;
mod scan;
mod tree;
mod type_tags;
mod write;

pub(crate) use object::Object;
pub use raw::RawJson;
pub(crate) use raw::{elements, entries};
pub use tree::{Json, Tagged};
pub use type_tags::{Tag, TypeTags};
pub(crate) use write::string;

/// How deeply lists and objects may be nested. Celery's own limit is Python's recursion limit; a chain of fifty
/// groups, each upgraded to a chord inside the former, stays below this one.
pub const MAX_DEPTH: usize = 256;

/// Text that is not JSON, or not the JSON that was asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    /// No JSON.
    #[error("not JSON at byte {at}: {expected} expected")]
    Syntax {
        /// Counted from 0.
        at: usize,
        /// What could stand there.
        expected: &'static str,
    },
    /// The text is not UTF-8.
    #[error("not UTF-8 at byte {at}")]
    Utf8 {
        /// Counted from 0.
        at: usize,
    },
    /// Nested deeper than [`MAX_DEPTH`].
    #[error("nested more than {MAX_DEPTH} levels deep at byte {at}")]
    TooDeep {
        /// Where the limit was passed; for a value that is written, the place in what was written.
        at: usize,
    },
    /// A `{"__type__": …, "__value__": …}` that Celery could not read either.
    #[error("unreadable JSON type tag {tag:?}: {reason}")]
    Tag {
        /// `__type__`
        tag: String,
        /// What is wrong with its value.
        reason: String,
    },
    /// The text is JSON, but not of the type that was asked for.
    #[error("{0}")]
    Type(String),
}

impl serde::de::Error for JsonError {
    fn custom<T: std::fmt::Display>(message: T) -> Self {
        Self::Type(message.to_string())
    }
}

//! Checked JSON text that shares the memory of the message it came in.

use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;
use serde::Serialize;
use serde::de::{DeserializeOwned, DeserializeSeed};

use super::scan::Scanner;
use super::tree::Json;
use super::type_tags::TypeTags;
use super::{JsonError, read};

/// One JSON value as text, known to be well formed (as Python understands that: `NaN` is allowed).
///
/// Cloning it copies nothing. Two are equal when their texts are.
#[derive(Clone, PartialEq, Eq)]
pub struct RawJson {
    text: Bytes,
    /// `serde_json` can read it as it stands.
    plain: bool,
}

impl RawJson {
    /// `null`
    pub const NULL: Self = Self::constant("null");
    /// `[]`
    pub const EMPTY_LIST: Self = Self::constant("[]");
    /// `{}`
    pub const EMPTY_OBJECT: Self = Self::constant("{}");

    const fn constant(text: &'static str) -> Self {
        Self { text: Bytes::from_static(text.as_bytes()), plain: true }
    }

    /// Checks text and keeps it.
    ///
    /// # Errors
    /// The text is not JSON, or nested deeper than [`MAX_DEPTH`](super::MAX_DEPTH).
    pub fn parse(text: impl Into<Bytes>) -> Result<Self, JsonError> {
        let text = text.into();
        check_utf8(&text)?;
        let mut scanner = Scanner::new(&text);
        let range = scanner.value(0)?;
        scanner.end()?;
        let plain = scanner.plain;
        Ok(Self { text: text.slice(range), plain })
    }

    /// Writes a value as JSON.
    ///
    /// # Errors
    /// The value cannot be written: its `Serialize` failed, it has a map whose keys are no strings, or it is nested
    /// deeper than a reader would accept.
    pub fn of<T: Serialize + ?Sized>(value: &T) -> Result<Self, JsonError> {
        let text = serde_json::to_vec(value).map_err(|error| JsonError::Type(error.to_string()))?;
        Self::parse(text)
    }

    /// Writes a value as JSON in which values of some types have kombu's tags.
    pub(crate) fn tagged<T: Serialize + ?Sized>(value: &T, tags: &TypeTags) -> Result<Self, JsonError> {
        let mut text = Vec::new();
        Json::tagged(value, tags)?.write(&mut text);
        Self::parse(text)
    }

    /// The text, without space around it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.text).expect("checked when it was made")
    }

    /// The text in UTF-8.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.text
    }

    /// It is `null`.
    #[must_use]
    pub fn is_null(&self) -> bool {
        self.text == "null"
    }

    pub(crate) fn is_object(&self) -> bool {
        self.text.starts_with(b"{")
    }

    /// Reads the value as a `T`. Type tags are resolved: a tagged uuid reads as `Uuid` or `String`, a tagged date as
    /// what it says, tagged bytes as `Vec<u8>`.
    ///
    /// # Errors
    /// It is of another type, or has a type tag that nobody knows.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, JsonError> {
        self.read_seed(std::marker::PhantomData)
    }

    pub(crate) fn read_seed<'de, S: DeserializeSeed<'de>>(&'de self, seed: S) -> Result<S::Value, JsonError> {
        read::value(&self.text, self.plain, seed)
    }

    /// The value as a tree in which big integers stay exact and tags are kept apart.
    #[must_use]
    pub fn to_tree(&self) -> Json {
        Json::from_checked(&self.text)
    }

    /// A part of this text that is a value by itself.
    pub(super) fn part(&self, range: std::ops::Range<usize>, plain: bool) -> Self {
        Self { text: self.text.slice(range), plain }
    }
}

/// The elements of a list, each as its own text; `None` if it is no list.
pub(crate) fn elements(list: &RawJson) -> Option<Vec<RawJson>> {
    let mut scanner = Scanner::new(&list.text);
    let mut elements = Vec::new();
    let walked = scanner.list(0, |scanner, depth| {
        let range = scanner.value(depth)?;
        elements.push(list.part(range, list.plain));
        Ok(())
    });
    walked.is_ok().then_some(elements)
}

/// The entries of an object in their order, keys without escapes; `None` if it is no object.
pub(crate) fn entries(object: &RawJson) -> Option<Vec<(Cow<'_, str>, RawJson)>> {
    let mut scanner = Scanner::new(&object.text);
    let mut entries = Vec::new();
    let walked = scanner.object(0, |scanner, key, depth| {
        let key = super::tree::unescape(scanner.slice(key));
        let range = scanner.value(depth)?;
        entries.push((key, object.part(range, object.plain)));
        Ok(())
    });
    walked.is_ok().then_some(entries)
}

fn check_utf8(text: &[u8]) -> Result<(), JsonError> {
    match std::str::from_utf8(text) {
        Ok(_) => Ok(()),
        Err(error) => Err(JsonError::Utf8 { at: error.valid_up_to() }),
    }
}

impl fmt::Debug for RawJson {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for RawJson {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

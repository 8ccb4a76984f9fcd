//! Replies in the making.

use crate::protocol::Json;

/// `{"ok": …}`
pub(super) fn ok(text: &str) -> Json {
    object([("ok", text.into())])
}

/// `{"error": …}`
pub(in crate::control) fn error(text: &str) -> Json {
    object([("error", text.into())])
}

pub(super) fn object<K: Into<String>>(entries: impl IntoIterator<Item = (K, Json)>) -> Json {
    Json::Object(entries.into_iter().map(|(key, value)| (key.into(), value)).collect())
}

pub(super) fn list<T: Into<Json>>(items: impl IntoIterator<Item = T>) -> Json {
    Json::List(items.into_iter().map(Into::into).collect())
}

pub(super) fn optional(value: Option<impl Into<Json>>) -> Json {
    value.map_or(Json::Null, Into::into)
}

impl From<u32> for Json {
    fn from(number: u32) -> Self {
        Self::Int(number.into())
    }
}

impl From<usize> for Json {
    fn from(number: usize) -> Self {
        Self::Int(number as i128)
    }
}

//! JSON text from a tree.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::tree::{Json, Tagged};

impl Json {
    /// Appends the value as compact JSON.
    pub fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Null => out.extend_from_slice(b"null"),
            Self::Bool(true) => out.extend_from_slice(b"true"),
            Self::Bool(false) => out.extend_from_slice(b"false"),
            Self::Int(number) => out.extend_from_slice(number.to_string().as_bytes()),
            Self::Number(text) => out.extend_from_slice(text.as_bytes()),
            Self::Str(text) => string(text, out),
            Self::List(elements) => {
                out.push(b'[');
                separated(elements, out, Self::write);
                out.push(b']');
            }
            Self::Object(entries) => {
                out.push(b'{');
                separated(entries, out, |(key, value), out| {
                    string(key, out);
                    out.push(b':');
                    value.write(out);
                });
                out.push(b'}');
            }
            Self::Tagged(tagged) => tagged.write(out),
        }
    }
}

impl Tagged {
    fn write(&self, out: &mut Vec<u8>) {
        let (tag, value) = self.parts();
        let entries = [("__type__", Json::Str(tag.to_owned())), ("__value__", value)];
        Json::Object(entries.map(|(key, value)| (key.to_owned(), value)).into()).write(out);
    }

    /// `__type__` and `__value__` (`kombu/utils/json.py`).
    pub(super) fn parts(&self) -> (&str, Json) {
        match self {
            Self::DateTime(text) => ("datetime", Json::Str(text.clone())),
            Self::Date(text) => ("date", Json::Str(text.clone())),
            Self::Time(text) => ("time", Json::Str(text.clone())),
            Self::Decimal(text) => ("decimal", Json::Str(text.clone())),
            Self::Uuid(uuid) => ("uuid", Json::Object(vec![("hex".to_owned(), Json::Str(uuid.simple().to_string()))])),
            Self::Bytes(bytes) => match std::str::from_utf8(bytes) {
                Ok(text) => ("bytes", Json::Str(text.to_owned())),
                Err(_) => ("base64", Json::Str(STANDARD.encode(bytes))),
            },
            Self::Unknown { tag, value, .. } => (tag.as_str(), (**value).clone()),
        }
    }
}

fn separated<T>(items: &[T], out: &mut Vec<u8>, mut write: impl FnMut(&T, &mut Vec<u8>)) {
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        write(item, out);
    }
}

/// Appends a string with its quotes.
pub(crate) fn string(text: &str, out: &mut Vec<u8>) {
    serde_json::to_writer(out, text).expect("a string can always be written to a vector");
}

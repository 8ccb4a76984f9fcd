//! Writes objects key by key, without a tree in between.

use super::write::string;

/// An object in the making. It is used where keys have an order, where some are left out, and on hot paths.
pub(crate) struct Object<'a> {
    out: &'a mut Vec<u8>,
    separator: u8,
}

impl<'a> Object<'a> {
    pub(crate) fn begin(out: &'a mut Vec<u8>) -> Self {
        Self { out, separator: b'{' }
    }

    /// Writes the key; answers where its value is to be written.
    pub(crate) fn key(&mut self, key: &str) -> &mut Vec<u8> {
        self.out.push(self.separator);
        self.separator = b',';
        string(key, self.out);
        self.out.push(b':');
        self.out
    }

    /// A value that is JSON already.
    pub(crate) fn raw(&mut self, key: &str, value: impl AsRef<[u8]>) {
        self.key(key).extend_from_slice(value.as_ref());
    }

    pub(crate) fn text(&mut self, key: &str, value: &str) {
        string(value, self.key(key));
    }

    /// A text or `null`.
    pub(crate) fn optional(&mut self, key: &str, value: Option<&str>) {
        match value {
            None => self.raw(key, "null"),
            Some(value) => self.text(key, value),
        }
    }

    pub(crate) fn integer(&mut self, key: &str, value: impl Into<i128>) {
        self.raw(key, value.into().to_string());
    }

    /// A number with a point, as Python writes a float; what is no number is `null`.
    pub(crate) fn float(&mut self, key: &str, value: f64) {
        serde_json::to_writer(self.key(key), &value).expect("a number can always be written to a vector");
    }

    pub(crate) fn flag(&mut self, key: &str, value: bool) {
        self.raw(key, if value { "true" } else { "false" });
    }

    pub(crate) fn end(self) {
        if self.separator == b'{' {
            self.out.push(b'{');
        }
        self.out.push(b'}');
    }
}

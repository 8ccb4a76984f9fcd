//! Writing a request's body.

use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;

/// A JSON object under construction. What is not there is left out: the gateway's own answer to null
/// is not documented.
#[derive(Default)]
pub(crate) struct Body(Vec<u8>);

impl Body {
    pub(crate) fn field<T: Serialize + ?Sized>(mut self, name: &str, value: &T) -> Self {
        const WHY: &str = "text, numbers and raw JSON always serialize";
        self.0.push(if self.0.is_empty() { b'{' } else { b',' });
        serde_json::to_writer(&mut self.0, name).expect(WHY);
        self.0.push(b':');
        serde_json::to_writer(&mut self.0, value).expect(WHY);
        self
    }

    pub(crate) fn optional<T: Serialize + ?Sized>(self, name: &str, value: Option<&T>) -> Self {
        match value {
            Some(value) => self.field(name, value),
            None => self,
        }
    }

    pub(crate) fn secret(self, name: &str, value: &SecretString) -> Self {
        self.field(name, value.expose_secret())
    }

    pub(crate) fn finish(mut self) -> Vec<u8> {
        if self.0.is_empty() {
            self.0.push(b'{');
        }
        self.0.push(b'}');
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_without_fields_is_still_an_object() {
        assert_eq!(Body::default().finish(), b"{}");
    }

    #[test]
    fn what_is_not_there_is_left_out() {
        let body = Body::default().optional("A", None::<&str>).field("B\"", "x\n").optional("C", Some(&1)).finish();
        assert_eq!(body, br#"{"B\"":"x\n","C":1}"#);
    }
}

//! Which tasks must not run at once.

use uuid::Uuid;

use crate::protocol::json::{elements, entries};
use crate::protocol::{RawJson, TaskMessage};
use crate::task::ConcurrencyLimit;
use crate::worker::Run;

/// Longer values are known by their hash.
const MAX_VALUE: usize = 128;

/// The key of a task: its scope and the value of the argument.
pub(super) fn key_of(run: &Run, limit: &ConcurrencyLimit) -> String {
    let value = value_of(&run.request, run.task.fields, limit.key).unwrap_or(RawJson::NULL);
    format!("{}:{}", limit.scope.unwrap_or(&run.task.name), shown(&value))
}

/// The argument, by its name or by its place.
fn value_of(message: &TaskMessage, fields: &[&str], name: &str) -> Option<RawJson> {
    let named = entries(&message.kwargs)?.into_iter().rfind(|(key, _)| key == name).map(|(_, value)| value);
    named.or_else(|| {
        let place = fields.iter().position(|field| *field == name)?;
        elements(&message.args)?.into_iter().nth(place)
    })
}

/// Written in one way, however the sender has written it.
fn shown(value: &RawJson) -> String {
    let mut text = Vec::new();
    value.to_tree().write(&mut text);
    match String::from_utf8(text) {
        Ok(text) if text.len() <= MAX_VALUE => text,
        Ok(text) => Uuid::new_v5(&Uuid::NAMESPACE_OID, text.as_bytes()).to_string(),
        Err(_) => "null".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(args: &str, kwargs: &str) -> String {
        let json = |text: &str| RawJson::parse(text.to_owned()).unwrap();
        let message = TaskMessage::new("t", "id", json(args), json(kwargs));
        shown(&value_of(&message, &["account_id", "amount"], "account_id").unwrap_or(RawJson::NULL))
    }

    #[test]
    fn the_key_is_the_value_of_the_argument_however_it_was_given_and_written() {
        for (args, kwargs) in [("[7, 100]", "{}"), ("[]", r#"{"amount": 1, "account_id": 7}"#)] {
            assert_eq!(key(args, kwargs), "7");
        }
        assert_eq!(key(r#"["\u0061b"]"#, "{}"), key(r#"["ab"]"#, "{}"));
        assert_eq!(key("[[1,  2]]", "{}"), key("[[1,2]]", "{}"));
        assert_ne!(key("[1]", "{}"), key(r#"["1"]"#, "{}"));
    }

    #[test]
    fn without_the_argument_the_key_is_null_and_a_long_one_is_hashed() {
        assert_eq!(key("[]", "{}"), "null");
        assert_eq!(key("[null]", "{}"), "null");
        let long = format!("[\"{}\"]", "x".repeat(10_000));
        assert_eq!(key(&long, "{}").len(), 36);
    }
}

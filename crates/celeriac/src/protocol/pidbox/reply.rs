//! A worker's answer.

use super::request::properties;
use super::{PidboxError, Request};
use crate::protocol::json::{Object, entries, string};
use crate::protocol::{DeliveryMode, Headers, Message, RawJson, Value};

/// What one node answers to a request.
#[derive(Clone, Debug, PartialEq)]
pub struct Reply {
    /// Who answers.
    pub node: String,
    /// What a client shows under the name of the node; `{"ok": …}` or `{"error": …}` for most commands.
    pub value: RawJson,
    /// That of the request.
    pub ticket: Option<String>,
    /// The worker's Lamport clock.
    pub clock: Option<i64>,
}

impl Reply {
    /// The answer of `node` to a request.
    #[must_use]
    pub fn to(request: &Request, node: impl Into<String>, value: RawJson, clock: i64) -> Self {
        Self { node: node.into(), value, ticket: request.ticket.clone(), clock: Some(clock) }
    }

    /// `{"ok": text}`
    #[must_use]
    pub fn ok(text: &str) -> RawJson {
        single("ok", text)
    }

    /// `{"error": text}`
    #[must_use]
    pub fn error(text: &str) -> RawJson {
        single("error", text)
    }

    /// The message to publish to the request's `reply_to`.
    #[must_use]
    pub fn to_message(&self) -> Message {
        let mut headers = Headers::with_capacity(2);
        headers.push("ticket", self.ticket.clone());
        headers.push("clock", self.clock);
        let mut body = Vec::with_capacity(self.value.as_bytes().len() + self.node.len() + 5);
        body.push(b'{');
        string(&self.node, &mut body);
        body.push(b':');
        body.extend_from_slice(self.value.as_bytes());
        body.push(b'}');
        Message { properties: properties(DeliveryMode::Transient), headers, body: body.into() }
    }

    /// Reads a reply.
    ///
    /// # Errors
    /// The body is no object with the answer of a node.
    pub fn decode(message: &Message) -> Result<Self, PidboxError> {
        let body = RawJson::parse(message.body.clone())?;
        let entry = entries(&body).and_then(|entries| entries.into_iter().next());
        let (node, value) = entry.ok_or(PidboxError::Field("node"))?;
        Ok(Self {
            node: node.into_owned(),
            value,
            ticket: message.headers.get("ticket").and_then(Value::as_str).map(str::to_owned),
            clock: message.headers.get("clock").and_then(Value::as_i64),
        })
    }
}

fn single(key: &str, text: &str) -> RawJson {
    let mut out = Vec::with_capacity(text.len() + 12);
    let mut object = Object::begin(&mut out);
    object.text(key, text);
    object.end();
    RawJson::parse(out).expect("written as JSON just now")
}

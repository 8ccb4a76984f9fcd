//! A command to workers.

use super::matching::{self, MatchError};
use super::{PidboxError, values};
use crate::protocol::json::{Object, entries};
use crate::protocol::{DeliveryMode, Headers, Json, Message, Properties, RawJson, Value};

/// A command to all workers, to those named, or to those whose names match a pattern.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// The command: `ping`, `revoke`, …
    pub method: String,
    /// An object of keyword arguments.
    pub arguments: RawJson,
    /// The names of the nodes; empty or absent for all.
    pub destination: Option<Vec<String>>,
    /// Only nodes whose names fit; read as `matcher` says.
    pub pattern: Option<String>,
    /// `glob` or `pcre`.
    pub matcher: Option<String>,
    /// Names the request in its replies; a request without one gets none.
    pub ticket: Option<String>,
    /// Where replies are to be sent; a request without it gets none.
    pub reply_to: Option<ReplyTo>,
    /// The sender's Lamport clock.
    pub clock: Option<i64>,
    /// Until when the sender listens, in seconds since 1970. Workers answer nevertheless, as Celery's do.
    pub expires: Option<f64>,
}

/// Where the replies go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplyTo {
    /// `reply.celery.pidbox`
    pub exchange: String,
    /// The `oid` of the client.
    pub routing_key: String,
}

impl Request {
    /// A command to all workers that wants no reply.
    #[must_use]
    pub fn new(method: impl Into<String>, arguments: RawJson) -> Self {
        Self {
            method: method.into(),
            arguments,
            destination: None,
            pattern: None,
            matcher: None,
            ticket: None,
            reply_to: None,
            clock: None,
            expires: None,
        }
    }

    /// Whether the command is meant for this node. A pattern without a matcher is for all, as in kombu.
    ///
    /// # Errors
    /// The matcher is unknown or the pattern broken: nothing is to be done.
    pub fn is_for(&self, node: &str) -> Result<bool, MatchError> {
        match (self.destination.as_deref(), self.pattern.as_deref(), self.matcher.as_deref()) {
            (Some(destination @ [_, ..]), _, _) => Ok(destination.iter().any(|name| name == node)),
            (_, Some(pattern), Some(matcher)) if !pattern.is_empty() && !matcher.is_empty() => {
                matching::matches(node, pattern, matcher)
            }
            _ => Ok(true),
        }
    }

    /// Reads a request. Headers that are missing or of other types read as absent.
    ///
    /// # Errors
    /// The body is not JSON or names no method.
    pub fn decode(message: &Message) -> Result<Self, PidboxError> {
        let body = RawJson::parse(message.body.clone())?;
        let mut request = Self::new(String::new(), RawJson::EMPTY_OBJECT);
        request.clock = message.headers.get("clock").and_then(Value::as_i64);
        request.expires = message.headers.get("expires").and_then(Value::as_f64).filter(|expires| *expires > 0.0);
        for (key, value) in entries(&body).ok_or(PidboxError::Field("method"))? {
            match &*key {
                "method" => request.method = value.read().map_err(|_| PidboxError::Field("method"))?,
                "arguments" if value.is_null() => {}
                "arguments" if value.is_object() => request.arguments = value,
                "arguments" => return Err(PidboxError::Field("arguments")),
                "destination" => request.destination = destination(&value)?,
                "pattern" => request.pattern = text(&value),
                "matcher" => request.matcher = text(&value),
                "ticket" => request.ticket = text(&value),
                "reply_to" => request.reply_to = ReplyTo::read(&value),
                _ => {}
            }
        }
        if request.method.is_empty() { Err(PidboxError::Field("method")) } else { Ok(request) }
    }

    /// The message to publish to [`CONTROL_EXCHANGE`](super::CONTROL_EXCHANGE).
    #[must_use]
    pub fn to_message(&self) -> Message {
        let mut headers = Headers::with_capacity(2);
        headers.push("clock", self.clock.unwrap_or(0));
        headers.push("expires", self.expires.map_or(Value::Int(0), Value::Float));
        let mut body = Vec::with_capacity(256);
        let mut object = Object::begin(&mut body);
        object.text("method", &self.method);
        object.raw("arguments", self.arguments.as_bytes());
        match &self.destination {
            None => object.raw("destination", "null"),
            Some(names) => names_to_json(names).write(object.key("destination")),
        }
        object.optional("pattern", self.pattern.as_deref());
        object.optional("matcher", self.matcher.as_deref());
        if let (Some(ticket), Some(reply_to)) = (&self.ticket, &self.reply_to) {
            object.text("ticket", ticket);
            let mut address = Object::begin(object.key("reply_to"));
            address.text("exchange", &reply_to.exchange);
            address.text("routing_key", &reply_to.routing_key);
            address.end();
        }
        object.end();
        Message { properties: properties(DeliveryMode::Persistent), headers, body: body.into() }
    }
}

pub(super) fn properties(delivery_mode: DeliveryMode) -> Properties {
    Properties {
        content_type: Some("application/json".to_owned()),
        content_encoding: Some("utf-8".to_owned()),
        delivery_mode,
        priority: Some(0),
        ..Properties::default()
    }
}

fn names_to_json(names: &[String]) -> Json {
    Json::List(names.iter().cloned().map(Json::Str).collect())
}

fn text(value: &RawJson) -> Option<String> {
    value.read().ok()
}

/// Several names, or one without the list around it.
fn destination(value: &RawJson) -> Result<Option<Vec<String>>, PidboxError> {
    if value.is_null() {
        return Ok(None);
    }
    value.read().map(|values::OneOrMany(names)| Some(names)).map_err(|_| PidboxError::Field("destination"))
}

impl ReplyTo {
    fn read(value: &RawJson) -> Option<Self> {
        let tree = value.to_tree();
        let text = |key| tree.get(key).and_then(Json::as_str).map(str::to_owned);
        Some(Self { exchange: text("exchange")?, routing_key: text("routing_key")? })
    }
}

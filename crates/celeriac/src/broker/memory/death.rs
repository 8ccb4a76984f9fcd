//! What `RabbitMQ` writes on a message that it dead-letters.

use chrono::{DateTime, Utc};

use super::queue::Envelope;
use crate::protocol::{Headers, Message, Value};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    Expired,
    Rejected,
}

impl Reason {
    fn name(self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::Rejected => "rejected",
        }
    }
}

/// The message as it goes on from `queue`: with its death noted, and without an expiration, which would kill it again.
pub(super) fn noted(envelope: &Envelope, queue: &str, reason: Reason, now: DateTime<Utc>) -> Message {
    let mut message = envelope.message.clone();
    let mut deaths = match message.headers.take("x-death") {
        Some(Value::List(deaths)) => deaths,
        _ => Vec::new(),
    };
    let same = |death: &Value| text(death, "queue") == Some(queue) && text(death, "reason") == Some(reason.name());
    let mut death = match deaths.iter().position(same) {
        Some(index) => match deaths.remove(index) {
            Value::Table(table) => table,
            _ => Headers::default(),
        },
        None => Headers::default(),
    };
    let count = death.get("count").and_then(Value::as_i64).unwrap_or(0);
    death.insert("count", count.saturating_add(1));
    death.insert("reason", reason.name());
    death.insert("queue", queue);
    death.insert("time", Value::Timestamp(now));
    death.insert("exchange", envelope.exchange.as_str());
    death.insert("routing-keys", vec![envelope.routing_key.as_str()]);
    if let Some(expiration) = message.properties.expiration.take() {
        death.insert("original-expiration", expiration.to_string());
    }
    deaths.insert(0, Value::Table(death));
    message.headers.insert("x-death", Value::List(deaths));
    for (name, value) in [("reason", reason.name()), ("queue", queue), ("exchange", &envelope.exchange)] {
        let name = format!("x-first-death-{name}");
        if message.headers.get(&name).is_none() {
            message.headers.push(name, value);
        }
    }
    message
}

/// Whether a message would go round in circles: it died in `queue` before, and nobody has rejected it since.
pub(super) fn goes_in_circles(message: &Message, queue: &str) -> bool {
    let Some(Value::List(deaths)) = message.headers.get("x-death") else { return false };
    deaths
        .iter()
        .take_while(|death| text(death, "reason") != Some(Reason::Rejected.name()))
        .any(|death| text(death, "queue") == Some(queue))
}

fn text<'a>(death: &'a Value, name: &str) -> Option<&'a str> {
    match death {
        Value::Table(table) => table.get(name)?.as_str(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn die(message: Message, queue: &str, reason: Reason) -> Message {
        let envelope = Envelope { exchange: "e".into(), routing_key: "k".into(), message };
        noted(&envelope, queue, reason, DateTime::UNIX_EPOCH)
    }

    fn count(message: &Message, index: usize) -> i64 {
        match message.headers.get("x-death") {
            Some(Value::List(deaths)) => match &deaths[index] {
                Value::Table(table) => table.get("count").unwrap().as_i64().unwrap(),
                other => panic!("{other:?}"),
            },
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_same_death_is_counted_and_the_latest_stands_first() {
        let mut message = Message::default();
        message.properties.expiration = Some(5);
        let message = die(message, "a", Reason::Expired);
        assert_eq!(message.properties.expiration, None);
        let message = die(message, "b", Reason::Rejected);
        let message = die(message, "a", Reason::Expired);
        assert_eq!((count(&message, 0), count(&message, 1)), (2, 1));
        assert_eq!(message.headers.get("x-first-death-queue").unwrap().as_str(), Some("a"));
        assert_eq!(message.headers.get("x-first-death-reason").unwrap().as_str(), Some("expired"));
    }

    #[test]
    fn a_circle_without_a_rejection_ends() {
        let once = die(Message::default(), "a", Reason::Expired);
        assert!(goes_in_circles(&once, "a"));
        assert!(!goes_in_circles(&once, "b"));
        let rejected = die(once, "b", Reason::Rejected);
        assert!(!goes_in_circles(&rejected, "a"));
    }
}

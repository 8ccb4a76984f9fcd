//! What is noted on a message when it is parked, and how it is read and taken off again. Pure.

use std::fmt;

use chrono::{DateTime, Utc};

use crate::broker::Publication;
use crate::protocol::{Headers, Message, TaskMessage, Value};

/// How the names of all headers begin that parking adds.
const PREFIX: &str = "x-parked-";
const REASON: &str = "x-parked-reason";
const ERROR: &str = "x-parked-error";
const QUEUE: &str = "x-parked-queue";
const EXCHANGE: &str = "x-parked-exchange";
const ROUTING_KEY: &str = "x-parked-routing-key";
const AT: &str = "x-parked-at";
const BY: &str = "x-parked-by";
/// How often it has been sent back from a parking queue. It stays on the message: whoever sees it there again is to know.
const RETURNED: &str = "x-parked-returned";
/// A message's time to live: it must not go on in the parking queue.
const EXPIRATION: &str = "x-parked-expiration";
/// `RabbitMQ` refuses messages with the name of another user than the one that publishes them.
const USER_ID: &str = "x-parked-user-id";
/// `RabbitMQ` would send a copy to each of these again.
const CC: &str = "x-parked-cc";
/// The longest error that is noted: headers must fit into one frame.
const MAX_ERROR: usize = 300;

/// Why a message was parked.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// It is no task that could be read.
    Undecodable,
    /// No worker that got it knows its task.
    UnknownTask,
    /// It was delivered too often without its task coming to an end: it seems to kill its workers.
    DeliveryLimit,
    /// It is a retry that the broker did not take; its task has failed.
    RetryRefused,
    /// What another program has written there.
    Other(String),
}

impl Reason {
    /// As it is noted: `delivery-limit`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Undecodable => "undecodable",
            Self::UnknownTask => "unknown-task",
            Self::DeliveryLimit => "delivery-limit",
            Self::RetryRefused => "retry-refused",
            Self::Other(reason) => reason,
        }
    }

    fn read(text: &str) -> Self {
        let known = [Self::Undecodable, Self::UnknownTask, Self::DeliveryLimit, Self::RetryRefused];
        known.into_iter().find(|reason| reason.as_str() == text).unwrap_or_else(|| Self::Other(text.to_owned()))
    }
}

/// The reason that a parked message names.
pub(crate) fn reason_of(message: &Message) -> &str {
    message.headers.get(REASON).and_then(Value::as_str).unwrap_or_default()
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A message that is parked, as far as operators may see it: of the arguments only what their sender shows.
#[derive(Clone, Debug, PartialEq)]
pub struct ParkedMessage {
    /// The id of the task, if it could be read.
    pub id: Option<String>,
    /// The name of the task, if it could be read.
    pub task: Option<String>,
    /// The positional arguments, as their sender shows them.
    pub argsrepr: Option<String>,
    /// The keyword arguments, as their sender shows them.
    pub kwargsrepr: Option<String>,
    /// Why it was parked.
    pub reason: Reason,
    /// The reason in words.
    pub error: String,
    /// The queue that it was in.
    pub queue: String,
    /// How it had got there.
    pub exchange: String,
    /// With which key it was published.
    pub routing_key: String,
    /// When it was parked.
    pub since: Option<DateTime<Utc>>,
    /// The worker that has parked it.
    pub worker: Option<String>,
    /// How often it was sent back from here, and has come again.
    pub returned: u64,
}

/// Where a message came from and why it goes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Note<'a> {
    pub(crate) reason: &'a Reason,
    pub(crate) error: &'a str,
    pub(crate) queue: &'a str,
    pub(crate) exchange: &'a str,
    pub(crate) routing_key: &'a str,
    pub(crate) worker: &'a str,
}

/// The message as it goes to the parking queue: as it was, with a note.
pub(crate) fn noted(mut message: Message, note: Note<'_>, now: DateTime<Utc>) -> Message {
    let Message { properties, headers, .. } = &mut message;
    headers.retain(|name| !name.starts_with(PREFIX) || name == RETURNED);
    headers.insert(REASON, note.reason.as_str());
    headers.insert(ERROR, note.error.chars().take(MAX_ERROR).collect::<String>());
    headers.insert(QUEUE, note.queue);
    headers.insert(EXCHANGE, note.exchange);
    headers.insert(ROUTING_KEY, note.routing_key);
    headers.insert(AT, Value::Timestamp(now));
    headers.insert(BY, note.worker);
    if let Some(expiration) = properties.expiration.take() {
        headers.insert(EXPIRATION, expiration.to_string());
    }
    if let Some(user_id) = properties.user_id.take() {
        headers.insert(USER_ID, user_id);
    }
    if let Some(cc) = headers.take("CC") {
        headers.retain(|name| name != "CC");
        headers.insert(CC, cc);
    }
    message
}

/// Whether a message is on its way to a parking queue.
pub(crate) fn is_noted(headers: &Headers) -> bool {
    headers.get(REASON).is_some()
}

/// The message as it goes back: as it was before it was parked but for how often that has been, and as if it had never been
/// delivered. `queue` is where it came from if it does not say so itself.
pub(super) fn returned(mut message: Message, queue: &str) -> Publication {
    const COUNTS: [&str; 4] = ["x-delivery-count", "x-acquired-count", "x-celeriac-deliveries", "x-death"];
    const NOTES: [&str; 3] = [PREFIX, "x-first-death-", "x-last-death-"];
    let Message { properties, headers, .. } = &mut message;
    let (exchange, routing_key) = match (text(headers, EXCHANGE), text(headers, ROUTING_KEY)) {
        (Some(exchange), Some(routing_key)) => (exchange, routing_key),
        _ => (String::new(), queue.to_owned()),
    };
    if let Some(expiration) = text(headers, EXPIRATION) {
        properties.expiration = expiration.parse().ok();
    }
    let before = returns(headers);
    headers.retain(|name| !COUNTS.contains(&name) && !NOTES.iter().any(|note| name.starts_with(note)));
    headers.insert(RETURNED, i64::try_from(before).unwrap_or(i64::MAX).saturating_add(1));
    Publication { exchange, routing_key, mandatory: true, message }
}

impl ParkedMessage {
    /// Reads what is told of a message that is parked under `queue`, also of one that another program has put there.
    pub(super) fn read(message: &Message, queue: &str) -> Self {
        let headers = &message.headers;
        let (mut id, mut task) = (text(headers, "id"), text(headers, "task"));
        if task.is_none()
            && let Ok(decoded) = TaskMessage::decode(message.clone())
        {
            // Protocol 1 has them in the body.
            (id, task) = (Some(decoded.id), Some(decoded.task));
        }
        Self {
            id: id.or_else(|| message.properties.correlation_id.clone()),
            task,
            argsrepr: text(headers, "argsrepr"),
            kwargsrepr: text(headers, "kwargsrepr"),
            reason: Reason::read(&text(headers, REASON).unwrap_or_default()),
            error: text(headers, ERROR).unwrap_or_default(),
            queue: text(headers, QUEUE).unwrap_or_else(|| queue.to_owned()),
            exchange: text(headers, EXCHANGE).unwrap_or_default(),
            routing_key: text(headers, ROUTING_KEY).unwrap_or_else(|| queue.to_owned()),
            since: match headers.get(AT) {
                Some(Value::Timestamp(at)) => Some(*at),
                _ => None,
            },
            worker: text(headers, BY),
            returned: returns(headers),
        }
    }
}

/// How often it has been sent back.
fn returns(headers: &Headers) -> u64 {
    headers.get(RETURNED).and_then(Value::as_i64).and_then(|count| u64::try_from(count).ok()).unwrap_or(0)
}

fn text(headers: &Headers, name: &str) -> Option<String> {
    headers.get(name).and_then(Value::as_str).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOTE: Note<'static> = Note {
        reason: &Reason::UnknownTask,
        error: "no such task",
        queue: "shop",
        exchange: "logs",
        routing_key: "shop.eu",
        worker: "w@host",
    };

    fn message() -> Message {
        let mut message = Message { body: "{".into(), ..Message::default() };
        message.properties.priority = Some(3);
        message.properties.expiration = Some(5000);
        message.headers.insert("task", "shop.greet");
        message.headers.insert("id", "1");
        message.headers.insert("argsrepr", "(…)");
        message
    }

    #[test]
    fn what_is_parked_and_requeued_is_what_it_was() {
        let parked = noted(message(), NOTE, DateTime::UNIX_EPOCH);
        assert_eq!(parked.properties.expiration, None, "it must not expire there");
        assert!(is_noted(&parked.headers));
        let back = returned(parked, "elsewhere");
        assert_eq!((back.exchange.as_str(), back.routing_key.as_str()), ("logs", "shop.eu"));
        assert_eq!(back.message, sent_back(1));
    }

    /// As it was, but for how often that has been.
    fn sent_back(times: i64) -> Message {
        let mut message = message();
        message.headers.insert(RETURNED, times);
        message
    }

    #[test]
    fn one_that_comes_again_and_again_says_how_often() {
        let mut there = noted(message(), NOTE, DateTime::UNIX_EPOCH);
        for times in 0..3 {
            assert_eq!(ParkedMessage::read(&there, "shop").returned, times);
            there = noted(returned(there, "shop").message, NOTE, DateTime::UNIX_EPOCH);
        }
        assert_eq!(returned(there, "shop").message, sent_back(4));
    }

    #[test]
    fn parking_twice_notes_the_last_time() {
        let once = noted(message(), NOTE, DateTime::UNIX_EPOCH);
        let twice = noted(once.clone(), Note { worker: "other@host", ..NOTE }, DateTime::UNIX_EPOCH);
        let read = ParkedMessage::read(&twice, "shop");
        assert_eq!((read.worker.as_deref(), read.reason), (Some("other@host"), Reason::UnknownTask));
        assert_eq!(read.since, Some(DateTime::UNIX_EPOCH));
        assert_eq!(twice.headers.len() + 1, once.headers.len(), "the expiration is gone for good");
    }

    #[test]
    fn a_message_of_another_program_goes_to_the_queue_that_the_parking_queue_belongs_to() {
        let mut foreign = message();
        foreign.headers.insert("x-death", Value::List(vec![]));
        foreign.headers.insert("x-first-death-reason", "rejected");
        foreign.headers.insert("x-delivery-count", 7);
        let read = ParkedMessage::read(&foreign, "shop");
        assert_eq!((read.reason.as_str(), read.queue.as_str()), ("", "shop"));
        let back = returned(foreign, "shop");
        assert_eq!((back.exchange.as_str(), back.routing_key.as_str()), ("", "shop"));
        assert_eq!(back.message, sent_back(1), "and counts as new");
    }

    #[test]
    fn what_the_broker_would_act_upon_again_is_put_aside() {
        let mut copied = message();
        copied.properties.user_id = Some("shop".to_owned());
        copied.headers.insert("CC", vec!["audit"]);
        let parked = noted(copied, NOTE, DateTime::UNIX_EPOCH);
        assert_eq!((parked.properties.user_id.as_deref(), parked.headers.get("CC")), (None, None));
        assert_eq!(parked.headers.get(CC), Some(&Value::from(vec!["audit"])));
    }
}

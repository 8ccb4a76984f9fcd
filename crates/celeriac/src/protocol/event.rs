//! Events: what workers and clients tell about themselves on the exchange `celeryev` (`celery/events/`).

mod body;
mod decode;
mod encode;

use std::borrow::Cow;

pub use body::{EventBody, Following, TaskReceived, TaskSent, WorkerStatus};
pub use decode::EventError;
pub use encode::EventBatch;

/// The topic exchange that events are published to.
pub const EVENT_EXCHANGE: &str = "celeryev";

/// One event. Encoding borrows what it says; a decoded event owns it (`Event<'static>`).
#[derive(Clone, Debug, PartialEq)]
pub struct Event<'a> {
    /// The node name of the sender.
    pub hostname: Cow<'a, str>,
    /// The sender's offset from UTC in hours.
    pub utcoffset: f64,
    /// The process of the sender.
    pub pid: u32,
    /// The sender's Lamport clock; other implementations may leave it out.
    pub clock: Option<u64>,
    /// Seconds since 1970.
    pub timestamp: f64,
    /// What has happened.
    pub body: EventBody<'a>,
}

impl Event<'_> {
    /// `task-sent`, `worker-online`, …
    #[must_use]
    pub fn kind(&self) -> &str {
        self.body.kind()
    }

    /// The routing key of an event published alone: its type with dots.
    #[must_use]
    pub fn routing_key(&self) -> String {
        self.kind().replace('-', ".")
    }
}

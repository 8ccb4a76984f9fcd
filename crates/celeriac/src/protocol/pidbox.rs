//! Remote control: requests to workers and their replies (`kombu/pidbox.py`, `celery/app/control.py`).

mod matching;
mod reply;
mod request;
mod values;

pub use matching::MatchError;
pub use reply::Reply;
pub use request::{ReplyTo, Request};
pub use values::{one_or_many, truth};

use super::JsonError;

/// The fanout exchange that requests are published to, with an empty routing key.
pub const CONTROL_EXCHANGE: &str = "celery.pidbox";

/// The direct exchange that replies are published to.
pub const REPLY_EXCHANGE: &str = "reply.celery.pidbox";

/// The queue of a worker's requests.
#[must_use]
pub fn node_queue(node: &str) -> String {
    format!("{node}.{CONTROL_EXCHANGE}")
}

/// The queue of a client's replies; its routing key is `oid`.
#[must_use]
pub fn reply_queue(oid: &str) -> String {
    format!("{oid}.{REPLY_EXCHANGE}")
}

/// A message that is no request or reply; it is dropped.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PidboxError {
    /// The body is not JSON.
    #[error("the message is {0}")]
    Json(#[from] JsonError),
    /// It lacks what every such message has, or has it in another type.
    #[error("the message has no valid {0:?}")]
    Field(&'static str),
}

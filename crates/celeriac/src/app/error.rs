//! Why a task could not be sent.

use std::time::Duration;

use crate::broker::BrokerError;
use crate::protocol::JsonError;

/// Why a task could not be sent, by what the sender should do.
#[derive(Clone, Debug, thiserror::Error)]
pub enum SendError {
    /// No queue takes it. Trying again changes nothing: declare the queue, or mend the routing.
    #[error("no queue takes messages for exchange {exchange:?} with routing key {routing_key:?}")]
    Unroutable {
        /// It was published to this exchange; the default one has the empty name.
        exchange: String,
        /// With this routing key: on the default exchange the name of the queue.
        routing_key: String,
    },
    /// The broker has not confirmed it within the publish timeout. It may have arrived nevertheless: send it again with
    /// the same task id.
    #[error("{address}: no confirmation within {waited:?}: {reason}")]
    Timeout {
        /// The server, without the password.
        address: String,
        /// The publish timeout.
        waited: Duration,
        /// What was in the way last.
        reason: String,
    },
    /// The broker has rejected it for the whole publish timeout: a queue is full that rejects what comes then
    /// (`x-overflow: reject-publish`), or too few of its replicas run. It has not arrived: send it again later.
    #[error("{address}: rejected for {waited:?}: a queue is full, or too few of its replicas run")]
    Rejected {
        /// The server, without the password.
        address: String,
        /// The publish timeout.
        waited: Duration,
    },
    /// The message is larger than [`AppBuilder::max_message_size`](crate::AppBuilder::max_message_size) allows, or would be
    /// so when it is unpacked. Nothing was sent: make the arguments smaller (send where the data is, not the data), or raise
    /// the limit, here and that of the broker (`max_message_size`, 16 MiB in `RabbitMQ` 4).
    #[error("the message of {task} has {size} bytes, max_message_size is {limit}")]
    TooLarge {
        /// The name of the task.
        task: String,
        /// Of the body, in bytes.
        size: usize,
        /// The setting, in bytes.
        limit: usize,
    },
    /// The application was closed.
    #[error("{address}: closed")]
    Unavailable {
        /// The server, without the password.
        address: String,
    },
    /// The broker refused for good: the queue exists with other arguments, or there is no permission.
    #[error("{address}: {reason}")]
    Refused {
        /// The server, without the password.
        address: String,
        /// In the words of the broker.
        reason: String,
    },
    /// The arguments cannot be written as JSON.
    #[error("the arguments of {task} cannot be written: {reason}")]
    Encode {
        /// The name of the task.
        task: String,
        /// What JSON cannot say.
        reason: JsonError,
    },
}

impl From<BrokerError> for SendError {
    fn from(error: BrokerError) -> Self {
        match error {
            BrokerError::Unroutable { exchange, routing_key } => Self::Unroutable { exchange, routing_key },
            BrokerError::Timeout { address, waited, reason } => Self::Timeout { address, waited, reason },
            BrokerError::Rejected { address, waited } => Self::Rejected { address, waited },
            BrokerError::Refused { address, reason } => Self::Refused { address, reason },
            BrokerError::Closed { address } => Self::Unavailable { address },
        }
    }
}

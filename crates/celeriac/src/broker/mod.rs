//! Brokers carry messages. Two exist: `amqp://` (`RabbitMQ`) and `memory://` (inside the process).

mod amqp;
mod backoff;
mod memory;
mod url;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::mpsc;

use crate::protocol::{Headers, Message};

/// A connection to a broker that supervises itself: it reconnects, declares its topology again and resumes
/// its consumers by itself. Callers see an error only when waiting longer would be wrong.
#[async_trait]
pub trait Broker: Send + Sync + 'static {
    /// Declares exchanges, queues and bindings, and remembers them to declare again after a reconnect.
    async fn declare(&self, topology: &Topology) -> Result<(), BrokerError>;

    /// Publishes one message and waits until the broker has taken responsibility for it.
    async fn publish(&self, publication: Publication) -> Result<(), BrokerError>;

    /// Publishes many at once without waiting for each in turn. The answers are in the order of the messages.
    async fn publish_batch(&self, publications: Vec<Publication>) -> Vec<Result<(), BrokerError>>;

    /// Publishes without asking for a confirmation: for events and replies, which may be lost. It does not hold its
    /// caller while the broker is away or takes no messages: that is an error at once.
    async fn publish_unconfirmed(&self, publication: Publication) -> Result<(), BrokerError>;

    /// Starts to consume a queue. Should the broker end the consumer, or its channel, it starts again by itself.
    async fn consume(&self, options: ConsumeOptions) -> Result<Subscription, BrokerError>;

    /// Removes a binding, and forgets it.
    async fn unbind(&self, binding: &Binding) -> Result<(), BrokerError>;

    /// Deletes a queue with what is in it; returns how many messages that were. No such queue is no error.
    async fn delete_queue(&self, queue: &str) -> Result<u64, BrokerError>;

    /// Drops the messages that wait in a queue; returns how many.
    async fn purge(&self, queue: &str) -> Result<u64, BrokerError>;

    /// Messages ready in a queue and its consumers; `None` if there is no such queue.
    async fn queue_depth(&self, queue: &str) -> Result<Option<QueueDepth>, BrokerError>;

    /// The address without its password, for logs and error messages.
    fn address(&self) -> &str;

    /// How the connection is at this moment; it does not ask the server.
    fn health(&self) -> BrokerHealth;

    /// Closes the connections. Messages delivered but not acknowledged go back to their queues.
    async fn close(&self);
}

/// How to connect.
#[derive(Clone, Debug)]
pub struct ConnectOptions {
    /// How long a publish, or any other command, holds its caller while the broker is away or does not answer.
    /// 30 s by default.
    pub publish_timeout: Duration,
    /// How long [`connect`] tries for the first time. 30 s by default.
    pub connect_timeout: Duration,
    /// How long one attempt to connect may take, unless the address says it (`?connect_timeout=4`). 10 s by default, and
    /// of several servers at first 3 s each, so that a silent one does not hide the next.
    pub attempt_timeout: Duration,
    /// Asked of the broker, unless the address says it (`?heartbeat=30`), in whole seconds; the lower of both sides
    /// counts, and 0 is none. The broker sends something twice in this time; a connection on which nothing came for one
    /// and a half times as long (3 s at least) is given up. 5 s by default, the least that `RabbitMQ` recommends.
    pub heartbeat: Duration,
    /// Shown on the broker's management page.
    pub connection_name: String,
}

impl Default for ConnectOptions {
    fn default() -> Self {
        Self {
            publish_timeout: Duration::from_secs(30),
            connect_timeout: Duration::from_secs(30),
            attempt_timeout: Duration::from_secs(10),
            heartbeat: Duration::from_secs(5),
            connection_name: "celeriac".to_owned(),
        }
    }
}

/// Connects to the broker that `url` names: `amqp://`, `amqps://` or `memory://`, as Celery writes them. Several AMQP
/// servers with `;` between them are tried in turn, beginning with any of them, now and at every loss of the connection.
///
/// # Errors
/// [`BrokerError::Refused`] at once for an address that cannot be used, a wrong password or virtual host;
/// [`BrokerError::Timeout`] when the broker cannot be reached within `connect_timeout`.
pub async fn connect(url: &str, options: ConnectOptions) -> Result<Arc<dyn Broker>, BrokerError> {
    Ok(match self::url::parse(url)? {
        self::url::Target::Amqp(endpoints) => Arc::new(amqp::AmqpBroker::connect(&endpoints, &options).await?),
        self::url::Target::Memory(name) => Arc::new(memory::MemoryBroker::connect(&name)),
    })
}

/// What must exist before messages can flow.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Topology {
    /// Declared first.
    pub exchanges: Vec<Exchange>,
    /// Declared next.
    pub queues: Vec<Queue>,
    /// Made last, between what was declared or exists.
    pub bindings: Vec<Binding>,
}

/// An exchange as AMQP declares it (`exchange.declare`).
#[derive(Clone, Debug, PartialEq)]
pub struct Exchange {
    /// The empty name is the default exchange, which cannot be declared.
    pub name: String,
    /// How it chooses among its bindings.
    pub kind: ExchangeKind,
    /// Survives a restart of the broker.
    pub durable: bool,
    /// Deleted when its last binding is.
    pub auto_delete: bool,
}

/// How an exchange chooses the bindings that a message follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExchangeKind {
    /// Those whose key is the routing key.
    Direct,
    /// Those whose pattern fits: `*` is one word, `#` any number of words, with dots between them.
    Topic,
    /// All.
    Fanout,
}

impl ExchangeKind {
    /// As AMQP names it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Topic => "topic",
            Self::Fanout => "fanout",
        }
    }
}

/// A queue as AMQP declares it (`queue.declare`).
#[derive(Clone, Debug, PartialEq)]
pub struct Queue {
    /// Bound to the default exchange under this name, always.
    pub name: String,
    /// Survives a restart of the broker.
    pub durable: bool,
    /// Ours alone, and deleted with the connection.
    pub exclusive: bool,
    /// Deleted when its last consumer is gone.
    pub auto_delete: bool,
    /// `x-queue-type`, `x-max-priority`, `x-message-ttl`, `x-expires`, …
    pub arguments: Headers,
}

/// What leads messages from an exchange to a queue, or to another exchange.
#[derive(Clone, Debug, PartialEq)]
pub struct Binding {
    /// The exchange that messages come from.
    pub exchange: String,
    /// The queue, or the exchange, that they go to.
    pub destination: BindingDestination,
    /// A pattern, on a topic exchange; ignored by a fanout exchange.
    pub routing_key: String,
}

/// Where a binding leads.
#[derive(Clone, Debug, PartialEq)]
pub enum BindingDestination {
    /// To the queue of this name.
    Queue(String),
    /// To the exchange of this name.
    Exchange(String),
}

/// A message and where it goes.
#[derive(Clone, Debug, PartialEq)]
pub struct Publication {
    /// Empty: the default exchange, which leads to the queue of the routing key.
    pub exchange: String,
    /// What the exchange chooses by.
    pub routing_key: String,
    /// A message that no queue takes is an error ([`BrokerError::Unroutable`]) instead of being dropped.
    pub mandatory: bool,
    /// What is carried.
    pub message: Message,
}

/// Which messages, and how many at once (`basic.consume`, `basic.qos`).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ConsumeOptions {
    /// It must exist.
    pub queue: String,
    /// How many deliveries may be unacknowledged at once, for this consumer alone; 0 is without a limit (2,000 on
    /// quorum queues).
    pub prefetch: u16,
    /// Each message counts as acknowledged when it is delivered: one that is lost on the way is lost.
    pub no_ack: bool,
    /// Nobody else may consume the queue; refused while somebody does.
    pub exclusive: bool,
    /// Empty: the broker chooses.
    pub consumer_tag: String,
}

/// A running consumer.
pub struct Subscription {
    /// What comes.
    pub deliveries: Deliveries,
    /// What settles it.
    pub control: Arc<dyn ConsumerControl>,
}

/// The deliveries of a consumer. It outlives reconnects and ends only when the consumer is cancelled.
pub type Deliveries = mpsc::Receiver<Delivery>;

/// A message that was delivered, and is to be settled unless the consumer is `no_ack`.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// What was published.
    pub message: Message,
    /// Where it was published to; the default exchange is empty.
    pub exchange: String,
    /// With which key it was published.
    pub routing_key: String,
    /// The broker has delivered it before, here or elsewhere, and it came back.
    pub redelivered: bool,
    /// Names it when it is settled.
    pub tag: DeliveryTag,
}

/// Names a delivery. A tag is only good on the channel it came from, so it carries that channel's generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeliveryTag {
    /// Counts the channels that this consumer has had.
    pub generation: u64,
    /// The broker's own number, which counts from 1 on each channel.
    pub tag: u64,
}

/// Settles the deliveries of one consumer. An ack or reject whose generation is dead does nothing and is no error:
/// the broker delivers that message again.
#[async_trait]
pub trait ConsumerControl: Send + Sync {
    /// Acknowledges a delivery, with `multiple` also all before it of the same generation: tags of a generation
    /// count up in the order in which deliveries are handed out.
    ///
    /// It returns when the ack is on its way. Acknowledge nothing twice: `RabbitMQ` then drops the channel, and
    /// delivers everything again that was open on it.
    async fn ack(&self, tag: DeliveryTag, multiple: bool) -> Result<(), BrokerError>;

    /// Gives a delivery back to its queue, or drops it (to the dead-letter exchange if the queue has one).
    async fn reject(&self, tag: DeliveryTag, requeue: bool) -> Result<(), BrokerError>;

    /// Changes the prefetch count of this running consumer, also for the time after a reconnect. Until the deliveries
    /// of before are settled, there may be more of them than a lower count allows; a raise may be rounded up by an
    /// eighth.
    async fn set_prefetch(&self, prefetch: u16) -> Result<(), BrokerError>;

    /// Whether the broker has a consumer for this just now, as far as this side knows. False while it starts again, and
    /// for good once it was cancelled.
    fn is_active(&self) -> bool;

    /// Whether deliveries of this generation can still be settled, as far as this side knows.
    fn is_current(&self, generation: u64) -> bool {
        let _ = generation;
        true
    }

    /// Stops the deliveries. Those that are on their way are still handed out, then the receiver ends. What was
    /// delivered can still be acknowledged.
    async fn cancel(&self) -> Result<(), BrokerError>;

    /// Gives all unacknowledged deliveries back and ends the consumer. Dropping both the deliveries and the control
    /// does the same.
    async fn close(&self);
}

/// What is in a queue (`queue.declare` with `passive`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QueueDepth {
    /// Ready to be delivered; those that are delivered and not acknowledged do not count.
    pub messages: u64,
    /// Of all connections.
    pub consumers: u64,
}

/// How the connection to a broker is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BrokerHealth {
    /// There is a connection; while there is none, it is being made again.
    pub connected: bool,
    /// The broker has blocked publishers (memory or disk alarm).
    pub blocked: bool,
    /// How long the connection has been as it is.
    pub since: Duration,
    /// How long ago anything came from the broker last, heartbeats too.
    pub last_frame: Duration,
    /// What both sides have agreed on; `None`: the connection has none.
    pub heartbeat: Option<Duration>,
}

impl BrokerHealth {
    /// Connected, it seems, and yet nothing has come for twice the heartbeat.
    #[must_use]
    pub fn is_silent(&self) -> bool {
        self.connected && self.heartbeat.is_some_and(|heartbeat| self.last_frame > heartbeat * 2)
    }
}

/// What went wrong, by what the caller should do.
#[derive(Debug, Clone, thiserror::Error)]
pub enum BrokerError {
    /// No queue takes this message, or its exchange does not exist: declare the queue or mend the routing. Trying again changes nothing.
    #[error("no queue takes messages for exchange {exchange:?} with routing key {routing_key:?}")]
    Unroutable {
        /// Where it was published to.
        exchange: String,
        /// With which key.
        routing_key: String,
    },
    /// The broker could not be reached in the time the caller was willing to wait. The message may or may not have
    /// arrived: publish again with the same task id.
    #[error("{address}: no confirmation within {waited:?}: {reason}")]
    Timeout {
        /// The server, without the password.
        address: String,
        /// How long that was.
        waited: Duration,
        /// What was in the way last.
        reason: String,
    },
    /// The broker has rejected the message again and again for as long as the caller was willing to wait: a queue is full
    /// that rejects what comes then (`x-overflow: reject-publish`), or too few of its replicas run. It has not arrived.
    #[error("{address}: rejected for {waited:?}: a queue is full, or too few of its replicas run")]
    Rejected {
        /// The server, without the password.
        address: String,
        /// How long that was.
        waited: Duration,
    },
    /// The broker refused for good: other arguments than those of an existing object, no access, a wrong address.
    #[error("{address}: {reason}")]
    Refused {
        /// The server, without the password.
        address: String,
        /// In the words of the broker.
        reason: String,
    },
    /// This broker was closed by us.
    #[error("{address}: closed")]
    Closed {
        /// The server, without the password.
        address: String,
    },
}

impl BrokerError {
    /// The kind of error in one word, for the labels of figures.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Unroutable { .. } => "unroutable",
            Self::Timeout { .. } => "timeout",
            Self::Rejected { .. } => "rejected",
            Self::Refused { .. } => "refused",
            Self::Closed { .. } => "closed",
        }
    }
}

//! A broker that remembers the tasks that go through it, and lets none of them wait for its time.

use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::Mutex;

use crate::broker::{
    self, Binding, Broker, BrokerError, BrokerHealth, ConnectOptions, ConsumeOptions, Publication, QueueDepth,
    Subscription, Topology,
};
use crate::protocol::{ArgumentsError, TaskMessage, Value};
use crate::task::Task;

/// How the names of queues begin that carry one task to its body and are nobody's business.
pub(super) const PRIVATE_QUEUE: &str = "celeriac.testing.";

/// A task that was sent.
#[derive(Clone, Debug)]
pub struct Enqueued<T> {
    /// The arguments.
    pub task: T,
    /// The whole message: its id, ETA, headers, how often it was retried before.
    pub message: TaskMessage,
    /// Where it was published to; empty for the default exchange.
    pub exchange: String,
    /// The name of the queue, with the default exchange.
    pub routing_key: String,
}

impl Enqueued<()> {
    /// The same with its arguments read.
    ///
    /// # Errors
    /// They do not fit the type.
    pub fn read<T: Task>(self) -> Result<Enqueued<T>, ArgumentsError> {
        let task = self.message.arguments()?;
        let Self { message, exchange, routing_key, .. } = self;
        Ok(Enqueued { task, message, exchange, routing_key })
    }
}

pub(super) struct Recorder {
    inner: Arc<dyn Broker>,
    sent: Mutex<Vec<Enqueued<()>>>,
    queues: Mutex<BTreeSet<String>>,
}

impl Recorder {
    pub(super) async fn new(address: &str) -> Self {
        let inner = broker::connect(address, ConnectOptions::default()).await.expect("memory:// needs no server");
        Self { inner, sent: Mutex::default(), queues: Mutex::default() }
    }

    /// The tasks that were taken by a queue.
    pub(super) fn sent(&self) -> Vec<Enqueued<()>> {
        self.sent.lock().clone()
    }

    pub(super) fn clear(&self) {
        self.sent.lock().clear();
    }

    /// The queues of tasks: those that last, unlike the queues of events and replies.
    pub(super) fn queues(&self) -> Vec<String> {
        self.queues.lock().iter().cloned().collect()
    }

    fn remember(&self, task: Enqueued<()>) {
        if !task.routing_key.starts_with(PRIVATE_QUEUE) {
            self.sent.lock().push(task);
        }
    }
}

/// The task that is published, if it is one.
fn task(publication: &Publication) -> Option<Enqueued<()>> {
    let message = TaskMessage::decode(publication.message.clone()).ok()?;
    let (exchange, routing_key) = (publication.exchange.clone(), publication.routing_key.clone());
    Some(Enqueued { task: (), message, exchange, routing_key })
}

/// The publication without its ETA.
fn at_once(mut publication: Publication) -> Publication {
    if publication.message.headers.get("eta").is_some() {
        publication.message.headers.insert("eta", Value::Null);
    }
    publication
}

#[async_trait]
impl Broker for Recorder {
    async fn declare(&self, topology: &Topology) -> Result<(), BrokerError> {
        self.inner.declare(topology).await?;
        let lasting = topology.queues.iter().filter(|queue| queue.durable && !queue.exclusive && !queue.auto_delete);
        let names = lasting.map(|queue| queue.name.clone()).filter(|name| !name.starts_with(PRIVATE_QUEUE));
        self.queues.lock().extend(names);
        Ok(())
    }

    async fn publish(&self, publication: Publication) -> Result<(), BrokerError> {
        let task = task(&publication);
        self.inner.publish(at_once(publication)).await?;
        task.into_iter().for_each(|task| self.remember(task));
        Ok(())
    }

    async fn publish_batch(&self, publications: Vec<Publication>) -> Vec<Result<(), BrokerError>> {
        let tasks: Vec<_> = publications.iter().map(task).collect();
        let confirmations = self.inner.publish_batch(publications.into_iter().map(at_once).collect()).await;
        for (task, confirmation) in tasks.into_iter().zip(&confirmations) {
            if let (Some(task), Ok(())) = (task, confirmation) {
                self.remember(task);
            }
        }
        confirmations
    }

    async fn publish_unconfirmed(&self, publication: Publication) -> Result<(), BrokerError> {
        self.inner.publish_unconfirmed(publication).await
    }

    async fn consume(&self, options: ConsumeOptions) -> Result<Subscription, BrokerError> {
        self.inner.consume(options).await
    }

    async fn unbind(&self, binding: &Binding) -> Result<(), BrokerError> {
        self.inner.unbind(binding).await
    }

    async fn delete_queue(&self, queue: &str) -> Result<u64, BrokerError> {
        let dropped = self.inner.delete_queue(queue).await?;
        self.queues.lock().remove(queue);
        Ok(dropped)
    }

    async fn purge(&self, queue: &str) -> Result<u64, BrokerError> {
        self.inner.purge(queue).await
    }

    async fn queue_depth(&self, queue: &str) -> Result<Option<QueueDepth>, BrokerError> {
        self.inner.queue_depth(queue).await
    }

    fn address(&self) -> &str {
        self.inner.address()
    }

    fn health(&self) -> BrokerHealth {
        self.inner.health()
    }

    async fn close(&self) {
        self.inner.close().await;
    }
}

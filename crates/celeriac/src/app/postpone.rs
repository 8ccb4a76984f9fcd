//! Leaving to the broker what is to start later.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::RwLock;

use super::{App, QueueDefinition, delay};
use crate::broker::{BrokerError, ExchangeKind, Publication};
use crate::protocol::Due;

/// What an application has declared for messages that are late.
#[derive(Default)]
pub(super) struct Delays {
    ladder: AtomicBool,
    /// The queues that the ladder leads to.
    queues: RwLock<HashSet<String>>,
    /// The broker does not let us.
    refused: AtomicBool,
}

impl App {
    /// Makes a message to a queue come about when it is to start, if that is a second or more from now and the broker
    /// keeps such messages. Otherwise it comes at once, and its worker waits.
    pub(crate) async fn postpone(&self, queue: &str, message: &mut Publication, due: Option<Due>) {
        let seconds = due.and_then(|due| delay::seconds_until(due, crate::clock::now()));
        let Some(seconds) = seconds.filter(|_| self.delays()) else { return };
        let definition = self.queue(queue);
        let late = delay::address(&definition, &message.exchange, &message.routing_key, seconds);
        let Some((exchange, routing_key)) = late else { return };
        if self.prepared(self.prepare(&definition).await) {
            message.exchange = exchange;
            message.routing_key = routing_key;
        }
    }

    /// Lets a worker have the messages for a queue that the broker keeps: those that Python programs send, who leave it
    /// to the worker to declare the ladder, and those that a queue which was deleted was to have.
    pub(crate) async fn receive_delayed(&self, definition: &QueueDefinition) {
        if !self.delays() {
            return;
        }
        let declared = match (definition.kind(), delay::way_to(definition)) {
            (ExchangeKind::Topic, _) => self.prepare(definition).await,
            (_, Some(way)) => self.inner.broker.declare(&way).await,
            (_, None) => Ok(()),
        };
        self.prepared(declared);
    }

    fn delays(&self) -> bool {
        self.inner.config.delays && !self.inner.delays.refused.load(Ordering::Relaxed)
    }

    /// Declares the ladder before its first use, and the way from it to a queue.
    async fn prepare(&self, definition: &QueueDefinition) -> Result<(), BrokerError> {
        let (delays, broker) = (&self.inner.delays, &self.inner.broker);
        if delays.queues.read().contains(&definition.name) {
            return Ok(());
        }
        if !delays.ladder.load(Ordering::Acquire) {
            broker.declare(&delay::ladder(self.inner.config.delay_queue_type)).await?;
            delays.ladder.store(true, Ordering::Release);
        }
        if let Some(way) = delay::way_to(definition) {
            broker.declare(&way).await?;
            delays.queues.write().insert(definition.name.clone());
        }
        Ok(())
    }

    /// Without the ladder workers wait, as they do with classic queues.
    fn prepared(&self, declared: Result<(), BrokerError>) -> bool {
        match declared {
            Ok(()) => true,
            Err(error @ BrokerError::Refused { .. }) => {
                if !self.inner.delays.refused.swap(true, Ordering::Relaxed) {
                    tracing::warn!(%error, "the broker keeps no late messages: workers wait for their time (native_delayed_delivery)");
                }
                false
            }
            Err(error) => {
                tracing::debug!(%error, "a late message goes to its worker at once");
                false
            }
        }
    }
}

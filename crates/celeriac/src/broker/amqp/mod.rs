//! `amqp://` and `amqps://`: `RabbitMQ` through lapin.
//!
//! Two connections, each with its own [`link`]: one for publishers, which the broker blocks as a whole when it is low
//! on memory or disk, and one for consumers and declarations, which goes on then, so that queues can be emptied.

mod consumer;
mod control;
mod error;
mod flight;
mod lane;
mod link;
mod prefetch;
mod present;
mod publisher;
mod server;
mod socket;
mod stack;
mod topology;
mod trial;
mod wire;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use lapin::Channel;
use lapin::options::{QueueDeclareOptions, QueueDeleteOptions, QueuePurgeOptions};
use lapin::types::{FieldTable, ShortString};
use tokio::time::{sleep, timeout};

use self::error::{is_not_found, refusal};
use self::link::{Link, Live};
use self::publisher::Publisher;
use self::topology::{Remembered, bound, ensure, steps};
use self::wire::short;
use super::url::{Endpoint, address_of};
use super::{
    Binding, Broker, BrokerError, BrokerHealth, ConnectOptions, ConsumeOptions, Publication, QueueDepth, Subscription,
    Topology,
};
use crate::outage::Reachability;

/// A pause before a command is tried again on the same connection.
const AFTER_CHANNEL_ERROR: Duration = Duration::from_millis(100);

pub(super) struct AmqpBroker {
    address: Arc<str>,
    timeout: Duration,
    topology: Arc<Remembered>,
    consumers: Link,
    publishers: Link,
    publisher: Publisher,
}

impl AmqpBroker {
    /// Connects both links, within `options.connect_timeout`.
    pub(super) async fn connect(endpoints: &[Endpoint], options: &ConnectOptions) -> Result<Self, BrokerError> {
        let address: Arc<str> = address_of(endpoints).into();
        let topology = Arc::new(Remembered::default());
        let reachability = Reachability::new("the broker", &*address);
        let consumers = Link::start("consumer", endpoints, options, topology.clone(), &reachability)?;
        let publishers = Link::start("publisher", endpoints, options, topology.clone(), &reachability)?;
        let publisher = Publisher::start(publishers.clone(), address.clone(), options.publish_timeout);
        let broker = Self { address, timeout: options.publish_timeout, topology, consumers, publishers, publisher };
        tokio::try_join!(
            broker.consumers.connected(options.connect_timeout),
            broker.publishers.connected(options.connect_timeout)
        )?;
        Ok(broker)
    }

    /// Runs a command on a channel of its own, again on the next connection when this one is lost.
    async fn command<T, F>(&self, run: impl Fn(Channel) -> F) -> Result<T, BrokerError>
    where
        F: Future<Output = Result<T, lapin::Error>> + Send,
    {
        let run = &run;
        let with_channel = |live: Arc<Live>| async move {
            let channel = live.connection.create_channel().await?;
            let value = run(channel.clone()).await?;
            // The broker closes it itself when it has not found something.
            if channel.status().connected() {
                channel.close(200, "OK".into()).await?;
            }
            Ok(value)
        };
        self.attempt(with_channel).await
    }

    /// Does something on a connection, again on the next one when this one is lost.
    async fn attempt<T, F>(&self, run: impl Fn(Arc<Live>) -> F) -> Result<T, BrokerError>
    where
        F: Future<Output = Result<T, lapin::Error>>,
    {
        let attempts = async {
            while let Some(live) = self.consumers.live().await {
                let done = tokio::select! {
                    done = run(Arc::clone(&live)) => done,
                    () = live.lost() => continue,
                };
                match done {
                    Ok(value) => return Ok(value),
                    Err(error) => {
                        if let Some(reason) = refusal(&error) {
                            return Err(self.refused(reason));
                        }
                        self.consumers.doubt();
                        sleep(AFTER_CHANNEL_ERROR).await;
                    }
                }
            }
            Err(self.closed())
        };
        self.in_time(attempts).await
    }

    async fn in_time<T>(&self, work: impl Future<Output = Result<T, BrokerError>>) -> Result<T, BrokerError> {
        timeout(self.timeout, work).await.unwrap_or_else(|_| {
            let (address, reason) = (self.address.to_string(), self.consumers.trouble());
            Err(BrokerError::Timeout { address, waited: self.timeout, reason })
        })
    }

    fn queue_name(&self, queue: &str) -> Result<ShortString, BrokerError> {
        short("the name of a queue", queue).map_err(|reason| self.refused(reason))
    }

    fn refused(&self, reason: String) -> BrokerError {
        BrokerError::Refused { address: self.address.to_string(), reason }
    }

    fn closed(&self) -> BrokerError {
        BrokerError::Closed { address: self.address.to_string() }
    }
}

#[async_trait]
impl Broker for AmqpBroker {
    async fn declare(&self, topology: &Topology) -> Result<(), BrokerError> {
        let steps = steps(topology).map_err(|reason| self.refused(reason))?;
        let steps = &steps;
        let declared = self.attempt(|live| async move {
            let channel = ensure(&live.connection, steps).await?;
            channel.close(200, "OK".into()).await
        });
        declared.await?;
        self.topology.add(topology);
        Ok(())
    }

    async fn publish(&self, publication: Publication) -> Result<(), BrokerError> {
        self.publisher.publish(publication).await
    }

    async fn publish_batch(&self, publications: Vec<Publication>) -> Vec<Result<(), BrokerError>> {
        self.publisher.publish_batch(publications).await
    }

    async fn publish_unconfirmed(&self, publication: Publication) -> Result<(), BrokerError> {
        self.publisher.publish_unconfirmed(publication).await
    }

    async fn consume(&self, options: ConsumeOptions) -> Result<Subscription, BrokerError> {
        self.in_time(consumer::start(self.consumers.clone(), &self.address, self.topology.clone(), options)).await
    }

    async fn unbind(&self, binding: &Binding) -> Result<(), BrokerError> {
        let names = bound(binding).map_err(|reason| self.refused(reason))?;
        self.topology.forget_binding(binding);
        let names = &names;
        self.command(|channel| async move { names.unbind(&channel).await }).await
    }

    async fn delete_queue(&self, queue: &str) -> Result<u64, BrokerError> {
        let name = self.queue_name(queue)?;
        self.topology.forget_queue(queue);
        let name = &name;
        let deleted = self.command(|channel| async move {
            match channel.queue_delete(name.clone(), QueueDeleteOptions::default()).await {
                Ok(count) => Ok(u64::from(count)),
                Err(error) if is_not_found(&error) => Ok(0),
                Err(error) => Err(error),
            }
        });
        deleted.await
    }

    async fn purge(&self, queue: &str) -> Result<u64, BrokerError> {
        let name = self.queue_name(queue)?;
        let name = &name;
        self.command(|channel| async move { channel.queue_purge(name.clone(), QueuePurgeOptions::default()).await })
            .await
            .map(u64::from)
    }

    async fn queue_depth(&self, queue: &str) -> Result<Option<QueueDepth>, BrokerError> {
        let name = self.queue_name(queue)?;
        let passive = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        let name = &name;
        let depth = self.command(|channel| async move {
            match channel.queue_declare(name.clone(), passive, FieldTable::default()).await {
                Ok(queue) => Ok(Some(QueueDepth {
                    messages: u64::from(queue.message_count()),
                    consumers: u64::from(queue.consumer_count()),
                })),
                Err(error) if is_not_found(&error) => Ok(None),
                Err(error) => Err(error),
            }
        });
        depth.await
    }

    fn address(&self) -> &str {
        &self.address
    }

    fn health(&self) -> BrokerHealth {
        let (consumers, publishers) = (self.consumers.health(), self.publishers.health());
        BrokerHealth {
            connected: consumers.connected && publishers.connected,
            blocked: consumers.blocked || publishers.blocked,
            since: consumers.since.max(publishers.since).elapsed(),
            last_frame: consumers.last_frame.min(publishers.last_frame).elapsed(),
            heartbeat: consumers.heartbeat.or(publishers.heartbeat),
        }
    }

    async fn close(&self) {
        tokio::join!(self.publishers.close(), self.consumers.close());
    }
}

impl Drop for AmqpBroker {
    fn drop(&mut self) {
        self.publishers.abandon();
        self.consumers.abandon();
    }
}

//! A broker that counts the tasks which are sent by it.

use std::sync::Arc;

use async_trait::async_trait;
use tokio::time::Instant;

use crate::broker::{
    Binding, Broker, BrokerError, BrokerHealth, ConsumeOptions, Publication, QueueDepth, Subscription, Topology,
};
use crate::metrics::SendMeters;

pub(super) struct Measured {
    broker: Arc<dyn Broker>,
    meters: SendMeters,
}

impl Measured {
    pub(super) fn new(broker: Arc<dyn Broker>) -> Self {
        Self { broker, meters: SendMeters::new() }
    }
}

/// Where a task goes; nothing of what else is published, such as replies, whose queues are countless.
fn destination(publication: &Publication) -> Option<String> {
    let Publication { exchange, routing_key, message, .. } = publication;
    let is_task = message.headers.get("task").is_some();
    is_task.then(|| if exchange.is_empty() { routing_key.clone() } else { exchange.clone() })
}

fn kind_of(sent: &Result<(), BrokerError>) -> Option<&'static str> {
    sent.as_ref().err().map(BrokerError::kind)
}

#[async_trait]
impl Broker for Measured {
    async fn publish(&self, publication: Publication) -> Result<(), BrokerError> {
        let (destination, began) = (destination(&publication), Instant::now());
        let sent = self.broker.publish(publication).await;
        if let Some(destination) = destination {
            self.meters.sent(&destination, kind_of(&sent), began.elapsed());
        }
        sent
    }

    async fn publish_batch(&self, publications: Vec<Publication>) -> Vec<Result<(), BrokerError>> {
        let destinations: Vec<_> = publications.iter().map(destination).collect();
        let began = Instant::now();
        let sent = self.broker.publish_batch(publications).await;
        let took = began.elapsed();
        for (destination, sent) in destinations.iter().zip(&sent) {
            if let Some(destination) = destination {
                self.meters.sent(destination, kind_of(sent), took);
            }
        }
        sent
    }

    async fn declare(&self, topology: &Topology) -> Result<(), BrokerError> {
        self.broker.declare(topology).await
    }

    async fn publish_unconfirmed(&self, publication: Publication) -> Result<(), BrokerError> {
        self.broker.publish_unconfirmed(publication).await
    }

    async fn consume(&self, options: ConsumeOptions) -> Result<Subscription, BrokerError> {
        self.broker.consume(options).await
    }

    async fn unbind(&self, binding: &Binding) -> Result<(), BrokerError> {
        self.broker.unbind(binding).await
    }

    async fn delete_queue(&self, queue: &str) -> Result<u64, BrokerError> {
        self.broker.delete_queue(queue).await
    }

    async fn purge(&self, queue: &str) -> Result<u64, BrokerError> {
        self.broker.purge(queue).await
    }

    async fn queue_depth(&self, queue: &str) -> Result<Option<QueueDepth>, BrokerError> {
        self.broker.queue_depth(queue).await
    }

    fn address(&self) -> &str {
        self.broker.address()
    }

    fn health(&self) -> BrokerHealth {
        self.broker.health()
    }

    async fn close(&self) {
        self.broker.close().await;
    }
}

//! Announces every task that is sent: `task-sent` on `celeryev` (Celery's `task_send_sent_event`).

use std::sync::Arc;

use async_trait::async_trait;

use crate::broker::{
    Binding, Broker, BrokerError, BrokerHealth, ConsumeOptions, Exchange, ExchangeKind, Publication, QueueDepth,
    Subscription, Topology,
};
use crate::clock::{self, LamportClock};
use crate::parking::is_noted;
use crate::protocol::event::{EVENT_EXCHANGE, Event, EventBody, TaskSent};
use crate::protocol::{Headers, Value};

/// A broker that announces the tasks that it took. It stands where all that is sent passes, so that retries and the
/// steps of workflows are announced too.
pub(super) struct Announcing {
    broker: Arc<dyn Broker>,
    /// `gen<pid>@<host>`
    origin: String,
    clock: LamportClock,
}

impl Announcing {
    /// Declares the exchange of events, as Celery 5 does.
    pub(super) async fn new(broker: Arc<dyn Broker>, origin: String) -> Result<Self, BrokerError> {
        let exchange =
            Exchange { name: EVENT_EXCHANGE.to_owned(), kind: ExchangeKind::Topic, durable: true, auto_delete: false };
        broker.declare(&Topology { exchanges: vec![exchange], ..Topology::default() }).await?;
        Ok(Self { broker, origin, clock: LamportClock::default() })
    }

    /// The announcement of what is about to be published; `None` if it is no task, or one that is
    /// parked.
    fn announcement(&self, publication: &Publication) -> Option<Publication> {
        if is_noted(&publication.message.headers) {
            return None;
        }
        let body = EventBody::TaskSent(Box::new(task_sent(publication)?));
        let event = Event {
            hostname: self.origin.as_str().into(),
            utcoffset: 0.0,
            pid: std::process::id(),
            clock: Some(self.clock.forward()),
            timestamp: clock::unix_seconds(),
            body,
        };
        Some(Publication {
            exchange: EVENT_EXCHANGE.to_owned(),
            routing_key: event.routing_key(),
            mandatory: false,
            message: event.to_message(),
        })
    }

    async fn announce(&self, announcement: Option<Publication>) {
        if let Some(announcement) = announcement
            && let Err(error) = self.broker.publish_unconfirmed(announcement).await
        {
            tracing::debug!(%error, "event not published");
        }
    }
}

/// What the headers of a task message tell (`celery/app/amqp.py`, `send_task_message`).
fn task_sent(publication: &Publication) -> Option<TaskSent<'_>> {
    let headers = &publication.message.headers;
    // Through the default exchange the routing key is the name of the queue.
    let queue = publication.exchange.is_empty().then_some(publication.routing_key.as_str());
    Some(TaskSent {
        uuid: text(headers, "id")?.into(),
        name: text(headers, "task")?.into(),
        root_id: text(headers, "root_id").map(Into::into),
        parent_id: text(headers, "parent_id").map(Into::into),
        args: text(headers, "argsrepr").unwrap_or_default().into(),
        kwargs: text(headers, "kwargsrepr").unwrap_or_default().into(),
        retries: headers
            .get("retries")
            .and_then(Value::as_i64)
            .and_then(|count| u32::try_from(count).ok())
            .unwrap_or(0),
        eta: text(headers, "eta").map(Into::into),
        expires: text(headers, "expires").map(Into::into),
        queue: queue.map(Into::into),
        exchange: Some(publication.exchange.as_str().into()),
        routing_key: Some(publication.routing_key.as_str().into()),
    })
}

fn text<'a>(headers: &'a Headers, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(Value::as_str)
}

#[async_trait]
impl Broker for Announcing {
    async fn publish(&self, publication: Publication) -> Result<(), BrokerError> {
        let announcement = self.announcement(&publication);
        self.broker.publish(publication).await?;
        self.announce(announcement).await;
        Ok(())
    }

    async fn publish_batch(&self, publications: Vec<Publication>) -> Vec<Result<(), BrokerError>> {
        let announcements: Vec<_> = publications.iter().map(|publication| self.announcement(publication)).collect();
        let confirmations = self.broker.publish_batch(publications).await;
        for (announcement, confirmation) in announcements.into_iter().zip(&confirmations) {
            if confirmation.is_ok() {
                self.announce(announcement).await;
            }
        }
        confirmations
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

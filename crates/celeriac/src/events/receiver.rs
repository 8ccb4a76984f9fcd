//! Receives events (`celery/events/receiver.py`).

use std::sync::Arc;

use uuid::Uuid;

use crate::broker::{
    Binding, BindingDestination, Broker, BrokerError, ConsumeOptions, Exchange, ExchangeKind, Queue, Subscription,
    Topology,
};
use crate::protocol::event::{EVENT_EXCHANGE, Event};
use crate::protocol::{Headers, Message};

/// `event_queue_ttl`: news that nobody has read by then is no news, in milliseconds.
const MESSAGE_TTL: i64 = 5_000;
/// `event_queue_expires`: a queue that nobody uses goes away, in milliseconds.
const QUEUE_EXPIRES: i64 = 60_000;

/// A receiver of events with a queue of its own, which goes away with it. It survives the loss of the connection;
/// what is announced meanwhile is lost to it.
///
/// ```no_run
/// # use celeriac::App;
/// use celeriac::events::{Receiver, State};
///
/// # async fn example(app: App) -> Result<(), celeriac::broker::BrokerError> {
/// let mut receiver = Receiver::all(app.broker()).await?;
/// let mut state = State::default();
/// while let Some(events) = receiver.events().await {
///     for event in &events {
///         println!("{} {}", event.hostname, event.kind());
///         state.apply(event, celeriac::clock::unix_seconds());
///     }
/// }
/// # Ok(())
/// # }
/// ```
pub struct Receiver {
    subscription: Subscription,
}

impl Receiver {
    /// Receives all events.
    ///
    /// Workers that announce no tasks do so only when told by
    /// [`Command::enable_events`](crate::control::Command::enable_events).
    ///
    /// # Errors
    /// The broker cannot be reached or refuses.
    pub async fn all(broker: &Arc<dyn Broker>) -> Result<Self, BrokerError> {
        Self::bound(broker, "#").await
    }

    /// Receives what workers announce about themselves, and nothing about tasks.
    ///
    /// # Errors
    /// The broker cannot be reached or refuses.
    pub async fn workers(broker: &Arc<dyn Broker>) -> Result<Self, BrokerError> {
        Self::bound(broker, "worker.#").await
    }

    async fn bound(broker: &Arc<dyn Broker>, routing_key: &str) -> Result<Self, BrokerError> {
        let queue = format!("celeryev.{}", Uuid::new_v4());
        broker.declare(&topology(&queue, routing_key)).await?;
        let options = ConsumeOptions { queue, no_ack: true, ..ConsumeOptions::default() };
        Ok(Self { subscription: broker.consume(options).await? })
    }

    /// The next message: one event, or a list of them. `None` when the broker was closed.
    pub async fn message(&mut self) -> Option<Message> {
        self.subscription.deliveries.recv().await.map(|delivery| delivery.message)
    }

    /// The events of the next message that can be read. `None` when the broker was closed.
    pub async fn events(&mut self) -> Option<Vec<Event<'static>>> {
        loop {
            match Event::decode(&self.message().await?) {
                Ok(events) => return Some(events),
                Err(error) => tracing::debug!(%error, "event dropped"),
            }
        }
    }
}

/// Declared exactly as Celery 5.7 does: the broker refuses other arguments.
fn topology(queue: &str, routing_key: &str) -> Topology {
    let mut arguments = Headers::with_capacity(2);
    arguments.push("x-expires", QUEUE_EXPIRES);
    arguments.push("x-message-ttl", MESSAGE_TTL);
    Topology {
        exchanges: vec![Exchange {
            name: EVENT_EXCHANGE.to_owned(),
            kind: ExchangeKind::Topic,
            durable: true,
            auto_delete: false,
        }],
        queues: vec![Queue { name: queue.to_owned(), durable: false, exclusive: true, auto_delete: true, arguments }],
        bindings: vec![Binding {
            exchange: EVENT_EXCHANGE.to_owned(),
            destination: BindingDestination::Queue(queue.to_owned()),
            routing_key: routing_key.to_owned(),
        }],
    }
}

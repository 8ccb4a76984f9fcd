//! A broker of each kind, and short words for what the rules do with it.

use std::future::Ready;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use celeriac::broker::{
    Binding, BindingDestination, Broker, ConnectOptions, ConsumeOptions, Deliveries, Delivery, Exchange, ExchangeKind,
    Publication, Queue, Subscription, Topology, connect,
};
use celeriac::protocol::{Headers, Message};
use testkit::Vhost;
use tokio::time::timeout;

/// Nothing here takes longer unless it is broken.
pub(super) const SOON: Duration = Duration::from_secs(20);

/// A place with a broker: everything in it is the test's own.
pub(super) struct Setup {
    pub(super) url: String,
    queue_type: Option<&'static str>,
    _vhost: Option<Vhost>,
}

impl Setup {
    pub(super) async fn classic() -> Self {
        testkit::show_logs();
        let vhost = testkit::rabbitmq().await;
        Self { url: vhost.amqp_url(), queue_type: Some("classic"), _vhost: Some(vhost) }
    }

    pub(super) async fn quorum() -> Self {
        Self { queue_type: Some("quorum"), ..Self::classic().await }
    }

    pub(super) fn memory() -> Ready<Self> {
        // The name must not be shared with another test of this process.
        let name = uuid::Uuid::new_v4();
        std::future::ready(Self { url: format!("memory://{name}"), queue_type: None, _vhost: None })
    }

    pub(super) async fn connect(&self) -> Arc<dyn Broker> {
        connect(&self.url, ConnectOptions::default()).await.expect("the broker is there")
    }

    /// A durable queue of this setup's type.
    pub(super) fn queue(&self, name: &str) -> Queue {
        let mut queue = durable(name);
        if let Some(kind) = self.queue_type {
            queue.arguments.insert("x-queue-type", kind);
        }
        queue
    }

    /// A connection with one queue `q` declared.
    pub(super) async fn with_queue(&self) -> Arc<dyn Broker> {
        let broker = self.connect().await;
        declare(&*broker, self.queue("q")).await;
        broker
    }
}

pub(super) fn durable(name: &str) -> Queue {
    Queue { name: name.into(), durable: true, exclusive: false, auto_delete: false, arguments: Headers::default() }
}

pub(super) fn exchange(name: &str, kind: ExchangeKind) -> Exchange {
    Exchange { name: name.into(), kind, durable: true, auto_delete: false }
}

pub(super) fn bind(exchange: &str, routing_key: &str, queue: &str) -> Binding {
    Binding {
        exchange: exchange.into(),
        destination: BindingDestination::Queue(queue.into()),
        routing_key: routing_key.into(),
    }
}

pub(super) async fn declare(broker: &dyn Broker, queue: Queue) {
    let topology = Topology { queues: vec![queue], ..Topology::default() };
    broker.declare(&topology).await.expect("the queue can be declared");
}

pub(super) fn message(body: impl AsRef<str>) -> Message {
    Message { body: Bytes::copy_from_slice(body.as_ref().as_bytes()), ..Message::default() }
}

/// A mandatory message for a queue, through the default exchange.
pub(super) fn to(queue: &str, body: impl AsRef<str>) -> Publication {
    through("", queue, body)
}

pub(super) fn through(exchange: &str, routing_key: &str, body: impl AsRef<str>) -> Publication {
    Publication { exchange: exchange.into(), routing_key: routing_key.into(), mandatory: true, message: message(body) }
}

pub(super) async fn publish(broker: &dyn Broker, queue: &str, bodies: impl IntoIterator<Item = impl AsRef<str>>) {
    for body in bodies {
        broker.publish(to(queue, body)).await.expect("it is confirmed");
    }
}

pub(super) async fn consume(broker: &dyn Broker, queue: &str, prefetch: u16) -> Subscription {
    let options = ConsumeOptions { queue: queue.into(), prefetch, ..ConsumeOptions::default() };
    broker.consume(options).await.expect("the queue can be consumed")
}

/// The next delivery.
pub(super) async fn next(deliveries: &mut Deliveries) -> Delivery {
    timeout(SOON, deliveries.recv()).await.expect("a delivery in time").expect("the consumer goes on")
}

/// The next deliveries, without an ack.
pub(super) async fn take(deliveries: &mut Deliveries, count: usize) -> Vec<Delivery> {
    let mut taken = Vec::with_capacity(count);
    while taken.len() < count {
        taken.push(next(deliveries).await);
    }
    taken
}

pub(super) fn body(delivery: &Delivery) -> String {
    String::from_utf8(delivery.message.body.to_vec()).expect("test bodies are text")
}

pub(super) fn bodies(deliveries: &[Delivery]) -> Vec<String> {
    deliveries.iter().map(body).collect()
}

/// Reads until a message with the body `end` comes, acknowledging everything.
pub(super) async fn drain_until(subscription: &mut Subscription, end: &str) -> Vec<Delivery> {
    let mut seen = Vec::new();
    loop {
        let delivery = next(&mut subscription.deliveries).await;
        subscription.control.ack(delivery.tag, false).await.expect("an ack is no error");
        if body(&delivery) == end {
            return seen;
        }
        seen.push(delivery);
    }
}

/// Waits until so many messages are ready in a queue.
pub(super) async fn ready(broker: &dyn Broker, queue: &str, count: u64) {
    testkit::eventually(SOON, async || {
        let depth = broker.queue_depth(queue).await.expect("the depth can be asked").map(|depth| depth.messages);
        if depth == Some(count) { Ok(()) } else { Err(depth) }
    })
    .await;
}

/// Waits until a queue has so many consumers.
pub(super) async fn consumers(broker: &dyn Broker, queue: &str, count: u64) {
    testkit::eventually(SOON, async || {
        let depth = broker.queue_depth(queue).await.expect("the depth can be asked").map(|depth| depth.consumers);
        if depth == Some(count) { Ok(()) } else { Err(depth) }
    })
    .await;
}

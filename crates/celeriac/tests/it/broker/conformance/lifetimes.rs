//! What expires, what is urgent, what is dead-lettered, who is alone: what quorum queues of the `RabbitMQ` versions in
//! use do not have, or have differently.

use celeriac::broker::{Broker, BrokerError, ConsumeOptions, ExchangeKind, Queue, Topology};
use celeriac::protocol::Value;

use super::conformance;
use crate::broker::setup::*;

conformance! { classic, memory:
    urgent_messages_come_first
    an_expired_message_is_not_delivered
    the_shorter_time_to_live_counts
    an_expired_message_is_dead_lettered
    a_rejected_message_is_dead_lettered
    an_unused_queue_expires
    an_auto_delete_queue_goes_with_its_last_consumer
    an_exclusive_consumer_is_alone
    a_consumer_waits_for_its_queue_to_come_back
}

fn with(mut queue: Queue, name: &str, value: impl Into<Value>) -> Queue {
    queue.arguments.insert(name, value);
    queue
}

async fn urgent_messages_come_first(setup: &Setup) {
    let broker = setup.connect().await;
    declare(&*broker, with(setup.queue("q"), "x-max-priority", 5_i64)).await;
    for (priority, body) in [(0, "a"), (5, "b"), (9, "c"), (3, "d"), (0, "e")] {
        let mut publication = to("q", body);
        publication.message.properties.priority = Some(priority);
        broker.publish(publication).await.unwrap();
    }
    let mut subscription = consume(&*broker, "q", 0).await;
    // 9 is more than the queue knows, so it counts as 5.
    assert_eq!(bodies(&take(&mut subscription.deliveries, 5).await), ["b", "c", "d", "a", "e"]);
}

async fn an_expired_message_is_not_delivered(setup: &Setup) {
    let broker = setup.with_queue().await;
    let mut short = to("q", "short");
    short.message.properties.expiration = Some(20);
    broker.publish(short).await.unwrap();
    ready(&*broker, "q", 0).await;
    publish(&*broker, "q", ["end"]).await;
    let mut subscription = consume(&*broker, "q", 0).await;
    assert!(drain_until(&mut subscription, "end").await.is_empty());
}

async fn the_shorter_time_to_live_counts(setup: &Setup) {
    let broker = setup.connect().await;
    declare(&*broker, with(setup.queue("short"), "x-message-ttl", 20_i64)).await;
    let mut long = to("short", "long");
    long.message.properties.expiration = Some(600_000);
    broker.publish(long).await.unwrap();
    ready(&*broker, "short", 0).await;
}

/// A queue `q` whose dead letters go to the queue `dead` through the exchange `graves`.
async fn with_graves(setup: &Setup, queue: Queue) -> std::sync::Arc<dyn Broker> {
    let broker = setup.connect().await;
    let queue = with(queue, "x-dead-letter-exchange", "graves");
    let topology = Topology {
        exchanges: vec![exchange("graves", ExchangeKind::Direct)],
        queues: vec![with(queue, "x-dead-letter-routing-key", "rip"), setup.queue("dead")],
        bindings: vec![bind("graves", "rip", "dead")],
    };
    broker.declare(&topology).await.unwrap();
    broker
}

async fn an_expired_message_is_dead_lettered(setup: &Setup) {
    let broker = with_graves(setup, with(setup.queue("q"), "x-message-ttl", 20_i64)).await;
    let mut publication = to("q", "x");
    publication.message.properties.expiration = Some(20);
    broker.publish(publication).await.unwrap();
    let mut dead = consume(&*broker, "dead", 0).await;
    let delivery = next(&mut dead.deliveries).await;
    assert_eq!((delivery.exchange.as_str(), delivery.routing_key.as_str()), ("graves", "rip"));
    assert_eq!(delivery.message.properties.expiration, None, "it must not die again");
    let Some(Value::List(deaths)) = delivery.message.headers.get("x-death") else { panic!("{delivery:?}") };
    let [Value::Table(death)] = &deaths[..] else { panic!("{deaths:?}") };
    assert_eq!(death.get("reason"), Some(&Value::from("expired")));
    assert_eq!(death.get("queue"), Some(&Value::from("q")));
    assert_eq!(death.get("count"), Some(&Value::Int(1)));
    assert_eq!(death.get("exchange"), Some(&Value::from("")));
    assert_eq!(death.get("routing-keys"), Some(&Value::from(vec!["q"])));
    assert_eq!(death.get("original-expiration"), Some(&Value::from("20")));
    assert_eq!(delivery.message.headers.get("x-first-death-queue"), Some(&Value::from("q")));
}

async fn a_rejected_message_is_dead_lettered(setup: &Setup) {
    let broker = with_graves(setup, setup.queue("q")).await;
    publish(&*broker, "q", ["a", "b"]).await;
    let mut subscription = consume(&*broker, "q", 0).await;
    let taken = take(&mut subscription.deliveries, 2).await;
    subscription.control.ack(taken[0].tag, false).await.unwrap();
    subscription.control.reject(taken[1].tag, false).await.unwrap();
    let mut dead = consume(&*broker, "dead", 0).await;
    let delivery = next(&mut dead.deliveries).await;
    assert_eq!(body(&delivery), "b");
    assert_eq!(delivery.message.headers.get("x-first-death-reason"), Some(&Value::from("rejected")));
}

async fn an_unused_queue_expires(setup: &Setup) {
    let broker = setup.connect().await;
    declare(&*broker, with(durable("used"), "x-expires", 300_i64)).await;
    declare(&*broker, with(durable("unused"), "x-expires", 300_i64)).await;
    let subscription = consume(&*broker, "used", 0).await;
    gone(&*broker, "unused").await;
    assert!(broker.queue_depth("used").await.unwrap().is_some(), "a consumer keeps it");
    subscription.control.close().await;
    gone(&*broker, "used").await;
}

/// Waits until a queue is gone. To ask for its depth would be a use of it; to publish is none.
async fn gone(broker: &dyn Broker, queue: &str) {
    testkit::eventually(SOON, async || broker.publish(to(queue, "x")).await.is_err()).await;
}

async fn an_auto_delete_queue_goes_with_its_last_consumer(setup: &Setup) {
    let broker = setup.connect().await;
    declare(&*broker, Queue { auto_delete: true, ..durable("q") }).await;
    let (one, two) = (consume(&*broker, "q", 0).await, consume(&*broker, "q", 0).await);
    one.control.close().await;
    consumers(&*broker, "q", 1).await;
    two.control.cancel().await.unwrap();
    testkit::eventually(SOON, async || broker.queue_depth("q").await.unwrap().is_none()).await;
}

async fn an_exclusive_consumer_is_alone(setup: &Setup) {
    let broker = setup.with_queue().await;
    let exclusive = ConsumeOptions { queue: "q".into(), prefetch: 5, exclusive: true, ..ConsumeOptions::default() };
    let first = broker.consume(exclusive.clone()).await.unwrap();
    let second = broker.consume(ConsumeOptions { queue: "q".into(), ..ConsumeOptions::default() }).await;
    assert!(matches!(second, Err(BrokerError::Refused { .. })));
    // It does not stand in its own way either.
    first.control.set_prefetch(9).await.unwrap();
    consumers(&*broker, "q", 1).await;
    first.control.close().await;
    broker.consume(exclusive).await.unwrap();
}

/// With a quorum queue that comes back at once, RabbitMQ 3.10 forgets to tell the consumer that it went.
async fn a_consumer_waits_for_its_queue_to_come_back(setup: &Setup) {
    let broker = setup.with_queue().await;
    let mut subscription = consume(&*broker, "q", 5).await;
    broker.delete_queue("q").await.unwrap();
    declare(&*broker, setup.queue("q")).await;
    consumers(&*broker, "q", 1).await;
    publish(&*broker, "q", ["a"]).await;
    assert_eq!(body(&next(&mut subscription.deliveries).await), "a");
}

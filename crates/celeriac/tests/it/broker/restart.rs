//! A RabbitMQ of the test's own: restarted, killed, and low on memory.

use std::collections::BTreeSet;
use std::time::Duration;

use celeriac::broker::{BrokerError, ConnectOptions, Queue, Topology, connect};
use testkit::{OwnServer, eventually};
use tokio::time::timeout;

use super::setup::*;

/// RabbitMQ takes some seconds to come back.
const LONG: Duration = Duration::from_secs(90);

fn patient() -> ConnectOptions {
    ConnectOptions { publish_timeout: LONG, connect_timeout: LONG, ..ConnectOptions::default() }
}

fn quorum(name: &str) -> Queue {
    let mut queue = durable(name);
    queue.arguments.insert("x-queue-type", "quorum");
    queue
}

/// Publishes and consumes over a restart; `kill` without a word to anybody.
async fn goes_on_over(server: &mut OwnServer, queue: Queue, kill: bool) {
    let broker = connect(server.url(), patient()).await.unwrap();
    // Not durable: gone after the restart, and declared again.
    let transient = Queue { durable: false, ..durable("transient") };
    broker.declare(&Topology { queues: vec![queue, transient], ..Topology::default() }).await.unwrap();
    let mut subscription = consume(&*broker, "q", 20).await;

    let producer = tokio::spawn({
        let broker = broker.clone();
        async move {
            for number in 0..400 {
                broker.publish(to("q", number.to_string())).await.expect("it is confirmed in the end");
                if number % 4 == 0 {
                    broker.publish(to("transient", "x")).await.expect("its queue is there again");
                }
            }
        }
    });
    let mut acknowledged = BTreeSet::new();
    let mut restarted = false;
    while acknowledged.len() < 400 {
        let delivery = timeout(LONG, subscription.deliveries.recv()).await.expect("in time").expect("it goes on");
        acknowledged.insert(body(&delivery));
        subscription.control.ack(delivery.tag, false).await.unwrap();
        if acknowledged.len() == 100 && !std::mem::replace(&mut restarted, true) {
            if kill {
                server.kill().await;
                server.start().await;
            } else {
                server.restart().await;
            }
        }
    }
    timeout(LONG, producer).await.expect("in time").unwrap();
    publish(&*broker, "q", ["end"]).await;
    // Only what was on its way when it went down may come a second time.
    let twice = drain_until(&mut subscription, "end").await;
    assert!(twice.len() <= 40, "{} came again", twice.len());
    ready(&*broker, "q", 0).await;
    broker.close().await;
}

#[tokio::test]
async fn producer_and_consumer_go_on_over_restarts() {
    let mut server = testkit::own_rabbitmq().await;
    goes_on_over(&mut server, quorum("q"), false).await;
    let broker = connect(server.url(), patient()).await.unwrap();
    broker.delete_queue("q").await.unwrap();
    broker.close().await;
    goes_on_over(&mut server, durable("q"), true).await;
}

/// RabbitMQ closes the channel of a consumer that keeps a delivery for too long (30 minutes by default).
#[tokio::test]
async fn a_consumer_goes_on_after_its_delivery_timeout() {
    let server = testkit::own_rabbitmq().await;
    let short =
        "application:set_env(rabbit, consumer_timeout, 300), application:set_env(rabbit, channel_tick_interval, 100).";
    server.rabbitmqctl(&["eval", short]).await;
    let broker = connect(server.url(), patient()).await.unwrap();
    broker.declare(&Topology { queues: vec![quorum("q"), durable("other")], ..Topology::default() }).await.unwrap();
    let mut subscription = consume(&*broker, "q", 1).await;
    publish(&*broker, "q", ["slow", "next"]).await;
    let slow = next(&mut subscription.deliveries).await;
    let again = next(&mut subscription.deliveries).await;
    assert_eq!((body(&again).as_str(), again.redelivered), ("slow", true));
    assert!(again.tag.generation > slow.tag.generation);
    // The late ack is for a channel that is gone: it must not count for the new delivery, which has the same number.
    assert_eq!(slow.tag.tag, again.tag.tag);
    subscription.control.ack(slow.tag, false).await.unwrap();
    subscription.control.ack(again.tag, false).await.unwrap();
    assert_eq!(body(&next(&mut subscription.deliveries).await), "next");
}

#[tokio::test]
async fn a_memory_alarm_holds_publishers_and_not_consumers() {
    let server = testkit::own_rabbitmq().await;
    let options = ConnectOptions { publish_timeout: Duration::from_secs(2), ..ConnectOptions::default() };
    let broker = connect(server.url(), options).await.unwrap();
    declare(&*broker, quorum("q")).await;
    publish(&*broker, "q", ["before"]).await;
    server.rabbitmqctl(&["set_vm_memory_high_watermark", "absolute", "1"]).await;
    // The broker tells a connection when it publishes.
    eventually(SOON, async || {
        let _ = broker.publish_unconfirmed(to("q", "x")).await;
        broker.health().blocked
    })
    .await;
    let error = broker.publish(to("q", "blocked")).await.unwrap_err();
    assert!(matches!(&error, BrokerError::Timeout { reason, .. } if reason.contains("takes no messages")), "{error}");
    assert!(broker.health().connected);

    // The other connection is not blocked: queues can be emptied.
    let mut subscription = consume(&*broker, "q", 1).await;
    let delivery = next(&mut subscription.deliveries).await;
    assert_eq!(body(&delivery), "before");
    subscription.control.ack(delivery.tag, false).await.unwrap();

    server.rabbitmqctl(&["set_vm_memory_high_watermark", "absolute", "2GB"]).await;
    eventually(SOON, async || !broker.health().blocked).await;
    publish(&*broker, "q", ["after"]).await;
}

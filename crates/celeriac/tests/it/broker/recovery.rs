//! Connections that break, hang, and are closed by the broker.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use celeriac::broker::{Broker, BrokerError, ConnectOptions, ConsumeOptions, ExchangeKind, Queue, Topology, connect};
use testkit::{FaultProxy, eventually};
use tokio::time::{Instant, timeout};

use super::setup::*;

/// A broker behind a proxy, with the queue `q`.
async fn behind(proxy: &FaultProxy, setup: &Setup, options: ConnectOptions) -> Arc<dyn Broker> {
    let broker = connect(&proxy.url(&setup.url), options).await.unwrap();
    declare(&*broker, setup.queue("q")).await;
    broker
}

async fn setup_with_proxy() -> (Setup, FaultProxy) {
    let setup = Setup::quorum().await;
    let proxy = FaultProxy::start(&setup.url).await;
    (setup, proxy)
}

async fn connected(broker: &dyn Broker) {
    eventually(SOON, async || broker.health().connected).await;
}

#[tokio::test]
async fn no_confirmed_message_is_lost_when_the_connection_is_cut() {
    let (setup, proxy) = setup_with_proxy().await;
    let broker = behind(&proxy, &setup, ConnectOptions::default()).await;
    let publishers: Vec<_> = (0..20)
        .map(|publisher| {
            let broker = broker.clone();
            tokio::spawn(async move {
                for number in 0..100 {
                    broker.publish(to("q", format!("{publisher}/{number}"))).await.expect("it is confirmed in the end");
                }
            })
        })
        .collect();
    // Again and again, each time in the middle of something.
    for arrived in [100, 500, 1_000, 1_500] {
        let direct = setup.connect().await;
        eventually(SOON, async || {
            let depth = direct.queue_depth("q").await.unwrap().map_or(0, |depth| depth.messages);
            if depth >= arrived { Ok(()) } else { Err(depth) }
        })
        .await;
        proxy.cut();
    }
    for publisher in publishers {
        publisher.await.unwrap();
    }
    publish(&*broker, "q", ["end"]).await;

    let direct = setup.connect().await;
    let mut subscription = consume(&*direct, "q", 500).await;
    let seen: BTreeSet<String> = bodies(&drain_until(&mut subscription, "end").await).into_iter().collect();
    assert_eq!(seen.len(), 2_000, "some may have come twice, none never");
}

#[tokio::test]
async fn nothing_acknowledged_comes_back_and_nothing_else_is_lost() {
    let (setup, proxy) = setup_with_proxy().await;
    let broker = behind(&proxy, &setup, ConnectOptions::default()).await;
    publish(&*broker, "q", (0..10).map(|number| number.to_string())).await;
    let mut subscription = consume(&*broker, "q", 6).await;
    let taken = take(&mut subscription.deliveries, 6).await;
    subscription.control.ack(taken[2].tag, true).await.unwrap();
    // The broker has seen the ack when it sends more.
    take(&mut subscription.deliveries, 3).await;
    proxy.cut();

    // The prefetch count still holds.
    let again = take(&mut subscription.deliveries, 6).await;
    assert_eq!(bodies(&again), ["3", "4", "5", "6", "7", "8"]);
    assert!(again.iter().all(|delivery| delivery.redelivered && delivery.tag.generation > taken[0].tag.generation));
    // Acks for the old channel have no effect on the new one.
    subscription.control.ack(taken[5].tag, true).await.unwrap();
    subscription.control.close().await;
    ready(&*setup.connect().await, "q", 7).await;
}

#[tokio::test]
async fn what_was_declared_is_there_again() {
    let (setup, proxy) = setup_with_proxy().await;
    let broker = behind(&proxy, &setup, ConnectOptions::default()).await;
    let topology = Topology {
        exchanges: vec![exchange("replies", ExchangeKind::Direct)],
        queues: vec![Queue { durable: false, exclusive: true, ..durable("mine") }],
        bindings: vec![bind("replies", "oid", "mine")],
    };
    broker.declare(&topology).await.unwrap();
    let options = ConsumeOptions { queue: "mine".into(), no_ack: true, ..ConsumeOptions::default() };
    let mut subscription = broker.consume(options).await.unwrap();
    let direct = setup.connect().await;
    for round in 0..3 {
        proxy.cut();
        // An exclusive queue goes with its connection, so this is a new one, bound again. What went into the old one
        // before the broker noticed is lost.
        let back = async {
            loop {
                // No queue is bound for a moment.
                let _ = direct.publish(through("replies", "oid", round.to_string())).await;
                match timeout(Duration::from_millis(200), subscription.deliveries.recv()).await {
                    Ok(Some(delivery)) if body(&delivery) == round.to_string() => return,
                    Ok(None) => panic!("the consumer must not end"),
                    _ => {}
                }
            }
        };
        timeout(SOON, back).await.expect("the queue is back with its binding and its consumer");
    }
}

#[tokio::test]
async fn a_silent_connection_is_noticed_by_its_heartbeat() {
    let (setup, proxy) = setup_with_proxy().await;
    let heartbeat = Duration::from_secs(1);
    let options = ConnectOptions {
        heartbeat,
        attempt_timeout: Duration::from_secs(2),
        publish_timeout: Duration::from_secs(60),
        ..ConnectOptions::default()
    };
    let broker = behind(&proxy, &setup, options).await;
    let mut subscription = consume(&*broker, "q", 5).await;
    proxy.pause();
    let silent = Instant::now();
    let publishing = tokio::spawn({
        let broker = broker.clone();
        async move { broker.publish(to("q", "through the silence")).await }
    });
    eventually(SOON, async || !broker.health().connected).await;
    assert!(silent.elapsed() < 6 * heartbeat, "noticed after {:?}", silent.elapsed());
    proxy.cut();
    proxy.resume();
    publishing.await.unwrap().unwrap();
    assert_eq!(body(&next(&mut subscription.deliveries).await), "through the silence");
}

#[tokio::test]
async fn callers_are_held_up_to_the_publish_timeout() {
    let (setup, proxy) = setup_with_proxy().await;
    let timeout = Duration::from_millis(700);
    let options = ConnectOptions { publish_timeout: timeout, ..ConnectOptions::default() };
    let broker = behind(&proxy, &setup, options).await;
    proxy.refuse().await;
    proxy.cut();
    eventually(SOON, async || !broker.health().connected).await;

    let began = Instant::now();
    let error = broker.publish(to("q", "x")).await.unwrap_err();
    assert!(began.elapsed() >= timeout && began.elapsed() < timeout * 4);
    let BrokerError::Timeout { address, reason, .. } = &error else { panic!("{error:?}") };
    assert_eq!(address, broker.address());
    assert!(reason.contains("no connection") && !error.to_string().contains(":guest@"), "{error}");
    // Events and replies are not worth waiting for.
    let began = Instant::now();
    assert!(matches!(broker.publish_unconfirmed(to("q", "x")).await, Err(BrokerError::Timeout { .. })));
    assert!(began.elapsed() < timeout);
    for error in [broker.declare(&Topology::default()).await.err(), broker.purge("q").await.err()] {
        assert!(matches!(error, Some(BrokerError::Timeout { .. })), "{error:?}");
    }

    proxy.accept().await;
    connected(&*broker).await;
    publish(&*broker, "q", ["after"]).await;
}

#[tokio::test]
async fn an_operator_may_close_the_connections() {
    let vhost = testkit::rabbitmq().await;
    let broker = connect(&vhost.amqp_url(), ConnectOptions::default()).await.unwrap();
    declare(&*broker, durable("q")).await;
    let mut subscription = consume(&*broker, "q", 5).await;
    // The management API sees a connection after some seconds.
    eventually(SOON, async || vhost.close_connections().await >= 2).await;
    publish(&*broker, "q", ["after"]).await;
    assert_eq!(body(&next(&mut subscription.deliveries).await), "after");
}

/// To acknowledge twice is a mistake for which the broker closes the channel: the others must not feel it.
#[tokio::test]
async fn a_channel_error_of_one_consumer_does_not_disturb_the_others() {
    let setup = Setup::classic().await;
    let broker = setup.with_queue().await;
    declare(&*broker, setup.queue("other")).await;
    let mut other = consume(&*broker, "other", 5).await;
    publish(&*broker, "other", ["o1"]).await;
    let held = next(&mut other.deliveries).await;

    publish(&*broker, "q", ["a", "b"]).await;
    let mut wrong = consume(&*broker, "q", 5).await;
    let taken = take(&mut wrong.deliveries, 2).await;
    wrong.control.ack(taken[0].tag, false).await.unwrap();
    wrong.control.ack(taken[0].tag, false).await.unwrap();
    // Its channel was closed and opened again: what was not acknowledged comes once more.
    let again = next(&mut wrong.deliveries).await;
    assert_eq!((body(&again).as_str(), again.redelivered), ("b", true));

    // The other one has the same channel as before: its delivery can be acknowledged, and does not come again.
    publish(&*broker, "other", ["o2"]).await;
    let next_one = next(&mut other.deliveries).await;
    assert_eq!((body(&next_one).as_str(), next_one.tag.generation), ("o2", held.tag.generation));
    other.control.ack(next_one.tag, true).await.unwrap();
    other.control.close().await;
    ready(&*broker, "other", 0).await;
}

#[tokio::test]
async fn a_consumer_can_be_ended_while_the_broker_is_away() {
    let (setup, proxy) = setup_with_proxy().await;
    let broker = behind(&proxy, &setup, ConnectOptions::default()).await;
    let mut subscription = consume(&*broker, "q", 5).await;
    proxy.refuse().await;
    proxy.cut();
    eventually(SOON, async || !broker.health().connected).await;
    subscription.control.set_prefetch(9).await.unwrap();
    subscription.control.cancel().await.unwrap();
    assert!(subscription.deliveries.recv().await.is_none());
    subscription.control.close().await;
    broker.close().await;
}

/// The prefetch that was set last is the one after a reconnect.
#[tokio::test]
async fn a_changed_prefetch_survives_a_reconnect() {
    let (setup, proxy) = setup_with_proxy().await;
    let broker = behind(&proxy, &setup, ConnectOptions::default()).await;
    publish(&*broker, "q", ["a", "b", "c", "d"]).await;
    let mut subscription = consume(&*broker, "q", 1).await;
    next(&mut subscription.deliveries).await;
    subscription.control.set_prefetch(3).await.unwrap();
    take(&mut subscription.deliveries, 2).await;
    proxy.cut();
    // They were held by two consumers of one channel: quorum queues take them back in any order.
    let mut again = bodies(&take(&mut subscription.deliveries, 3).await);
    again.sort();
    assert_eq!(again, ["a", "b", "c"]);
    ready(&*setup.connect().await, "q", 1).await;
    assert!(subscription.deliveries.try_recv().is_err());
}

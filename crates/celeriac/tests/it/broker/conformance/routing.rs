//! Exchanges, bindings and declarations.

use celeriac::broker::{Binding, BindingDestination, Broker, BrokerError, Exchange, ExchangeKind, Queue, Topology};

use super::conformance;
use crate::broker::setup::*;

conformance! { classic, quorum, memory:
    direct_exchanges_route_by_key
    topic_exchanges_route_by_words
    fanout_exchanges_route_to_all
    exchanges_can_be_bound_to_exchanges
    an_unbound_queue_gets_nothing
    declaring_again_changes_nothing
    other_arguments_are_refused_and_nothing_else_suffers
    purging_drops_what_is_ready
    a_deleted_queue_is_gone
    an_exclusive_queue_belongs_to_its_connection
}

/// One exchange `e`, and a queue for each binding key, named after it.
async fn bound(setup: &Setup, kind: ExchangeKind, keys: &[&str]) -> std::sync::Arc<dyn Broker> {
    let broker = setup.connect().await;
    let topology = Topology {
        exchanges: vec![exchange("e", kind)],
        queues: keys.iter().map(|key| setup.queue(key)).collect(),
        bindings: keys.iter().map(|key| bind("e", key, key)).collect(),
    };
    broker.declare(&topology).await.unwrap();
    broker
}

/// Which of the queues got a message with this routing key; they are empty after it.
async fn receivers(broker: &dyn Broker, routing_key: &str, queues: &[&str]) -> Vec<String> {
    let sent = broker.publish(through("e", routing_key, routing_key)).await;
    let mut receivers = Vec::new();
    for queue in queues {
        // Confirmed means that it is there.
        if broker.purge(queue).await.unwrap() > 0 {
            receivers.push((*queue).to_owned());
        }
    }
    assert_eq!(matches!(sent, Err(BrokerError::Unroutable { .. })), receivers.is_empty(), "{sent:?}");
    receivers
}

async fn direct_exchanges_route_by_key(setup: &Setup) {
    let queues = ["a", "b", "a.b"];
    let broker = bound(setup, ExchangeKind::Direct, &queues).await;
    assert_eq!(receivers(&*broker, "a", &queues).await, ["a"]);
    assert_eq!(receivers(&*broker, "a.b", &queues).await, ["a.b"]);
    assert!(receivers(&*broker, "c", &queues).await.is_empty());
}

async fn topic_exchanges_route_by_words(setup: &Setup) {
    let queues = ["#", "task.*", "task.#", "worker.online", "*.sent"];
    let broker = bound(setup, ExchangeKind::Topic, &queues).await;
    assert_eq!(receivers(&*broker, "task.sent", &queues).await, ["#", "task.*", "task.#", "*.sent"]);
    assert_eq!(receivers(&*broker, "worker.online", &queues).await, ["#", "worker.online"]);
    assert_eq!(receivers(&*broker, "task", &queues).await, ["#", "task.#"]);
    assert_eq!(receivers(&*broker, "task.a.b", &queues).await, ["#", "task.#"]);
    assert_eq!(receivers(&*broker, "", &queues).await, ["#"]);
}

async fn fanout_exchanges_route_to_all(setup: &Setup) {
    let queues = ["a", "b"];
    let broker = bound(setup, ExchangeKind::Fanout, &queues).await;
    assert_eq!(receivers(&*broker, "whatever", &queues).await, ["a", "b"]);
    assert_eq!(receivers(&*broker, "", &queues).await, ["a", "b"]);
}

async fn exchanges_can_be_bound_to_exchanges(setup: &Setup) {
    let queues = ["a"];
    let broker = bound(setup, ExchangeKind::Topic, &["x"]).await;
    let inner = Topology {
        exchanges: vec![exchange("inner", ExchangeKind::Direct)],
        queues: vec![setup.queue("a")],
        bindings: vec![
            Binding {
                exchange: "e".into(),
                destination: BindingDestination::Exchange("inner".into()),
                routing_key: "*.#".into(),
            },
            bind("inner", "one.two", "a"),
        ],
    };
    broker.declare(&inner).await.unwrap();
    assert_eq!(receivers(&*broker, "one.two", &queues).await, ["a"]);
    assert!(receivers(&*broker, "one", &queues).await.is_empty());
    broker.unbind(&inner.bindings[0]).await.unwrap();
    assert!(receivers(&*broker, "one.two", &queues).await.is_empty());
}

async fn an_unbound_queue_gets_nothing(setup: &Setup) {
    let queues = ["a", "b"];
    let broker = bound(setup, ExchangeKind::Fanout, &queues).await;
    broker.unbind(&bind("e", "a", "a")).await.unwrap();
    assert_eq!(receivers(&*broker, "", &queues).await, ["b"]);
    // Once more is no error.
    broker.unbind(&bind("e", "a", "a")).await.unwrap();
}

async fn declaring_again_changes_nothing(setup: &Setup) {
    let queues = ["a"];
    let broker = bound(setup, ExchangeKind::Direct, &queues).await;
    publish(&*broker, "a", ["x"]).await;
    let other = bound(setup, ExchangeKind::Direct, &queues).await;
    ready(&*other, "a", 1).await;
}

async fn other_arguments_are_refused_and_nothing_else_suffers(setup: &Setup) {
    let broker = setup.with_queue().await;
    let mut subscription = consume(&*broker, "q", 1).await;
    let mut other = setup.queue("q");
    other.arguments.insert("x-message-ttl", 60_000_i64);
    let queue = Topology { queues: vec![other], ..Topology::default() };
    let exchanges = [ExchangeKind::Topic, ExchangeKind::Fanout]
        .map(|kind| Topology { exchanges: vec![exchange("e", kind)], ..Topology::default() });
    broker.declare(&exchanges[0]).await.unwrap();
    for refused in [&queue, &exchanges[1]] {
        match broker.declare(refused).await.unwrap_err() {
            BrokerError::Refused { address, reason } => {
                assert_eq!(address, broker.address());
                assert!(reason.contains("other arguments"), "{reason}");
            }
            error => panic!("{error}"),
        }
    }
    publish(&*broker, "q", ["a"]).await;
    assert_eq!(body(&next(&mut subscription.deliveries).await), "a");
}

async fn purging_drops_what_is_ready(setup: &Setup) {
    let broker = setup.with_queue().await;
    publish(&*broker, "q", ["a", "b", "c"]).await;
    let mut subscription = consume(&*broker, "q", 1).await;
    let held = next(&mut subscription.deliveries).await;
    ready(&*broker, "q", 2).await;
    assert_eq!(broker.purge("q").await.unwrap(), 2);
    ready(&*broker, "q", 0).await;
    subscription.control.reject(held.tag, true).await.unwrap();
    assert_eq!(body(&next(&mut subscription.deliveries).await), "a");
    assert!(matches!(broker.purge("nowhere").await, Err(BrokerError::Refused { .. })));
}

async fn a_deleted_queue_is_gone(setup: &Setup) {
    let broker = setup.with_queue().await;
    publish(&*broker, "q", ["a", "b"]).await;
    ready(&*broker, "q", 2).await;
    assert_eq!(broker.delete_queue("q").await.unwrap(), 2);
    assert_eq!(broker.queue_depth("q").await.unwrap(), None);
    assert_eq!(broker.delete_queue("q").await.unwrap(), 0, "no such queue is no error");
    assert!(matches!(broker.publish(to("q", "x")).await, Err(BrokerError::Unroutable { .. })));
}

async fn an_exclusive_queue_belongs_to_its_connection(setup: &Setup) {
    let (broker, other) = (setup.connect().await, setup.connect().await);
    let mine = Queue { durable: false, exclusive: true, ..durable("mine") };
    let topology = Topology {
        exchanges: vec![Exchange { durable: false, ..exchange("replies", ExchangeKind::Direct) }],
        queues: vec![mine.clone()],
        bindings: vec![bind("replies", "oid", "mine")],
    };
    broker.declare(&topology).await.unwrap();
    let mut subscription = consume(&*broker, "mine", 0).await;
    // Everybody may send to it.
    other.publish(through("replies", "oid", "pong")).await.unwrap();
    assert_eq!(body(&next(&mut subscription.deliveries).await), "pong");

    let again = Topology { queues: vec![mine], ..Topology::default() };
    assert!(matches!(other.declare(&again).await, Err(BrokerError::Refused { .. })));
    broker.close().await;
    testkit::eventually(SOON, async || other.queue_depth("mine").await.unwrap().is_none()).await;
}

//! Acknowledging and rejecting.

use celeriac::broker::DeliveryTag;

use super::conformance;
use crate::broker::setup::*;

conformance! { classic, quorum, memory:
    an_acknowledged_message_is_gone
    what_is_not_acknowledged_comes_back_marked
    multiple_acknowledges_all_before
    a_rejected_message_is_requeued_or_dropped
    a_stale_ack_does_nothing
    what_was_taken_can_be_acknowledged_after_cancel
    closing_the_broker_gives_everything_back
    dropping_a_subscription_gives_everything_back
    nobody_reading_still_leaves_acks_possible
}

async fn an_acknowledged_message_is_gone(setup: &Setup) {
    let broker = setup.with_queue().await;
    publish(&*broker, "q", ["a", "b", "c"]).await;
    let mut first = consume(&*broker, "q", 0).await;
    let taken = take(&mut first.deliveries, 3).await;
    first.control.ack(taken[0].tag, false).await.unwrap();
    first.control.ack(taken[2].tag, false).await.unwrap();
    first.control.close().await;

    publish(&*broker, "q", ["end"]).await;
    let mut second = consume(&*broker, "q", 0).await;
    assert_eq!(bodies(&drain_until(&mut second, "end").await), ["b"]);
}

async fn what_is_not_acknowledged_comes_back_marked(setup: &Setup) {
    let broker = setup.with_queue().await;
    publish(&*broker, "q", ["a", "b"]).await;
    let mut first = consume(&*broker, "q", 0).await;
    assert!(take(&mut first.deliveries, 2).await.iter().all(|delivery| !delivery.redelivered));
    first.control.close().await;
    assert!(first.deliveries.recv().await.is_none(), "a closed consumer ends");

    let mut second = consume(&*broker, "q", 0).await;
    let again = take(&mut second.deliveries, 2).await;
    assert_eq!(bodies(&again), ["a", "b"], "back in their places");
    assert!(again.iter().all(|delivery| delivery.redelivered));
}

async fn multiple_acknowledges_all_before(setup: &Setup) {
    let broker = setup.with_queue().await;
    publish(&*broker, "q", ["a", "b", "c", "d", "e"]).await;
    let mut first = consume(&*broker, "q", 0).await;
    let taken = take(&mut first.deliveries, 5).await;
    assert!(taken.is_sorted_by_key(|delivery| delivery.tag));
    first.control.ack(taken[2].tag, true).await.unwrap();
    first.control.close().await;

    publish(&*broker, "q", ["end"]).await;
    let mut second = consume(&*broker, "q", 0).await;
    let mut rest = bodies(&drain_until(&mut second, "end").await);
    rest.sort();
    assert_eq!(rest, ["d", "e"]);
}

async fn a_rejected_message_is_requeued_or_dropped(setup: &Setup) {
    let broker = setup.with_queue().await;
    publish(&*broker, "q", ["keep", "drop"]).await;
    let mut subscription = consume(&*broker, "q", 0).await;
    let taken = take(&mut subscription.deliveries, 2).await;
    subscription.control.reject(taken[0].tag, true).await.unwrap();
    subscription.control.reject(taken[1].tag, false).await.unwrap();
    let again = next(&mut subscription.deliveries).await;
    assert_eq!((body(&again).as_str(), again.redelivered), ("keep", true));
    subscription.control.ack(again.tag, false).await.unwrap();
    publish(&*broker, "q", ["end"]).await;
    assert!(drain_until(&mut subscription, "end").await.is_empty());
}

async fn a_stale_ack_does_nothing(setup: &Setup) {
    let broker = setup.with_queue().await;
    publish(&*broker, "q", ["a"]).await;
    let mut first = consume(&*broker, "q", 0).await;
    let stale = next(&mut first.deliveries).await.tag;
    first.control.close().await;

    let mut second = consume(&*broker, "q", 0).await;
    let current = next(&mut second.deliveries).await.tag;
    assert_ne!(stale.generation, current.generation);
    // The same number, on a channel that it does not belong to; and on one that is closed.
    second.control.ack(DeliveryTag { tag: current.tag, ..stale }, true).await.unwrap();
    second.control.reject(stale, false).await.unwrap();
    first.control.ack(stale, true).await.unwrap();
    second.control.close().await;

    let mut third = consume(&*broker, "q", 0).await;
    assert_eq!(body(&next(&mut third.deliveries).await), "a", "nobody has acknowledged it");
}

async fn what_was_taken_can_be_acknowledged_after_cancel(setup: &Setup) {
    let broker = setup.with_queue().await;
    publish(&*broker, "q", ["a", "b", "c", "d"]).await;
    let mut first = consume(&*broker, "q", 3).await;
    let taken = take(&mut first.deliveries, 2).await;
    first.control.cancel().await.unwrap();
    // What was on its way is still handed out, and then the end.
    assert_eq!(body(&next(&mut first.deliveries).await), "c");
    assert!(first.deliveries.recv().await.is_none());
    first.control.ack(taken[1].tag, true).await.unwrap();
    first.control.close().await;

    publish(&*broker, "q", ["end"]).await;
    let mut second = consume(&*broker, "q", 0).await;
    let mut rest = bodies(&drain_until(&mut second, "end").await);
    rest.sort();
    assert_eq!(rest, ["c", "d"]);
}

async fn closing_the_broker_gives_everything_back(setup: &Setup) {
    let other = setup.with_queue().await;
    let broker = setup.connect().await;
    publish(&*broker, "q", ["a", "b"]).await;
    let mut first = consume(&*broker, "q", 0).await;
    let taken = take(&mut first.deliveries, 2).await;
    first.control.ack(taken[0].tag, false).await.unwrap();
    broker.close().await;
    assert!(first.deliveries.recv().await.is_none(), "the consumers end");

    publish(&*other, "q", ["end"]).await;
    let mut second = consume(&*other, "q", 0).await;
    assert_eq!(bodies(&drain_until(&mut second, "end").await), ["b"]);
}

async fn dropping_a_subscription_gives_everything_back(setup: &Setup) {
    let broker = setup.with_queue().await;
    publish(&*broker, "q", ["a"]).await;
    let mut first = consume(&*broker, "q", 0).await;
    next(&mut first.deliveries).await;
    drop(first);
    let mut second = consume(&*broker, "q", 0).await;
    assert!(next(&mut second.deliveries).await.redelivered);
}

async fn nobody_reading_still_leaves_acks_possible(setup: &Setup) {
    let broker = setup.with_queue().await;
    publish(&*broker, "q", ["a", "b"]).await;
    let mut first = consume(&*broker, "q", 1).await;
    let taken = next(&mut first.deliveries).await;
    let control = first.control.clone();
    drop(first);
    control.ack(taken.tag, false).await.unwrap();
    control.close().await;
    publish(&*broker, "q", ["end"]).await;
    let mut second = consume(&*broker, "q", 0).await;
    assert_eq!(bodies(&drain_until(&mut second, "end").await), ["b"]);
}

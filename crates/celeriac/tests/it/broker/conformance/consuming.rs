//! Consumers: how much they hold, and who gets what.

use std::collections::BTreeSet;

use celeriac::broker::{BrokerError, ConsumeOptions};

use super::conformance;
use crate::broker::setup::*;

conformance! { classic, quorum, memory:
    prefetch_bounds_what_is_unacknowledged
    a_raised_prefetch_lets_more_through
    a_lowered_prefetch_lets_less_through
    prefetch_changes_keep_the_order_of_tags
    without_prefetch_there_is_no_bound
    without_acks_messages_are_gone_when_delivered
    consumers_take_turns
    a_missing_queue_is_refused
}

async fn prefetch_bounds_what_is_unacknowledged(setup: &Setup) {
    let broker = setup.with_queue().await;
    publish(&*broker, "q", ["a", "b", "c", "d"]).await;
    let mut subscription = consume(&*broker, "q", 2).await;
    let taken = take(&mut subscription.deliveries, 2).await;
    ready(&*broker, "q", 2).await;
    assert!(subscription.deliveries.try_recv().is_err());

    subscription.control.ack(taken[0].tag, false).await.unwrap();
    assert_eq!(body(&next(&mut subscription.deliveries).await), "c");
    subscription.control.reject(taken[1].tag, false).await.unwrap();
    assert_eq!(body(&next(&mut subscription.deliveries).await), "d");
}

async fn a_raised_prefetch_lets_more_through(setup: &Setup) {
    let broker = setup.with_queue().await;
    publish(&*broker, "q", ["a", "b", "c", "d", "e", "f"]).await;
    let mut subscription = consume(&*broker, "q", 2).await;
    let mut taken = take(&mut subscription.deliveries, 2).await;
    for prefetch in [3, 4, 5] {
        subscription.control.set_prefetch(prefetch).await.unwrap();
        taken.push(next(&mut subscription.deliveries).await);
        ready(&*broker, "q", 6 - u64::from(prefetch)).await;
        assert!(subscription.deliveries.try_recv().is_err(), "no more than {prefetch}");
    }
    assert_eq!(bodies(&taken), ["a", "b", "c", "d", "e"]);
}

async fn a_lowered_prefetch_lets_less_through(setup: &Setup) {
    let broker = setup.with_queue().await;
    publish(&*broker, "q", ["a", "b", "c", "d", "e", "f", "g", "h"]).await;
    let mut subscription = consume(&*broker, "q", 2).await;
    take(&mut subscription.deliveries, 2).await;
    subscription.control.set_prefetch(4).await.unwrap();
    let upper = take(&mut subscription.deliveries, 2).await;
    subscription.control.set_prefetch(2).await.unwrap();
    // What the two upper ones held does not count any more when it is settled.
    for delivery in upper {
        subscription.control.ack(delivery.tag, false).await.unwrap();
    }
    ready(&*broker, "q", 4).await;
    assert!(subscription.deliveries.try_recv().is_err());
}

/// To acknowledge all up to a tag must never mean a message that was not handed out yet.
async fn prefetch_changes_keep_the_order_of_tags(setup: &Setup) {
    let broker = setup.with_queue().await;
    let answers = broker.publish_batch((0..600).map(|number| to("q", number.to_string())).collect()).await;
    assert!(answers.iter().all(Result::is_ok));
    let mut subscription = consume(&*broker, "q", 4).await;
    let mut seen = BTreeSet::new();
    let mut last = None;
    for turn in 0..600_u16 {
        let delivery = next(&mut subscription.deliveries).await;
        assert!(last < Some(delivery.tag), "{last:?} before {:?}", delivery.tag);
        last = Some(delivery.tag);
        assert!(seen.insert(body(&delivery)), "twice: {delivery:?}");
        subscription.control.ack(delivery.tag, true).await.unwrap();
        if turn % 20 == 0 {
            subscription.control.set_prefetch(1 + (turn * 7) % 40).await.unwrap();
        }
    }
    subscription.control.close().await;
    ready(&*broker, "q", 0).await;
}

async fn without_prefetch_there_is_no_bound(setup: &Setup) {
    let broker = setup.with_queue().await;
    let answers = broker.publish_batch((0..1500).map(|number| to("q", number.to_string())).collect()).await;
    assert!(answers.iter().all(Result::is_ok));
    let mut subscription = consume(&*broker, "q", 0).await;
    take(&mut subscription.deliveries, 1500).await;
}

async fn without_acks_messages_are_gone_when_delivered(setup: &Setup) {
    let broker = setup.with_queue().await;
    publish(&*broker, "q", ["a", "b"]).await;
    let options = ConsumeOptions { queue: "q".into(), no_ack: true, ..ConsumeOptions::default() };
    let mut subscription = broker.consume(options).await.unwrap();
    let taken = take(&mut subscription.deliveries, 2).await;
    // Nothing to acknowledge, and no harm in it.
    subscription.control.ack(taken[0].tag, true).await.unwrap();
    publish(&*broker, "q", ["c"]).await;
    assert_eq!(body(&next(&mut subscription.deliveries).await), "c");
    subscription.control.close().await;
    ready(&*broker, "q", 0).await;
}

async fn consumers_take_turns(setup: &Setup) {
    let broker = setup.with_queue().await;
    let mut one = consume(&*broker, "q", 0).await;
    let mut two = consume(&*broker, "q", 0).await;
    publish(&*broker, "q", ["a", "b", "c", "d", "e", "f"]).await;
    let (first, second) = tokio::join!(take(&mut one.deliveries, 3), take(&mut two.deliveries, 3));
    let mut all = [bodies(&first), bodies(&second)].concat();
    all.sort();
    assert_eq!(all, ["a", "b", "c", "d", "e", "f"]);
}

async fn a_missing_queue_is_refused(setup: &Setup) {
    let broker = setup.connect().await;
    let options = ConsumeOptions { queue: "nowhere".into(), ..ConsumeOptions::default() };
    match broker.consume(options).await.err() {
        Some(BrokerError::Refused { address, reason }) => {
            assert_eq!(address, broker.address());
            assert!(reason.contains("nowhere") && reason.contains("declare it first"), "{reason}");
        }
        other => panic!("{other:?}"),
    }
}

//! Renews messages that their queue would drop soon.
//!
//! A quorum queue counts how often a message came back, begun or not, and drops it at its limit: 20 in `RabbitMQ` 4, or what
//! a policy says, which no client is told. So what has come back more than once is published again, and its former self
//! acknowledged once that is confirmed: the copy counts from the start. It is declared as Celery declares it, so that
//! Python programs can use the same queue; a limit among its arguments would make it another one.

use std::time::Duration;

use tokio::time::timeout;

use super::attempts::{DELIVERY_COUNT, FORMER_DELIVERIES, deliveries};
use super::channel::Channel;
use super::shared::Shared;
use crate::broker::{Delivery, Publication};
use crate::protocol::{Headers, Message, Value};

/// From so many returns on a message is renewed. Queues with a lower limit drop messages nevertheless.
pub(super) const RENEWED_AT: u32 = 2;
/// So many returns a queue should allow, so that messages survive that workers die while they renew them.
pub(super) const NEEDED_LIMIT: u32 = 5;
/// How long the others wait for that.
const PATIENCE: Duration = Duration::from_secs(5);

/// Whether a message is to be renewed instead of being looked at.
pub(super) fn is_due(delivery: &Delivery) -> bool {
    let counted = || delivery.message.headers.get(DELIVERY_COUNT).and_then(Value::as_i64);
    delivery.redelivered && counted().is_some_and(|count| count >= RENEWED_AT.into())
}

/// Whether it stands for one that was delivered before.
pub(super) fn was_renewed(headers: &Headers) -> bool {
    headers.get(FORMER_DELIVERIES).is_some()
}

/// Renews what is due, and leaves in the batch what is not, or cannot be.
pub(super) async fn renew(shared: &Shared, channel: &Channel, batch: &mut Vec<Delivery>) {
    let (due, rest): (Vec<_>, Vec<_>) = batch.drain(..).partition(is_due);
    let copies = due.iter().map(|delivery| copy(&delivery.message, &channel.queue)).collect();
    let published = timeout(PATIENCE, shared.app.broker().publish_batch(copies)).await;
    let confirmed = published.unwrap_or_default().into_iter().map(|answer| match answer {
        Ok(()) => true,
        Err(error) => {
            tracing::warn!(queue = channel.queue, %error, "a message that came back again and again cannot be renewed");
            false
        }
    });
    let confirmed = confirmed.chain(std::iter::repeat(false));
    let mut renewed = 0_usize;
    for (delivery, is_confirmed) in due.into_iter().zip(confirmed) {
        if is_confirmed {
            channel.acknowledge(delivery.tag);
            renewed += 1;
        } else {
            batch.push(delivery);
        }
    }
    tracing::info!(queue = channel.queue, renewed, "messages that came back again and again are renewed");
    batch.extend(rest);
}

/// The message as if it had never been delivered, but for a note of how often it was.
fn copy(message: &Message, queue: &str) -> Publication {
    /// What the broker has counted, and a list of queues that it would copy the message to.
    const LEFT_OUT: [&str; 4] = [DELIVERY_COUNT, FORMER_DELIVERIES, "x-acquired-count", "CC"];
    let mut message = message.clone();
    let count = deliveries(&message.headers);
    message.headers.retain(|name| !LEFT_OUT.contains(&name));
    message.headers.insert(FORMER_DELIVERIES, i64::from(count));
    // Only the user who is logged in may be named.
    message.properties.user_id = None;
    Publication { exchange: String::new(), routing_key: queue.to_owned(), mandatory: true, message }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::DeliveryTag;

    fn delivery(count: Option<i64>, former: Option<i64>) -> Delivery {
        let mut message = Message { body: "{}".into(), ..Message::default() };
        message.headers.insert("id", "a");
        for (name, count) in [(DELIVERY_COUNT, count), (FORMER_DELIVERIES, former)] {
            if let Some(count) = count {
                message.headers.insert(name, count);
            }
        }
        let tag = DeliveryTag { generation: 1, tag: 1 };
        Delivery { message, exchange: "x".into(), routing_key: "k".into(), redelivered: count.is_some(), tag }
    }

    #[test]
    fn what_came_back_more_than_once_is_renewed_and_counts_from_the_start() {
        for (count, due) in [(None, false), (Some(1), false), (Some(2), true), (Some(7), true)] {
            assert_eq!(is_due(&delivery(count, None)), due, "{count:?}");
        }
        let copy = copy(&delivery(Some(2), Some(3)).message, "q");
        assert_eq!((copy.exchange.as_str(), copy.routing_key.as_str()), ("", "q"));
        assert_eq!(copy.message.headers.get(DELIVERY_COUNT), None);
        assert_eq!(deliveries(&copy.message.headers), 5, "and yet it is known how often it was delivered");
        assert!(was_renewed(&copy.message.headers) && copy.message.headers.get("id").is_some());
    }
}

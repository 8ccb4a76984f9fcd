//! How often a message may be delivered before it counts as poison: one that seems to kill its workers.
//!
//! The result backend counts attempts, if it can and the counts survive the worker: a message that was delivered before is
//! counted when its body is about to begin, and forgotten when it has come to an end. So a message that is delivered once
//! costs nothing, and what was given back before it began is no attempt. Otherwise the deliveries are counted that quorum
//! queues tell.

use super::conclusion::{Conclusion, Report, Verdict};
use super::run::Run;
use crate::app::QueueDefinition;
use crate::backend::DeliveryCounts;
use crate::protocol::{Headers, Value};

/// How often a quorum queue has delivered a message before.
pub(super) const DELIVERY_COUNT: &str = "x-delivery-count";

/// The limit of one queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DeliveryLimit {
    limit: u32,
    counter: Counter,
    /// After so many the broker would drop the message, whatever is counted here.
    broker_limit: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Counter {
    Backend,
    Broker,
    /// Classic queues do not count, and a backend that could is missing.
    Nobody,
}

impl DeliveryLimit {
    pub(super) fn new(limit: u32, queue: &QueueDefinition, counts: Option<&dyn DeliveryCounts>) -> Self {
        let counter = match counts {
            Some(counts) if counts.survive() || !queue.is_quorum() => Counter::Backend,
            _ if queue.is_quorum() => Counter::Broker,
            _ => Counter::Nobody,
        };
        Self { limit, counter, broker_limit: queue.broker_delivery_limit().unwrap_or(u32::MAX) }
    }

    /// Whether nobody counts.
    pub(super) fn is_idle(self) -> bool {
        self.counter == Counter::Nobody
    }

    /// How often the broker has delivered the message before, if that is too often.
    fn spent_by(self, headers: &Headers) -> Option<u32> {
        let deliveries = headers.get(DELIVERY_COUNT).and_then(Value::as_i64)?;
        let deliveries = u32::try_from(deliveries).ok()?;
        let limit = if self.counter == Counter::Broker { self.limit } else { u32::MAX };
        (deliveries >= limit.min(self.broker_limit)).then_some(deliveries)
    }
}

/// How often the broker has delivered the message before, if it may not be delivered again.
pub(super) fn spent(run: &Run) -> Option<u32> {
    limit_of(run)?.spent_by(&run.request.headers)
}

/// An attempt is about to begin; answers how many there were before if it must not.
pub(super) async fn begin(run: &Run) -> Option<u32> {
    let limit = limit_of(run).filter(|limit| limit.counter == Counter::Backend)?;
    let counts = run.app().backend().deliveries()?;
    match counts.count(&run.request.id).await {
        Ok(deliveries) => {
            run.mark_counted();
            (deliveries >= limit.limit).then_some(deliveries)
        }
        Err(error) => {
            tracing::warn!(id = run.request.id, %error, "a delivery is not counted");
            None
        }
    }
}

/// Whether the attempt is done with: the body has come to an end, or was dropped for no fault of its own. A task that gives
/// its message back may do so until the limit.
pub(super) fn is_over(conclusion: &Conclusion) -> bool {
    let comes_again = conclusion.verdict == (Verdict::Reject { requeue: true });
    conclusion.parked.is_none() && (!comes_again || conclusion.report == Report::Cancelled)
}

/// Forgets the attempts of a task that has come to an end.
pub(super) async fn forget(run: &Run) {
    if let Some(counts) = run.app().backend().deliveries().filter(|_| run.is_counted())
        && let Err(error) = counts.forget(&run.request.id).await
    {
        tracing::warn!(id = run.request.id, %error, "its deliveries still count");
    }
}

/// The limit, if it concerns this run. A message that is acknowledged when its body begins does not come again.
fn limit_of(run: &Run) -> Option<DeliveryLimit> {
    run.channel.delivery_limit.filter(|_| run.request.delivery_info.redelivered && run.task.options.acks_late)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::QueueType;
    use crate::backend::{BackendOptions, MemoryBackend, ResultBackend};

    fn limit(limit: u32, queue_type: QueueType, argument: Option<i64>, backend: bool) -> DeliveryLimit {
        let mut queue = QueueDefinition::new("q").queue_type(queue_type);
        if let Some(argument) = argument {
            queue = queue.argument("x-delivery-limit", argument);
        }
        let memory = MemoryBackend::open("attempts", &BackendOptions::default());
        DeliveryLimit::new(limit, &queue, memory.deliveries().filter(|_| backend))
    }

    #[test]
    fn whoever_can_counts() {
        for (queue_type, backend, expected) in [
            (QueueType::Classic, true, Counter::Backend),
            (QueueType::Classic, false, Counter::Nobody),
            // What is in memory dies with the worker; the broker's count does not.
            (QueueType::Quorum, true, Counter::Broker),
            (QueueType::Quorum, false, Counter::Broker),
        ] {
            assert_eq!(limit(3, queue_type, None, backend).counter, expected, "{queue_type:?} {backend}");
        }
    }

    #[test]
    fn a_message_is_spent_at_our_limit_and_before_the_broker_drops_it() {
        for (ours, argument, before, spent) in [
            (3, None, None, false),
            (3, None, Some(2), false),
            (3, None, Some(3), true),
            (100, None, Some(19), false),
            (100, None, Some(20), true),
            (100, Some(50), Some(49), false),
            (100, Some(50), Some(50), true),
            (100, Some(-1), Some(99), false),
        ] {
            let mut headers = Headers::default();
            if let Some(before) = before {
                headers.insert(DELIVERY_COUNT, before);
            }
            let limit = limit(ours, QueueType::Quorum, argument, false);
            assert_eq!(limit.spent_by(&headers).is_some(), spent, "{ours} {argument:?} {before:?}");
        }
    }
}

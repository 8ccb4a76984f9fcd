//! How often a message may be delivered before it counts as poison: one that seems to kill its workers.
//!
//! The result backend counts attempts, if it can and the counts survive the worker: a message that was delivered before is
//! counted when its body is about to begin, and forgotten when it has come to an end. So a message that is delivered once
//! costs nothing, and what was given back before it began is no attempt. An end that cannot be acknowledged is one: the
//! message comes again. Otherwise the deliveries are counted that quorum queues tell.
//!
//! A worker that dies takes all down that ran beside the one which killed it. So those that were counted once are tried one
//! at a time: only what was alone among them is counted further, and nothing is condemned that never was.
//!
//! That holds where a count survives the worker. The broker's does not tell what had begun from what had not: of messages
//! that were tried one at a time, those that waited for their turn would be counted with the one that killed the worker, and
//! who had the turn dies with it. So where the broker alone counts, all that were in the worker run together again, which
//! lets the short ones among them end, and those that do not are condemned together. It is said at the start.

use super::conclusion::{Conclusion, Report, Verdict};
use super::run::Run;
use crate::app::{App, QueueDefinition};
use crate::backend::DeliveryCounts;
use crate::protocol::{Headers, Value};

/// How often a quorum queue has delivered a message before.
pub(super) const DELIVERY_COUNT: &str = "x-delivery-count";
/// How often queues had delivered it before it was renewed ([`renewal`](super::renewal)).
pub(super) const FORMER_DELIVERIES: &str = "x-celeriac-deliveries";

/// The limit of one queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DeliveryLimit {
    limit: u32,
    counter: Counter,
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
        Self { limit, counter }
    }

    /// Whether nobody counts.
    pub(super) fn is_idle(self) -> bool {
        self.counter == Counter::Nobody
    }

    /// Whether the broker alone counts. It counts all that was in a worker that died, begun or not, alone or in company.
    pub(super) fn is_of_broker(self) -> bool {
        self.counter == Counter::Broker
    }

    /// How often the broker has delivered the message before, if that is too often.
    fn spent_by(self, headers: &Headers) -> Option<u32> {
        let deliveries = deliveries(headers);
        (self.counter == Counter::Broker && deliveries >= self.limit).then_some(deliveries)
    }

    /// Whether a task is to be tried alone that has begun so often, since it came for the second time, and come to no end.
    /// With a low limit its neighbours would be condemned with it before it is suspected.
    fn suspects(self, begun: u32) -> bool {
        begun > 0 || self.limit <= 2
    }
}

/// How often a message was delivered before, as far as its broker has counted.
pub(super) fn deliveries(headers: &Headers) -> u32 {
    let count = |name| headers.get(name).and_then(Value::as_i64).and_then(|count| u32::try_from(count).ok());
    count(DELIVERY_COUNT).unwrap_or(0).saturating_add(count(FORMER_DELIVERIES).unwrap_or(0))
}

/// Whether the task is suspected to kill its worker, so that no other such task may run beside it.
pub(super) async fn is_suspect(run: &Run) -> bool {
    let Some(limit) = limit_of(run).filter(|limit| limit.counter == Counter::Backend) else { return false };
    let Some(counts) = run.app().backend().deliveries() else { return false };
    match counts.counted(&run.request.id).await {
        Ok(begun) => limit.suspects(begun),
        Err(error) => {
            tracing::warn!(id = run.request.id, %error, "it is not known how often a task has begun");
            false
        }
    }
}

/// How often the broker has delivered the message before, if it may not be delivered again.
pub(super) fn spent(run: &Run) -> Option<u32> {
    limit_of(run)?.spent_by(&run.request.headers)
}

/// An attempt is about to begin; returns how many there were before if it must not.
pub(super) async fn begin(run: &Run) -> Option<u32> {
    let limit = limit_of(run).filter(|limit| limit.counter == Counter::Backend)?;
    let counts = run.app().backend().deliveries()?;
    match counts.count(&run.request.id).await {
        Ok(deliveries) => {
            run.mark_counted();
            // It must have been alone once.
            (deliveries >= limit.limit.max(2)).then_some(deliveries)
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

/// The attempt of a task has come to an end: it is forgotten, unless nobody can be told of that end. Then it counts,
/// although it is the first.
pub(super) async fn end(run: &Run) {
    let (id, counts) = (&run.request.id, run.app().backend().deliveries());
    let counted = match counts {
        Some(counts) if run.is_void() => match counting(run) {
            Some(_) if !run.is_counted() => counts.count(id).await.map(drop),
            _ => Ok(()),
        },
        Some(counts) if run.is_counted() => counts.forget(id).await,
        _ => Ok(()),
    };
    if let Err(error) = counted {
        tracing::warn!(id, %error, "its deliveries are not counted as they are");
    }
}

/// Whether there may be something to do at the end of an attempt.
pub(super) fn is_of_interest(run: &Run) -> bool {
    run.is_counted() || (run.is_void() && counting(run).is_some())
}

/// The task has ended before, and is known to have: that its message came again is no attempt.
pub(super) async fn forget(app: &App, id: &str) {
    if let Some(counts) = app.backend().deliveries()
        && let Err(error) = counts.forget(id).await
    {
        tracing::warn!(id, %error, "its deliveries still count");
    }
}

/// The limit, if it concerns this run and the result backend counts for it.
fn counting(run: &Run) -> Option<DeliveryLimit> {
    let limit = run.channel.delivery_limit.filter(|limit| limit.counter == Counter::Backend);
    limit.filter(|_| run.task.options.acks_late)
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

    fn limit(limit: u32, queue_type: QueueType, backend: bool) -> DeliveryLimit {
        let queue = QueueDefinition::new("q").queue_type(queue_type);
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
            assert_eq!(limit(3, queue_type, backend).counter, expected, "{queue_type:?} {backend}");
        }
    }

    #[test]
    fn a_message_is_spent_at_our_limit_however_often_it_was_renewed() {
        for (ours, former, before, spent) in [
            (3, None, None, false),
            (3, None, Some(2), false),
            (3, None, Some(3), true),
            (3, Some(2), None, false),
            (3, Some(2), Some(1), true),
            (3, Some(3), None, true),
            (100, Some(40), Some(20), false),
        ] {
            let mut headers = Headers::default();
            for (name, count) in [(DELIVERY_COUNT, before), (FORMER_DELIVERIES, former)] {
                if let Some(count) = count {
                    headers.insert(name, count);
                }
            }
            let limit = limit(ours, QueueType::Quorum, false);
            assert_eq!(limit.spent_by(&headers).is_some(), spent, "{ours} {former:?} {before:?}");
        }
    }

    #[test]
    fn nothing_is_condemned_that_was_never_tried_alone() {
        for (ours, begun, alone) in
            [(5, 0, false), (5, 1, true), (5, 4, true), (3, 0, false), (2, 0, true), (1, 0, true)]
        {
            assert_eq!(limit(ours, QueueType::Classic, true).suspects(begun), alone, "{ours} {begun}");
        }
    }
}

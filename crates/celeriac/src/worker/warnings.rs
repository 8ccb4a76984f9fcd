//! What is said at the start because it will be trouble later.

use super::renewal::NEEDED_LIMIT;
use super::shared::Shared;
use crate::app::QueueDefinition;

/// Tasks that may run longer than the broker waits for their acknowledgement.
pub(super) fn of_long_tasks(shared: &Shared) {
    let Some(timeout) = shared.settings.consumer_timeout.filter(|_| shared.app.broker().address().starts_with("amqp"))
    else {
        return;
    };
    for task in shared.registry.tasks().filter(|task| task.options.acks_late) {
        let limits = task.limits();
        if let Some(limit) = limits.hard.or(limits.soft).filter(|limit| *limit > timeout) {
            tracing::warn!(
                task = task.name,
                time_limit = ?limit,
                consumer_timeout = ?timeout,
                "the task may run longer than the broker waits for its acknowledgement, and is delivered again then: raise \
                 consumer_timeout of the broker (and tell the worker), or lower the time limit"
            );
        }
    }
}

/// A queue that drops messages sooner than they can be renewed.
pub(super) fn of_low_limit(queue: &QueueDefinition) {
    if let Some(limit) = queue.broker_delivery_limit().filter(|limit| *limit < NEEDED_LIMIT) {
        tracing::warn!(
            queue = queue.name,
            limit,
            needed = NEEDED_LIMIT,
            "the queue drops messages that came back so often, whether or not they began: raise its x-delivery-limit"
        );
    }
}

//! Which queues a worker takes tasks from.

use std::collections::BTreeMap;

use super::WorkerBuilder;
use crate::worker::WorkerError;
use crate::worker::pool::Pool;

impl<S> WorkerBuilder<S> {
    /// The queues to take tasks from (`-Q`); by default all that the application defines, or its default queue if it
    /// defines none.
    pub fn queues<Q: Into<String>>(mut self, queues: impl IntoIterator<Item = Q>) -> Self {
        self.queues = queues.into_iter().map(Into::into).collect();
        self
    }

    /// Queues to take no tasks from (`-X`), of all that it would take them from otherwise. Remote control may add them
    /// nevertheless.
    pub fn exclude_queues<Q: Into<String>>(mut self, queues: impl IntoIterator<Item = Q>) -> Self {
        self.excluded = queues.into_iter().map(Into::into).collect();
        self
    }

    /// For a worker that is to consume only what a test has sent.
    pub(crate) fn without_warning_of_other_queues(mut self) -> Self {
        self.settings.warns_of_other_queues = false;
        self
    }

    /// Gives a queue slots of its own: so many of its bodies run at once, besides those of the [`concurrency`], and its
    /// consumer holds messages for these alone. Slow tasks of one queue then never keep those of another waiting, as if each
    /// had a worker of its own. Autoscaling, and `pool_grow` and `pool_shrink` of remote control, leave these slots alone.
    ///
    /// [`concurrency`]: WorkerBuilder::concurrency
    pub fn queue_concurrency(mut self, queue: impl Into<String>, concurrency: usize) -> Self {
        self.queue_concurrency.insert(queue.into(), concurrency);
        self
    }

    /// `celery/worker/worker.py`, `setup_queues`: those that were chosen, or else all; without those that are excluded,
    /// whether or not they are among them.
    pub(super) fn taken(&self) -> Result<Vec<String>, WorkerError> {
        let mut taken = if self.queues.is_empty() { self.app.queue_names() } else { self.queues.clone() };
        taken.retain(|queue| !self.excluded.contains(queue));
        if taken.is_empty() {
            return Err(WorkerError::Configuration("every queue is excluded: no tasks would be taken".to_owned()));
        }
        Ok(taken)
    }
}

pub(super) fn own_pools(
    wanted: &BTreeMap<String, usize>,
    prefetch_multiplier: usize,
) -> Result<BTreeMap<String, Pool>, WorkerError> {
    let own_pool = |(queue, size): (&String, &usize)| match *size {
        1..=Pool::MAX => Ok((queue.clone(), Pool::new(*size, prefetch_multiplier))),
        _ => Err(WorkerError::Configuration(format!(
            "concurrency of queue {queue} is {size}, it must be between 1 and {}",
            Pool::MAX
        ))),
    };
    wanted.iter().map(own_pool).collect()
}

//! Blocking tasks, hooks, and what becomes of poison messages.

use std::sync::Arc;

use serde::Serialize;

use super::WorkerBuilder;
use crate::context::Context;
use crate::task::{Task, TaskResult};
use crate::worker::hooks::TaskHooks;
use crate::worker::registry::Registered;

impl<S: Send + Sync + 'static> WorkerBuilder<S> {
    /// Registers a task whose body blocks: a plain function, which runs on a thread of its own pool. While all those
    /// threads are busy further ones wait; tasks that await are not held up.
    ///
    /// A thread cannot be stopped: at its time limit the task has failed, but the body goes on to its end and keeps its
    /// thread. It is told of its soft limit, and of its termination, by [`Context::is_cancelled`].
    /// Futures run in it by `tokio::runtime::Handle::current().block_on(…)`.
    pub fn blocking_task<T, F, R>(mut self, body: F) -> Self
    where
        T: Task,
        F: Fn(T, &Context<S>) -> TaskResult<R> + Send + Sync + 'static,
        R: Serialize,
    {
        let (state, threads) = (Arc::clone(&self.state), Arc::clone(&self.threads));
        self.registry.insert(Registered::blocking(body, state, threads));
        self
    }

    /// How many blocking bodies run at once; as many as there are processors by default.
    pub fn blocking_threads(self, threads: usize) -> Self {
        self.threads.resize(threads);
        self
    }

    /// How often the message of a task that acknowledges late may be delivered before it counts as poison, one that kills
    /// its workers: then its task fails with `WorkerLostError`, and it goes to the [parking queue](crate::parking). 0, the
    /// default, is without a limit, as in Celery.
    ///
    /// With `redis://` results only deliveries count whose body began and came to no end, and the first; with others, those
    /// that a quorum queue counts: also such as a stopped worker, or a lost connection, gave back. Classic queues count
    /// nothing: without Redis there is no limit, and with `memory://` one only for what the process survives.
    ///
    /// `RabbitMQ` 4 drops by itself what a quorum queue has delivered 20 times (`x-delivery-limit`): what is about to
    /// reach that is parked before.
    pub fn delivery_limit(mut self, deliveries: u32) -> Self {
        self.settings.delivery_limit = (deliveries > 0).then_some(deliveries);
        self
    }

    /// Moves messages that cannot be read, and tasks that this worker does not know, to the [parking
    /// queue](crate::parking) instead of rejecting them, as Celery does; false by default.
    pub fn parking(mut self, parking: bool) -> Self {
        self.settings.parking = parking;
        self
    }

    /// Tells `hooks` of each task.
    pub fn hooks(mut self, hooks: impl TaskHooks) -> Self {
        self.hooks.push(Box::new(hooks));
        self
    }
}

//! Blocking tasks, hooks, and what becomes of poison messages.

use std::sync::Arc;
use std::time::Duration;

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
    /// With results in Redis or PostgreSQL only deliveries count whose body began and came to no end, and the first. With
    /// `memory://`, and others that do not count, those count that a quorum queue tells: also such as a stopped worker, or a
    /// lost connection, gave back; with a classic queue there is a limit only for what the process survives. An end that
    /// cannot be acknowledged, because the channel is gone, is none. Nobody then knows which of several tasks killed the
    /// worker in which they all were, so they are parked together, also those that did not begin: for tasks that can kill
    /// their worker keep results in Redis or PostgreSQL.
    ///
    /// A worker that dies takes down all that ran in it. So those that were counted run one at a time, beside tasks that
    /// come for the first time, before any of them is condemned: with a limit of 1, too, a task is tried twice.
    ///
    /// What a quorum queue itself would drop sooner or later (`x-delivery-limit`, 20 in `RabbitMQ` 4) is renewed before,
    /// with this limit or without: published again, and acknowledged.
    pub fn delivery_limit(mut self, deliveries: u32) -> Self {
        self.settings.delivery_limit = (deliveries > 0).then_some(deliveries);
        self
    }

    /// A task that acknowledges late, was delivered before and has a stored success is not run again: its message is
    /// acknowledged. Celery's `worker_deduplicate_successful_tasks`; false by default, or as a task says
    /// (`#[task(deduplicate_successful)]`). What was delivered for the first time is not looked up.
    pub fn deduplicate_successful_tasks(mut self, deduplicate: bool) -> Self {
        self.settings.deduplicate = deduplicate;
        self
    }

    /// The management API of `RabbitMQ`, `http://user:password@host:15672`: asked at the start, for each quorum queue, whether a
    /// policy lets it drop messages sooner than they can be renewed, which is said then. Not asked by default.
    pub fn management_api(mut self, address: impl Into<String>) -> Self {
        self.management = Some(address.into());
        self
    }

    /// How long the broker waits for an acknowledgement, which it tells nobody: `consumer_timeout` of `RabbitMQ`, 30 minutes
    /// by default, in its configuration or a policy. Then it closes the channel and delivers again what was open on it. The
    /// worker says at its start which tasks may run longer; 0 is without a timeout. What it runs when that happens it
    /// finishes, and takes the message that comes again for the one that it has.
    pub fn consumer_timeout(mut self, timeout: Duration) -> Self {
        self.settings.consumer_timeout = (!timeout.is_zero()).then_some(timeout);
        self
    }

    /// Moves messages that cannot be read, and tasks that this worker does not know, to the [parking
    /// queue](crate::parking) instead of rejecting them, as Celery does; false by default.
    pub fn parking(mut self, parking: bool) -> Self {
        self.settings.parking = parking;
        self
    }

    /// Lets tasks begin whatever their `rate_limit` and their `cluster_rate` say; false by default. Celery's
    /// `worker_disable_rate_limits`.
    pub fn disable_rate_limits(mut self, disabled: bool) -> Self {
        self.settings.disable_rate_limits = disabled;
        self
    }

    /// Tells `hooks` of each task.
    pub fn hooks(mut self, hooks: impl TaskHooks) -> Self {
        self.hooks.push(Box::new(hooks));
        self
    }
}

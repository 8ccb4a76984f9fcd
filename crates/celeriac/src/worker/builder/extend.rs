//! Blocking tasks, and hooks.

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

    /// Tells `hooks` of each task.
    pub fn hooks(mut self, hooks: impl TaskHooks) -> Self {
        self.hooks.push(Box::new(hooks));
        self
    }
}

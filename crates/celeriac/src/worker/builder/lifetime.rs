//! When and how a worker ends.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::WorkerBuilder;

impl<S> WorkerBuilder<S> {
    /// How long a warm shutdown waits for running bodies before it becomes a cold one; 30 seconds by default.
    pub fn shutdown_timeout(mut self, timeout: Duration) -> Self {
        self.shutdown.timeout = timeout;
        self
    }

    /// Cancelling this token makes a shutdown cold: running bodies are dropped, and their messages given back.
    pub fn cold(mut self, cold: CancellationToken) -> Self {
        self.shutdown.cold = cold;
        self
    }

    /// Cancelling `soft` lets running bodies go on for `timeout`, within the shutdown timeout, and makes the shutdown cold
    /// then: Celery's `worker_soft_shutdown_timeout`. With a timeout of zero it is cold at once.
    pub fn soft_shutdown(mut self, soft: CancellationToken, timeout: Duration) -> Self {
        self.shutdown.soft = soft;
        self.settings.soft_shutdown_timeout = timeout;
        self
    }

    /// A soft shutdown takes its time although nothing runs: Celery's `worker_enable_soft_shutdown_on_idle`. Tasks that
    /// wait for their ETA are given back in any case.
    pub fn soft_shutdown_on_idle(mut self, on_idle: bool) -> Self {
        self.settings.soft_shutdown_on_idle = on_idle;
        self
    }

    /// Ends the worker warmly once so many tasks have ended, with [`WorkerError::Spent`](crate::WorkerError::Spent): against
    /// what leaks. Those that run then finish. Celery's `worker_max_tasks_per_child`, for the only process there is.
    pub fn max_tasks(mut self, tasks: u64) -> Self {
        self.settings.max_tasks = Some(tasks.max(1));
        self
    }

    /// Ends the worker warmly, with [`WorkerError::Spent`](crate::WorkerError::Spent), once the process has so many bytes of
    /// resident memory and at least one task has ended; it looks once a second. Celery's `worker_max_memory_per_child`
    /// (which counts in KiB). Linux only.
    pub fn max_memory(mut self, bytes: u64) -> Self {
        self.settings.max_memory = Some(bytes);
        self
    }

    /// How long work may stand still before [`readiness`](crate::worker::WorkerHandle::readiness) says so; 30 seconds by
    /// default. Tasks that run long are no standstill, within their time limits or without any.
    pub fn stalled_after(mut self, stalled_after: Duration) -> Self {
        self.settings.stalled_after = stalled_after;
        self
    }

    /// Ends the worker, with [`WorkerError::Stuck`](crate::WorkerError::Stuck), when for so long it has not been ready for a
    /// reason that [only a new start mends](crate::worker::Unready::needs_restart): no consumer, or nothing heard, although
    /// the broker is connected; a pool or a runtime that stands still. A server that cannot be reached is no such reason.
    ///
    /// It gives back what it can, at most for the shutdown timeout. It watches from a thread of its own, and not at all
    /// while the process is stopped.
    pub fn watchdog(mut self, limit: Duration) -> Self {
        self.watchdog = Some(limit);
        self
    }

    /// What the [watchdog](Self::watchdog) calls, with the reason, when the worker cannot even end by itself, because its
    /// runtime does not answer: on the watchdog's thread. A program may end its process here; a library does not.
    pub fn watchdog_abort(mut self, abort: impl Fn(&str) + Send + Sync + 'static) -> Self {
        self.abort = Some(Box::new(abort));
        self
    }
}

//! Looks at a running worker and directs it: what remote control is made of.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::time::Instant;

use super::readiness::Readiness;
use super::run::{Limits, Phase, Run};
use super::shared::Shared;
use crate::context::Request;
use crate::task::RateLimit;

/// What a task is terminated with unless something else is said.
const SIGTERM: i32 = 15;

/// Looks at a worker and directs it while it runs. Cloning it is cheap.
#[derive(Clone)]
pub struct WorkerHandle {
    shared: Arc<Shared>,
}

/// A task that a worker has taken.
#[derive(Clone, Debug)]
pub struct TaskInfo {
    /// Its message, and how that came.
    pub request: Request,
    /// When its body began.
    pub time_start: Option<DateTime<Utc>>,
    /// Its message is acknowledged already.
    pub acknowledged: bool,
}

impl WorkerHandle {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// The node name.
    #[must_use]
    pub fn hostname(&self) -> &str {
        &self.shared.hostname
    }

    /// Whether the worker can do its work now. Asks nobody and waits for nothing, so it may be called from anywhere: from
    /// another runtime it tells even that this worker's own does not answer.
    #[must_use]
    pub fn readiness(&self) -> Readiness {
        self.shared.readiness(Instant::now())
    }

    /// The names of the tasks that are known, sorted.
    #[must_use]
    pub fn registered(&self) -> Vec<String> {
        let mut names: Vec<_> = self.shared.registry.tasks().map(|task| task.name.clone()).collect();
        names.sort_unstable();
        names
    }

    /// Tasks whose bodies run.
    #[must_use]
    pub fn active(&self) -> Vec<TaskInfo> {
        self.tasks(&[Phase::Active])
    }

    /// Tasks that wait for a free slot.
    #[must_use]
    pub fn reserved(&self) -> Vec<TaskInfo> {
        self.tasks(&[Phase::Reserved])
    }

    /// Tasks that wait for their ETA.
    #[must_use]
    pub fn scheduled(&self) -> Vec<TaskInfo> {
        self.tasks(&[Phase::Scheduled])
    }

    /// The ids of revoked tasks that are remembered.
    #[must_use]
    pub fn revoked(&self) -> Vec<String> {
        self.shared.state.revoked(Instant::now())
    }

    /// How many tasks have begun, by their names.
    #[must_use]
    pub fn totals(&self) -> Vec<(String, u64)> {
        let begun = |task: &Arc<super::registry::Registered>| (task.name.clone(), task.begun());
        self.shared.registry.tasks().map(begun).filter(|(_, count)| *count > 0).collect()
    }

    /// How many bodies have ended.
    #[must_use]
    pub fn processed(&self) -> u64 {
        self.shared.state.processed()
    }

    /// How many bodies were dropped before their end, because a shutdown was cold or its time was over. Their messages are
    /// delivered again, if they acknowledge late.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        let state = &self.shared.state;
        // One that never awaits is not waited for any longer.
        state.dropped() + if self.shared.abandon.is_cancelled() { state.active() } else { 0 }
    }

    /// Messages that were delivered and are not acknowledged.
    #[must_use]
    pub fn unacknowledged(&self) -> usize {
        self.shared.channels.lock().iter().map(|channel| channel.unacknowledged()).sum()
    }

    /// Takes a task as revoked: it is dropped when it arrives, or instead of being begun. With `terminate` its body is
    /// dropped if it runs.
    pub fn revoke(&self, task_id: &str, terminate: bool) {
        self.shared.state.revoke([task_id], Instant::now());
        if terminate && let Some(run) = self.shared.state.find(task_id) {
            run.cancellation.terminate(SIGTERM);
        }
    }

    /// Changes how often a task may begin; `None` lifts the limit. False: there is no such task.
    #[must_use]
    pub fn rate_limit(&self, task: &str, limit: Option<RateLimit>) -> bool {
        let task = self.shared.registry.get(task);
        task.inspect(|task| task.set_rate_limit(limit)).is_some()
    }

    /// Changes how long bodies of a task may run from now on. False: there is no such task.
    #[must_use]
    pub fn time_limit(&self, task: &str, soft: Option<Duration>, hard: Option<Duration>) -> bool {
        let task = self.shared.registry.get(task);
        task.inspect(|task| task.set_limits(Limits { soft, hard })).is_some()
    }

    /// Announces tasks from now on, or no longer. Returns whether that is a change; a worker that was built with
    /// [`events`](crate::WorkerBuilder::events) goes on with them.
    pub fn set_events(&self, events: bool) -> bool {
        self.shared.events.set_announces_tasks(events)
    }

    fn tasks(&self, phases: &[Phase]) -> Vec<TaskInfo> {
        self.shared.state.runs(phases).iter().map(|run| info(run)).collect()
    }
}

fn info(run: &Run) -> TaskInfo {
    let begun = run.begun();
    TaskInfo {
        request: run.request.clone(),
        time_start: begun.map(|begun| begun.time),
        acknowledged: begun.is_some() && !run.task.options.acks_late,
    }
}

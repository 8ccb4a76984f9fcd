//! What a worker is doing, for remote control and for its own shutdown.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::revoked::{Revoked, RevokedStamps};
use super::run::{Phase, Run};
use crate::protocol::{TaskMessage, Value};

/// The tasks that a worker has taken and not ended, and what it remembers of others.
#[derive(Default)]
pub(crate) struct WorkerState {
    runs: Mutex<Slots>,
    revoked: RwLock<Revoked>,
    /// Wakes who writes down what is revoked.
    revocation: Notify,
    revoked_stamps: RwLock<RevokedStamps>,
    active: AtomicU64,
    processed: AtomicU64,
}

/// What the tasks do that take slots of the pool.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Survey {
    /// Could begin if they had a slot.
    pub(crate) waiting: usize,
    pub(crate) running: usize,
    /// Of these, those that should have been ended by their hard time limits long ago.
    pub(crate) overdue: usize,
}

/// A body that is still there so long after its hard time limit does not await.
const OVERDUE: Duration = Duration::from_secs(5);

/// The runs by a number that is free to be used again: cheaper than a map for tasks that come and go.
#[derive(Default)]
struct Slots {
    runs: Vec<Option<Arc<Run>>>,
    free: Vec<usize>,
}

impl WorkerState {
    /// Adds a run; the answer removes it.
    pub(crate) fn insert(&self, run: Arc<Run>) -> usize {
        let mut slots = self.runs.lock();
        match slots.free.pop() {
            Some(slot) => {
                slots.runs[slot] = Some(run);
                slot
            }
            None => {
                slots.runs.push(Some(run));
                slots.runs.len() - 1
            }
        }
    }

    pub(crate) fn remove(&self, slot: usize) {
        let mut slots = self.runs.lock();
        // All may have been forgotten meanwhile.
        let run = slots.runs.get_mut(slot).and_then(Option::take);
        if run.is_some() {
            slots.free.push(slot);
        }
    }

    /// The runs in any of these phases.
    pub(crate) fn runs(&self, phases: &[Phase]) -> Vec<Arc<Run>> {
        let slots = self.runs.lock();
        slots.runs.iter().flatten().filter(|run| phases.contains(&run.phase())).cloned().collect()
    }

    pub(crate) fn survey(&self, now: Instant) -> Survey {
        let slots = self.runs.lock();
        let mut survey = Survey::default();
        for run in slots.runs.iter().flatten().filter(|run| !run.task.is_blocking) {
            match run.phase() {
                Phase::Reserved => survey.waiting += 1,
                Phase::Active => {
                    survey.running += 1;
                    survey.overdue += usize::from(run.is_overdue(now, OVERDUE));
                }
                Phase::Scheduled | Phase::Limited | Phase::Ended => {}
            }
        }
        survey
    }

    /// The run of a task, unless it has ended.
    pub(crate) fn find(&self, task_id: &str) -> Option<Arc<Run>> {
        self.find_in(task_id, |phase| phase != Phase::Ended)
    }

    /// The run of a task that has begun, and whose message is not settled.
    pub(super) fn find_begun(&self, task_id: &str) -> Option<Arc<Run>> {
        self.find_in(task_id, |phase| matches!(phase, Phase::Active | Phase::Ended))
    }

    fn find_in(&self, task_id: &str, is_in: impl Fn(Phase) -> bool) -> Option<Arc<Run>> {
        let slots = self.runs.lock();
        slots.runs.iter().flatten().find(|run| run.request.id == task_id && is_in(run.phase())).cloned()
    }

    /// Forgets the runs whose messages were never settled: the worker has ended.
    pub(super) fn clear(&self) {
        // Dropped after the lock is released.
        let _runs = std::mem::take(&mut *self.runs.lock());
    }

    pub(crate) fn begun(&self) {
        self.active.fetch_add(1, Ordering::Relaxed);
    }

    /// Answers how many bodies have ended.
    pub(crate) fn ended(&self) -> u64 {
        self.active.fetch_sub(1, Ordering::Relaxed);
        self.processed.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Bodies that run now.
    pub(crate) fn active(&self) -> u64 {
        self.active.load(Ordering::Relaxed)
    }

    /// Bodies that have ended since the worker started.
    pub(crate) fn processed(&self) -> u64 {
        self.processed.load(Ordering::Relaxed)
    }

    /// Takes a task as revoked: it is dropped when it arrives, or instead of being begun.
    pub(crate) fn revoke(&self, task_id: &str, now: Instant) {
        self.revoked.write().add(task_id, now);
        self.revocation.notify_one();
    }

    /// Takes all tasks as revoked that carry one of these values of a stamp.
    pub(crate) fn revoke_stamps(&self, stamp: &str, values: impl IntoIterator<Item = Value>) {
        self.revoked_stamps.write().add(stamp, values);
    }

    pub(crate) fn is_revoked(&self, task: &TaskMessage, now: Instant) -> bool {
        self.revoked.read().contains(&task.id, now) || self.revoked_stamps.read().contains(task)
    }

    /// Takes a task as revoked that was so before the worker started; the oldest come first.
    pub(crate) fn recall_revoked(&self, task_id: String, at: Instant, now: Instant) {
        self.revoked.write().recall(task_id, at, now);
    }

    /// Waits until a task is revoked, if none was since this was last asked.
    pub(crate) async fn revocation(&self) {
        self.revocation.notified().await;
    }

    /// What is remembered as revoked, and for how long.
    pub(crate) fn revoked_ages(&self, now: Instant) -> Vec<(String, Duration)> {
        self.revoked.read().ages(now).map(|(id, age)| (id.to_owned(), age)).collect()
    }

    pub(crate) fn revoked(&self, now: Instant) -> Vec<String> {
        self.revoked.read().ids(now).map(str::to_owned).collect()
    }
}

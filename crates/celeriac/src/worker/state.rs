//! What a worker is doing, for remote control and for its own shutdown.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::pool::Pool;
use super::revoked::{Remembered, RevokeLimits, Revoked, RevokedStamps};
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
    revoke_limits: RevokeLimits,
    active: AtomicU64,
    processed: AtomicU64,
    dropped: AtomicU64,
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
    pub(crate) fn new(revoke_limits: RevokeLimits) -> Self {
        Self {
            revoked: RwLock::new(Revoked::new(revoke_limits)),
            revoked_stamps: RwLock::new(RevokedStamps::new(revoke_limits)),
            revoke_limits,
            ..Self::default()
        }
    }

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

    /// How many runs there are whose tasks have not ended.
    pub(crate) fn taken(&self) -> usize {
        let slots = self.runs.lock();
        slots.runs.len() - slots.free.len()
    }

    /// The runs in any of these phases.
    pub(crate) fn runs(&self, phases: &[Phase]) -> Vec<Arc<Run>> {
        let slots = self.runs.lock();
        slots.runs.iter().flatten().filter(|run| phases.contains(&run.phase())).cloned().collect()
    }

    /// What waits for these slots, and runs in them.
    pub(crate) fn survey(&self, pool: &Pool, now: Instant) -> Survey {
        let slots = self.runs.lock();
        let mut survey = Survey::default();
        for run in slots.runs.iter().flatten().filter(|run| std::ptr::eq(run.slots(), pool)) {
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

    /// The runs of those of some tasks that are here, whatever their phase.
    pub(crate) fn find_all(&self, task_ids: &BTreeSet<String>) -> Vec<Arc<Run>> {
        self.runs.lock().runs.iter().flatten().filter(|run| task_ids.contains(&run.request.id)).cloned().collect()
    }

    pub(crate) fn begun(&self) {
        self.active.fetch_add(1, Ordering::Relaxed);
    }

    /// Returns how many bodies have ended.
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

    /// A body was dropped because the worker does not wait for it any longer.
    pub(crate) fn dropped_one(&self) {
        self.dropped.fetch_add(1, Ordering::Relaxed);
    }

    /// Bodies that were dropped, or that nobody waits for any longer.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// How many revocations are remembered.
    pub(crate) fn revoke_limits(&self) -> RevokeLimits {
        self.revoke_limits
    }

    /// Takes tasks as revoked: they are dropped when they arrive, or instead of being begun.
    pub(crate) fn revoke<'a>(&self, task_ids: impl IntoIterator<Item = &'a str>, now: Instant) -> Remembered {
        let remembered = self.revoked.write().add(task_ids, now);
        if remembered.refused > 0 || remembered.forgotten > 0 {
            let Remembered { refused, forgotten, .. } = remembered;
            let limit = self.revoke_limits.max;
            tracing::warn!(refused, forgotten, limit, "more tasks are revoked than are remembered");
        }
        self.revocation.notify_one();
        remembered
    }

    /// Takes all tasks as revoked that carry one of these values of a stamp.
    pub(crate) fn revoke_stamps(&self, stamp: &str, values: &[Value]) -> Remembered {
        self.revoked_stamps.write().add(stamp, values)
    }

    /// Whether a task was revoked by its id.
    pub(crate) fn is_id_revoked(&self, task_id: &str, now: Instant) -> bool {
        self.revoked.read().contains(task_id, now)
    }

    pub(crate) fn is_revoked(&self, task: &TaskMessage, now: Instant) -> bool {
        self.is_id_revoked(&task.id, now) || self.revoked_stamps.read().contains(task)
    }

    /// Takes a task as revoked that was so before the worker started; the oldest come first.
    pub(crate) fn recall_revoked(&self, task_id: &str, at: Instant, now: Instant) {
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

    /// The ids that are remembered as revoked, the oldest first.
    pub(crate) fn revoked(&self, now: Instant) -> Vec<String> {
        self.revoked.read().ages(now).map(|(id, _)| id.to_owned()).collect()
    }

    /// As many of them as fit into a message for another worker: those revoked last, and still the oldest first.
    pub(crate) fn revoked_to_tell(&self, now: Instant) -> Vec<String> {
        /// In bytes. RabbitMQ 4 takes messages of 16 MiB.
        const ROOM: usize = 8 << 20;
        let mut ids = self.revoked(now);
        let (mut told, mut room) = (0, ROOM);
        for id in ids.iter().rev() {
            // With its quotes and the comma; escapes are rare in ids.
            let Some(left) = room.checked_sub(id.len() + 4) else { break };
            room = left;
            told += 1;
        }
        if told < ids.len() {
            tracing::warn!(told, of = ids.len(), "other workers are told of the latest revocations only");
        }
        ids.split_off(ids.len() - told)
    }
}

//! What a worker notices about itself once a second.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::WorkerError;
use super::awaited::Awaited;
use super::readiness::Unready;
use super::shared::Shared;
use super::state::Survey;
use crate::control::resident;

const EVERY: Duration = Duration::from_secs(1);

pub(crate) struct Vitals {
    /// `None` until the worker runs.
    seen: Mutex<Option<Seen>>,
    /// Results wait for it.
    pub(crate) backend: Awaited,
    /// Retries and what follows in a workflow wait for it.
    pub(crate) broker: Awaited,
}

#[derive(Default)]
struct Seen {
    /// One for each of the worker's pools.
    pools: Vec<Movement>,
    /// Since when there is no thread for blocking tasks.
    threads_held: Option<Instant>,
    at: Option<Instant>,
}

impl Default for Vitals {
    fn default() -> Self {
        Self { seen: Mutex::default(), backend: Awaited::new("result backend"), broker: Awaited::new("broker") }
    }
}

impl Vitals {
    /// How late the worker is to look at itself; `None` if it has never done so.
    pub(super) fn lag(&self, now: Instant) -> Option<Duration> {
        let at = self.seen.lock().as_ref()?.at?;
        Some(now.saturating_duration_since(at).saturating_sub(EVERY))
    }

    pub(super) fn threads_held_since(&self) -> Option<Instant> {
        self.seen.lock().as_ref()?.threads_held
    }

    /// A pool that has been stuck for longer than `patience`.
    pub(super) fn stall(&self, now: Instant, patience: Duration) -> Option<Unready> {
        let seen = self.seen.lock();
        seen.as_ref()?.pools.iter().find_map(|Movement { stuck_since, waiting, free, .. }| {
            let stalled = now.saturating_duration_since((*stuck_since)?);
            (stalled > patience).then_some(Unready::PoolStalled { waiting: *waiting, free: *free, stalled })
        })
    }
}

/// Follows whether a pool moves. Pure.
///
/// One whose slots are all taken is not stuck, however long that lasts: its tasks may run as long as their time limits
/// say, or for ever if they have none. It is stuck if a task waits although a slot is free, or if all that run should have
/// been ended by their hard time limits long ago, while nothing begins or ends.
#[derive(Clone, Copy, Debug, Default)]
struct Movement {
    /// Tasks that run and that have ended when it was last looked at.
    progress: (u64, u64),
    stuck_since: Option<Instant>,
    waiting: usize,
    free: usize,
}

impl Movement {
    fn observe(&mut self, now: Instant, progress: (u64, u64), free: usize, survey: Survey) {
        let Survey { waiting, running, overdue } = survey;
        let is_stuck = waiting > 0 && (free > 0 || overdue == running);
        let has_moved = std::mem::replace(&mut self.progress, progress) != progress;
        self.stuck_since = match self.stuck_since {
            _ if !is_stuck || has_moved => None,
            since => since.or(Some(now)),
        };
        (self.waiting, self.free) = (waiting, free);
    }
}

/// Looks once a second, until `done`.
pub(super) async fn look_until(done: CancellationToken, shared: &Shared) {
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while done.run_until_cancelled(ticks.tick()).await.is_some() {
        shared.look(Instant::now());
    }
}

impl Shared {
    pub(super) fn look(&self, now: Instant) {
        let progress = (self.state.active(), self.state.processed());
        let mut seen = self.vitals.seen.lock();
        let seen = seen.get_or_insert_default();
        seen.pools.resize_with(1 + self.own_pools.len(), Movement::default);
        for (movement, pool) in seen.pools.iter_mut().zip(self.pools()) {
            movement.observe(now, progress, pool.free(), self.state.survey(pool, now));
        }
        seen.threads_held = self.threads.all_held().then(|| seen.threads_held.unwrap_or(now));
        seen.at = Some(now);
        if let Some(most) = self.settings.max_memory
            // What it takes before its first task, it takes after every restart.
            && self.state.processed() > 0
            && let Some(resident) = resident().filter(|resident| *resident > most)
        {
            self.end(WorkerError::Spent(format!("{resident} bytes of memory are resident, {most} are allowed")));
        }
    }

    /// A body has ended.
    pub(super) fn ended(&self) {
        let processed = self.state.ended();
        if self.settings.max_tasks == Some(processed) {
            self.end(WorkerError::Spent(format!("{processed} tasks have ended, as many as are allowed")));
        }
    }

    /// Begins a warm shutdown, for this reason unless there is one already.
    pub(super) fn end(&self, why: WorkerError) {
        if self.stop.is_cancelled() {
            return;
        }
        tracing::warn!(hostname = &*self.hostname, "{why}");
        if self.fate.set(why).is_ok() {
            // At once: nothing more begins.
            self.stop.cancel();
            self.quit.cancel();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    type Look = ((u64, u64), usize, [usize; 3]);

    /// Looks once a second at `(active, processed)`, free slots and what waits, runs and is overdue; answers after which
    /// looks the pool is stuck.
    fn stuck(looks: &[Look]) -> Vec<bool> {
        let (mut movement, start) = (Movement::default(), Instant::now());
        let look = |(index, (progress, free, [waiting, running, overdue])): (usize, &Look)| {
            let now = start + SECOND * u32::try_from(index).unwrap();
            let survey = Survey { waiting: *waiting, running: *running, overdue: *overdue };
            movement.observe(now, *progress, *free, survey);
            movement.stuck_since.is_some()
        };
        looks.iter().enumerate().map(look).collect()
    }

    #[test]
    fn long_tasks_in_all_slots_are_no_stall_however_many_wait() {
        assert_eq!(stuck(&[((2, 7), 0, [5, 2, 0]); 4]), [false; 4]);
        // One of them may still end.
        assert_eq!(stuck(&[((2, 7), 0, [5, 2, 1]); 4]), [false; 4]);
    }

    #[test]
    fn idleness_is_no_stall() {
        assert_eq!(stuck(&[((0, 0), 2, [0, 0, 0]); 3]), [false; 3]);
        assert_eq!(stuck(&[((2, 0), 0, [0, 2, 2]); 3]), [false; 3]);
    }

    #[test]
    fn a_pool_whose_tasks_are_all_past_their_limits_is_stuck_until_something_moves() {
        let look = |ended, waiting| ((2, ended), 0, [waiting, 2, 2]);
        assert_eq!(
            stuck(&[look(0, 1), look(0, 1), look(1, 1), look(1, 1), look(1, 0)]),
            [false, true, false, true, false]
        );
    }

    #[test]
    fn a_task_that_waits_beside_a_free_slot_is_a_stall() {
        let look = |active| ((active, 7), 1, [1, 1, 0]);
        assert_eq!(stuck(&[look(1), look(1), look(2), look(2)]), [false, true, false, true]);
    }
}

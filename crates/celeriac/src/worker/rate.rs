//! How often tasks of one kind may start (`kombu/utils/limits.py`, `TokenBucket` of capacity 1).

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::admission::Admission;
use super::cluster::Turn;
use super::live::admission_now;
use super::registry::Registered;
use super::run::{Phase, Run};
use crate::protocol::Revocation;
use crate::task::RateLimit;

/// Lets tasks through at a steady rate, without bursts.
#[derive(Debug)]
pub(crate) struct TokenBucket {
    interval: Duration,
    /// When there is a token at the earliest; `None` until the first is taken, at whatever time that is.
    next: Option<Instant>,
}

impl TokenBucket {
    pub(crate) fn new(limit: RateLimit) -> Self {
        Self { interval: limit.interval(), next: None }
    }

    /// Takes a token, or returns how long it is until there may be one. Nothing is taken ahead of its time: whoever waits
    /// and goes away owes nothing.
    pub(crate) fn take(&mut self, now: Instant) -> Result<(), Duration> {
        let due = match self.next {
            Some(next) if next > now => return Err(next - now),
            // Timers are late by a little, which must not slow a fast rate down.
            Some(next) if now - next <= LATENESS => next,
            _ => now,
        };
        // A rate of less than one task in decades never lets a second one start.
        self.next = Some(due.checked_add(self.interval).unwrap_or(now + FOR_EVER));
        Ok(())
    }

    /// Takes a token back that was not used. However many are given back, one task may start at once.
    pub(crate) fn give_back(&mut self, now: Instant) {
        let interval = self.interval.min(FOR_EVER);
        self.next = self.next.map(|next| next.checked_sub(interval).unwrap_or(now).max(now).min(next));
    }
}

const FOR_EVER: Duration = Duration::from_secs(30 * 365 * 24 * 60 * 60);
/// By how much a token may be taken late without moving those after it.
const LATENESS: Duration = Duration::from_millis(20);

/// The place of a task among those of its kind, in the order of their messages.
pub(super) fn line_up(run: &Run) -> Turn {
    run.shared().lines.line_up(format!("tokens {}", run.task.name))
}

/// Waits for a token under the task's rate limit, and anew when that is changed.
pub(super) async fn wait(run: &Run, turn: Option<Turn>) -> Result<Token, Revocation> {
    let mut changes = run.task.rate_changes();
    let mut turn = turn.unwrap_or_else(|| line_up(run));
    if !turn.has_come() {
        run.enter(Phase::Limited);
        turn.come().await;
    }
    loop {
        // It may have been revoked, or have expired, while it waited.
        if let Admission::Drop(why) = admission_now(run, crate::clock::now()) {
            return Err(why);
        }
        let delay = match Token::take(&run.task, Instant::now()) {
            Ok(token) => return Ok(token),
            Err(delay) => delay,
        };
        run.enter(Phase::Limited);
        tokio::select! {
            () = sleep(delay) => {}
            _ = changes.changed() => {}
        }
    }
}

/// A token that a task has and has not used yet. Dropping it gives it back: the message was lost with its connection, or
/// the task is not to begin any more.
pub(super) struct Token {
    task: Arc<Registered>,
    is_spent: bool,
}

impl Token {
    /// Takes a token, or returns how long it is until there may be one.
    pub(super) fn take(task: &Arc<Registered>, now: Instant) -> Result<Self, Duration> {
        task.take_token(now)?;
        Ok(Self { task: Arc::clone(task), is_spent: false })
    }

    /// The task begins.
    pub(super) fn spend(mut self) {
        self.is_spent = true;
    }
}

impl Drop for Token {
    fn drop(&mut self) {
        if !self.is_spent {
            self.task.give_token_back(Instant::now());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn tasks_start_one_interval_apart_and_an_idle_time_saves_up_no_burst() {
        let start = Instant::now();
        let mut bucket = TokenBucket::new(RateLimit::per_minute(60.0));
        assert_eq!(bucket.take(start), Ok(()));
        assert_eq!(bucket.take(start), Err(SECOND));
        assert_eq!(bucket.take(start + SECOND), Ok(()));
        let later = start + 100 * SECOND;
        assert_eq!(bucket.take(later), Ok(()));
        assert_eq!(bucket.take(later), Err(SECOND));
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_task_is_never_late_however_shortly_before_it_the_limit_was_set() {
        let mut bucket = TokenBucket::new(RateLimit::per_second(10.0));
        let first = Instant::now() + Duration::from_millis(15);
        assert_eq!(bucket.take(first), Ok(()));
        assert_eq!(bucket.take(first), Err(Duration::from_millis(100)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_fast_rate_is_kept_although_timers_are_late() {
        let (start, millisecond) = (Instant::now(), Duration::from_millis(1));
        let mut bucket = TokenBucket::new(RateLimit::per_second(1000.0));
        let mut taken = 0;
        for late in (0..1000).step_by(4) {
            while bucket.take(start + late * millisecond).is_ok() {
                taken += 1;
            }
        }
        assert_eq!(taken, 997);
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_only_asks_takes_nothing_and_what_is_given_back_leaves_neither_debt_nor_burst() {
        let start = Instant::now();
        let mut bucket = TokenBucket::new(RateLimit::per_minute(60.0));
        for _ in 0..300 {
            let _ = bucket.take(start);
        }
        assert_eq!(bucket.take(start), Err(SECOND));
        for second in 1..=3 {
            assert_eq!(bucket.take(start + second * SECOND), Ok(()));
        }
        let now = start + 3 * SECOND;
        (0..4).for_each(|_| bucket.give_back(now));
        assert_eq!(bucket.take(now), Ok(()));
        assert_eq!(bucket.take(now), Err(SECOND));
    }

    #[tokio::test(start_paused = true)]
    async fn the_slowest_rate_that_can_be_written_is_no_overflow() {
        let mut bucket = TokenBucket::new(RateLimit::per_hour(f64::MIN_POSITIVE));
        assert_eq!(bucket.take(Instant::now()), Ok(()));
        assert_eq!(bucket.take(Instant::now()), Err(FOR_EVER));
        bucket.give_back(Instant::now());
        assert_eq!(bucket.take(Instant::now()), Ok(()));
    }
}

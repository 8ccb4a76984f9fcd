//! How often tasks of one kind may start (`kombu/utils/limits.py`, `TokenBucket` of capacity 1).

use std::time::Duration;

use tokio::time::Instant;

use crate::task::RateLimit;

/// Lets tasks through at a steady rate, without bursts.
#[derive(Debug)]
pub(crate) struct TokenBucket {
    interval: Duration,
    /// When the next task may start at the earliest.
    next: Instant,
}

impl TokenBucket {
    pub(crate) fn new(limit: RateLimit, now: Instant) -> Self {
        Self { interval: limit.interval(), next: now }
    }

    /// Takes the next free place: answers how long its task has to wait, which is zero if it may start now.
    pub(crate) fn reserve(&mut self, now: Instant) -> Duration {
        let start = self.next.max(now);
        // A rate of less than one task in decades never lets a second one start.
        self.next = start.checked_add(self.interval).unwrap_or(start + FOR_EVER);
        start.duration_since(now)
    }
}

const FOR_EVER: Duration = Duration::from_secs(30 * 365 * 24 * 60 * 60);

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn tasks_start_one_interval_apart_and_an_idle_time_saves_up_no_burst() {
        let start = Instant::now();
        let second = Duration::from_secs(1);
        let mut bucket = TokenBucket::new(RateLimit::per_minute(60.0), start);
        assert_eq!(bucket.reserve(start), Duration::ZERO);
        assert_eq!(bucket.reserve(start), second);
        assert_eq!(bucket.reserve(start), 2 * second);
        let later = start + 100 * second;
        assert_eq!(bucket.reserve(later), Duration::ZERO);
        assert_eq!(bucket.reserve(later), second);
    }

    #[tokio::test(start_paused = true)]
    async fn the_slowest_rate_that_can_be_written_is_no_overflow() {
        let mut bucket = TokenBucket::new(RateLimit::per_hour(f64::MIN_POSITIVE), Instant::now());
        assert_eq!(bucket.reserve(Instant::now()), Duration::ZERO);
        assert_eq!(bucket.reserve(Instant::now()), FOR_EVER);
    }
}

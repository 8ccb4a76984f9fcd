//! Waiting times between attempts: doubling, capped, and jittered so that a fleet does not reconnect in step.

use std::time::Duration;

const FIRST: Duration = Duration::from_millis(100);
const CAP: Duration = Duration::from_secs(5);

/// The waiting times of one thing that is tried again and again.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// How long to wait before the next attempt: between half and all of 100 ms, 200 ms, 400 ms … 5 s.
    pub(super) fn next(&mut self) -> Duration {
        let longest = FIRST.saturating_mul(1 << self.failures.min(10)).min(CAP);
        self.failures = self.failures.saturating_add(1);
        longest.mul_f64(0.5 + 0.5 * fastrand::f64())
    }

    pub(super) fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_cap_and_differ() {
        let mut backoff = Backoff::default();
        for longest in [100, 200, 400, 800, 1600, 3200, 5000, 5000, 5000] {
            let wait = backoff.next();
            assert!(wait <= Duration::from_millis(longest) && wait >= Duration::from_millis(longest / 2), "{wait:?}");
        }
        backoff.reset();
        assert!(backoff.next() <= FIRST);
    }

    #[test]
    fn a_fleet_does_not_reconnect_in_step() {
        let waits: std::collections::HashSet<_> = (0..32).map(|_| Backoff::default().next()).collect();
        assert!(waits.len() > 16, "{waits:?}");
    }
}

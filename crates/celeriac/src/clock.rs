//! The only reader of the wall clock in this crate; everything else is told the time. And the logical clock of a node.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use chrono::{DateTime, Utc};

/// The current time. Pure code never calls this: it takes `now` as an argument.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "this is the clock module")]
pub fn now() -> DateTime<Utc> {
    Utc::now()
}

/// The current time as Celery's events carry it: seconds since 1970 with a fraction.
#[must_use]
pub fn unix_seconds() -> f64 {
    // Microseconds since 1970 stay below 2^53 until the year 2255.
    now().timestamp_micros() as f64 / 1e6
}

/// A node's logical clock (`kombu/clocks.py`): events and remote control carry it, and it orders them across nodes
/// whose wall clocks differ. All clones are one clock.
#[derive(Clone, Debug, Default)]
pub struct LamportClock(Arc<AtomicU64>);

impl LamportClock {
    /// Something happens here: answers the time to send with it.
    pub fn forward(&self) -> u64 {
        self.advance(0)
    }

    /// Something has arrived that was sent at `other`; answers the time of its arrival.
    pub fn adjust(&self, other: u64) -> u64 {
        self.advance(other)
    }

    /// The time of what happened or arrived last; 0 before anything did.
    #[must_use]
    pub fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    fn advance(&self, other: u64) -> u64 {
        // A peer's clock may say anything; this one only has to go on and never back.
        let later = |value: u64| value.max(other.min(MAX_CLOCK)).saturating_add(1);
        let before = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |value| Some(later(value)));
        before.map_or_else(later, later)
    }
}

/// Readers keep clocks as signed numbers; nobody counts this far.
const MAX_CLOCK: u64 = i64::MAX as u64 / 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_logical_clock_goes_on_with_each_event_and_past_everything_it_hears_of() {
        let clock = LamportClock::default();
        assert_eq!((clock.forward(), clock.forward()), (1, 2));
        assert_eq!(clock.adjust(10), 11);
        assert_eq!(clock.clone().adjust(3), 12);
        assert_eq!(clock.value(), 12);
    }

    #[test]
    fn a_clock_from_outside_cannot_bring_this_one_to_its_end() {
        let clock = LamportClock::default();
        let shown = clock.adjust(u64::MAX);
        assert!(i64::try_from(shown).is_ok());
        assert_eq!(clock.forward(), shown + 1);
    }
}

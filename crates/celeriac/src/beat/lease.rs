//! How long a beat that leads may send: pure, told the time by a clock that is never set.

use std::time::Duration;

use tokio::time::Instant;

use super::store::Lease;

/// The times of leading. All are fractions of the lease, so that there is one number to choose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Terms {
    /// How long the store keeps others out after each renewal.
    pub(super) ttl: Duration,
}

/// Leading, until it ends or is renewed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Tenure {
    pub(super) lease: Lease,
    /// From then on nothing may be sent: another may lead soon.
    pub(super) ends: Instant,
}

impl Terms {
    /// The store counts from when it was asked or later, so this counts from before it was asked. A fifth is kept back
    /// for clocks that do not run at one speed and for what is on its way.
    pub(super) fn ends(self, asked: Instant) -> Instant {
        asked + self.ttl - self.ttl / 5
    }

    /// How long after it was asked for the lease is asked for again, by who has it.
    pub(super) fn renew_after(self) -> Duration {
        self.ttl / 4
    }

    /// How often the others ask: the successor of one that stops in order waits no longer.
    pub(super) fn ask_every(self) -> Duration {
        (self.ttl / 10).min(Duration::from_secs(1))
    }
}

impl Tenure {
    pub(super) fn may_send(&self, now: Instant) -> bool {
        now < self.ends
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        /// However long the store takes to answer, and wherever in that time it began to count.
        #[test]
        fn whoever_leads_has_stopped_before_another_may_begin(
            ttl in 100_u64..60_000,
            taken in 0_u64..60_000,
            counted_from in 0_u64..60_000,
            now in 0_u64..200_000,
        ) {
            let terms = Terms { ttl: Duration::from_millis(ttl) };
            let asked = Instant::now();
            let (taken, now) = (Duration::from_millis(taken), asked + Duration::from_millis(now));
            let others_may_from = asked + taken.min(Duration::from_millis(counted_from)) + terms.ttl;
            let tenure = Tenure { lease: Lease { beat: "a".into(), term: 1 }, ends: terms.ends(asked) };
            proptest::prop_assert!(!(tenure.may_send(now) && now >= others_may_from));
            // Two renewals may fail before anything stops.
            proptest::prop_assert!(terms.renew_after() * 3 < terms.ends(asked) - asked);
        }
    }
}

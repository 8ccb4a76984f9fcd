//! The only reader of the wall clock in the billing crates. Everything else is told what time it is – and, where money is
//! decided, by the clock of the database ([`Db::now`](crate::db::Db::now)): processes on many machines write times into the
//! same rows, and one machine with a wrong clock must not find the payments of the others too old.

use std::sync::atomic::{AtomicI64, Ordering};

use chrono::{DateTime, SubsecRound, TimeDelta, Utc};

/// The present by the clock of this machine, to the microsecond: what PostgreSQL keeps, so a time read back equals the
/// time written.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "this is the one place that reads it")]
pub fn now() -> DateTime<Utc> {
    Utc::now().trunc_subsecs(6)
}

/// Differences up to this are none: machines whose clocks are kept right are closer, and times do not jump.
const NEGLIGIBLE: TimeDelta = TimeDelta::seconds(1);

/// By how much the clock of the database is ahead of ours, as it was last measured.
#[derive(Debug, Default)]
pub(crate) struct Difference {
    microseconds: AtomicI64,
}

impl Difference {
    /// The present by the clock of the database.
    pub(crate) fn now(&self) -> DateTime<Utc> {
        now() + self.get()
    }

    pub(crate) fn get(&self) -> TimeDelta {
        TimeDelta::microseconds(self.microseconds.load(Ordering::Relaxed))
    }

    /// Takes what the database's clock said between two looks at ours.
    pub(crate) fn measured(&self, before: DateTime<Utc>, there: DateTime<Utc>, after: DateTime<Utc>) {
        let on_the_way = (after - before) / 2;
        let difference = there - (before + on_the_way);
        let difference = if difference.abs() <= on_the_way.max(NEGLIGIBLE) { TimeDelta::zero() } else { difference };
        let microseconds = difference.num_microseconds().unwrap_or_default();
        self.microseconds.store(microseconds, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_counts_only_if_it_is_more_than_the_way_takes() {
        let (difference, noon) = (Difference::default(), DateTime::from_timestamp(1_800_000_000, 0).unwrap());
        let seconds = TimeDelta::seconds;
        for (there, took, expected) in
            [(0, 0, 0), (1, 0, 0), (-1, 0, 0), (420, 0, 420), (-1_860, 0, -1_860), (4, 10, 0), (430, 20, 420)]
        {
            difference.measured(noon, noon + seconds(there), noon + seconds(took));
            assert_eq!(difference.get(), seconds(expected), "{there} s, within {took} s");
        }
    }
}

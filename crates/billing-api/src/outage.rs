//! A server that is away is told of once, not with every request that needs it.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// After so long without a failure the next one is news.
const QUIET: Duration = Duration::from_secs(30);

/// The outages of one server as they come to this process's notice: by requests that fail.
pub(crate) struct Outages(Mutex<Option<Instant>>);

impl Outages {
    pub(crate) const fn new() -> Self {
        Self(Mutex::new(None))
    }

    /// Something has failed. Returns whether an outage begins with that, rather than going on.
    pub(crate) fn begins(&self) -> bool {
        self.begins_at(Instant::now())
    }

    fn begins_at(&self, now: Instant) -> bool {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let before = last.replace(now);
        before.is_none_or(|before| now.saturating_duration_since(before) > QUIET)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_begins_once_however_long_it_lasts_and_the_next_one_is_news() {
        let (outages, start) = (Outages::new(), Instant::now());
        let begins: Vec<_> =
            [0, 1, 20, 45, 74, 200, 201].map(|at| outages.begins_at(start + Duration::from_secs(at))).into();
        assert_eq!(begins, [true, false, false, false, false, true, false]);
    }
}

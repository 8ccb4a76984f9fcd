//! The file descriptors of this process, which everything in it shares.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

/// What connections from outside may have of the process's file descriptors. The rest is for the role's own work: its
/// connections to database, broker and gateway, its files.
#[derive(Debug)]
pub struct Descriptors {
    for_connections: usize,
    kept: usize,
    open: AtomicUsize,
}

impl Descriptors {
    /// With `limit` descriptors for the whole process (`ulimit -n`), three quarters may go to connections; 64 are kept
    /// at least, unless that is more than half.
    #[must_use]
    pub fn of(limit: usize) -> Arc<Self> {
        let kept = (limit / 4).max(64).min(limit / 2);
        Arc::new(Self { for_connections: limit - kept, kept, open: AtomicUsize::new(0) })
    }

    /// Those of this process, for all its listeners together.
    #[must_use]
    pub fn of_this_process() -> Arc<Self> {
        static OURS: OnceLock<Arc<Descriptors>> = OnceLock::new();
        let ours = OURS.get_or_init(|| {
            let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
            Self::of(limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(usize::MAX))
        });
        Arc::clone(ours)
    }

    /// How many connections may be open at a time.
    #[must_use]
    pub fn for_connections(&self) -> usize {
        self.for_connections
    }

    /// One for a connection, as long as it lives; `None` if there is none left.
    pub(crate) fn take(self: &Arc<Self>) -> Option<Descriptor> {
        self.take_below(self.for_connections)
    }

    /// The same, while another connection is about to give its own back.
    pub(crate) fn take_in_advance(self: &Arc<Self>) -> Option<Descriptor> {
        self.take_below(self.for_connections.saturating_add(self.kept / 4))
    }

    fn take_below(self: &Arc<Self>, limit: usize) -> Option<Descriptor> {
        let more = |open: usize| (open < limit).then_some(open + 1);
        self.open.fetch_update(Ordering::AcqRel, Ordering::Acquire, more).ok()?;
        Some(Descriptor(Arc::clone(self)))
    }
}

#[derive(Debug)]
pub(crate) struct Descriptor(Arc<Descriptors>);

impl Drop for Descriptor {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_of_the_descriptors_is_never_given_to_connections() {
        for (limit, for_connections) in [(0, 0), (20, 10), (64, 32), (256, 192), (1024, 768), (1_048_576, 786_432)] {
            assert_eq!(Descriptors::of(limit).for_connections(), for_connections, "of {limit}");
        }
    }

    #[test]
    fn a_descriptor_that_was_given_back_can_be_had_again() {
        let descriptors = Descriptors::of(4);
        let (first, _second) = (descriptors.take().unwrap(), descriptors.take().unwrap());
        assert!(descriptors.take().is_none() && descriptors.take_in_advance().is_none());
        drop(first);
        assert!(descriptors.take().is_some());
    }
}

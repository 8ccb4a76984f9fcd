//! How many requests there are at a time.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use super::Gateway;

#[derive(Default)]
pub(crate) struct Load {
    now: AtomicUsize,
    most: AtomicUsize,
}

impl Load {
    /// The most that were handled at a time.
    pub(crate) fn most_at_once(&self) -> usize {
        self.most.load(Ordering::SeqCst)
    }
}

/// A request that is being handled, until this is dropped.
pub(crate) struct Handled(Arc<Gateway>);

impl Handled {
    pub(crate) fn begin(gateway: &Arc<Gateway>) -> Self {
        let now = gateway.load.now.fetch_add(1, Ordering::SeqCst) + 1;
        gateway.load.most.fetch_max(now, Ordering::SeqCst);
        Self(Arc::clone(gateway))
    }
}

impl Drop for Handled {
    fn drop(&mut self) {
        self.0.load.now.fetch_sub(1, Ordering::SeqCst);
    }
}

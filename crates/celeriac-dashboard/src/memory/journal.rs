//! What a history has still to be told. It is written behind, in batches: a task that ends within one is written once.

use std::collections::HashSet;
use std::sync::Arc;

use super::tasks::Kept;

#[derive(Debug, Default)]
pub(super) struct Journal {
    /// Tasks that have changed since they were written.
    pub(super) changed: HashSet<Arc<str>>,
    /// Tasks that memory had no room for any more before they were written.
    pub(super) pushed_out: Vec<Kept>,
    /// How many of those may wait.
    pub(super) room: usize,
    /// How many there was no room for.
    pub(super) lost: u64,
}

impl Journal {
    pub(super) fn new(room: usize) -> Self {
        Self { room, ..Self::default() }
    }

    pub(super) fn is_pushed_out(&mut self, kept: Kept) {
        if !self.changed.remove(&kept.key.1) {
            return;
        }
        if self.pushed_out.len() < self.room {
            self.pushed_out.push(kept);
        } else {
            self.lost += 1;
        }
    }
}

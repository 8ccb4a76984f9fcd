//! What a history has still to be told. It is written behind, in batches: a task that ends within one is written once.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::tasks::Kept;

#[derive(Debug, Default)]
pub(super) struct Journal {
    /// Tasks that have changed since they were written.
    pub(super) changed: Changed,
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

/// Ids in the order in which they were put in, so that what is heard while the history lags behind keeps nobody waiting for ever.
#[derive(Debug, Default)]
pub(super) struct Changed {
    places: HashMap<Arc<str>, u64>,
    ids: BTreeMap<u64, Arc<str>>,
    next: u64,
}

impl Changed {
    /// One that is in already keeps its place.
    pub(super) fn insert(&mut self, id: Arc<str>) {
        if self.places.contains_key(&id) {
            return;
        }
        self.ids.insert(self.next, Arc::clone(&id));
        self.places.insert(id, self.next);
        self.next += 1;
    }

    pub(super) fn remove(&mut self, id: &str) -> bool {
        self.places.remove(id).and_then(|place| self.ids.remove(&place)).is_some()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Arc<str>> {
        self.ids.values()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changed_first_is_written_first_however_often_it_changes() {
        let mut changed = Changed::default();
        for id in ["b", "a", "c", "b"] {
            changed.insert(id.into());
        }
        assert!(changed.remove("a") && !changed.remove("a"));
        changed.insert("a".into());
        assert_eq!(changed.iter().map(|id| &**id).collect::<Vec<_>>(), ["b", "c", "a"]);
    }
}

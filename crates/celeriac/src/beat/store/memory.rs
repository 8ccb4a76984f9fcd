//! A schedule in the memory of the process.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Weak};
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::{Change, EntryDefinition, Lease, Progress, Record, ScheduleStore, StoreError, StoredEntries};

/// Remembers as long as it lives: after a restart nothing was ever handled, so that no missed tick is caught up. Beats of
/// one process that share one (in an [`Arc`](std::sync::Arc)) have one leader; it costs no round trip.
#[derive(Debug, Default)]
pub struct MemoryScheduleStore(Mutex<State>);

/// Those of this process that have a name, as long as somebody uses them.
static NAMED: LazyLock<Mutex<HashMap<String, Weak<MemoryScheduleStore>>>> = LazyLock::new(Mutex::default);

#[derive(Debug, Default)]
struct State {
    term: u64,
    holder: Option<(String, Instant)>,
    version: u64,
    entries: HashMap<String, EntryDefinition>,
    progress: HashMap<String, Progress>,
}

impl MemoryScheduleStore {
    /// The store of `memory://<name>`: one for all of this process who say the same name. Without a name it is a new one.
    #[must_use]
    pub fn named(name: &str) -> Arc<Self> {
        if name.is_empty() {
            return Arc::default();
        }
        let mut named = NAMED.lock();
        named.retain(|_, store| store.strong_count() > 0);
        if let Some(store) = named.get(name).and_then(Weak::upgrade) {
            return store;
        }
        let store = Arc::<Self>::default();
        named.insert(name.to_owned(), Arc::downgrade(&store));
        store
    }

    /// Adds an entry, or changes the one of its name.
    pub fn set_entry(&self, entry: EntryDefinition) {
        let mut state = self.0.lock();
        state.version += 1;
        state.entries.insert(entry.name.clone(), entry);
    }

    /// Removes an entry.
    pub fn remove_entry(&self, name: &str) {
        let mut state = self.0.lock();
        state.version += 1;
        state.entries.remove(name);
    }

    /// An entry as it is now, with its counters.
    #[must_use]
    pub fn entry(&self, name: &str) -> Option<EntryDefinition> {
        self.0.lock().entries.get(name).cloned()
    }

    /// Says up to where an entry was handled, for instance to have what was missed since then caught up.
    pub fn set_progress(&self, name: &str, progress: Progress) {
        self.0.lock().progress.insert(name.to_owned(), progress);
    }
}

impl State {
    fn holds(&self, lease: &Lease, now: Instant) -> bool {
        let is_held = |(beat, until): &(String, Instant)| *beat == lease.beat && now < *until;
        self.term == lease.term && self.holder.as_ref().is_some_and(is_held)
    }

    fn apply(&mut self, record: &Record) {
        let before = match record.progress {
            Some(progress) => self.progress.insert(record.entry.clone(), progress),
            None => self.progress.remove(&record.entry),
        };
        let Some(entry) = self.entries.get_mut(&record.entry) else { return };
        if record.sent_at.is_some() && before != record.progress {
            entry.last_run_at = record.sent_at;
            entry.total_run_count += 1;
        }
        if record.disable {
            entry.enabled = false;
            entry.last_run_at = None;
            entry.total_run_count = if record.sent_at.is_some() || entry.one_off { 0 } else { entry.total_run_count };
            self.version += 1;
        }
    }
}

#[async_trait]
impl ScheduleStore for MemoryScheduleStore {
    async fn lead(&self, beat: &str, ttl: Duration) -> Result<Option<u64>, StoreError> {
        let mut state = self.0.lock();
        let now = Instant::now();
        match &state.holder {
            Some((holder, until)) if now < *until && holder != beat => return Ok(None),
            Some((_, until)) if now < *until => {}
            _ => state.term += 1,
        }
        state.holder = Some((beat.to_owned(), now + ttl));
        Ok(Some(state.term))
    }

    async fn leader(&self) -> Result<Option<Lease>, StoreError> {
        let state = self.0.lock();
        let now = Instant::now();
        let holder = state.holder.as_ref().filter(|(_, until)| now < *until);
        Ok(holder.map(|(beat, _)| Lease { beat: beat.clone(), term: state.term }))
    }

    async fn resign(&self, lease: &Lease) -> Result<(), StoreError> {
        let mut state = self.0.lock();
        if state.holds(lease, Instant::now()) {
            state.holder = None;
        }
        Ok(())
    }

    async fn entries(&self, seen: Option<&str>) -> Result<Option<StoredEntries>, StoreError> {
        let state = self.0.lock();
        let version = state.version.to_string();
        let is_new = seen != Some(&version);
        Ok(is_new.then(|| StoredEntries { version, entries: state.entries.values().cloned().collect() }))
    }

    async fn progress(&self) -> Result<HashMap<String, Progress>, StoreError> {
        Ok(self.0.lock().progress.clone())
    }

    async fn change(&self, entry: &str, change: &Change) -> Result<bool, StoreError> {
        let mut state = self.0.lock();
        let Some(definition) = state.entries.get_mut(entry) else { return Ok(false) };
        change.apply(definition);
        state.version += 1;
        Ok(true)
    }

    async fn record(&self, lease: &Lease, records: &[Record]) -> Result<(), StoreError> {
        let mut state = self.0.lock();
        if !state.holds(lease, Instant::now()) {
            return Err(StoreError::NotLeading);
        }
        records.iter().for_each(|record| state.apply(record));
        Ok(())
    }
}

//! `memory://name`: results inside the process, shared by everyone who opens the same name.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, LazyLock, Weak};
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use serde::Deserialize;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::chord_memory::Chords;
use super::deliveries_memory::MemoryDeliveries;
use super::limits_memory::MemoryLimits;
use super::{BackendError, BackendOptions, Change, ClusterLimits, DeliveryCounts, ResultBackend, ResultSubscription};
use super::{ChordPart, ChordProgress, SUBSCRIPTION_CAPACITY, StoredResult, is_failure};

/// How many bytes of results one name keeps; above it the oldest go first.
const MAX_BYTES: usize = 64 << 20;

/// All names of this process. A name lives as long as the process, like a server would.
static STORES: LazyLock<Mutex<HashMap<String, Shared>>> = LazyLock::new(Mutex::default);

/// What all who open a name share.
type Shared = (Arc<Mutex<Store>>, MemoryLimits, MemoryDeliveries);

/// A result backend without a server.
pub struct MemoryBackend {
    address: String,
    lifetimes: Lifetimes,
    store: Arc<Mutex<Store>>,
    limits: MemoryLimits,
    deliveries: MemoryDeliveries,
}

/// For how long something is kept; `None` is for ever.
#[derive(Clone, Copy)]
struct Lifetimes {
    result: Option<Duration>,
    failure: Option<Duration>,
    chord: Option<Duration>,
}

impl MemoryBackend {
    /// Opens the backend of this name, which is made by the first who asks.
    #[must_use]
    pub fn open(name: &str, options: &BackendOptions) -> Self {
        let (store, limits, deliveries) = STORES.lock().entry(name.to_owned()).or_default().clone();
        let lifetimes =
            Lifetimes { result: options.expires, failure: options.of_failures(), chord: options.of_chords() };
        Self { address: format!("memory://{name}"), lifetimes, store, limits, deliveries }
    }
}

#[async_trait]
impl ResultBackend for MemoryBackend {
    async fn store(&self, results: &[StoredResult]) -> Result<(), BackendError> {
        let now = Instant::now();
        let mut store = self.store.lock();
        for result in results {
            let Lifetimes { result: usual, failure, .. } = self.lifetimes;
            let expires = if failure != usual && is_failure(&result.meta) { failure } else { usual };
            store.put(result, now, expires);
        }
        store.evict(now, MAX_BYTES);
        Ok(())
    }

    async fn get(&self, task_id: &str) -> Result<Option<String>, BackendError> {
        Ok(self.store.lock().get(task_id, Instant::now()).map(str::to_owned))
    }

    async fn subscribe(&self, task_id: &str) -> Result<ResultSubscription, BackendError> {
        let (sender, receiver) = mpsc::channel(SUBSCRIPTION_CAPACITY);
        self.store.lock().watchers.entry(task_id.to_owned()).or_default().push(sender);
        let store: Weak<Mutex<Store>> = Arc::downgrade(&self.store);
        let task_id = task_id.to_owned();
        Ok(ResultSubscription::new(receiver, move || {
            if let Some(store) = store.upgrade() {
                store.lock().forget_dead_watchers(&task_id);
            }
        }))
    }

    async fn forget(&self, task_id: &str) -> Result<(), BackendError> {
        self.store.lock().remove(task_id);
        Ok(())
    }

    fn counts_chords(&self) -> bool {
        true
    }

    async fn begin_chord(&self, group_id: &str, size: usize) -> Result<(), BackendError> {
        self.store.lock().chords.begin(group_id, size, Instant::now(), self.lifetimes.chord);
        Ok(())
    }

    async fn chord_part(&self, part: &ChordPart, token: &str) -> Result<ChordProgress, BackendError> {
        Ok(self.store.lock().chords.part(part, token, Instant::now(), self.lifetimes.chord))
    }

    async fn extend_chord(&self, group_id: &str, token: &str) -> Result<bool, BackendError> {
        Ok(self.store.lock().chords.extend(group_id, token, Instant::now()))
    }

    async fn end_chord(&self, group_id: &str, token: &str) -> Result<(), BackendError> {
        self.store.lock().chords.end(group_id, token, Instant::now());
        Ok(())
    }

    async fn fail_chord(&self, group_id: &str) -> Result<(), BackendError> {
        self.store.lock().chords.fail(group_id, Instant::now());
        Ok(())
    }

    async fn add_to_chord(&self, group_id: &str) -> Result<(), BackendError> {
        self.store.lock().chords.add(group_id, Instant::now());
        Ok(())
    }

    async fn save_group(&self, group_id: &str, group: &str) -> Result<(), BackendError> {
        self.store.lock().chords.save_group(group_id, group.to_owned(), Instant::now(), self.lifetimes.result);
        Ok(())
    }

    async fn group(&self, group_id: &str) -> Result<Option<String>, BackendError> {
        Ok(self.store.lock().chords.group(group_id, Instant::now()))
    }

    async fn forget_group(&self, group_id: &str) -> Result<(), BackendError> {
        self.store.lock().chords.forget_group(group_id);
        Ok(())
    }

    fn limits(&self) -> Option<&dyn ClusterLimits> {
        Some(&self.limits)
    }

    fn deliveries(&self) -> Option<&dyn DeliveryCounts> {
        Some(&self.deliveries)
    }

    fn address(&self) -> &str {
        &self.address
    }

    async fn close(&self) {}
}

#[derive(Default)]
struct Store {
    entries: HashMap<String, Entry>,
    /// Every write in its order, to find the oldest. An entry written again leaves its former place behind.
    ages: VecDeque<(String, u64)>,
    writes: u64,
    bytes: usize,
    watchers: HashMap<String, Vec<mpsc::Sender<Change>>>,
    chords: Chords,
}

struct Entry {
    meta: String,
    is_success: bool,
    expires_at: Option<Instant>,
    write: u64,
}

impl Entry {
    fn is_alive(&self, now: Instant) -> bool {
        self.expires_at.is_none_or(|at| at > now)
    }
}

impl Store {
    fn put(&mut self, result: &StoredResult, now: Instant, expires: Option<Duration>) {
        if self.entries.get(&result.task_id).is_some_and(|entry| entry.is_success && entry.is_alive(now)) {
            return;
        }
        self.remove(&result.task_id);
        self.writes += 1;
        self.bytes += result.task_id.len() + result.meta.len();
        self.ages.push_back((result.task_id.clone(), self.writes));
        let entry = Entry {
            meta: result.meta.clone(),
            is_success: result.is_final && is_success(&result.meta),
            expires_at: expires.map(|expires| now + expires),
            write: self.writes,
        };
        self.entries.insert(result.task_id.clone(), entry);
        if let Some(watchers) = self.watchers.get_mut(&result.task_id) {
            // A watcher whose channel is full is cut off: it reads again when it sees the end.
            watchers.retain(|watcher| watcher.try_send(Change::Stored(result.meta.clone())).is_ok());
        }
    }

    fn get(&self, task_id: &str, now: Instant) -> Option<&str> {
        self.entries.get(task_id).filter(|entry| entry.is_alive(now)).map(|entry| entry.meta.as_str())
    }

    fn remove(&mut self, task_id: &str) {
        if let Some(entry) = self.entries.remove(task_id) {
            self.bytes -= task_id.len() + entry.meta.len();
        }
    }

    /// Drops what is expired, and the oldest while there is too much.
    fn evict(&mut self, now: Instant, max_bytes: usize) {
        while let Some((task_id, write)) = self.ages.front() {
            let goes = match self.entries.get(task_id) {
                Some(entry) if entry.write == *write => self.bytes > max_bytes || !entry.is_alive(now),
                _ => true,
            };
            if !goes {
                break;
            }
            if let Some((task_id, write)) = self.ages.pop_front()
                && self.entries.get(&task_id).is_some_and(|entry| entry.write == write)
            {
                self.remove(&task_id);
            }
        }
    }

    fn forget_dead_watchers(&mut self, task_id: &str) {
        if let Some(watchers) = self.watchers.get_mut(task_id) {
            watchers.retain(|watcher| !watcher.is_closed());
            if watchers.is_empty() {
                self.watchers.remove(task_id);
            }
        }
    }
}

/// Whether metadata tells of a success.
pub(super) fn is_success(meta: &str) -> bool {
    #[derive(Deserialize)]
    struct Status<'a> {
        #[serde(borrow)]
        status: std::borrow::Cow<'a, str>,
    }
    serde_json::from_str::<Status<'_>>(meta).is_ok_and(|meta| meta.status == "SUCCESS")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn result(task_id: &str, meta: &str) -> StoredResult {
        StoredResult { task_id: task_id.to_owned(), meta: meta.to_owned(), is_final: true }
    }

    #[tokio::test(start_paused = true)]
    async fn an_expired_result_is_not_answered_and_its_memory_is_given_back() {
        let mut store = Store::default();
        let expires = Some(Duration::from_secs(10));
        store.put(&result("a", r#"{"status": "SUCCESS"}"#), Instant::now(), expires);
        tokio::time::advance(Duration::from_secs(11)).await;
        assert_eq!(store.get("a", Instant::now()), None);
        store.put(&result("b", r#"{"status": "SUCCESS"}"#), Instant::now(), expires);
        store.evict(Instant::now(), MAX_BYTES);
        assert_eq!(store.entries.len(), 1);
        assert_eq!(store.bytes, "b".len() + r#"{"status": "SUCCESS"}"#.len());
    }

    #[tokio::test(start_paused = true)]
    async fn above_the_limit_the_oldest_results_go_and_a_result_written_again_counts_as_new() {
        let mut store = Store::default();
        let now = Instant::now();
        for task_id in ["a", "b", "c"] {
            store.put(&result(task_id, r#"{"status": "STARTED"}"#), now, None);
        }
        store.put(&result("a", r#"{"status": "FAILURE"}"#), now, None);
        let size_of_one = store.bytes / 3;
        store.evict(now, size_of_one * 2);
        assert_eq!(store.get("b", now), None);
        assert!(store.get("a", now).is_some());
        assert!(store.get("c", now).is_some());
    }

    #[tokio::test]
    async fn a_dropped_subscription_leaves_nothing_behind() {
        let backend = MemoryBackend::open("dropped-subscription", &BackendOptions::default());
        drop(backend.subscribe("a").await.unwrap());
        assert!(backend.store.lock().watchers.is_empty());
    }
}

//! Where beats remember what they have done, and agree on who does it.

use std::collections::HashMap;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use parking_lot::Mutex;

/// Why a store does not answer. The beat waits and asks again.
pub type StoreError = Box<dyn std::error::Error + Send + Sync>;

/// Remembers up to which tick the entries were handled.
#[async_trait]
pub trait ScheduleStore: Send + Sync + 'static {
    /// Whether this beat is the one that sends now. Ticks have the same task ids in all beats, so that two that both
    /// believe it send one task twice, not two tasks.
    async fn leads(&self) -> Result<bool, StoreError> {
        Ok(true)
    }

    /// The tick up to which an entry was handled; `None` if it never was.
    async fn handled(&self, entry: &str) -> Result<Option<DateTime<Utc>>, StoreError>;

    async fn set_handled(&self, entry: &str, tick: DateTime<Utc>) -> Result<(), StoreError>;
}

/// Remembers as long as it lives: after a restart nothing was ever handled, so that no missed tick is caught up.
#[derive(Debug, Default)]
pub struct MemoryScheduleStore {
    handled: Mutex<HashMap<String, DateTime<Utc>>>,
}

#[async_trait]
impl ScheduleStore for MemoryScheduleStore {
    async fn handled(&self, entry: &str) -> Result<Option<DateTime<Utc>>, StoreError> {
        Ok(self.handled.lock().get(entry).copied())
    }

    async fn set_handled(&self, entry: &str, tick: DateTime<Utc>) -> Result<(), StoreError> {
        self.handled.lock().insert(entry.to_owned(), tick);
        Ok(())
    }
}

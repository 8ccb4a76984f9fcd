//! Result backends keep what became of a task.

use async_trait::async_trait;
use tokio::sync::mpsc;

/// Keeps the state and the result of tasks, and wakes who waits for them.
#[async_trait]
pub trait ResultBackend: Send + Sync + 'static {
    /// Stores many results in one round trip. A stored SUCCESS is never overwritten
    /// (`celery/backends/base.py`, `_store_result`).
    async fn store(&self, results: &[StoredResult]) -> Result<(), BackendError>;

    /// The stored metadata as JSON text; `None` while nothing is known (Celery's PENDING).
    async fn get(&self, task_id: &str) -> Result<Option<String>, BackendError>;

    /// Subscribes to the changes of one task. Subscribe first and [`get`](Self::get) after, and no change is missed.
    async fn subscribe(&self, task_id: &str) -> Result<ResultSubscription, BackendError>;

    /// Removes a result.
    async fn forget(&self, task_id: &str) -> Result<(), BackendError>;

    /// The address without its password, for logs and error messages.
    fn address(&self) -> &str;

    async fn close(&self);
}

/// One result, already encoded as Celery's JSON (`protocol::ResultMeta`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredResult {
    pub task_id: String,
    pub meta: String,
    /// Whether the state is SUCCESS, FAILURE or REVOKED.
    pub is_final: bool,
}

/// The changes of one task from now on, each as the JSON text that was stored. Dropping it unsubscribes.
/// A reconnect appears as [`Change::Resubscribed`]: read the result again, something may have been missed.
pub type ResultSubscription = mpsc::Receiver<Change>;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    Stored(String),
    Resubscribed,
}

/// What went wrong, by what the caller should do.
#[derive(Debug, Clone, thiserror::Error)]
pub enum BackendError {
    /// Cannot be reached now; try again later. Nothing is lost by it: the message stays unacknowledged.
    #[error("{address}: {reason}")]
    Unavailable { address: String, reason: String },
    /// Refused for good: wrong address, no access, or a value that is too large.
    #[error("{address}: {reason}")]
    Refused { address: String, reason: String },
}

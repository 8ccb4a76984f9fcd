//! How often messages were delivered again whose tasks came to no end. Classic queues do not tell.

use async_trait::async_trait;

use super::BackendError;

/// Counts deliveries. Only what is delivered a second time is counted, and forgotten when its task has come to an end.
#[async_trait]
pub trait DeliveryCounts: Send + Sync {
    /// Makes what counting needs, before the first is counted.
    async fn prepare(&self) -> Result<(), BackendError> {
        Ok(())
    }

    /// A task is about to begin whose message was delivered before. Returns how often it was so, this time included.
    async fn count(&self, task_id: &str) -> Result<u32, BackendError>;

    /// How often it was so by now, without counting.
    async fn counted(&self, task_id: &str) -> Result<u32, BackendError>;

    /// Begins anew.
    async fn forget(&self, task_id: &str) -> Result<(), BackendError>;

    /// Whether the counts are there after the death of a worker.
    fn survive(&self) -> bool;
}

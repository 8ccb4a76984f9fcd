//! Deliveries counted in the memory of this process: they die with it.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::Mutex;

use super::{BackendError, DeliveryCounts};

#[derive(Clone, Default)]
pub(super) struct MemoryDeliveries(Arc<Mutex<HashMap<String, u32>>>);

#[async_trait]
impl DeliveryCounts for MemoryDeliveries {
    async fn count(&self, task_id: &str) -> Result<u32, BackendError> {
        let mut counts = self.0.lock();
        let count = counts.entry(task_id.to_owned()).or_default();
        *count = count.saturating_add(1);
        Ok(*count)
    }

    async fn counted(&self, task_id: &str) -> Result<u32, BackendError> {
        Ok(self.0.lock().get(task_id).copied().unwrap_or_default())
    }

    async fn forget(&self, task_id: &str) -> Result<(), BackendError> {
        self.0.lock().remove(task_id);
        Ok(())
    }

    fn survive(&self) -> bool {
        false
    }
}

//! Deliveries counted in Redis, under `celeriac-deliveries-<task id>`.

use async_trait::async_trait;

use super::RedisBackend;
use crate::backend::{BackendError, DeliveryCounts};

const PREFIX: &str = "celeriac-deliveries-";
/// How long a count is kept after the last delivery, in seconds: a week.
const KEPT: u32 = 7 * 24 * 60 * 60;

#[async_trait]
impl DeliveryCounts for RedisBackend {
    async fn count(&self, task_id: &str) -> Result<u32, BackendError> {
        let key = format!("{PREFIX}{task_id}");
        let mut both = redis::pipe();
        both.atomic().cmd("INCR").arg(&key).cmd("EXPIRE").arg(&key).arg(KEPT).ignore();
        let counted: Result<(u32,), _> = both.query_async(&mut self.connection()).await;
        counted.map(|(count,)| count).map_err(|error| self.failed(&error))
    }

    async fn counted(&self, task_id: &str) -> Result<u32, BackendError> {
        let mut command = redis::cmd("GET");
        command.arg(format!("{PREFIX}{task_id}"));
        let counted: Result<Option<u32>, _> = command.query_async(&mut self.connection()).await;
        counted.map(Option::unwrap_or_default).map_err(|error| self.failed(&error))
    }

    async fn forget(&self, task_id: &str) -> Result<(), BackendError> {
        let mut command = redis::cmd("DEL");
        command.arg(format!("{PREFIX}{task_id}"));
        command.exec_async(&mut self.connection()).await.map_err(|error| self.failed(&error))
    }

    fn survive(&self) -> bool {
        true
    }
}

//! Deliveries counted in a table of our own, which Celery does not know. It is made when a worker asks for it that has a
//! limit.

use async_trait::async_trait;

use super::{PostgresBackend, can_be_text};
use crate::backend::{BackendError, DeliveryCounts};

/// One string is one transaction. The lock keeps a fleet that starts from making the table at the same time.
pub(super) const CREATE: &str = "
SELECT pg_advisory_xact_lock(4858217053091227);
CREATE TABLE IF NOT EXISTS celeriac_deliveries (
    task_id TEXT NOT NULL,
    deliveries INTEGER NOT NULL,
    counted_at TIMESTAMP WITH TIME ZONE NOT NULL,
    PRIMARY KEY (task_id)
);";

pub(super) const IS_THERE: &str = "SELECT to_regclass('celeriac_deliveries') IS NOT NULL";

/// Counts of before a week ago are no longer of interest.
pub(super) const COUNT: &str = "
INSERT INTO celeriac_deliveries AS stored (task_id, deliveries, counted_at) VALUES ($1, 1, now())
ON CONFLICT (task_id) DO UPDATE
SET deliveries = CASE WHEN stored.counted_at < now() - interval '7 days' THEN 1 ELSE stored.deliveries + 1 END,
    counted_at = now()
RETURNING deliveries";

pub(super) const COUNTED: &str = "
SELECT deliveries FROM celeriac_deliveries WHERE task_id = $1 AND counted_at >= now() - interval '7 days'";

pub(super) const FORGET: &str = "DELETE FROM celeriac_deliveries WHERE task_id = $1";

pub(super) const CLEANUP: &str = "DELETE FROM celeriac_deliveries WHERE counted_at < now() - interval '7 days'";

#[async_trait]
impl DeliveryCounts for PostgresBackend {
    async fn prepare(&self) -> Result<(), BackendError> {
        self.link.run(|session| async move { session.make_deliveries().await }).await
    }

    async fn count(&self, task_id: &str) -> Result<u32, BackendError> {
        if !can_be_text(task_id) {
            return Ok(0);
        }
        let count = self.link.run(|session| async move { session.count_delivery(task_id).await }).await?;
        Ok(u32::try_from(count).unwrap_or(0))
    }

    async fn counted(&self, task_id: &str) -> Result<u32, BackendError> {
        if !can_be_text(task_id) {
            return Ok(0);
        }
        let count = self.link.run(|session| async move { session.counted_deliveries(task_id).await }).await?;
        Ok(u32::try_from(count).unwrap_or(0))
    }

    async fn forget(&self, task_id: &str) -> Result<(), BackendError> {
        if !can_be_text(task_id) {
            return Ok(());
        }
        self.link.run(|session| async move { session.forget_deliveries(task_id).await }).await
    }

    fn survive(&self) -> bool {
        true
    }
}

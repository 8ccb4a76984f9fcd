//! Result backends: one suite of rules for all of them, then what only a real server can show.

mod conformance;
mod deliveries;
mod failover;
mod groups;
mod limits;
#[cfg(feature = "postgres")]
mod postgres;
mod redis;
mod redis_tls;
mod settings;

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use celeriac::backend::{BackendOptions, Change, ResultBackend, ResultSubscription, StoredResult, connect};

/// Nothing here takes longer unless it is broken.
const SOON: Duration = Duration::from_secs(20);

/// A backend of the test's own.
struct Setup {
    url: String,
    /// Goes with this value.
    _server: Box<dyn Any + Send + Sync>,
}

impl Setup {
    fn memory() -> Self {
        // The name must not be shared with another test of this process.
        Self { url: format!("memory://{}", uuid::Uuid::new_v4()), _server: Box::new(()) }
    }

    async fn redis() -> Self {
        let redis = testkit::redis().await;
        Self { url: redis.url().to_owned(), _server: Box::new(redis) }
    }

    #[cfg(feature = "postgres")]
    async fn postgres() -> Self {
        let database = testkit::postgres().await;
        Self { url: database.url().to_owned(), _server: Box::new(database) }
    }

    async fn open(&self) -> Arc<dyn ResultBackend> {
        open(&self.url, BackendOptions::default()).await
    }

    async fn open_expiring(&self, expires: Option<Duration>) -> Arc<dyn ResultBackend> {
        open(&self.url, BackendOptions { expires, ..BackendOptions::default() }).await
    }
}

async fn open(url: &str, options: BackendOptions) -> Arc<dyn ResultBackend> {
    connect(url, &options).await.expect("the backend is there")
}

/// A result as a worker stores it.
fn result(task_id: &str, state: &str) -> StoredResult {
    StoredResult {
        task_id: task_id.to_owned(),
        meta: format!(r#"{{"status": "{state}", "result": "é", "task_id": "{task_id}"}}"#),
        is_final: matches!(state, "SUCCESS" | "FAILURE" | "REVOKED"),
    }
}

fn id() -> String {
    uuid::Uuid::new_v4().to_string()
}

async fn next(subscription: &mut ResultSubscription) -> Change {
    let change = tokio::time::timeout(SOON, subscription.recv()).await.expect("a change in time");
    change.expect("the subscription goes on")
}

async fn state(backend: &dyn ResultBackend, task_id: &str) -> Option<String> {
    let meta = backend.get(task_id).await.expect("the backend is there")?;
    let meta: serde_json::Value = serde_json::from_str(&meta).expect("JSON");
    Some(meta["status"].as_str().expect("a status").to_owned())
}

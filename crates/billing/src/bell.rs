//! Wakes whoever follows the log of events, in whatever process: there is more of it.
//!
//! A hint, nothing more: readers look now and then by themselves. It goes through the result backend – Redis, or the
//! memory of the process – whose subscribers are told of a change; never through `NOTIFY`, which makes commits wait for
//! one another.

use std::sync::{Arc, Weak};
use std::time::Duration;

use celeriac::App;
use celeriac::backend::{ResultBackend, ResultSubscription, StoredResult};
use tokio::sync::Notify;

/// Under this id the backend tells of the log, as it tells of a task's result.
const LOG: &str = "billing.event_log";
/// Rings that come closer together than this are one.
const AT_MOST_EVERY: Duration = Duration::from_millis(20);

/// Rings after a commit. Cheap to clone, and cheap to ring.
#[derive(Clone)]
pub struct Bell(Arc<Notify>);

impl Bell {
    /// A bell of this process; it is silent once every copy is dropped.
    #[must_use]
    pub fn new(app: &App) -> Self {
        let rung = Arc::new(Notify::new());
        tokio::spawn(ring_on(Arc::downgrade(&rung), Arc::clone(app.backend())));
        Self(rung)
    }

    /// There is more to read. Called after the commit.
    pub fn ring(&self) {
        self.0.notify_one();
    }
}

impl Drop for Bell {
    fn drop(&mut self) {
        // Lets the other end see that nobody can ring any more.
        self.0.notify_one();
    }
}

async fn ring_on(rung: Weak<Notify>, backend: Arc<dyn ResultBackend>) {
    while let Some(bell) = rung.upgrade() {
        bell.notified().await;
        if Arc::strong_count(&bell) == 1 {
            return;
        }
        drop(bell);
        // Not a final state, so that the next ring may take its place.
        let meta = r#"{"status": "PROGRESS", "result": null, "traceback": null, "children": []}"#.to_owned();
        let hint = StoredResult { task_id: LOG.to_owned(), meta, is_final: false };
        if let Err(error) = backend.store(&[hint]).await {
            tracing::debug!(%error, "who follows the events is not woken, and will look by itself");
        }
        tokio::time::sleep(AT_MOST_EVERY).await;
    }
}

/// Hears the bells of all processes.
pub struct Ear {
    backend: Arc<dyn ResultBackend>,
    bells: Option<ResultSubscription>,
}

/// A backend that could not be listened to is tried again after this.
const LISTEN_AGAIN_AFTER: Duration = Duration::from_secs(1);

impl Ear {
    /// It listens from the first [`Ear::rung`] on.
    #[must_use]
    pub fn new(app: &App) -> Self {
        Self { backend: Arc::clone(app.backend()), bells: None }
    }

    /// Completes at the next ring. A subscription that is lost is made anew, and counts as a ring. May be dropped and called
    /// again.
    pub async fn rung(&mut self) {
        if let Some(bells) = &mut self.bells
            && bells.recv().await.is_some()
        {
            return;
        }
        self.bells = None;
        match self.backend.subscribe(LOG).await {
            Ok(bells) => self.bells = Some(bells),
            Err(error) => {
                tracing::debug!(%error, "cannot hear of new events; the log is looked at now and then");
                tokio::time::sleep(LISTEN_AGAIN_AFTER).await;
            }
        }
    }
}

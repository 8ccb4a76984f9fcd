//! How a worker is told to stop, and how long it waits for its tasks then (`celery/apps/worker.py`).

use std::time::Duration;

use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::shared::Settings;

/// Settings of the shutdown.
pub(super) struct Shutdown {
    /// How long a warm one waits.
    pub(super) timeout: Duration,
    pub(super) soft: CancellationToken,
    pub(super) cold: CancellationToken,
}

impl Default for Shutdown {
    fn default() -> Self {
        Self { timeout: Duration::from_secs(30), soft: CancellationToken::new(), cold: CancellationToken::new() }
    }
}

impl Shutdown {
    /// Waits until a shutdown of any kind is asked for.
    pub(super) fn asked(&self, warm: CancellationToken) -> impl Future<Output = ()> + use<> {
        let (soft, cold) = (self.soft.clone(), self.cold.clone());
        async move {
            tokio::select! {
                () = warm.cancelled() => {}
                () = soft.cancelled() => {}
                () = cold.cancelled() => {}
            }
        }
    }

    /// Begins it. A soft one becomes cold after its time.
    pub(super) fn begin(self, settings: &Settings) -> Patience {
        let (soft, cold) = (self.soft, self.cold.child_token());
        let (asked, becomes_cold, soft_timeout) = (soft.clone(), cold.clone(), settings.soft_shutdown_timeout);
        let softly = tokio::spawn(async move {
            asked.cancelled().await;
            if !soft_timeout.is_zero() {
                tracing::warn!("soft shutdown: what still runs after {soft_timeout:?} is dropped");
                sleep(soft_timeout).await;
            }
            becomes_cold.cancel();
        });
        Patience {
            deadline: Instant::now() + self.timeout,
            lingers: settings.soft_shutdown_on_idle && !soft_timeout.is_zero(),
            soft,
            cold,
            _softly: AbortOnDropHandle::new(softly),
        }
    }
}

/// How long a shutdown that has begun waits.
pub(super) struct Patience {
    deadline: Instant,
    /// A soft one takes its time although nothing runs.
    lingers: bool,
    soft: CancellationToken,
    cold: CancellationToken,
    _softly: AbortOnDropHandle<()>,
}

impl Patience {
    /// False: patience ended before the work did.
    pub(super) async fn wait(&self, work: impl Future<Output = ()>) -> bool {
        tokio::select! {
            biased;
            () = work => true,
            () = self.cold.cancelled() => false,
            () = sleep_until(self.deadline) => false,
        }
    }

    /// Nothing runs any more: waits for the rest of the soft shutdown, if that was asked for.
    pub(super) async fn linger(&self) {
        if self.lingers && self.soft.is_cancelled() {
            self.wait(std::future::pending()).await;
        }
    }
}

//! How a running task is told to end.

use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU8, Ordering};

use tokio::sync::Notify;

/// Tells a body to end, and the executor to drop one that is terminated.
#[derive(Debug, Default)]
pub(crate) struct Cancellation {
    /// The body has asked to be told of its soft limit, so it is trusted to end by itself.
    listens: AtomicBool,
    stage: AtomicU8,
    /// The signal that a terminated task would have got had it a process; 0 is none.
    signal: AtomicI32,
    changed: Notify,
}

const TOLD: u8 = 1;
const TERMINATED: u8 = 2;

impl Cancellation {
    /// The body wants to be told instead of being dropped.
    pub(crate) fn listen(&self) {
        self.listens.store(true, Ordering::Relaxed);
    }

    pub(crate) fn listens(&self) -> bool {
        self.listens.load(Ordering::Relaxed)
    }

    /// Tells the body that its soft limit has come.
    pub(crate) fn tell(&self) {
        self.advance(TOLD);
    }

    /// Has the body dropped. There is no process to get the signal, but events tell of it.
    pub(crate) fn terminate(&self, signal: i32) {
        self.signal.store(signal, Ordering::Relaxed);
        self.advance(TERMINATED);
    }

    pub(crate) fn signal(&self) -> Option<i32> {
        Some(self.signal.load(Ordering::Relaxed)).filter(|signal| *signal != 0)
    }

    pub(crate) fn is_told(&self) -> bool {
        self.stage.load(Ordering::Acquire) >= TOLD
    }

    pub(crate) fn is_terminated(&self) -> bool {
        self.stage.load(Ordering::Acquire) >= TERMINATED
    }

    /// Waits until the body was told.
    pub(crate) async fn told(&self) {
        self.reached(TOLD).await;
    }

    pub(crate) async fn terminated(&self) {
        self.reached(TERMINATED).await;
    }

    fn advance(&self, stage: u8) {
        self.stage.fetch_max(stage, Ordering::AcqRel);
        self.changed.notify_waiters();
    }

    async fn reached(&self, stage: u8) {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            // Registered before the look, so that nothing is missed in between.
            changed.as_mut().enable();
            if self.stage.load(Ordering::Acquire) >= stage {
                return;
            }
            changed.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn whoever_waits_before_or_after_is_told_and_termination_tells_too() {
        let cancellation = Cancellation::default();
        let told = cancellation.told();
        let terminated = cancellation.terminated();
        tokio::pin!(told, terminated);
        assert!(futures_util::poll!(told.as_mut()).is_pending());
        cancellation.tell();
        told.await;
        cancellation.told().await;
        assert!(futures_util::poll!(terminated.as_mut()).is_pending());
        cancellation.terminate(15);
        terminated.await;
        cancellation.tell();
        cancellation.terminated().await;
    }
}

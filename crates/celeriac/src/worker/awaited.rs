//! A server that tasks which have ended wait for: asked again and again, and known to who asks for the worker's readiness.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

const MIN_BACKOFF: Duration = Duration::from_millis(50);
const MAX_BACKOFF: Duration = Duration::from_secs(5);

/// A server, and who waits for it.
#[derive(Debug)]
pub(crate) struct Awaited {
    name: &'static str,
    waiting: Mutex<Waiting>,
}

#[derive(Debug, Default)]
struct Waiting {
    count: usize,
    since: Option<Instant>,
}

impl Awaited {
    pub(super) fn new(name: &'static str) -> Self {
        Self { name, waiting: Mutex::default() }
    }

    /// Since when somebody waits for it, if somebody does.
    pub(super) fn since(&self) -> Option<Instant> {
        self.waiting.lock().since
    }
}

/// Waits between attempts, longer each time. The first who waits says so, and the last when it is over.
pub(super) struct Backoff<'a> {
    server: &'a Awaited,
    next: Option<Duration>,
}

impl<'a> Backoff<'a> {
    pub(super) fn new(server: &'a Awaited) -> Self {
        Self { server, next: None }
    }

    pub(super) async fn wait(&mut self, error: &(dyn std::error::Error + Sync)) {
        if self.next.is_none() {
            let mut waiting = self.server.waiting.lock();
            waiting.count += 1;
            if waiting.since.is_none() {
                waiting.since = Some(Instant::now());
                let server = self.server.name;
                tracing::warn!(%error, "{server} cannot be reached; tasks that have ended wait unacknowledged");
            }
        }
        let delay = self.next.unwrap_or(MIN_BACKOFF);
        self.next = Some((delay * 2).min(MAX_BACKOFF));
        tokio::time::sleep(delay.mul_f64(0.5 + fastrand::f64() / 2.0)).await;
    }

    pub(super) fn over(&mut self) {
        if let Some(since) = self.wait_no_longer() {
            let away = since.elapsed();
            tracing::info!(away = format!("{away:.1?}"), "{} is reached again", self.server.name);
        }
    }

    /// Returns since when it was waited for, if this was the last one who did.
    fn wait_no_longer(&mut self) -> Option<Instant> {
        self.next.take()?;
        let mut waiting = self.server.waiting.lock();
        waiting.count -= 1;
        if waiting.count == 0 { waiting.since.take() } else { None }
    }
}

impl Drop for Backoff<'_> {
    fn drop(&mut self) {
        let _ = self.wait_no_longer();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_outage_is_told_once_when_it_begins_and_once_when_it_is_over_however_many_wait() {
        let logs = testkit::Logs::of_this_thread("info");
        let (server, error) = (Awaited::new("it"), std::fmt::Error);
        let (mut first, mut second) = (Backoff::new(&server), Backoff::new(&server));
        for _ in 0..5 {
            first.wait(&error).await;
            second.wait(&error).await;
        }
        first.over();
        second.over();
        let lines = logs.lines();
        assert_eq!(lines.len(), 2, "{lines:?}");
        assert!(lines[0].contains("WARN") && lines[1].contains("it is reached again away="), "{lines:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_is_awaited_until_the_last_who_waits_has_reached_it_or_given_up() {
        let (server, start, error) = (Awaited::new("it"), Instant::now(), std::fmt::Error);
        let (mut first, mut second) = (Backoff::new(&server), Backoff::new(&server));
        assert_eq!(server.since(), None);
        first.wait(&error).await;
        second.wait(&error).await;
        first.wait(&error).await;
        assert_eq!(server.since(), Some(start));
        first.over();
        assert_eq!(server.since(), Some(start));
        drop(second);
        assert_eq!(server.since(), None);
        drop(first);
        assert_eq!(server.since(), None);
    }
}

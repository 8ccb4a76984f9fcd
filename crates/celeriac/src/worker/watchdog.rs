//! Ends a worker that does not work, from a thread of its own: a runtime whose threads are blocked could not.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

use tokio::time::Instant;

use super::WorkerError;
use super::readiness::Unready;
use super::shared::Shared;

/// How long a worker that was told to end may take for it, beyond its shutdown timeout.
const LAST_WORDS: Duration = Duration::from_secs(15);

/// What is called when the worker cannot even end by itself.
pub(super) type Abort = Box<dyn Fn(&str) + Send + Sync>;

pub(super) struct Watchdog {
    /// How long the worker may be in a state that only a restart mends.
    pub(super) limit: Duration,
    pub(super) abort: Option<Abort>,
    pub(super) shutdown_timeout: Duration,
}

/// The watchdog sleeps when this is dropped.
pub(super) struct Leash(#[expect(dead_code, reason = "its end is what is noticed")] Sender<()>);

impl Watchdog {
    pub(super) fn watch(self, shared: Arc<Shared>) -> std::io::Result<Leash> {
        let (leash, done) = channel();
        let every = (self.limit / 10).clamp(Duration::from_millis(10), Duration::from_secs(1));
        let work = move || {
            let mut vigil = Vigil { limit: self.limit, every, since: None, last: None };
            while done.recv_timeout(every) == Err(RecvTimeoutError::Timeout) {
                if let Some(problems) = vigil.look(&shared, Instant::now()) {
                    let why = in_words(&problems);
                    shared.end(WorkerError::Stuck(why.clone()));
                    return self.see_it_end(&why, &shared, &done, every);
                }
            }
        };
        std::thread::Builder::new().name("celeriac-watchdog".to_owned()).spawn(work)?;
        Ok(Leash(leash))
    }

    /// The worker was told to end. If it cannot, somebody else has to see to it.
    fn see_it_end(&self, why: &str, shared: &Shared, done: &Receiver<()>, every: Duration) {
        let deadline = Instant::now() + self.shutdown_timeout + LAST_WORDS;
        // A runtime that answers gives back what it has first.
        while Instant::now() < deadline && shared.readiness(Instant::now()).is_alive() {
            if done.recv_timeout(every) != Err(RecvTimeoutError::Timeout) {
                return;
            }
        }
        if done.recv_timeout(Duration::ZERO) != Err(RecvTimeoutError::Timeout) {
            return;
        }
        tracing::error!(hostname = &*shared.hostname, why, "the worker cannot end by itself");
        if let Some(abort) = &self.abort {
            abort(why);
        }
    }
}

fn in_words(problems: &[Unready]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

/// How long something has been wrong. Told the time.
struct Vigil {
    limit: Duration,
    every: Duration,
    since: Option<Instant>,
    last: Option<Instant>,
}

impl Vigil {
    /// What is wrong, once it has lasted too long.
    fn look(&mut self, shared: &Shared, now: Instant) -> Option<Vec<Unready>> {
        let mut problems = shared.readiness(now).problems;
        problems.retain(Unready::needs_restart);
        self.observe(!problems.is_empty(), now).then_some(problems)
    }

    fn observe(&mut self, is_wrong: bool, now: Instant) -> bool {
        // A process that was stopped for a while has not seen what it missed.
        let slept = self.last.replace(now).is_some_and(|last| now - last > self.every * 5 + Duration::from_secs(1));
        if !is_wrong || slept {
            self.since = None;
        }
        is_wrong && now - *self.since.get_or_insert(now) >= self.limit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn vigil() -> (Vigil, Instant) {
        (Vigil { limit: seconds(10), every: seconds(1), since: None, last: None }, Instant::now())
    }

    #[test]
    fn what_passes_in_time_is_forgiven() {
        let (mut vigil, start) = vigil();
        for second in 0..100 {
            assert!(!vigil.observe(second % 10 != 9, start + seconds(second)));
        }
    }

    #[test]
    fn what_lasts_is_not() {
        let (mut vigil, start) = vigil();
        let ended = (0..100).find(|second| vigil.observe(*second >= 5, start + seconds(*second)));
        assert_eq!(ended, Some(15));
    }

    #[test]
    fn a_process_that_was_stopped_counts_anew() {
        let (mut vigil, start) = vigil();
        assert!(!vigil.observe(true, start));
        assert!(!vigil.observe(true, start + seconds(100)));
        let ended = (101..200).find(|second| vigil.observe(true, start + seconds(*second)));
        assert_eq!(ended, Some(110));
    }
}

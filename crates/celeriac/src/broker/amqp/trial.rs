//! Which message the broker means when it closes the whole connection over one.
//!
//! A channel that is closed takes the messages of one lane along, a connection those of all lanes. So what was on its way
//! then is tried alone on the whole connection, one message after the other, and nothing else is published meanwhile. The
//! one over which the connection is closed again and again is refused; all others go through.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, OwnedMutexGuard, watch};
use tokio::time::Instant;

/// So many connections in a row may be closed over a message that was alone on them.
const FATAL: u32 = 3;
/// The broker closes a connection over a message as soon as it reads it. Later it has trouble of its own: its processes give
/// each other up after five seconds.
const PROMPT: Duration = Duration::from_secs(3);

/// What is suspected on one link. Clones are the same.
#[derive(Clone)]
pub(super) struct Trials(Arc<Shared>);

struct Shared {
    /// How many messages are; sent also when a turn ends.
    suspects: watch::Sender<usize>,
    turn: Arc<Mutex<()>>,
}

impl Default for Trials {
    fn default() -> Self {
        Self(Arc::new(Shared { suspects: watch::Sender::new(0), turn: Arc::default() }))
    }
}

impl Trials {
    /// Whether anything is suspected, so that nothing else may be published.
    pub(super) fn are_open(&self) -> bool {
        *self.0.suspects.borrow() > 0
    }

    /// Tells when that changes, and when a turn ends.
    pub(super) fn follow(&self) -> watch::Receiver<usize> {
        self.0.suspects.subscribe()
    }

    /// The connection for one suspect alone, unless another has it.
    pub(super) fn turn(&self) -> Option<Turn> {
        let guard = Arc::clone(&self.0.turn).try_lock_owned().ok()?;
        Some(Turn { guard: Some(guard), began: Instant::now(), trials: self.clone() })
    }

    /// One more suspect.
    pub(super) fn accuse(&self) -> Accusation {
        self.0.suspects.send_modify(|suspects| *suspects += 1);
        Accusation { deaths: 0, trials: self.clone() }
    }
}

/// One suspect has the connection to itself, until this is dropped.
pub(super) struct Turn {
    guard: Option<OwnedMutexGuard<()>>,
    began: Instant,
    trials: Trials,
}

impl Turn {
    /// Whether the connection that was lost just now can have been closed over this suspect.
    pub(super) fn is_to_blame(&self) -> bool {
        self.began.elapsed() < PROMPT
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        // Before the others are told, who take it then.
        self.guard = None;
        self.trials.0.suspects.send_modify(|_| ());
    }
}

/// What a message is suspected of, until it is known what becomes of it.
pub(super) struct Accusation {
    /// The connections in a row that were closed while the message was alone on them.
    deaths: u32,
    trials: Trials,
}

impl Accusation {
    /// One more; returns whether that proves it.
    pub(super) fn confirmed(&mut self) -> bool {
        self.deaths += 1;
        self.deaths >= FATAL
    }
}

impl Drop for Accusation {
    fn drop(&mut self) {
        self.trials.0.suspects.send_modify(|suspects| *suspects -= 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn one_suspect_at_a_time_has_the_connection_and_is_to_blame_at_once_or_not_at_all() {
        let trials = Trials::default();
        let (mut one, other) = (trials.accuse(), trials.accuse());
        let turn = trials.turn().unwrap();
        assert!(trials.turn().is_none() && turn.is_to_blame());
        tokio::time::advance(PROMPT).await;
        assert!(!turn.is_to_blame());

        let ends = trials.follow();
        drop(turn);
        assert!(ends.has_changed().unwrap() && trials.turn().is_some());
        assert_eq!([one.confirmed(), one.confirmed(), one.confirmed()], [false, false, true]);
        drop(one);
        assert!(trials.are_open());
        drop(other);
        assert!(!trials.are_open());
    }
}

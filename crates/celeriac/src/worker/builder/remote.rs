//! What a worker hears from others, and what it remembers of that.

use std::path::PathBuf;
use std::time::Duration;

use super::WorkerBuilder;
use crate::worker::revoked::MOST_REVOKED;

impl<S> WorkerBuilder<S> {
    /// Obeys remote control (`celery inspect`, `celery control`, Flower); true by default.
    pub fn remote_control(mut self, remote_control: bool) -> Self {
        self.settings.remote_control = remote_control;
        self
    }

    /// Asks other workers at the start which tasks are revoked, which takes a second; true by default.
    pub fn mingle(mut self, mingle: bool) -> Self {
        self.settings.mingle = mingle;
        self
    }

    /// Listens to what other workers announce, and takes part in elections; true by default.
    pub fn gossip(mut self, gossip: bool) -> Self {
        self.settings.gossip = gossip;
        self
    }

    /// A file in which this worker remembers across restarts which tasks are revoked (`celery worker --statedb`, but JSON:
    /// not one that a Python worker can share). Each worker needs its own. Without it others are asked at the start.
    pub fn statedb(mut self, path: impl Into<PathBuf>) -> Self {
        self.settings.statedb = Some(path.into());
        self
    }

    /// How many revoked ids are remembered, and how many values of revoked stamps; 50,000 by default, as in Celery
    /// (`CELERY_WORKER_REVOKES_MAX`), at most 1,000,000. Above it the oldest ids are forgotten. What does not fit of one command
    /// is told to who sent it.
    pub fn revokes_max(mut self, revokes: usize) -> Self {
        self.revokes.max = revokes.clamp(1, MOST_REVOKED);
        self
    }

    /// How long revoked ids are remembered; 3 hours by default, as in Celery (`CELERY_WORKER_REVOKE_EXPIRES`).
    pub fn revoke_expires(mut self, expires: Duration) -> Self {
        self.revokes.expires = expires;
        self
    }
}

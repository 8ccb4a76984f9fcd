//! What a worker remembers across restarts: `celery worker --statedb` (`celery/worker/state.py`, `Persistent`).
//!
//! Celery writes a Python shelf when the worker ends; this is a JSON file, written whenever a task is revoked, so that a
//! worker that is killed remembers too:
//!
//! ```json
//! {"version": 1, "clock": 812, "revoked": {"06d72cc1-056d-46f6-951f-cbfa992eccc1": 1795374222}}
//! ```
//!
//! Under `revoked` stands when each task was revoked, in seconds since 1970. As in Celery, revoked stamps are not kept.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::WorkerError;
use super::shared::Shared;
use crate::clock;

const VERSION: u32 = 1;
/// Above what the most revoked tasks that can be remembered take ([`MOST_REVOKED`](super::revoked::MOST_REVOKED)).
const MAX_BYTES: u64 = 512 << 20;

/// The file of one worker.
#[derive(Clone, Debug)]
pub(super) struct StateDb(PathBuf);

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Contents {
    version: u32,
    clock: u64,
    revoked: BTreeMap<String, i64>,
}

impl StateDb {
    pub(super) fn new(path: PathBuf) -> Self {
        Self(path)
    }

    /// Recalls what the worker knew when it ended, if it has been here before.
    ///
    /// # Errors
    /// A file that is not such a memory, or that cannot be written to: better told now than at the first revocation.
    pub(super) fn recall(&self, shared: &Shared) -> Result<(), WorkerError> {
        let wrong = |error: io::Error| {
            let path = self.0.display();
            WorkerError::Configuration(format!("statedb {path}: {error}; remove the file, or name another"))
        };
        if let Some(contents) = read(&self.0).map_err(wrong)? {
            contents.restore(shared, clock::now(), Instant::now());
        }
        self.write(shared).map_err(wrong)
    }

    /// Keeps the file up to date until `end`, and writes it a last time then.
    pub(super) async fn keep(self, shared: Arc<Shared>, end: CancellationToken) {
        loop {
            let is_over = end.run_until_cancelled(shared.state.revocation()).await.is_none();
            let (db, of) = (self.clone(), Arc::clone(&shared));
            let written = tokio::task::spawn_blocking(move || db.write(&of)).await;
            if let Ok(Err(error)) = written {
                tracing::error!(path = %self.0.display(), %error, "what is revoked could not be written to the statedb");
            }
            if is_over {
                return;
            }
        }
    }

    /// Whole or not at all: a crash in the middle leaves the former file.
    fn write(&self, shared: &Shared) -> io::Result<()> {
        let contents = Contents::of(shared, clock::now(), Instant::now());
        let mut next = self.0.clone().into_os_string();
        next.push(".next");
        let mut file = File::create(&next)?;
        file.write_all(&serde_json::to_vec(&contents)?)?;
        file.sync_all()?;
        std::fs::rename(next, &self.0)
    }
}

fn read(path: &Path) -> io::Result<Option<Contents>> {
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file?,
    };
    let mut text = Vec::new();
    file.take(MAX_BYTES + 1).read_to_end(&mut text)?;
    let invalid = |why: String| io::Error::new(io::ErrorKind::InvalidData, why);
    if text.len() as u64 > MAX_BYTES {
        return Err(invalid(format!("more than {MAX_BYTES} bytes")));
    }
    let contents: Contents = serde_json::from_slice(&text)?;
    if contents.version != VERSION {
        return Err(invalid(format!("version {} where {VERSION} is known", contents.version)));
    }
    Ok(Some(contents))
}

impl Contents {
    fn of(shared: &Shared, time: DateTime<Utc>, now: Instant) -> Self {
        let seconds = |age: Duration| time.timestamp().saturating_sub_unsigned(age.as_secs());
        let revoked = shared.state.revoked_ages(now).into_iter().map(|(id, age)| (id, seconds(age))).collect();
        Self { version: VERSION, clock: shared.clock.forward(), revoked }
    }

    fn restore(self, shared: &Shared, time: DateTime<Utc>, now: Instant) {
        shared.clock.adjust(self.clock);
        // A wall clock that was set back makes no revocation younger than new.
        let age = |at: i64| Duration::from_secs(time.timestamp().saturating_sub(at).try_into().unwrap_or_default());
        let mut revoked: Vec<_> = self.revoked.into_iter().map(|(id, at)| (age(at), id)).collect();
        revoked.sort_unstable_by(|one, other| other.cmp(one));
        for (age, id) in revoked {
            // What cannot be told in this clock is older than any revocation that counts.
            if let Some(at) = now.checked_sub(age) {
                shared.state.recall_revoked(&id, at, now);
            }
        }
    }
}

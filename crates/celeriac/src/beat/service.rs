//! Waits for the ticks of the entries and sends their tasks.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::store::{MemoryScheduleStore, ScheduleStore, StoreError};
use super::{Entry, Schedule};
use crate::app::{App, SendError};
use crate::clock;

/// How long a broker or a store that does not answer is left alone, and how often a beat that does not lead looks
/// whether it does.
const RETRY_EVERY: Duration = Duration::from_secs(1);
/// The wall clock may be set, so no sleep is longer.
const LOOK_AGAIN: Duration = Duration::from_secs(30);
/// How long sending may go on after the stop.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// Sends tasks at their times.
///
/// Any number of beats may run with the same entries: they agree on the ticks, and the task of a tick has the same id
/// from each. Tasks that are idempotent by their id are never done twice.
pub struct Beat {
    app: App,
    entries: Vec<Entry>,
    zone: Tz,
    store: Arc<dyn ScheduleStore>,
}

/// Settings of a [`Beat`].
#[must_use]
pub struct BeatBuilder {
    beat: Beat,
}

impl Beat {
    pub fn builder(app: App) -> BeatBuilder {
        let store = Arc::new(MemoryScheduleStore::default());
        BeatBuilder { beat: Self { app, entries: Vec::new(), zone: Tz::UTC, store } }
    }

    /// Sends tasks until `shutdown` is cancelled. A broker or a store that cannot be reached is waited for.
    pub async fn run(self, shutdown: CancellationToken) {
        let mut entries = JoinSet::new();
        for entry in self.entries {
            let schedule = entry.schedule(self.zone);
            let clockwork =
                Clockwork { app: self.app.clone(), store: Arc::clone(&self.store), entry, schedule, handled: None };
            entries.spawn(clockwork.run(shutdown.clone()));
        }
        shutdown.cancelled().await;
        let ended = async { while entries.join_next().await.is_some() {} };
        // A tick that is cut off here is sent by the next beat, if its catch-up policy says so.
        let _ = tokio::time::timeout(LAST_WORDS, ended).await;
    }
}

impl BeatBuilder {
    /// Adds an entry; one of the same name is replaced.
    pub fn entry(mut self, entry: Entry) -> Self {
        self.beat.entries.retain(|other| other.name != entry.name);
        self.beat.entries.push(entry);
        self
    }

    /// The time zone of crontabs; UTC by default.
    pub fn time_zone(mut self, zone: Tz) -> Self {
        self.beat.zone = zone;
        self
    }

    /// Where to remember what was done; in memory by default.
    pub fn store(mut self, store: Arc<dyn ScheduleStore>) -> Self {
        self.beat.store = store;
        self
    }

    #[must_use]
    pub fn build(self) -> Beat {
        self.beat
    }
}

/// What keeps one entry going.
struct Clockwork {
    app: App,
    store: Arc<dyn ScheduleStore>,
    entry: Entry,
    schedule: Schedule,
    /// The tick up to which everything was handled; `None`: not asked yet.
    handled: Option<DateTime<Utc>>,
}

/// Why a step could not be done; it is done again.
#[derive(Debug, thiserror::Error)]
enum Obstacle {
    #[error("{0}")]
    Send(#[from] SendError),
    #[error("schedule store: {0}")]
    Store(#[from] StoreError),
}

impl Clockwork {
    async fn run(mut self, shutdown: CancellationToken) {
        let mut is_hindered = false;
        loop {
            let pause = match self.step(&shutdown).await {
                Ok(Some(pause)) => {
                    if std::mem::take(&mut is_hindered) {
                        tracing::info!(entry = self.entry.name, "beat goes on");
                    }
                    pause
                }
                Ok(None) => return,
                Err(error) => {
                    if !std::mem::replace(&mut is_hindered, true) {
                        tracing::warn!(entry = self.entry.name, %error, "tick not sent; trying again");
                    }
                    RETRY_EVERY
                }
            };
            if shutdown.run_until_cancelled(tokio::time::sleep(pause)).await.is_none() {
                return;
            }
        }
    }

    /// Sends what is due. Answers how long to wait until there may be more; `None`: there never will.
    async fn step(&mut self, shutdown: &CancellationToken) -> Result<Option<Duration>, Obstacle> {
        let now = clock::now();
        let handled = match self.handled {
            Some(handled) => handled,
            None => self.store.handled(&self.entry.name).await?.unwrap_or(now),
        };
        self.handled = Some(handled);
        if !self.store.leads().await? {
            // Another one sends; what it has handled is asked anew once this one leads.
            self.handled = None;
            return Ok(Some(RETRY_EVERY));
        }
        let due = self.schedule.due(self.entry.catch_up, handled, now);
        for tick in due.ticks {
            if shutdown.is_cancelled() {
                return Ok(None);
            }
            self.entry.send(&self.app, tick).await?;
            tracing::debug!(entry = self.entry.name, %tick, "tick sent");
            self.store.set_handled(&self.entry.name, tick).await?;
            self.handled = Some(tick);
        }
        if self.handled != Some(due.handled) {
            self.store.set_handled(&self.entry.name, due.handled).await?;
            self.handled = Some(due.handled);
        }
        let left = |next: DateTime<Utc>| (next - clock::now()).to_std().unwrap_or_default().min(LOOK_AGAIN);
        Ok(due.next.map(left))
    }
}

//! One worker.

use serde::{Deserialize, Serialize};

use crate::protocol::event::{Event, EventBody, WorkerStatus};

/// A worker that says nothing for twice the time between its heartbeats is dead (`HEARTBEAT_EXPIRE_WINDOW`).
const EXPIRE_WINDOW: f64 = 2.0;
/// What is assumed of a worker that does not say how often it does.
const DEFAULT_FREQ: f64 = 60.0;

/// A worker as its events tell it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Worker {
    /// The node's name, for instance `celery@host`.
    pub hostname: String,
    /// The number of its process.
    pub pid: u32,
    /// Seconds between heartbeats.
    pub freq: f64,
    /// When it was last heard of, by the clock of the receiver: seconds since 1970.
    pub heartbeat: Option<f64>,
    /// Its logical clock, as last told.
    pub clock: u64,
    /// Tasks that run now.
    pub active: Option<u64>,
    /// Tasks that have run.
    pub processed: Option<u64>,
    /// Of its machine, over 1, 5 and 15 minutes.
    pub loadavg: Option<[f64; 3]>,
    /// What it is: `py-celery`, `celeriac`.
    pub sw_ident: String,
    /// The version of that.
    pub sw_ver: String,
    /// Its operating system, as Python's `platform.system()` has it.
    pub sw_sys: String,
}

impl Worker {
    /// A worker of which nothing is known but its name.
    #[must_use]
    pub fn new(hostname: &str) -> Self {
        Self {
            hostname: hostname.to_owned(),
            pid: 0,
            freq: DEFAULT_FREQ,
            heartbeat: None,
            clock: 0,
            active: None,
            processed: None,
            loadavg: None,
            sw_ident: String::new(),
            sw_ver: String::new(),
            sw_sys: String::new(),
        }
    }

    /// Whether it was heard of lately.
    #[must_use]
    pub fn is_alive(&self, now: f64) -> bool {
        self.heartbeat.is_some_and(|heard| now < heard + self.freq * EXPIRE_WINDOW)
    }

    /// Takes in what it announces about itself, received at `now` (seconds since 1970).
    pub fn apply(&mut self, event: &Event<'_>, now: f64) {
        self.is_heard_of(event, now);
        if let EventBody::WorkerOnline(status) | EventBody::WorkerHeartbeat(status) = &event.body {
            self.take(status);
        }
    }

    /// It has announced something, also about a task, so it is there.
    pub fn is_heard_of(&mut self, event: &Event<'_>, now: f64) {
        self.pid = event.pid;
        self.clock = event.clock.unwrap_or(self.clock);
        self.heartbeat = Some(self.heartbeat.map_or(now, |before| before.max(now)));
    }

    /// A heartbeat that was asked for does not tell everything: what is not told stays.
    fn take(&mut self, status: &WorkerStatus<'_>) {
        self.freq = status.freq;
        self.active = status.active.or(self.active);
        self.processed = status.processed.or(self.processed);
        self.loadavg = status.loadavg.or(self.loadavg);
        self.sw_ident = status.sw_ident.to_string();
        self.sw_ver = status.sw_ver.to_string();
        self.sw_sys = status.sw_sys.to_string();
    }
}

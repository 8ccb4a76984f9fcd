//! What a child process is told to do, and what it tells while it does it.

use std::fmt;
use std::io::Write;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// How the queue is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, clap::ValueEnum)]
pub enum Kind {
    Classic,
    Quorum,
}

impl Kind {
    pub const ALL: [Self; 2] = [Self::Classic, Self::Quorum];

    pub fn name(self) -> &'static str {
        match self {
            Self::Classic => "classic",
            Self::Quorum => "quorum",
        }
    }

    pub fn queue_type(self) -> celeriac::QueueType {
        match self {
            Self::Classic => celeriac::QueueType::Classic,
            Self::Quorum => celeriac::QueueType::Quorum,
        }
    }
}

/// Who sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Sender {
    /// lapin itself, four channels with 200 messages on their way each.
    RawPipelined,
    /// lapin itself, 64 callers with a channel each who wait for every confirm.
    RawCallers,
    /// Four that call `send_many` with 2,000 tasks each time.
    CeleriacMany,
    /// 64 callers who wait for each task they send.
    CeleriacCallers,
    /// 800 of them: as many messages on their way as with pipelined lapin.
    CeleriacCrowd,
    RustyCelery,
    Celery,
}

/// Who executes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Worker {
    BareLoop,
    Celeriac { events: bool },
    RustyCelery,
    Celery(Pool),
}

/// Celery's pools, at the sizes that suit two cores.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Pool {
    Prefork2,
    Prefork4,
    Threads4,
    Solo,
}

impl Pool {
    pub const ALL: [Self; 4] = [Self::Prefork2, Self::Prefork4, Self::Threads4, Self::Solo];

    /// The arguments of `celery worker`.
    pub fn arguments(self) -> [&'static str; 4] {
        match self {
            Self::Prefork2 => ["--pool", "prefork", "--concurrency", "2"],
            Self::Prefork4 => ["--pool", "prefork", "--concurrency", "4"],
            Self::Threads4 => ["--pool", "threads", "--concurrency", "4"],
            Self::Solo => ["--pool", "solo", "--concurrency", "1"],
        }
    }
}

impl fmt::Display for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Prefork2 => "prefork 2",
            Self::Prefork4 => "prefork 4",
            Self::Threads4 => "threads 4",
            Self::Solo => "solo",
        })
    }
}

/// The work of one child process of this program.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Job {
    Send {
        sender: Sender,
        kind: Kind,
        queue: String,
        count: u64,
        results: bool,
    },
    /// Sends tasks that say how late they began, `rate` of them a second.
    Pace {
        kind: Kind,
        queue: String,
        count: u64,
        rate: u64,
    },
    /// Works until its standard input ends.
    Work {
        worker: Worker,
        kind: Kind,
        queue: String,
    },
}

/// What a child process writes, a line of JSON each.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub enum Line {
    /// It took so long to send so many.
    Sent { count: u64, micros: u64 },
    /// At this time (microseconds of the Unix epoch) so many tasks had been executed, and so many were not acknowledged.
    Progress { at: i64, executed: u64, unacknowledged: u64 },
}

impl Line {
    pub fn tell(self) {
        let line = serde_json::to_string(&self).expect("a line is JSON");
        // Nobody listens any more if the parent has gone, and then standard input has ended too.
        let _ = writeln!(std::io::stdout().lock(), "{line}");
    }

    pub fn progress(executed: u64, unacknowledged: u64) -> Self {
        Self::Progress { at: unix_micros(), executed, unacknowledged }
    }
}

/// What all processes on one machine agree about.
#[expect(clippy::disallowed_methods, reason = "compared between processes, also with Python's time.time()")]
pub fn unix_micros() -> i64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is set");
    i64::try_from(since_epoch.as_micros()).expect("this millennium")
}

//! What is remembered beyond memory, in `PostgreSQL`: tasks by the day they were heard of first, the minutes of the overview,
//! workers, and what operators did. Written behind, by one dashboard at a time; nobody waits for it.

mod days;
mod read;
mod schema;
mod writer;

use std::sync::Arc;
use std::time::Duration;

use dial::postgres::{Address, ConnectError, Dialer, Link, describe};
use parking_lot::RwLock;
use secrecy::{ExposeSecret as _, SecretString};
use tokio::sync::Mutex;
use tokio_postgres::{Client, Error};

pub(crate) use self::read::{MOST_COUNTED, Ranked};
pub(crate) use self::writer::start;

/// Connecting takes at most this.
const CONNECTS_WITHIN: Duration = Duration::from_secs(5);
/// A page does not wait longer for a statement. The connection is given up a little later.
const READS_WITHIN: Duration = Duration::from_secs(3);

/// Why a history cannot be had at an address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct HistoryError(String);

/// How much of a history is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Days of tasks, today included; 30 by default. Days that are over are dropped as a whole.
    pub days: u32,
    /// What tasks may take on the disk with their indexes, in bytes; 20 GB by default. Above it the oldest days go first;
    /// if today alone takes more, no more of today is kept.
    pub bytes: u64,
}

impl Default for Retention {
    fn default() -> Self {
        Self { days: 30, bytes: 20_000_000_000 }
    }
}

/// A history in a database, in a schema of its own, `celeriac_dashboard`, which is made and migrated when it is reached.
///
/// It takes two connections, one with a session of its own: of several dashboards on one database one writes. A pooler in
/// between must be in session mode.
pub struct History {
    dialer: Dialer,
    retention: Retention,
    reader: Mutex<Option<Link>>,
    status: RwLock<Status>,
}

/// How it goes.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Status {
    /// Why nothing is written at present.
    pub(crate) trouble: Option<String>,
    /// Tasks from this time on are there, in microseconds since 1970.
    pub(crate) since: Option<i64>,
    /// What tasks take, in bytes.
    pub(crate) bytes: u64,
}

/// Why something could not be read or written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Trouble {
    #[error("{}", describe(.0))]
    Database(#[from] Error),
    #[error("{0}")]
    Unreachable(String),
    /// A statement took too long.
    #[error("it took too long; ask for less, for instance for a shorter time or a whole name")]
    Slow,
}

impl From<ConnectError> for Trouble {
    fn from(error: ConnectError) -> Self {
        Self::Unreachable(error.into_reason())
    }
}

impl History {
    /// A history at an address as libpq takes it, for instance `postgresql://user:password@host/database`. Nothing is
    /// connected yet: pages are served while the database is away, and say so.
    ///
    /// # Errors
    /// [`HistoryError`]: the address cannot be read.
    pub fn new(url: &SecretString, retention: Retention) -> Result<Self, HistoryError> {
        let address = Address::parse(url.expose_secret()).map_err(HistoryError)?;
        let address = address.application_name("celeriac-dashboard");
        let dialer = Dialer::new(address, CONNECTS_WITHIN).map_err(HistoryError)?.answer_within(READS_WITHIN * 4);
        let retention = Retention { days: retention.days.max(1), ..retention };
        Ok(Self { dialer, retention, reader: Mutex::default(), status: RwLock::default() })
    }

    pub(crate) fn status(&self) -> Status {
        self.status.read().clone()
    }

    pub(crate) fn retention(&self) -> Retention {
        self.retention
    }

    /// Asks with a connection that is made when there is none. Readers take turns: pages never take more than one connection.
    async fn ask<T>(&self, ask: impl AsyncFnOnce(&Client) -> Result<T, Trouble>) -> Result<T, Trouble> {
        let mut reader = self.reader.lock().await;
        if reader.as_ref().is_none_or(|link| link.client.is_closed()) {
            let link = self.dialer.connect().await?;
            link.client.batch_execute(&format!("SET statement_timeout = {}", READS_WITHIN.as_millis())).await?;
            *reader = Some(link);
        }
        let Some(link) = reader.as_ref() else { return Err(Trouble::Unreachable("not connected".to_owned())) };
        let asked = ask(&link.client).await.map_err(|trouble| match trouble {
            Trouble::Database(error) if error.code().is_some_and(|code| code.code() == "57014") => Trouble::Slow,
            trouble => trouble,
        });
        if matches!(asked, Err(Trouble::Database(_))) {
            // Whatever state it is in, the next begins with a new one.
            *reader = None;
        }
        asked
    }

    /// Somebody reads at this moment.
    pub(crate) fn is_busy(&self) -> bool {
        self.reader.try_lock().is_err()
    }
}

/// A text that the database takes: it knows no NUL.
fn text(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

/// An id, shared with memory.
type Id = Arc<str>;

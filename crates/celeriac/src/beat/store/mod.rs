//! Where beats keep their schedule and what they have done of it, and agree on who does it.

mod definition;
mod memory;
#[cfg(feature = "postgres")]
mod postgres;
mod redis;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};

pub use self::definition::{DefinitionError, EntryDefinition};
pub use self::memory::MemoryScheduleStore;
#[cfg(feature = "postgres")]
pub use self::postgres::PostgresScheduleStore;
pub use self::redis::RedisScheduleStore;
use crate::backend::{BackendError, BackendOptions};
use crate::beat::Schedule;

/// Keeps the entries that are not in code, up to where each entry was handled, and the lease of the beat that leads.
///
/// All beats that share a store are one beat: exactly one of them sends.
#[async_trait]
pub trait ScheduleStore: Send + Sync + 'static {
    /// Takes the lease if nobody has it, or extends it if this beat has it: from now on nobody else gets it for `ttl`,
    /// by the clock of the store. `None`: another beat has it.
    ///
    /// The term grows whenever the lease is taken anew, so that it tells a former holder from the present one.
    async fn lead(&self, beat: &str, ttl: Duration) -> Result<Option<u64>, StoreError>;

    /// Who has the lease now; `None`: nobody leads.
    async fn leader(&self) -> Result<Option<Lease>, StoreError>;

    /// Gives the lease back: another beat may take it at once. Nothing happens if it is not held.
    async fn resign(&self, lease: &Lease) -> Result<(), StoreError>;

    /// The entries that this store has, if anything of them has changed since the version that was `seen`.
    async fn entries(&self, seen: Option<&str>) -> Result<Option<StoredEntries>, StoreError>;

    /// What was done of all entries, by their names.
    async fn progress(&self) -> Result<HashMap<String, Progress>, StoreError>;

    /// Writes what was done: all of it or nothing, and only while the lease is held. Writing it twice does no harm.
    ///
    /// # Errors
    /// [`StoreError::NotLeading`]: nothing was written, and nothing may be sent any more.
    async fn record(&self, lease: &Lease, records: &[Record]) -> Result<(), StoreError>;

    /// Changes an entry that this store has, as a person wants it; beats see it within 5 seconds. `false`: it has none of this
    /// name.
    ///
    /// # Errors
    /// The store cannot be asked, or lets nobody change it, which is so unless it says otherwise.
    async fn change(&self, entry: &str, change: &Change) -> Result<bool, StoreError> {
        let _ = (entry, change);
        Err(StoreError::Unavailable("this store lets nobody change its entries".to_owned()))
    }
}

/// What a person wants to be otherwise about an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Whether anything is sent of it.
    Enabled(bool),
    /// When it is sent.
    Schedule(Schedule),
}

impl Change {
    fn apply(&self, entry: &mut EntryDefinition) {
        match self {
            Self::Enabled(enabled) => entry.enabled = *enabled,
            Self::Schedule(schedule) => entry.schedule = schedule.clone(),
        }
    }
}

/// The right to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// The beat that holds it.
    pub beat: String,
    /// Which of the holders of the lease, counted from the first.
    pub term: u64,
}

/// The entries of a store at one time.
#[derive(Clone, Debug)]
pub struct StoredEntries {
    /// Changes with every change of an entry; what is in it is the store's affair.
    pub version: String,
    /// All that can be read, also those that are switched off.
    pub entries: Vec<EntryDefinition>,
}

/// How far an entry is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Every tick up to this one was sent, or passed over as the catch-up policy says.
    pub handled: Option<DateTime<Utc>>,
    /// The tick that is being sent. Whoever finds it there does not know whether it was sent, and sends it again.
    pub sending: Option<DateTime<Utc>>,
}

/// What was done of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The name of the entry.
    pub entry: String,
    /// `None`: the entry is not there any more, and is forgotten.
    pub progress: Option<Progress>,
    /// Its task was sent at this time: to be counted.
    pub sent_at: Option<DateTime<Utc>>,
    /// It is done for good: an entry of the store is switched off.
    pub disable: bool,
}

/// Why a store did not do what it was asked.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// It cannot be asked now; try again.
    #[error("{0}")]
    Unavailable(String),
    /// The lease is not held: another beat leads, or soon will.
    #[error("the lease was lost")]
    NotLeading,
}

impl From<BackendError> for StoreError {
    fn from(error: BackendError) -> Self {
        Self::Unavailable(error.to_string())
    }
}

/// Opens the store that a URL names: `redis://…`, `rediss://…`, `sentinel://…`, `postgresql://…` or `memory://`, each as
/// for a [result backend](crate::backend::connect).
///
/// # Errors
/// [`BackendError::Refused`] for a URL that can never work and for wrong credentials, [`BackendError::Unavailable`]
/// if the server does not answer within the timeout.
pub async fn connect(url: &str) -> Result<Arc<dyn ScheduleStore>, BackendError> {
    let timeout = BackendOptions::default().timeout;
    #[cfg(feature = "postgres")]
    if crate::backend::is_postgres(url) {
        return Ok(Arc::new(PostgresScheduleStore::connect(url, timeout).await?));
    }
    match url.split_once("://") {
        _ if crate::backend::redis::address::is_redis(url) => {
            Ok(Arc::new(RedisScheduleStore::connect(url, timeout).await?))
        }
        Some(("memory", name)) => Ok(MemoryScheduleStore::named(name)),
        _ => Err(BackendError::Refused {
            address: "schedule store".to_owned(),
            reason: "expected redis://, postgresql:// or memory://".to_owned(),
        }),
    }
}

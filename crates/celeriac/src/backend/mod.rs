//! Result backends keep what became of a task, and wake who waits for it.
//!
//! Three exist: `redis://` and `postgresql://`, which Celery's clients read and write too, and `memory://` inside the
//! process.

mod chord;
mod chord_memory;
mod deliveries;
mod deliveries_memory;
mod limits;
mod limits_memory;
mod memory;
mod options;
mod parts;
mod payload;
#[cfg(feature = "postgres")]
pub(crate) mod postgres;
pub(crate) mod redis;
mod seat;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use tokio::sync::mpsc;

pub use self::chord::{ChordPart, ChordProgress, CompleteChord};
pub use self::deliveries::DeliveryCounts;
pub(crate) use self::limits::wait_until_freed;
pub use self::limits::{ClusterLimits, Grant, Seat};
pub use self::memory::MemoryBackend;
pub use self::options::BackendOptions;
#[cfg(feature = "postgres")]
pub use self::postgres::PostgresBackend;
#[cfg(feature = "postgres")]
pub(crate) use self::postgres::is_postgres;
pub use self::redis::RedisBackend;
pub use self::seat::HeldSeat;

/// Keeps the state and the result of tasks, and wakes who waits for them.
#[async_trait]
pub trait ResultBackend: Send + Sync + 'static {
    /// Stores many results in one round trip, in their order. A stored SUCCESS is never overwritten
    /// (`celery/backends/base.py`, `_store_result`).
    ///
    /// After an error any part of them may have been stored: storing them again is harmless.
    async fn store(&self, results: &[StoredResult]) -> Result<(), BackendError>;

    /// The stored metadata as JSON text; `None` while nothing is known (Celery's PENDING).
    async fn get(&self, task_id: &str) -> Result<Option<String>, BackendError>;

    /// Subscribes to the changes of one task. Subscribe first and [`get`](Self::get) after, and no change is missed.
    async fn subscribe(&self, task_id: &str) -> Result<ResultSubscription, BackendError>;

    /// Removes a result.
    async fn forget(&self, task_id: &str) -> Result<(), BackendError>;

    /// Whether [`cleanup`](Self::cleanup) is to be called from time to time (`celery.backend_cleanup`): what has expired
    /// does not go by itself.
    fn needs_cleanup(&self) -> bool {
        false
    }

    /// How long results are kept; `None`: for ever, or as long as somebody else decides.
    fn expires(&self) -> Option<Duration> {
        None
    }

    /// Deletes what ended before; returns how much that was.
    async fn cleanup(&self, older_than: DateTime<Utc>) -> Result<u64, BackendError> {
        let _ = older_than;
        Ok(0)
    }

    /// Whether this backend counts the parts of chords. Where it does not, `celery.chord_unlock` looks again and again
    /// whether they are all there, and none of the following is called (`celery/backends/base.py`, `apply_chord`).
    fn counts_chords(&self) -> bool {
        false
    }

    /// A chord begins: its body is to be sent once this many parts are in. Called before its tasks are published.
    async fn begin_chord(&self, group_id: &str, size: usize) -> Result<(), BackendError> {
        let _ = (group_id, size);
        Err(chord::not_supported(self.address(), "chords"))
    }

    /// Hands in the part of one task. `token` names the caller if it gets the chord; asked again with the same token,
    /// the answer is the same.
    async fn chord_part(&self, part: &ChordPart, token: &str) -> Result<ChordProgress, BackendError> {
        let _ = (part, token);
        Err(chord::not_supported(self.address(), "chords"))
    }

    /// The body is about to be sent. False: the chord is not the caller's any longer, another worker sends it.
    async fn extend_chord(&self, group_id: &str, token: &str) -> Result<bool, BackendError> {
        let _ = (group_id, token);
        Err(chord::not_supported(self.address(), "chords"))
    }

    /// The body was sent.
    async fn end_chord(&self, group_id: &str, token: &str) -> Result<(), BackendError> {
        let _ = (group_id, token);
        Err(chord::not_supported(self.address(), "chords"))
    }

    /// The chord has failed and its body was told: further parts change nothing.
    async fn fail_chord(&self, group_id: &str) -> Result<(), BackendError> {
        let _ = group_id;
        Err(chord::not_supported(self.address(), "chords"))
    }

    /// A task of the header adds another one to it: the chord waits for one part more.
    async fn add_to_chord(&self, group_id: &str) -> Result<(), BackendError> {
        let _ = group_id;
        Err(chord::not_supported(self.address(), "chords"))
    }

    /// Stores which tasks a group has, as Celery's JSON.
    async fn save_group(&self, group_id: &str, group: &str) -> Result<(), BackendError> {
        let _ = (group_id, group);
        Err(chord::not_supported(self.address(), "groups"))
    }

    /// The tasks of a group that was stored, as Celery's JSON.
    async fn group(&self, group_id: &str) -> Result<Option<String>, BackendError> {
        let _ = group_id;
        Err(chord::not_supported(self.address(), "groups"))
    }

    /// Removes a stored group, but not the results of its tasks.
    async fn forget_group(&self, group_id: &str) -> Result<(), BackendError> {
        let _ = group_id;
        Err(chord::not_supported(self.address(), "groups"))
    }

    /// What keeps the limits of the whole cluster; `None`: this backend cannot.
    fn limits(&self) -> Option<&dyn ClusterLimits> {
        None
    }

    /// What counts the deliveries of messages whose queue does not; `None`: this backend cannot.
    fn deliveries(&self) -> Option<&dyn DeliveryCounts> {
        None
    }

    /// The address without its password, for logs and error messages.
    fn address(&self) -> &str;

    /// Ends all subscriptions and connections of this handle. What is stored stays stored.
    async fn close(&self);
}

/// One result, already encoded as Celery's JSON (`protocol::ResultMeta`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredResult {
    /// The task that the result is of.
    pub task_id: String,
    /// All of it: state, value, children, …
    pub meta: String,
    /// Whether the state is SUCCESS, FAILURE or REVOKED.
    pub is_final: bool,
}

/// What a subscriber is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// The metadata that was stored, as JSON text.
    Stored(String),
    /// The connection was lost and is back: read the result again, something may have been missed.
    Resubscribed,
}

/// The changes of one task from now on. Dropping it unsubscribes.
pub struct ResultSubscription {
    changes: mpsc::Receiver<Change>,
    unsubscribe: Option<Box<dyn FnOnce() + Send>>,
}

impl ResultSubscription {
    /// For implementors of [`ResultBackend`]: `unsubscribe` runs when the subscription is dropped.
    pub fn new(changes: mpsc::Receiver<Change>, unsubscribe: impl FnOnce() + Send + 'static) -> Self {
        Self { changes, unsubscribe: Some(Box::new(unsubscribe)) }
    }

    /// Waits for the next change. `None`: this reader fell too far behind, or the backend was closed; subscribe
    /// and read again.
    pub async fn recv(&mut self) -> Option<Change> {
        self.changes.recv().await
    }
}

impl Drop for ResultSubscription {
    fn drop(&mut self) {
        // Closed first, so that the backend sees this subscriber gone.
        self.changes.close();
        if let Some(unsubscribe) = self.unsubscribe.take() {
            unsubscribe();
        }
    }
}

impl fmt::Debug for ResultSubscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResultSubscription").finish_non_exhaustive()
    }
}

/// How many changes may wait for a slow subscriber before it is cut off (see [`ResultSubscription::recv`]).
pub(crate) const SUBSCRIPTION_CAPACITY: usize = 64;

/// Opens the backend that a URL names:
///
/// * `redis://[user:password@]host[:port][/database]`, and `rediss://` with TLS and the options of Celery's URLs:
///   `ssl_cert_reqs` (`required` by default, `none`), `ssl_ca_certs`, `ssl_certfile`, `ssl_keyfile`, `ssl_check_hostname`;
/// * `redis://one;redis://two`: the one of several that takes writes;
/// * `sentinel://one[:port];two[:port][/database]?master_name=…`, with `sentinel_username` and `sentinel_password` for the
///   sentinels themselves;
/// * `[db+]postgresql://[user[:password]@]host[:port][,host…]/database[?sslmode=…]`, see [`PostgresBackend`];
/// * `memory://name`.
///
/// # Errors
/// [`BackendError::Refused`] for a URL that can never work, for wrong credentials and for a Redis Cluster,
/// [`BackendError::Unavailable`] if the server does not answer within the timeout.
pub async fn connect(url: &str, options: &BackendOptions) -> Result<Arc<dyn ResultBackend>, BackendError> {
    let refused = |address: &str, reason: String| BackendError::Refused { address: address.to_owned(), reason };
    #[cfg(feature = "postgres")]
    if postgres::is_postgres(url) {
        return Ok(Arc::new(PostgresBackend::connect(url, options).await?));
    }
    if redis::address::is_redis(url) {
        return Ok(Arc::new(RedisBackend::connect(url, options).await?));
    }
    let Some((scheme, rest)) = url.split_once("://") else {
        return Err(refused("result backend", "not a URL: expected redis://, postgresql:// or memory://".to_owned()));
    };
    match scheme {
        "memory" => Ok(Arc::new(MemoryBackend::open(rest.split(['/', '?', '#']).next().unwrap_or(""), options))),
        #[cfg(not(feature = "postgres"))]
        scheme if scheme.contains("postgres") => Err(refused(
            &dial::address::unusable(url),
            "this program was built without the feature `postgres` of celeriac".to_owned(),
        )),
        other => Err(refused(
            &dial::address::unusable(url),
            format!("result backend of unknown kind {other:?}: expected redis://, postgresql:// or memory://"),
        )),
    }
}

/// Whether metadata tells of a failure: every writer of ours begins with the state.
fn is_failure(meta: &str) -> bool {
    let rest = meta.strip_prefix(r#"{"status":"#).map(str::trim_start);
    rest.is_some_and(|rest| rest.starts_with(r#""FAILURE""#))
}

/// What went wrong, by what the caller should do.
#[derive(Debug, Clone, thiserror::Error)]
pub enum BackendError {
    /// Cannot be reached now; try again later. Nothing is lost by it: the message stays unacknowledged.
    #[error("{address}: {reason}")]
    Unavailable {
        /// The server, without the password.
        address: String,
        /// What the server or the network said.
        reason: String,
    },
    /// Refused for good: wrong address, no access, or a value that is too large.
    #[error("{address}: {reason}")]
    Refused {
        /// The server, without the password.
        address: String,
        /// What is wrong, for whoever runs the program.
        reason: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_url_of_unknown_kind_is_refused_with_what_is_expected() {
        let Err(error) = connect("mysql://:secret@db/x", &BackendOptions::default()).await else {
            panic!("there is no such backend yet");
        };
        assert!(matches!(error, BackendError::Refused { .. }));
        assert!(error.to_string().contains("expected redis://, postgresql:// or memory://"), "{error}");
        assert!(!error.to_string().contains("secret"), "{error}");
    }
}

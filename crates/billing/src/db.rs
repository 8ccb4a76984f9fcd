//! The database: a pool of connections with deadlines, and the migrations.
//!
//! A pool of one connection is enough for everything here: no function that holds a connection asks for another. (The
//! embedded PostgreSQL of `billing standalone` has exactly one.)

use std::time::Duration;

use diesel::ConnectionError;
use diesel::result::{DatabaseErrorKind, Error as QueryError};
use diesel_async::pooled_connection::deadpool::{Object, Pool, PoolError};
use diesel_async::pooled_connection::{
    AsyncDieselConnectionManager, ManagerConfig, PoolError as Establish, RecyclingMethod,
};
use diesel_async::{AsyncConnection, AsyncMigrationHarness, AsyncPgConnection, SimpleAsyncConnection};
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};
use futures_util::FutureExt;

/// Every change of the schema, in order; compiled in.
pub const MIGRATIONS: EmbeddedMigrations = embed_migrations!("../../migrations");

/// How long one connection may take to be made. The embedded PostgreSQL starts a backend for it, which takes seconds on a
/// busy machine, and begins anew when it is given up.
const CONNECT_WITHIN: Duration = Duration::from_secs(15);
/// How long a caller waits for a connection of the pool.
const WAIT_WITHIN: Duration = Duration::from_secs(30);

/// No transaction here lasts more than milliseconds; these only bound what goes wrong. Times are read and written in
/// UTC whatever the server's own setting.
const SESSION: &str = "set timezone = 'UTC';
    set statement_timeout = '30s';
    set lock_timeout = '10s';
    set idle_in_transaction_session_timeout = '60s'";

/// A connection out of the pool; goes back when dropped.
pub type Conn = Object<AsyncPgConnection>;

/// What a caller is to do about a database that did not answer as hoped.
#[derive(Debug, thiserror::Error)]
pub enum DbError {
    /// Not reachable, too busy, or gone in the middle: the transaction did not happen; try again later.
    #[error("the database is not available: {0}")]
    Unavailable(String),
    /// The address, the user or the database name is wrong: no repetition helps.
    #[error("the database refuses us: {0}")]
    Refused(String),
    /// It answered that the statement is wrong: a bug of ours.
    #[error("the database: {0}")]
    Query(#[source] QueryError),
    /// A migration failed; nothing of it was kept.
    #[error("migration: {0}")]
    Migration(String),
}

impl DbError {
    /// Whether the same call may succeed later.
    #[must_use]
    pub const fn is_transient(&self) -> bool {
        matches!(self, Self::Unavailable(_))
    }
}

impl From<QueryError> for DbError {
    fn from(error: QueryError) -> Self {
        match &error {
            QueryError::DatabaseError(
                DatabaseErrorKind::ClosedConnection | DatabaseErrorKind::UnableToSendCommand,
                _,
            )
            | QueryError::BrokenTransactionManager => Self::Unavailable(error.to_string()),
            QueryError::DatabaseError(DatabaseErrorKind::SerializationFailure, _) => {
                Self::Unavailable(error.to_string())
            }
            QueryError::DatabaseError(_, said) if is_passing(said.message()) => Self::Unavailable(error.to_string()),
            _ => Self::Query(error),
        }
    }
}

/// Diesel keeps no SQLSTATE of these; their texts have been the same since PostgreSQL 9.
fn is_passing(message: &str) -> bool {
    const PASSING: &[&str] = &[
        "deadlock detected",
        "canceling statement due to",
        "terminating connection due to",
        "the database system is starting up",
        "the database system is shutting down",
        "the database system is in recovery mode",
        "connection closed",
        "error communicating with the server",
    ];
    PASSING.iter().any(|text| message.contains(text))
}

impl From<ConnectionError> for DbError {
    fn from(error: ConnectionError) -> Self {
        const HOPELESS: &[&str] = &[
            "invalid connection string",
            "password authentication failed",
            "no password supplied",
            "password missing",
            "does not exist",
            "no pg_hba.conf entry",
            "is not permitted to log in",
        ];
        let text = error.to_string();
        if HOPELESS.iter().any(|hopeless| text.contains(hopeless)) {
            Self::Refused(text)
        } else {
            Self::Unavailable(text)
        }
    }
}

impl From<PoolError> for DbError {
    fn from(error: PoolError) -> Self {
        match error {
            PoolError::Backend(Establish::ConnectionError(error)) => error.into(),
            PoolError::Backend(Establish::QueryError(error)) => error.into(),
            other => Self::Unavailable(other.to_string()),
        }
    }
}

/// The database. Cheap to clone.
#[derive(Clone)]
pub struct Db {
    pool: Pool<AsyncPgConnection>,
    address: String,
}

impl std::fmt::Debug for Db {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Db").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Db {
    /// A pool of at most `max` connections to `url`, one of which has been made: the address is right.
    ///
    /// # Errors
    /// [`DbError::Unavailable`] may pass, [`DbError::Refused`] will not.
    pub async fn connect(url: &str, max: usize) -> Result<Self, DbError> {
        let mut config = ManagerConfig::default();
        // The driver tells when a connection is dead, so no round trip is spent on asking.
        config.recycling_method = RecyclingMethod::Fast;
        config.custom_setup = Box::new(|url| establish(url.to_owned()).boxed());
        let manager = AsyncDieselConnectionManager::new_with_config(url, config);
        let pool =
            Pool::builder(manager).max_size(max.max(1)).build().map_err(|error| DbError::Refused(error.to_string()))?;
        let db = Self { pool, address: address(url) };
        drop(db.conn().await?);
        Ok(db)
    }

    /// A connection. Whoever has one does not ask for another before giving it back.
    ///
    /// # Errors
    /// [`DbError::Unavailable`] after half a minute of waiting, or when none can be made.
    pub async fn conn(&self) -> Result<Conn, DbError> {
        match tokio::time::timeout(WAIT_WITHIN, self.pool.get()).await {
            Ok(conn) => Ok(conn?),
            Err(_) => Err(DbError::Unavailable(format!("no connection to {} became free", self.address))),
        }
    }

    /// Host, port and database, without user and password: fit for logs.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Applies the migrations not yet applied, each in its own transaction, and returns their names. Several processes
    /// may try at once: one does it, the others find it done.
    ///
    /// Needs tokio's multi-thread runtime.
    ///
    /// # Errors
    /// [`DbError::Migration`] with PostgreSQL's own words.
    pub async fn migrate(&self) -> Result<Vec<String>, DbError> {
        let mut conn = self.conn().await?;
        conn.batch_execute(LOCK_MIGRATIONS).await?;
        let mut harness = AsyncMigrationHarness::new(conn);
        let applied = harness
            .run_pending_migrations(MIGRATIONS)
            .map(|versions| versions.iter().map(ToString::to_string).collect())
            .map_err(|error| DbError::Migration(error.to_string()));
        // Should this fail, the session is at its end, and the lock with it.
        let unlocked = harness.into_inner().batch_execute(UNLOCK_MIGRATIONS).await;
        let applied = applied?;
        unlocked?;
        Ok(applied)
    }
}

const LOCK_MIGRATIONS: &str = "set lock_timeout = '60s'; select pg_advisory_lock(7216309245013)";
const UNLOCK_MIGRATIONS: &str = "select pg_advisory_unlock(7216309245013); set lock_timeout = '10s'";

async fn establish(url: String) -> Result<AsyncPgConnection, ConnectionError> {
    let connecting = async {
        let mut conn = AsyncPgConnection::establish(&noticing_death(&url)).await?;
        conn.batch_execute(SESSION).await.map_err(ConnectionError::CouldntSetupConfiguration)?;
        Ok(conn)
    };
    tokio::time::timeout(CONNECT_WITHIN, connecting)
        .await
        .unwrap_or_else(|_| Err(ConnectionError::BadConnection(format!("no answer within {CONNECT_WITHIN:?}"))))
}

/// A server that vanished without a word is noticed within half a minute, unless the URL says otherwise. (The driver's
/// own default is two hours.)
fn noticing_death(url: &str) -> String {
    const SETTINGS: [&str; 4] =
        ["keepalives_idle=10", "keepalives_interval=5", "keepalives_retries=4", "tcp_user_timeout=30"];
    if url.contains("keepalives") || url.contains("tcp_user_timeout") {
        return url.to_owned();
    }
    match url.contains("://") {
        true if url.contains('?') => format!("{url}&{}", SETTINGS.join("&")),
        true => format!("{url}?{}", SETTINGS.join("&")),
        false => format!("{url} {}", SETTINGS.join(" ")),
    }
}

/// `host:port/database` of a connection URL; never its user or password.
pub(crate) fn address(url: &str) -> String {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let rest = rest.split(['?', '#']).next().unwrap_or(rest);
    let rest = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
    if url.contains("://") { rest.to_owned() } else { "the configured database".to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dead_server_is_noticed_unless_the_url_says_how() {
        let added = "keepalives_idle=10&keepalives_interval=5&keepalives_retries=4&tcp_user_timeout=30";
        assert_eq!(noticing_death("postgres://db/x"), format!("postgres://db/x?{added}"));
        assert_eq!(noticing_death("postgres://db/x?a=b"), format!("postgres://db/x?a=b&{added}"));
        assert_eq!(noticing_death("host=db"), format!("host=db {}", added.replace('&', " ")));
        assert_eq!(noticing_death("postgres://db/x?keepalives=0"), "postgres://db/x?keepalives=0");
    }

    #[test]
    fn the_address_never_shows_the_password() {
        for (url, shown) in [
            ("postgres://u:p@db:5432/billing", "db:5432/billing"),
            ("postgres://u:p%40q@db/billing?password=x", "db/billing"),
            ("postgres://u:p@q@db/billing", "db/billing"),
            ("postgresql://127.0.0.1:5432/billing", "127.0.0.1:5432/billing"),
            ("host=db password=secret", "the configured database"),
        ] {
            assert_eq!(address(url), shown);
        }
    }
}

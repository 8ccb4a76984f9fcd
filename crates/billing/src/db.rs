//! The database: a pool of connections with deadlines, and the migrations.
//!
//! A pool of one connection is enough for everything here: no function that holds a connection asks for another. (The
//! embedded PostgreSQL of `billing standalone` has exactly one.)

mod difference;
mod statements;

use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use chrono::{DateTime, Utc};
use dial::postgres::{Address, ConnectError, Dialer, Sessions, check_sessions, code_of, is_passing};
use diesel::ConnectionError;
use diesel::result::{DatabaseErrorKind, Error as QueryError};
use diesel_async::pooled_connection::deadpool::{Object, Pool, PoolError};
use diesel_async::pooled_connection::{
    AsyncDieselConnectionManager, ManagerConfig, PoolError as Establish, RecyclingMethod,
};
use diesel_async::{AsyncConnection as _, AsyncMigrationHarness, AsyncPgConnection, SimpleAsyncConnection};
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};
use futures_util::FutureExt;

use self::difference::{Following, measure};
use self::statements::Statements;
use crate::clock::Difference;

/// Every change of the schema, in order; compiled in.
pub const MIGRATIONS: EmbeddedMigrations = embed_migrations!("../../migrations");

/// How long one connection may take to be made. The embedded PostgreSQL starts a backend for it, which takes seconds on a
/// busy machine, and begins anew when it is given up.
const CONNECT_WITHIN: Duration = Duration::from_secs(15);
/// How long the server may owe an answer. It ends statements itself after half of this, so it is gone.
const ANSWER_WITHIN: Duration = Duration::from_secs(60);
/// How long a caller waits for a connection of the pool.
const WAIT_WITHIN: Duration = Duration::from_secs(30);

/// No transaction here lasts more than milliseconds; these only bound what goes wrong. Times are read and written in
/// UTC whatever the server's own setting.
const SESSION: &str = "set timezone = 'UTC';
    set statement_timeout = '30s';
    set lock_timeout = '10s';
    set idle_in_transaction_session_timeout = '60s'";

/// A connection out of the pool; goes back when dropped. Of what keeps traces each of its statements is a span.
pub struct Conn {
    object: Object<AsyncPgConnection>,
}

impl Deref for Conn {
    type Target = AsyncPgConnection;

    fn deref(&self) -> &AsyncPgConnection {
        &self.object
    }
}

impl DerefMut for Conn {
    fn deref_mut(&mut self) -> &mut AsyncPgConnection {
        &mut self.object
    }
}

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
            QueryError::DatabaseError(_, said) if code_of(said.message()).is_some_and(|code| is_passing(&code)) => {
                Self::Unavailable(error.to_string())
            }
            _ => Self::Query(error),
        }
    }
}

/// An address that refuses us comes as an invalid one.
impl From<ConnectionError> for DbError {
    fn from(error: ConnectionError) -> Self {
        match error {
            ConnectionError::InvalidConnectionUrl(reason) => Self::Refused(reason),
            ConnectionError::CouldntSetupConfiguration(error) => error.into(),
            other => Self::Unavailable(other.to_string()),
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
    maker: Arc<Maker>,
    max: usize,
    address: String,
    clock: Arc<Difference>,
    following: Arc<OnceLock<Following>>,
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
        let address = Address::parse(url).map_err(DbError::Refused)?.application_name("billing");
        let shown = address.to_string();
        let dialer = Dialer::new(address, CONNECT_WITHIN).map_err(DbError::Refused)?;
        let maker = Arc::new(Maker {
            dialer: dialer.answer_within(ANSWER_WITHIN).with_codes(),
            // One that is the only one the server may have is not compared with another.
            compared: AtomicBool::new(max <= 1),
        });
        let max = max.max(1);
        let pool = pool(&maker, max)?;
        let db = Self { pool, maker, max, address: shown, clock: Arc::default(), following: Arc::default() };
        measure(&mut *db.conn().await?, &db.clock).await?;
        Ok(db)
    }

    /// The same database with up to `max` connections of its own, for what must not wait behind others. Where the
    /// database has one connection only, that is shared.
    ///
    /// # Errors
    /// [`DbError::Refused`].
    pub fn beside(&self, max: usize) -> Result<Self, DbError> {
        if self.max == 1 {
            return Ok(self.clone());
        }
        let max = max.max(1);
        Ok(Self { pool: pool(&self.maker, max)?, max, ..self.clone() })
    }

    /// How many connections there may be.
    #[must_use]
    pub fn size(&self) -> usize {
        self.max
    }

    /// The present, by the clock of the database: of all clocks the one that counts. As it was when it was last compared
    /// with ours, at the connection and, if it is [followed](Self::follow_clock), since.
    #[must_use]
    pub fn now(&self) -> DateTime<Utc> {
        self.clock.now()
    }

    /// Compares the clock of the database with ours from now on, and warns of one that is wrong.
    pub fn follow_clock(&self) {
        let (pool, clock) = (self.pool.clone(), Arc::clone(&self.clock));
        self.following.get_or_init(|| Following::start(pool, clock));
    }

    /// A connection. Whoever has one does not ask for another before giving it back.
    ///
    /// # Errors
    /// [`DbError::Unavailable`] after half a minute of waiting, or when none can be made.
    pub async fn conn(&self) -> Result<Conn, DbError> {
        match tokio::time::timeout(WAIT_WITHIN, self.pool.get()).await {
            Ok(conn) => Ok(Conn { object: conn? }),
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
        let mut harness = AsyncMigrationHarness::new(conn.object);
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

/// What to do about a pooler.
const MIXED: &str = "a pooler in transaction mode is in between that does not keep prepared statements apart: a statement \
    could be answered by that of another client. Use PgBouncer 1.21 or later with max_prepared_statements (in 1.24 and \
    later on by default), its session mode (pool_mode = session), or the address of PostgreSQL itself";

fn pool(maker: &Arc<Maker>, max: usize) -> Result<Pool<AsyncPgConnection>, DbError> {
    let maker = Arc::clone(maker);
    let mut config = ManagerConfig::default();
    // The driver tells when a connection is dead, so no round trip is spent on asking.
    config.recycling_method = RecyclingMethod::Fast;
    config.custom_setup = Box::new(move |_| {
        let maker = Arc::clone(&maker);
        async move { maker.establish().await }.boxed()
    });
    // The address is the maker's: what the manager has of it nobody needs.
    let manager = AsyncDieselConnectionManager::new_with_config("", config);
    Pool::builder(manager).max_size(max).build().map_err(|error| DbError::Refused(error.to_string()))
}

/// Makes the connections of a pool.
struct Maker {
    dialer: Dialer,
    /// Whether two connections were compared: see [`check_sessions`].
    compared: AtomicBool,
}

impl Maker {
    async fn establish(&self) -> Result<AsyncPgConnection, ConnectionError> {
        let refused = |reason: &str| ConnectionError::InvalidConnectionUrl(reason.to_owned());
        let connecting = async {
            let link = self.dialer.connect().await.map_err(|error| match error {
                ConnectError::Refused(reason) => ConnectionError::InvalidConnectionUrl(reason),
                ConnectError::Unavailable(reason) => ConnectionError::BadConnection(reason),
            })?;
            let second = (!self.compared.load(Ordering::Relaxed)).then_some(&self.dialer);
            let sessions = check_sessions(&link.client, second).await;
            match sessions.map_err(|error| ConnectionError::BadConnection(dial::postgres::describe(&error)))? {
                Sessions::Mixed => return Err(refused(MIXED)),
                Sessions::Own | Sessions::Shared => self.compared.store(true, Ordering::Relaxed),
            }
            let mut conn = AsyncPgConnection::try_from(link.client).await?;
            conn.batch_execute(SESSION).await.map_err(ConnectionError::CouldntSetupConfiguration)?;
            conn.set_instrumentation(Statements::default());
            Ok(conn)
        };
        tokio::time::timeout(CONNECT_WITHIN, connecting)
            .await
            .unwrap_or_else(|_| Err(ConnectionError::BadConnection(format!("no answer within {CONNECT_WITHIN:?}"))))
    }
}

/// Servers and database of an address, for messages about it; never its user or password.
pub(crate) fn address(url: &str) -> String {
    Address::parse(url).map_or_else(|_| dial::address::unusable(url), |address| address.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_never_shows_the_password() {
        for (url, shown) in [
            ("postgres://u:p@db:5432/billing", "db:5432/billing"),
            ("postgres://u:p%40q@db/billing?password=x", "db:5432/billing"),
            ("postgres://u:p@q@db/billing", "db:5432/billing"),
            ("postgres://u:p#q@db/billing", "db:5432/billing"),
            ("postgres://u:p?q@db/billing", "db:5432/billing"),
            ("postgres://u:1/q@db/billing", "db:5432/billing"),
            ("postgresql://127.0.0.1:5432/billing", "127.0.0.1:5432/billing"),
            ("postgres://u:p@one,two:7/billing", "one:5432,two:7/billing"),
            ("host=db password=secret dbname=billing", "db:5432/billing"),
            ("postgres://u:p@db:port/billing", "postgres://…"),
            ("nonsense", "the address"),
        ] {
            assert_eq!(address(url), shown, "{url}");
        }
    }
}

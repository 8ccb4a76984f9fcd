//! What every role needs: database, queue, keys. One per process, shared by all roles in it.

use std::sync::Arc;
use std::time::Duration;

use celeriac::App;
use celeriac::app::{BuildError, QueueType};
use celeriac::backend::BackendError;
use celeriac::broker::BrokerError;
use celeriac::trace::Propagator;
use chrono_tz::Tz;
use clap::{Args, ValueEnum};
use secrecy::{ExposeSecret, SecretString};
use tokio::time::Instant;

use crate::bell::Bell;
use crate::cipher::Cipher;
use crate::db::{self, Db, DbError};
use crate::store::keys::{self, NotAdmitted};
use crate::times::{Times, TimesConfig};

/// Connections to the outside and the keys. Cheap to clone.
#[derive(Clone)]
pub struct Services {
    pub db: Db,
    pub app: App,
    pub cipher: Cipher,
    /// Rung after each commit that wrote events.
    pub bell: Bell,
    /// On whose wall clocks new accounts count their days.
    pub time_zone: Tz,
    /// Where results are; it is where beats agree on who sends, too.
    pub result_backend: SecretString,
    /// How long the gateway may take, and when it is asked.
    pub times: Times,
}

/// Where the services are.
#[derive(Debug, Clone, Args)]
pub struct ServicesConfig {
    /// PostgreSQL, as libpq writes it: several servers `postgres://user:password@one:5432,two:5432/billing`, of which the
    /// one that takes writes is used, each within `connect_timeout` (3 seconds by default); TLS by
    /// `?sslmode=verify-full&sslrootcert=ca.pem`, with `sslcert` and `sslkey` for a certificate of our own. Behind a pooler in
    /// transaction mode only with PgBouncer 1.21 or later and `max_prepared_statements`
    #[arg(
        long,
        env = "DATABASE_URL",
        default_value = "postgres://postgres@127.0.0.1:5432/billing",
        hide_env_values = true
    )]
    pub database_url: SecretString,

    /// Connections of this process to PostgreSQL
    #[arg(long, env = "DATABASE_POOL_SIZE", default_value_t = 10, value_parser = pool_size)]
    pub database_pool_size: usize,

    /// RabbitMQ, several servers with `;` between their addresses, or `memory://<name>` inside the process
    #[arg(long, env = "BROKER_URL", default_value = "amqp://guest:guest@127.0.0.1:5672//", hide_env_values = true)]
    pub broker_url: SecretString,

    /// Redis (`redis://`, `rediss://` with TLS, `sentinel://one;two/0?master_name=…`), PostgreSQL (`postgresql://`, as
    /// DATABASE_URL), or `memory://<name>` inside the process
    #[arg(long, env = "RESULT_BACKEND", default_value = "redis://127.0.0.1:6379/0", hide_env_values = true)]
    pub result_backend: SecretString,

    /// How RabbitMQ keeps the queues; they cannot be changed once they exist
    #[arg(long, env = "QUEUE_TYPE", value_enum, default_value_t = QueueKind::Quorum)]
    pub queue_type: QueueKind,

    /// How long sending a task waits for a broker that cannot be reached
    #[arg(long, env = "PUBLISH_TIMEOUT", default_value = "10s", value_parser = crate::duration::parse)]
    pub publish_timeout: Duration,

    /// The largest message that is sent, and the largest that RabbitMQ should take (its max_message_size): from 64KiB to
    /// 512MiB
    #[arg(long, env = "MAX_MESSAGE_SIZE", default_value = "16MiB", value_parser = message_size, value_name = "SIZE")]
    pub max_message_size: usize,

    /// The largest result of a task that is stored; a task with a larger one fails [default: as --max-message-size]
    #[arg(long, env = "MAX_RESULT_SIZE", value_parser = message_size, value_name = "SIZE")]
    pub max_result_size: Option<usize>,

    /// Keys for card tokens and cryptograms, `id:base64[,id:base64…]` of 32 bytes each; the first seals, all open. The
    /// default is known to everybody: for a laptop only
    #[arg(long, env = "ENCRYPTION_KEYS", default_value = LOCAL_KEYS, hide_env_values = true, hide_default_value = true)]
    pub encryption_keys: SecretString,

    /// The zone on whose wall clocks the days and months of new accounts are counted
    #[arg(long, env = "BILLING_TIME_ZONE", default_value = "Europe/Moscow")]
    pub billing_time_zone: Tz,

    /// How long to go on trying to reach the services at start
    #[arg(long, env = "CONNECT_WITHIN", default_value = "60s", value_parser = crate::duration::parse)]
    pub connect_within: Duration,

    #[command(flatten)]
    pub times: TimesConfig,

    #[arg(skip)]
    metrics: bool,

    #[arg(skip)]
    propagator: Option<Arc<dyn Propagator>>,
}

/// See [`QueueType`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum QueueKind {
    /// Replicated.
    Quorum,
    /// On one node, as Celery declares them.
    Classic,
}

const LOCAL_KEYS: &str = "local:bG9jYWwga2V5LCBub3QgYSBzZWNyZXQgYXQgYWxsLi4=";

fn pool_size(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(size @ 1..=1_000) => Ok(size),
        _ => Err("expected a number from 1 to 1000".to_owned()),
    }
}

/// More than 512 MiB no RabbitMQ takes.
fn message_size(text: &str) -> Result<usize, String> {
    const WRONG: &str = "expected a size from 64KiB to 512MiB; a number alone is KiB";
    let bytes = crate::size::parse(text).ok().filter(|bytes| (64 << 10..=512 << 20).contains(bytes));
    bytes.and_then(|bytes| usize::try_from(bytes).ok()).ok_or_else(|| WRONG.to_owned())
}

/// Why the services could not be had. Each names the setting; none shows a password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ServicesError {
    /// The setting is wrong: trying again changes nothing.
    #[error("{variable}: {problem}")]
    Setting { variable: &'static str, problem: String },
    /// Nobody answered in time.
    #[error("{variable}: not reachable within {within:?}: {problem}")]
    Unreachable { variable: &'static str, within: Duration, problem: String },
}

impl ServicesConfig {
    /// Keeps figures of tasks ([`celeriac::metrics`]) with the recorder that is installed.
    #[must_use]
    pub fn with_metrics(mut self, metrics: bool) -> Self {
        self.metrics = metrics;
        self
    }

    /// Takes tasks into the traces that this keeps, if there is one ([`celeriac::trace`]).
    #[must_use]
    pub fn with_propagator(mut self, propagator: Option<Arc<dyn Propagator>>) -> Self {
        self.propagator = propagator;
        self
    }

    /// Connects to everything, again and again until [`ServicesConfig::connect_within`] is over.
    ///
    /// # Errors
    /// [`ServicesError`].
    pub async fn connect(self) -> Result<Services, ServicesError> {
        let cipher = self.cipher()?;
        let times = self
            .times
            .times()
            .map_err(|error| ServicesError::Setting { variable: error.variable(), problem: error.to_string() })?;
        let mut patience = Patience::new(self.connect_within);
        let db = self.database(&mut patience).await?;
        db.follow_clock();
        self.warn_of_the_local_key(&db);
        admit(&db, &cipher, self.connect_within).await?;
        let app = self.app(&mut patience).await?;
        let (time_zone, result_backend) = (self.billing_time_zone, self.result_backend);
        let bell = Bell::new(&app);
        Ok(Services { db, app, cipher, bell, time_zone, result_backend, times })
    }

    /// Connects to broker and result backend alone, likewise.
    ///
    /// # Errors
    /// [`ServicesError`].
    pub async fn connect_app(&self) -> Result<App, ServicesError> {
        self.app(&mut Patience::new(self.connect_within)).await
    }

    /// Connects to the database alone, likewise.
    ///
    /// # Errors
    /// [`ServicesError`].
    pub async fn connect_database(&self) -> Result<Db, ServicesError> {
        self.database(&mut Patience::new(self.connect_within)).await
    }

    /// Reads the keys, without asking whether one is missing.
    ///
    /// # Errors
    /// [`ServicesError::Setting`].
    pub fn cipher(&self) -> Result<Cipher, ServicesError> {
        Cipher::from_keys(&self.encryption_keys)
            .map_err(|error| ServicesError::Setting { variable: "ENCRYPTION_KEYS", problem: error.to_string() })
    }

    async fn database(&self, patience: &mut Patience) -> Result<Db, ServicesError> {
        let url = self.database_url.expose_secret();
        loop {
            let connecting = tokio::time::timeout(patience.left(), Db::connect(url, self.database_pool_size)).await;
            let (passes, problem) = match connecting {
                Ok(Ok(db)) => return Ok(db),
                Ok(Err(error)) => (error.is_transient(), reason(error)),
                Err(_) => (true, "it does not answer".to_owned()),
            };
            let problem = format!("{}: {problem}", db::address(url));
            patience.endure(Trouble { variable: "DATABASE_URL", passes, problem }).await?;
        }
    }

    async fn app(&self, patience: &mut Patience) -> Result<App, ServicesError> {
        let queue_type = match self.queue_type {
            QueueKind::Quorum => QueueType::Quorum,
            QueueKind::Classic => QueueType::Classic,
        };
        loop {
            let builder = match &self.propagator {
                Some(propagator) => App::builder().propagator(Arc::clone(propagator)),
                None => App::builder(),
            };
            let building = builder
                .broker(self.broker_url.expose_secret())
                .backend(self.result_backend.expose_secret())
                .queue_type(queue_type)
                .publish_timeout(self.publish_timeout)
                .metrics(self.metrics)
                .max_message_size(self.max_message_size)
                .max_result_size(self.max_result_size.unwrap_or(self.max_message_size))
                .connect_timeout(patience.one_attempt())
                .build();
            match building.await {
                Ok(app) => return Ok(app),
                Err(error) => patience.endure(Trouble::from(error)).await?,
            }
        }
    }

    fn warn_of_the_local_key(&self, db: &Db) {
        const LAPTOP: [&str; 3] = ["127.0.0.1", "localhost", "[::1]"];
        let local = LAPTOP.iter().any(|host| db.address().starts_with(host));
        if self.encryption_keys.expose_secret() == LOCAL_KEYS && !local {
            tracing::warn!("ENCRYPTION_KEYS is not set: card tokens are sealed with a key that everybody knows");
        }
    }
}

/// Whether this process may begin with its keys.
///
/// # Errors
/// [`ServicesError`]: a key is missing that is needed, or is another than it was.
pub async fn admit(db: &Db, cipher: &Cipher, within: Duration) -> Result<(), ServicesError> {
    let refused = |error: NotAdmitted| match error {
        NotAdmitted::Store(error) => {
            ServicesError::Unreachable { variable: "DATABASE_URL", within, problem: error.to_string() }
        }
        error => ServicesError::Setting { variable: "ENCRYPTION_KEYS", problem: error.to_string() },
    };
    let mut conn = db.conn().await.map_err(|error| refused(NotAdmitted::Store(error.into())))?;
    keys::admit(&mut conn, cipher, db.now()).await.map_err(refused)
}

/// Trying again with growing pauses, until a deadline.
struct Patience {
    within: Duration,
    deadline: Instant,
    pause: Duration,
}

impl Patience {
    const FIRST_PAUSE: Duration = Duration::from_millis(200);
    const LONGEST_PAUSE: Duration = Duration::from_secs(5);

    fn new(within: Duration) -> Self {
        Self { within, deadline: Instant::now() + within, pause: Self::FIRST_PAUSE }
    }

    /// What is left of the time: a server that is mute has no more of it than one that refuses.
    fn left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now()).max(Self::FIRST_PAUSE)
    }

    /// How long one attempt may take.
    fn one_attempt(&self) -> Duration {
        self.left().min(Self::LONGEST_PAUSE)
    }

    /// Says what is wrong and pauses, unless it is hopeless or the time is over.
    async fn endure(&mut self, trouble: Trouble) -> Result<(), ServicesError> {
        let Trouble { variable, passes, problem } = trouble;
        if !passes {
            return Err(ServicesError::Setting { variable, problem });
        }
        if Instant::now() + self.pause >= self.deadline {
            return Err(ServicesError::Unreachable { variable, within: self.within, problem });
        }
        tracing::warn!(setting = variable, retry_in = ?self.pause, "{problem}");
        tokio::time::sleep(self.pause).await;
        self.pause = (self.pause * 2).min(Self::LONGEST_PAUSE);
        Ok(())
    }
}

/// One attempt that failed.
struct Trouble {
    variable: &'static str,
    passes: bool,
    problem: String,
}

impl From<BuildError> for Trouble {
    fn from(error: BuildError) -> Self {
        let (variable, passes) = match &error {
            BuildError::Broker(error) => ("BROKER_URL", matches!(error, BrokerError::Timeout { .. })),
            BuildError::Backend(error) => ("RESULT_BACKEND", matches!(error, BackendError::Unavailable { .. })),
            BuildError::Missing(_) | BuildError::Route(_) => ("BROKER_URL", false),
        };
        Self { variable, passes, problem: error.to_string() }
    }
}

/// What PostgreSQL or the network said, without our own words around it.
fn reason(error: DbError) -> String {
    match error {
        DbError::Unavailable(said) | DbError::Refused(said) | DbError::Migration(said) => said,
        DbError::Query(error) => error.to_string(),
    }
}

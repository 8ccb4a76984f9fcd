//! What every role needs: database, queue, keys. One per process, shared by all roles in it.

use std::time::Duration;

use celeriac::{App, BuildError, QueueType};
use chrono_tz::Tz;
use clap::{Args, ValueEnum};
use secrecy::{ExposeSecret, SecretString};
use tokio::time::Instant;

use crate::cipher::{Cipher, CipherError};
use crate::db::{Db, DbError};
use crate::duration;

/// Connections to the outside and the keys. Cheap to clone.
#[derive(Clone)]
pub struct Services {
    pub db: Db,
    pub app: App,
    pub cipher: Cipher,
    /// On whose wall clocks new accounts count their days.
    pub time_zone: Tz,
}

/// Where the services are.
#[derive(Debug, Clone, Args)]
pub struct ServicesConfig {
    /// `PostgreSQL`
    #[arg(
        long,
        env = "DATABASE_URL",
        default_value = "postgres://billing:billing@127.0.0.1:5432/billing",
        hide_env_values = true,
        value_name = "URL"
    )]
    pub database_url: SecretString,

    /// Connections of this process to the database
    #[arg(long, env = "DATABASE_POOL_SIZE", default_value_t = 10, value_name = "N")]
    pub database_pool_size: usize,

    /// The message broker: amqp://, amqps:// or memory://NAME
    #[arg(
        long,
        env = "BROKER_URL",
        default_value = "amqp://guest:guest@127.0.0.1:5672//",
        hide_env_values = true,
        value_name = "URL"
    )]
    pub broker_url: SecretString,

    /// Where results of tasks are kept: redis:// or memory://NAME
    #[arg(
        long,
        env = "RESULT_BACKEND",
        default_value = "redis://127.0.0.1:6379/0",
        hide_env_values = true,
        value_name = "URL"
    )]
    pub result_backend: SecretString,

    /// How the broker keeps our queues: replicated, or on one node
    #[arg(long, env = "QUEUE_TYPE", default_value = "quorum", value_name = "TYPE")]
    pub queue_type: Queues,

    /// How long sending a task waits for a broker that is away
    #[arg(long, env = "PUBLISH_TIMEOUT", default_value = "10s", value_parser = duration::parse, value_name = "DURATION")]
    pub publish_timeout: Duration,

    /// id:base64 of 32 bytes, separated by commas: the first seals tokens and cryptograms, all open them
    #[arg(
        long,
        env = "ENCRYPTION_KEYS",
        default_value = LOCAL_KEYS,
        hide_env_values = true,
        hide_default_value = true,
        value_name = "KEYS"
    )]
    pub encryption_keys: SecretString,

    /// The zone on whose wall clocks days and months are counted
    #[arg(long, env = "BILLING_TIME_ZONE", default_value = "Europe/Moscow", value_name = "ZONE")]
    pub billing_time_zone: Tz,

    /// How long to go on trying to reach the services at start
    #[arg(long, env = "CONNECT_WITHIN", default_value = "60s", value_parser = duration::parse, value_name = "DURATION")]
    pub connect_within: Duration,
}

/// How the broker keeps our queues.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Queues {
    Quorum,
    Classic,
}

impl From<Queues> for QueueType {
    fn from(queues: Queues) -> Self {
        match queues {
            Queues::Quorum => Self::Quorum,
            Queues::Classic => Self::Classic,
        }
    }
}

/// Known to everybody who reads this: for a laptop and the sandbox only.
const LOCAL_KEYS: &str = "local:bG9jYWwga2V5LCBub3QgYSBzZWNyZXQgYXQgYWxsLi4=";

/// The first pause between two tries; each is twice as long as the one before.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Why the services could not be had. Each names the setting.
#[derive(Debug, thiserror::Error)]
pub enum ServicesError {
    /// The setting is wrong: a person must mend it.
    #[error("{variable}: {problem}")]
    Setting { variable: &'static str, problem: String },
    /// Nobody answered in time.
    #[error("{variable}: not reached within {within:?}: {problem}")]
    Unreachable { variable: &'static str, within: Duration, problem: String },
}

impl ServicesConfig {
    /// Connects to everything, again and again until [`ServicesConfig::connect_within`] is over.
    ///
    /// # Errors
    /// [`ServicesError`].
    pub async fn connect(self) -> Result<Services, ServicesError> {
        if self.encryption_keys.expose_secret() == LOCAL_KEYS {
            tracing::warn!("ENCRYPTION_KEYS is the published default: fit for the sandbox only");
        }
        let cipher = Cipher::from_keys(&self.encryption_keys).map_err(|error: CipherError| ServicesError::Setting {
            variable: "ENCRYPTION_KEYS",
            problem: error.to_string(),
        })?;
        let (db, app) = tokio::try_join!(self.connect_database(), self.connect_queue())?;
        Ok(Services { db, app, cipher, time_zone: self.billing_time_zone })
    }

    /// Connects to the database alone.
    ///
    /// # Errors
    /// [`ServicesError`].
    pub async fn connect_database(&self) -> Result<Db, ServicesError> {
        let url = self.database_url.expose_secret();
        let connecting = async || Db::connect(url, self.database_pool_size).await;
        self.patiently(|_: &DbError| "DATABASE_URL", DbError::is_transient, connecting).await
    }

    async fn connect_queue(&self) -> Result<App, ServicesError> {
        let connecting = async || {
            App::builder()
                .broker(self.broker_url.expose_secret())
                .backend(self.result_backend.expose_secret())
                .queue_type(self.queue_type.into())
                .publish_timeout(self.publish_timeout)
                .connect_timeout(self.connect_within)
                .build()
                .await
        };
        self.patiently(variable_of, BuildError::is_temporary, connecting).await
    }

    /// Tries again while the error is one that may pass and there is time left.
    async fn patiently<T, E: std::fmt::Display>(
        &self,
        variable: impl Fn(&E) -> &'static str,
        may_pass: impl Fn(&E) -> bool,
        connecting: impl AsyncFn() -> Result<T, E>,
    ) -> Result<T, ServicesError> {
        let within = self.connect_within;
        let deadline = Instant::now() + within;
        let mut pause = FIRST_PAUSE;
        loop {
            let error = match connecting().await {
                Ok(connected) => return Ok(connected),
                Err(error) => error,
            };
            let (variable, problem) = (variable(&error), error.to_string());
            if !may_pass(&error) {
                return Err(ServicesError::Setting { variable, problem });
            }
            if Instant::now() + pause > deadline {
                return Err(ServicesError::Unreachable { variable, within, problem });
            }
            tracing::warn!("{variable}: {problem}; trying again in {pause:?}");
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }
}

fn variable_of(error: &BuildError) -> &'static str {
    match error {
        BuildError::Backend(_) => "RESULT_BACKEND",
        BuildError::Broker(_) | BuildError::Missing(_) => "BROKER_URL",
    }
}

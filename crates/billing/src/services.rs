//! What every role needs: database, queue, keys. One per process, shared by all roles in it.

use std::time::Duration;

use chrono_tz::Tz;
use clap::Args;
use secrecy::{ExposeSecret, SecretString};

use crate::cipher::{Cipher, CipherError};
use crate::db::{Db, DbError};

/// Connections to the outside and the keys. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Services {
    pub db: Db,
    pub cipher: Cipher,
    /// On whose wall clocks new accounts count their days.
    pub time_zone: Tz,
}

/// Where the services are.
#[derive(Debug, Clone, Args)]
pub struct ServicesConfig {
    /// PostgreSQL.
    #[arg(
        long,
        env = "DATABASE_URL",
        default_value = "postgres://postgres@127.0.0.1:5432/billing",
        hide_env_values = true
    )]
    pub database_url: SecretString,
    /// Connections to PostgreSQL of this process.
    #[arg(long, env = "DATABASE_POOL_SIZE", default_value_t = 10)]
    pub database_pool_size: usize,
    /// `id:base64[,id:base64…]`: 32 bytes each; the first seals card tokens and cryptograms, all open them.
    #[arg(long, env = "ENCRYPTION_KEYS", default_value = LOCAL_KEYS, hide_env_values = true, hide_default_value = true)]
    pub encryption_keys: SecretString,
    /// The zone on whose wall clocks days and months are counted.
    #[arg(long, env = "BILLING_TIME_ZONE", default_value = "Europe/Moscow")]
    pub billing_time_zone: Tz,
    /// How long to go on trying to reach the services at start.
    #[arg(long, env = "CONNECT_WITHIN", default_value = "60s", value_parser = crate::duration::parse)]
    pub connect_within: Duration,
}

/// Known to everybody who reads this: for a laptop and the sandbox only.
const LOCAL_KEYS: &str = "local:bG9jYWwga2V5LCBub3QgYSBzZWNyZXQgYXQgYWxsLi4=";

/// Why the services could not be had. Each names the setting.
#[derive(Debug, thiserror::Error)]
pub enum ServicesError {
    /// The setting is wrong: a person must mend it.
    #[error("{variable}: {problem}")]
    Setting { variable: &'static str, problem: String },
    /// Nobody answered in time.
    #[error("{variable}: {address} did not answer within {within:?}: {problem}")]
    Unreachable { variable: &'static str, address: String, within: Duration, problem: String },
}

impl ServicesConfig {
    /// Connects to everything, again and again until [`ServicesConfig::connect_within`] is over.
    ///
    /// # Errors
    /// [`ServicesError`].
    pub async fn connect(self) -> Result<Services, ServicesError> {
        let cipher = Cipher::from_keys(&self.encryption_keys).map_err(|error: CipherError| ServicesError::Setting {
            variable: "ENCRYPTION_KEYS",
            problem: error.to_string(),
        })?;
        let db = Db::connect(self.database_url.expose_secret(), self.database_pool_size).await.map_err(
            |error: DbError| ServicesError::Setting { variable: "DATABASE_URL", problem: error.to_string() },
        )?;
        Ok(Services { db, cipher, time_zone: self.billing_time_zone })
    }
}

//! The servers that all contenders share.

use std::env;
use std::path::PathBuf;

use anyhow::{Context, Result};
use redis::aio::MultiplexedConnection;

/// Where they are, as `deploy/local/services.sh exec` says it in the environment.
#[derive(Clone, Debug)]
pub struct Servers {
    pub amqp: String,
    pub redis: String,
    pub postgres: String,
    /// The program.
    pub pgbench: PathBuf,
    pub postgres_pid: u32,
    pub broker_pid: u32,
    pub redis_pid: u32,
    pub python: PathBuf,
}

impl Servers {
    pub fn from_env() -> Result<Self> {
        let get = |name: &str| env::var(name).with_context(|| format!("{name} is not set: run this by `make bench`"));
        Ok(Self {
            amqp: format!("{}/%2f", get("TEST_AMQP_URL")?),
            redis: format!("{}/15", get("TEST_REDIS_URL")?),
            postgres: get("TEST_DATABASE_URL")?,
            pgbench: get("TEST_PGBENCH")?.into(),
            postgres_pid: get("TEST_POSTGRES_PID")?.parse()?,
            broker_pid: get("TEST_RABBITMQ_PID")?.parse()?,
            redis_pid: get("TEST_REDIS_PID")?.parse()?,
            python: get("TEST_PYTHON")?.into(),
        })
    }

    pub async fn redis(&self) -> Result<MultiplexedConnection> {
        let config = redis::AsyncConnectionConfig::new().set_response_timeout(None);
        let client = redis::Client::open(self.redis.as_str())?;
        Ok(client.get_multiplexed_async_connection_with_config(&config).await?)
    }
}

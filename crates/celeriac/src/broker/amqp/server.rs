//! One server of an address, and one attempt to connect to it.

use std::time::Duration;

use deadpool_lapin::{Manager, Pool};
use lapin::ConnectionProperties;
use tokio::time::timeout;

use super::error::{reason, refusal};
use super::socket::{self, Pulse};
use super::topology::{Remembered, restore};
use crate::broker::ConnectOptions;
use crate::broker::url::Endpoint;

/// What RabbitMQ offers by default, said up front: lapin then has its buffers right from the start.
const FRAME_MAX: u32 = 131_072;

/// Where to connect, and how.
pub(super) struct Server {
    /// Without the password.
    pub(super) address: String,
    pool: Pool,
    connect_timeout: Duration,
}

/// Why there is no connection.
#[derive(Clone, Default)]
pub(super) struct Failure {
    pub(super) reason: String,
    /// The broker answered, and said no.
    pub(super) refused: bool,
}

impl Server {
    pub(super) fn new(role: &str, endpoint: &Endpoint, options: &ConnectOptions, pulse: Pulse) -> Result<Self, String> {
        let name = format!("{} ({role})", options.connection_name);
        let connect_timeout = endpoint.connect_timeout.unwrap_or(options.attempt_timeout);
        let heartbeat = whole_seconds(endpoint.heartbeat.unwrap_or(options.heartbeat));
        // lapin looks after heartbeats itself; this is for what it does not look after.
        let silence = (heartbeat > 0).then(|| connect_timeout.max(3 * Duration::from_secs(heartbeat.into())));
        let properties = move || {
            ConnectionProperties::default()
                .with_connection_name(name.as_str().into())
                .with_client_property("product".into(), "celeriac".into())
                .with_client_property("version".into(), env!("CARGO_PKG_VERSION").into())
        };
        let uri = endpoint.uri(heartbeat, FRAME_MAX);
        let manager = Manager::new(uri, properties, socket::runtime(connect_timeout, silence, pulse));
        // One connection in use, and one that is given up but still held by somebody for a moment.
        let pool = Pool::builder(manager).max_size(2).build().map_err(|error| error.to_string())?;
        Ok(Self { address: endpoint.address(), pool, connect_timeout })
    }

    /// Connects once and declares what must be there.
    pub(super) async fn open(&self, topology: &Remembered) -> Result<deadpool_lapin::Connection, Failure> {
        let opening = async {
            let connection = self.pool.get().await.map_err(|error| match error {
                deadpool_lapin::PoolError::Backend(error) => failure(&error),
                other => Failure { reason: other.to_string(), refused: false },
            })?;
            restore(&connection, &topology.shared()).await.map_err(|error| failure(&error))?;
            Ok(connection)
        };
        timeout(self.connect_timeout, opening).await.unwrap_or_else(|_| {
            let reason = format!("no answer within {:?}", self.connect_timeout);
            Err(Failure { reason, refused: false })
        })
    }
}

/// AMQP counts heartbeats in seconds. What is less than one is one: 0 would leave the choice to the broker.
fn whole_seconds(duration: Duration) -> u16 {
    u16::try_from(duration.as_millis().div_ceil(1000)).unwrap_or(u16::MAX)
}

fn failure(error: &lapin::Error) -> Failure {
    match refusal(error) {
        Some(reason) => Failure { reason, refused: true },
        None => Failure { reason: reason(error), refused: false },
    }
}

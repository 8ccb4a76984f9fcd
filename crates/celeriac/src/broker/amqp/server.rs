//! One server of an address, and one attempt to connect to it.

use std::time::Duration;

use deadpool_lapin::{Manager, Pool};
use lapin::ConnectionProperties;
use tokio::time::timeout;

use super::error::{reason, refusal};
use super::present::all_there;
use super::socket::{self, Pulse};
use super::topology::{Remembered, restore};
use crate::broker::ConnectOptions;
use crate::broker::url::Endpoint;

/// What RabbitMQ offers by default, said up front: lapin then has its buffers right from the start.
const FRAME_MAX: u32 = 131_072;

/// A broker sends a heartbeat twice in the agreed time, when it has nothing else to say.
const SILENCE: f64 = 1.5;
/// Less is no silence on a busy machine.
const SHORTEST_SILENCE: Duration = Duration::from_secs(3);
/// What one of several servers may take at first: one that answers does so in milliseconds.
const ONE_OF_SEVERAL: Duration = Duration::from_secs(3);
/// How long a broker may take to say goodbye to a connection that is not wanted.
const GOODBYE: Duration = Duration::from_secs(1);

/// Where to connect, and how.
pub(super) struct Server {
    /// Without the password.
    pub(super) address: String,
    pool: Pool,
    connect_timeout: Duration,
    /// The address says how long it may take.
    is_given: bool,
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
        // lapin waits for twice the heartbeat.
        let silence = Duration::from_secs(heartbeat.into()).mul_f64(SILENCE).max(SHORTEST_SILENCE);
        let silence = (heartbeat > 0).then_some(silence);
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
        let is_given = endpoint.connect_timeout.is_some();
        Ok(Self { address: endpoint.address(), pool, connect_timeout, is_given })
    }

    /// How long an attempt may take in the given round over so many servers.
    fn limit(&self, servers: usize, round: u32) -> Duration {
        if self.is_given || servers == 1 {
            return self.connect_timeout;
        }
        self.connect_timeout.min(ONE_OF_SEVERAL.saturating_mul(1 << round.min(5)))
    }

    /// Connects once, as one of so many `servers` in the given `round`, and declares what must be there and is not.
    pub(super) async fn open(
        &self,
        topology: &Remembered,
        servers: usize,
        round: u32,
    ) -> Result<deadpool_lapin::Connection, Failure> {
        let limit = self.limit(servers, round);
        let opening = async {
            let connection = self.pool.get().await.map_err(|error| match error {
                deadpool_lapin::PoolError::Backend(error) => failure(&error),
                other => Failure { reason: other.to_string(), refused: false },
            })?;
            let connection = Trial(Some(connection));
            let shared = topology.shared();
            let declared = async {
                if !all_there(&connection, &shared).await? {
                    restore(&connection, &shared).await?;
                }
                Ok(())
            };
            declared.await.map_err(|error| failure(&error))?;
            Ok(connection)
        };
        match timeout(limit, opening).await {
            Ok(opened) => opened.and_then(|connection| connection.passed().ok_or_else(Failure::default)),
            Err(_) => Err(Failure { reason: format!("no answer within {limit:?}"), refused: false }),
        }
    }
}

/// A connection that is not known to be good. Unless it passes it is closed, and does not go back to the pool.
struct Trial(Option<deadpool_lapin::Connection>);

impl Trial {
    fn passed(mut self) -> Option<deadpool_lapin::Connection> {
        self.0.take()
    }
}

impl std::ops::Deref for Trial {
    type Target = lapin::Connection;

    fn deref(&self) -> &lapin::Connection {
        self.0.as_ref().expect("it is here until it has passed or is dropped")
    }
}

impl Drop for Trial {
    fn drop(&mut self) {
        if let Some(connection) = self.0.take() {
            let connection = deadpool_lapin::Connection::take(connection);
            // Without a runtime the program ends, and the connection with it.
            if let Ok(runtime) = tokio::runtime::Handle::try_current() {
                runtime.spawn(async move { timeout(GOODBYE, connection.close(200, "OK".into())).await });
            }
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn of_several_servers_each_gets_a_little_time_first_and_more_with_every_round() {
        let options = ConnectOptions::default();
        let server = |url: &str| {
            let Ok(crate::broker::url::Target::Amqp(endpoints)) = crate::broker::url::parse(url) else {
                panic!("{url}");
            };
            Server::new("test", &endpoints[0], &options, Pulse::default()).unwrap()
        };
        let seconds = Duration::from_secs;
        let plain = server("amqp://h");
        assert_eq!(plain.limit(1, 0), seconds(10));
        assert_eq!([0, 1, 2, 9].map(|round| plain.limit(3, round)), [3, 6, 10, 10].map(seconds));
        assert_eq!(server("amqp://h?connect_timeout=4").limit(3, 0), seconds(4));
    }
}

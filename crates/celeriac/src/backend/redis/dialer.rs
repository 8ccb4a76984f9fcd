//! Making connections to Redis: to the server that is asked for among several, each within a limit of its own.

use std::sync::Arc;
use std::time::Duration;

use dial::socket::{KeepAlive, connect_to, share};
use dial::tls::{Connector, is_about_trust};
use redis::aio::{MultiplexedConnection, PubSub};
use redis::{AsyncConnectionConfig, ErrorKind, RedisConnectionInfo, RedisError, Value};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout};

use super::address::{Address, Sentinel};
use super::errors::is_hopeless;

/// What one of several servers may take unless the address says it.
const ONE_OF_SEVERAL: Duration = Duration::from_secs(2);

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// Knows the way to the server.
pub(super) struct Dialer {
    address: Address,
    tls: Option<Connector>,
    /// Of one attempt with all servers, and of each answer.
    timeout: Duration,
}

/// A connection, and what drives it.
#[derive(Clone)]
pub(super) struct Opened {
    pub(super) connection: MultiplexedConnection,
    pub(super) since: Instant,
    _driver: Arc<Driver>,
}

/// Ends with the last who use the connection, and the connection with it, however silent the server is.
struct Driver(AbortHandle);

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Dialer {
    /// # Errors
    /// A certificate that the address names cannot be used.
    pub(super) fn new(address: Address, timeout: Duration) -> Result<Self, String> {
        let names = ["ssl_ca_certs", "ssl_certfile", "ssl_keyfile"];
        let tls = address.tls.as_ref().map(|settings| Connector::new(settings, names)).transpose()?;
        Ok(Self { address, tls, timeout })
    }

    /// Connects, resolving all names anew.
    ///
    /// # Errors
    /// Those of the last server that was tried.
    pub(super) async fn connect(&self) -> Result<Opened, RedisError> {
        let deadline = Instant::now() + self.timeout;
        if let Some(sentinel) = &self.address.sentinel {
            let (host, port) = self.ask_sentinels(sentinel, deadline).await?;
            let limit = share(deadline, 1);
            let opened = within(limit, self.open(&host, port, &self.address.info, limit)).await?;
            return self.if_master(opened, limit).await;
        }
        let servers = &self.address.servers;
        let mut failures = Vec::new();
        for (index, (host, port)) in servers.iter().enumerate() {
            let limit = self.limit(deadline, servers.len() - index);
            let reached = within(limit, async {
                let opened = self.open(host, *port, &self.address.info, limit).await?;
                if servers.len() > 1 { self.if_master(opened, limit).await } else { Ok(opened) }
            });
            match reached.await {
                Ok(opened) => return Ok(opened),
                Err(error) if is_hopeless(&error) || servers.len() == 1 => return Err(error),
                Err(error) => failures.push(format!("{host}:{port}: {error}")),
            }
        }
        Err((ErrorKind::Io, "no server can be used", failures.join("; ")).into())
    }

    /// Connects for subscriptions.
    ///
    /// # Errors
    /// As [`connect`](Self::connect).
    pub(super) async fn subscriber(&self) -> Result<PubSub, RedisError> {
        let deadline = Instant::now() + self.timeout;
        let (host, port) = match (&self.address.sentinel, self.address.servers.as_slice()) {
            (Some(sentinel), _) => self.ask_sentinels(sentinel, deadline).await?,
            (None, [only]) => only.clone(),
            (None, servers) => self.master_among(servers, deadline).await?,
        };
        let limit = share(deadline, 1);
        within(limit, async {
            let stream = self.stream(&host, port, limit).await?;
            PubSub::new(&self.address.info, stream).await
        })
        .await
    }

    async fn master_among(&self, servers: &[(String, u16)], deadline: Instant) -> Result<(String, u16), RedisError> {
        let mut last = RedisError::from((ErrorKind::Io, "no server can be used"));
        for (index, (host, port)) in servers.iter().enumerate() {
            let limit = self.limit(deadline, servers.len() - index);
            let reached = within(limit, async {
                let opened = self.open(host, *port, &self.address.info, limit).await?;
                self.if_master(opened, limit).await
            });
            match reached.await {
                Ok(_) => return Ok((host.clone(), *port)),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    async fn ask_sentinels(&self, sentinel: &Sentinel, deadline: Instant) -> Result<(String, u16), RedisError> {
        let sentinels = &self.address.servers;
        let mut failures = Vec::new();
        for (index, (host, port)) in sentinels.iter().enumerate() {
            // Half of the time is left for the server.
            let limit = self.limit(deadline, sentinels.len() - index + 1);
            let asked = within(limit, async {
                let mut sentinels = self.open(host, *port, &sentinel.info, limit).await?;
                let mut question = redis::cmd("SENTINEL");
                question.arg("GET-MASTER-ADDR-BY-NAME").arg(&sentinel.master_name);
                question.query_async::<Option<(String, u16)>>(&mut sentinels.connection).await
            });
            match asked.await {
                Ok(Some(server)) => return Ok(server),
                Ok(None) => failures.push(format!("{host}:{port} watches no master {:?}", sentinel.master_name)),
                Err(error) => failures.push(format!("{host}:{port}: {error}")),
            }
        }
        Err((ErrorKind::Io, "no sentinel knows the server", failures.join("; ")).into())
    }

    fn limit(&self, deadline: Instant, attempts: usize) -> Duration {
        let share = share(deadline, attempts);
        match self.address.connect_timeout {
            Some(limit) => limit.min(share),
            None if self.address.servers.len() > 1 => ONE_OF_SEVERAL.min(share),
            None => share,
        }
    }

    async fn stream(&self, host: &str, port: u16, limit: Duration) -> Result<Box<dyn Stream>, RedisError> {
        let stream = connect_to(host, port, limit, &KeepAlive::default()).await?;
        match &self.tls {
            None => Ok(Box::new(stream)),
            Some(tls) => match tls.connect(host, stream).await {
                Ok(stream) => Ok(Box::new(stream)),
                Err(error) if is_about_trust(&error) => {
                    Err((ErrorKind::InvalidClientConfig, "TLS", error.to_string()).into())
                }
                Err(error) => Err(error.into()),
            },
        }
    }

    async fn open(
        &self,
        host: &str,
        port: u16,
        info: &RedisConnectionInfo,
        limit: Duration,
    ) -> Result<Opened, RedisError> {
        let stream = self.stream(host, port, limit).await?;
        let config = AsyncConnectionConfig::new().set_response_timeout(Some(self.timeout));
        let (connection, driving) = MultiplexedConnection::new_with_config(info, stream, config).await?;
        let driver = Arc::new(Driver(tokio::spawn(driving).abort_handle()));
        Ok(Opened { connection, since: Instant::now(), _driver: driver })
    }

    /// A server that takes writes, as it says itself. Who may not ask is not told, and believed.
    async fn if_master(&self, mut opened: Opened, limit: Duration) -> Result<Opened, RedisError> {
        let role = async { redis::cmd("ROLE").query_async::<Vec<Value>>(&mut opened.connection).await };
        match within(limit, role).await {
            Ok(role) => match role.first() {
                Some(Value::BulkString(role)) if role != b"master" => {
                    Err((ErrorKind::Io, "it is a replica, not the master").into())
                }
                _ => Ok(opened),
            },
            Err(error) if is_hopeless(&error) => Ok(opened),
            Err(error) => Err(error),
        }
    }
}

async fn within<T>(limit: Duration, work: impl Future<Output = Result<T, RedisError>>) -> Result<T, RedisError> {
    timeout(limit, work).await.unwrap_or_else(|_| {
        let late = format!("no answer within {limit:?}");
        Err(std::io::Error::new(std::io::ErrorKind::TimedOut, late).into())
    })
}

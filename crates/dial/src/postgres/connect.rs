//! Making connections: server after server, each within its own limit.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::poll_fn;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};
use tokio_postgres::config::SslMode;
use tokio_postgres::tls::NoTlsStream;
use tokio_postgres::{AsyncMessage, Client, Connection, NoTls, Notification, SimpleQueryMessage};
use tokio_util::sync::CancellationToken;

use super::address::{Address, Server, Wanted};
use super::errors::{ConnectError, describe};
use super::stream::{Carrier, Stream};
use crate::socket::{self, share};
use crate::tls::{Connector, is_about_trust};

/// What one of several servers may take unless the address says it: a server that answers does so in milliseconds.
const ONE_OF_SEVERAL: Duration = Duration::from_secs(3);
/// How many notifications may wait. Above it the connection is given up.
const MAX_NOTIFICATIONS: usize = 4096;
/// `SSLRequest`, the only thing that is said in the clear.
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];

/// Makes connections to one address. Clones share what they know of its servers.
#[derive(Clone)]
pub struct Dialer {
    address: Address,
    tls: Option<Connector>,
    within: Duration,
    answer_within: Option<Duration>,
    with_codes: bool,
    /// The server that was reached last: where the next attempt begins.
    last_good: Arc<AtomicUsize>,
}

/// A connection. It ends when the client is dropped.
pub struct Link {
    /// What asks.
    pub client: Client,
    /// Ends with the connection.
    pub notifications: mpsc::Receiver<Notification>,
    /// Cancelling it drops the connection at once, which a silent server would not let happen otherwise.
    pub kill: CancellationToken,
}

impl fmt::Debug for Dialer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dialer").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Dialer {
    /// Connects to `address` within `within`, over all its servers. Several servers without `target_session_attrs` are
    /// searched for one that takes writes.
    ///
    /// # Errors
    /// A certificate that the address names cannot be used.
    pub fn new(mut address: Address, within: Duration) -> Result<Self, String> {
        let names = ["sslrootcert", "sslcert", "sslkey"];
        let tls = address.tls.as_ref().map(|settings| Connector::new(settings, names)).transpose()?;
        address.config.ssl_mode(SslMode::Disable);
        let last_good = Arc::default();
        Ok(Self { address, tls, within, answer_within: None, with_codes: false, last_good })
    }

    /// A connection on which the server owes an answer for so long is given up.
    #[must_use]
    pub fn answer_within(mut self, limit: Duration) -> Self {
        self.answer_within = Some(limit);
        self
    }

    /// Messages of errors begin with their SQLSTATE: see [`code_of`](super::code_of).
    #[must_use]
    pub fn with_codes(mut self) -> Self {
        self.with_codes = true;
        self
    }

    /// Where this leads.
    #[must_use]
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Connects. A server that is silent, not there or not the kind that is wanted is passed over; one that refuses us is
    /// the end, as in libpq.
    ///
    /// # Errors
    /// [`ConnectError`], of all servers that were tried.
    pub async fn connect(&self) -> Result<Link, ConnectError> {
        let deadline = Instant::now() + self.within;
        let order = self.order();
        let passes: &[Wanted] = match self.address.wanted {
            Wanted::PreferStandby => &[Wanted::Standby, Wanted::Any],
            Wanted::Any if order.len() > 1 => &[Wanted::ReadWrite],
            ref wanted => std::slice::from_ref(wanted),
        };
        let mut attempts = passes.len() * order.len();
        let mut failures = Vec::new();
        for wanted in passes {
            for index in &order {
                let server = &self.address.servers[*index];
                let limit = self.limit(deadline, attempts);
                attempts -= 1;
                let reached = timeout(limit, self.reach(server, limit, *wanted)).await;
                match reached.unwrap_or_else(|_| Err(late(limit))) {
                    Ok(link) => {
                        self.last_good.store(*index, Ordering::Relaxed);
                        return Ok(link);
                    }
                    Err(ConnectError::Refused(reason)) => return Err(ConnectError::Refused(self.told(server, reason))),
                    Err(ConnectError::Unavailable(reason)) => failures.push(self.told(server, reason)),
                }
            }
        }
        Err(ConnectError::Unavailable(failures.join("; ")))
    }

    fn order(&self) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.address.servers.len()).collect();
        if self.address.in_any_order {
            fastrand::shuffle(&mut order);
        } else {
            let count = order.len().max(1);
            order.rotate_left(self.last_good.load(Ordering::Relaxed) % count);
        }
        order
    }

    fn limit(&self, deadline: Instant, attempts: usize) -> Duration {
        let share = share(deadline, attempts);
        match self.address.connect_timeout {
            Some(limit) => limit.min(share),
            None if self.address.servers.len() > 1 => ONE_OF_SEVERAL.min(share),
            None => share,
        }
    }

    /// With the server, where there are several.
    fn told(&self, server: &Server, reason: String) -> String {
        if self.address.servers.len() > 1 { format!("{server}: {reason}") } else { reason }
    }

    async fn reach(&self, server: &Server, limit: Duration, wanted: Wanted) -> Result<Link, ConnectError> {
        let deadline = Instant::now() + limit;
        match server {
            Server::Unix { directory, port } => {
                let path = directory.join(format!(".s.PGSQL.{port}"));
                let stream = UnixStream::connect(path).await.map_err(|error| unavailable(&error))?;
                self.log_in(Carrier::Unix(stream), wanted).await
            }
            Server::Tcp { name, address, port } => {
                let addresses = match address {
                    Some(address) => vec![(*address, *port).into()],
                    None => socket::resolve(name, *port, limit).await.map_err(|error| unavailable(&error))?,
                };
                let mut last = late(limit);
                for (index, address) in addresses.iter().enumerate() {
                    let share = share(deadline, addresses.len() - index);
                    let attempt = async {
                        let stream = socket::connect(*address, share, &self.address.keep_alive).await;
                        let carrier = self.encrypt(name, stream.map_err(|error| unavailable(&error))?).await?;
                        self.log_in(carrier, wanted).await
                    };
                    match timeout(share, attempt).await.unwrap_or_else(|_| Err(late(share))) {
                        Err(ConnectError::Unavailable(reason)) => last = ConnectError::Unavailable(reason),
                        ended => return ended,
                    }
                }
                Err(last)
            }
        }
    }

    async fn encrypt(&self, host: &str, mut stream: TcpStream) -> Result<Carrier, ConnectError> {
        let Some(tls) = &self.tls else { return Ok(Carrier::Tcp(stream)) };
        let asked = async {
            stream.write_all(&SSL_REQUEST).await?;
            stream.read_u8().await
        };
        match asked.await.map_err(|error| unavailable(&error))? {
            b'S' => {}
            b'N' => return Err(ConnectError::Refused("the server does not support TLS".to_owned())),
            _ => return Err(ConnectError::Unavailable("the server did not answer whether it supports TLS".to_owned())),
        }
        match tls.connect(host, stream).await {
            Ok(stream) => Ok(Carrier::Tls(Box::new(stream))),
            Err(error) if is_about_trust(&error) => Err(ConnectError::Refused(format!("TLS: {error}"))),
            Err(error) => Err(ConnectError::Unavailable(format!("TLS: {error}"))),
        }
    }

    async fn log_in(&self, carrier: Carrier, wanted: Wanted) -> Result<Link, ConnectError> {
        let stream = Stream::new(carrier, self.answer_within, self.with_codes);
        let connected = self.address.config.connect_raw(stream, NoTls).await;
        let link = drive(connected.map_err(|error| ConnectError::from_postgres(&error))?);
        look_at(&link.client, wanted).await?;
        Ok(link)
    }
}

/// Whether the server is one that is wanted.
async fn look_at(client: &Client, wanted: Wanted) -> Result<(), ConnectError> {
    const READ_ONLY: &str = "SHOW transaction_read_only";
    const IN_RECOVERY: &str = "SELECT CASE WHEN pg_is_in_recovery() THEN 'on' ELSE 'off' END";
    let (question, right, otherwise) = match wanted {
        Wanted::Any | Wanted::PreferStandby => return Ok(()),
        Wanted::ReadWrite => (READ_ONLY, "off", "it takes no writes"),
        Wanted::ReadOnly => (READ_ONLY, "on", "it takes writes"),
        Wanted::Primary => (IN_RECOVERY, "off", "it is a standby"),
        Wanted::Standby => (IN_RECOVERY, "on", "it is no standby"),
    };
    let answer = client.simple_query(question).await.map_err(|error| ConnectError::from_postgres(&error))?;
    let is_right = answer.iter().any(|message| match message {
        SimpleQueryMessage::Row(row) => row.get(0) == Some(right),
        _ => false,
    });
    if is_right { Ok(()) } else { Err(ConnectError::Unavailable(otherwise.to_owned())) }
}

/// Gives the connection a task of its own.
fn drive((client, mut connection): (Client, Connection<Stream, NoTlsStream>)) -> Link {
    let (sender, notifications) = mpsc::channel(MAX_NOTIFICATIONS);
    let kill = CancellationToken::new();
    let driving = async move {
        let mut messages = poll_fn(move |context| connection.poll_message(context));
        while let Some(message) = messages.next().await {
            match message {
                // Above the limit the connection ends: whoever waits reads again.
                Ok(AsyncMessage::Notification(notification)) if !sender.is_closed() => {
                    if sender.try_send(notification).is_err() {
                        return;
                    }
                }
                Ok(AsyncMessage::Notice(notice)) => tracing::debug!(%notice, "postgresql"),
                Ok(_) => {}
                Err(error) => {
                    tracing::debug!(error = describe(&error), "a connection to postgresql has ended");
                    return;
                }
            }
        }
    };
    tokio::spawn(kill.clone().run_until_cancelled_owned(driving));
    Link { client, notifications, kill }
}

fn late(limit: Duration) -> ConnectError {
    ConnectError::Unavailable(format!("no answer within {limit:?}"))
}

fn unavailable(error: &io::Error) -> ConnectError {
    ConnectError::Unavailable(error.to_string())
}

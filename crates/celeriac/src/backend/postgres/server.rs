//! The server: how connections to it are made, and what its errors mean.

use std::error::Error as _;
use std::io;
use std::time::Duration;

use futures_util::stream::{BoxStream, StreamExt, poll_fn};
use tokio::sync::mpsc;
use tokio_postgres::error::SqlState;
use tokio_postgres::{AsyncMessage, Client, Error, NoTls, Notification};
use tokio_util::sync::CancellationToken;

use super::address;
use super::address::Address;
use super::schema::{self, Tables};
use super::tls::Connector;
use crate::backend::BackendError;

/// How many notifications may wait. Above it the connection is given up: whoever waits then reads again.
const MAX_NOTIFICATIONS: usize = 4096;

pub(crate) struct Server {
    tables: &'static Tables,
    address: Address,
    tls: Option<Connector>,
    pub(super) timeout: Duration,
}

/// One connection, with the tables in place.
pub(super) struct Wire {
    pub(super) client: Client,
    /// Ends with the connection.
    pub(super) notifications: mpsc::Receiver<Notification>,
    /// Cancelling it drops the connection at once, which a silent server would not let happen otherwise.
    pub(super) kill: CancellationToken,
}

impl Server {
    /// # Errors
    /// [`BackendError::Refused`]: nothing can be reached by this address, ever.
    pub(crate) fn new(url: &str, timeout: Duration, tables: &'static Tables) -> Result<Self, BackendError> {
        let refused = |address: &str, reason| BackendError::Refused { address: address.to_owned(), reason };
        let address = address::parse(url, timeout).map_err(|reason| refused("result backend", reason))?;
        let tls = address.tls.as_ref().map(Connector::new).transpose();
        let tls = tls.map_err(|reason| refused(&address.shown, reason))?;
        Ok(Self { tables, address, tls, timeout })
    }

    /// The address without its password.
    pub(super) fn address(&self) -> &str {
        &self.address.shown
    }

    /// Connects and makes sure of the tables.
    ///
    /// # Errors
    /// See [`connect`](crate::backend::connect).
    pub(super) async fn connect(&self) -> Result<Wire, BackendError> {
        let connected = tokio::time::timeout(self.timeout, async {
            let wire = self.wire().await?;
            // The server gives up a little before we do, so that a slow statement costs only itself.
            let limit = (self.timeout - self.timeout / 10).as_millis().max(1);
            wire.client.batch_execute(&format!("SET statement_timeout = {limit}")).await?;
            schema::prepare(&wire.client, self.tables).await?;
            Ok(wire)
        });
        match connected.await {
            Ok(Ok(wire)) => Ok(wire),
            Ok(Err(error)) if is_hopeless(&error) => Err(self.refused(describe(&error))),
            Ok(Err(error)) => Err(self.unavailable(describe(&error))),
            Err(_) => Err(self.unavailable(format!("not connected within {:?}", self.timeout))),
        }
    }

    async fn wire(&self) -> Result<Wire, Error> {
        let config = &self.address.config;
        let (client, messages): (_, BoxStream<'static, _>) = match &self.tls {
            Some(connector) => {
                let (client, mut connection) = config.connect(connector.clone()).await?;
                (client, poll_fn(move |cx| connection.poll_message(cx)).boxed())
            }
            None => {
                let (client, mut connection) = config.connect(NoTls).await?;
                (client, poll_fn(move |cx| connection.poll_message(cx)).boxed())
            }
        };
        let (sender, notifications) = mpsc::channel(MAX_NOTIFICATIONS);
        let kill = CancellationToken::new();
        tokio::spawn(kill.clone().run_until_cancelled_owned(drive(messages, sender)));
        Ok(Wire { client, notifications, kill })
    }

    pub(super) fn unavailable(&self, reason: String) -> BackendError {
        BackendError::Unavailable { address: self.address().to_owned(), reason }
    }

    pub(super) fn refused(&self, reason: String) -> BackendError {
        BackendError::Refused { address: self.address().to_owned(), reason }
    }
}

/// Reads from the connection until its end, which comes with the end of its client.
async fn drive(
    mut messages: BoxStream<'static, Result<AsyncMessage, Error>>,
    notifications: mpsc::Sender<Notification>,
) {
    while let Some(message) = messages.next().await {
        match message {
            Ok(AsyncMessage::Notification(notification)) => {
                if notifications.try_send(notification).is_err() {
                    return;
                }
            }
            Ok(AsyncMessage::Notice(notice)) => tracing::debug!(%notice, "result backend"),
            Ok(_) => {}
            Err(error) => {
                tracing::debug!(error = describe(&error), "connection of the result backend");
                return;
            }
        }
    }
}

/// Whether a connection cannot be made by trying again: no access, no such database, an untrusted certificate.
fn is_hopeless(error: &Error) -> bool {
    match error.code() {
        Some(code) => ["28", "3D", "3F", "42", "0A"].contains(&code.code().get(..2).unwrap_or_default()),
        None => {
            // The kind of an error is only in its text.
            let text = error.to_string();
            (text.contains("TLS") || text.contains("configuration")) && !is_network(error)
        }
    }
}

/// Whether the network was at fault, and not what came over it.
fn is_network(error: &Error) -> bool {
    let io = error.source().and_then(|source| source.downcast_ref::<io::Error>());
    error.is_closed()
        || io.is_some_and(|error| !matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::Other))
}

/// Whether a statement fails because of the values it was given, whatever the state of the server: data exceptions,
/// exceeded limits, constraints, triggers that refuse a row; or because this user may not do that.
pub(super) fn is_about_values(error: &Error) -> bool {
    const CLASSES: [&str; 5] = ["22", "23", "44", "54", "P0"];
    error.code().is_some_and(|code| {
        CLASSES.contains(&code.code().get(..2).unwrap_or_default()) || *code == SqlState::INSUFFICIENT_PRIVILEGE
    })
}

/// Whether a statement may succeed on another connection: this one is closed, its server shuts down or has become a
/// standby, or the tables are not those it was prepared for.
pub(super) fn wants_another_connection(error: &Error) -> bool {
    const CODES: [SqlState; 7] = [
        SqlState::ADMIN_SHUTDOWN,
        SqlState::CRASH_SHUTDOWN,
        SqlState::CANNOT_CONNECT_NOW,
        SqlState::READ_ONLY_SQL_TRANSACTION,
        SqlState::UNDEFINED_TABLE,
        SqlState::UNDEFINED_COLUMN,
        SqlState::FEATURE_NOT_SUPPORTED,
    ];
    match error.code() {
        Some(code) => CODES.contains(code),
        None => is_network(error),
    }
}

/// Whether the same statement may succeed at once: another was in its way.
pub(super) fn wants_another_try(error: &Error) -> bool {
    const CODES: [SqlState; 3] =
        [SqlState::T_R_DEADLOCK_DETECTED, SqlState::T_R_SERIALIZATION_FAILURE, SqlState::UNIQUE_VIOLATION];
    error.code().is_some_and(|code| CODES.contains(code))
}

/// What the server or the network said, without the detail lines, which may quote values.
pub(super) fn describe(error: &Error) -> String {
    match (error.as_db_error(), error.source()) {
        (Some(error), _) => format!("{} ({})", error.message(), error.code().code()),
        (None, Some(source)) => format!("{error}: {source}"),
        (None, None) => error.to_string(),
    }
}

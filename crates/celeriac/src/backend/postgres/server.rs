//! The server: how connections to it are made, and what its errors mean.

use std::time::Duration;

use dial::postgres::{Dialer, Sessions, check_sessions, is_hopeless, is_network};
pub(super) use dial::postgres::{Link as Wire, describe};
use tokio_postgres::Error;
use tokio_postgres::error::SqlState;

use super::address;
use super::schema::{self, Tables};
use crate::backend::BackendError;
use crate::outage::{Reach, Reachability};

/// What to do about a pooler.
const MIXED: &str = "a pooler in transaction mode is in between that does not keep prepared statements apart: results \
    could be those of another task. Use its session mode (PgBouncer: pool_mode = session), PgBouncer 1.21 or later with \
    max_prepared_statements, or the address of the server itself";

pub(crate) struct Server {
    tables: &'static Tables,
    dialer: Dialer,
    shown: String,
    pub(super) timeout: Duration,
    reachability: Reachability,
}

impl Server {
    /// # Errors
    /// [`BackendError::Refused`]: nothing can be reached by this address, ever.
    pub(crate) fn new(url: &str, timeout: Duration, tables: &'static Tables) -> Result<Self, BackendError> {
        let refused = |address: &str, reason| BackendError::Refused { address: address.to_owned(), reason };
        let address = address::parse(url).map_err(|reason| refused("result backend", reason))?;
        let shown = address::shown(&address);
        let dialer = Dialer::new(address, timeout).map_err(|reason| refused(&shown, reason))?;
        let reachability = Reachability::new(tables.server, shown.as_str());
        Ok(Self { tables, dialer, shown, timeout, reachability })
    }

    /// How one more connection tells that it is without the server, and that it is back.
    pub(super) fn reach(&self) -> Reach {
        self.reachability.connection()
    }

    /// The address without its password.
    pub(super) fn address(&self) -> &str {
        &self.shown
    }

    /// Connects, and looks whether the session is ours: for the first time, with a second connection.
    ///
    /// # Errors
    /// See [`connect`](crate::backend::connect).
    pub(super) async fn connect_first(&self) -> Result<Wire, BackendError> {
        let wire = self.connect().await?;
        match check_sessions(&wire.client, Some(&self.dialer)).await {
            Ok(Sessions::Own) => Ok(wire),
            Ok(Sessions::Shared) => {
                tracing::warn!(
                    address = self.shown,
                    "a pooler in transaction mode is in between: who waits for a result sees it up to a second later"
                );
                Ok(wire)
            }
            Ok(Sessions::Mixed) => Err(self.refused(MIXED.to_owned())),
            Err(error) => Err(self.unavailable(describe(&error))),
        }
    }

    /// Connects and makes sure of the tables.
    ///
    /// # Errors
    /// See [`connect`](crate::backend::connect).
    pub(super) async fn connect(&self) -> Result<Wire, BackendError> {
        use dial::postgres::ConnectError::{Refused, Unavailable};

        let wire = self.dialer.connect().await.map_err(|error| match error {
            Refused(reason) => self.refused(reason),
            Unavailable(reason) => self.unavailable(reason),
        })?;
        let prepared = tokio::time::timeout(self.timeout, async {
            // The server gives up a little before we do, so that a slow statement costs only itself.
            let limit = (self.timeout - self.timeout / 10).as_millis().max(1);
            wire.client.batch_execute(&format!("SET statement_timeout = {limit}")).await?;
            schema::prepare(&wire.client, self.tables).await
        });
        match prepared.await {
            Ok(Ok(())) => Ok(wire),
            Ok(Err(error)) if error.code().is_some_and(is_hopeless) => Err(self.refused(describe(&error))),
            Ok(Err(error)) => Err(self.unavailable(describe(&error))),
            Err(_) => Err(self.unavailable(format!("not connected within {:?}", self.timeout))),
        }
    }

    pub(super) fn unavailable(&self, reason: String) -> BackendError {
        BackendError::Unavailable { address: self.address().to_owned(), reason }
    }

    pub(super) fn refused(&self, reason: String) -> BackendError {
        BackendError::Refused { address: self.address().to_owned(), reason }
    }
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
    const CODES: [SqlState; 9] = [
        SqlState::ADMIN_SHUTDOWN,
        SqlState::CRASH_SHUTDOWN,
        SqlState::CANNOT_CONNECT_NOW,
        SqlState::READ_ONLY_SQL_TRANSACTION,
        SqlState::UNDEFINED_TABLE,
        SqlState::UNDEFINED_COLUMN,
        SqlState::FEATURE_NOT_SUPPORTED,
        // Of a pooler that has given the session to somebody else.
        SqlState::INVALID_SQL_STATEMENT_NAME,
        SqlState::DUPLICATE_PSTATEMENT,
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

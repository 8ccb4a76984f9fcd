//! The connection of those who ask and store.

use std::time::Duration;

use parking_lot::Mutex;
use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::{Client, ErrorKind, RedisError};

use super::refusal::is_refusal;
use crate::backend::BackendError;

/// A connection that comes back by itself.
pub(crate) struct Link {
    /// The URL as it may be shown.
    pub(super) address: String,
    pub(super) client: Client,
    timeout: Duration,
    /// Replaced when it stops answering without being closed, which it does not notice by itself.
    connection: Mutex<ConnectionManager>,
}

impl Link {
    /// Connects. `address` is the URL as it may be shown, `timeout` that of every answer.
    ///
    /// # Errors
    /// See [`connect`](crate::backend::connect).
    pub(crate) async fn connect(url: &str, address: String, timeout: Duration) -> Result<Self, BackendError> {
        let client = Client::open(url).map_err(|error| at_start(&address, &error))?;
        let connection = manager(&client, timeout).map_err(|error| at_start(&address, &error))?;
        let ping = async { redis::cmd("PING").exec_async(&mut connection.clone()).await };
        match tokio::time::timeout(timeout, ping).await {
            Ok(Ok(())) => Ok(Self { address, client, timeout, connection: Mutex::new(connection) }),
            Ok(Err(error)) => Err(at_start(&address, &error)),
            Err(_) => Err(unavailable(&address, format!("no answer within {timeout:?}"))),
        }
    }

    pub(crate) fn connection(&self) -> ConnectionManager {
        self.connection.lock().clone()
    }

    /// Tells the caller what to do, and replaces a connection that is silent.
    pub(crate) fn failed(&self, error: &RedisError) -> BackendError {
        if error.is_timeout()
            && let Ok(fresh) = manager(&self.client, self.timeout)
        {
            *self.connection.lock() = fresh;
        }
        if is_refusal(error) {
            return BackendError::Refused { address: self.address.clone(), reason: error.to_string() };
        }
        unavailable(&self.address, error.to_string())
    }
}

/// A connection that reconnects by itself. Attempts are few: whoever needs the result asks again.
fn manager(client: &Client, timeout: Duration) -> Result<ConnectionManager, RedisError> {
    let config = ConnectionManagerConfig::new()
        .set_number_of_retries(1)
        .set_min_delay(Duration::from_millis(50))
        .set_max_delay(Duration::from_millis(500))
        .set_connection_timeout(Some(timeout))
        .set_response_timeout(Some(timeout));
    ConnectionManager::new_lazy_with_config(client.clone(), config)
}

fn unavailable(address: &str, reason: String) -> BackendError {
    BackendError::Unavailable { address: address.to_owned(), reason }
}

/// At the start wrong credentials are hopeless; later they may be a rotation of the password.
fn at_start(address: &str, error: &RedisError) -> BackendError {
    let hopeless = matches!(error.kind(), ErrorKind::AuthenticationFailed | ErrorKind::InvalidClientConfig)
        || matches!(error.code(), Some("NOAUTH" | "WRONGPASS" | "NOPERM"));
    if hopeless {
        BackendError::Refused { address: address.to_owned(), reason: error.to_string() }
    } else {
        unavailable(address, error.to_string())
    }
}

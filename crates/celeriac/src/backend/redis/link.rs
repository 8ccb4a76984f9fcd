//! The connection of those who ask and store.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use parking_lot::Mutex;
use redis::aio::ConnectionLike;
use redis::{Cmd, Pipeline, RedisError, RedisFuture, Value};
use tokio::sync::watch;

use super::address;
use super::dialer::{Dialer, Opened};
use super::errors::{IS_A_CLUSTER, error_in, is_elsewhere, is_hopeless, is_lost, is_of_a_cluster};
use super::refusal::is_refusal;
use crate::backend::BackendError;

/// A server that is not the one to ask is left at most this often: its successor may take a while.
const LEAVE_EVERY: Duration = Duration::from_millis(200);

/// A connection that comes back by itself, to wherever the address leads then.
pub(crate) struct Link {
    /// The URL as it may be shown.
    pub(super) address: String,
    shared: Arc<Inner>,
}

/// One attempt to connect, and then its connection, for all who wait for it.
type Attempt = Shared<BoxFuture<'static, Result<Opened, RedisError>>>;

struct Inner {
    dialer: Arc<Dialer>,
    database: i64,
    /// With a number, so that nobody leaves a connection that was made since.
    attempt: Mutex<(u64, Attempt)>,
    /// How often the server was left for another.
    left: watch::Sender<u64>,
}

impl Link {
    /// Connects. `master_name` is for sentinels, `timeout` that of every answer.
    ///
    /// # Errors
    /// See [`connect`](crate::backend::connect).
    pub(crate) async fn connect(url: &str, master_name: Option<&str>, timeout: Duration) -> Result<Self, BackendError> {
        let refused = |address: &str, reason| BackendError::Refused { address: address.to_owned(), reason };
        let address =
            address::parse(url, master_name).map_err(|reason| refused(&dial::address::unusable(url), reason))?;
        let (shown, database) = (address.shown.clone(), address.info.db());
        let dialer = Arc::new(Dialer::new(address, timeout).map_err(|reason| refused(&shown, reason))?);
        let attempt = Mutex::new((0, attempt(Arc::clone(&dialer))));
        let shared = Arc::new(Inner { dialer, database, attempt, left: watch::Sender::new(0) });
        let link = Self { address: shown, shared };
        match tokio::time::timeout(timeout, link.look()).await {
            Ok(Ok(())) => Ok(link),
            Ok(Err(error)) if is_of_a_cluster(&error) => Err(refused(&link.address, IS_A_CLUSTER.to_owned())),
            Ok(Err(error)) if is_hopeless(&error) => Err(refused(&link.address, error.to_string())),
            Ok(Err(error)) => Err(link.unavailable(error.to_string())),
            Err(_) => Err(link.unavailable(format!("no answer within {timeout:?}"))),
        }
    }

    /// Whether there is a server that can be used.
    async fn look(&self) -> Result<(), RedisError> {
        let mut connection = self.connection();
        redis::cmd("PING").exec_async(&mut connection).await?;
        // Whoever may not ask finds out by the first command.
        let info: Result<String, _> = redis::cmd("INFO").arg("cluster").query_async(&mut connection).await;
        if info.is_ok_and(|info| info.contains("cluster_enabled:1")) {
            return Err((redis::ErrorKind::Client, "MOVED").into());
        }
        Ok(())
    }

    pub(crate) fn connection(&self) -> Connection {
        Connection(Arc::clone(&self.shared))
    }

    /// What makes connections for subscriptions, and tells when they are to be made anew.
    pub(super) fn subscriptions(&self) -> (Arc<Dialer>, watch::Receiver<u64>) {
        (Arc::clone(&self.shared.dialer), self.shared.left.subscribe())
    }

    /// Tells the caller what to do.
    pub(crate) fn failed(&self, error: &RedisError) -> BackendError {
        if is_of_a_cluster(error) {
            return BackendError::Refused { address: self.address.clone(), reason: IS_A_CLUSTER.to_owned() };
        }
        if is_refusal(error) {
            return BackendError::Refused { address: self.address.clone(), reason: error.to_string() };
        }
        self.unavailable(error.to_string())
    }

    fn unavailable(&self, reason: String) -> BackendError {
        BackendError::Unavailable { address: self.address.clone(), reason }
    }
}

fn attempt(dialer: Arc<Dialer>) -> Attempt {
    async move { dialer.connect().await }.boxed().shared()
}

/// Asks over the connection that there is, or over the next one.
#[derive(Clone)]
pub(crate) struct Connection(Arc<Inner>);

#[derive(Clone, Copy)]
enum Request<'a> {
    One(&'a Cmd),
    Many(&'a Pipeline, usize, usize),
}

impl Inner {
    /// Asks; and once more, elsewhere, where the server says that it is not the one to ask.
    async fn ask(&self, request: Request<'_>) -> Result<Vec<Value>, RedisError> {
        let (number, error, answers) = match self.ask_once(request).await {
            (number, Err(error)) => (number, error, None),
            (number, Ok(answers)) => match error_in(&answers) {
                Some(error) => (number, error, Some(answers)),
                None => return Ok(answers),
            },
        };
        let is_elsewhere = is_elsewhere(&error);
        let has_left = (is_elsewhere || is_lost(&error)) && self.leave(number, is_elsewhere);
        if is_elsewhere && has_left {
            return self.ask_once(request).await.1;
        }
        answers.ok_or(error)
    }

    async fn ask_once(&self, request: Request<'_>) -> (u64, Result<Vec<Value>, RedisError>) {
        let (number, attempt) = self.attempt.lock().clone();
        let mut connection = match attempt.await {
            Ok(opened) => opened,
            Err(error) => return (number, Err(error)),
        };
        let answers = match request {
            Request::One(command) => connection.connection.req_packed_command(command).await.map(|answer| vec![answer]),
            Request::Many(pipeline, offset, count) => {
                connection.connection.req_packed_commands(pipeline, offset, count).await
            }
        };
        (number, answers)
    }

    /// The next who asks connects anew. False: somebody has seen to that already, or it was done a moment ago.
    fn leave(&self, number: u64, for_another: bool) -> bool {
        let mut attempt = self.attempt.lock();
        if attempt.0 != number {
            return true;
        }
        let opened = attempt.1.peek().and_then(|opened| opened.as_ref().ok());
        if for_another && opened.is_some_and(|opened| opened.since.elapsed() < LEAVE_EVERY) {
            return false;
        }
        *attempt = (number + 1, self::attempt(Arc::clone(&self.dialer)));
        drop(attempt);
        if for_another {
            self.left.send_modify(|left| *left += 1);
        }
        true
    }
}

impl ConnectionLike for Connection {
    fn req_packed_command<'a>(&'a mut self, command: &'a Cmd) -> RedisFuture<'a, Value> {
        Box::pin(async move {
            let mut answers = self.0.ask(Request::One(command)).await?;
            Ok(answers.pop().unwrap_or(Value::Nil))
        })
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        pipeline: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        Box::pin(self.0.ask(Request::Many(pipeline, offset, count)))
    }

    fn get_db(&self) -> i64 {
        self.0.database
    }
}

//! A connection that is made again whenever it is lost, for all who ask and store.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, timeout_at};
use tokio_postgres::{Client, Error, Notification};
use tokio_util::sync::CancellationToken;

use super::server::{self, Server, Wire, describe};
use crate::backend::BackendError;
use crate::outage::Reach;

const MIN_BACKOFF: Duration = Duration::from_millis(50);
const MAX_BACKOFF: Duration = Duration::from_secs(2);
/// A connection that ends sooner was of no use: the waiting times go on growing.
const STABLE: Duration = Duration::from_secs(5);
/// How often a statement is tried again at once after it met another.
const MAX_COLLISIONS: usize = 8;

/// A connection with what was prepared on it.
pub(crate) trait Prepared: Send + Sync + Sized + 'static {
    /// `kill` drops the connection at once when it is cancelled.
    fn prepare(client: Client, kill: CancellationToken) -> impl Future<Output = Result<Self, Error>> + Send;

    fn kill(&self);

    /// Whether nothing more can be asked.
    fn is_dead(&self) -> bool;
}

pub(crate) struct Link<S> {
    server: Arc<Server>,
    state: watch::Receiver<State<S>>,
    stop: CancellationToken,
}

enum State<S> {
    Up(Arc<S>),
    /// Why there is no connection.
    Down(String),
}

impl<S: Prepared> Link<S> {
    /// Connects for the first time.
    ///
    /// # Errors
    /// See [`connect`](crate::backend::connect).
    pub(crate) async fn open(server: Arc<Server>) -> Result<Self, BackendError> {
        let (session, end) = prepare(&server, server.connect_first().await?).await?;
        let (sender, state) = watch::channel(State::Up(Arc::new(session)));
        let stop = CancellationToken::new();
        tokio::spawn({
            let (server, stop) = (Arc::clone(&server), stop.clone());
            async move {
                stop.run_until_cancelled(supervise(&server, &sender, end)).await;
                sender.send_replace(State::Down("closed".to_owned()));
            }
        });
        Ok(Self { server, state, stop })
    }

    /// Does something that does no harm when it is done twice: it is repeated on the next connection when one is lost.
    ///
    /// # Errors
    /// [`BackendError::Unavailable`] when it has not succeeded within the timeout, [`BackendError::Refused`] when it
    /// never will.
    pub(crate) async fn run<T, F>(&self, work: impl Fn(Arc<S>) -> F) -> Result<T, BackendError>
    where
        F: Future<Output = Result<T, Error>>,
    {
        let deadline = Instant::now() + self.server.timeout;
        let mut collisions = 0;
        loop {
            let session = self.session(deadline).await?;
            match timeout_at(deadline, work(Arc::clone(&session))).await {
                Ok(Ok(value)) => return Ok(value),
                Ok(Err(error)) if server::wants_another_try(&error) && collisions < MAX_COLLISIONS => collisions += 1,
                Ok(Err(error)) if server::wants_another_connection(&error) => session.kill(),
                Ok(Err(error)) if server::is_about_values(&error) => return Err(self.server.refused(describe(&error))),
                Ok(Err(error)) => return Err(self.server.unavailable(describe(&error))),
                Err(_) => {
                    session.kill();
                    return Err(self.server.unavailable(format!("no answer within {:?}", self.server.timeout)));
                }
            }
        }
    }

    pub(super) fn close(&self) {
        self.stop.cancel();
    }

    /// The session that is open, or the next one.
    async fn session(&self, deadline: Instant) -> Result<Arc<S>, BackendError> {
        let mut state = self.state.clone();
        let is_up = |state: &State<S>| matches!(state, State::Up(session) if !session.is_dead());
        // Either the time is over, or the supervisor has ended: the state says why in both cases.
        let _ = timeout_at(deadline, state.wait_for(is_up)).await;
        match &*self.state.borrow() {
            State::Up(session) if !session.is_dead() => Ok(Arc::clone(session)),
            State::Up(_) => Err(self.server.unavailable("connection lost".to_owned())),
            State::Down(reason) => Err(self.server.unavailable(reason.clone())),
        }
    }
}

impl<S> Drop for Link<S> {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// A session, and what ends with its connection.
async fn prepare<S: Prepared>(server: &Server, wire: Wire) -> Result<(S, mpsc::Receiver<Notification>), BackendError> {
    let Wire { client, notifications, kill } = wire;
    match tokio::time::timeout(server.timeout, S::prepare(client, kill)).await {
        Ok(Ok(session)) => Ok((session, notifications)),
        Ok(Err(error)) => Err(server.unavailable(describe(&error))),
        Err(_) => Err(server.unavailable(format!("no answer within {:?}", server.timeout))),
    }
}

async fn supervise<S: Prepared>(
    server: &Server,
    state: &watch::Sender<State<S>>,
    mut end: mpsc::Receiver<Notification>,
) {
    let mut backoff = Backoff::default();
    let reach = server.reach();
    loop {
        let since = Instant::now();
        // Nothing is listened to here: what comes is the end.
        while end.recv().await.is_some() {}
        reach.away("connection lost");
        state.send_replace(State::Down("connection lost".to_owned()));
        backoff.connection_ended(since);
        end = loop {
            tokio::time::sleep(backoff.next()).await;
            let opened = async { prepare(server, server.connect().await?).await };
            match opened.await {
                Ok((session, end)) => {
                    reach.back();
                    state.send_replace(State::Up(Arc::new(session)));
                    break end;
                }
                Err(error) => {
                    tell(&reach, &error);
                    let (BackendError::Unavailable { reason, .. } | BackendError::Refused { reason, .. }) = error;
                    state.send_replace(State::Down(reason));
                }
            }
        };
    }
}

/// Tells that a connection could not be made.
pub(super) fn tell(reach: &Reach, error: &BackendError) {
    match error {
        BackendError::Unavailable { reason, .. } => reach.away(reason),
        BackendError::Refused { reason, .. } => reach.refused(reason),
    }
}

/// Waits between attempts to connect, longer each time and never in step with others.
pub(super) struct Backoff {
    next: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { next: MIN_BACKOFF }
    }
}

impl Backoff {
    /// How long to wait now.
    pub(super) fn next(&mut self) -> Duration {
        let delay = self.next;
        self.next = (delay * 2).min(MAX_BACKOFF);
        delay.mul_f64(0.5 + fastrand::f64() / 2.0)
    }

    /// A connection has ended that was made then.
    pub(super) fn connection_ended(&mut self, since: Instant) {
        if since.elapsed() >= STABLE {
            *self = Self::default();
        }
    }
}

//! One connection to RabbitMQ that supervises itself.
//!
//! lapin's own recovery is switched off: it cannot say what became of a publish that was on its way, and it recovers
//! what was declared on a channel, not what this process needs. Here a connection is used until it breaks and is
//! then replaced; everything that depends on it watches [`Live::lost`].

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use futures_util::{FutureExt, StreamExt};
use lapin::{ErrorKind, Event};
use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot, watch};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::error::{offence, reason};
use super::server::{Failure, Server};
use super::socket::Pulse;
use super::topology::{Remembered, restore};
use crate::broker::backoff::Backoff;
use crate::broker::url::{Endpoint, address_of};
use crate::broker::{BrokerError, ConnectOptions};
use crate::outage::{Reach, Reachability};

/// A connection that lived this long was good: the next loss starts with short waits again.
const STABLE: Duration = Duration::from_secs(5);
/// How long the broker may take to answer that it has closed the connection.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(3);
/// How long a broker that is to be left may take for one more answer.
const FLUSH_TIMEOUT: Duration = Duration::from_millis(200);
/// How long the thread of a closed connection may take to end.
const THREAD_TIMEOUT: Duration = Duration::from_millis(500);

/// A supervised connection. Clones are the same connection.
#[derive(Clone)]
pub(super) struct Link(Arc<Shared>);

struct Shared {
    address: String,
    /// What the log says of the broker being away.
    reach: Reach,
    /// One for each server of the address.
    servers: Vec<Server>,
    topology: Arc<Remembered>,
    state: watch::Sender<State>,
    /// Somebody saw an error that may mean that the connection is gone.
    doubt: Notify,
    /// When the state last changed between connected and not.
    since: Mutex<Instant>,
    /// What comes on its sockets.
    pulse: Pulse,
    closing: CancellationToken,
    /// Nothing is left to close.
    closed: CancellationToken,
}

enum State {
    Down(Failure),
    Live(Arc<Live>),
    Closed,
}

/// A connection while it is good.
pub(super) struct Live {
    pub(super) connection: deadpool_lapin::Connection,
    lost: CancellationToken,
    /// Why the broker takes no messages just now.
    blocked: watch::Sender<Option<String>>,
    /// What the broker said when it closed this over something that was sent on it.
    offence: OnceLock<String>,
}

impl Live {
    /// What the broker said when it closed this connection over something that was sent on it; `None` if it is not lost,
    /// or for another reason.
    pub(super) fn offence(&self) -> Option<&str> {
        self.offence.get().map(String::as_str)
    }

    /// An error that came from this connection, or from one of its channels.
    pub(super) fn heard(&self, error: &lapin::Error) {
        if let Some(offence) = offence(error) {
            self.offence.get_or_init(|| offence);
        }
    }

    /// Waits until this connection is lost or closed.
    pub(super) async fn lost(&self) {
        self.lost.cancelled().await;
    }

    pub(super) fn is_lost(&self) -> bool {
        self.lost.is_cancelled()
    }

    /// Follows whether the broker has blocked publishers (memory or disk alarm).
    pub(super) fn blocked(&self) -> watch::Receiver<Option<String>> {
        self.blocked.subscribe()
    }
}

/// What to report of a link.
pub(super) struct LinkHealth {
    pub(super) connected: bool,
    pub(super) blocked: bool,
    /// Since when it is connected or not.
    pub(super) since: Instant,
    pub(super) last_frame: Instant,
    pub(super) heartbeat: Option<Duration>,
}

impl Link {
    /// Starts to connect. `role` is what the broker's management page shows beside the name of the program.
    ///
    /// # Errors
    /// [`BrokerError::Refused`] if the address cannot be used at all.
    pub(super) fn start(
        role: &str,
        endpoints: &[Endpoint],
        options: &ConnectOptions,
        topology: Arc<Remembered>,
        broker: &Reachability,
    ) -> Result<Self, BrokerError> {
        let address = address_of(endpoints);
        let pulse = Pulse::default();
        let server = |endpoint| Server::new(role, endpoint, options, pulse.clone());
        let servers = endpoints.iter().map(server).collect::<Result<_, _>>();
        let servers = servers.map_err(|reason| BrokerError::Refused { address: address.clone(), reason })?;
        let link = Self(Arc::new(Shared {
            address,
            reach: broker.connection(),
            servers,
            topology,
            state: watch::Sender::new(State::Down(Failure::default())),
            doubt: Notify::new(),
            since: Mutex::new(Instant::now()),
            pulse,
            closing: CancellationToken::new(),
            closed: CancellationToken::new(),
        }));
        tokio::spawn(supervise(link.0.clone()));
        Ok(link)
    }

    /// The connection as soon as there is one; `None` when the link is closed.
    pub(super) async fn live(&self) -> Option<Arc<Live>> {
        let mut state = self.0.state.subscribe();
        let state = state.wait_for(|state| !matches!(state, State::Down(_))).await.ok()?;
        match &*state {
            State::Live(live) => Some(live.clone()),
            _ => None,
        }
    }

    /// The connection if there is one at this moment.
    pub(super) fn current(&self) -> Option<Arc<Live>> {
        match &*self.0.state.borrow() {
            State::Live(live) => Some(live.clone()),
            _ => None,
        }
    }

    /// Waits for the first connection. What the broker refuses is said at once, everything else is tried again.
    pub(super) async fn connected(&self, limit: Duration) -> Result<(), BrokerError> {
        let mut state = self.0.state.subscribe();
        let settled = |state: &State| match state {
            State::Down(failure) => failure.refused,
            State::Live(_) | State::Closed => true,
        };
        let address = self.0.address.clone();
        match timeout(limit, state.wait_for(settled)).await {
            Err(_) => Err(BrokerError::Timeout { address, waited: limit, reason: self.trouble() }),
            Ok(Err(_)) => Err(BrokerError::Closed { address }),
            Ok(Ok(state)) => match &*state {
                State::Live(_) => Ok(()),
                State::Down(failure) => Err(BrokerError::Refused { address, reason: failure.reason.clone() }),
                State::Closed => Err(BrokerError::Closed { address }),
            },
        }
    }

    /// Says that an error came from this connection: the supervisor looks after it.
    pub(super) fn doubt(&self) {
        self.0.doubt.notify_one();
    }

    /// Why nothing goes through, in words.
    pub(super) fn trouble(&self) -> String {
        match &*self.0.state.borrow() {
            State::Down(failure) if failure.reason.is_empty() => "no connection yet".to_owned(),
            State::Down(failure) => format!("no connection: {}", failure.reason),
            State::Live(live) => match &*live.blocked.borrow() {
                Some(why) => format!("the broker takes no messages: {why}"),
                None => "connected, but the broker does not answer".to_owned(),
            },
            State::Closed => "closed".to_owned(),
        }
    }

    pub(super) fn health(&self) -> LinkHealth {
        let live = self.current();
        // The lower of what both sides asked for; 0 is none.
        let heartbeat = live.as_ref().map_or(0, |live| live.connection.configuration().heartbeat());
        LinkHealth {
            connected: live.is_some(),
            blocked: live.is_some_and(|live| live.blocked.borrow().is_some()),
            since: *self.0.since.lock(),
            last_frame: self.0.pulse.last(),
            heartbeat: (heartbeat > 0).then(|| Duration::from_secs(heartbeat.into())),
        }
    }

    /// Nothing goes through any more, for ever.
    pub(super) fn is_closed(&self) -> bool {
        matches!(*self.0.state.borrow(), State::Closed)
    }

    /// Begins to close, without waiting.
    pub(super) fn abandon(&self) {
        self.0.closing.cancel();
    }

    /// Closes the connection and waits until it is closed, for a few seconds at most.
    pub(super) async fn close(&self) {
        self.abandon();
        self.0.closed.cancelled().await;
    }
}

/// The life of a link: connect, watch, and again.
async fn supervise(shared: Arc<Shared>) {
    let closing = shared.closing.clone();
    let work = async {
        let mut backoff = Backoff::default();
        // Where all began with the first, all would sit there.
        let mut server = fastrand::usize(..shared.servers.len().max(1));
        let mut round = 0;
        loop {
            match shared.connect(&mut server, round).await {
                Ok((connection, events)) => {
                    let alive = Instant::now();
                    round = 0;
                    if shared.attend(connection, events).await == Loss::Silence {
                        server += 1;
                    }
                    if alive.elapsed() > STABLE {
                        backoff.reset();
                    }
                }
                Err(failure) => {
                    round = round.saturating_add(1);
                    if failure.refused {
                        shared.reach.refused(&failure.reason);
                    } else {
                        shared.reach.away(&failure.reason);
                    }
                    shared.state.send_replace(State::Down(failure));
                }
            }
            sleep(backoff.next()).await;
        }
    };
    tokio::select! {
        () = closing.cancelled() => {}
        () = work => {}
    }
    shared.end().await;
}

/// How a connection was lost.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Loss {
    /// The server says nothing any more: it would not answer a new connection either.
    Silence,
    Other,
}

type Events = std::pin::Pin<Box<dyn futures_util::Stream<Item = Event> + Send>>;

impl Shared {
    /// Tries every server once, beginning with the last good one; in later rounds with more patience.
    async fn connect(&self, server: &mut usize, round: u32) -> Result<(deadpool_lapin::Connection, Events), Failure> {
        let mut failures = Vec::new();
        for _ in 0..self.servers.len() {
            let candidate = &self.servers[*server % self.servers.len()];
            match candidate.open(&self.topology, self.servers.len(), round).await {
                Ok(connection) => {
                    tracing::debug!(address = candidate.address, "connected to the broker");
                    let events = Box::pin(connection.events_listener());
                    return Ok((connection, events));
                }
                Err(failure) => failures.push((candidate, failure)),
            }
            *server += 1;
        }
        // Hopeless only if every server refuses.
        let refused = failures.iter().all(|(_, failure)| failure.refused);
        let reasons: Vec<String> = match failures.as_slice() {
            [(_, failure)] => vec![failure.reason.clone()],
            several => {
                several.iter().map(|(server, failure)| format!("{}: {}", server.address, failure.reason)).collect()
            }
        };
        Err(Failure { reason: reasons.join("; "), refused })
    }

    /// Publishes the connection to all who need it, until it is lost.
    async fn attend(&self, connection: deadpool_lapin::Connection, mut events: Events) -> Loss {
        let lost = CancellationToken::new();
        // Also when this future is dropped: whoever uses the connection must let go of it.
        let _lost = lost.clone().drop_guard();
        let blocked = watch::Sender::new(connection.status().blocked().then(|| "blocked".to_owned()));
        let live = Arc::new(Live { connection, lost: lost.clone(), blocked, offence: OnceLock::new() });
        *self.since.lock() = Instant::now();
        self.state.send_replace(State::Live(live.clone()));
        self.reach.back();

        // What is there may have lost its bindings. Nobody waits for that: see `present`.
        let shared = self.topology.shared();
        let rebinding = restore(&live.connection, &shared);
        tokio::pin!(rebinding);
        let mut is_bound = false;
        let mut error = loop {
            let error = tokio::select! {
                event = events.next() => match event {
                    Some(Event::ConnectionBlocked(reason)) => {
                        tracing::warn!(address = self.address, reason, "the broker takes no messages for now");
                        live.blocked.send_replace(Some(reason));
                        None
                    }
                    Some(Event::ConnectionUnblocked) => {
                        tracing::info!(address = self.address, "the broker takes messages again");
                        live.blocked.send_replace(None);
                        None
                    }
                    // Errors of single channels are told here too. They leave the connection as it is.
                    Some(Event::Error(error)) => Some(error),
                    _ => None,
                },
                () = self.doubt.notified() => None,
                bound = &mut rebinding, if !is_bound => {
                    is_bound = true;
                    if let Err(error) = bound {
                        tracing::debug!(address = self.address, error = reason(&error), "not all could be declared again");
                    }
                    None
                }
            };
            if let Some(error) = &error {
                live.heard(error);
            }
            if !live.connection.status().connected() {
                break error;
            }
        };
        // Why may be told after the fact.
        while let Some(Some(event)) = events.next().now_or_never() {
            if let Event::Error(why) = event {
                live.heard(&why);
                error.get_or_insert(why);
            }
        }
        let why = error.as_ref().map_or_else(|| "it was closed".to_owned(), reason);
        self.reach.away(&why);
        *self.since.lock() = Instant::now();
        lost.cancel();
        self.state.send_replace(State::Down(Failure { reason: why, refused: false }));
        error.as_ref().map_or(Loss::Other, loss)
    }

    async fn end(&self) {
        if let State::Live(live) = self.state.send_replace(State::Closed) {
            // lapin takes a channel that is dropped while the connection closes for an error. Those that were dropped just
            // before are closed when another one is open; whoever still has one keeps it until the end.
            let _last = timeout(FLUSH_TIMEOUT, live.connection.create_channel()).await;
            // An error here means that it is closed already.
            let _ = timeout(CLOSE_TIMEOUT, live.connection.close(200, "OK".into())).await;
            live.lost.cancel();
            let _ = timeout(THREAD_TIMEOUT, thread_ended(live)).await;
        }
        self.closed.cancel();
    }
}

fn loss(error: &lapin::Error) -> Loss {
    match error.kind() {
        ErrorKind::MissingHeartbeatError => Loss::Silence,
        ErrorKind::IOError(error) if error.kind() == std::io::ErrorKind::TimedOut => Loss::Silence,
        _ => Loss::Other,
    }
}

/// Waits for the thread that drives the connection, which would stumble if the runtime ended before it.
async fn thread_ended(mut live: Arc<Live>) {
    let live = loop {
        match Arc::try_unwrap(live) {
            Ok(live) => break live,
            // Whoever uses it lets go of it now.
            Err(shared) => live = shared,
        }
        sleep(Duration::from_millis(1)).await;
    };
    let connection = deadpool_lapin::Connection::take(live.connection);
    let (done, ended) = oneshot::channel::<()>();
    // Waited for in a thread of its own: the runtime waits for its blocking tasks for ever.
    let waiting = std::thread::Builder::new().spawn(move || {
        let _ = connection.run();
        drop(done);
    });
    if waiting.is_ok() {
        let _ = ended.await;
    }
}

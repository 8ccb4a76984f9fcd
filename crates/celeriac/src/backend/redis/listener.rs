//! Pub/sub on a connection of its own, shared by all who wait for a result of one backend.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::StreamExt;
use parking_lot::Mutex;
use redis::RedisError;
use redis::aio::{PubSubSink, PubSubStream};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::timeout;

use super::dialer::Dialer;
use super::link::Link;
use crate::backend::payload::unpack;
use crate::backend::{BackendError, Change, ResultSubscription, SUBSCRIPTION_CAPACITY};
use crate::outage::Reachability;

/// A connection without traffic is asked this often whether it still lives.
const PING_EVERY: Duration = Duration::from_secs(15);
const MIN_BACKOFF: Duration = Duration::from_millis(50);
const MAX_BACKOFF: Duration = Duration::from_secs(2);
/// How many waiting commands are taken at once.
const BATCH: usize = 256;

pub(super) struct Listener {
    dialer: Arc<Dialer>,
    /// How often those who ask have left the server for another: whoever listens follows them.
    left: watch::Receiver<u64>,
    address: String,
    timeout: Duration,
    tokens: AtomicU64,
    /// To the task that owns the connection, which starts with the first subscription. `Err` once closed.
    commands: Mutex<Result<Option<mpsc::UnboundedSender<Command>>, Closed>>,
}

struct Closed;

enum Command {
    Watch { channel: String, watcher: Watcher },
    Unwatch { channel: String, token: u64 },
}

struct Watcher {
    token: u64,
    changes: mpsc::Sender<Change>,
    /// Told once the server has confirmed the subscription; taken then.
    confirmed: Option<oneshot::Sender<()>>,
}

impl Listener {
    pub(super) fn new(link: &Link, timeout: Duration) -> Self {
        let (dialer, left) = link.subscriptions();
        let address = link.address.clone();
        Self { dialer, left, address, timeout, tokens: AtomicU64::new(0), commands: Mutex::new(Ok(None)) }
    }

    /// Answers once the server has confirmed the subscription.
    pub(super) async fn subscribe(&self, channel: String) -> Result<ResultSubscription, BackendError> {
        let unavailable = |reason: String| BackendError::Unavailable { address: self.address.clone(), reason };
        let commands = self.commands().ok_or_else(|| unavailable("closed".to_owned()))?;
        let token = self.tokens.fetch_add(1, Ordering::Relaxed);
        let (sender, changes) = mpsc::channel(SUBSCRIPTION_CAPACITY);
        let (confirmed, confirmation) = oneshot::channel();

        let later = commands.downgrade();
        let watched = channel.clone();
        let subscription = ResultSubscription::new(changes, move || {
            if let Some(commands) = later.upgrade() {
                let _ = commands.send(Command::Unwatch { channel: watched, token });
            }
        });

        let watcher = Watcher { token, changes: sender, confirmed: Some(confirmed) };
        let _ = commands.send(Command::Watch { channel, watcher });
        match timeout(self.timeout, confirmation).await {
            Ok(Ok(())) => Ok(subscription),
            Ok(Err(_)) => Err(unavailable("closed".to_owned())),
            Err(_) => Err(unavailable(format!("not subscribed within {:?}", self.timeout))),
        }
    }

    /// Ends all subscriptions.
    pub(super) fn close(&self) {
        *self.commands.lock() = Err(Closed);
    }

    fn commands(&self) -> Option<mpsc::UnboundedSender<Command>> {
        let mut commands = self.commands.lock();
        match &mut *commands {
            Err(Closed) => None,
            Ok(Some(sender)) if !sender.is_closed() => Some(sender.clone()),
            Ok(none) => {
                let (sender, receiver) = mpsc::unbounded_channel();
                let task = ListenerTask {
                    dialer: Arc::clone(&self.dialer),
                    left: self.left.clone(),
                    address: self.address.clone(),
                    timeout: self.timeout,
                    commands: receiver,
                    watchers: HashMap::new(),
                };
                tokio::spawn(task.run());
                *none = Some(sender.clone());
                Some(sender)
            }
        }
    }
}

struct ListenerTask {
    dialer: Arc<Dialer>,
    left: watch::Receiver<u64>,
    address: String,
    timeout: Duration,
    commands: mpsc::UnboundedReceiver<Command>,
    watchers: HashMap<String, Vec<Watcher>>,
}

/// Why a session on one connection ended.
enum End {
    /// The backend is closed or dropped.
    Closed,
    Lost(String),
}

impl ListenerTask {
    async fn run(mut self) {
        let mut backoff = MIN_BACKOFF;
        let reach = Reachability::new("the result backend", &*self.address).connection();
        loop {
            match self.connected().await {
                Ok(Some((sink, stream))) => {
                    reach.back();
                    backoff = MIN_BACKOFF;
                    match self.session(sink, stream).await {
                        End::Closed => return,
                        End::Lost(reason) => reach.away(&reason),
                    }
                }
                Ok(None) => return,
                Err(reason) => reach.away(&reason),
            }
            let jittered = backoff.mul_f32(0.5 + fastrand::f32() / 2.0);
            backoff = (backoff * 2).min(MAX_BACKOFF);
            if !self.absorb_commands_for(jittered).await {
                return;
            }
        }
    }

    /// Connects; `None` if the backend was closed meanwhile.
    async fn connected(&mut self) -> Result<Option<(PubSubSink, PubSubStream)>, String> {
        if self.commands.is_closed() {
            return Ok(None);
        }
        self.left.mark_unchanged();
        match self.dialer.subscriber().await {
            Ok(connection) => Ok(Some(connection.split())),
            Err(error) => Err(error.to_string()),
        }
    }

    /// Takes commands while there is no connection. False: closed.
    async fn absorb_commands_for(&mut self, time: Duration) -> bool {
        let pause = tokio::time::sleep(time);
        tokio::pin!(pause);
        loop {
            tokio::select! {
                () = &mut pause => return true,
                command = self.commands.recv() => match command {
                    Some(command) => drop(self.apply(command)),
                    None => return false,
                },
            }
        }
    }

    async fn session(&mut self, mut sink: PubSubSink, mut stream: PubSubStream) -> End {
        let mut subscribed = HashSet::new();
        let all = self.watchers.keys().cloned().collect();
        if let Err(reason) = self.follow(&mut sink, &mut subscribed, all).await {
            return End::Lost(reason);
        }
        let mut batch = Vec::new();
        loop {
            tokio::select! {
                taken = self.commands.recv_many(&mut batch, BATCH) => {
                    if taken == 0 {
                        return End::Closed;
                    }
                    let touched = batch.drain(..).map(|command| self.apply(command)).collect();
                    if let Err(reason) = self.follow(&mut sink, &mut subscribed, touched).await {
                        return End::Lost(reason);
                    }
                }
                message = stream.next() => {
                    let Some(message) = message else { return End::Lost("connection closed".to_owned()) };
                    let change = match unpack(message.get_payload_bytes().to_vec()) {
                        Ok(meta) => Change::Stored(meta),
                        // Who reads it again is told what is wrong with it.
                        Err(_) => Change::Resubscribed,
                    };
                    self.dispatch(message.get_channel_name(), &change);
                }
                Ok(()) = self.left.changed() => return End::Lost("the server has become another".to_owned()),
                () = tokio::time::sleep(PING_EVERY) => {
                    let ping = within(self.timeout, async { sink.ping::<redis::Value>().await.map(drop) });
                    if let Err(reason) = ping.await {
                        return End::Lost(reason);
                    }
                }
            }
        }
    }

    /// Changes who watches; returns the channel that was touched.
    fn apply(&mut self, command: Command) -> String {
        match command {
            Command::Watch { channel, watcher } => {
                self.watchers.entry(channel.clone()).or_default().push(watcher);
                channel
            }
            Command::Unwatch { channel, token } => {
                if let Some(watchers) = self.watchers.get_mut(&channel) {
                    watchers.retain(|watcher| watcher.token != token);
                    if watchers.is_empty() {
                        self.watchers.remove(&channel);
                    }
                }
                channel
            }
        }
    }

    /// Makes the server's subscriptions of these channels those of the watchers, and tells the watchers.
    async fn follow(
        &mut self,
        sink: &mut PubSubSink,
        subscribed: &mut HashSet<String>,
        touched: HashSet<String>,
    ) -> Result<(), String> {
        let (mut wanted, mut unwanted) = (Vec::new(), Vec::new());
        for channel in touched {
            match (self.watchers.contains_key(&channel), subscribed.contains(&channel)) {
                (true, false) => wanted.push(channel),
                (false, true) => unwanted.push(channel),
                (true, true) => self.confirm(&channel, false),
                (false, false) => {}
            }
        }
        if !unwanted.is_empty() {
            within(self.timeout, sink.unsubscribe(&unwanted)).await?;
            for channel in &unwanted {
                subscribed.remove(channel);
            }
        }
        if !wanted.is_empty() {
            within(self.timeout, sink.subscribe(&wanted)).await?;
            for channel in wanted {
                self.confirm(&channel, true);
                subscribed.insert(channel);
            }
        }
        Ok(())
    }

    /// Tells new watchers of a channel that they miss nothing from now on, and older ones that they may have.
    fn confirm(&mut self, channel: &str, is_new_connection: bool) {
        if let Some(watchers) = self.watchers.get_mut(channel) {
            watchers.retain_mut(|watcher| match watcher.confirmed.take() {
                Some(confirmed) => confirmed.send(()).is_ok(),
                None => !is_new_connection || watcher.changes.try_send(Change::Resubscribed).is_ok(),
            });
        }
    }

    fn dispatch(&mut self, channel: &str, change: &Change) {
        if let Some(watchers) = self.watchers.get_mut(channel) {
            // A watcher whose channel is full is cut off: it reads again when it sees the end.
            watchers.retain(|watcher| watcher.changes.try_send(change.clone()).is_ok());
        }
    }
}

async fn within(limit: Duration, work: impl Future<Output = Result<(), RedisError>>) -> Result<(), String> {
    match timeout(limit, work).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("no answer within {limit:?}")),
    }
}

//! LISTEN on a connection of its own, shared by all who wait for a result of one backend.
//!
//! Whoever stores through this crate notifies. Python does not: while somebody waits, the rows are looked at every
//! [`REREAD_EVERY`] as well.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_postgres::{Client, Error, Notification};

use super::link::{Backoff, tell};
use super::server::{Server, Wire, describe};
use super::watchers::{Command, Watcher, Watchers};
use super::{channel, session};
use crate::backend::{BackendError, Change, ResultSubscription, SUBSCRIPTION_CAPACITY};

/// Celery's own readers of this backend ask twice a second for each result; here one statement asks for all.
const REREAD_EVERY: Duration = Duration::from_secs(1);
/// How many tasks one statement asks for. Of more than that each has its turn.
const REREAD_AT_ONCE: usize = 1000;
/// A connection on which nobody waits is asked this often whether it still lives.
const PING_EVERY: Duration = Duration::from_secs(15);
/// How many waiting commands are taken at once.
const BATCH: usize = 256;

pub(super) struct Listener {
    server: Arc<Server>,
    tokens: AtomicU64,
    /// To the task that owns the connection, which starts with the first subscription. `Err` once closed.
    commands: Mutex<Result<Option<mpsc::UnboundedSender<Command>>, Closed>>,
}

struct Closed;

impl Listener {
    pub(super) fn new(server: Arc<Server>) -> Self {
        Self { server, tokens: AtomicU64::new(0), commands: Mutex::new(Ok(None)) }
    }

    /// Answers once the server has confirmed the subscription.
    pub(super) async fn subscribe(&self, task_id: &str) -> Result<ResultSubscription, BackendError> {
        let closed = || self.server.unavailable("closed".to_owned());
        let commands = self.commands().ok_or_else(closed)?;
        let token = self.tokens.fetch_add(1, Ordering::Relaxed);
        let (sender, changes) = mpsc::channel(SUBSCRIPTION_CAPACITY);
        let (confirmed, confirmation) = oneshot::channel();

        let later = commands.downgrade();
        let watched = task_id.to_owned();
        let subscription = ResultSubscription::new(changes, move || {
            if let Some(commands) = later.upgrade() {
                let _ = commands.send(Command::Unwatch { task_id: watched, token });
            }
        });

        let watcher = Watcher { token, changes: sender, confirmed: Some(confirmed) };
        let _ = commands.send(Command::Watch { task_id: task_id.to_owned(), watcher });
        drop(commands);
        match timeout(self.server.timeout, confirmation).await {
            Ok(Ok(())) => Ok(subscription),
            Ok(Err(_)) => Err(closed()),
            Err(_) => Err(self.server.unavailable(format!("not subscribed within {:?}", self.server.timeout))),
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
                let server = Arc::clone(&self.server);
                tokio::spawn(ListenerTask { server, commands: receiver, watchers: Watchers::default() }.run());
                *none = Some(sender.clone());
                Some(sender)
            }
        }
    }
}

struct ListenerTask {
    server: Arc<Server>,
    commands: mpsc::UnboundedReceiver<Command>,
    watchers: Watchers,
}

/// Why a session on one connection ended.
enum End {
    /// The backend is closed or dropped.
    Closed,
    Lost(String),
}

impl ListenerTask {
    async fn run(mut self) {
        let mut backoff = Backoff::default();
        let reach = self.server.reach();
        while !self.commands.is_closed() {
            match self.server.connect().await {
                Ok(mut wire) => {
                    reach.back();
                    let since = Instant::now();
                    match self.session(&mut wire).await {
                        End::Closed => return,
                        End::Lost(reason) => {
                            wire.kill.cancel();
                            backoff.connection_ended(since);
                            reach.away(&reason);
                        }
                    }
                }
                Err(error) => tell(&reach, &error),
            }
            if !self.absorb_commands_for(backoff.next()).await {
                return;
            }
        }
    }

    /// Takes commands while there is no connection. False: closed.
    async fn absorb_commands_for(&mut self, time: Duration) -> bool {
        let pause = sleep(time);
        tokio::pin!(pause);
        loop {
            tokio::select! {
                () = &mut pause => return true,
                command = self.commands.recv() => match command {
                    Some(command) => drop(self.watchers.apply(command)),
                    None => return false,
                },
            }
        }
    }

    async fn session(&mut self, wire: &mut Wire) -> End {
        let Wire { client, notifications, .. } = wire;
        let mut listening = HashSet::new();
        let all = self.watchers.task_ids().map(str::to_owned).collect();
        if let Err(reason) = self.follow(client, &mut listening, all).await {
            return End::Lost(reason);
        }
        let mut batch = Vec::new();
        let mut next_look = Instant::now() + self.pause();
        loop {
            let done = tokio::select! {
                taken = self.commands.recv_many(&mut batch, BATCH) => {
                    if taken == 0 {
                        return End::Closed;
                    }
                    let touched = batch.drain(..).map(|command| self.watchers.apply(command)).collect();
                    next_look = next_look.min(Instant::now() + self.pause());
                    self.follow(client, &mut listening, touched).await
                }
                notification = notifications.recv() => match notification {
                    Some(notification) => self.notified(client, &notification).await,
                    None => Err("connection closed".to_owned()),
                },
                () = sleep_until(next_look) => {
                    let looked = self.look(client).await;
                    next_look = Instant::now() + self.pause();
                    looked
                }
            };
            if let Err(reason) = done {
                return End::Lost(reason);
            }
        }
    }

    /// How long nothing needs to be asked.
    fn pause(&self) -> Duration {
        if self.watchers.is_empty() { PING_EVERY } else { REREAD_EVERY }
    }

    /// Listens to the tasks that are watched and to no others, as far as they were touched, and tells the watchers.
    async fn follow(
        &mut self,
        client: &Client,
        listening: &mut HashSet<String>,
        touched: HashSet<String>,
    ) -> Result<(), String> {
        let mut statements = String::new();
        let mut new = Vec::new();
        for task_id in touched {
            match (self.watchers.contains(&task_id), listening.contains(&task_id)) {
                (true, false) => {
                    statements += &format!("LISTEN {};", channel::quoted(&task_id));
                    new.push(task_id);
                }
                (false, true) => {
                    statements += &format!("UNLISTEN {};", channel::quoted(&task_id));
                    listening.remove(&task_id);
                }
                (true, true) => self.watchers.confirm(&task_id, None),
                (false, false) => {}
            }
        }
        if !statements.is_empty() {
            self.within(client.batch_execute(&statements)).await?;
        }
        if !new.is_empty() {
            // Read after LISTEN: whatever is stored later than this is told.
            let ids: Vec<_> = new.iter().map(String::as_str).collect();
            let versions: HashMap<_, _> = self.within(session::versions(client, &ids)).await?.into_iter().collect();
            for task_id in new {
                self.watchers.confirm(&task_id, Some(versions.get(&task_id).copied()));
                listening.insert(task_id);
            }
        }
        Ok(())
    }

    async fn notified(&mut self, client: &Client, notification: &Notification) -> Result<(), String> {
        let Some(task_id) = self.watchers.task_of(notification.channel()).map(str::to_owned) else { return Ok(()) };
        match channel::read(notification.payload()) {
            Some((version, Some(meta))) => {
                self.watchers.tell(&task_id, version, &Change::Stored(meta.to_owned()));
                Ok(())
            }
            // Too large to be sent, or not from us.
            _ => self.reread(client, self.watchers.seen(&task_id).into_iter().collect()).await,
        }
    }

    /// Looks for what nobody told of; without watchers, whether the connection lives.
    async fn look(&mut self, client: &Client) -> Result<(), String> {
        if self.watchers.is_empty() {
            return self.within(client.batch_execute("")).await;
        }
        let turn = self.watchers.next_turn(REREAD_AT_ONCE);
        self.reread(client, turn).await
    }

    async fn reread(&mut self, client: &Client, seen: Vec<(String, i64)>) -> Result<(), String> {
        let (task_ids, versions): (Vec<_>, Vec<_>) = seen.iter().map(|(id, version)| (id.as_str(), *version)).unzip();
        for (row, version) in self.within(session::changes(client, &task_ids, &versions)).await? {
            let task_id = row.task_id.clone();
            // What cannot be read is told to whoever reads it again.
            let change = row.into_meta().map_or(Change::Resubscribed, |meta| Change::Stored(meta.to_json()));
            self.watchers.tell(&task_id, version, &change);
        }
        Ok(())
    }

    async fn within<T>(&self, work: impl Future<Output = Result<T, Error>>) -> Result<T, String> {
        match timeout(self.server.timeout, work).await {
            Ok(ended) => ended.map_err(|error| describe(&error)),
            Err(_) => Err(format!("no answer within {:?}", self.server.timeout)),
        }
    }
}

//! The push of roles to the auth service. Any number of workers may do it: one at a time reads the log of events, and each
//! account is claimed by one caller, so its roles are told in order while others go on beside it. What is claimed is counted
//! in the rows: so many calls are open at once, from all workers together. Nothing that fails here
//! touches a payment: only the push is made again.

mod client;
mod config;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use billing::Services;
use billing::bell::Ear;
use billing::resolve::{Spread, backoff};
use billing::store::StoreError;
use billing::store::roles::{self, Claimed, Followed, Push};
use chrono::TimeDelta;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use self::client::Client;
pub use self::config::RolesConfig;
use crate::setting::{ConfigError, delta};

/// How many events are read at once.
const BATCH: i64 = 1_000;
/// The log is read so often although nobody rings, and the rows are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// While others make as many calls as may be made, it is looked so often whether one has ended.
const ROOM_AGAIN: TimeDelta = TimeDelta::milliseconds(100);
/// A database that could not be reached is asked again after this.
const AGAIN_AFTER: Duration = Duration::from_secs(1);
/// Behind its deadline a call has so long to write down what came of it, before somebody else makes it.
const WRITE_DOWN_WITHIN: TimeDelta = TimeDelta::seconds(5);
const FIRST_PAUSE: TimeDelta = TimeDelta::milliseconds(250);
const LONGEST_PAUSE: TimeDelta = TimeDelta::minutes(5);

/// Cheap to clone.
#[derive(Clone)]
pub(crate) struct Roles {
    services: Services,
    auth: Client,
    max_in_flight: usize,
    lease: TimeDelta,
    /// Whether the last call has failed: that is said once.
    in_trouble: Arc<AtomicBool>,
}

impl Roles {
    /// `None`: there is no auth service to be told.
    pub(crate) fn new(config: &RolesConfig, services: Services) -> Result<Option<Self>, ConfigError> {
        let Some(auth) = config.client()? else { return Ok(None) };
        let lease = delta("ROLES_TIMEOUT", config.roles_timeout)? + WRITE_DOWN_WITHIN;
        let (max_in_flight, in_trouble) = (config.roles_max_in_flight, Arc::default());
        Ok(Some(Self { services, auth, max_in_flight, lease, in_trouble }))
    }

    /// Tells roles until `stop`; then the calls that are open come to their end.
    pub(crate) async fn run(self, stop: CancellationToken) {
        let mut ear = Ear::new(&self.services.app);
        let mut calls = JoinSet::new();
        let mut read_at = Instant::now();
        loop {
            let pause = match self.step(&mut calls, &mut read_at).await {
                Ok(pause) => pause,
                Err(error) => {
                    tracing::warn!(%error, "roles cannot be read now; they wait");
                    AGAIN_AFTER
                }
            };
            tokio::select! {
                () = stop.cancelled() => break,
                Some(_) = calls.join_next() => while calls.try_join_next().is_some() {},
                () = ear.rung() => read_at = Instant::now(),
                () = tokio::time::sleep(pause) => {}
            }
        }
        while calls.join_next().await.is_some() {}
    }

    /// Reads on in the log from `read_at` on, and makes the calls that are due and have room. Returns when to look again if
    /// nothing happens before.
    async fn step(&self, calls: &mut JoinSet<()>, read_at: &mut Instant) -> Result<Duration, StoreError> {
        let db = &self.services.db;
        let room = self.max_in_flight.saturating_sub(calls.len());
        let mut conn = db.conn().await?;
        if *read_at <= Instant::now() {
            while roles::follow(&mut conn, db.now(), BATCH).await? == Followed::More {}
            *read_at = Instant::now() + LOOK_EVERY;
        }
        if room == 0 {
            return Ok(LOOK_EVERY);
        }
        let now = db.now();
        let many = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
        let Claimed { due, is_full } =
            roles::claim(&mut conn, now, now + self.lease, many(room), many(self.max_in_flight)).await?;
        let next = match roles::next_due(&mut conn).await? {
            // The end of one of our own calls wakes us.
            _ if due.len() == room => None,
            Some(at) if is_full => Some(at.max(now + ROOM_AGAIN)),
            next => next,
        };
        drop(conn);
        for push in due {
            let roles = self.clone();
            calls.spawn(async move { roles.tell(&push).await });
        }
        let wait = next.map(|next| (next - db.now()).to_std().unwrap_or_default());
        Ok(wait.unwrap_or(LOOK_EVERY).clamp(Duration::from_millis(10), LOOK_EVERY))
    }

    /// Makes one call, and writes down what came of it. If that fails the lease runs out, and it is made again.
    async fn tell(&self, push: &Push) {
        let (account_id, version) = (push.account_id, push.version);
        let answer = self.auth.set_role(push).await;
        let db = &self.services.db;
        let written = match (&answer, db.conn().await) {
            (_, Err(error)) => Err(error.into()),
            (Ok(()), Ok(mut conn)) => roles::acknowledge(&mut conn, push, db.now()).await,
            (Err(status), Ok(mut conn)) => {
                let pause = backoff(FIRST_PAUSE, push.tries, LONGEST_PAUSE, Spread::of_account(account_id));
                let why = format!("{:?}: {}", status.code(), status.message());
                roles::put_off(&mut conn, push, &why, db.now() + pause).await
            }
        };
        match &answer {
            Ok(()) => {
                tracing::debug!(%account_id, role = push.role, version, "the auth service knows the role");
                if self.in_trouble.swap(false, Ordering::Relaxed) {
                    tracing::info!("the auth service takes roles again");
                }
            }
            Err(status) => {
                let code = status.code();
                tracing::debug!(%account_id, version, tries = push.tries, ?code, error = status.message(), "not taken");
                if !self.in_trouble.swap(true, Ordering::Relaxed) {
                    tracing::warn!(%account_id, ?code, error = status.message(), "the auth service does not take a role: it is told again");
                }
            }
        }
        if let Err(error) = written {
            tracing::warn!(%account_id, version, %error, "what came of telling a role could not be written down: it is told again");
        }
    }
}

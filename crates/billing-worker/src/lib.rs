//! The tasks that move money: the only place that talks to the gateway.
//!
//! A task never trusts that it was called once. It reads the row, writes ahead what it is about to do, calls the
//! gateway without holding a connection, and writes down what came of it.

mod allowance;
mod auth;
mod circuits;
mod config;
mod desk;
mod figures;
mod gateway;
mod life;
mod receipts;
mod roles;
mod setting;
mod shares;
mod spans;
mod tasks;

use anyhow::Context as _;
use billing::Services;
use billing::tasks::{LOOKUPS, RENEWALS, TIMETABLE};
use celeriac::worker::{Worker, WorkerHandle};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

pub use circuits::Circuits;
pub use config::Config;
use desk::Desk;
pub use figures::describe as describe_metrics;
pub use life::LifeConfig;
pub use receipts::ReceiptsConfig;
use roles::Roles;
pub use roles::RolesConfig;
pub use setting::ConfigError;

/// What tells a worker to end.
#[derive(Clone, Debug, Default)]
pub struct Stop {
    /// Take nothing more, finish what runs.
    pub warm: CancellationToken,
    /// Finish it within `WORKER_SOFT_SHUTDOWN_TIMEOUT`.
    pub soft: CancellationToken,
    /// Drop it.
    pub cold: CancellationToken,
}

/// Executes tasks until it is told to stop.
///
/// # Errors
/// [`ConfigError`] for a setting that cannot be worked with; anything else ended the worker.
pub async fn run(config: Config, services: Services, stop: Stop) -> anyhow::Result<()> {
    prepare(config, services, &stop, |_| ())?.run(stop).await
}

/// A worker that has not begun. `stuck` is what its watchdog calls, on a thread of its own, when it cannot end by itself.
///
/// # Errors
/// [`ConfigError`] for a setting that cannot be worked with.
pub fn prepare(
    config: Config,
    services: Services,
    stop: &Stop,
    stuck: impl Fn(&str) + Send + Sync + 'static,
) -> anyhow::Result<Prepared> {
    config.check()?;
    let app = services.app.clone();
    let roles = Roles::new(&config.roles, services.clone())?;
    let desk = Desk::new(&config, services)?;
    let shares = config.shares();
    let builder = Worker::builder(app)
        .state(desk.clone())
        .hooks(spans::Spans)
        .concurrency(config.worker_concurrency)
        .queue_concurrency(RENEWALS, shares.renewals)
        .queue_concurrency(LOOKUPS, shares.lookups)
        .queue_concurrency(TIMETABLE, config.worker_timetable_concurrency)
        .queues(config.worker_queues)
        .exclude_queues(config.worker_exclude_queues)
        .delivery_limit(config.worker_delivery_limit)
        .parking(config.worker_parking)
        .revokes_max(config.worker_revokes_max)
        .revoke_expires(config.worker_revoke_expires)
        .shutdown_timeout(config.worker_shutdown_timeout)
        .cold(stop.cold.clone());
    let builder = match config.worker_name {
        Some(name) => builder.hostname(name),
        None => builder,
    };
    let builder = match config.worker_statedb {
        Some(file) => builder.statedb(file),
        None => builder,
    };
    let builder = config.life.apply(builder, stop, stuck);
    let worker = tasks::register(builder).build().map_err(|error| ConfigError::Worker(error.to_string()))?;
    Ok(Prepared { worker, desk, circuits: Circuits::default(), roles })
}

/// A worker that has not begun.
pub struct Prepared {
    worker: Worker,
    desk: Desk,
    circuits: Circuits,
    roles: Option<Roles>,
}

impl Prepared {
    #[must_use]
    pub fn handle(&self) -> WorkerHandle {
        self.worker.handle()
    }

    /// How the circuits of the gateway stand, once it runs.
    #[must_use]
    pub fn circuits(&self) -> Circuits {
        self.circuits.clone()
    }

    /// Executes tasks until it is told to stop.
    ///
    /// # Errors
    /// The [`WorkerError`](celeriac::WorkerError) that ended it.
    pub async fn run(self, stop: Stop) -> anyhow::Result<()> {
        let following = tokio::spawn(figures::follow(self.desk.services.clone(), self.circuits));
        let greeting = tokio::spawn(self.desk.greet_the_gateway());
        let enough = CancellationToken::new();
        // Dropped with this future, it ends too.
        let mut pushing = JoinSet::new();
        if let Some(roles) = self.roles {
            pushing.spawn(roles.run(enough.clone()));
        }
        let ended = self.worker.run(stop.warm).await;
        greeting.abort();
        following.abort();
        // The open calls come to their end, each by its deadline.
        enough.cancel();
        pushing.join_all().await;
        ended.context("the worker ended")
    }
}

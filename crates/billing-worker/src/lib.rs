//! The tasks that move money: the only place that talks to the gateway.
//!
//! A task never trusts that it was called once. It reads the row, writes ahead what it is about to do, calls the
//! gateway without holding a connection, and writes down what came of it.

mod config;
mod desk;
mod gateway;
mod tasks;

use anyhow::Context as _;
use billing::Services;
use celeriac::worker::Worker;
use tokio_util::sync::CancellationToken;

pub use config::{Config, ConfigError, ResolveConfig};
use desk::Desk;

/// Executes tasks until `shutdown`, then finishes what runs; `cold` ends even that.
///
/// # Errors
/// [`ConfigError`] for a setting that cannot be worked with; anything else ended the worker.
pub async fn run(
    config: Config,
    services: Services,
    shutdown: CancellationToken,
    cold: CancellationToken,
) -> anyhow::Result<()> {
    config.check()?;
    let app = services.app.clone();
    let desk = Desk::new(&config, services)?;
    let builder = Worker::builder(app)
        .state(desk.clone())
        .concurrency(config.worker_concurrency)
        .queues(config.worker_queues)
        .shutdown_timeout(config.worker_shutdown_timeout)
        .cold(cold);
    let builder = match config.worker_name {
        Some(name) => builder.hostname(name),
        None => builder,
    };
    let builder = match config.worker_statedb {
        Some(file) => builder.statedb(file),
        None => builder,
    };
    let worker = tasks::register(builder).build().map_err(|error| ConfigError::Statedb(error.to_string()))?;
    let greeting = tokio::spawn(desk.greet_the_gateway());
    let ended = worker.run(shutdown).await;
    greeting.abort();
    ended.context("the worker ended")
}

//! The one binary, `billing`: every role behind a subcommand.

pub mod celery;
pub mod cli;
pub mod dashboard;
mod declines;
mod demo;
mod environment;
pub mod exit;
mod exporter;
mod health;
mod keys;
mod ledger;
mod probes;
mod receipts;
mod reconcile;
mod restored;
mod roles;
mod signals;
mod staff;
mod standalone;
mod tariffs;
mod telemetry;
mod token;

use cli::{Cli, Command};
use exit::Exit;
use signals::Signals;

/// What has to be so before the first thread is started.
///
/// # Errors
/// [`Exit`], where it cannot be had.
pub fn prepare(cli: &Cli) -> Result<(), Exit> {
    match &cli.command {
        #[cfg(feature = "embedded")]
        Command::Standalone(config) => standalone::settle(config),
        _ => Ok(()),
    }
}

/// Runs what the command line asks for and returns the exit status.
///
/// # Errors
/// [`Exit`], with the status that stands for it.
pub async fn run(cli: Cli) -> Result<u8, Exit> {
    // Where a person reads along, only what needs them interrupts the story.
    let default_log = match cli.command {
        Command::Standalone(_) | Command::Demo(_) => "warn",
        // Celery's verbs say themselves what went wrong.
        Command::Celery(_) => "off",
        Command::Declines(_)
        | Command::Keys(_)
        | Command::Ledger(_)
        | Command::Tariffs(_)
        | Command::Receipts(_)
        | Command::Reconcile(_)
        | Command::Restored(_)
        | Command::Staff(_) => "warn",
        _ => "info",
    };
    let _telemetry = cli.telemetry.start(default_log).map_err(Exit::configuration)?;
    let signals = Signals::listen()?;
    match cli.command {
        Command::Standalone(config) => standalone::run(*config, signals).await,
        Command::Api(config) => roles::api(*config, &signals).await,
        Command::Worker(config) => roles::worker(*config, &signals).await,
        Command::Beat(config) => roles::beat(*config, &signals).await,
        Command::Dashboard(config) => roles::dashboard(*config, &signals).await,
        Command::Admin(config) => roles::admin(*config, &signals).await,
        Command::Sandbox(config) => roles::sandbox(*config, &signals).await,
        Command::Migrate(config) => unless_stopped(&signals, roles::migrate(config)).await,
        Command::Demo(config) => unless_stopped(&signals, async { Ok(demo::status(demo::run(config).await)) }).await,
        Command::Declines(config) => unless_stopped(&signals, declines::run(*config)).await,
        Command::Ledger(config) => unless_stopped(&signals, ledger::run(*config)).await,
        Command::Staff(config) => unless_stopped(&signals, staff::run(*config)).await,
        Command::Tariffs(config) => unless_stopped(&signals, tariffs::run(*config)).await,
        Command::Receipts(config) => unless_stopped(&signals, receipts::run(*config)).await,
        Command::Reconcile(config) => unless_stopped(&signals, reconcile::run(*config)).await,
        Command::Restored(config) => unless_stopped(&signals, restored::run(*config)).await,
        Command::Keys(config) => unless_stopped(&signals, keys::run(*config)).await,
        Command::Cryptogram(config) => roles::cryptogram(&config),
        Command::Token(config) => token::run(&config),
        Command::Celery(verb) => Ok(celery::run(*verb).await),
        Command::Health(config) => {
            let asked = async { health::check(&config).await.map_err(|error| Exit { status: exit::FAILED, error }) };
            unless_stopped(&signals, async { asked.await.map(|()| exit::OK) }).await
        }
    }
}

/// Work that ends by itself and leaves nothing half done is dropped by the first signal.
async fn unless_stopped(signals: &Signals, work: impl Future<Output = Result<u8, Exit>>) -> Result<u8, Exit> {
    tokio::select! {
        done = work => done,
        () = signals.stop.warm.cancelled() => Ok(exit::INTERRUPTED),
    }
}

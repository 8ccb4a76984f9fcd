//! Celery's verbs: `inspect`, `control`, `status`, `events`, `call`, `result`, `purge`, `list`, `report`; and in their
//! manner `parked`, `requeue` and `discard`.
//!
//! They take the options of Celery's own command line, print what it prints and end with its exit statuses, and work
//! for workers of both kinds.

mod call;
mod commands;
mod control;
mod events;
mod failure;
mod inspect;
mod list;
mod options;
mod order;
mod output;
mod parked;
mod purge;
mod python;
mod remote;
mod report;
mod result;
mod status;

use clap::Subcommand;

use self::failure::Failure;
pub use self::order::verb_first;
pub(crate) use self::purge::KNOWN_QUEUES;

/// A verb of Celery's command line.
#[derive(Subcommand, Debug)]
pub enum CeleryCommand {
    /// Ask the workers what they do: active, scheduled, stats, …
    #[command(args_override_self = true)]
    Inspect(inspect::InspectArgs),
    /// Tell the workers what to do: rate_limit, revoke, shutdown, …
    #[command(args_override_self = true)]
    Control(control::ControlArgs),
    /// Show the workers that are online
    #[command(args_override_self = true)]
    Status(status::StatusArgs),
    /// Show what happens: as a live view, or line by line with --dump
    #[command(args_override_self = true)]
    Events(events::EventsArgs),
    /// Send a task by its name
    #[command(args_override_self = true)]
    Call(call::CallArgs),
    /// Print the value that a task has returned
    #[command(args_override_self = true)]
    Result(result::ResultArgs),
    /// Erase all messages from all known task queues
    #[command(args_override_self = true)]
    Purge(purge::PurgeArgs),
    /// Show the messages that no worker could do anything with
    #[command(args_override_self = true)]
    Parked(parked::ParkedArgs),
    /// Send parked messages back to their queues
    #[command(args_override_self = true)]
    Requeue(parked::RequeueArgs),
    /// Throw parked messages away
    #[command(args_override_self = true)]
    Discard(parked::DiscardArgs),
    /// Get information from the broker
    #[command(args_override_self = true)]
    List(list::ListArgs),
    /// Show what is useful in a report of a bug
    #[command(args_override_self = true)]
    Report(report::ReportArgs),
}

/// Does what a verb says and answers the exit status: that of Celery's command line. What went wrong is said on standard
/// error.
#[expect(clippy::print_stderr, reason = "a verb tells its user what is wrong, whether or not anything is logged")]
pub async fn run(command: CeleryCommand) -> u8 {
    let interrupted = tokio::signal::ctrl_c();
    let done = tokio::select! {
        done = dispatch(command) => done,
        _ = interrupted => Err(Failure::aborted()),
    };
    match done {
        Ok(()) => 0,
        Err(Failure { status, message }) => {
            if let Some(message) = message {
                eprintln!("{message}");
            }
            status
        }
    }
}

async fn dispatch(command: CeleryCommand) -> Result<(), Failure> {
    match command {
        CeleryCommand::Inspect(args) => inspect::run(args).await,
        CeleryCommand::Control(args) => control::run(args).await,
        CeleryCommand::Status(args) => status::run(args).await,
        CeleryCommand::Events(args) => events::run(args).await,
        CeleryCommand::Call(args) => call::run(args).await,
        CeleryCommand::Result(args) => result::run(args).await,
        CeleryCommand::Purge(args) => purge::run(args).await,
        CeleryCommand::Parked(args) => parked::parked(args).await,
        CeleryCommand::Requeue(args) => parked::requeue(args).await,
        CeleryCommand::Discard(args) => parked::discard(args).await,
        CeleryCommand::List(args) => list::run(args).await,
        CeleryCommand::Report(args) => report::run(&args),
    }
}

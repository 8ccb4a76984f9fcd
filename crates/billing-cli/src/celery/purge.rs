//! `purge`: erases the messages that wait in queues (`celery/bin/purge.py`).

use std::collections::BTreeSet;
use std::sync::Arc;

use celeriac::broker::{Broker, BrokerError};
use clap::Args;

use super::failure::Failure;
use super::options::GlobalOptions;
use super::output::Output;

/// The queues of this system, and Celery's default.
pub(crate) const KNOWN_QUEUES: [&str; 5] = ["billing", "celery", "lookups", "payments", "renewals"];

#[derive(Args, Debug)]
pub struct PurgeArgs {
    /// Don't prompt for verification
    #[arg(short, long)]
    force: bool,

    /// Comma separated list of queue names to purge [default: billing,celery,lookups,payments,renewals]
    #[arg(short = 'Q', long, value_delimiter = ',')]
    queues: Vec<String>,

    /// Comma separated list of queues names not to purge
    #[arg(short = 'X', long, value_delimiter = ',')]
    exclude_queues: Vec<String>,

    #[command(flatten)]
    global: GlobalOptions,
}

pub(super) async fn run(args: PurgeArgs) -> Result<(), Failure> {
    let out = args.global.output();
    let mut names: BTreeSet<String> =
        if args.queues.is_empty() { KNOWN_QUEUES.map(str::to_owned).into() } else { args.queues.into_iter().collect() };
    names.retain(|name| !args.exclude_queues.contains(name));
    if names.is_empty() {
        return Ok(());
    }
    let queues = if names.len() == 1 { "queue" } else { "queues" };
    if !args.force {
        confirm(out, queues, &names)?;
    }
    let broker = args.global.connect().await?;
    let mut messages = 0;
    for name in &names {
        messages += purge(&broker, name).await?;
    }
    broker.close().await;
    let count = names.len();
    let text = match messages {
        0 => format!("No messages purged from {count} {queues}."),
        1 => format!("Purged 1 message from {count} known task {queues}."),
        _ => format!("Purged {messages} messages from {count} known task {queues}."),
    };
    Ok(out.line(&text)?)
}

/// A queue that does not exist is empty.
async fn purge(broker: &Arc<dyn Broker>, queue: &str) -> Result<u64, BrokerError> {
    match broker.queue_depth(queue).await? {
        Some(_) => broker.purge(queue).await,
        None => Ok(0),
    }
}

fn confirm(out: Output, queues: &str, names: &BTreeSet<String>) -> Result<(), Failure> {
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    out.confirm(&format!(
        "{}:This will remove all tasks from {queues}: {}.\n         There is no undo for this operation!\n\n(to skip \
         this prompt use the -f option)\nAre you sure you want to delete all tasks? [y/N]: ",
        out.warning("WARNING"),
        names.join(", ")
    ))
}

//! `events`: what happens in a cluster, line by line or as a picture (`celery/bin/events.py`).

mod dump;
mod screen;
mod top;

use std::io::IsTerminal as _;
use std::time::Duration;

use celeriac::broker::Broker;
use celeriac::control::{Client, Command};
use celeriac::events::Receiver;
use clap::Args;
use std::sync::Arc;

use super::failure::Failure;
use super::options::{GlobalOptions, seconds};

#[derive(Args, Debug)]
pub struct EventsArgs {
    /// Print each event on a line of its own
    #[arg(short, long)]
    dump: bool,

    /// Seconds between two pictures of the live view
    #[arg(short = 'F', long, visible_alias = "freq", default_value = "1.0", value_parser = seconds, value_name = "FLOAT")]
    frequency: Duration,

    #[command(flatten)]
    global: GlobalOptions,
}

pub(super) async fn run(args: EventsArgs) -> Result<(), Failure> {
    if !args.dump && !std::io::stdout().is_terminal() {
        return Err(Failure::usage("events", "", "The live view needs a terminal; use --dump."));
    }
    if args.dump {
        return dump::run(&args.global).await;
    }
    let unavailable = |error| Failure::remote("events", &error);
    let broker = args.global.connect().await.map_err(unavailable)?;
    let receiver = listen(&broker).await.map_err(unavailable)?;
    top::run(receiver, broker.address(), args.frequency.max(Duration::from_millis(50))).await
}

/// Starts to receive, and asks the workers to show up at once.
async fn listen(broker: &Arc<dyn Broker>) -> Result<Receiver, celeriac::broker::BrokerError> {
    let receiver = Receiver::all(broker).await?;
    Client::new(Arc::clone(broker)).cast(Command::heartbeat()).await?;
    Ok(receiver)
}

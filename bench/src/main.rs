//! `make bench`: celeriac beside Celery, rusty-celery, lapin itself and a bare loop, on one machine in one run.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command line program")]
#![expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "figures")]

mod child;
mod contest;
mod dashboard;
mod figures;
mod job;
mod lists;
mod once;
mod payments;
mod peers;
mod plan;
mod process;
mod reads;
mod reconciling;
mod renewals;
mod report;
mod servers;
mod versions;
mod webhooks;

use std::ffi::OsString;
use std::path::PathBuf;

use anyhow::Result;
use clap::{Parser, Subcommand, ValueEnum};

use crate::contest::Contest;
use crate::job::{Kind, Worker};
use crate::once::Once;
use crate::plan::Scale;
use crate::servers::Servers;

/// Measures celeriac beside what it is compared with, and writes docs/performance.md and docs/performance.svg.
#[derive(Parser)]
struct Arguments {
    /// A rough picture in two minutes; writes no file unless --out says where
    #[arg(long)]
    quick: bool,
    /// How often everything is measured, in turn; the median counts
    #[arg(long)]
    rounds: Option<usize>,
    /// How many accounts there are where very many are measured, and transactions of the gateway
    #[arg(long)]
    accounts: Option<usize>,
    /// Where performance.md and performance.svg are written
    #[arg(long)]
    out: Option<PathBuf>,
    /// What takes very many rows is not measured again: its figures are those of bench/once.json. An hour less
    #[arg(long)]
    kept: bool,
    /// Keeps what `planning`, `webhooks`, `reconciliation`, `lists` or `dashboard` measures in bench/once.json
    #[arg(long, global = true)]
    keep: bool,
    #[command(subcommand)]
    verb: Option<Verb>,
}

#[derive(Subcommand)]
enum Verb {
    /// Whole payments alone, and where their time goes
    Payments {
        #[arg(long, default_value_t = 4_000)]
        count: usize,
    },
    /// How fast due accounts are planned, in how much memory, and how long their rows are locked; and that no call of the
    /// API reads a whole table while there are so many
    Planning {
        #[arg(long, default_value_t = 1_000_000)]
        accounts: usize,
    },
    /// How fast all who watch the log of events hear of what happened
    Watchers {
        #[arg(long, default_value_t = 20_000)]
        events: usize,
    },
    /// A flood of notifications of the gateway, every second one forged: how long the genuine ones wait, and in how much memory;
    /// no forged one has an effect
    Webhooks {
        #[arg(long, default_value_t = 120_000)]
        count: usize,
        /// Notifications a second
        #[arg(long, default_value_t = 2_000.0)]
        rate: f64,
    },
    /// How fast, and in how much memory, a list of so many operations of the gateway is compared with our payments
    Reconciliation {
        #[arg(long, default_value_t = 1_000_000)]
        transactions: usize,
    },
    /// How fast the panel's lists are beside the bare SQL of their rows, on the first page and far from it, and a year's report
    Lists {
        #[arg(long, default_value_t = 1_000_000)]
        accounts: usize,
        /// Payments of each account
        #[arg(long, default_value_t = 10)]
        payments: usize,
    },
    /// The dashboard with fifty open pages beside 2,000 tasks a second: its memory, what it has heard, and how late tasks begin
    Dashboard {
        #[arg(long, default_value_t = 60)]
        seconds: u64,
    },
    /// How late tasks begin at a steady rate
    Latency {
        #[arg(long, value_enum, default_value_t = Kind::Quorum)]
        queue: Kind,
        #[arg(long, value_enum, default_value_t = Contender::Celeriac)]
        worker: Contender,
        /// Tasks a second
        #[arg(long)]
        rate: f64,
        #[arg(long, default_value_t = 3)]
        seconds: u64,
    },
    /// One contender, in a process of its own
    #[command(hide = true)]
    Peer { job: String },
    /// A role of the billing system, in a process of its own
    #[command(hide = true)]
    Billing {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
}

/// Whose latency is measured.
#[derive(Clone, Copy, ValueEnum)]
enum Contender {
    Celeriac,
    /// celeriac without events
    Quiet,
    /// The bare loop
    Bare,
}

impl From<Contender> for Worker {
    fn from(contender: Contender) -> Self {
        match contender {
            Contender::Celeriac => Self::Celeriac { events: true },
            Contender::Quiet => Self::Celeriac { events: false },
            Contender::Bare => Self::BareLoop,
        }
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let Arguments { quick, rounds, accounts, out, kept, keep, verb } = Arguments::parse();
    match verb {
        Some(Verb::Peer { job }) => return peers::run(serde_json::from_str(&job)?).await,
        Some(Verb::Billing { arguments }) => return payments::role(arguments).await,
        Some(Verb::Payments { count }) => {
            println!("{:#?}", payments::measure(&Servers::from_env()?, count).await?);
            return Ok(());
        }
        Some(Verb::Planning { accounts }) => {
            let planned = Some(renewals::plan(&Servers::from_env()?, accounts).await?.into());
            return told(Once { planned, ..Once::default() }, keep);
        }
        Some(Verb::Watchers { events }) => {
            println!("{:#?}", renewals::watch(&Servers::from_env()?, events).await?);
            return Ok(());
        }
        Some(Verb::Webhooks { count, rate }) => {
            let flooded = Some(webhooks::flood(&Servers::from_env()?, count, rate).await?.into());
            return told(Once { flooded, ..Once::default() }, keep);
        }
        Some(Verb::Reconciliation { transactions }) => {
            let reconciled = Some(reconciling::compare(&Servers::from_env()?, transactions).await?.into());
            return told(Once { reconciled, ..Once::default() }, keep);
        }
        Some(Verb::Lists { accounts, payments }) => {
            let listed = Some(lists::read(&Servers::from_env()?, accounts, payments).await?.into());
            return told(Once { listed, ..Once::default() }, keep);
        }
        Some(Verb::Dashboard { seconds }) => {
            let mut contest = Contest::new(Servers::from_env()?).await?;
            let shown = Some(dashboard::show(&mut contest, seconds).await?.into());
            return told(Once { shown, ..Once::default() }, keep);
        }
        Some(Verb::Latency { queue, worker, rate, seconds }) => {
            let mut contest = Contest::new(Servers::from_env()?).await?;
            println!("{:#?}", contest.lateness(worker.into(), queue, rate, seconds).await?);
            return Ok(());
        }
        None => {}
    }
    let mut scale = if quick { Scale::quick() } else { Scale::full() };
    scale.rounds = rounds.unwrap_or(scale.rounds).max(1);
    scale.accounts = accounts.unwrap_or(scale.accounts).max(1);
    let docs = || PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs"));
    let out = out.or_else(|| (!quick).then(docs));

    let mut contest = Contest::new(Servers::from_env()?).await?;
    let versions = versions::read(&contest.servers).await?;
    let once = if kept { Once::kept()? } else { Once::measure(&mut contest, scale).await };
    if !kept && !quick {
        once.keep()?;
    }
    let figures = plan::run(&mut contest, once, scale).await?;
    println!("{}", report::terminal(&figures, &versions, scale));
    if let Some(out) = out {
        let (page, picture) = (out.join("performance.md"), out.join("performance.svg"));
        std::fs::write(&page, report::page(&figures, &versions, scale))?;
        std::fs::write(&picture, report::picture::draw(&figures))?;
        eprintln!("written: {} and {}", page.display(), picture.display());
    }
    anyhow::ensure!(figures.once.is_whole(), "not everything was measured: see what failed above");
    Ok(())
}

fn told(once: Once, keep: bool) -> Result<()> {
    println!("{once:#?}");
    if keep { once.keep() } else { Ok(()) }
}

//! What is measured, in which order. Everything is measured in turn, round after round, so that what disturbs the machine
//! for a while disturbs all alike.

use anyhow::Result;

use crate::contest::Contest;
use crate::figures::Figures;
use crate::job::{Kind, Pool, Sender, Worker};
use crate::once::Once;
use crate::payments;
use crate::renewals;

/// How much is measured.
#[derive(Clone, Copy, Debug)]
pub struct Scale {
    pub rounds: usize,
    /// Tasks of one measurement.
    pub tasks: u64,
    /// The same for Celery, which takes as long with fewer.
    pub celery_tasks: u64,
    /// Whole payments of one measurement.
    pub payments: usize,
    /// Due accounts that are planned, once.
    pub accounts: usize,
    /// Notifications of the gateway in a flood, half of them forged, once.
    pub notifications: usize,
    /// Payments of each account while lists are read, once.
    pub payments_each: usize,
    /// Events that all watchers hear of.
    pub events: usize,
    /// How long tasks are sent beside a dashboard with many open pages, once.
    pub shown: u64,
    /// How long tasks are sent at a steady rate.
    pub seconds: u64,
}

impl Scale {
    pub fn full() -> Self {
        Self {
            rounds: 3,
            tasks: 20_000,
            celery_tasks: 1_500,
            payments: 4_000,
            accounts: 1_000_000,
            notifications: 120_000,
            payments_each: 10,
            events: 20_000,
            shown: 60,
            seconds: 3,
        }
    }

    pub fn quick() -> Self {
        Self {
            rounds: 1,
            tasks: 8_000,
            celery_tasks: 600,
            payments: 1_500,
            accounts: 100_000,
            notifications: 8_000,
            payments_each: 2,
            events: 5_000,
            shown: 10,
            seconds: 2,
        }
    }
}

pub async fn run(contest: &mut Contest, once: Once, scale: Scale) -> Result<Figures> {
    let mut figures = Figures::of(once);
    for round in 1..=scale.rounds {
        eprintln!("round {round} of {}, payments", scale.rounds);
        let settled = payments::measure(&contest.servers, scale.payments).await?;
        eprintln!("  payments: {:.0}/s, pgbench {:.0}/s", settled.ours, settled.pgbench);
        figures.settled(settled);
        let watched = renewals::watch(&contest.servers, scale.events).await?;
        eprintln!("  events: {:.0}/s to each watcher", watched.rate);
        figures.watched(watched);
        for kind in Kind::ALL {
            eprintln!("round {round} of {}, {} queues", scale.rounds, kind.name());
            throughput(contest, &mut figures, kind, scale).await?;
            of_celery(contest, &mut figures, kind, scale).await?;
            lateness(contest, &mut figures, kind, scale).await?;
        }
        of_rusty_celery(contest, &mut figures, scale).await?;
        for worker in STARTED {
            figures.started(worker, contest.startup(worker).await?);
        }
    }
    Ok(figures)
}

pub const STARTED: [Worker; 3] =
    [Worker::Celeriac { events: true }, Worker::RustyCelery, Worker::Celery(Pool::Prefork2)];

async fn throughput(contest: &mut Contest, figures: &mut Figures, kind: Kind, scale: Scale) -> Result<()> {
    let full = Worker::Celeriac { events: true };
    let quiet = Worker::Celeriac { events: false };
    for (sender, worker, processes, results) in [
        (Sender::RawPipelined, Worker::BareLoop, 1, true),
        (Sender::CeleriacMany, full, 1, true),
        (Sender::CeleriacCallers, full, 2, true),
        (Sender::RawCallers, Worker::BareLoop, 1, true),
        (Sender::CeleriacMany, full, 4, true),
        (Sender::CeleriacCrowd, quiet, 1, true),
        (Sender::CeleriacMany, full, 1, false),
        (Sender::CeleriacCallers, quiet, 1, false),
    ] {
        let (queue, rate) = contest.fill(sender, kind, scale.tasks, results).await?;
        figures.sent(sender, kind, rate);
        let execution = contest.empty(worker, kind, queue, scale.tasks, processes, results).await?;
        eprintln!("  {sender:?} {rate:.0}/s, {processes} × {worker:?} {:.0}/s (results {results})", execution.rate);
        figures.executed(worker, kind, processes, results, execution);
    }
    Ok(())
}

async fn of_celery(contest: &mut Contest, figures: &mut Figures, kind: Kind, scale: Scale) -> Result<()> {
    for pool in Pool::ALL {
        let (queue, rate) = contest.fill(Sender::Celery, kind, scale.celery_tasks, true).await?;
        figures.sent(Sender::Celery, kind, rate);
        let worker = Worker::Celery(pool);
        let execution = contest.empty(worker, kind, queue, scale.celery_tasks, 1, true).await?;
        eprintln!("  Celery {rate:.0}/s, {pool} {:.0}/s", execution.rate);
        figures.executed(worker, kind, 1, true, execution);
    }
    Ok(())
}

/// It knows classic queues only.
async fn of_rusty_celery(contest: &mut Contest, figures: &mut Figures, scale: Scale) -> Result<()> {
    let (queue, rate) = contest.fill(Sender::RustyCelery, Kind::Classic, scale.tasks, false).await?;
    figures.sent(Sender::RustyCelery, Kind::Classic, rate);
    contest.drop_queue(&queue).await?;
    // What is not confirmed costs the broker less afterwards, too: it executes what all others do.
    let (queue, _) = contest.fill(Sender::CeleriacMany, Kind::Classic, scale.tasks, true).await?;
    let execution = contest.empty(Worker::RustyCelery, Kind::Classic, queue, scale.tasks, 1, false).await?;
    figures.executed(Worker::RustyCelery, Kind::Classic, 1, false, execution);
    Ok(())
}

/// At half of what each can take: celeriac while tasks are sent to it one by one, which is less than from a full queue.
async fn lateness(contest: &mut Contest, figures: &mut Figures, kind: Kind, scale: Scale) -> Result<()> {
    let through = contest.through(kind, scale.tasks).await?;
    figures.through(kind, through);
    let celeriac = Worker::Celeriac { events: true };
    for worker in [celeriac, Worker::BareLoop] {
        figures.late(worker, kind, contest.lateness(worker, kind, through / 2.0, scale.seconds).await?);
    }
    let (pool, best) = figures.best_of_celery(kind);
    let celery = Worker::Celery(pool);
    figures.late(celery, kind, contest.lateness(celery, kind, best.rate / 2.0, scale.seconds).await?);
    figures.late_as_celery(kind, contest.lateness(celeriac, kind, best.rate / 2.0, scale.seconds).await?);
    Ok(())
}

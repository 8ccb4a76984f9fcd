//! What was measured: medians over all rounds.

use std::collections::BTreeMap;

use crate::contest::{Execution, Lateness};
use crate::job::{Kind, Pool, Sender, Worker};
use crate::once::Once;
use crate::payments::{Cost, Settled};
use crate::renewals::Watched;

type Executing = (Worker, Kind, usize, bool);

#[derive(Default)]
pub struct Figures {
    sent: BTreeMap<(Sender, Kind), Vec<f64>>,
    executed: BTreeMap<Executing, Vec<Execution>>,
    through: BTreeMap<Kind, Vec<f64>>,
    late: BTreeMap<(Worker, Kind), Vec<Lateness>>,
    late_as_celery: BTreeMap<Kind, Vec<Lateness>>,
    started: BTreeMap<Worker, Vec<f64>>,
    settled: Vec<Settled>,
    pub once: Once,
    watched: Vec<f64>,
}

impl Figures {
    /// What was measured once; the rest is to come.
    pub fn of(once: Once) -> Self {
        Self { once, ..Self::default() }
    }

    pub fn sent(&mut self, sender: Sender, kind: Kind, rate: f64) {
        self.sent.entry((sender, kind)).or_default().push(rate);
    }

    pub fn executed(&mut self, worker: Worker, kind: Kind, processes: usize, results: bool, execution: Execution) {
        self.executed.entry((worker, kind, processes, results)).or_default().push(execution);
    }

    pub fn through(&mut self, kind: Kind, rate: f64) {
        self.through.entry(kind).or_default().push(rate);
    }

    pub fn late(&mut self, worker: Worker, kind: Kind, lateness: Lateness) {
        self.late.entry((worker, kind)).or_default().push(lateness);
    }

    /// celeriac, at the rate at which Celery is asked.
    pub fn late_as_celery(&mut self, kind: Kind, lateness: Lateness) {
        self.late_as_celery.entry(kind).or_default().push(lateness);
    }

    pub fn started(&mut self, worker: Worker, milliseconds: f64) {
        self.started.entry(worker).or_default().push(milliseconds);
    }

    pub fn settled(&mut self, settled: Settled) {
        self.settled.push(settled);
    }

    pub fn watched(&mut self, watched: Watched) {
        self.watched.push(watched.rate);
    }

    /// Events a second that all watchers have received.
    pub fn watching(&self) -> Option<f64> {
        (!self.watched.is_empty()).then(|| median(self.watched.iter().copied()))
    }

    /// Payments a second.
    pub fn paying(&self) -> Settled {
        let of = |figure: fn(&Settled) -> f64| median(self.settled.iter().map(figure));
        Settled {
            ours: of(|one| one.ours),
            traced: of(|one| one.traced),
            pgbench: of(|one| one.pgbench),
            cost: Cost {
                callers: of(|one| one.cost.callers),
                api: of(|one| one.cost.api),
                worker: of(|one| one.cost.worker),
                sandbox: of(|one| one.cost.sandbox),
                postgres: of(|one| one.cost.postgres),
                broker: of(|one| one.cost.broker),
                backend: of(|one| one.cost.backend),
            },
        }
    }

    /// Tasks a second.
    pub fn sending(&self, sender: Sender, kind: Kind) -> Option<f64> {
        Some(median(self.sent.get(&(sender, kind))?.iter().copied()))
    }

    pub fn executing(&self, worker: Worker, kind: Kind, processes: usize, results: bool) -> Option<Execution> {
        let all = self.executed.get(&(worker, kind, processes, results))?;
        let of = |figure: fn(&Execution) -> f64| median(all.iter().map(figure));
        Some(Execution {
            rate: of(|one| one.rate),
            worker_micros: of(|one| one.worker_micros),
            broker_micros: of(|one| one.broker_micros),
            backend_micros: of(|one| one.backend_micros),
            resident: of(|one| one.resident),
        })
    }

    /// Tasks a second that celeriac sends and executes at the same time.
    pub fn passing(&self, kind: Kind) -> Option<f64> {
        Some(median(self.through.get(&kind)?.iter().copied()))
    }

    pub fn lateness(&self, worker: Worker, kind: Kind) -> Option<Lateness> {
        Some(median_lateness(self.late.get(&(worker, kind))?))
    }

    /// celeriac, at the rate at which Celery was asked.
    pub fn lateness_as_celery(&self, kind: Kind) -> Option<Lateness> {
        Some(median_lateness(self.late_as_celery.get(&kind)?))
    }

    /// Whichever of Celery's pools was late; the best of a round is asked.
    pub fn lateness_of_celery(&self, kind: Kind) -> Option<(Pool, Lateness)> {
        let pools = Pool::ALL.into_iter();
        let asked = pools.filter_map(|pool| Some((pool, self.lateness(Worker::Celery(pool), kind)?)));
        asked.min_by(|a, b| a.1.p50.total_cmp(&b.1.p50))
    }

    /// Milliseconds.
    pub fn startup(&self, worker: Worker) -> Option<f64> {
        Some(median(self.started.get(&worker)?.iter().copied()))
    }

    /// Celery at its best pool.
    pub fn best_of_celery(&self, kind: Kind) -> (Pool, Execution) {
        let pools = Pool::ALL.into_iter();
        let measured = pools.filter_map(|pool| Some((pool, self.executing(Worker::Celery(pool), kind, 1, true)?)));
        measured.max_by(|a, b| a.1.rate.total_cmp(&b.1.rate)).expect("Celery is measured before it is asked for")
    }
}

fn median_lateness(all: &[Lateness]) -> Lateness {
    let of = |figure: fn(&Lateness) -> f64| median(all.iter().map(figure));
    Lateness {
        rate: of(|one| one.rate),
        p50: of(|one| one.p50),
        p99: of(|one| one.p99),
        resident: of(|one| one.resident),
    }
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len() % 2 == 1 { values[middle] } else { f64::midpoint(values[middle - 1], values[middle]) }
}

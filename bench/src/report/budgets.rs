//! What celeriac has promised, beside what was measured.

use super::tables::Table;
use crate::figures::Figures;
use crate::job::{Kind, Sender, Worker};

const FULL: Worker = Worker::Celeriac { events: true };

/// At least, or at most, so much.
enum Bound {
    AtLeast(f64),
    Below(f64),
}

pub fn table(figures: &Figures) -> Table {
    let mut table = Table::new(&["", "budget", "classic", "quorum", ""]);
    for (what, unit, bound, measure) in rows() {
        let measured = Kind::ALL.map(|kind| measure(figures, kind));
        let kept = |value: Option<f64>| {
            value.map(|value| match bound {
                Bound::AtLeast(least) => value >= least,
                Bound::Below(most) => value < most,
            })
        };
        let verdict = match measured.map(kept) {
            [Some(true), Some(false)] => "kept on classic queues",
            [Some(false), Some(true)] => "kept on quorum queues",
            [classic, quorum] if classic.or(quorum) == Some(true) => "kept",
            _ => "missed",
        };
        let budget = match bound {
            Bound::AtLeast(least) => format!("≥ {least}{unit}"),
            Bound::Below(most) => format!("< {most}{unit}"),
        };
        let [classic, quorum] =
            measured.map(|value| value.map_or_else(|| "–".to_owned(), |value| format!("{value:.2}{unit}")));
        table.row(vec![what.to_owned(), budget, classic, quorum, verdict.to_owned()]);
    }
    table
}

type Measure = fn(&Figures, Kind) -> Option<f64>;

fn rows() -> [(&'static str, &'static str, Bound, Measure); 16] {
    [
        ("sending many, to pipelined lapin", "", Bound::AtLeast(0.9), |figures, kind| {
            Some(figures.sending(Sender::CeleriacMany, kind)? / figures.sending(Sender::RawPipelined, kind)?)
        }),
        ("sending from 800 callers, to pipelined lapin", "", Bound::AtLeast(0.9), |figures, kind| {
            Some(figures.sending(Sender::CeleriacCrowd, kind)? / figures.sending(Sender::RawPipelined, kind)?)
        }),
        ("sending from 64 callers, to pipelined lapin", "", Bound::AtLeast(0.9), |figures, kind| {
            Some(figures.sending(Sender::CeleriacCallers, kind)? / figures.sending(Sender::RawPipelined, kind)?)
        }),
        ("sending from 64 callers, to lapin with 64 callers", "", Bound::AtLeast(0.9), |figures, kind| {
            Some(figures.sending(Sender::CeleriacCallers, kind)? / figures.sending(Sender::RawCallers, kind)?)
        }),
        ("executing, to the bare loop", "", Bound::AtLeast(1.1), |figures, kind| {
            Some(rate(figures, FULL, kind, true)? / rate(figures, Worker::BareLoop, kind, true)?)
        }),
        ("executing, to Celery at its best pool", "", Bound::AtLeast(25.0), |figures, kind| {
            Some(rate(figures, FULL, kind, true)? / figures.best_of_celery(kind).1.rate)
        }),
        // Which knows classic queues only: it is what ours on either are measured against.
        ("executing with neither events nor results, to rusty-celery", "", Bound::AtLeast(2.0), |figures, kind| {
            let quiet = Worker::Celeriac { events: false };
            Some(rate(figures, quiet, kind, false)? / rate(figures, Worker::RustyCelery, Kind::Classic, false)?)
        }),
        ("whole payments, to pgbench with the same statements", "", Bound::AtLeast(0.75), |figures, kind| {
            let settled = figures.paying();
            (kind == Kind::Quorum).then_some(settled.ours / settled.pgbench)
        }),
        ("whole payments with every trace kept, to those without", "", Bound::AtLeast(0.95), |figures, kind| {
            let settled = figures.paying();
            (kind == Kind::Quorum).then_some(settled.traced / settled.ours)
        }),
        ("processor time of the worker for a task", " µs", Bound::Below(18.0), |figures, kind| {
            Some(figures.executing(FULL, kind, 1, true)?.worker_micros)
        }),
        ("latency at half load, p50, to the bare loop", "", Bound::Below(1.2), |figures, kind| {
            Some(figures.lateness(FULL, kind)?.p50 / figures.lateness(Worker::BareLoop, kind)?.p50)
        }),
        ("latency at half load, p99", " ms", Bound::Below(8.0), |figures, kind| {
            Some(figures.lateness(FULL, kind)?.p99 / 1e3)
        }),
        ("resident memory under half load", " MB", Bound::Below(40.0), |figures, kind| {
            Some(figures.lateness(FULL, kind)?.resident)
        }),
        ("a page of any list, to the bare SQL of its rows", "", Bound::Below(2.0), |figures, kind| {
            figures.once.listed.filter(|_| kind == Kind::Quorum).map(|listed| listed.figures.to_sql)
        }),
        ("the figures of a year", " ms", Bound::Below(2_000.0), |figures, kind| {
            figures.once.listed.filter(|_| kind == Kind::Quorum).map(|listed| listed.figures.year)
        }),
        ("the gateway's notifications in a flood, p99", " ms", Bound::Below(100.0), |figures, kind| {
            figures.once.flooded.filter(|_| kind == Kind::Quorum).map(|flooded| flooded.figures.p99)
        }),
    ]
}

fn rate(figures: &Figures, worker: Worker, kind: Kind, results: bool) -> Option<f64> {
    Some(figures.executing(worker, kind, 1, results)?.rate)
}

//! Tables of figures.

use std::fmt::Write as _;

use chrono::{NaiveDate, Utc};

use crate::figures::Figures;
use crate::job::{Kind, Pool, Sender, Worker};
use crate::once::Once;
use crate::payments::Cost;
use crate::plan::STARTED;

/// Text in columns; the first is read from the left, the others are figures.
pub struct Table {
    head: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub fn new(head: &[&str]) -> Self {
        Self { head: head.iter().map(|&name| name.to_owned()).collect(), rows: Vec::new() }
    }

    pub fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }

    pub fn markdown(&self) -> String {
        let line = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
        let mut text = line(&self.head);
        let _ = writeln!(text, "|---|{}", "---:|".repeat(self.head.len() - 1));
        for row in &self.rows {
            text += &line(row);
        }
        text
    }

    pub fn plain(&self) -> String {
        let width = |n: usize| {
            let cells = self.rows.iter().chain([&self.head]).map(|row| row[n].chars().count());
            cells.max().unwrap_or_default()
        };
        let widths: Vec<usize> = (0..self.head.len()).map(width).collect();
        let mut text = String::new();
        for row in [&self.head].into_iter().chain(&self.rows) {
            let _ = write!(text, "  {:first$}", row[0], first = widths[0]);
            for (cell, width) in row.iter().zip(&widths).skip(1) {
                let _ = write!(text, "  {cell:>width$}");
            }
            text.push('\n');
        }
        text
    }
}

pub const SENDERS: [(Sender, &str); 7] = [
    (Sender::RawPipelined, "lapin, pipelined confirms"),
    (Sender::CeleriacMany, "celeriac, send_many × 4"),
    (Sender::RawCallers, "lapin, 64 callers"),
    (Sender::CeleriacCallers, "celeriac, 64 callers"),
    (Sender::CeleriacCrowd, "celeriac, 800 callers"),
    (Sender::RustyCelery, "rusty-celery"),
    (Sender::Celery, "Celery"),
];

pub fn sending(figures: &Figures) -> Table {
    let mut table = Table::new(&["", "classic", "ratio to lapin", "quorum", "ratio to lapin"]);
    for (sender, name) in SENDERS {
        let mut row = vec![name.to_owned()];
        for kind in Kind::ALL {
            let rate = figures.sending(sender, kind);
            row.extend([number(rate), ratio(rate, figures.sending(Sender::RawPipelined, kind))]);
        }
        table.row(row);
    }
    table
}

/// Who executes, with results or not.
pub fn executors() -> Vec<(Worker, bool, String)> {
    let celeriac = |events| Worker::Celeriac { events };
    let mut all = vec![
        (Worker::BareLoop, true, "bare loop, events, results".to_owned()),
        (celeriac(true), true, "celeriac, events, results".to_owned()),
        (celeriac(false), true, "celeriac, results".to_owned()),
        (celeriac(true), false, "celeriac, events".to_owned()),
        (celeriac(false), false, "celeriac, neither".to_owned()),
        (Worker::RustyCelery, false, "rusty-celery, neither".to_owned()),
    ];
    all.extend(Pool::ALL.map(|pool| (Worker::Celery(pool), true, format!("Celery, {pool}, events, results"))));
    all
}

pub fn executing(figures: &Figures) -> Table {
    let head = ["", "classic", "to bare loop", "to Celery", "quorum", "to bare loop", "to Celery"];
    let mut table = Table::new(&head);
    for (worker, results, name) in executors() {
        let mut row = vec![name];
        for kind in Kind::ALL {
            let rate = |worker, results| Some(figures.executing(worker, kind, 1, results)?.rate);
            let own = rate(worker, results);
            let celery = Some(figures.best_of_celery(kind).1.rate);
            row.extend([number(own), ratio(own, rate(Worker::BareLoop, true)), ratio(own, celery)]);
        }
        table.row(row);
    }
    table
}

pub fn processes(figures: &Figures) -> Table {
    let mut table = Table::new(&["worker processes", "classic", "to one", "quorum", "to one"]);
    for processes in [1, 2, 4] {
        let mut row = vec![processes.to_string()];
        for kind in Kind::ALL {
            let rate = |n| Some(figures.executing(Worker::Celeriac { events: true }, kind, n, true)?.rate);
            row.extend([number(rate(processes)), ratio(rate(processes), rate(1))]);
        }
        table.row(row);
    }
    let mut row = vec!["1, while tasks are sent to it".to_owned()];
    for kind in Kind::ALL {
        let alone = figures.executing(Worker::Celeriac { events: true }, kind, 1, true).map(|one| one.rate);
        row.extend([number(figures.passing(kind)), ratio(figures.passing(kind), alone)]);
    }
    table.row(row);
    table
}

pub fn latency(figures: &Figures) -> Table {
    let mut table = Table::new(&["", "queue", "tasks a second", "p50", "p99"]);
    for kind in Kind::ALL {
        let celeriac = figures.lateness(Worker::Celeriac { events: true }, kind).map(|late| ("celeriac", late));
        let bare = figures.lateness(Worker::BareLoop, kind).map(|late| ("bare loop", late));
        let celery = figures.lateness_of_celery(kind).map(|(_, late)| ("Celery", late));
        let as_celery = figures.lateness_as_celery(kind).map(|late| ("celeriac, at Celery's rate", late));
        for (name, late) in [celeriac, bare, celery, as_celery].into_iter().flatten() {
            let milliseconds = |micros: f64| format!("{:.2}", micros / 1e3);
            let (p50, p99) = (milliseconds(late.p50), milliseconds(late.p99));
            table.row(vec![name.to_owned(), kind.name().to_owned(), number(Some(late.rate)), p50, p99]);
        }
    }
    table
}

pub fn footprint(figures: &Figures) -> Table {
    let mut table = Table::new(&["", "resident, MB", "start-up, ms"]);
    for worker in STARTED {
        let (name, late) = match worker {
            Worker::Celery(pool) => {
                let late = figures.lateness_of_celery(Kind::Classic);
                let measured = late.map_or(pool, |(pool, _)| pool);
                (format!("Celery (memory: {measured}, start-up: {pool})"), late.map(|(_, late)| late))
            }
            Worker::RustyCelery => ("rusty-celery".to_owned(), None),
            _ => ("celeriac".to_owned(), figures.lateness(worker, Kind::Classic)),
        };
        table.row(vec![name, number(late.map(|late| late.resident)), number(figures.startup(worker))]);
    }
    table
}

pub fn payments(figures: &Figures) -> Table {
    let settled = figures.paying();
    let mut table = Table::new(&["", "payments a second", "to pgbench"]);
    for (name, rate) in [
        ("billing, from gRPC to settled", settled.ours),
        ("billing, every trace sent to a collector", settled.traced),
        ("pgbench, the same statements", settled.pgbench),
    ] {
        table.row(vec![name.to_owned(), number(Some(rate)), ratio(Some(rate), Some(settled.pgbench))]);
    }
    table
}

/// What many subscribers ask of the system.
pub fn scale(figures: &Figures) -> Table {
    let mut table = Table::new(&["", "", "measured on"]);
    let Once { planned, flooded, reconciled, listed, shown } = figures.once;
    let mut rows = |on: Option<NaiveDate>, figures: &[(&str, Option<f64>)]| {
        for (name, value) in figures {
            let on = on.map_or_else(|| "–".to_owned(), |on| on.to_string());
            table.row(vec![(*name).to_owned(), number(*value), on]);
        }
    };
    let (on, planned) = (planned.map(|planned| planned.on), planned.map(|planned| planned.figures));
    rows(
        on,
        &[
            ("due accounts", planned.map(|planned| planned.accounts as f64)),
            ("planned a second", planned.map(|planned| planned.rate)),
            ("peak memory of the worker, MB", planned.map(|planned| planned.peak)),
            ("longest lock, ms", planned.map(|planned| planned.longest_lock)),
            ("slowest call of the API, ms", planned.map(|planned| planned.slowest_call)),
        ],
    );
    let (on, flooded) = (flooded.map(|flooded| flooded.on), flooded.map(|flooded| flooded.figures));
    rows(
        on,
        &[
            ("notifications a second, half of them forged", flooded.map(|flooded| flooded.rate)),
            ("a genuine one waits for its reply, p50, ms", flooded.map(|flooded| flooded.p50)),
            ("p99, ms", flooded.map(|flooded| flooded.p99)),
            ("memory of the API after a tenth of them, MB", flooded.map(|flooded| flooded.memory_at_a_tenth)),
            ("after all of them, MB", flooded.map(|flooded| flooded.memory_at_the_end)),
        ],
    );
    let (on, reconciled) =
        (reconciled.map(|reconciled| reconciled.on), reconciled.map(|reconciled| reconciled.figures));
    rows(
        on,
        &[
            ("transactions of a reconciliation", reconciled.map(|reconciled| reconciled.transactions as f64)),
            ("compared a second", reconciled.map(|reconciled| reconciled.rate)),
            ("peak memory of its worker, MB", reconciled.map(|reconciled| reconciled.peak)),
        ],
    );
    let (on, listed) = (listed.map(|listed| listed.on), listed.map(|listed| listed.figures));
    rows(
        on,
        &[
            ("accounts while lists are read", listed.map(|listed| listed.accounts as f64)),
            ("payments while lists are read", listed.map(|listed| listed.payments as f64)),
            ("slowest page of a list, ms", listed.map(|listed| listed.slowest_page)),
            ("the figures of a year, ms", listed.map(|listed| listed.year)),
            ("the figures of a day are added up in, s", listed.map(|listed| listed.roll_up)),
        ],
    );
    let (on, shown) = (shown.map(|shown| shown.on), shown.map(|shown| shown.figures));
    rows(
        on,
        &[
            (
                "tasks executed beside a dashboard with 50 open pages, 2,000 a second",
                shown.map(|shown| shown.tasks as f64),
            ),
            ("memory of the dashboard before them, MB", shown.map(|shown| shown.memory_at_first)),
            ("half-way, MB", shown.map(|shown| shown.memory_in_the_middle)),
            ("after all of them, MB", shown.map(|shown| shown.memory_at_the_end)),
            ("events that it heard", shown.map(|shown| shown.heard as f64)),
            ("events that it dropped", shown.map(|shown| shown.dropped as f64)),
            ("from sending a task to its start without it, p99, ms", shown.map(|shown| shown.p99_alone)),
            ("beside it, p99, ms", shown.map(|shown| shown.p99_beside)),
        ],
    );
    rows(Some(Utc::now().date_naive()), &[("events a second to each of 100 watchers", figures.watching())]);
    table
}

/// Who spends the processors' time of a payment.
pub fn payment_costs(figures: &Figures) -> Table {
    let Cost { callers, api, worker, sandbox, postgres, broker, backend } = figures.paying().cost;
    let mut table = Table::new(&["", "milliseconds a payment", "share"]);
    let all = [
        ("PostgreSQL", postgres),
        ("worker", worker),
        ("RabbitMQ", broker),
        ("API", api),
        ("callers", callers),
        ("the gateway's sandbox", sandbox),
        ("Redis", backend),
    ];
    let sum: f64 = all.iter().map(|(_, cost)| cost).sum();
    for (name, cost) in all.into_iter().chain([("all", sum)]) {
        table.row(vec![name.to_owned(), format!("{cost:.2}"), ratio(Some(cost), Some(sum))]);
    }
    table
}

pub fn costs(figures: &Figures) -> Table {
    let mut table = Table::new(&["", "queue", "worker", "RabbitMQ", "Redis", "tasks a second"]);
    let of_rust = executors().into_iter().filter(|(worker, ..)| !matches!(worker, Worker::Celery(_)));
    for (worker, results, name) in of_rust {
        for kind in Kind::ALL {
            let Some(cost) = figures.executing(worker, kind, 1, results) else { continue };
            let micros = |micros: f64| format!("{micros:.1}");
            table.row(vec![
                name.clone(),
                kind.name().to_owned(),
                micros(cost.worker_micros),
                micros(cost.broker_micros),
                micros(cost.backend_micros),
                number(Some(cost.rate)),
            ]);
        }
    }
    for kind in Kind::ALL {
        let (pool, cost) = figures.best_of_celery(kind);
        let cells = [cost.worker_micros, cost.broker_micros, cost.backend_micros, cost.rate].map(|n| number(Some(n)));
        let mut row = vec![format!("Celery, {pool}"), kind.name().to_owned()];
        row.extend(cells);
        table.row(row);
    }
    table
}

/// Whole numbers with a space between thousands.
pub fn number(value: Option<f64>) -> String {
    let Some(value) = value else { return "–".to_owned() };
    let digits = format!("{:.0}", value.round());
    let mut text = String::new();
    for (n, digit) in digits.chars().enumerate() {
        if n > 0 && (digits.len() - n) % 3 == 0 {
            text.push('\u{202f}');
        }
        text.push(digit);
    }
    text
}

pub fn ratio(value: Option<f64>, to: Option<f64>) -> String {
    match (value, to) {
        (Some(value), Some(to)) if value / to >= 10.0 => format!("{:.1}", value / to),
        (Some(value), Some(to)) => format!("{:.2}", value / to),
        _ => "–".to_owned(),
    }
}

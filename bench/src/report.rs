//! What was measured, as people read it.

pub mod budgets;
pub mod picture;
pub mod tables;

use std::fmt::Write as _;

use self::tables::Table;
use crate::figures::Figures;
use crate::plan::Scale;

/// Names and versions.
type Versions = [(String, String)];

/// What no program can find out: where time goes inside of the worker.
const PROFILE: &str = include_str!("../profile.md");

pub fn terminal(figures: &Figures, versions: &Versions, scale: Scale) -> String {
    let mut text = format!("\n{}\n", how(scale));
    for (name, version) in versions {
        let _ = writeln!(text, "  {name:14} {version}");
    }
    for (title, table, _) in sections(figures) {
        let _ = write!(text, "\n{title}\n{}", table.plain());
    }
    text
}

pub fn page(figures: &Figures, versions: &Versions, scale: Scale) -> String {
    let mut text = String::from(
        "# Performance\n\n<!-- Written by `make bench`: change bench/, not this file. -->\n\n\
         celeriac beside Celery, rusty-celery, lapin itself and a bare loop, measured in one run by `make bench`.\n\n\
         ![Tasks a second, latency, memory and start-up of all contenders](performance.svg)\n\n## How it was measured\n\n",
    );
    let _ = writeln!(text, "{}\n\n| of what, on what | |\n|---|---|", how(scale));
    for (name, version) in versions {
        let _ = writeln!(text, "| {name} | {version} |");
    }
    for (title, table, remarks) in sections(figures) {
        let _ = write!(text, "\n## {title}\n\n{}", table.markdown());
        if !remarks.is_empty() {
            let _ = write!(text, "\n{remarks}\n");
        }
    }
    let _ = write!(text, "\n{PROFILE}");
    text
}

fn how(scale: Scale) -> String {
    let Scale { rounds, tasks, celery_tasks, payments, events, seconds, .. } = scale;
    format!(
        "Medians of {rounds} rounds in which everything is measured in turn; {tasks} tasks each time, {celery_tasks} for \
         Celery, {payments} payments, {events} events, {seconds} s at a steady rate. Servers, senders and workers share one machine. Every task is checked: it was \
         executed once, its result was stored, its message was acknowledged."
    )
}

fn sections(figures: &Figures) -> [(&'static str, Table, &'static str); 10] {
    [
        ("The budget", budgets::table(figures), ""),
        (
            "Sending, tasks a second",
            tables::sending(figures),
            "Durable messages with the headers of a task. lapin and celeriac wait for publisher confirms and have \
             messages that no queue takes returned (`mandatory`); rusty-celery and Celery do neither. Ratios are to \
             lapin with pipelined confirms: four channels with 200 messages on their way each.",
        ),
        (
            "Executing, tasks a second",
            tables::executing(figures),
            "Tasks that add two numbers, acknowledged late, from a full queue: from the first twentieth to the last \
             acknowledgement. The bare loop decodes the body, stores results, publishes the events of a task and \
             acknowledges, all in batches; it has no limits, no retries and no reconnect. rusty-celery has neither events \
             nor results, and knows classic queues only.",
        ),
        (
            "Worker processes, tasks a second",
            tables::processes(figures),
            "Events and results on. The broker, the result backend and all workers share the machine's processors: what \
             two of them gain is what was idle before.",
        ),
        (
            "Latency from send to start at half load, milliseconds",
            tables::latency(figures),
            "Tasks are sent at an even rate by another process, which puts the time into the message; events and results \
             on. Half load is half of what goes through celeriac while 64 callers send to it one by one as fast as they can \
             – the bare loop is asked at the same rate – and half of what Celery executes at its best pool.",
        ),
        (
            "Memory and start-up",
            tables::footprint(figures),
            "Resident memory under half load; for Celery that of its master and its children, shared pages counted once. \
             Start-up is from the start of the process to the end of its first task.",
        ),
        (
            "Whole payments",
            tables::payments(figures),
            "First payments with a card, each of an account of its own: gRPC API, quorum queue, worker, the gateway's sandbox \
             without latency, PostgreSQL that syncs every commit; one API and one worker, 64 callers. With traces, the \
             collector shares the machine, too. pgbench sends the \
             statements of such a payment in its transactions and does nothing else; the best of three numbers of sessions.",
        ),
        (
            "Where the time of a payment goes",
            tables::payment_costs(figures),
            "Processor time from the call to the settled rows, by process. The machine's processors are busy all the while: \
             the sum is what limits the rate.",
        ),
        (
            "At scale",
            tables::scale(figures),
            "Due accounts are planned by one worker, once: it opens bill and payment of each, writes the events, and publishes a \
             message with a confirm; the messages are thrown away as they come. A lock lasts as long as the transaction that has \
             it. Events are committed at once and watched by 100 streams of one API, until the last of them has the last. What \
             stands with an earlier day was not measured again: it takes an hour.",
        ),
        (
            "Where the time goes, microseconds of processor time per task",
            tables::costs(figures),
            "On a quorum queue and on a classic one, while tasks are executed. RabbitMQ's share includes what it does to \
             deliver, acknowledge and take events.",
        ),
    ]
}

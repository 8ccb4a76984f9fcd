//! Figures for whatever watches a program: counters, gauges and histograms of the `metrics` crate, so that
//! the program chooses the exporter. [`AppBuilder::metrics`](crate::AppBuilder::metrics) switches them on; install the
//! recorder before that.
//!
//! Names follow OpenTelemetry's conventions for messaging where these have one; a Prometheus exporter writes `_` for `.`
//! and adds the unit.
//!
//! | name | kind | labels | what |
//! |---|---|---|---|
//! | `messaging.client.sent.messages` | counter | destination, `error.type` | tasks that were sent, retries and steps of workflows included; `error.type` is empty for what the broker has confirmed |
//! | `messaging.client.operation.duration` | histogram, s | destination | from sending to the broker's confirmation |
//! | `messaging.client.consumed.messages` | counter | destination, task | tasks whose bodies have begun |
//! | `messaging.process.duration` | histogram, s | destination, task, outcome | how long bodies ran |
//! | `celeriac.task.wait` | histogram, s | destination, task | from a message's arrival in the worker to the begin of its body; not of tasks with an ETA |
//! | `celeriac.task.retries` | counter | destination, task | attempts that ended with another one |
//! | `celeriac.worker.active` | gauge | – | bodies that run |
//! | `celeriac.worker.taken` | gauge | – | messages that were taken and whose tasks have not ended, those that run included |
//! | `celeriac.worker.slots` | gauge | – | how many bodies may run at once |
//! | `celeriac.worker.prefetch` | gauge | – | how many messages a consumer may hold |
//! | `celeriac.server.away` | gauge | server | 1 while a connection to the broker or the result backend is lost, else 0 |
//! | `celeriac.server.outages` | counter | server | how often that began |
//! | `celeriac.parked.messages` | counter | destination, reason | messages that went to a parking queue |
//! | `celeriac.beat.ticks` | counter | entry, `error.type` | ticks that were sent, or were not |
//! | `celeriac.beat.lag` | histogram, s | entry | from a tick's time to the broker's confirmation |
//! | `celeriac.beat.leads` | gauge | – | 1 in the beat that leads, else 0 |
//!
//! The destination is `messaging.destination.name`, a queue, or an exchange if the task was sent to one; the task is
//! `celery.task_name`; the outcome is `celeriac.outcome`: `succeeded`, `failed`, `retried`, `ignored`, `replaced`, `rejected`,
//! `revoked` or `dropped`.
//!
//! ```no_run
//! # async fn example() -> Result<(), celeriac::BuildError> {
//! celeriac::metrics::describe();
//! let app = celeriac::App::builder().broker("amqp://rabbit").backend("redis://redis").metrics(true).build().await?;
//! # Ok(())
//! # }
//! ```

mod sending;
mod series;
mod tasks;

use ::metrics::{Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge};

pub(crate) use self::sending::SendMeters;
pub(crate) use self::tasks::TaskMeters;

const SENT: &str = "messaging.client.sent.messages";
const SEND_DURATION: &str = "messaging.client.operation.duration";
const CONSUMED: &str = "messaging.client.consumed.messages";
const PROCESS_DURATION: &str = "messaging.process.duration";
const TASK_WAIT: &str = "celeriac.task.wait";
const TASK_RETRIES: &str = "celeriac.task.retries";
const WORKER_ACTIVE: &str = "celeriac.worker.active";
const WORKER_TAKEN: &str = "celeriac.worker.taken";
const WORKER_SLOTS: &str = "celeriac.worker.slots";
const WORKER_PREFETCH: &str = "celeriac.worker.prefetch";
const SERVER_AWAY: &str = "celeriac.server.away";
const SERVER_OUTAGES: &str = "celeriac.server.outages";
const PARKED: &str = "celeriac.parked.messages";
const BEAT_TICKS: &str = "celeriac.beat.ticks";
const BEAT_LAG: &str = "celeriac.beat.lag";
const BEAT_LEADS: &str = "celeriac.beat.leads";

const DESTINATION: &str = "messaging.destination.name";
const TASK: &str = "celery.task_name";
const OUTCOME: &str = "celeriac.outcome";
const ERROR: &str = "error.type";

/// Tells the recorder that is installed what each figure is. Call it once, after installing one.
pub fn describe() {
    describe_counter!(SENT, Unit::Count, "Tasks that were sent");
    describe_histogram!(SEND_DURATION, Unit::Seconds, "From sending a task to the broker's confirmation");
    describe_counter!(CONSUMED, Unit::Count, "Tasks whose bodies have begun");
    describe_histogram!(PROCESS_DURATION, Unit::Seconds, "How long the bodies of tasks ran");
    describe_histogram!(TASK_WAIT, Unit::Seconds, "From a message's arrival in the worker to the begin of its body");
    describe_counter!(TASK_RETRIES, Unit::Count, "Attempts that ended with another one");
    describe_gauge!(WORKER_ACTIVE, Unit::Count, "Bodies that run");
    describe_gauge!(WORKER_TAKEN, Unit::Count, "Messages that were taken and whose tasks have not ended");
    describe_gauge!(WORKER_SLOTS, Unit::Count, "How many bodies may run at once");
    describe_gauge!(WORKER_PREFETCH, Unit::Count, "How many messages a consumer may hold");
    describe_gauge!(SERVER_AWAY, Unit::Count, "Whether the connection to a server is lost");
    describe_counter!(SERVER_OUTAGES, Unit::Count, "How often the connection to a server was lost");
    describe_counter!(PARKED, Unit::Count, "Messages that went to a parking queue");
    describe_counter!(BEAT_TICKS, Unit::Count, "Ticks of the timetable");
    describe_histogram!(BEAT_LAG, Unit::Seconds, "From a tick's time to the broker's confirmation");
    describe_gauge!(BEAT_LEADS, Unit::Count, "Whether this beat leads");
}

/// What a worker is doing, as its heart sees it.
pub(crate) struct Load {
    pub(crate) active: u64,
    pub(crate) taken: usize,
    pub(crate) slots: usize,
    pub(crate) prefetch: usize,
}

#[expect(clippy::cast_precision_loss, reason = "gauges are floats; no worker has 2^53 of anything")]
pub(crate) fn worker_is(load: &Load) {
    gauge!(WORKER_ACTIVE).set(load.active as f64);
    gauge!(WORKER_TAKEN).set(load.taken as f64);
    gauge!(WORKER_SLOTS).set(load.slots as f64);
    gauge!(WORKER_PREFETCH).set(load.prefetch as f64);
}

/// The log says "the broker", a label has no article.
fn label_of(server: &'static str) -> &'static str {
    server.trim_start_matches("the ")
}

/// A first connection to the server is lost.
pub(crate) fn server_is_away(server: &'static str) {
    gauge!(SERVER_AWAY, "server" => label_of(server)).set(1.0);
    counter!(SERVER_OUTAGES, "server" => label_of(server)).increment(1);
}

/// No connection to the server is lost, or none any more.
pub(crate) fn server_is_back(server: &'static str) {
    gauge!(SERVER_AWAY, "server" => label_of(server)).set(0.0);
}

pub(crate) fn parked(queue: &str, reason: &str) {
    counter!(PARKED, DESTINATION => queue.to_owned(), "reason" => reason.to_owned()).increment(1);
}

/// A tick has come to the broker so many seconds after its time.
pub(crate) fn ticked(entry: &str, lag: f64) {
    counter!(BEAT_TICKS, "entry" => entry.to_owned(), ERROR => "").increment(1);
    ::metrics::histogram!(BEAT_LAG, "entry" => entry.to_owned()).record(lag.max(0.0));
}

pub(crate) fn tick_failed(entry: &str, error: &'static str) {
    counter!(BEAT_TICKS, "entry" => entry.to_owned(), ERROR => error).increment(1);
}

pub(crate) fn beat_leads(leads: bool) {
    gauge!(BEAT_LEADS).set(if leads { 1.0 } else { 0.0 });
}

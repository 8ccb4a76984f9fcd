//! What has to be asked for: how deep queues are, what workers say of themselves, what the schedule's store has. It is
//! asked for in the background, so that opening a page asks nobody.

mod management;
mod schedule;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use celeriac::broker::BrokerError;
use celeriac::clock::unix_seconds;
use celeriac::control::Command;
use serde_json::Value;
use tokio::time::{MissedTickBehavior, interval};

use crate::Core;

pub(crate) use self::management::Management;
pub(crate) use self::schedule::{Planned, Schedule, Timetable, in_words};

/// How long workers have to reply.
pub(crate) const PATIENCE: Duration = Duration::from_secs(1);
const QUEUES_EVERY: Duration = Duration::from_secs(5);
const WORKERS_EVERY: Duration = Duration::from_secs(10);
/// Each look at a parking queue that does not exist costs a channel.
const PARKED_EVERY: u32 = 3;
/// Queues beyond this many are not watched.
const MAX_QUEUES: usize = 200;
/// What a worker has said of itself is kept for so long, in seconds.
const FORGOTTEN_AFTER: f64 = 86_400.0;
/// An hour of depths, one a minute.
const TREND: usize = 60;

/// What was learned by asking, and when. Times are seconds since 1970.
#[derive(Debug, Default)]
pub(crate) struct Cluster {
    pub(crate) queues: BTreeMap<String, Depth>,
    /// `None`: they have not been asked for yet.
    pub(crate) queues_at: Option<f64>,
    /// What is wrong with asking for them, in the words of the broker.
    pub(crate) queues_error: Option<String>,
    /// What is wrong with the management API, if it is configured.
    pub(crate) management_error: Option<String>,
    pub(crate) workers: HashMap<String, Facts>,
    pub(crate) schedule: Option<Schedule>,
}

impl Cluster {
    /// All that is parked.
    pub(crate) fn parked(&self) -> u64 {
        self.queues.values().map(|depth| depth.parked.unwrap_or(0)).sum()
    }
}

/// How full a queue is.
#[derive(Clone, Debug, Default)]
pub(crate) struct Depth {
    /// The queue exists.
    pub(crate) exists: bool,
    pub(crate) ready: u64,
    pub(crate) consumers: u64,
    /// Only the management API tells.
    pub(crate) unacked: Option<u64>,
    /// Messages a second, in and out; only the management API tells.
    pub(crate) rates: Option<(f64, f64)>,
    /// `classic`, `quorum`; only the management API tells.
    pub(crate) kind: Option<String>,
    /// In its parking queue.
    pub(crate) parked: Option<u64>,
    /// The most of each of the last minutes, with the number of the minute.
    pub(crate) trend: VecDeque<(i64, u64)>,
}

impl Depth {
    fn note(&mut self, now: f64) {
        let minute = (now / 60.0) as i64;
        match self.trend.back_mut() {
            Some((last, most)) if *last == minute => *most = self.ready.max(*most),
            _ => self.trend.push_back((minute, self.ready)),
        }
        while self.trend.len() > TREND {
            self.trend.pop_front();
        }
    }

    /// How many there were about so many minutes ago.
    pub(crate) fn ago(&self, minutes: i64, now: f64) -> Option<u64> {
        let wanted = (now / 60.0) as i64 - minutes;
        self.trend.iter().find(|(minute, _)| *minute == wanted).map(|(_, ready)| *ready)
    }
}

/// What a worker has said of itself.
#[derive(Clone, Debug, Default)]
pub(crate) struct Facts {
    pub(crate) stats: Value,
    pub(crate) queues: Vec<String>,
    /// When it said so.
    pub(crate) at: f64,
}

impl Facts {
    /// How many tasks may run at once.
    pub(crate) fn pool_size(&self) -> Option<u64> {
        self.stats.pointer("/pool/max-concurrency")?.as_u64()
    }

    /// How many messages it may hold.
    pub(crate) fn prefetch(&self) -> Option<u64> {
        self.stats.get("prefetch_count")?.as_u64()
    }

    /// The most memory that it had, in kilobytes.
    pub(crate) fn memory(&self) -> Option<u64> {
        self.stats.pointer("/rusage/maxrss")?.as_u64()
    }
}

/// Asks until the dashboard is shut down.
pub(crate) fn start(core: &Arc<Core>) {
    tokio::spawn(core.stop.clone().run_until_cancelled_owned(watch_queues(Arc::clone(core))));
    tokio::spawn(core.stop.clone().run_until_cancelled_owned(watch_workers(Arc::clone(core))));
    if core.timetable.is_some() {
        tokio::spawn(core.stop.clone().run_until_cancelled_owned(schedule::watch(Arc::clone(core))));
    }
}

async fn watch_queues(core: Arc<Core>) {
    let mut ticks = interval(QUEUES_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut turn = 0_u32;
    loop {
        ticks.tick().await;
        let names = queue_names(&core);
        let told = match &core.management {
            Some(management) => management.queues().await.map_err(|error| Some(error.to_string())),
            None => Err(None),
        };
        match told {
            Ok(told) => take(&core, names, &told),
            Err(error) => {
                core.cluster.write().management_error = error;
                ask_depths(&core, names, turn.is_multiple_of(PARKED_EVERY)).await;
            }
        }
        turn = turn.wrapping_add(1);
    }
}

/// Those that are configured, and those that workers take tasks from.
fn queue_names(core: &Core) -> BTreeSet<String> {
    let cluster = core.cluster.read();
    let consumed = cluster.workers.values().flat_map(|facts| facts.queues.iter().cloned());
    let known = cluster.queues.keys().cloned();
    let default = std::iter::once(core.app.default_queue().to_owned());
    core.queues.iter().cloned().chain(default).chain(consumed).chain(known).take(MAX_QUEUES).collect()
}

/// What the management API says of the queues that are watched.
fn take(core: &Core, names: BTreeSet<String>, told: &HashMap<String, Depth>) {
    let now = unix_seconds();
    let mut cluster = core.cluster.write();
    for name in names {
        let parked = told.get(&format!("{name}.parked")).map(|depth| depth.ready);
        let depth = cluster.queues.entry(name.clone()).or_default();
        let trend = std::mem::take(&mut depth.trend);
        *depth = Depth { parked: Some(parked.unwrap_or(0)), trend, ..told.get(&name).cloned().unwrap_or_default() };
        depth.note(now);
    }
    (cluster.queues_at, cluster.queues_error, cluster.management_error) = (Some(now), None, None);
}

/// Asks the broker for each queue in turn.
async fn ask_depths(core: &Core, names: BTreeSet<String>, parked_too: bool) {
    for name in names {
        let asked = ask_depth(core, &name, parked_too).await;
        let mut cluster = core.cluster.write();
        let now = unix_seconds();
        match asked {
            Ok((depth, parked)) => {
                let entry = cluster.queues.entry(name).or_default();
                let parked = if parked_too { Some(parked) } else { entry.parked };
                let trend = std::mem::take(&mut entry.trend);
                *entry = Depth { parked, trend, ..depth };
                entry.note(now);
                (cluster.queues_at, cluster.queues_error) = (Some(now), None);
            }
            Err(error) => {
                cluster.queues_error = Some(error.to_string());
                return;
            }
        }
    }
}

async fn ask_depth(core: &Core, name: &str, parked_too: bool) -> Result<(Depth, u64), BrokerError> {
    let broker = core.app.broker();
    let found = broker.queue_depth(name).await?;
    let parked = if parked_too { broker.queue_depth(&core.app.parking(name).name()).await? } else { None };
    let depth = found.map_or_else(Depth::default, |found| Depth {
        exists: true,
        ready: found.messages,
        consumers: found.consumers,
        ..Depth::default()
    });
    Ok((depth, parked.map_or(0, |parked| parked.messages)))
}

async fn watch_workers(core: Arc<Core>) {
    let mut ticks = interval(WORKERS_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let (stats, queues) = tokio::join!(ask_all(&core, Command::stats()), ask_all(&core, Command::active_queues()));
        let (Ok(stats), Ok(mut queues)) = (stats, queues) else { continue };
        let mut cluster = core.cluster.write();
        for (node, stats) in stats {
            let queues = queues.remove(&node).map_or_else(Vec::new, |said| queue_names_of(&said));
            cluster.workers.insert(node, Facts { stats, queues, at: unix_seconds() });
        }
        let forgotten = unix_seconds() - FORGOTTEN_AFTER;
        cluster.workers.retain(|_, facts| facts.at > forgotten);
    }
}

/// The names in a reply to `active_queues`.
pub(crate) fn queue_names_of(said: &Value) -> Vec<String> {
    let name = |queue: &Value| queue.get("name").and_then(Value::as_str).map(str::to_owned);
    said.as_array().into_iter().flatten().filter_map(name).collect()
}

/// What each worker says, of those that reply in time.
///
/// # Errors
/// The broker cannot be reached or refuses.
pub(crate) async fn ask_all(core: &Core, command: Command) -> Result<BTreeMap<String, Value>, BrokerError> {
    let replies = core.control.call(command, PATIENCE).await?.collect().await;
    Ok(replies.into_iter().map(|reply| (reply.node.clone(), read(&reply.value))).collect())
}

/// A reply; one that is no JSON as others write it (`NaN`) is its text.
fn read(value: &celeriac::protocol::RawJson) -> Value {
    serde_json::from_slice(value.as_bytes())
        .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(value.as_bytes()).into_owned()))
}

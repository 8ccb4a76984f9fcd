//! What all parts of a worker share.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::WorkerError;
use super::autoscale::Autoscale;
use super::channel::Channel;
use super::cluster::Lines;
use super::events::EventSink;
use super::hooks::TaskHooks;
use super::management::Management;
use super::pool::Pool;
use super::queues::Queues;
use super::registry::Registry;
use super::state::WorkerState;
use super::threads::Threads;
use super::unserved::Destinations;
use super::vitals::Vitals;
use crate::app::App;
use crate::clock::LamportClock;
use crate::control::Elections;
use crate::metrics::TaskMeters;

pub(crate) struct Shared {
    pub(crate) app: App,
    /// The node name, `celery@<host>`.
    pub(crate) hostname: Arc<str>,
    pub(crate) pid: u32,
    /// When the worker was built.
    pub(crate) started: Instant,
    pub(crate) clock: LamportClock,
    pub(crate) events: EventSink,
    pub(crate) registry: Registry,
    /// Where its tasks go.
    pub(crate) destinations: Destinations,
    pub(crate) settings: Settings,
    pub(crate) state: WorkerState,
    pub(crate) elections: Mutex<Elections>,
    pub(crate) pool: Pool,
    /// The slots of queues that have some of their own.
    pub(crate) own_pools: BTreeMap<String, Pool>,
    /// Between what bounds the pool scales, if it does.
    pub(crate) autoscale: Option<Autoscale>,
    pub(crate) queues: Queues,
    /// Tells of policies.
    pub(super) management: Option<Management>,
    /// Those that may have killed a worker run one at a time.
    pub(crate) trials: Arc<Semaphore>,
    /// Where tasks wait that the cluster limits.
    pub(crate) lines: Lines,
    /// Where blocking bodies run.
    pub(crate) threads: Arc<Threads>,
    pub(crate) hooks: Vec<Box<dyn TaskHooks>>,
    /// Figures of tasks, if they are kept.
    pub(crate) meters: Option<TaskMeters>,
    /// Counts the runs that have not ended.
    pub(crate) runs: TaskTracker,
    /// One for each consumer that was started.
    pub(crate) channels: Mutex<Vec<Arc<Channel>>>,
    /// What the process took when remote control asked for it, since it was last told.
    pub(crate) memory_samples: Mutex<Vec<String>>,
    pub(crate) vitals: Vitals,
    /// Why the worker ends by itself.
    pub(crate) fate: OnceLock<WorkerError>,
    /// Remote control, or the worker itself, asks for a warm shutdown.
    pub(crate) quit: CancellationToken,
    /// Warm shutdown: nothing begins any more.
    pub(crate) stop: CancellationToken,
    /// Cold shutdown: bodies are dropped.
    pub(crate) abandon: CancellationToken,
    /// The end of all patience: what is not settled by now is delivered again.
    pub(crate) give_up: CancellationToken,
}

impl Shared {
    /// The slots in which the tasks of a queue run.
    pub(crate) fn pool_of(&self, queue: &str) -> &Pool {
        self.own_pools.get(queue).unwrap_or(&self.pool)
    }

    /// All slots: those that queues share come first.
    pub(super) fn pools(&self) -> impl Iterator<Item = &Pool> {
        std::iter::once(&self.pool).chain(self.own_pools.values())
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// Store more about each task.
    pub(crate) result_extended: bool,
    /// Store STARTED for every task, whatever it says itself.
    pub(crate) track_started: bool,
    /// Obey remote control.
    pub(crate) remote_control: bool,
    /// Ask other workers at the start what they know.
    pub(crate) mingle: bool,
    /// Listen to other workers.
    pub(crate) gossip: bool,
    /// How often a message may be delivered.
    pub(crate) delivery_limit: Option<u32>,
    /// What has succeeded does not run again.
    pub(crate) deduplicate: bool,
    /// How long the broker waits for an acknowledgement.
    pub(crate) consumer_timeout: Option<Duration>,
    /// Park what is no task that is known here.
    pub(crate) parking: bool,
    /// How long the seat of a worker that died is kept from others.
    pub(crate) lease: Duration,
    /// How long work may stand still.
    pub(crate) stalled_after: Duration,
    /// So many tasks, and the worker ends.
    pub(crate) max_tasks: Option<u64>,
    /// So many bytes of resident memory, and the worker ends.
    pub(crate) max_memory: Option<u64>,
    /// How long a soft shutdown waits.
    pub(crate) soft_shutdown_timeout: Duration,
    /// It waits although nothing runs.
    pub(crate) soft_shutdown_on_idle: bool,
    /// Tasks wait for no rate limit, neither their own nor the cluster's.
    pub(crate) disable_rate_limits: bool,
    /// Say so if some of its tasks go to queues that it does not consume.
    pub(crate) warns_of_other_queues: bool,
    /// Where the worker remembers what is revoked.
    pub(crate) statedb: Option<PathBuf>,
}

/// `RabbitMQ`'s default.
const CONSUMER_TIMEOUT: Duration = Duration::from_secs(30 * 60);

impl Settings {
    /// Whether any message may have to be parked.
    pub(crate) fn parks(&self) -> bool {
        self.parking || self.delivery_limit.is_some()
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            result_extended: false,
            track_started: false,
            remote_control: true,
            mingle: true,
            gossip: true,
            delivery_limit: None,
            deduplicate: false,
            consumer_timeout: Some(CONSUMER_TIMEOUT),
            parking: false,
            lease: Duration::from_secs(30),
            stalled_after: Duration::from_secs(30),
            max_tasks: None,
            max_memory: None,
            soft_shutdown_timeout: Duration::ZERO,
            soft_shutdown_on_idle: false,
            disable_rate_limits: false,
            warns_of_other_queues: true,
            statedb: None,
        }
    }
}

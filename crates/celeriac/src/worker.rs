//! The worker: takes tasks from queues and runs them.
//!
//! ```text
//! consumer ──decode──▶ admission ──spawn──▶ live ──outcome──▶ settle ──▶ results ─▶ retries ─▶ events ─▶ acks
//! (per queue)          (revoked? expired?   (ETA, rate, slot; (all that are ready, in one       (longest finished
//!                       eta? unknown?)       limits, panics)   round trip each)                  prefix together)
//! ```
//!
//! A result is stored before its message is acknowledged; a retry is published and confirmed before. A message is only
//! acknowledged on the channel that it came from.

mod acks;
mod admission;
mod attempts;
mod autoscale;
mod awaited;
mod builder;
mod builtins;
mod cancellation;
mod channel;
mod cluster;
mod conclusion;
mod consumer;
mod events;
mod executor;
mod follows;
mod handle;
mod heart;
mod hooks;
mod live;
mod management;
mod nodename;
mod parking;
mod pool;
mod qos;
mod queues;
mod rate;
mod readiness;
mod registry;
mod renewal;
mod revoked;
mod run;
mod settle;
mod shared;
mod shutdown;
mod spans;
mod state;
mod statedb;
mod supervise;
mod threads;
mod trial;
mod unlock;
mod unserved;
mod vitals;
mod void;
mod warnings;
mod watchdog;
mod workflow;

use std::sync::Arc;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

pub use self::builder::WorkerBuilder;
pub use self::handle::{TaskInfo, WorkerHandle};
pub(crate) use self::heart::heartbeat_on_demand;
pub use self::hooks::{TaskEnd, TaskFailure, TaskHooks};
pub use self::nodename::nodename;
pub use self::readiness::{Readiness, Unready};
pub use self::registry::Call;
pub(crate) use self::registry::Registered;
pub(crate) use self::revoked::{Remembered, shared_values};
pub(crate) use self::run::{Limits, Phase, Run};
pub(crate) use self::shared::Shared;
pub use self::unserved::Unserved;

use self::queues::Taken;
use self::shutdown::Shutdown;
use self::statedb::StateDb;
use self::watchdog::Watchdog;
use crate::app::App;
use crate::broker::BrokerError;

/// Takes tasks from queues and runs them.
///
/// ```no_run
/// # use celeriac::{App, Context, Task, TaskResult, Worker};
/// # use serde::{Deserialize, Serialize};
/// # use tokio_util::sync::CancellationToken;
/// #[derive(Task, Serialize, Deserialize)]
/// #[task(name = "shop.greet")]
/// struct Greet {
///     name: String,
/// }
///
/// async fn greet(task: Greet, _cx: Context) -> TaskResult<String> {
///     Ok(format!("Hello, {}!", task.name))
/// }
///
/// # async fn example(shutdown: CancellationToken) -> Result<(), Box<dyn std::error::Error>> {
/// let app = App::builder().broker("amqp://localhost").backend("redis://localhost").build().await?;
/// Worker::builder(app).task(greet).build()?.run(shutdown).await?;
/// # Ok(())
/// # }
/// ```
pub struct Worker {
    shared: Arc<Shared>,
    added: mpsc::UnboundedReceiver<Taken>,
    shutdown: Shutdown,
    watchdog: Option<Watchdog>,
    statedb: Option<StateDb>,
}

/// Why a worker cannot work.
#[derive(Clone, Debug, thiserror::Error)]
pub enum WorkerError {
    /// A setting that cannot be.
    #[error("{0}")]
    Configuration(String),
    /// The broker refused for good, for instance because a queue exists with other arguments.
    #[error("broker {0}")]
    Broker(#[from] BrokerError),
    /// It has run as many tasks, or taken as much memory, as it may ([`WorkerBuilder::max_tasks`],
    /// [`WorkerBuilder::max_memory`]). Nothing is wrong: start another one.
    #[error("the worker has done its part: {0}")]
    Spent(String),
    /// Its [watchdog](WorkerBuilder::watchdog) saw that it does not work, and only a new start mends that: start another
    /// one.
    #[error("the watchdog ended the worker: {0}")]
    Stuck(String),
}

impl Worker {
    /// Begins a worker of an application; tasks are added to the builder.
    pub fn builder(app: App) -> WorkerBuilder {
        WorkerBuilder::new(app)
    }

    /// Looks at the worker and directs it while it runs.
    #[must_use]
    pub fn handle(&self) -> WorkerHandle {
        WorkerHandle::new(Arc::clone(&self.shared))
    }

    /// Works until `shutdown` is cancelled. Then it takes no more tasks, gives back those that have not begun, and
    /// waits for those that run, at most for the shutdown timeout.
    ///
    /// A broker that cannot be reached is waited for, at the start and later.
    ///
    /// # Errors
    /// [`WorkerError::Broker`] if the broker refuses for good; [`WorkerError::Spent`] and [`WorkerError::Stuck`] as settings
    /// say.
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), WorkerError> {
        if self.shared.settings.warns_of_other_queues {
            unserved::warn_of(&self.shared.destinations.unserved(&self.shared.queues));
        }
        supervise::run(self, shutdown).await
    }
}

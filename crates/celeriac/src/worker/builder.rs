//! Puts a worker together.

mod extend;
mod lifetime;
mod queues;
mod remote;

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use parking_lot::Mutex;
use serde::Serialize;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::queues::own_pools;
use super::autoscale::Autoscale;
use super::cluster::Lines;
use super::events::EventSink;
use super::hooks::TaskHooks;
use super::management::Management;
use super::nodename::try_nodename;
use super::pool::Pool;
use super::queues::Queues;
use super::registry::{Call, Registered, Registry};
use super::revoked::RevokeLimits;
use super::shared::{Settings, Shared};
use super::shutdown::Shutdown;
use super::state::WorkerState;
use super::statedb::StateDb;
use super::threads::Threads;
use super::unserved::Destinations;
use super::vitals::Vitals;
use super::watchdog::{Abort, Watchdog};
use super::{Worker, WorkerError};
use crate::app::App;
use crate::clock::LamportClock;
use crate::context::Context;
use crate::metrics::TaskMeters;
use crate::protocol::RawJson;
use crate::task::{Body, Task, TaskOptions, TaskResult};

/// Settings of a [`Worker`]. `S` is the state that all bodies share.
///
/// ```no_run
/// # use std::time::Duration;
/// # use celeriac::{App, Context, Task, TaskResult, Worker, WorkerError};
/// # use serde::{Deserialize, Serialize};
/// # use tokio_util::sync::CancellationToken;
/// # #[derive(Task, Serialize, Deserialize)]
/// # #[task(name = "shop.count")]
/// # struct Count;
/// struct Shop {
///     name: String,
/// }
///
/// async fn count(_: Count, cx: Context<Shop>) -> TaskResult<usize> {
///     Ok(cx.state().name.len())
/// }
///
/// # async fn example(app: App, shutdown: CancellationToken) -> Result<(), WorkerError> {
/// let worker = Worker::builder(app)
///     .state(Shop { name: "books".to_owned() })
///     .task(count)
///     .queues(["shop", "mails"])
///     .concurrency(200)
///     .shutdown_timeout(Duration::from_secs(60))
///     .events(true)
///     .build()?;
/// worker.run(shutdown).await?;
/// # Ok(())
/// # }
/// ```
#[must_use]
pub struct WorkerBuilder<S = ()> {
    app: App,
    state: Arc<S>,
    registry: Registry,
    queues: Vec<String>,
    concurrency: usize,
    queue_concurrency: BTreeMap<String, usize>,
    prefetch_multiplier: usize,
    hostname: Option<String>,
    excluded: Vec<String>,
    shutdown: Shutdown,
    watchdog: Option<Duration>,
    abort: Option<Abort>,
    events: bool,
    settings: Settings,
    threads: Arc<Threads>,
    hooks: Vec<Box<dyn TaskHooks>>,
    autoscale: Option<(usize, usize)>,
    management: Option<String>,
    revokes: RevokeLimits,
}

impl WorkerBuilder {
    pub(super) fn new(app: App) -> Self {
        Self {
            app,
            state: Arc::new(()),
            registry: Registry::default(),
            queues: Vec::new(),
            concurrency: 64,
            queue_concurrency: BTreeMap::new(),
            prefetch_multiplier: 4,
            hostname: None,
            excluded: Vec::new(),
            shutdown: Shutdown::default(),
            watchdog: None,
            abort: None,
            events: false,
            settings: Settings::default(),
            threads: Arc::default(),
            hooks: Vec::new(),
            autoscale: None,
            management: None,
            revokes: RevokeLimits::default(),
        }
    }

    /// The state that the bodies of all tasks registered from here on share ([`Context::state`]).
    pub fn state<S: Send + Sync + 'static>(self, state: S) -> WorkerBuilder<S> {
        WorkerBuilder {
            app: self.app,
            state: Arc::new(state),
            registry: self.registry,
            queues: self.queues,
            concurrency: self.concurrency,
            queue_concurrency: self.queue_concurrency,
            prefetch_multiplier: self.prefetch_multiplier,
            hostname: self.hostname,
            excluded: self.excluded,
            shutdown: self.shutdown,
            watchdog: self.watchdog,
            abort: self.abort,
            events: self.events,
            settings: self.settings,
            threads: self.threads,
            hooks: self.hooks,
            autoscale: self.autoscale,
            management: self.management,
            revokes: self.revokes,
        }
    }
}

impl<S: Send + Sync + 'static> WorkerBuilder<S> {
    /// Registers a task by its body. Which task it is follows from the type of the first argument.
    ///
    /// ```
    /// # use celeriac::{Context, Task, TaskResult};
    /// # use serde::{Deserialize, Serialize};
    /// #[derive(Task, Serialize, Deserialize)]
    /// #[task(name = "math.add")]
    /// struct Add {
    ///     x: i64,
    ///     y: i64,
    /// }
    ///
    /// async fn add(task: Add, _cx: Context) -> TaskResult<i64> {
    ///     Ok(task.x + task.y)
    /// }
    /// # fn example(app: celeriac::App) { let _ =
    /// celeriac::Worker::builder(app).task(add)
    /// # ; }
    /// ```
    pub fn task<B, M>(mut self, body: B) -> Self
    where
        B: Body<S, M> + Send + Sync + 'static,
        B::Task: Task,
        B::Future: Send + 'static,
        B::Value: Serialize,
    {
        self.registry.insert(Registered::typed(body, Arc::clone(&self.state)));
        self
    }

    /// Registers a task that has no type: its arguments come, and its value goes, as JSON.
    pub fn task_named<F, Fut>(mut self, name: &str, options: TaskOptions, body: F) -> Self
    where
        F: Fn(Call, Context<S>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = TaskResult<RawJson>> + Send + 'static,
    {
        self.registry.insert(Registered::untyped(name, options, body, Arc::clone(&self.state)));
        self
    }

    /// How many bodies run at once; 64 by default.
    pub fn concurrency(mut self, concurrency: usize) -> Self {
        self.concurrency = concurrency;
        self
    }

    /// Each queue's consumer holds this many messages for each body that may run: 4 by default. 0 is without a limit.
    pub fn prefetch_multiplier(mut self, multiplier: usize) -> Self {
        self.prefetch_multiplier = multiplier;
        self
    }

    /// The node name, as `celery worker -n` takes it: `w1@%h`, see [`nodename`](crate::worker::nodename). By default
    /// `celery@%h`.
    pub fn hostname(mut self, hostname: impl Into<String>) -> Self {
        self.hostname = Some(hostname.into());
        self
    }

    /// Announces every task on `celeryev`, as `celery worker -E` does. Events of the worker itself always are.
    pub fn events(mut self, events: bool) -> Self {
        self.events = events;
        self
    }

    /// Stores name, arguments, worker, retries and queue with every result.
    pub fn result_extended(mut self, extended: bool) -> Self {
        self.settings.result_extended = extended;
        self
    }

    /// Stores the state STARTED of every task, whatever the task itself says.
    pub fn track_started(mut self, track: bool) -> Self {
        self.settings.track_started = track;
        self
    }

    /// Lets the number of bodies that run at once follow the work, between `min` and `max`. It starts at `min`; the
    /// concurrency counts no longer. Messages are prefetched for `max` bodies from the beginning.
    pub fn autoscale(mut self, max: usize, min: usize) -> Self {
        self.autoscale = Some((max, min));
        self
    }

    /// How long a task that the whole cluster limits (`concurrency_key`) keeps its place when its worker has died; 30
    /// seconds by default, at least 1. A living worker renews it all the time.
    pub fn lease(mut self, lease: Duration) -> Self {
        self.settings.lease = lease.max(Duration::from_secs(1));
        self
    }

    /// # Errors
    /// [`WorkerError::Configuration`] says which setting cannot be.
    pub fn build(mut self) -> Result<Worker, WorkerError> {
        self.registry.insert_builtins(super::builtins::all());
        let doubled: Vec<_> = self.registry.doubled().collect();
        if !doubled.is_empty() {
            let doubled = doubled.join(", ");
            return Err(WorkerError::Configuration(format!(
                "more than one body was registered for {doubled}: leave one"
            )));
        }
        let concurrency = self.autoscale.map_or(self.concurrency, |(_, min)| min);
        let highest = self.autoscale.map_or(concurrency, |(max, _)| max);
        if concurrency == 0 || highest < concurrency || highest > Pool::MAX {
            return Err(WorkerError::Configuration(format!(
                "concurrency is {concurrency} to {highest}, it must be between 1 and {}",
                Pool::MAX
            )));
        }
        if self.app.backend().limits().is_none()
            && let Some(task) = self.registry.tasks().find(|task| task.options.is_cluster_limited())
        {
            return Err(WorkerError::Configuration(format!(
                "task {} is limited in the whole cluster, for which the result backend must be redis:// or memory://; it is {}",
                task.name,
                self.app.backend().address()
            )));
        }
        let own_pools = own_pools(&self.queue_concurrency, self.prefetch_multiplier)?;
        let taken = self.taken()?;
        let management = self.management.as_deref().map(Management::new).transpose();
        let management = management.map_err(WorkerError::Configuration)?;
        let abort = self.abort;
        let shutdown_timeout = self.shutdown.timeout;
        let watchdog = self.watchdog.map(|limit| Watchdog { limit, abort, shutdown_timeout });
        let hostname = try_nodename(self.hostname.as_deref().unwrap_or_default());
        let hostname: Arc<str> = hostname.map_err(|why| WorkerError::Configuration(format!("hostname: {why}")))?.into();
        let pid = std::process::id();
        let broker = Arc::clone(self.app.broker());
        let clock = LamportClock::default();
        let stop = CancellationToken::new();
        let (queues, added) = Queues::new(&stop);
        for queue in taken {
            queues.add(self.app.queue(&queue), true);
        }
        let pool = Pool::new(concurrency, self.prefetch_multiplier);
        if self.autoscale.is_some() {
            pool.prefetch_for(highest);
        }
        let shared = Shared {
            events: EventSink::new(broker, Arc::clone(&hostname), pid, clock.clone(), self.events),
            app: self.app.clone(),
            hostname,
            pid,
            started: Instant::now(),
            clock,
            destinations: Destinations::of(&self.app, &self.registry),
            registry: self.registry,
            settings: self.settings,
            state: WorkerState::new(self.revokes),
            elections: Mutex::default(),
            pool,
            own_pools,
            autoscale: self.autoscale.map(|(max, min)| Autoscale::new(max, min)),
            queues,
            management,
            trials: Arc::new(Semaphore::new(1)),
            lines: Lines::default(),
            threads: self.threads,
            hooks: self.hooks,
            meters: self.app.keeps_metrics().then(TaskMeters::new),
            vitals: Vitals::default(),
            fate: OnceLock::new(),
            runs: TaskTracker::new(),
            channels: Mutex::default(),
            memory_samples: Mutex::default(),
            quit: CancellationToken::new(),
            stop,
            abandon: CancellationToken::new(),
            give_up: CancellationToken::new(),
        };
        let statedb = shared.settings.statedb.clone().map(StateDb::new);
        if let Some(statedb) = &statedb {
            statedb.recall(&shared)?;
        }
        Ok(Worker { shared: Arc::new(shared), added, shutdown: self.shutdown, watchdog, statedb })
    }
}

//! Support for tests of programs that send or run tasks: no server, no clock, no waiting.
//!
//! A [`TestApp`] is an [`App`] on a broker and a result backend inside the process, private to one test. It remembers
//! what was sent, runs a body as a worker would, and runs everything that was sent until nothing is left to do.
//!
//! ```
//! use celeriac::testing::TestApp;
//! use celeriac::{Context, Task, TaskResult};
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Task, Serialize, Deserialize, Debug, PartialEq)]
//! #[task(name = "shop.ship", queue = "shipping")]
//! struct Ship {
//!     order: u64,
//! }
//!
//! #[derive(Task, Serialize, Deserialize)]
//! #[task(name = "shop.pay")]
//! struct Pay {
//!     order: u64,
//! }
//!
//! async fn pay(task: Pay, cx: Context) -> TaskResult<&'static str> {
//!     cx.app().send(Ship { order: task.order }).await?;
//!     Ok("paid")
//! }
//!
//! async fn ship(task: Ship, _cx: Context) -> TaskResult<u64> {
//!     Ok(task.order)
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! let test = TestApp::new().await;
//!
//! // One body, with a real context; what it sends stays where it is.
//! assert_eq!(test.perform(pay, Pay { order: 7 }).await, Ok("paid"));
//! assert_eq!(test.assert_enqueued(&Ship { order: 7 }).routing_key, "shipping");
//!
//! // All that waits, and all that follows from it.
//! test.run_until_idle(|worker| worker.task(pay).task(ship)).await;
//! # }
//! ```
//!
//! An ETA or a countdown, that of a retry too, is remembered and not waited for, and neither is a rate limit
//! ([`disable_rate_limits`](crate::WorkerBuilder::disable_rate_limits)). All else is as in production: arguments go
//! through the wire format, limits end bodies, results are stored and can be asked for.

mod recorder;

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

pub use self::recorder::Enqueued;

use self::recorder::{PRIVATE_QUEUE, Recorder};
use crate::app::{App, AppBuilder, SendOptions};
use crate::context::Context;
use crate::protocol::TaskMessage;
use crate::result::GetError;
use crate::task::{Task, TaskError, TaskResult};
use crate::worker::{Worker, WorkerBuilder, WorkerHandle};

/// How long a test waits before it takes what it waits for as never coming.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often a running worker is asked whether it has anything left to do.
const LOOK_AGAIN: Duration = Duration::from_millis(2);

/// An application for one test. `S` is the state that bodies share.
///
/// It shares nothing with any other `TestApp`, so tests run side by side.
pub struct TestApp<S = ()> {
    app: App,
    recorder: Arc<Recorder>,
    state: S,
    patience: Duration,
}

impl TestApp {
    /// An application with the usual settings.
    pub async fn new() -> Self {
        Self::with(App::builder()).await
    }

    /// An application with the settings of the program under test, such as its routes. Broker and result backend are
    /// replaced.
    ///
    /// # Panics
    /// The settings cannot be.
    pub async fn with(settings: AppBuilder) -> Self {
        let address = format!("memory://{}", Uuid::new_v4());
        let recorder = Arc::new(Recorder::new(&address).await);
        let builder = settings.broker_instance(Arc::clone(&recorder) as _).backend(address);
        let app = builder.build().await.unwrap_or_else(|error| panic!("no application for the test: {error}"));
        Self { app, recorder, state: (), patience: PATIENCE }
    }

    /// The state that bodies get from [`Context::state`]. It is cloned for each run.
    #[must_use]
    pub fn state<S: Clone + Send + Sync + 'static>(self, state: S) -> TestApp<S> {
        TestApp { app: self.app, recorder: self.recorder, state, patience: self.patience }
    }
}

impl<S: Clone + Send + Sync + 'static> TestApp<S> {
    /// How long a body, or all that waits, may take before the test panics; 30 seconds by default.
    #[must_use]
    pub fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// The application, to be given to the program under test.
    #[must_use]
    pub fn app(&self) -> &App {
        &self.app
    }

    /// Runs a body at once and answers what it answered. Nothing follows from it: `Err(TaskError::Retry { .. })` is
    /// what to assert, no retry is sent.
    ///
    /// The task takes the way through the wire format to a worker, so that the body has a context as in production. A
    /// body that panics, or is ended by a limit of its task, answers [`TaskError::Fail`].
    ///
    /// # Panics
    /// The body takes longer than the [patience](Self::patience).
    pub async fn perform<T, F, Fut, R>(&self, body: F, task: T) -> TaskResult<R>
    where
        T: Task,
        F: Fn(T, Context<S>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = TaskResult<R>> + Send + 'static,
        R: Send + 'static,
    {
        self.perform_with(body, task, SendOptions::new()).await
    }

    /// Runs a body at once, as a task that was sent with these options: with an id or headers that the body reads, or
    /// a limit. Where it would go, and when, does not matter.
    ///
    /// # Panics
    /// As [`perform`](Self::perform), and for arguments that cannot be written.
    pub async fn perform_with<T, F, Fut, R>(&self, body: F, task: T, options: SendOptions) -> TaskResult<R>
    where
        T: Task,
        F: Fn(T, Context<S>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = TaskResult<R>> + Send + 'static,
        R: Send + 'static,
    {
        let answer = Arc::new(Mutex::new(None));
        let kept = Arc::clone(&answer);
        let body = move |task: T, cx: Context<S>| {
            let (answering, kept) = (body(task, cx), Arc::clone(&kept));
            async move {
                let answer = answering.await;
                *kept.lock() = Some(answer);
                Ok(())
            }
        };
        let queue = format!("{PRIVATE_QUEUE}{}", Uuid::new_v4());
        let running = self.start(|worker| worker.task(body), [queue.clone()]);
        // A result is stored whatever the task says: it tells the end of the body.
        let options = options.queue(queue.clone()).ignore_result(false);
        let sent = self.app.send_with(task, options).await;
        let sent = sent.unwrap_or_else(|error| panic!("{} cannot be sent: {error}", T::NAME));
        let ended = sent.get(self.patience).await;
        running.stop().await;
        // It is empty: what is left of it is a declaration.
        let _ = self.app.broker().delete_queue(&queue).await;
        let answer = answer.lock().take();
        match (answer, ended) {
            (Some(answer), Ok(())) => answer,
            (_, Err(GetError::Failed(failure))) => Err(TaskError::Fail(failure)),
            (_, Err(error)) => panic!("{}: {error}", T::NAME),
            (None, Ok(())) => panic!("{} has ended without an answer", T::NAME),
        }
    }

    /// Runs everything that was sent, and everything that is sent meanwhile, until nothing is left: retries, children,
    /// callbacks. `tasks` registers the bodies, and may set anything else about the worker but its queues, which are all
    /// that were sent to. It may be called more than once.
    ///
    /// Returns how many bodies have ended. What became of a task is asked of its result ([`App::result`]).
    ///
    /// # Panics
    /// Something is left after the [patience](Self::patience) has ended, for instance a task that sends itself, or the
    /// worker cannot be built.
    pub async fn run_until_idle<W>(&self, tasks: W) -> u64
    where
        W: Fn(WorkerBuilder<S>) -> WorkerBuilder<S>,
    {
        let deadline = Instant::now() + self.patience;
        let mut ended = 0;
        loop {
            // A worker that has stopped has finished or given back whatever it had, so that what waits now is all
            // there is. Sent to a queue that it did not know, for instance.
            let queues = self.recorder.queues();
            if self.waiting(&queues).await == 0 {
                return ended;
            }
            let running = self.start(&tasks, queues.iter().cloned());
            while !self.is_idle(&running.handle, &queues).await {
                assert!(
                    Instant::now() < deadline,
                    "not idle after {:?}: {}",
                    self.patience,
                    self.left(&running.handle)
                );
                sleep(LOOK_AGAIN).await;
            }
            ended += running.stop().await;
        }
    }

    /// The tasks of this type that were sent, in order: those that wait and those that have run, retries too.
    ///
    /// # Panics
    /// The arguments of one cannot be read as this type.
    #[must_use]
    #[track_caller]
    pub fn enqueued<T: Task>(&self) -> Vec<Enqueued<T>> {
        let sent = self.recorder.sent().into_iter().filter(|sent| sent.message.task == T::NAME);
        sent.map(|sent| sent.read().unwrap_or_else(|error| panic!("{}: {error}", T::NAME))).collect()
    }

    /// All tasks that were sent, in order and without their types.
    #[must_use]
    pub fn all_enqueued(&self) -> Vec<Enqueued<()>> {
        self.recorder.sent()
    }

    /// Forgets what was sent so far, for [`enqueued`](Self::enqueued). What waits goes on to wait.
    pub fn clear(&self) {
        self.recorder.clear();
    }

    /// Asserts that exactly this was sent, and answers how.
    ///
    /// # Panics
    /// It was not. The message says what was.
    #[track_caller]
    pub fn assert_enqueued<T: Task + PartialEq + Debug>(&self, task: &T) -> Enqueued<T> {
        let found = self.enqueued::<T>().into_iter().find(|sent| sent.task == *task);
        found.unwrap_or_else(|| panic!("{} {task:?} was not sent; sent were: {}", T::NAME, self.names_sent()))
    }

    /// Asserts that no task of this type was sent.
    ///
    /// # Panics
    /// One was.
    #[track_caller]
    pub fn refute_enqueued<T: Task>(&self) {
        let found = self.recorder.sent().into_iter().any(|sent| sent.message.task == T::NAME);
        assert!(!found, "{} was sent; sent were: {}", T::NAME, self.names_sent());
    }

    fn start<W>(&self, tasks: W, queues: impl IntoIterator<Item = String>) -> Running
    where
        W: FnOnce(WorkerBuilder<S>) -> WorkerBuilder<S>,
    {
        // It is alone: nobody is there to talk to.
        let alone = Worker::builder(self.app.clone()).mingle(false).gossip(false).remote_control(false);
        let alone = alone.disable_rate_limits(true).without_warning_of_other_queues();
        let worker = tasks(alone.state(self.state.clone())).queues(queues);
        let worker = worker.build().unwrap_or_else(|error| panic!("no worker for the test: {error}"));
        let (handle, shutdown) = (worker.handle(), CancellationToken::new());
        let worker = tokio::spawn(worker.run(shutdown.clone()));
        Running { handle, shutdown, worker }
    }

    /// How many messages wait in these queues.
    async fn waiting(&self, queues: &[String]) -> u64 {
        let mut waiting = 0;
        for queue in queues {
            let depth = self.app.broker().queue_depth(queue).await;
            let depth = depth.unwrap_or_else(|error| panic!("queue {queue}: {error}"));
            waiting += depth.map_or(0, |depth| depth.messages);
        }
        waiting
    }

    /// Looks twice: a message on its way from the broker to the worker is seen in neither.
    async fn is_idle(&self, worker: &WorkerHandle, queues: &[String]) -> bool {
        for _ in 0..2 {
            if self.waiting(queues).await > 0 || worker.unacknowledged() > 0 || !worker.active().is_empty() {
                return false;
            }
            sleep(LOOK_AGAIN).await;
        }
        true
    }

    fn left(&self, worker: &WorkerHandle) -> String {
        let active = worker.active().into_iter().chain(worker.reserved()).map(|task| task.request.message);
        let active = names(active);
        format!("{} have ended, running {active}, sent were: {}", worker.processed(), self.names_sent())
    }

    fn names_sent(&self) -> String {
        names(self.recorder.sent().into_iter().map(|sent| sent.message))
    }
}

/// Some tasks, as a person who reads a failed test wants them.
fn names(messages: impl Iterator<Item = TaskMessage>) -> String {
    const SHOWN: usize = 20;
    let shown = |message: TaskMessage| {
        let mut kwargs = String::from_utf8_lossy(message.kwargs.as_bytes()).into_owned();
        if let Some((end, _)) = kwargs.char_indices().nth(200) {
            kwargs.truncate(end);
        }
        format!("{} {kwargs}", message.task)
    };
    let mut messages = messages.peekable();
    if messages.peek().is_none() {
        return "nothing".to_owned();
    }
    let mut lines: Vec<_> = messages.by_ref().take(SHOWN).map(shown).collect();
    let more = messages.count();
    if more > 0 {
        lines.push(format!("{more} more"));
    }
    lines.join(", ")
}

/// A worker that runs for the test.
struct Running {
    handle: WorkerHandle,
    shutdown: CancellationToken,
    worker: tokio::task::JoinHandle<Result<(), crate::worker::WorkerError>>,
}

impl Running {
    /// Stops it and returns how many bodies have ended.
    async fn stop(self) -> u64 {
        self.shutdown.cancel();
        match self.worker.await {
            Ok(Ok(())) => self.handle.processed(),
            Ok(Err(error)) => panic!("the worker of the test has stopped: {error}"),
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }
}

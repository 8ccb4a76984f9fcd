//! What the body of a task knows about its own run.

use std::ops::Deref;
use std::sync::Arc;

use serde::Serialize;
use tokio::time::Instant;

use crate::app::{App, PublishError};
use crate::backend::{BackendError, StoredResult};
use crate::canvas::Canvas;
use crate::protocol::{JsonError, ResultMeta, ResultTuple, TaskMessage};
use crate::result::Published;
use crate::task::{Failure, TaskError, TaskResult};
use crate::trace::TraceContext;
use crate::worker::Run;

/// What the body of a task knows about its own run, and the state that all bodies of a worker share. Cloning it is
/// cheap.
///
/// ```
/// use celeriac::{Context, Failure, Task, TaskError, TaskResult};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Task, Serialize, Deserialize)]
/// #[task(name = "shop.import", soft_time_limit = "5m", max_retries = 10)]
/// struct Import {
///     files: Vec<String>,
/// }
///
/// struct Store;
///
/// async fn import(task: Import, cx: Context<Store>) -> TaskResult<usize> {
///     for (done, file) in task.files.iter().enumerate() {
///         if cx.is_cancelled() {
///             return Err(TaskError::retry(Failure::new("OutOfTime", [done])));
///         }
///         cx.update_state("PROGRESS", &serde_json::json!({"done": done, "of": task.files.len()})).await?;
///         read(cx.state(), file).await?;
///     }
///     Ok(task.files.len())
/// }
/// # async fn read(_: &Store, _: &str) -> std::io::Result<()> { Ok(()) }
/// ```
pub struct Context<S = ()> {
    run: Arc<Run>,
    state: Arc<S>,
}

impl<S> Context<S> {
    pub(crate) fn new(run: Arc<Run>, state: Arc<S>) -> Self {
        Self { run, state }
    }

    /// What was given to the worker's builder.
    #[must_use]
    pub fn state(&self) -> &S {
        &self.state
    }

    /// The application, to send other tasks. Tasks that are sent here become children of this one.
    #[must_use]
    pub fn app(&self) -> &App {
        self.run.app()
    }

    /// The message that is being worked on: Celery's `self.request`.
    #[must_use]
    pub fn request(&self) -> &Request {
        &self.run.request
    }

    /// The trace that this run is part of, if it is part of one.
    #[must_use]
    pub fn trace(&self) -> Option<&TraceContext> {
        self.run.trace.get()
    }

    /// The tasks and groups that this task has sent until now; none where its result is ignored, as they are kept to be stored
    /// with it.
    #[must_use]
    pub fn children(&self) -> Vec<ResultTuple> {
        self.run.children()
    }

    /// When the task is told to end (its soft limit), or else ended (its hard limit).
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.run.deadline()
    }

    /// The broker has delivered this message before: to a worker that died or lost its connection, which may have
    /// done any part of the task.
    #[must_use]
    pub fn redelivered(&self) -> bool {
        self.run.request.delivery_info.redelivered
    }

    /// For a task with `concurrency_key`: a number that is higher with each task of the key that may run. A store that
    /// remembers the highest one that wrote can refuse a task that lost its lease and does not know yet.
    #[must_use]
    pub fn fence(&self) -> Option<u64> {
        self.run.fence.get().copied()
    }

    /// Waits until the task is told to end, at its soft time limit.
    ///
    /// A body that has called this once is trusted to end by itself, at the latest at its hard time limit. One that
    /// never does is dropped where it awaits and fails with `SoftTimeLimitExceeded`, as the exception would do to a
    /// Python task.
    pub fn cancelled(&self) -> impl Future<Output = ()> + Send + 'static {
        self.run.cancellation.listen();
        let run = Arc::clone(&self.run);
        async move { run.cancellation.told().await }
    }

    /// The task was told to end.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.run.cancellation.is_told()
    }

    /// What a body answers when it was told to end and could not finish: it fails with `SoftTimeLimitExceeded`.
    #[must_use]
    pub fn interrupted(&self) -> TaskError {
        TaskError::fail(soft_time_limit_exceeded())
    }

    /// Stores a state of the task's own, for instance how far it is: `cx.update_state("PROGRESS", &json!({"done": 3}))`.
    ///
    /// # Errors
    /// `meta` cannot be written as JSON, or is larger than [`max_result_size`](crate::AppBuilder::max_result_size); or the
    /// result backend cannot be reached.
    pub async fn update_state<T: Serialize + ?Sized>(&self, state: &str, meta: &T) -> Result<(), UpdateStateError> {
        let meta = ResultMeta::new(self.run.request.id.clone(), state.into(), self.app().json(meta)?);
        let meta = self.run.described(meta);
        let stored =
            StoredResult { task_id: meta.task_id.clone(), meta: meta.to_json(), is_final: meta.state.is_ready() };
        self.app().check_result(&stored)?;
        self.run.recorded().await;
        Ok(self.app().backend().store(&[stored]).await?)
    }
}

impl<S> Context<S> {
    /// Adds a task or a workflow to the header of the chord that this task is part of, and sends it (Celery's
    /// `self.add_to_chord`): the body waits for it too, and gets its result beside that of this task. The result of a group
    /// is the list of its results.
    ///
    /// A body that is run again, by a retry or by another worker, adds another one.
    ///
    /// # Errors
    /// [`PublishError::NoChord`]; [`PublishError::Backend`] where the result backend counts no chords (PostgreSQL). When
    /// sending fails after the chord was told, the chord waits for what never comes: fail the task then, which fails the
    /// chord.
    pub async fn add_to_chord(&self, canvas: impl Into<Canvas>) -> Result<Published, PublishError> {
        self.app().publish_in_chord(&self.run, canvas.into()).await
    }

    /// Puts a task or a workflow in the place of this task (Celery's `self.replace`): under its id, with its callbacks,
    /// and as the step of its chain or the part of its group or chord that it was. The result of a group is the list of
    /// its results.
    ///
    /// The body ends with the answer: `return cx.replace(…).await`.
    ///
    /// ```
    /// # use celeriac::{Context, TaskResult, canvas::{Canvas, Signature}};
    /// # use serde::{Deserialize, Serialize};
    /// # #[derive(celeriac::Task, Serialize, Deserialize)]
    /// # #[task(name = "shop.settle")]
    /// # struct Settle { orders: Vec<u64> }
    /// async fn settle(task: Settle, cx: Context) -> TaskResult<()> {
    ///     cx.replace(Canvas::group(task.orders.iter().map(|order| Signature::new("shop.settle_one").arg(*order)))).await
    /// }
    /// ```
    ///
    /// # Errors
    /// Always: [`TaskError::Ignore`] once the broker has confirmed the replacement, whose result this task's will be; a
    /// retry when the broker cannot be reached; a failure when nothing can be replaced with `canvas`.
    pub async fn replace<R>(&self, canvas: impl Into<Canvas>) -> TaskResult<R> {
        let published = self.app().publish_instead_of(&self.run, canvas.into()).await;
        Err(match published {
            Ok(_) => {
                self.run.mark_replaced();
                TaskError::ignore()
            }
            Err(error @ (PublishError::Canvas(_) | PublishError::Empty)) => {
                TaskError::fail(Failure::celery("ImproperlyConfigured", [error.to_string()]))
            }
            Err(error) => TaskError::retry(Failure::from_error(&error)),
        })
    }
}

impl<S> Clone for Context<S> {
    fn clone(&self) -> Self {
        Self { run: Arc::clone(&self.run), state: Arc::clone(&self.state) }
    }
}

impl<S> std::fmt::Debug for Context<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Context")
            .field("task", &self.run.request.task)
            .field("id", &self.run.request.id)
            .finish_non_exhaustive()
    }
}

/// As Celery stores it (`billiard.exceptions`).
pub(crate) fn soft_time_limit_exceeded() -> Failure {
    Failure::new("SoftTimeLimitExceeded", Vec::<String>::new()).with_module("billiard.exceptions")
}

/// Why a state could not be stored.
#[derive(Clone, Debug, thiserror::Error)]
pub enum UpdateStateError {
    /// The value cannot be said in JSON.
    #[error("the state cannot be written: {0}")]
    Encode(#[from] JsonError),
    /// It was not stored; trying again may help.
    #[error("result backend {0}")]
    Backend(#[from] BackendError),
}

/// The message that is being worked on: Celery's `self.request`. The fields of the message itself (`id`, `root_id`,
/// `retries`, `headers`, …) are those of [`TaskMessage`].
#[derive(Clone, Debug)]
pub struct Request {
    /// As it was read from the queue.
    pub message: TaskMessage,
    /// How it came.
    pub delivery_info: DeliveryInfo,
    /// The name of the worker's node.
    pub hostname: Arc<str>,
}

impl Deref for Request {
    type Target = TaskMessage;

    fn deref(&self) -> &TaskMessage {
        &self.message
    }
}

impl Request {
    /// Where the sender takes replies (Celery's `rpc://` results, which are not written here).
    #[must_use]
    pub fn reply_to(&self) -> Option<&str> {
        self.message.properties.reply_to.as_deref()
    }

    /// The task's id, unless the sender had something else in mind.
    #[must_use]
    pub fn correlation_id(&self) -> Option<&str> {
        self.message.properties.correlation_id.as_deref()
    }
}

/// How the message came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeliveryInfo {
    /// Where it was published to; the default exchange is empty.
    pub exchange: String,
    /// With which key it was published: the name of the queue, for direct queues.
    pub routing_key: String,
    /// See [`Context::redelivered`].
    pub redelivered: bool,
    /// 0 to 255; 0 if the message has none.
    pub priority: u8,
}

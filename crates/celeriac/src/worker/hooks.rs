//! What others want to know of each task, in the process itself: Celery's signals `task_prerun`, `task_postrun`,
//! `task_success`, `task_retry`, `task_failure`, `task_revoked`.

use std::time::Duration;

use super::conclusion::{Conclusion, Outcome, Report};
use crate::context::Request;
use crate::protocol::Revocation;
use crate::task::{Failure, TaskError};

/// Is told of each task that this worker runs. All of it happens on the task's way: do not block, and do not take long.
///
/// Events (`celery events`) tell the same to other processes.
///
/// ```
/// use std::sync::atomic::{AtomicU64, Ordering};
/// use celeriac::worker::{TaskFailure, TaskHooks};
/// use celeriac::{App, Request, Worker};
///
/// #[derive(Default)]
/// struct Alarm {
///     failed: AtomicU64,
/// }
///
/// impl TaskHooks for Alarm {
///     fn on_failure(&self, request: &Request, failure: &TaskFailure<'_>) {
///         self.failed.fetch_add(1, Ordering::Relaxed);
///         if failure.unexpected {
///             eprintln!("{}: {}", request.task, failure.failure);
///         }
///     }
/// }
///
/// # fn example(app: App) {
/// Worker::builder(app).hooks(Alarm::default())
/// # ; }
/// ```
pub trait TaskHooks: Send + Sync + 'static {
    /// The span in which the body runs and its end is told of, if it is to be another than
    /// [celeriac's own](crate::trace): one that says more of the task, in the fields of that one and some more. The first hook
    /// that has one decides.
    fn span(&self, request: &Request) -> Option<tracing::Span> {
        let _ = request;
        None
    }

    /// The body begins (`task_prerun`).
    fn on_start(&self, request: &Request) {
        let _ = request;
    }

    /// The body has ended, in whatever way (`task_postrun`): called once after each [`on_start`](Self::on_start), behind the
    /// more special ones below. `runtime` is how long it ran.
    fn on_end(&self, request: &Request, end: TaskEnd, runtime: Duration) {
        let _ = (request, end, runtime);
    }

    /// `task_success`
    fn on_success(&self, request: &Request, runtime: Duration) {
        let _ = (request, runtime);
    }

    /// It will be tried again (`task_retry`).
    fn on_retry(&self, request: &Request, cause: &Failure) {
        let _ = (request, cause);
    }

    /// `task_failure`
    fn on_failure(&self, request: &Request, failure: &TaskFailure<'_>) {
        let _ = (request, failure);
    }

    /// The result backend refuses the result of a task for good, and the task has failed by that, although
    /// [`on_success`](Self::on_success) was told of it, or another hook. Unless it is said otherwise here, it is one more
    /// [`on_failure`](Self::on_failure).
    fn on_unstored(&self, request: &Request, failure: &Failure) {
        self.on_failure(request, &TaskFailure { failure, unexpected: true });
    }

    /// `task_revoked`
    fn on_revoked(&self, request: &Request, why: Revocation) {
        let _ = (request, why);
    }
}

/// How a body came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TaskEnd {
    /// With a value.
    Succeeded,
    /// With a failure, an error, a panic, or at a time limit.
    Failed,
    /// It will be tried again.
    Retried,
    /// It answered [`TaskError::Ignore`].
    Ignored,
    /// Something else takes its place ([`Context::replace`](crate::Context::replace)).
    Replaced,
    /// It answered [`TaskError::Reject`].
    Rejected {
        /// The message went back to its queue.
        requeue: bool,
    },
    /// It was terminated.
    Revoked,
    /// It was dropped, because the worker stopped and did not wait any longer. Another one runs the task, if it
    /// acknowledges late.
    Dropped,
}

impl TaskEnd {
    /// The name of the end in figures ([`metrics`](crate::metrics)).
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Retried => "retried",
            Self::Ignored => "ignored",
            Self::Replaced => "replaced",
            Self::Rejected { .. } => "rejected",
            Self::Revoked => "revoked",
            Self::Dropped => "dropped",
        }
    }
}

/// How a task failed.
#[derive(Clone, Copy, Debug)]
pub struct TaskFailure<'a> {
    /// What is stored and told of it.
    pub failure: &'a Failure,
    /// Nobody foresaw it: an error that `?` converted, a panic, the end of its time, or that of
    /// its workers; not what the body answered by
    /// [`TaskError::Fail`].
    pub unexpected: bool,
}

/// Whether nobody foresaw such an end.
pub(super) fn is_unexpected(outcome: &Outcome) -> bool {
    match outcome {
        Outcome::Answered(TaskError::Unexpected(_))
        | Outcome::TooLarge(_)
        | Outcome::SoftTimeLimit
        | Outcome::TimeLimit(_)
        | Outcome::Poison { .. } => true,
        Outcome::Answered(TaskError::Fail(failure)) => failure.exc_type == super::executor::PANIC,
        _ => false,
    }
}

/// What the outcome says of its end, where the report does not.
pub(super) fn end_of(outcome: &Outcome, is_replaced: bool) -> Option<TaskEnd> {
    match outcome {
        Outcome::Answered(TaskError::Ignore) if is_replaced => Some(TaskEnd::Replaced),
        Outcome::Answered(TaskError::Ignore) => Some(TaskEnd::Ignored),
        Outcome::Answered(TaskError::Reject { requeue, .. }) => Some(TaskEnd::Rejected { requeue: *requeue }),
        _ => None,
    }
}

/// How a body that began so long ago has ended, and how long it ran.
pub(super) fn ended(said: Option<TaskEnd>, report: &Report, since_begun: Duration) -> (TaskEnd, Duration) {
    let (end, runtime) = match report {
        Report::Succeeded { runtime, .. } => (TaskEnd::Succeeded, *runtime),
        Report::Retried(_) => (TaskEnd::Retried, since_begun),
        Report::Revoked { .. } => (TaskEnd::Revoked, since_begun),
        Report::Cancelled => (TaskEnd::Dropped, since_begun),
        Report::Nothing => (TaskEnd::Ignored, since_begun),
        Report::Failed(_) | Report::Unknown(_) => (TaskEnd::Failed, since_begun),
    };
    (said.unwrap_or(end), runtime)
}

/// Tells all that the result of a task cannot be stored.
pub(super) fn tell_unstored(hooks: &[Box<dyn TaskHooks>], request: &Request, failure: &Failure) {
    for hook in hooks {
        hook.on_unstored(request, failure);
    }
}

/// Tells all, and the log of what nobody foresaw. A layer that sends errors to Sentry gets the tags that it files them
/// under; arguments stay here.
pub(super) fn tell(hooks: &[Box<dyn TaskHooks>], request: &Request, conclusion: &Conclusion, unexpected: bool) {
    if let (true, Report::Failed(failure)) = (unexpected, &conclusion.report) {
        tracing::error!(
            tags.task = request.task,
            tags.queue = request.delivery_info.routing_key,
            tags.retries = request.retries,
            tags.exc_type = failure.exc_type,
            task_id = request.id,
            error = failure.repr(),
            "task failed unexpectedly"
        );
    }
    for hook in hooks {
        match &conclusion.report {
            Report::Succeeded { runtime, .. } => hook.on_success(request, *runtime),
            Report::Retried(cause) => hook.on_retry(request, cause),
            Report::Failed(failure) => hook.on_failure(request, &TaskFailure { failure, unexpected }),
            Report::Revoked { why, .. } => hook.on_revoked(request, *why),
            Report::Cancelled | Report::Unknown(_) | Report::Nothing => {}
        }
    }
}

//! What a task body may answer instead of a value.

use std::time::Duration;

use super::Failure;

/// The answer of a task body.
pub type TaskResult<R> = Result<R, TaskError>;

/// Why a task body did not answer with a value, and what is to be done about it.
///
/// Every [`std::error::Error`] converts into [`TaskError::Unexpected`], so `?` works in task bodies. Therefore this is
/// no `std::error::Error` itself.
///
/// ```
/// use std::time::Duration;
/// use celeriac::{Failure, TaskError, TaskResult};
///
/// fn charge(answer: u16, body: &str) -> TaskResult<u64> {
///     match answer {
///         200 => Ok(body.parse::<u64>()?), // what is no number is `Unexpected`
///         402 => Err(TaskError::fail(Failure::new("CardDeclined", [body]))),
///         429 => Err(TaskError::retry_in(Duration::from_secs(30), Failure::new("Busy", [body]))),
///         410 => Err(TaskError::ignore()),
///         _ => Err(TaskError::reject(false, "not our gateway")),
///     }
/// }
/// ```
#[derive(Clone, Debug, PartialEq)]
pub enum TaskError {
    /// The task has failed; trying again would change nothing.
    Fail(Failure),
    /// Try again later: after the given time, or as the task's retry policy says. Once its retries are used up the task
    /// fails with this cause.
    Retry {
        /// From now; `None`: as the policy says.
        after: Option<Duration>,
        /// Stored with the state RETRY, and told by `task-retried`.
        cause: Failure,
    },
    /// An error that the body did not foresee. Retried per policy if the task has `autoretry`, else the task fails.
    Unexpected(Failure),
    /// Give the message back to the queue (`requeue`) or drop it, to the dead-letter exchange if there is one.
    Reject {
        /// Back to the queue, from where it is delivered again at once.
        requeue: bool,
        /// Logged.
        reason: String,
    },
    /// Take the message as done and store nothing.
    Ignore,
}

impl TaskError {
    /// [`Fail`](Self::Fail)
    #[must_use]
    pub fn fail(failure: Failure) -> Self {
        Self::Fail(failure)
    }

    /// Retries when the task's policy says.
    #[must_use]
    pub fn retry(cause: Failure) -> Self {
        Self::Retry { after: None, cause }
    }

    /// Retries after this time, whatever the policy says of it; how often is still the policy's.
    #[must_use]
    pub fn retry_in(after: Duration, cause: Failure) -> Self {
        Self::Retry { after: Some(after), cause }
    }

    /// [`Reject`](Self::Reject)
    #[must_use]
    pub fn reject(requeue: bool, reason: impl Into<String>) -> Self {
        Self::Reject { requeue, reason: reason.into() }
    }

    /// [`Ignore`](Self::Ignore)
    #[must_use]
    pub fn ignore() -> Self {
        Self::Ignore
    }
}

impl<E: std::error::Error> From<E> for TaskError {
    fn from(error: E) -> Self {
        Self::Unexpected(Failure::from_error(&error))
    }
}

impl std::fmt::Display for TaskError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Fail(failure) | Self::Unexpected(failure) => failure.fmt(f),
            Self::Retry { cause, .. } => write!(f, "retry: {cause}"),
            Self::Reject { reason, .. } => write!(f, "rejected: {reason}"),
            Self::Ignore => f.write_str("ignored"),
        }
    }
}

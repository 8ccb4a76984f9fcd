//! What became of a task, as result backends store it (`celery/backends/base.py`, `_get_result_meta`).

mod decode;
mod encode;
mod state;

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{JsonError, RawJson};
use crate::task::Failure;

pub use decode::ResultError;
pub use state::State;

/// The stored state of one task. [`to_json`](Self::to_json) writes Celery's JSON, [`from_json`](Self::from_json) reads it.
#[derive(Clone, Debug, PartialEq)]
pub struct ResultMeta {
    /// The task's id.
    pub task_id: String,
    /// Stored as `status`.
    pub state: State,
    /// The value of SUCCESS, the exception of FAILURE, RETRY and REVOKED, whatever was given with other states.
    pub result: RawJson,
    /// Of an exception; for our own failures what caused them.
    pub traceback: Option<String>,
    /// The tasks that this one sent; Celery writes `null` where nobody could know.
    pub children: Option<Vec<ResultTuple>>,
    /// When it ended; only final states have it.
    pub date_done: Option<DateTime<Utc>>,
    /// Its group, if it has one.
    pub group_id: Option<String>,
    /// The task that sent it.
    pub parent_id: Option<String>,
    /// More about the task, stored with `result_extended`.
    pub extended: Option<Box<Extended>>,
}

/// A result and its children as Celery nests them: `[[id, parent], children]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResultTuple {
    /// Of the task, or of the group.
    pub id: String,
    /// The result before it in its chain, where a client has written it.
    pub parent: Option<Box<Self>>,
    /// The members of a group; `None` for a single task.
    pub children: Option<Vec<Self>>,
}

/// What `result_extended` adds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Extended {
    /// The name of the task.
    pub name: Option<String>,
    /// The positional arguments: a list.
    pub args: Option<RawJson>,
    /// The keyword arguments: an object.
    pub kwargs: Option<RawJson>,
    /// The node that ran it.
    pub worker: Option<String>,
    /// How often it was tried before.
    pub retries: Option<u32>,
    /// The routing key, which is the name of the queue for direct queues.
    pub queue: Option<String>,
    /// The names of the stamps.
    pub stamped_headers: Option<Vec<String>>,
    /// The stamps, by their names.
    pub stamps: Vec<(String, RawJson)>,
}

/// Why a task was not run to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Revocation {
    /// Somebody revoked it before it began.
    Revoked,
    /// Its time was over before it began.
    Expired,
    /// Ended while it ran.
    Terminated,
}

impl ResultTuple {
    /// A single task without a parent.
    #[must_use]
    pub fn task(id: impl Into<String>) -> Self {
        Self { id: id.into(), parent: None, children: None }
    }
}

impl ResultMeta {
    /// A result with nothing but these; no children, no end.
    #[must_use]
    pub fn new(task_id: impl Into<String>, state: State, result: RawJson) -> Self {
        Self {
            task_id: task_id.into(),
            state,
            result,
            traceback: None,
            children: Some(Vec::new()),
            date_done: None,
            group_id: None,
            parent_id: None,
            extended: None,
        }
    }

    /// The task answered with a value.
    ///
    /// # Errors
    /// The value cannot be written as JSON.
    pub fn success<T: Serialize + ?Sized>(
        task_id: impl Into<String>,
        value: &T,
        done: DateTime<Utc>,
    ) -> Result<Self, JsonError> {
        Ok(Self { date_done: Some(done), ..Self::new(task_id, State::Success, RawJson::of(value)?) })
    }

    /// The task has failed for good.
    #[must_use]
    pub fn failure(task_id: impl Into<String>, failure: &Failure, done: DateTime<Utc>) -> Self {
        Self { date_done: Some(done), ..Self::exception(task_id, State::Failure, failure) }
    }

    /// The task will be tried again because of `cause`.
    #[must_use]
    pub fn retry(task_id: impl Into<String>, cause: &Failure) -> Self {
        Self::exception(task_id, State::Retry, cause)
    }

    /// The body runs, in the process `pid` of the node `hostname`.
    #[must_use]
    pub fn started(task_id: impl Into<String>, pid: u32, hostname: &str) -> Self {
        Self::new(task_id, State::Started, encode::started(pid, hostname))
    }

    /// The task was not run to its end: `TaskRevokedError`.
    #[must_use]
    pub fn revoked(task_id: impl Into<String>, why: Revocation, done: DateTime<Utc>) -> Self {
        let reason = match why {
            Revocation::Revoked => "revoked",
            Revocation::Expired => "expired",
            Revocation::Terminated => "terminated",
        };
        let failure = Failure::celery("TaskRevokedError", [reason]);
        Self { date_done: Some(done), ..Self::exception(task_id, State::Revoked, &failure) }
    }

    /// The body rejected its message for good: a FAILURE whose exception is `Reject(reason, requeue)`.
    #[must_use]
    pub fn rejected(task_id: impl Into<String>, reason: &str, requeue: bool, done: DateTime<Utc>) -> Self {
        let failure = Failure::celery("Reject", [serde_json::Value::from(reason), requeue.into()]);
        Self::failure(task_id, &failure, done)
    }

    /// A state of the task's own making, for instance its progress.
    ///
    /// # Errors
    /// The value cannot be written as JSON.
    pub fn custom<T: Serialize + ?Sized>(
        task_id: impl Into<String>,
        state: impl Into<State>,
        meta: &T,
    ) -> Result<Self, JsonError> {
        Ok(Self::new(task_id, state.into(), RawJson::of(meta)?))
    }

    fn exception(task_id: impl Into<String>, state: State, failure: &Failure) -> Self {
        Self { traceback: failure.traceback.clone(), ..Self::new(task_id, state, encode::exception(failure)) }
    }

    /// The value of a task that succeeded.
    ///
    /// # Errors
    /// It is of another type.
    pub fn value<T: DeserializeOwned>(&self) -> Result<T, JsonError> {
        self.result.read()
    }

    /// The exception, if the state is one that has an exception.
    #[must_use]
    pub fn exception_info(&self) -> Option<Failure> {
        self.state.is_exception().then(|| decode::failure(&self.result, self.traceback.clone()))
    }
}

//! The states of a task (`celery/states.py`).

use std::fmt;

use serde::{Deserialize, Serialize};

/// The state of a task.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum State {
    /// Nothing is known: not begun, or never heard of.
    Pending,
    /// A worker has it. Only events say so, it is never stored.
    Received,
    /// The body runs; stored with `track_started`.
    Started,
    /// The body has answered a value.
    Success,
    /// It has failed for good.
    Failure,
    /// It was revoked, has expired, or was terminated.
    Revoked,
    /// Its message was rejected. Only events say so.
    Rejected,
    /// It waits to be tried again.
    Retry,
    /// The body has answered [`Ignore`](crate::TaskError::Ignore). Never stored.
    Ignored,
    /// A state of a task's own making.
    Custom(String),
}

impl State {
    /// As it is stored: `SUCCESS`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Pending => "PENDING",
            Self::Received => "RECEIVED",
            Self::Started => "STARTED",
            Self::Success => "SUCCESS",
            Self::Failure => "FAILURE",
            Self::Revoked => "REVOKED",
            Self::Rejected => "REJECTED",
            Self::Retry => "RETRY",
            Self::Ignored => "IGNORED",
            Self::Custom(name) => name,
        }
    }

    /// The task has ended: `READY_STATES`.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        matches!(self, Self::Success | Self::Failure | Self::Revoked)
    }

    /// The result is an exception: `EXCEPTION_STATES`.
    #[must_use]
    pub fn is_exception(&self) -> bool {
        matches!(self, Self::Failure | Self::Revoked | Self::Retry)
    }
}

impl From<&str> for State {
    fn from(name: &str) -> Self {
        match name {
            "PENDING" => Self::Pending,
            "RECEIVED" => Self::Received,
            "STARTED" => Self::Started,
            "SUCCESS" => Self::Success,
            "FAILURE" => Self::Failure,
            "REVOKED" => Self::Revoked,
            "REJECTED" => Self::Rejected,
            "RETRY" => Self::Retry,
            "IGNORED" => Self::Ignored,
            custom => Self::Custom(custom.to_owned()),
        }
    }
}

impl From<String> for State {
    fn from(name: String) -> Self {
        Self::from(name.as_str())
    }
}

impl From<State> for String {
    fn from(state: State) -> Self {
        state.as_str().to_owned()
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

//! What the kinds of events say.

use std::borrow::Cow;

use crate::protocol::Json;

type Text<'a> = Cow<'a, str>;

/// What happened. The fields of each kind are written in this order.
#[derive(Clone, Debug, PartialEq)]
pub enum EventBody<'a> {
    WorkerOnline(WorkerStatus<'a>),
    WorkerHeartbeat(WorkerStatus<'a>),
    WorkerOffline(WorkerStatus<'a>),
    /// Sent by the client that published the task.
    TaskSent(Box<TaskSent<'a>>),
    TaskReceived(Box<TaskReceived<'a>>),
    TaskStarted {
        uuid: Text<'a>,
    },
    TaskSucceeded {
        uuid: Text<'a>,
        /// The `repr` of the result.
        result: Text<'a>,
        /// Seconds.
        runtime: f64,
    },
    TaskFailed {
        uuid: Text<'a>,
        /// The `repr` of the exception.
        exception: Text<'a>,
        /// Celery leaves the key out where there was nothing to trace.
        traceback: Option<Text<'a>>,
    },
    TaskRetried {
        uuid: Text<'a>,
        exception: Text<'a>,
        traceback: Option<Text<'a>>,
    },
    TaskRevoked {
        uuid: Text<'a>,
        terminated: bool,
        /// Null, a number or a name, as it stood in the request.
        signum: Json,
        expired: bool,
    },
    TaskRejected {
        uuid: Text<'a>,
        requeue: bool,
    },
    /// Dropped by a cold shutdown or a lost connection.
    TaskCancelled {
        uuid: Text<'a>,
    },
    /// A kind of somebody else's making, with all its fields.
    Other {
        kind: Text<'a>,
        fields: Vec<(String, Json)>,
    },
}

/// How a worker is. A heartbeat that was asked for has neither counts nor load.
#[derive(Clone, Debug, PartialEq)]
pub struct WorkerStatus<'a> {
    /// Seconds between heartbeats; a worker counts as dead after two of them.
    pub freq: f64,
    /// Tasks that run now.
    pub active: Option<u64>,
    /// Tasks that have run.
    pub processed: Option<u64>,
    pub loadavg: Option<[f64; 3]>,
    pub sw_ident: Text<'a>,
    pub sw_ver: Text<'a>,
    pub sw_sys: Text<'a>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct TaskSent<'a> {
    pub uuid: Text<'a>,
    pub root_id: Option<Text<'a>>,
    pub parent_id: Option<Text<'a>>,
    pub name: Text<'a>,
    /// The `repr` of the arguments.
    pub args: Text<'a>,
    pub kwargs: Text<'a>,
    pub retries: u32,
    /// ISO 8601, like `expires`.
    pub eta: Option<Text<'a>>,
    pub expires: Option<Text<'a>>,
    pub queue: Option<Text<'a>>,
    pub exchange: Option<Text<'a>>,
    pub routing_key: Option<Text<'a>>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct TaskReceived<'a> {
    pub uuid: Text<'a>,
    pub name: Text<'a>,
    pub args: Text<'a>,
    pub kwargs: Text<'a>,
    pub root_id: Option<Text<'a>>,
    pub parent_id: Option<Text<'a>>,
    pub retries: u32,
    pub eta: Option<Text<'a>>,
    pub expires: Option<Text<'a>>,
}

impl EventBody<'_> {
    /// The event's `type`.
    #[must_use]
    pub fn kind(&self) -> &str {
        match self {
            Self::WorkerOnline(_) => "worker-online",
            Self::WorkerHeartbeat(_) => "worker-heartbeat",
            Self::WorkerOffline(_) => "worker-offline",
            Self::TaskSent(_) => "task-sent",
            Self::TaskReceived(_) => "task-received",
            Self::TaskStarted { .. } => "task-started",
            Self::TaskSucceeded { .. } => "task-succeeded",
            Self::TaskFailed { .. } => "task-failed",
            Self::TaskRetried { .. } => "task-retried",
            Self::TaskRevoked { .. } => "task-revoked",
            Self::TaskRejected { .. } => "task-rejected",
            Self::TaskCancelled { .. } => "task-cancelled",
            Self::Other { kind, .. } => kind,
        }
    }

    /// The id of the task that the event is about.
    #[must_use]
    pub fn uuid(&self) -> Option<&str> {
        match self {
            Self::TaskSent(sent) => Some(&sent.uuid),
            Self::TaskReceived(received) => Some(&received.uuid),
            Self::TaskStarted { uuid }
            | Self::TaskSucceeded { uuid, .. }
            | Self::TaskFailed { uuid, .. }
            | Self::TaskRetried { uuid, .. }
            | Self::TaskRevoked { uuid, .. }
            | Self::TaskRejected { uuid, .. }
            | Self::TaskCancelled { uuid } => Some(uuid),
            Self::WorkerOnline(_) | Self::WorkerHeartbeat(_) | Self::WorkerOffline(_) => None,
            Self::Other { fields, .. } => {
                fields.iter().find(|(name, _)| name == "uuid").and_then(|(_, value)| value.as_str())
            }
        }
    }
}

//! What the kinds of events say.

use std::borrow::Cow;

use crate::protocol::Json;

type Text<'a> = Cow<'a, str>;

/// What happened. The fields of each kind are written in this order.
#[derive(Clone, Debug, PartialEq)]
pub enum EventBody<'a> {
    /// A worker has started.
    WorkerOnline(WorkerStatus<'a>),
    /// A worker lives.
    WorkerHeartbeat(WorkerStatus<'a>),
    /// A worker stops in order.
    WorkerOffline(WorkerStatus<'a>),
    /// Sent by the client that published the task.
    TaskSent(Box<TaskSent<'a>>),
    /// A worker has taken it from its queue.
    TaskReceived(Box<TaskReceived<'a>>),
    /// The body begins.
    TaskStarted {
        /// The task's id.
        uuid: Text<'a>,
    },
    /// The body has answered a value.
    TaskSucceeded {
        /// The task's id.
        uuid: Text<'a>,
        /// The `repr` of the result.
        result: Text<'a>,
        /// Seconds.
        runtime: f64,
    },
    /// It has failed for good.
    TaskFailed {
        /// The task's id.
        uuid: Text<'a>,
        /// The `repr` of the exception.
        exception: Text<'a>,
        /// Celery leaves the key out where there was nothing to trace.
        traceback: Option<Text<'a>>,
    },
    /// It will be tried again.
    TaskRetried {
        /// The task's id.
        uuid: Text<'a>,
        /// The `repr` of the exception.
        exception: Text<'a>,
        /// Where it came from.
        traceback: Option<Text<'a>>,
    },
    /// It was not run, or ended while it ran.
    TaskRevoked {
        /// The task's id.
        uuid: Text<'a>,
        /// It ran.
        terminated: bool,
        /// Null, a number or a name, as it stood in the request.
        signum: Json,
        /// Its time was over before it began.
        expired: bool,
    },
    /// Its message was rejected.
    TaskRejected {
        /// The task's id.
        uuid: Text<'a>,
        /// The message went back to its queue.
        requeue: bool,
    },
    /// Dropped by a cold shutdown or a lost connection.
    TaskCancelled {
        /// The task's id.
        uuid: Text<'a>,
    },
    /// A kind of somebody else's making, with all its fields.
    Other {
        /// Its `type`.
        kind: Text<'a>,
        /// All but those that every event has.
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
    /// Of the machine, over 1, 5 and 15 minutes.
    pub loadavg: Option<[f64; 3]>,
    /// What the worker is: `py-celery`, `celeriac`.
    pub sw_ident: Text<'a>,
    /// The version of that.
    pub sw_ver: Text<'a>,
    /// The operating system, as Python's `platform.system()` has it.
    pub sw_sys: Text<'a>,
}

/// What `task-sent` says (`celery/app/amqp.py`, `send_task_message`).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TaskSent<'a> {
    /// The task's id.
    pub uuid: Text<'a>,
    /// The task that began the workflow.
    pub root_id: Option<Text<'a>>,
    /// The task that sent it.
    pub parent_id: Option<Text<'a>>,
    /// The name of the task.
    pub name: Text<'a>,
    /// The `repr` of the arguments.
    pub args: Text<'a>,
    /// The `repr` of the keyword arguments.
    pub kwargs: Text<'a>,
    /// How often it was tried before.
    pub retries: u32,
    /// ISO 8601, like `expires`.
    pub eta: Option<Text<'a>>,
    /// Not started after.
    pub expires: Option<Text<'a>>,
    /// Unless it was sent to an exchange.
    pub queue: Option<Text<'a>>,
    /// The default exchange is empty.
    pub exchange: Option<Text<'a>>,
    /// What the exchange chooses by.
    pub routing_key: Option<Text<'a>>,
}

/// What `task-received` says (`celery/worker/strategy.py`).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TaskReceived<'a> {
    /// The task's id.
    pub uuid: Text<'a>,
    /// The name of the task.
    pub name: Text<'a>,
    /// The `repr` of the arguments.
    pub args: Text<'a>,
    /// The `repr` of the keyword arguments.
    pub kwargs: Text<'a>,
    /// The task that began the workflow.
    pub root_id: Option<Text<'a>>,
    /// The task that sent it.
    pub parent_id: Option<Text<'a>>,
    /// How often it was tried before.
    pub retries: u32,
    /// Not started before; ISO 8601.
    pub eta: Option<Text<'a>>,
    /// Not started after; ISO 8601.
    pub expires: Option<Text<'a>>,
    /// The rest of its chain and the body of its chord, which nobody has sent yet, in order. Ours tell it, where there are some;
    /// Celery's do not, and do not mind.
    pub follows: Vec<Following<'a>>,
}

/// A task that is sent when those before it have ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Following<'a> {
    /// The id that it will have.
    pub uuid: Text<'a>,
    /// The name of the task.
    pub name: Text<'a>,
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

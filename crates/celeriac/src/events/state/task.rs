//! One task.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::protocol::State;
use crate::protocol::event::{Event, EventBody, TaskReceived, TaskSent};

/// A task as its events tell it. What no event has told is `None`. Times are seconds since 1970.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Task {
    /// The task's id.
    pub uuid: String,
    /// The name of the task; told by `task-received`, and by `task-sent`.
    pub name: Option<String>,
    /// The latest by the order of Celery's states, not by arrival (`celery/states.py`, `PRECEDENCE`).
    pub state: State,
    /// When a client published it; only where clients send events.
    pub sent: Option<f64>,
    /// When a worker took it from its queue.
    pub received: Option<f64>,
    /// When its body began.
    pub started: Option<f64>,
    /// When it succeeded.
    pub succeeded: Option<f64>,
    /// When it failed.
    pub failed: Option<f64>,
    /// When it was last sent back to be tried again.
    pub retried: Option<f64>,
    /// When it was dropped as revoked or expired, or terminated.
    pub revoked: Option<f64>,
    /// When its message was rejected.
    pub rejected: Option<f64>,
    /// As text, like `kwargs`, `result` and `exception`.
    pub args: Option<String>,
    /// Its keyword arguments.
    pub kwargs: Option<String>,
    /// The `repr` of its value, if it succeeded.
    pub result: Option<String>,
    /// The `repr` of what made it fail or retry.
    pub exception: Option<String>,
    /// Where that came from.
    pub traceback: Option<String>,
    /// Seconds.
    pub runtime: Option<f64>,
    /// ISO 8601, like `expires`.
    pub eta: Option<String>,
    /// Not started after.
    pub expires: Option<String>,
    /// How often it was tried before.
    pub retries: Option<u32>,
    /// The task that began the workflow.
    pub root_id: Option<String>,
    /// The task that sent it.
    pub parent_id: Option<String>,
    /// Told by its sender, like `exchange` and `routing_key`.
    pub queue: Option<String>,
    /// The default exchange is empty.
    pub exchange: Option<String>,
    /// What its exchange chose by.
    pub routing_key: Option<String>,
    /// Who has sent it.
    pub client: Option<String>,
    /// The node that has it.
    pub worker: Option<String>,
    /// What is sent when it and others have ended: ids and names, in order, as far as its worker tells.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub follows: Vec<(String, String)>,
    /// When it came into its state.
    pub timestamp: f64,
    /// The logical clock of its latest event.
    pub clock: u64,
}

impl Task {
    /// A task of which nothing is known but its id.
    #[must_use]
    pub fn new(uuid: &str) -> Self {
        Self {
            uuid: uuid.to_owned(),
            name: None,
            state: State::Pending,
            sent: None,
            received: None,
            started: None,
            succeeded: None,
            failed: None,
            retried: None,
            revoked: None,
            rejected: None,
            args: None,
            kwargs: None,
            result: None,
            exception: None,
            traceback: None,
            runtime: None,
            eta: None,
            expires: None,
            retries: None,
            root_id: None,
            parent_id: None,
            queue: None,
            exchange: None,
            routing_key: None,
            client: None,
            worker: None,
            follows: Vec::new(),
            timestamp: 0.0,
            clock: 0,
        }
    }

    /// Takes in an event about this task.
    pub fn apply(&mut self, event: &Event<'_>) {
        let state = self.note_time(event);
        // Events overtake each other: one that tells of an earlier state adds what it knows and leaves the state. A
        // retry begins the round anew.
        let is_late =
            state != State::Retry && self.state != State::Retry && precedence(&state) < precedence(&self.state);
        if !is_late {
            self.state = state;
            self.timestamp = event.timestamp;
            self.clock = event.clock.unwrap_or(self.clock);
        }
        if let EventBody::TaskSent(sent) = &event.body {
            self.client = Some(event.hostname.to_string());
            self.take_sent(sent);
        } else {
            self.worker = Some(event.hostname.to_string());
            self.take(&event.body);
        }
    }

    /// Notes when it happened; answers the state that follows.
    fn note_time(&mut self, event: &Event<'_>) -> State {
        let (time, state) = match &event.body {
            EventBody::TaskSent(_) => (&mut self.sent, State::Pending),
            EventBody::TaskReceived(_) => (&mut self.received, State::Received),
            EventBody::TaskStarted { .. } => (&mut self.started, State::Started),
            EventBody::TaskSucceeded { .. } => (&mut self.succeeded, State::Success),
            EventBody::TaskFailed { .. } => (&mut self.failed, State::Failure),
            EventBody::TaskRetried { .. } => (&mut self.retried, State::Retry),
            EventBody::TaskRevoked { .. } => (&mut self.revoked, State::Revoked),
            EventBody::TaskRejected { .. } => (&mut self.rejected, State::Rejected),
            other => {
                let kind = other.kind().trim_start_matches("task-").to_uppercase();
                return State::Custom(kind);
            }
        };
        *time = Some(event.timestamp);
        state
    }

    fn take(&mut self, body: &EventBody<'_>) {
        match body {
            EventBody::TaskReceived(received) => self.take_received(received),
            EventBody::TaskSucceeded { result, runtime, .. } => {
                self.result = Some(result.to_string());
                self.runtime = Some(*runtime);
            }
            EventBody::TaskFailed { exception, traceback, .. }
            | EventBody::TaskRetried { exception, traceback, .. } => {
                self.exception = Some(exception.to_string());
                self.traceback = owned(traceback.as_ref());
            }
            _ => {}
        }
    }

    fn take_received(&mut self, received: &TaskReceived<'_>) {
        self.name = Some(received.name.to_string());
        self.args = Some(received.args.to_string());
        self.kwargs = Some(received.kwargs.to_string());
        self.retries = Some(received.retries);
        self.eta = owned(received.eta.as_ref());
        self.expires = owned(received.expires.as_ref());
        self.root_id = owned(received.root_id.as_ref());
        self.parent_id = owned(received.parent_id.as_ref());
        self.follows = received.follows.iter().map(|one| (one.uuid.to_string(), one.name.to_string())).collect();
    }

    fn take_sent(&mut self, sent: &TaskSent<'_>) {
        self.name = Some(sent.name.to_string());
        self.args = Some(sent.args.to_string());
        self.kwargs = Some(sent.kwargs.to_string());
        self.retries = Some(sent.retries);
        self.eta = owned(sent.eta.as_ref());
        self.expires = owned(sent.expires.as_ref());
        self.root_id = owned(sent.root_id.as_ref());
        self.parent_id = owned(sent.parent_id.as_ref());
        self.queue = owned(sent.queue.as_ref());
        self.exchange = owned(sent.exchange.as_ref());
        self.routing_key = owned(sent.routing_key.as_ref());
    }
}

fn owned(text: Option<&Cow<'_, str>>) -> Option<String> {
    text.map(ToString::to_string)
}

/// How far along a state is (`celery/states.py`, `PRECEDENCE`, reversed).
fn precedence(state: &State) -> u8 {
    match state {
        State::Pending => 0,
        State::Retry => 1,
        State::Rejected => 2,
        State::Received => 3,
        State::Started => 4,
        State::Revoked => 5,
        State::Custom(_) | State::Ignored => 6,
        State::Failure => 7,
        State::Success => 8,
    }
}

//! The commands that workers know (`celery/worker/control.py`), as their callers write them.

use serde_json::Value;

use crate::protocol::RawJson;
use crate::protocol::pidbox::Request;

/// A command and whom it is meant for: all workers unless [`to`](Self::to) or [`matching`](Self::matching) say
/// otherwise.
#[derive(Clone, Debug, PartialEq)]
pub struct Command {
    method: String,
    arguments: Vec<(String, Value)>,
    destination: Option<Vec<String>>,
    pattern: Option<(String, Matcher)>,
}

/// How a pattern is to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Matcher {
    /// `worker?@*`
    Glob,
    /// A regular expression, from the start of the name.
    Pcre,
}

impl Command {
    /// A command by its name, for those that have no function here.
    #[must_use]
    pub fn new(method: impl Into<String>) -> Self {
        Self { method: method.into(), arguments: Vec::new(), destination: None, pattern: None }
    }

    /// Adds a keyword argument.
    #[must_use]
    pub fn argument(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.arguments.push((name.into(), value.into()));
        self
    }

    /// Only to the workers of these names, for instance `celery@host`.
    #[must_use]
    pub fn to<N: Into<String>>(mut self, nodes: impl IntoIterator<Item = N>) -> Self {
        self.destination = Some(nodes.into_iter().map(Into::into).collect());
        self
    }

    /// Only to the workers whose names fit a pattern.
    #[must_use]
    pub fn matching(mut self, pattern: impl Into<String>, matcher: Matcher) -> Self {
        self.pattern = Some((pattern.into(), matcher));
        self
    }

    /// Its name on the wire.
    #[must_use]
    pub fn method(&self) -> &str {
        &self.method
    }

    /// How many workers it is meant for, if it names them.
    pub(super) fn destinations(&self) -> Option<usize> {
        self.destination.as_ref().map(Vec::len).filter(|count| *count > 0)
    }

    pub(super) fn into_request(self) -> Request {
        let arguments: serde_json::Map<String, Value> = self.arguments.into_iter().collect();
        let arguments = RawJson::of(&arguments).expect("arguments are nested a few levels deep");
        let mut request = Request::new(self.method, arguments);
        request.destination = self.destination;
        if let Some((pattern, matcher)) = self.pattern {
            request.pattern = Some(pattern);
            request.matcher = Some(matcher.name().to_owned());
        }
        request
    }
}

impl Matcher {
    fn name(self) -> &'static str {
        match self {
            Self::Glob => "glob",
            Self::Pcre => "pcre",
        }
    }
}

/// What is asked. The answers are described in `celery inspect --list` and in Celery's own guide.
impl Command {
    /// Whether they are there: `{"ok": "pong"}`.
    #[must_use]
    pub fn ping() -> Self {
        Self::new("ping")
    }

    /// The tasks that run now; with `safe`, arguments as text.
    #[must_use]
    pub fn active(safe: bool) -> Self {
        Self::new("active").argument("safe", safe)
    }

    /// The tasks that wait for their time.
    #[must_use]
    pub fn scheduled() -> Self {
        Self::new("scheduled")
    }

    /// The tasks that wait for a free slot.
    #[must_use]
    pub fn reserved() -> Self {
        Self::new("reserved")
    }

    /// The ids of revoked tasks.
    #[must_use]
    pub fn revoked() -> Self {
        Self::new("revoked")
    }

    /// The names of the tasks that they can run, each with these of its attributes; none are Celery's default:
    /// `exchange`, `routing_key`, `rate_limit`.
    #[must_use]
    pub fn registered<'a>(attributes: impl IntoIterator<Item = &'a str>) -> Self {
        Self::new("registered").argument("taskinfoitems", attributes.into_iter().collect::<Vec<_>>())
    }

    /// Counters, pool, broker, use of resources.
    #[must_use]
    pub fn stats() -> Self {
        Self::new("stats")
    }

    /// The queues that they take tasks from.
    #[must_use]
    pub fn active_queues() -> Self {
        Self::new("active_queues")
    }

    /// Their settings, those left at their defaults only on request.
    #[must_use]
    pub fn conf(with_defaults: bool) -> Self {
        Self::new("conf").argument("with_defaults", with_defaults)
    }

    /// What to send with a report of a bug.
    #[must_use]
    pub fn report() -> Self {
        Self::new("report")
    }

    /// What they do with these tasks.
    #[must_use]
    pub fn query_task<I: Into<String>>(ids: impl IntoIterator<Item = I>) -> Self {
        Self::new("query_task").argument("ids", texts(ids))
    }

    /// Their logical clocks.
    #[must_use]
    pub fn clock() -> Self {
        Self::new("clock")
    }

    /// What a worker says when it starts: exchanges revoked ids and logical clocks with the others.
    #[must_use]
    pub fn hello<I: Into<String>>(from_node: &str, revoked: impl IntoIterator<Item = I>) -> Self {
        Self::new("hello").argument("from_node", from_node).argument("revoked", texts(revoked))
    }
}

/// What is told.
impl Command {
    /// Changes how often tasks of one kind may start in each worker: `10/m`, `2/s`, `100/h`; `0` is without a limit.
    #[must_use]
    pub fn rate_limit(task: &str, limit: &str) -> Self {
        Self::new("rate_limit").argument("task_name", task).argument("rate_limit", limit)
    }

    /// Changes how long tasks of one kind may run, in seconds.
    #[must_use]
    pub fn time_limit(task: &str, soft: Option<f64>, hard: Option<f64>) -> Self {
        Self::new("time_limit").argument("task_name", task).argument("hard", hard).argument("soft", soft)
    }

    /// Lets more tasks run at once.
    #[must_use]
    pub fn pool_grow(n: u32) -> Self {
        Self::new("pool_grow").argument("n", n)
    }

    /// Lets fewer tasks run at once.
    #[must_use]
    pub fn pool_shrink(n: u32) -> Self {
        Self::new("pool_shrink").argument("n", n)
    }

    /// Changes between what bounds a pool that scales itself may do so.
    #[must_use]
    pub fn autoscale(max: u32, min: u32) -> Self {
        Self::new("autoscale").argument("max", max).argument("min", min)
    }

    /// Takes tasks from one more queue.
    #[must_use]
    pub fn add_consumer(queue: &str) -> Self {
        Self::new("add_consumer").argument("queue", queue)
    }

    /// Takes tasks from that queue no longer.
    #[must_use]
    pub fn cancel_consumer(queue: &str) -> Self {
        Self::new("cancel_consumer").argument("queue", queue)
    }

    /// Drops tasks instead of beginning them.
    #[must_use]
    pub fn revoke<I: Into<String>>(ids: impl IntoIterator<Item = I>) -> Self {
        Self::revocation("revoke").argument("task_id", texts(ids)).argument("terminate", false)
    }

    /// Drops tasks, and ends those that run.
    #[must_use]
    pub fn terminate<I: Into<String>>(ids: impl IntoIterator<Item = I>) -> Self {
        Self::revocation("revoke").argument("task_id", texts(ids)).argument("terminate", true)
    }

    /// Drops the tasks that carry one of these values of a stamp.
    #[must_use]
    pub fn revoke_by_stamp<I: Into<String>>(stamp: &str, values: impl IntoIterator<Item = I>, terminate: bool) -> Self {
        let headers = serde_json::Map::from_iter([(stamp.to_owned(), texts(values))]);
        Self::revocation("revoke_by_stamped_headers").argument("headers", headers).argument("terminate", terminate)
    }

    /// A signal is named because Celery's workers want one; workers of this crate have no processes to send it to.
    fn revocation(method: &str) -> Self {
        Self::new(method).argument("signal", "SIGTERM")
    }

    /// Announce what happens to tasks.
    #[must_use]
    pub fn enable_events() -> Self {
        Self::new("enable_events")
    }

    /// Announce it no longer.
    #[must_use]
    pub fn disable_events() -> Self {
        Self::new("disable_events")
    }

    /// Say at once that they live.
    #[must_use]
    pub fn heartbeat() -> Self {
        Self::new("heartbeat")
    }

    /// End, after the tasks that run. There is no reply.
    #[must_use]
    pub fn shutdown() -> Self {
        Self::new("shutdown")
    }
}

fn texts<I: Into<String>>(texts: impl IntoIterator<Item = I>) -> Value {
    texts.into_iter().map(Into::into).collect::<Vec<String>>().into()
}

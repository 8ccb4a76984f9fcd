//! Events as Celery writes them: flat objects, keys in Celery's order.

use bytes::Bytes;

use super::{Event, EventBody, Following, TaskReceived, TaskSent, WorkerStatus};
use crate::protocol::json::Object;
use crate::protocol::{DeliveryMode, Headers, Json, Message, Properties};

/// Task events of one sender, published together as a list.
#[derive(Debug, Default)]
pub struct EventBatch {
    out: Vec<u8>,
    len: usize,
}

impl EventBatch {
    /// The routing key of a list of task events.
    pub const ROUTING_KEY: &str = "task.multi";

    /// Adds an event.
    pub fn push(&mut self, event: &Event<'_>) {
        self.out.push(if self.len == 0 { b'[' } else { b',' });
        event.write(&mut self.out);
        self.len += 1;
    }

    /// How many events there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// There is nothing to send.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The message with all events so far; `None` if there are none. The batch is empty afterwards.
    pub fn take(&mut self, hostname: &str) -> Option<Message> {
        if self.len == 0 {
            return None;
        }
        let capacity = self.out.len();
        let mut body = std::mem::replace(&mut self.out, Vec::with_capacity(capacity));
        body.push(b']');
        self.len = 0;
        Some(message(hostname, body.into()))
    }
}

fn message(hostname: &str, body: Bytes) -> Message {
    let mut headers = Headers::with_capacity(1);
    headers.push("hostname", hostname);
    let properties = Properties {
        content_type: Some("application/json".to_owned()),
        content_encoding: Some("utf-8".to_owned()),
        delivery_mode: DeliveryMode::Transient,
        priority: Some(0),
        ..Properties::default()
    };
    Message { properties, headers, body }
}

impl Event<'_> {
    /// The message of an event that is published alone, with [`routing_key`](Self::routing_key).
    #[must_use]
    pub fn to_message(&self) -> Message {
        let mut body = Vec::with_capacity(384);
        self.write(&mut body);
        message(&self.hostname, body.into())
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) {
        let mut object = Object::begin(out);
        object.text("hostname", &self.hostname);
        object.float("utcoffset", self.utcoffset);
        object.integer("pid", self.pid);
        if let Some(clock) = self.clock {
            object.integer("clock", clock);
        }
        self.body.write(&mut object);
        object.float("timestamp", self.timestamp);
        object.text("type", self.kind());
        object.end();
    }
}

impl EventBody<'_> {
    fn write(&self, object: &mut Object<'_>) {
        match self {
            Self::WorkerOnline(status) | Self::WorkerHeartbeat(status) | Self::WorkerOffline(status) => {
                status.write(object);
            }
            Self::TaskSent(sent) => sent.write(object),
            Self::TaskReceived(received) => received.write(object),
            Self::TaskStarted { uuid } | Self::TaskCancelled { uuid } => object.text("uuid", uuid),
            Self::TaskSucceeded { uuid, result, runtime } => {
                object.text("uuid", uuid);
                object.text("result", result);
                object.float("runtime", *runtime);
            }
            Self::TaskFailed { uuid, exception, traceback } | Self::TaskRetried { uuid, exception, traceback } => {
                object.text("uuid", uuid);
                object.text("exception", exception);
                if let Some(traceback) = traceback {
                    object.text("traceback", traceback);
                }
            }
            Self::TaskRevoked { uuid, terminated, signum, expired } => {
                object.text("uuid", uuid);
                object.flag("terminated", *terminated);
                signum.write(object.key("signum"));
                object.flag("expired", *expired);
            }
            Self::TaskRejected { uuid, requeue } => {
                object.text("uuid", uuid);
                object.flag("requeue", *requeue);
            }
            Self::Other { fields, .. } => {
                for (name, value) in fields {
                    value.write(object.key(name));
                }
            }
        }
    }
}

impl WorkerStatus<'_> {
    fn write(&self, object: &mut Object<'_>) {
        object.float("freq", self.freq);
        if let Some(active) = self.active {
            object.integer("active", active);
        }
        if let Some(processed) = self.processed {
            object.integer("processed", processed);
        }
        if let Some([one, five, fifteen]) = self.loadavg {
            object.raw("loadavg", format!("[{one:?},{five:?},{fifteen:?}]"));
        }
        object.text("sw_ident", &self.sw_ident);
        object.text("sw_ver", &self.sw_ver);
        object.text("sw_sys", &self.sw_sys);
    }
}

impl TaskSent<'_> {
    fn write(&self, object: &mut Object<'_>) {
        object.text("uuid", &self.uuid);
        object.optional("root_id", self.root_id.as_deref());
        object.optional("parent_id", self.parent_id.as_deref());
        object.text("name", &self.name);
        object.text("args", &self.args);
        object.text("kwargs", &self.kwargs);
        object.integer("retries", self.retries);
        object.optional("eta", self.eta.as_deref());
        object.optional("expires", self.expires.as_deref());
        object.optional("queue", self.queue.as_deref());
        object.optional("exchange", self.exchange.as_deref());
        object.optional("routing_key", self.routing_key.as_deref());
    }
}

impl TaskReceived<'_> {
    fn write(&self, object: &mut Object<'_>) {
        object.text("uuid", &self.uuid);
        object.text("name", &self.name);
        object.text("args", &self.args);
        object.text("kwargs", &self.kwargs);
        object.optional("root_id", self.root_id.as_deref());
        object.optional("parent_id", self.parent_id.as_deref());
        object.integer("retries", self.retries);
        object.optional("eta", self.eta.as_deref());
        object.optional("expires", self.expires.as_deref());
        if !self.follows.is_empty() {
            let pair =
                |one: &Following<'_>| Json::List([&one.uuid, &one.name].map(|text| Json::Str(text.to_string())).into());
            Json::List(self.follows.iter().map(pair).collect()).write(object.key("follows"));
        }
    }
}

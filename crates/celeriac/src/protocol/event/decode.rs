//! Reads the events of any sender: only what Celery's own receiver requires has to be there.

use std::borrow::Cow;

use super::{Event, EventBody, Following, TaskReceived, TaskSent, WorkerStatus};
use crate::protocol::{Json, JsonError, Message, RawJson};

/// A message that is no event.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EventError {
    /// The body, or one of the events in it, is not JSON.
    #[error("the event is {0}")]
    Json(#[from] JsonError),
    /// Neither an object nor a list of objects.
    #[error("the event is no object")]
    Shape,
    /// Celery's receiver fails without it.
    #[error("the event has no valid {0:?}")]
    Field(&'static str),
}

type Decode<T> = Result<T, EventError>;
type Text = Cow<'static, str>;

impl Event<'static> {
    /// The events of a message: one, or the list of a `task.multi`.
    ///
    /// # Errors
    /// The body is not JSON, or an event lacks `hostname`, `type`, `timestamp`, or the `uuid` of its task. Such a message
    /// is dropped; events are not worth more.
    pub fn decode(message: &Message) -> Decode<Vec<Self>> {
        match RawJson::parse(message.body.clone())?.to_tree() {
            Json::List(events) => events.into_iter().map(Self::read).collect(),
            event => Ok(vec![Self::read(event)?]),
        }
    }

    fn read(event: Json) -> Decode<Self> {
        let Json::Object(entries) = event else { return Err(EventError::Shape) };
        let mut fields = Fields(entries);
        let hostname = fields.required("hostname")?;
        let kind = fields.required("type")?;
        let timestamp = fields.float("timestamp").ok_or(EventError::Field("timestamp"))?;
        Ok(Self {
            hostname,
            utcoffset: fields.float("utcoffset").unwrap_or(0.0),
            pid: fields.count("pid").unwrap_or(0),
            clock: fields.count("clock"),
            timestamp,
            body: EventBody::read(kind, fields)?,
        })
    }
}

impl EventBody<'static> {
    fn read(kind: Text, mut fields: Fields) -> Decode<Self> {
        let fields = &mut fields;
        Ok(match &*kind {
            "worker-online" => Self::WorkerOnline(WorkerStatus::read(fields)),
            "worker-heartbeat" => Self::WorkerHeartbeat(WorkerStatus::read(fields)),
            "worker-offline" => Self::WorkerOffline(WorkerStatus::read(fields)),
            "task-sent" => Self::TaskSent(Box::new(TaskSent::read(fields)?)),
            "task-received" => Self::TaskReceived(Box::new(TaskReceived::read(fields)?)),
            "task-started" => Self::TaskStarted { uuid: fields.required("uuid")? },
            "task-succeeded" => Self::TaskSucceeded {
                uuid: fields.required("uuid")?,
                result: fields.text("result").unwrap_or_default(),
                runtime: fields.float("runtime").unwrap_or(0.0),
            },
            "task-failed" => Self::TaskFailed {
                uuid: fields.required("uuid")?,
                exception: fields.text("exception").unwrap_or_default(),
                traceback: fields.text("traceback"),
            },
            "task-retried" => Self::TaskRetried {
                uuid: fields.required("uuid")?,
                exception: fields.text("exception").unwrap_or_default(),
                traceback: fields.text("traceback"),
            },
            "task-revoked" => Self::TaskRevoked {
                uuid: fields.required("uuid")?,
                terminated: fields.flag("terminated"),
                signum: fields.take("signum").unwrap_or(Json::Null),
                expired: fields.flag("expired"),
            },
            "task-rejected" => Self::TaskRejected { uuid: fields.required("uuid")?, requeue: fields.flag("requeue") },
            "task-cancelled" => Self::TaskCancelled { uuid: fields.required("uuid")? },
            other if other.starts_with("task-") && !fields.has_text("uuid") => return Err(EventError::Field("uuid")),
            _ => Self::Other { kind, fields: std::mem::take(&mut fields.0) },
        })
    }
}

impl WorkerStatus<'static> {
    fn read(fields: &mut Fields) -> Self {
        Self {
            // Celery's receiver assumes 60 seconds.
            freq: fields.float("freq").unwrap_or(60.0),
            active: fields.count("active"),
            processed: fields.count("processed"),
            loadavg: fields.loadavg(),
            sw_ident: fields.text("sw_ident").unwrap_or_default(),
            sw_ver: fields.text("sw_ver").unwrap_or_default(),
            sw_sys: fields.text("sw_sys").unwrap_or_default(),
        }
    }
}

impl TaskSent<'static> {
    fn read(fields: &mut Fields) -> Decode<Self> {
        Ok(Self {
            uuid: fields.required("uuid")?,
            root_id: fields.text("root_id"),
            parent_id: fields.text("parent_id"),
            name: fields.text("name").unwrap_or_default(),
            args: fields.text("args").unwrap_or_default(),
            kwargs: fields.text("kwargs").unwrap_or_default(),
            retries: fields.count("retries").unwrap_or(0),
            eta: fields.text("eta"),
            expires: fields.text("expires"),
            queue: fields.text("queue"),
            exchange: fields.text("exchange"),
            routing_key: fields.text("routing_key"),
        })
    }
}

impl TaskReceived<'static> {
    fn read(fields: &mut Fields) -> Decode<Self> {
        Ok(Self {
            uuid: fields.required("uuid")?,
            name: fields.text("name").unwrap_or_default(),
            args: fields.text("args").unwrap_or_default(),
            kwargs: fields.text("kwargs").unwrap_or_default(),
            root_id: fields.text("root_id"),
            parent_id: fields.text("parent_id"),
            retries: fields.count("retries").unwrap_or(0),
            eta: fields.text("eta"),
            expires: fields.text("expires"),
            follows: fields.take("follows").map(following).unwrap_or_default(),
        })
    }
}

/// Pairs of an id and a name; what is anything else is nothing that we know.
fn following(told: Json) -> Vec<Following<'static>> {
    let pair = |one: Json| match one {
        Json::List(pair) => match <[Json; 2]>::try_from(pair) {
            Ok([Json::Str(uuid), Json::Str(name)]) => Some(Following { uuid: uuid.into(), name: name.into() }),
            _ => None,
        },
        _ => None,
    };
    match told {
        Json::List(all) => all.into_iter().filter_map(pair).collect(),
        _ => Vec::new(),
    }
}

/// The fields of an event, taken out one by one.
struct Fields(Vec<(String, Json)>);

impl Fields {
    fn take(&mut self, name: &str) -> Option<Json> {
        let at = self.0.iter().position(|(key, _)| key == name)?;
        Some(self.0.remove(at).1)
    }

    fn text(&mut self, name: &str) -> Option<Text> {
        match self.take(name)? {
            Json::Str(text) => Some(text.into()),
            _ => None,
        }
    }

    fn required(&mut self, name: &'static str) -> Decode<Text> {
        self.text(name).ok_or(EventError::Field(name))
    }

    fn has_text(&self, name: &str) -> bool {
        self.0.iter().any(|(key, value)| key == name && value.as_str().is_some())
    }

    fn float(&mut self, name: &str) -> Option<f64> {
        self.take(name)?.as_f64()
    }

    fn count<N: TryFrom<i128>>(&mut self, name: &str) -> Option<N> {
        match self.take(name)? {
            Json::Int(number) => number.try_into().ok(),
            _ => None,
        }
    }

    fn flag(&mut self, name: &str) -> bool {
        matches!(self.take(name), Some(Json::Bool(true)))
    }

    fn loadavg(&mut self) -> Option<[f64; 3]> {
        match self.take("loadavg")? {
            Json::List(loads) => loads.iter().map(Json::as_f64).collect::<Option<Vec<_>>>()?.try_into().ok(),
            _ => None,
        }
    }
}

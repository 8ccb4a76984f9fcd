//! The task message (`celery/app/amqp.py`, `as_task_v2`; read also in protocol 1).

mod args;
mod decode;
mod encode;
mod error;

use std::time::Duration;

use chrono::{DateTime, FixedOffset, Utc};

use super::json::{elements, entries};
use super::{Compression, Embed, Headers, JsonError, Properties, RawJson, repr};
use crate::task::Task;

pub use args::{ArgumentsError, read_arguments};
pub use error::{DecodeError, DecodeErrorKind};

/// The largest body that is read, compressed or not.
pub const MAX_BODY: usize = 64 * 1024 * 1024;

/// A task as it lies in a queue.
///
/// Arguments stay text until the task's own type reads them ([`arguments`](Self::arguments)).
#[derive(Clone, Debug, PartialEq)]
pub struct TaskMessage {
    /// The name of the task.
    pub task: String,
    /// The task's id, a UUID unless the sender chose another.
    pub id: String,
    /// A name to show instead of `task`.
    pub shadow: Option<String>,
    /// Not to be started before.
    pub eta: Option<DateTime<FixedOffset>>,
    /// The time from when it was made to `eta`, if that was said instead. It is not part of what is written: where the
    /// broker keeps late messages, it keeps this one for so many seconds, however long sending took.
    pub countdown: Option<Duration>,
    /// Not to be started after.
    pub expires: Option<DateTime<FixedOffset>>,
    /// The id of its group.
    pub group: Option<String>,
    /// Its place among the tasks of its group.
    pub group_index: Option<i64>,
    /// How often it has been retried before.
    pub retries: u32,
    /// Ends the task; instead of the task's own.
    pub time_limit: Option<Duration>,
    /// Tells the task to end; instead of the task's own.
    pub soft_time_limit: Option<Duration>,
    /// The task that began all this; a message without one is written with its own id.
    pub root_id: Option<String>,
    /// The task that sent this one.
    pub parent_id: Option<String>,
    /// What operators see of the arguments; written from the arguments if absent.
    pub argsrepr: Option<String>,
    /// The same of the keyword arguments.
    pub kwargsrepr: Option<String>,
    /// `gen<pid>@<host>` of the sender.
    pub origin: Option<String>,
    /// Whether to store how it ended; `None`: as the task says.
    pub ignore_result: Option<bool>,
    /// How often a task has put another in its place on the way here (`Task.replace`).
    pub replaced_task_nesting: u32,
    /// The names of the stamps, in their order.
    pub stamped_headers: Option<Vec<String>>,
    /// The stamps, by their names.
    pub stamps: Headers,
    /// What the sender added to Celery's headers.
    pub headers: Headers,
    /// The positional arguments: a list.
    pub args: RawJson,
    /// The keyword arguments: an object.
    pub kwargs: RawJson,
    /// What follows when it has ended.
    pub embed: Embed,
    /// How the body is, or is to be, compressed.
    pub compression: Option<Compression>,
    /// What AMQP itself has names for.
    pub properties: Properties,
}

/// When a message is to start.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Due {
    pub(crate) eta: DateTime<FixedOffset>,
    pub(crate) countdown: Option<Duration>,
}

impl TaskMessage {
    /// A task to send with arguments that are JSON already: `args` a list, `kwargs` an object.
    #[must_use]
    pub fn new(task: impl Into<String>, id: impl Into<String>, args: RawJson, kwargs: RawJson) -> Self {
        let id = id.into();
        Self {
            task: task.into(),
            properties: Properties {
                content_type: Some("application/json".to_owned()),
                content_encoding: Some("utf-8".to_owned()),
                priority: Some(0),
                correlation_id: Some(id.clone()),
                ..Properties::default()
            },
            root_id: Some(id.clone()),
            id,
            shadow: None,
            eta: None,
            countdown: None,
            expires: None,
            group: None,
            group_index: None,
            retries: 0,
            time_limit: None,
            soft_time_limit: None,
            parent_id: None,
            argsrepr: None,
            kwargsrepr: None,
            origin: None,
            ignore_result: Some(false),
            replaced_task_nesting: 0,
            stamped_headers: None,
            stamps: Headers::default(),
            headers: Headers::default(),
            args,
            kwargs,
            embed: Embed::default(),
            compression: None,
        }
    }

    /// A typed task to send. Its fields travel as keyword arguments, so that a field can be added or moved while old and
    /// new workers run side by side; workers take them in either form.
    ///
    /// # Errors
    /// The struct cannot be written as JSON.
    pub fn typed<T: Task>(task: &T, id: impl Into<String>) -> Result<Self, JsonError> {
        Self::written::<T>(RawJson::of(task)?, id)
    }

    /// [`typed`](Self::typed), the struct written already.
    pub(crate) fn written<T: Task>(task: RawJson, id: impl Into<String>) -> Result<Self, JsonError> {
        let kwargs = args::as_arguments::<T>(task)?;
        let mut message = Self::new(T::NAME, id, RawJson::EMPTY_LIST, kwargs);
        message.properties.priority = Some(T::OPTIONS.priority.unwrap_or(0));
        message.ignore_result = Some(T::OPTIONS.ignore_result);
        message.redact(T::FIELDS, T::REDACTED);
        Ok(message)
    }

    /// Shows to operators nothing of the arguments `hidden`. `fields` are the names of all, in their order. What a sender
    /// hides itself stays as it is.
    pub(crate) fn redact(&mut self, fields: &[&str], hidden: &[&str]) {
        if hidden.is_empty() {
            return;
        }
        let positional = elements(&self.args).unwrap_or_default().into_iter().zip(fields);
        let positional = positional.filter(|(_, field)| hidden.contains(field)).map(|(value, _)| value);
        if !keeps(self.argsrepr.as_deref(), &self.args, positional) {
            self.argsrepr = Some(repr::redacted_args(&self.args, fields, hidden));
        }
        let named = entries(&self.kwargs).unwrap_or_default().into_iter();
        let named = named.filter(|(name, _)| hidden.contains(&&**name)).map(|(_, value)| value);
        if !keeps(self.kwargsrepr.as_deref(), &self.kwargs, named) {
            self.kwargsrepr = Some(repr::redacted(&self.kwargs, hidden));
        }
    }

    /// When it is to start, if that is later.
    pub(crate) fn due(&self) -> Option<Due> {
        Some(Due { eta: self.eta?, countdown: self.countdown })
    }

    /// The arguments as the task's own type.
    ///
    /// # Errors
    /// They do not fit; the error words it as Python words a wrong call, and converts into a `Failure`.
    pub fn arguments<T: Task>(&self) -> Result<T, ArgumentsError> {
        read_arguments(&self.task, &self.args, &self.kwargs)
    }

    /// Sets when the message is dropped, also for the broker, which is told how much time is left.
    pub fn expire_at(&mut self, expires: DateTime<Utc>, now: DateTime<Utc>) {
        let left = (expires - now).num_milliseconds();
        self.expires = Some(expires.fixed_offset());
        self.properties.expiration = Some(u64::try_from(left).unwrap_or(0));
    }

    /// The name to show.
    #[must_use]
    pub fn name(&self) -> &str {
        self.shadow.as_deref().filter(|shadow| !shadow.is_empty()).unwrap_or(&self.task)
    }
}

/// Whether a text that the sender shows for arguments is a secret kept: it hides some, and none of `secrets` stands in it.
fn keeps(shown: Option<&str>, arguments: &RawJson, mut secrets: impl Iterator<Item = RawJson>) -> bool {
    shown.is_some_and(|shown| repr::hides(shown, arguments) && !secrets.any(|secret| repr::reveals(shown, &secret)))
}

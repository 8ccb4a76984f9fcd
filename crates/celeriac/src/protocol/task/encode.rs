//! From a task to the message that Celery would send.

use std::time::Duration;

use super::TaskMessage;
use crate::protocol::repr;
use crate::protocol::time::format_time;
use crate::protocol::{Headers, Message, Value};

/// Celery's own headers.
const HEADERS: usize = 19;

impl TaskMessage {
    /// The message to publish: protocol 2, headers in Celery's order.
    #[must_use]
    pub fn into_message(self) -> Message {
        let body = self.body();
        let argsrepr = self.argsrepr.unwrap_or_else(|| repr::args(&self.args));
        let kwargsrepr = self.kwargsrepr.unwrap_or_else(|| repr::kwargs(&self.kwargs));
        let root_id = self.root_id.unwrap_or_else(|| self.id.clone());

        let mut headers = Headers::with_capacity(HEADERS + self.headers.len() + 1);
        headers.push("lang", "py");
        headers.push("task", self.task);
        headers.push("id", self.id.clone());
        headers.push("shadow", self.shadow);
        headers.push("eta", self.eta.as_ref().map(format_time));
        headers.push("expires", self.expires.as_ref().map(format_time));
        headers.push("group", self.group);
        headers.push("group_index", self.group_index);
        headers.push("retries", self.retries);
        headers.push("timelimit", Value::List(vec![seconds(self.time_limit), seconds(self.soft_time_limit)]));
        headers.push("root_id", root_id);
        headers.push("parent_id", self.parent_id);
        headers.push("argsrepr", argsrepr);
        headers.push("kwargsrepr", kwargsrepr);
        headers.push("origin", self.origin);
        headers.push("ignore_result", self.ignore_result);
        headers.push("replaced_task_nesting", self.replaced_task_nesting);
        headers.push("stamped_headers", self.stamped_headers);
        headers.push("stamps", Value::Table(self.stamps));
        for (name, value) in self.headers {
            headers.insert(name, value);
        }

        let mut properties = self.properties;
        properties.correlation_id.get_or_insert(self.id);
        let body = match self.compression {
            None => body.into(),
            Some(compression) => {
                headers.insert("compression", compression.mime_type());
                compression.compress(&body)
            }
        };
        Message { properties, headers, body }
    }

    /// `[args, kwargs, embed]`
    fn body(&self) -> Vec<u8> {
        let (args, kwargs) = (self.args.as_bytes(), self.kwargs.as_bytes());
        let mut body = Vec::with_capacity(args.len() + kwargs.len() + 72);
        body.push(b'[');
        body.extend_from_slice(args);
        body.push(b',');
        body.extend_from_slice(kwargs);
        body.push(b',');
        self.embed.write(&mut body);
        body.push(b']');
        body
    }
}

/// Whole seconds as an integer, others as a double, as people write them in Python.
fn seconds(limit: Option<Duration>) -> Value {
    match limit {
        None => Value::Null,
        Some(limit) if limit.subsec_nanos() == 0 => {
            i64::try_from(limit.as_secs()).map_or_else(|_| Value::Float(limit.as_secs_f64()), Value::Int)
        }
        Some(limit) => Value::Float(limit.as_secs_f64()),
    }
}

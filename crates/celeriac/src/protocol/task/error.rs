//! Why a message is not a task that can be run.

use crate::protocol::JsonError;

/// A message that is no readable task. Celery's answer to each is the same, because reading it again would not help:
/// `basic.reject` without requeue, nothing stored, no event (`celery/worker/consumer/consumer.py`).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {kind}", self.subject())]
pub struct DecodeError {
    /// The name of the task, if it could be read.
    pub task: Option<String>,
    /// The id of the task, if it could be read.
    pub id: Option<String>,
    pub kind: DecodeErrorKind,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeErrorKind {
    /// Neither a header `task` nor a body that names one.
    #[error("this is no task message: it names no task")]
    NotATask,
    #[error("header {name:?}: {reason}")]
    Header { name: String, reason: &'static str },
    #[error("refusing to read content of type {content_type:?}: only application/json is accepted")]
    ContentType { content_type: String },
    #[error("refusing to read content in encoding {encoding:?}: only utf-8 is accepted")]
    ContentEncoding { encoding: String },
    #[error("compression {name:?} is not known")]
    Compression { name: String },
    #[error("the compressed body cannot be unpacked: {reason}")]
    Corrupt { reason: String },
    #[error("the body is larger than {limit} bytes")]
    TooLarge { limit: usize },
    #[error("the body is {0}")]
    Json(#[from] JsonError),
    #[error("the body is not what Celery sends: {expected} expected")]
    Shape { expected: &'static str },
}

impl DecodeError {
    fn subject(&self) -> String {
        match (&self.task, &self.id) {
            (Some(task), Some(id)) => format!("task {task}[{id}]"),
            (Some(task), None) => format!("task {task}"),
            (None, _) => "message".to_owned(),
        }
    }
}

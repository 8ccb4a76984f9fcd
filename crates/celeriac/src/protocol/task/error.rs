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
    /// What is wrong.
    pub kind: DecodeErrorKind,
}

/// What is wrong with a message, or with a signature in it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeErrorKind {
    /// Neither a header `task` nor a body that names one.
    #[error("this is no task message: it names no task")]
    NotATask,
    /// A header that Celery needs is missing, or of another type.
    #[error("header {name:?}: {reason}")]
    Header {
        /// Of the header.
        name: String,
        /// What is expected.
        reason: &'static str,
    },
    /// Pickle, YAML, msgpack, … (`accept_content`).
    #[error("refusing to read content of type {content_type:?}: only application/json is accepted")]
    ContentType {
        /// As the message says.
        content_type: String,
    },
    /// Text in another encoding, or binary.
    #[error("refusing to read content in encoding {encoding:?}: only utf-8 is accepted")]
    ContentEncoding {
        /// As the message says.
        encoding: String,
    },
    /// A header `compression` with something else than zlib, gzip and their aliases.
    #[error("compression {name:?} is not known")]
    Compression {
        /// As the header says.
        name: String,
    },
    /// The compressed body is damaged.
    #[error("the compressed body cannot be unpacked: {reason}")]
    Corrupt {
        /// What the decompressor said.
        reason: String,
    },
    /// The body is larger than [`MAX_BODY`](super::MAX_BODY), or would be when it is unpacked.
    #[error("the body is larger than {limit} bytes")]
    TooLarge {
        /// In bytes.
        limit: usize,
    },
    /// The body is not JSON.
    #[error("the body is {0}")]
    Json(#[from] JsonError),
    /// The body is JSON, but not `[args, kwargs, embed]`, nor what protocol 1 had.
    #[error("the body is not what Celery sends: {expected} expected")]
    Shape {
        /// What should stand where something else does.
        expected: &'static str,
    },
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

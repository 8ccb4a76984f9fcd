//! Workflows: tasks that follow each other (chain), run side by side (group) and join again (chord), in each other.
//!
//! A workflow is built here and published once; what comes next travels inside the messages, in Celery's JSON, so that
//! the next step may be taken by any worker, also one written in Python. Everything in this module is pure: it says
//! which messages to publish ([`Plan`]), and the application or the worker publishes them. The rules, down to which ids
//! and options travel where, are those of `celery/canvas.py` and `celery/app/trace.py`.
//!
//! ```
//! use celeriac::canvas::{Canvas, Signature};
//!
//! let sum = Canvas::group([Signature::new("proj.add").arg(1).arg(1), Signature::new("proj.add").arg(2).arg(2)])
//!     .then(Signature::new("proj.tsum"))
//!     .then(Signature::new("proj.mul").arg(10));
//! assert_eq!(sum.to_json().get("task").and_then(|task| task.as_str()), Some("celery.chord"));
//! ```

mod compose;
mod conceal;
mod ended;
mod freeze;
mod message;
mod node;
mod plan;
mod publish;
mod replace;
mod stamp;

use crate::protocol::{DecodeErrorKind, Json, JsonError, ResultTuple};
use node::Node;

pub use crate::protocol::Signature;
pub use ended::{Broken, FailedStep, after_failure, after_success, chord_failed, chord_ready};
pub(crate) use replace::{added_to_chord, replacement};

pub use plan::{ApplyChord, ChordSize, KnownTask, Parent, Plan, Publish, Publisher, Route, Step};

/// A workflow: one task, or tasks put together.
#[derive(Clone, Debug, PartialEq)]
pub struct Canvas(Node);

/// A workflow that cannot be published.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CanvasError {
    /// The JSON of a signature is not what Celery writes.
    #[error("the signature cannot be read: {0}")]
    Signature(#[from] DecodeErrorKind),
    /// Nested too deeply to be read again, for instance a chord in a chord in a chord, many times over.
    #[error("the message cannot be written: {0}")]
    Json(#[from] JsonError),
    /// A chord whose `body` is missing or null.
    #[error("a chord needs a body")]
    NoBody,
    /// A task cannot be replaced with this.
    #[error("{0}")]
    Replacement(&'static str),
    /// An option of a signature has a value that it cannot have.
    #[error("option {name:?} of task {task}: {reason}")]
    Option {
        /// The name of the task.
        task: String,
        /// `countdown`, `eta`, `expires`, …
        name: &'static str,
        /// What is expected instead.
        reason: &'static str,
    },
}

impl From<Signature> for Canvas {
    fn from(signature: Signature) -> Self {
        Self(Node::Task(signature))
    }
}

impl Canvas {
    /// Reads a signature of any kind as Celery writes it.
    ///
    /// # Errors
    /// It is none.
    pub fn from_json(json: &Json) -> Result<Self, CanvasError> {
        Node::from_json(json).map(Self)
    }

    /// The signature in Celery's JSON.
    #[must_use]
    pub fn to_json(&self) -> Json {
        self.0.to_json()
    }

    /// Says what to publish so that the workflow runs, and where its result will be; `arguments` come in front of those
    /// of its first tasks.
    ///
    /// # Errors
    /// A signature in it cannot be published.
    pub fn begin(
        mut self,
        arguments: &[Json],
        publisher: &mut Publisher<'_>,
    ) -> Result<(Plan, ResultTuple), CanvasError> {
        conceal::conceal(&mut self.0, publisher);
        let result = self.0.freeze_whole(publisher);
        Ok((self.publish(arguments, publisher)?, result))
    }

    /// Says what to publish so that the workflow runs; `arguments` come in front of those of its first tasks.
    ///
    /// # Errors
    /// A signature in it cannot be published.
    pub fn publish(self, arguments: &[Json], publisher: &mut Publisher<'_>) -> Result<Plan, CanvasError> {
        publish::publish(self.0, arguments, Vec::new(), publisher)
    }
}

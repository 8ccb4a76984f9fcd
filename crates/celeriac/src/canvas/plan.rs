//! What is to be published, and what is needed to know it.

use chrono::{DateTime, Utc};

use crate::protocol::{ResultTuple, Signature, TaskMessage};
use crate::task::TaskOptions;

/// What to do, in this order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// What to do; whoever does it stops at the first that fails.
    pub steps: Vec<Step>,
    /// The tasks and groups that are published: the children of the task that does it (`Task.add_trail`).
    pub children: Vec<ResultTuple>,
}

/// One thing to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// Tell the result backend how many tasks the chord waits for. Publish nothing that follows before that is stored:
    /// a chord whose size is not known never completes.
    ChordSize(ChordSize),
    /// A chord begins: see [`ApplyChord`].
    ApplyChord(Box<ApplyChord>),
    /// Send this message.
    Publish(Box<Publish>),
}

/// How many parts a chord waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChordSize {
    /// The group that is its header.
    pub group_id: String,
    /// How many tasks hand in a part: chains count once, groups in it with all their tasks.
    pub size: usize,
}

/// What a result backend is told of a chord that begins (`celery/backends/base.py`, `apply_chord`). One that counts parts
/// stores the header, if there are groups in it; for any other a task `celery.chord_unlock` is sent, which looks whether
/// all parts are there.
#[derive(Clone, Debug, PartialEq)]
pub struct ApplyChord {
    /// The results of the header.
    pub header: ResultTuple,
    /// What runs when they are all there.
    pub body: Signature,
    /// Where that will go.
    pub route: Route,
    /// The task that begins the chord.
    pub parent: Option<Parent>,
}

/// A message and where it is to go.
#[derive(Clone, Debug, PartialEq)]
pub struct Publish {
    /// Complete, but for the sender's name (`origin`).
    pub message: TaskMessage,
    /// What its signature says of the way.
    pub route: Route,
}

/// What a signature says about where it goes; what it leaves open the application decides.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Route {
    /// `options.queue`
    pub queue: Option<String>,
    /// `options.exchange`
    pub exchange: Option<String>,
    /// `options.routing_key`
    pub routing_key: Option<String>,
}

/// The task in which something is published: its children belong to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parent {
    /// Becomes the `parent_id` of what it publishes.
    pub id: String,
    /// The first of them all, passed on.
    pub root_id: String,
}

/// What a process knows about a task.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct KnownTask {
    /// How it is run.
    pub options: TaskOptions,
    /// The names of its arguments, in their order.
    pub fields: &'static [&'static str],
    /// Those of them whose values are hidden.
    pub redacted: &'static [&'static str],
}

impl From<TaskOptions> for KnownTask {
    fn from(options: TaskOptions) -> Self {
        Self { options, fields: &[], redacted: &[] }
    }
}

/// Who publishes.
pub struct Publisher<'a> {
    /// The time from which countdowns count.
    pub now: DateTime<Utc>,
    /// The client's own id (`oid`), under which it would take replies.
    pub reply_to: &'a str,
    /// Makes the ids of tasks and groups.
    pub new_id: &'a mut dyn FnMut() -> String,
    /// What this process knows about a task; `None` if it does not know the task.
    pub known: &'a dyn Fn(&str) -> Option<KnownTask>,
    /// The task that runs now, if one does.
    pub parent: Option<Parent>,
}

impl Plan {
    /// The messages, in the order in which they are published.
    pub fn messages(&self) -> impl Iterator<Item = &Publish> {
        self.steps.iter().filter_map(|step| match step {
            Step::Publish(publish) => Some(&**publish),
            Step::ChordSize(_) | Step::ApplyChord(_) => None,
        })
    }

    pub(super) fn append(&mut self, mut other: Self) {
        self.steps.append(&mut other.steps);
        self.children.append(&mut other.children);
    }
}

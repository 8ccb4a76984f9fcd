//! Putting workflows together: Celery's `|` operator and its constructors.

use serde::Serialize;

use super::node::{Chord, Node, append_to_list, option, to_list};
use super::{Canvas, Signature};
use crate::protocol::{Json, JsonError, RawJson, repr};
use crate::task::Task;

impl Signature {
    /// A typed task with all its arguments, to its own queue.
    ///
    /// # Errors
    /// The struct cannot be written as JSON.
    pub fn of<T: Task>(task: &T) -> Result<Self, JsonError> {
        Ok(Self::with_arguments::<T>(&RawJson::of(task)?))
    }

    /// The struct is written already.
    pub(crate) fn with_arguments<T: Task>(written: &RawJson) -> Self {
        let mut signature = Self::new(T::NAME);
        if let Json::Object(kwargs) = written.to_tree() {
            signature.kwargs = kwargs;
        }
        // Whoever sends it, in the middle of a workflow, may not know the task.
        if let Some(queue) = T::OPTIONS.queue {
            signature.set_option("queue", Json::Str(queue.to_owned()));
        }
        if let Some(priority) = T::OPTIONS.priority {
            signature.set_option("priority", Json::Int(priority.into()));
        }
        if !T::REDACTED.is_empty() {
            // Nor what it hides; nobody is to see there what comes in front of its arguments either.
            signature.set_option("argsrepr", repr::args(&RawJson::EMPTY_LIST).into());
            signature.set_option("kwargsrepr", repr::redacted(written, T::REDACTED).into());
        }
        signature
    }

    /// Adds a positional argument. The result of the task before comes in front of these.
    #[must_use]
    pub fn arg(mut self, value: impl Into<Json>) -> Self {
        self.args.push(value.into());
        self
    }

    /// Adds a keyword argument.
    #[must_use]
    pub fn kwarg(mut self, name: &str, value: impl Into<Json>) -> Self {
        self.kwargs.push((name.to_owned(), value.into()));
        self
    }

    /// Takes no result of the task before (`si`).
    #[must_use]
    pub fn immutable(mut self) -> Self {
        self.immutable = true;
        self
    }

    /// Sets an option of its message: `queue`, `priority`, `countdown`, `task_id`, …
    #[must_use]
    pub fn with(mut self, option: &str, value: impl Into<Json>) -> Self {
        self.set_option(option, value.into());
        self
    }
}

impl Canvas {
    /// Runs one after the other; each gets the result of the one before.
    #[must_use]
    pub fn chain<C: Into<Self>>(steps: impl IntoIterator<Item = C>) -> Self {
        let empty = Self(Node::chain(Vec::new()));
        steps.into_iter().fold(empty, Self::then)
    }

    /// Runs side by side.
    #[must_use]
    pub fn group<C: Into<Self>>(tasks: impl IntoIterator<Item = C>) -> Self {
        Self(Node::group(tasks.into_iter().map(|task| task.into().0).collect()))
    }

    /// Runs the header side by side, then the body with the list of their results.
    #[must_use]
    pub fn chord<C: Into<Self>>(header: impl IntoIterator<Item = C>, body: impl Into<Self>) -> Self {
        Self(Node::chord(header.into_iter().map(|task| task.into().0).collect(), body.into().0))
    }

    /// Runs a task for each item, one after the other, in one message (`celery.map`).
    ///
    /// # Errors
    /// An item cannot be written as JSON.
    pub fn map<I: Serialize>(task: &Signature, items: impl IntoIterator<Item = I>) -> Result<Self, JsonError> {
        Ok(Self(Node::Task(mapping("celery.map", task, trees(items)?))))
    }

    /// Runs a task for each list of arguments, one after the other, in one message (`celery.starmap`).
    ///
    /// # Errors
    /// An item cannot be written as JSON.
    pub fn starmap<I: Serialize>(task: &Signature, items: impl IntoIterator<Item = I>) -> Result<Self, JsonError> {
        Ok(Self(Node::Task(mapping("celery.starmap", task, trees(items)?))))
    }

    /// [`starmap`](Self::starmap) in parts of at most `size` items, side by side. A `size` of 0 is taken as 1.
    ///
    /// # Errors
    /// An item cannot be written as JSON.
    pub fn chunks<I: Serialize>(
        task: &Signature,
        items: impl IntoIterator<Item = I>,
        size: usize,
    ) -> Result<Self, JsonError> {
        Ok(Self::chunks_of(task, &trees(items)?, size))
    }

    pub(crate) fn chunks_of(task: &Signature, items: &[Json], size: usize) -> Self {
        let part = |part: &[Json]| Node::Task(mapping("celery.starmap", task, part.to_vec()));
        Self(Node::group(items.chunks(size.max(1)).map(part).collect()))
    }

    /// What runs after this: Celery's `|`. A group followed by something becomes a chord.
    #[must_use]
    pub fn then(self, next: impl Into<Self>) -> Self {
        Self(join(self.0, next.into().0))
    }

    /// Sends `callback` with the result. For a chain that is the result of its last task, for a chord that of its body.
    /// For a group it is sent after the first task alone, without a result: use a chord to wait for all.
    #[must_use]
    pub fn link(mut self, callback: impl Into<Self>) -> Self {
        link(&mut self.0, &callback.into().0);
        self
    }

    /// Sends `errback` with the id of the task that failed.
    #[must_use]
    pub fn link_error(mut self, errback: impl Into<Self>) -> Self {
        link_error(&mut self.0, &errback.into().0);
        self
    }
}

impl<C: Into<Canvas>> std::ops::BitOr<C> for Canvas {
    type Output = Self;

    fn bitor(self, next: C) -> Self {
        self.then(next)
    }
}

impl<C: Into<Canvas>> std::ops::BitOr<C> for Signature {
    type Output = Canvas;

    fn bitor(self, next: C) -> Canvas {
        Canvas::from(self).then(next)
    }
}

fn trees<I: Serialize>(items: impl IntoIterator<Item = I>) -> Result<Vec<Json>, JsonError> {
    items.into_iter().map(|item| Ok(RawJson::of(&item)?.to_tree())).collect()
}

fn mapping(name: &str, task: &Signature, items: Vec<Json>) -> Signature {
    Signature::new(name).immutable().kwarg("task", task.to_json()).kwarg("it", Json::List(items))
}

/// `__or__` of each kind with each kind.
pub(super) fn join(first: Node, next: Node) -> Node {
    match (first, next) {
        (first, next) if next.is_empty_group() && !matches!(first, Node::Task(_)) => first,
        (Node::Chain { tasks, shell }, next) => {
            let next = next.unroll();
            match next {
                Node::Chain { .. } => unchained(next).into_iter().fold(Node::Chain { tasks, shell }, join),
                Node::Group { .. } if tasks.is_empty() => next,
                next => extend_chain(Node::Chain { tasks, shell }, next),
            }
        }
        (group @ Node::Group { .. }, next) => upgraded(group, next),
        (Node::Chord(mut chord), next) => match next.unroll() {
            next @ (Node::Task(_) | Node::Chord(_)) => {
                chord.body = join(chord.body, next);
                Node::Chord(chord)
            }
            next => Node::chain(std::iter::once(Node::Chord(chord)).chain(unchained(next)).collect()),
        },
        (task @ Node::Task(_), next) => Node::chain(std::iter::once(task).chain(unchained(next.unroll())).collect()),
    }
}

/// A chain and one more step: the last group becomes a chord with it, the last chord takes it into its body.
fn extend_chain(chain: Node, next: Node) -> Node {
    let mut tasks = unchained(chain);
    match (tasks.pop(), next) {
        (Some(group @ Node::Group { .. }), next) if !matches!(next, Node::Group { .. }) => {
            let chord = upgraded(group, next);
            match tasks.last_mut() {
                Some(Node::Chord(before)) => absorb(before, chord),
                _ => tasks.push(chord),
            }
        }
        (Some(Node::Chord(mut chord)), next) if !matches!(next, Node::Chord(_)) => {
            absorb(&mut chord, next);
            tasks.push(Node::Chord(chord));
        }
        (last, next) => tasks.extend(last.into_iter().chain([next])),
    }
    Node::chain(tasks)
}

fn absorb(chord: &mut Chord, next: Node) {
    let body = std::mem::replace(&mut chord.body, Node::chain(Vec::new()));
    chord.body = join(body, next);
}

/// A group that something follows.
pub(super) fn upgraded(group: Node, body: Node) -> Node {
    match group {
        Node::Group { tasks, shell } => {
            let mut chord = Node::chord(tasks, body);
            // Celery drops the options of the group, but not an id that it has already.
            if let (Some(id), Node::Chord(chord)) = (option(&shell.options, "task_id"), &mut chord) {
                let mut group = Signature { subtask_type: Some("group".to_owned()), ..Signature::new("celery.group") };
                group.set_option("task_id", id.clone());
                chord.header_group = Some(group);
            }
            chord
        }
        other => Node::chain(vec![other, body]),
    }
}

/// The steps of a chain, with the callbacks that the chain as a whole had (`unchain_tasks`); anything else is one step.
pub(super) fn unchained(node: Node) -> Vec<Node> {
    let Node::Chain { mut tasks, shell } = node else { return vec![node] };
    if let Some(last) = tasks.last_mut() {
        for callback in to_list(option(&shell.options, "link").cloned()) {
            append_to_list(&mut last.shell_mut().options, "link", callback);
        }
    }
    for errback in to_list(option(&shell.options, "link_error").cloned()) {
        for task in &mut tasks {
            append_errback(task, &errback);
        }
    }
    tasks
}

pub(super) fn link(node: &mut Node, callback: &Node) {
    match node {
        Node::Task(signature) | Node::Chain { shell: signature, .. } => {
            append_to_list(&mut signature.options, "link", callback.to_json());
        }
        Node::Group { tasks, .. } => {
            if let Some(first) = tasks.first_mut() {
                let mut callback = callback.clone();
                callback.shell_mut().immutable = true;
                link(first, &callback);
            }
        }
        Node::Chord(chord) => link(&mut chord.body, callback),
    }
}

fn link_error(node: &mut Node, errback: &Node) {
    append_errback(node, &errback.to_json());
}

/// Where an errback belongs: on each task of a group, on the body of a chord and of the chords in its header.
pub(super) fn append_errback(node: &mut Node, errback: &Json) {
    match node {
        Node::Task(signature) | Node::Chain { shell: signature, .. } => {
            append_to_list(&mut signature.options, "link_error", errback.clone());
        }
        Node::Group { tasks, .. } => tasks.iter_mut().for_each(|task| append_errback(task, errback)),
        Node::Chord(chord) => {
            let chords = chord.header.iter_mut().filter(|task| matches!(task, Node::Chord(_)));
            chords.for_each(|chord| append_errback(chord, errback));
            append_errback(&mut chord.body, errback);
        }
    }
}

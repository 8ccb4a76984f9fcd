//! Giving ids to the tasks of a workflow before it is published, so that they can refer to each other.

use super::node::{Node, Options, set_option, text_option};
use super::plan::Publisher;
use crate::protocol::{Json, ResultTuple, Signature};

/// What a task that gets its id is told about where it belongs.
#[derive(Clone, Default)]
pub(super) struct Place {
    /// The id that it gets if it has none.
    pub(super) id: Option<String>,
    pub(super) group_id: Option<String>,
    pub(super) group_index: Option<usize>,
    /// The body of the chord that waits for it.
    pub(super) chord: Option<Json>,
    pub(super) root_id: Option<String>,
    pub(super) parent_id: Option<String>,
}

fn text(value: &str) -> Json {
    Json::Str(value.to_owned())
}

impl Node {
    /// Gives ids to a workflow before it is published; answers where its result will be.
    pub(super) fn freeze_whole(&mut self, publisher: &mut Publisher<'_>) -> ResultTuple {
        let mut result = match self {
            // Nothing comes before its tasks, and nothing waits for them: nested groups stay, as Celery publishes them.
            Self::Group { tasks, shell } => {
                let id = shell.task_id().map_or_else(|| (publisher.new_id)(), str::to_owned);
                shell.set_option("task_id", text(&id));
                let mut members = Vec::new();
                freeze_members(tasks, &id, text_option(&shell.options, "root_id").as_deref(), &mut members, publisher);
                ResultTuple { id, parent: None, children: Some(members) }
            }
            other => {
                // An id that is said of the whole is that of its result.
                let id = other.shell().task_id().map(str::to_owned);
                if let (Self::Chord(chord), Some(id)) = (&mut *other, &id) {
                    chord.header_group.get_or_insert_with(header_group).set_option("task_id", text(id));
                }
                let id = other.freeze(Place { id, ..Place::default() }, publisher);
                other.result(None).unwrap_or_else(|| ResultTuple::task(id))
            }
        };
        forget_ancestors(&mut result, ANCESTORS);
        result
    }

    /// Where the result of a workflow that has its ids will be; `parent` is that of what comes before it.
    pub(super) fn result(&self, parent: Option<ResultTuple>) -> Option<ResultTuple> {
        let at = |id: &str, parent: Option<ResultTuple>| ResultTuple {
            parent: parent.map(Box::new),
            ..ResultTuple::task(id)
        };
        match self {
            Self::Task(signature) => signature.task_id().map(|id| at(id, parent)),
            Self::Chain { tasks, .. } => {
                let mut steps: Vec<_> = tasks.iter().filter(|task| !task.is_empty_group()).collect();
                if steps.is_empty() {
                    steps.extend(tasks.last());
                }
                steps.into_iter().fold(parent, |parent, step| match step {
                    Self::Group { tasks, .. } if tasks.len() == 1 => tasks[0].result(parent),
                    step => step.result(parent),
                })
            }
            Self::Group { tasks, shell } => group_result(tasks, shell, parent),
            Self::Chord(chord) => {
                let header = chord.header_group.as_ref();
                chord.body.result(header.and_then(|shell| group_result(&chord.header, shell, parent)))
            }
        }
    }

    /// Gives ids to all tasks in it that have none; answers the id under which its result will be found.
    pub(super) fn freeze(&mut self, place: Place, publisher: &mut Publisher<'_>) -> String {
        match self {
            Self::Task(signature) => freeze_task(&mut signature.options, place, publisher),
            Self::Chain { tasks, shell } => {
                let root_id = place.root_id.clone();
                let id = freeze_chain(tasks, place, root_id.as_deref(), publisher);
                shell.set_option("task_id", text(&id));
                id
            }
            Self::Group { tasks, shell } => freeze_group(tasks, &mut shell.options, &place, publisher),
            Self::Chord(chord) => {
                // The header is told its body when it is published: here it would be copied into every task.
                let header =
                    Place { root_id: place.root_id.clone(), parent_id: place.parent_id.clone(), ..Place::default() };
                let group = chord.header_group.get_or_insert_with(header_group);
                let header_id = freeze_group(&mut chord.header, &mut group.options, &header, publisher);
                chord.shell.set_option("task_id", text(&header_id));
                chord.body.freeze(Place { parent_id: None, ..place }, publisher)
            }
        }
    }
}

/// Where the results of a group will be, or of the header of a chord.
pub(super) fn group_result(tasks: &[Node], shell: &Signature, parent: Option<ResultTuple>) -> Option<ResultTuple> {
    let members = tasks.iter().filter_map(|task| task.result(None)).collect();
    let parent = parent.map(Box::new);
    Some(ResultTuple { id: shell.task_id()?.to_owned(), parent, children: Some(members) })
}

/// How many steps back a result knows: what is nested more deeply could not be read again.
const ANCESTORS: usize = 64;

fn forget_ancestors(result: &mut ResultTuple, left: usize) {
    if left == 0 {
        result.parent = None;
    }
    let left = left.saturating_sub(1);
    let kin = result.parent.as_deref_mut().into_iter().chain(result.children.iter_mut().flatten());
    kin.for_each(|kin| forget_ancestors(kin, left));
}

pub(super) fn header_group() -> Signature {
    Signature { subtask_type: Some("group".to_owned()), ..Signature::new("celery.group") }
}

fn freeze_task(options: &mut Options, place: Place, publisher: &mut Publisher<'_>) -> String {
    let id = text_option(options, "task_id").or(place.id).unwrap_or_else(|| (publisher.new_id)());
    set_option(options, "task_id", text(&id));
    if let Some(root_id) = &place.root_id {
        set_option(options, "root_id", text(root_id));
    }
    if let Some(parent_id) = &place.parent_id {
        set_option(options, "parent_id", text(parent_id));
    }
    if !has(options, "reply_to") {
        set_option(options, "reply_to", text(publisher.reply_to));
    }
    if let Some(group_id) = &place.group_id
        && !has(options, "group_id")
    {
        set_option(options, "group_id", text(group_id));
    }
    if let Some(chord) = place.chord {
        set_option(options, "chord", chord);
    }
    if let Some(index) = place.group_index {
        set_option(options, "group_index", Json::Int(index as i128));
    }
    id
}

fn has(options: &Options, name: &str) -> bool {
    options.iter().any(|(key, _)| key == name)
}

/// `_freeze_group_tasks`: nested groups are unrolled, each task gets its index.
pub(super) fn freeze_group(
    tasks: &mut Vec<Node>,
    options: &mut Options,
    place: &Place,
    publisher: &mut Publisher<'_>,
) -> String {
    let id = text_option(options, "task_id").unwrap_or_else(|| (publisher.new_id)());
    set_option(options, "task_id", text(&id));
    if let Some(group_id) = &place.group_id {
        set_option(options, "group_id", text(group_id));
    }
    if let Some(chord) = &place.chord {
        set_option(options, "chord", chord.clone());
    }
    if let Some(index) = place.group_index {
        set_option(options, "group_index", Json::Int(index as i128));
    }
    for (name, value) in [("root_id", &place.root_id), ("parent_id", &place.parent_id)] {
        if !has(options, name) {
            set_option(options, name, value.as_deref().map_or(Json::Null, text));
        }
    }
    let member = Place {
        id: None,
        root_id: text_option(options, "root_id"),
        parent_id: text_option(options, "parent_id"),
        ..place.clone()
    };
    *tasks = unrolled(std::mem::take(tasks));
    for (index, task) in tasks.iter_mut().enumerate() {
        task.freeze(Place { group_index: Some(index), ..member.clone() }, publisher);
    }
    id
}

/// Gives ids to the tasks of a group that is published (`_prepared`): each nested group counts its own tasks, while its
/// place counts for the tasks after it. Returns where their results will be.
pub(super) fn freeze_members(
    tasks: &mut [Node],
    group_id: &str,
    root_id: Option<&str>,
    results: &mut Vec<ResultTuple>,
    publisher: &mut Publisher<'_>,
) {
    for (index, task) in tasks.iter_mut().enumerate() {
        match task {
            Node::Group { tasks, .. } => freeze_members(tasks, group_id, root_id, results, publisher),
            Node::Chain { tasks, .. } if tasks.is_empty() => {}
            task => {
                let place = Place {
                    group_id: Some(group_id.to_owned()),
                    root_id: root_id.map(str::to_owned),
                    group_index: Some(index),
                    ..Place::default()
                };
                task.freeze(place, publisher);
                results.extend(task.result(None));
            }
        }
    }
}

/// The tasks of nested groups among the others, in the order in which Celery puts them: those of a nested group are
/// turned around (`_freeze_unroll` pushes them onto the left of a deque one by one). Empty chains are left out.
fn unrolled(tasks: Vec<Node>) -> Vec<Node> {
    let mut left: std::collections::VecDeque<_> = tasks.into();
    let mut flat = Vec::with_capacity(left.len());
    while let Some(task) = left.pop_front() {
        match task {
            Node::Group { tasks, .. } => tasks.into_iter().for_each(|task| left.push_front(task)),
            Node::Chain { tasks, .. } if tasks.is_empty() => {}
            task => flat.push(task),
        }
    }
    flat
}

/// The last task of a chain stands for the chain: it gets the chain's place. Answers its id.
fn freeze_chain(tasks: &mut [Node], last: Place, root_id: Option<&str>, publisher: &mut Publisher<'_>) -> String {
    let mut steps = Vec::new();
    flatten(tasks, &mut steps);
    let count = steps.len();
    let mut last = Some(last);
    let mut id = None;
    for (index, step) in steps.into_iter().enumerate().rev() {
        let others = count > 1 && (index > 0 || id.is_some());
        if step.is_empty_group() && others {
            continue;
        }
        let place = last.take().map_or_else(
            || Place { root_id: root_id.map(str::to_owned), ..Place::default() },
            |place| Place { parent_id: None, ..place },
        );
        let step_id = step.freeze(place, publisher);
        id.get_or_insert(step_id);
    }
    id.unwrap_or_else(|| (publisher.new_id)())
}

/// The steps of a chain with those of the chains in it; groups of one are looked through.
fn flatten<'a>(tasks: &'a mut [Node], steps: &mut Vec<&'a mut Node>) {
    for task in tasks {
        let is_transparent = match task {
            Node::Chain { .. } => true,
            Node::Group { tasks, .. } => tasks.len() == 1,
            _ => false,
        };
        if !is_transparent {
            steps.push(task);
        } else if let Node::Chain { tasks, .. } | Node::Group { tasks, .. } = task {
            flatten(tasks, steps);
        }
    }
}

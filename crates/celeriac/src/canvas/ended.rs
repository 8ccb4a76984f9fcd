//! What follows when a task has ended (`celery/app/trace.py`, `celery/backends/base.py`).

use super::node::{Node, Options, option, text_option, to_list};
use super::plan::{Plan, Publisher};
use super::{CanvasError, publish};
use crate::protocol::{Json, Signature, TaskMessage};

/// The messages to publish after a task has answered with `result`: its callbacks, then the next step of its chain.
/// Publish them before the result is stored, so that the result can name its children.
///
/// One difference: Celery's tracer passes `priority=None` on to what it sends, by which the body of a chord in a chain loses
/// its own priority. Here it keeps it.
///
/// A task of a chord has also to hand in its part: that is the result backend's work, which answers whether the chord is
/// complete, and then [`chord_ready`] follows.
///
/// # Errors
/// A signature cannot be published; nothing has been.
pub fn after_success(task: &TaskMessage, result: &Json, publisher: &mut Publisher<'_>) -> Result<Plan, CanvasError> {
    let arguments = std::slice::from_ref(result);
    let mut plan = Plan::default();
    for node in callbacks(task.embed.callbacks.as_deref().unwrap_or_default())? {
        plan.append(publish::publish(node, arguments, lineage(task), publisher)?);
    }
    if let Some((next, rest)) = task.embed.chain.as_deref().and_then(<[_]>::split_last) {
        let mut options = lineage(task);
        options.push(("chain".to_owned(), Json::List(rest.iter().map(Signature::to_json).collect())));
        plan.append(publish::publish(Node::from_json(&next.to_json())?, arguments, options, publisher)?);
    }
    Ok(plan)
}

/// One callback goes alone; of several the groups go first, the others as one group.
fn callbacks(callbacks: &[Signature]) -> Result<Vec<Node>, CanvasError> {
    let nodes = callbacks.iter().map(|callback| Node::from_json(&callback.to_json())).collect::<Result<Vec<_>, _>>()?;
    if nodes.len() < 2 {
        return Ok(nodes);
    }
    let (mut groups, others): (Vec<_>, Vec<_>) = nodes.into_iter().partition(|node| matches!(node, Node::Group { .. }));
    if !others.is_empty() {
        groups.push(Node::group(others));
    }
    Ok(groups)
}

/// Children have the task as their parent, and its root.
fn lineage(task: &TaskMessage) -> Options {
    let root_id = task.root_id.as_deref().filter(|root_id| !root_id.is_empty()).unwrap_or(&task.id);
    relation(root_id, &task.id)
}

fn relation(root_id: &str, parent_id: &str) -> Options {
    let text = |value: &str| Json::Str(value.to_owned());
    vec![("parent_id".to_owned(), text(parent_id)), ("root_id".to_owned(), text(root_id))]
}

/// The messages to publish when all parts of a chord are in: its body with the list of the results, in their order.
/// `publisher.parent` is the task that completed it.
///
/// # Errors
/// The body cannot be published: the chord has failed.
pub fn chord_ready(body: &Signature, results: Vec<Json>, publisher: &mut Publisher<'_>) -> Result<Plan, CanvasError> {
    publish::publish(Node::from_json(&body.to_json())?, &[Json::List(results)], Vec::new(), publisher)
}

/// What a failure brings down with it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Broken {
    /// The errbacks to publish.
    pub plan: Plan,
    /// The tasks that will never run: store the same failure for each, else who waits for them waits for ever.
    pub failed: Vec<FailedStep>,
}

/// A task that failed because one before it did.
#[derive(Clone, Debug, PartialEq)]
pub struct FailedStep {
    /// The id under which somebody may wait for it; `None`: nobody can.
    pub task_id: Option<String>,
    /// Its group, if it has one.
    pub group_id: Option<String>,
    /// Its place there.
    pub group_index: Option<i64>,
    /// The body of the chord that waits for this task: hand in its failure as its part.
    pub chord: Option<Signature>,
    /// It is the body of a chord that has failed: Celery stores that without its group.
    pub is_body: bool,
    /// How many of the children of the [plan](Broken::plan), which are in the order of the steps, are its errbacks.
    pub errbacks: usize,
}

/// What follows when a task has failed for good: its errbacks and the end of its chain.
///
/// Errbacks are always sent as tasks with the id of the failed task, as Celery does for those that its worker does not
/// know (`_call_task_errbacks`).
///
/// # Errors
/// An errback cannot be published.
pub fn after_failure(task: &TaskMessage, publisher: &mut Publisher<'_>) -> Result<Broken, CanvasError> {
    let errbacks: Vec<_> = task.embed.errbacks.iter().flatten().map(Signature::to_json).collect();
    let root_id = task.root_id.as_deref().filter(|root_id| !root_id.is_empty()).unwrap_or(&task.id);
    let chain: Vec<_> = task.embed.chain.iter().flatten().map(Signature::to_json).collect();
    Ok(Broken { plan: send_errbacks(&errbacks, &task.id, root_id, publisher)?, failed: fail_chain(chain) })
}

/// What follows when a chord cannot complete, because a task of its header has failed or its body could not be sent: the
/// body counts as failed.
///
/// # Errors
/// An errback cannot be published.
pub fn chord_failed(body: &Signature, publisher: &mut Publisher<'_>) -> Result<Broken, CanvasError> {
    let node = Node::from_json(&body.to_json())?;
    let mut broken = Broken::default();
    match &node {
        // Each of its tasks fails, wherever its result is, and is told of by its own errbacks and those of the group. Then
        // the group itself does.
        Node::Group { tasks, shell } => {
            let own = to_list(option(&shell.options, "link_error").cloned());
            for task in members(tasks) {
                let (result, mut errbacks) = result_and_errbacks(task);
                errbacks.extend(own.iter().cloned());
                broken.fail(FailedStep::of(result)?, errbacks, publisher)?;
            }
            broken.failed.push(FailedStep { is_body: true, chord: None, ..FailedStep::of(shell)? });
        }
        // Of a chain only the last task, by whose id the chain goes.
        other => {
            let (result, errbacks) = result_and_errbacks(other);
            broken.fail(FailedStep::of(result)?, errbacks, publisher)?;
        }
    }
    broken.failed.extend(fail_chain(to_list(option(&body.options, "chain").cloned())));
    Ok(broken)
}

impl Broken {
    /// A task that stands for the body of a chord. Its part in an outer chord is handed in like that of any other step.
    fn fail(
        &mut self,
        step: FailedStep,
        errbacks: Vec<Json>,
        publisher: &mut Publisher<'_>,
    ) -> Result<(), CanvasError> {
        let mut each = Vec::with_capacity(errbacks.len());
        errbacks.into_iter().for_each(|errback| {
            if !each.contains(&errback) {
                each.push(errback);
            }
        });
        let told = match &step.task_id {
            Some(id) => send_errbacks(&each, id, id, publisher)?,
            None => Plan::default(),
        };
        self.failed.push(FailedStep { is_body: true, errbacks: told.children.len(), ..step });
        self.plan.append(told);
        Ok(())
    }
}

/// The tasks of a group, those of the groups in it among them.
fn members(tasks: &[Node]) -> Vec<&Node> {
    let mut flat = Vec::with_capacity(tasks.len());
    for task in tasks {
        match task {
            Node::Group { tasks, .. } => flat.extend(members(tasks)),
            task => flat.push(task),
        }
    }
    flat
}

/// The signature by whose id the result goes, and the errbacks that are called when it fails (`_result_errbacks`): for a
/// chord they are those of its body too, for a chain only its own.
fn result_and_errbacks(node: &Node) -> (&Signature, Vec<Json>) {
    let mut errbacks = to_list(option(&node.shell().options, "link_error").cloned());
    match node {
        Node::Chord(chord) => {
            let (result, of_body) = result_and_errbacks(&chord.body);
            errbacks.extend(of_body);
            (result, errbacks)
        }
        Node::Chain { tasks, shell } => (last_of(tasks).unwrap_or(shell), errbacks),
        Node::Group { tasks, shell } => {
            errbacks.extend(tasks.iter().flat_map(|task| result_and_errbacks(task).1));
            (shell, errbacks)
        }
        Node::Task(signature) => (signature, errbacks),
    }
}

/// The task by whose id a chain goes: it alone knows where the chain belongs.
fn last_of(tasks: &[Node]) -> Option<&Signature> {
    let last = tasks.iter().rfind(|task| !task.is_empty_group())?;
    let (result, _) = result_and_errbacks(last);
    result.task_id().is_some().then_some(result)
}

fn send_errbacks(
    errbacks: &[Json],
    failed_id: &str,
    root_id: &str,
    publisher: &mut Publisher<'_>,
) -> Result<Plan, CanvasError> {
    if errbacks.is_empty() {
        return Ok(Plan::default());
    }
    let errbacks = errbacks.iter().map(Node::from_json).collect::<Result<_, _>>()?;
    let arguments = [Json::Str(failed_id.to_owned())];
    publish::publish(Node::group(errbacks), &arguments, relation(root_id, failed_id), publisher)
}

/// `_fail_chain`: every step that has an id of its own, and the bodies of chords among them. Steps that cannot be read
/// are passed over: nobody could wait for them.
fn fail_chain(chain: Vec<Json>) -> Vec<FailedStep> {
    let mut waiting: std::collections::VecDeque<_> = chain.into();
    let mut failed = Vec::new();
    while let Some(step) = waiting.pop_front() {
        let Ok(signature) = Signature::from_json(&step) else { continue };
        if let Ok(step) = FailedStep::of(&signature)
            && (step.task_id.is_some() || step.chord.is_some())
        {
            failed.push(step);
        }
        if signature.subtask_type.as_deref() == Some("chord")
            && let Some((_, body)) = signature.kwargs.iter().find(|(name, _)| name == "body")
        {
            waiting.push_back(body.clone());
        }
    }
    failed
}

impl FailedStep {
    fn of(signature: &Signature) -> Result<Self, CanvasError> {
        let options = &signature.options;
        let group_index = match option(options, "group_index") {
            Some(Json::Int(index)) => (*index).try_into().ok(),
            _ => None,
        };
        Ok(Self {
            task_id: text_option(options, "task_id"),
            group_id: text_option(options, "group_id"),
            group_index,
            chord: option(options, "chord").map(Signature::from_json).transpose()?,
            is_body: false,
            errbacks: 0,
        })
    }
}

//! A task that something else takes the place of: `Task.replace` (`celery/app/task.py`).

use super::compose::join;
use super::freeze::Place;
use super::node::{Node, append_to_list, option, set_option, take_option, to_list};
use super::plan::Publisher;
use super::publish::weight;
use super::{Canvas, CanvasError};
use crate::protocol::{Json, Signature, TaskMessage};

/// What to publish instead of a task that is running: `with` under the id of the task, in its place in its chain, group
/// and chord, and with its callbacks.
///
/// # Errors
/// Nothing can be put in place of a task that way.
pub(crate) fn replacement(
    task: &TaskMessage,
    with: Canvas,
    publisher: &mut Publisher<'_>,
) -> Result<Canvas, CanvasError> {
    let mut node = with.0;
    if option(&node.shell().options, "chord").is_some() {
        return Err(CanvasError::Replacement("A signature replacing a task must not be part of a chord"));
    }
    if matches!(&node, Node::Chain { tasks, .. } if tasks.is_empty()) {
        return Err(CanvasError::Replacement("Cannot replace with an empty chain"));
    }
    node = answering(node);
    for (kind, signatures) in [("link", &task.embed.callbacks), ("link_error", &task.embed.errbacks)] {
        for signature in signatures.iter().flatten() {
            attach(&mut node, kind, &Node::from_json(&signature.to_json())?);
        }
    }
    callbacks_to_last(&mut node);
    node.freeze(Place { id: Some(task.id.clone()), ..Place::default() }, publisher);

    let text = |value: &Option<String>| value.as_deref().map_or(Json::Null, |value| Json::Str(value.to_owned()));
    let nesting = Json::Int((u64::from(task.replaced_task_nesting) + 1).into());
    let inherited = [
        ("chord", task.embed.chord.as_ref().map_or(Json::Null, |chord| chord.to_json())),
        ("group_id", text(&task.group)),
        ("group_index", task.group_index.map_or(Json::Null, |index| Json::Int(index.into()))),
        ("root_id", text(&task.root_id)),
        ("replaced_task_nesting", nesting.clone()),
    ];
    for (name, value) in inherited {
        set_option(&mut node.shell_mut().options, name, value);
    }
    if let Node::Chain { tasks, .. } = &mut node {
        tasks.iter_mut().for_each(|task| task.shell_mut().set_option("replaced_task_nesting", nesting.clone()));
    }
    // What comes after the task travels in reverse.
    for next in task.embed.chain.iter().flatten().rev() {
        let mut next = Node::from_json(&next.to_json())?;
        next.shell_mut().set_option("replaced_task_nesting", nesting.clone());
        node = join(node, next);
    }
    Ok(Canvas(node))
}

/// What a task adds to the chord that it is part of (`Task.add_to_chord`), and how many parts that hands in. `None`: the
/// task is part of none. A group has no part to hand in, and would begin the body once more in Celery; here the list of
/// its results is the part.
pub(crate) fn added_to_chord(
    task: &TaskMessage,
    canvas: Canvas,
    publisher: &mut Publisher<'_>,
) -> Option<(Canvas, usize)> {
    let place = Place {
        chord: Some(task.embed.chord.as_ref()?.to_json()),
        group_id: Some(task.group.clone()?),
        group_index: task.group_index.and_then(|index| index.try_into().ok()),
        root_id: task.root_id.clone(),
        ..Place::default()
    };
    let mut node = answering(canvas.0);
    node.freeze(place, publisher);
    let parts = weight(&node);
    Some((Canvas(node), parts))
}

/// A group has no result that could stand for the task's: the list of its results has.
fn answering(node: Node) -> Node {
    let accumulate = || Node::Task(Signature::new("celery.accumulate").kwarg("index", 0));
    match node {
        group @ Node::Group { .. } => join(group, accumulate()),
        Node::Chain { mut tasks, shell } => {
            if let Some(group) = tasks.pop_if(|last| matches!(last, Node::Group { .. })) {
                tasks.push(join(group, accumulate()));
            }
            Node::Chain { tasks, shell }
        }
        other => other,
    }
}

fn attach(node: &mut Node, kind: &str, callback: &Node) {
    match kind {
        "link" => super::compose::link(node, callback),
        _ => super::compose::append_errback(node, &callback.to_json()),
    }
}

/// More may be added to the end of a chain below; its callbacks belong to what is the last task now.
fn callbacks_to_last(node: &mut Node) {
    let Node::Chain { tasks, shell } = node else { return };
    let callbacks = to_list(take_option(&mut shell.options, "link"));
    if let Some(last) = tasks.last_mut() {
        callbacks.into_iter().for_each(|callback| append_to_list(&mut last.shell_mut().options, "link", callback));
    }
}

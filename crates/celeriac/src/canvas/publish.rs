//! Which messages a workflow begins with: `apply_async` of each kind.

use super::compose::{append_errback, unchained, upgraded};
use super::freeze::{Place, freeze_group, freeze_members, group_result, header_group};
use super::node::{Chord, Node, Options, append_to_list, merge, option, set_option, take_option, text_option, to_list};
use super::plan::{ApplyChord, ChordSize, Plan, Publisher, Step};
use super::{CanvasError, message};
use crate::protocol::{Json, ResultTuple, Signature};

type Published = Result<Plan, CanvasError>;

/// Publishes a workflow: `arguments` come in front of its own, `options` add to its own.
pub(super) fn publish(node: Node, arguments: &[Json], options: Options, publisher: &mut Publisher<'_>) -> Published {
    match node {
        Node::Task(signature) => task(signature, arguments, options, publisher),
        Node::Chain { tasks, shell } => chain(tasks, &shell, arguments, options, publisher),
        Node::Group { tasks, shell } => group(tasks, &shell, arguments, options, publisher),
        Node::Chord(chord) => run_chord(*chord, arguments, options, publisher),
    }
}

fn task(mut signature: Signature, arguments: &[Json], options: Options, publisher: &mut Publisher<'_>) -> Published {
    let given = options.into_iter().filter(|(_, value)| !value.is_null()).collect();
    signature.options = merge(&signature.options, given);
    prepend(&mut signature, arguments);
    let publish = message::build(signature, publisher)?;
    let children = vec![ResultTuple::task(&publish.message.id)];
    Ok(Plan { steps: vec![Step::Publish(Box::new(publish))], children })
}

/// Partial arguments come first; an immutable signature takes none.
fn prepend(signature: &mut Signature, arguments: &[Json]) {
    if !signature.immutable {
        signature.args.splice(0..0, arguments.iter().cloned());
    }
}

/// `_chain.run`: the first task carries the others.
fn chain(
    tasks: Vec<Node>,
    shell: &Signature,
    arguments: &[Json],
    given: Options,
    publisher: &mut Publisher<'_>,
) -> Published {
    let mut options = shell.options.clone();
    given.into_iter().for_each(|(name, value)| set_option(&mut options, &name, value));
    let mut own = shell.args.clone();
    if !shell.immutable {
        own.splice(0..0, arguments.iter().cloned());
    }
    let last = Place {
        id: take_text(&mut options, "task_id"),
        group_id: take_text(&mut options, "group_id"),
        group_index: take_index(&mut options, "group_index"),
        chord: take_option(&mut options, "chord"),
        root_id: take_text(&mut options, "root_id"),
        parent_id: None,
    };
    take_option(&mut options, "parent_id");
    let callbacks = to_list(take_option(&mut options, "link"));
    let errbacks = to_list(take_option(&mut options, "link_error"));

    let mut steps = prepare(tasks, &own, last, &errbacks, publisher);
    if let Some(last) = steps.first_mut() {
        callbacks.into_iter().for_each(|callback| append_to_list(&mut last.shell_mut().options, "link", callback));
    }
    let Some(first) = steps.pop() else { return Ok(Plan::default()) };
    // A chain that is a step of another carries the rest of that one behind its own.
    let mut rest = to_list(option(&options, "chain").cloned());
    rest.extend(steps.iter().map(Node::to_json));
    set_option(&mut options, "chain", Json::List(rest));
    publish(first, &[], options, publisher)
}

fn take_text(options: &mut Options, name: &str) -> Option<String> {
    let text = text_option(options, name);
    take_option(options, name);
    text
}

fn take_index(options: &mut Options, name: &str) -> Option<usize> {
    match take_option(options, name) {
        Some(Json::Int(index)) => index.try_into().ok(),
        _ => None,
    }
}

/// `prepare_steps`: chains in it are spliced, groups that something follows become chords, all get ids. The answer is in
/// reverse, as it travels: the next step is always the last.
fn prepare(
    tasks: Vec<Node>,
    arguments: &[Json],
    last: Place,
    errbacks: &[Json],
    publisher: &mut Publisher<'_>,
) -> Vec<Node> {
    let root_id = last.root_id.clone();
    let mut last = Some(last);
    let mut waiting = normal_head(tasks);
    let mut prepared: Vec<Node> = Vec::with_capacity(waiting.len());
    while let Some(step) = waiting.pop() {
        let is_first = waiting.is_empty();
        let mut step = step.unroll();
        if step.is_empty_group() && !(is_first && prepared.is_empty()) {
            continue;
        }
        step = match step {
            Node::Chord(chord) if chord.body.is_chain_led_by_task() => {
                waiting.extend(unrolled_body(*chord));
                continue;
            }
            // Its own callbacks stay behind, as in Celery; `then` and `unchained` move them to the tasks before.
            Node::Chain { tasks, .. } => {
                waiting.extend(tasks);
                continue;
            }
            step => step,
        };
        if is_first {
            prepend(step.shell_mut(), arguments);
        }
        if matches!(step, Node::Group { .. })
            && let Some(body) = prepared.pop()
        {
            step = upgraded(step, body);
        }
        // The body of a chord at the end has taken the place of the last task already.
        let place = last.take().unwrap_or_else(|| Place { root_id: root_id.clone(), ..Place::default() });
        step.freeze(place, publisher);
        errbacks.iter().for_each(|errback| append_errback(&mut step, errback));
        prepared.push(step);
    }
    prepared
}

/// The first real task of the chain first: chains at its head spliced, empty groups there dropped.
fn normal_head(tasks: Vec<Node>) -> Vec<Node> {
    let mut steps: std::collections::VecDeque<_> = tasks.into();
    let mut dropped = None;
    while let Some(head) = steps.pop_front() {
        match head.unroll() {
            Node::Chain { tasks, .. } => tasks.into_iter().rev().for_each(|task| steps.push_front(task)),
            head if head.is_empty_group() && !steps.is_empty() => dropped = Some(head),
            head => {
                steps.push_front(head);
                break;
            }
        }
    }
    if steps.is_empty() {
        steps.extend(dropped);
    }
    steps.into()
}

/// A chord whose body is a chain is the chord with the first task of it, followed by the others.
fn unrolled_body(mut chord: Chord) -> Vec<Node> {
    let body = std::mem::replace(&mut chord.body, Node::chain(Vec::new()));
    let passed_on = body.shell().options.clone();
    let mut tasks = unchained(body).into_iter();
    if let Some(mut first) = tasks.next() {
        const OF_THE_CHAIN: [&str; 8] =
            ["chord", "group_id", "group_index", "link", "link_error", "parent_id", "root_id", "task_id"];
        let passed_on = passed_on.into_iter().filter(|(name, _)| !OF_THE_CHAIN.contains(&name.as_str())).collect();
        let merged = merge(&first.shell().options, passed_on);
        first.shell_mut().options = merged;
        chord.body = first;
    }
    std::iter::once(Node::Chord(Box::new(chord))).chain(tasks).collect()
}

/// `group.apply_async`. The options of a group are those of each of its tasks: its `link_error` takes the place of theirs.
fn group(
    mut tasks: Vec<Node>,
    shell: &Signature,
    arguments: &[Json],
    given: Options,
    publisher: &mut Publisher<'_>,
) -> Published {
    if tasks.is_empty() {
        return Ok(Plan::default());
    }
    let mut options = merge(&shell.options, given);
    let group_id = take_text(&mut options, "task_id").unwrap_or_else(|| (publisher.new_id)());
    set_option(&mut options, "group_id", Json::Str(group_id.clone()));
    let root_id = text_option(&options, "root_id");
    take_option(&mut options, "group_index");
    let chord = take_option(&mut options, "chord");

    let mut results = Vec::new();
    freeze_members(&mut tasks, &group_id, root_id.as_deref(), &mut results, publisher);
    let members = flat(tasks);
    let mut plan = Plan::default();
    let mut size = 0;
    let count = members.len();
    for (index, member) in members.into_iter().enumerate() {
        let chord = chord.clone().or_else(|| option(&member.shell().options, "chord").cloned());
        size += weight(&member);
        if chord.is_some() && index + 1 == count {
            plan.steps.push(Step::ChordSize(ChordSize { group_id: group_id.clone(), size }));
        }
        let mut options = options.clone();
        set_option(&mut options, "chord", chord.unwrap_or(Json::Null));
        plan.append(publish(member, arguments, options, publisher)?);
    }
    // The tasks of a group are children by it.
    plan.children = vec![ResultTuple { children: Some(results), ..ResultTuple::task(group_id) }];
    Ok(plan)
}

/// The tasks of nested groups among the others. Empty chains are left out.
fn flat(tasks: Vec<Node>) -> Vec<Node> {
    let nested = |task| match task {
        Node::Group { tasks, .. } => flat(tasks),
        Node::Chain { tasks, .. } if tasks.is_empty() => Vec::new(),
        task => vec![task],
    };
    tasks.into_iter().flat_map(nested).collect()
}

/// How many results a chord gets from one of its header tasks (`_chord._descend`).
pub(super) fn weight(node: &Node) -> usize {
    match node {
        Node::Task(_) => 1,
        Node::Group { tasks, .. } => tasks.iter().map(weight).sum(),
        Node::Chain { tasks, .. } => tasks.iter().rev().map(weight).find(|weight| *weight > 0).unwrap_or(0),
        Node::Chord(chord) => weight(&chord.body),
    }
}

/// `_chord.apply_async` and `run`
fn run_chord(chord: Chord, arguments: &[Json], mut given: Options, publisher: &mut Publisher<'_>) -> Published {
    let Chord { mut header, header_group: group_shell, mut body, shell } = chord;
    let mut own = shell.args.clone();
    if !shell.immutable {
        own.splice(0..0, arguments.iter().cloned());
    }
    given.retain(|(_, value)| !value.is_null());
    let callbacks = [
        ("link", to_list(take_option(&mut given, "link"))),
        ("link_error", to_list(take_option(&mut given, "link_error"))),
    ];

    let body_id = text_option(&given, "task_id").or_else(|| text_option(&shell.options, "task_id"));
    let mut options = shell.options.clone();
    given.into_iter().for_each(|(name, value)| set_option(&mut options, &name, value));
    take_option(&mut options, "task_id");
    for (name, list) in callbacks {
        if !list.is_empty() {
            set_option(&mut options, name, Json::List(list));
        }
    }
    // A delay is one of the header.
    let delay: Options = ["countdown", "eta"]
        .into_iter()
        .filter_map(|name| Some((name.to_owned(), take_option(&mut options, name)?)))
        .collect();
    add_callbacks(&mut body, &mut options);
    for (name, value) in options.iter().filter(|(name, _)| name != "parent_id") {
        let merged = merge(&body.shell().options, vec![(name.clone(), value.clone())]);
        body.shell_mut().options = merged;
    }
    if let Node::Chain { tasks, shell } = body {
        body = Node::Chain { tasks: split_chords(tasks), shell };
    }

    let mut group_shell = group_shell.unwrap_or_else(|| {
        let mut group = header_group();
        if let Some(id) = option(&shell.options, "task_id") {
            group.set_option("task_id", id.clone());
        }
        group
    });
    let group_id = text_option(&group_shell.options, "task_id").unwrap_or_else(|| (publisher.new_id)());
    let root_id = text_option(&body.shell().options, "root_id");
    let place = Place { id: body_id, group_id: Some(group_id.clone()), root_id: root_id.clone(), ..Place::default() };
    body.freeze(place, publisher);

    if header.is_empty() {
        return publish(body, &[Json::List(Vec::new())], Vec::new(), publisher);
    }
    group_shell.set_option("task_id", Json::Str(group_id.clone()));
    let place = Place { group_id: Some(group_id), chord: Some(body.to_json()), root_id, ..Place::default() };
    freeze_group(&mut header, &mut group_shell.options, &place, publisher);
    take_option(&mut options, "chain");
    take_option(&mut options, "chord");
    options.extend(delay);
    let mut plan = Plan::default();
    if let Some(header) = group_result(&header, &group_shell, None) {
        let (body, parent) = (body.to_signature(), publisher.parent.clone());
        let route = message::route(&body.options, (publisher.known)(&body.task).map(|task| task.options));
        plan.steps.push(Step::ApplyChord(Box::new(ApplyChord { header, body, route, parent })));
    }
    plan.append(group(header, &group_shell, &own, options, publisher)?);
    Ok(plan)
}

/// Callbacks of the chord as a whole belong to its body.
fn add_callbacks(body: &mut Node, options: &mut Options) {
    for callback in to_list(take_option(options, "link")) {
        append_to_list(&mut body.shell_mut().options, "link", callback);
    }
    for errback in to_list(take_option(options, "link_error")) {
        if matches!(body, Node::Group { .. }) {
            append_errback(body, &errback);
        } else {
            append_to_list(&mut body.shell_mut().options, "link_error", errback);
        }
    }
}

/// `_unroll_chords`: chords in the chain with bodies that are chains are taken apart.
fn split_chords(tasks: Vec<Node>) -> Vec<Node> {
    let mut waiting: std::collections::VecDeque<_> = tasks.into();
    let mut split = Vec::with_capacity(waiting.len());
    while let Some(task) = waiting.pop_front() {
        match task {
            Node::Chord(chord) if chord.body.is_chain_led_by_task() => {
                unrolled_body(*chord).into_iter().rev().for_each(|task| waiting.push_front(task));
            }
            Node::Chain { tasks, shell } => split.push(Node::Chain { tasks: split_chords(tasks), shell }),
            task => split.push(task),
        }
    }
    split
}

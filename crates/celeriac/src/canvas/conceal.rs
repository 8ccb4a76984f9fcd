//! What a task hides, said in signatures that do not say it: by who knows the task, for all who send them on.

use super::node::{Node, Options, option, set_option, to_list};
use super::plan::{KnownTask, Publisher};
use crate::protocol::{Json, RawJson, Signature, repr};

/// Says so in every signature of a workflow, those linked to others too.
pub(super) fn conceal(node: &mut Node, publisher: &Publisher<'_>) {
    links(&mut node.shell_mut().options, publisher);
    match node {
        Node::Task(signature) => {
            if let Some(known) = (publisher.known)(&signature.task).filter(|known| !known.redacted.is_empty()) {
                hide(signature, &known);
            }
        }
        Node::Chain { tasks, .. } | Node::Group { tasks, .. } => {
            tasks.iter_mut().for_each(|task| conceal(task, publisher));
        }
        Node::Chord(chord) => {
            chord.header.iter_mut().for_each(|task| conceal(task, publisher));
            conceal(&mut chord.body, publisher);
        }
    }
}

fn hide(signature: &mut Signature, known: &KnownTask) {
    if option(&signature.options, "kwargsrepr").is_none() {
        let shown = repr::redacted(&raw(&Json::Object(signature.kwargs.clone())), known.redacted);
        signature.set_option("kwargsrepr", shown.into());
    }
    if option(&signature.options, "argsrepr").is_none() {
        let shown = repr::redacted_args(&raw(&Json::List(signature.args.clone())), known.fields, known.redacted);
        signature.set_option("argsrepr", shown.into());
    }
}

/// What is nested too deeply cannot be published either.
fn raw(json: &Json) -> RawJson {
    let mut text = Vec::new();
    json.write(&mut text);
    RawJson::parse(text).unwrap_or(RawJson::NULL)
}

fn links(options: &mut Options, publisher: &Publisher<'_>) {
    for key in ["link", "link_error"] {
        let list = to_list(option(options, key).cloned());
        if list.is_empty() {
            continue;
        }
        let concealed = list.into_iter().map(|link| match Node::from_json(&link) {
            Ok(mut node) => {
                conceal(&mut node, publisher);
                node.to_json()
            }
            // What is no signature is refused when it is published.
            Err(_) => link,
        });
        let concealed = concealed.collect();
        set_option(options, key, Json::List(concealed));
    }
}

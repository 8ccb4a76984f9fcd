//! Stamps: values that mark all tasks of a workflow.

use super::Canvas;
use super::node::{Node, Options, set_option, take_option, to_list};
use crate::protocol::Json;

impl Canvas {
    /// Marks every task in it, the tasks linked to them too. As in Celery, the body of a chord is not marked with its
    /// header: mark it before it becomes a body.
    #[must_use]
    pub fn stamp(mut self, name: &str, value: impl Into<Json>) -> Self {
        stamp(&mut self.0, name, &value.into());
        self
    }
}

fn stamp(node: &mut Node, name: &str, value: &Json) {
    links(&mut node.shell_mut().options, name, value);
    match node {
        Node::Task(signature) => mark(&mut signature.options, name, value),
        Node::Chain { tasks, .. } | Node::Group { tasks, .. } => {
            tasks.iter_mut().for_each(|task| stamp(task, name, value));
        }
        Node::Chord(chord) => chord.header.iter_mut().for_each(|task| stamp(task, name, value)),
    }
}

fn mark(options: &mut Options, name: &str, value: &Json) {
    set_option(options, name, value.clone());
    let mut names = to_list(take_option(options, "stamped_headers"));
    if !names.iter().any(|known| known.as_str() == Some(name)) {
        names.push(Json::Str(name.to_owned()));
    }
    set_option(options, "stamped_headers", Json::List(names));
}

fn links(options: &mut Options, name: &str, value: &Json) {
    for key in ["link", "link_error"] {
        let Some((_, list)) = options.iter_mut().find(|(option, _)| option == key) else { continue };
        for link in to_list(Some(std::mem::replace(list, Json::List(Vec::new())))) {
            let stamped = match Node::from_json(&link) {
                Ok(mut node) => {
                    stamp(&mut node, name, value);
                    node.to_json()
                }
                // What is no signature is refused when it is published.
                Err(_) => link,
            };
            if let Json::List(list) = list {
                list.push(stamped);
            }
        }
    }
}

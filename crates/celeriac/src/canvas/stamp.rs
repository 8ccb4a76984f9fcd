//! Stamps: values that mark all tasks of a workflow (`celery/canvas.py`, `Signature.stamp`, `StampingVisitor`).

use super::Canvas;
use super::node::{Node, Options, set_option, take_option, to_list};
use crate::protocol::{Json, Signature};

/// Names the stamps of a task.
type Visitor<'a> = &'a mut dyn FnMut(&Signature) -> Vec<(String, Json)>;

impl Canvas {
    /// Marks every task in it, the tasks linked to them too. As in Celery, the body of a chord is not marked with its
    /// header: mark it before it becomes a body, or use [`stamp_with`](Self::stamp_with).
    #[must_use]
    pub fn stamp(mut self, name: &str, value: impl Into<Json>) -> Self {
        let stamps = vec![(name.to_owned(), value.into())];
        stamp(&mut self.0, false, &mut |_| stamps.clone());
        self
    }

    /// Marks each task in it with what `visitor` says of it (Celery's `StampingVisitor.on_signature`): the tasks linked to
    /// them and the bodies of chords too. A stamp that is there already is replaced.
    ///
    /// ```
    /// use celeriac::canvas::{Canvas, Signature};
    ///
    /// let orders = Canvas::group([Signature::new("shop.pay"), Signature::new("shop.mail")])
    ///     .stamp_with(|task| (task.task == "shop.pay").then(|| ("money".to_owned(), true.into())));
    /// ```
    #[must_use]
    pub fn stamp_with<I>(mut self, mut visitor: impl FnMut(&Signature) -> I) -> Self
    where
        I: IntoIterator<Item = (String, Json)>,
    {
        stamp(&mut self.0, true, &mut |signature| visitor(signature).into_iter().collect());
        self
    }
}

fn stamp(node: &mut Node, with_bodies: bool, visitor: Visitor<'_>) {
    links(&mut node.shell_mut().options, with_bodies, visitor);
    match node {
        Node::Task(signature) => {
            for (name, value) in visitor(signature) {
                mark(&mut signature.options, &name, value);
            }
        }
        Node::Chain { tasks, .. } | Node::Group { tasks, .. } => {
            tasks.iter_mut().for_each(|task| stamp(task, with_bodies, visitor));
        }
        Node::Chord(chord) => {
            chord.header.iter_mut().for_each(|task| stamp(task, with_bodies, visitor));
            if with_bodies {
                stamp(&mut chord.body, with_bodies, visitor);
            }
        }
    }
}

fn mark(options: &mut Options, name: &str, value: Json) {
    set_option(options, name, value);
    let mut names = to_list(take_option(options, "stamped_headers"));
    if !names.iter().any(|known| known.as_str() == Some(name)) {
        names.push(Json::Str(name.to_owned()));
    }
    set_option(options, "stamped_headers", Json::List(names));
}

fn links(options: &mut Options, with_bodies: bool, visitor: Visitor<'_>) {
    for key in ["link", "link_error"] {
        let Some((_, list)) = options.iter_mut().find(|(option, _)| option == key) else { continue };
        for link in to_list(Some(std::mem::replace(list, Json::List(Vec::new())))) {
            let stamped = match Node::from_json(&link) {
                Ok(mut node) => {
                    stamp(&mut node, with_bodies, visitor);
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

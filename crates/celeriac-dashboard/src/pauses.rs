//! Queues that somebody has paused here. Workers do not tell that they were told to take no more from a queue: only who told
//! them knows, and must not forget it.

use std::collections::{BTreeMap, BTreeSet};

use parking_lot::Mutex;

/// Who took from a queue before it was paused.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Pause {
    /// Those that were told to stop.
    pub(crate) nodes: Vec<String>,
    /// When, in seconds since 1970.
    pub(crate) at: f64,
}

#[derive(Default)]
pub(crate) struct Pauses(Mutex<Known>);

#[derive(Default)]
struct Known {
    by_queue: BTreeMap<String, Pause>,
    /// Queues whose pause the history has not, or still has.
    unwritten: BTreeSet<String>,
}

impl Pauses {
    /// These workers were told to take no more from it. Those of an earlier pause stay.
    pub(crate) fn begin(&self, queue: &str, nodes: &[String], at: f64) {
        let mut known = self.0.lock();
        let pause = known.by_queue.entry(queue.to_owned()).or_insert_with(|| Pause { nodes: Vec::new(), at });
        pause.nodes.extend_from_slice(nodes);
        pause.nodes.sort();
        pause.nodes.dedup();
        known.unwritten.insert(queue.to_owned());
    }

    /// These workers take from it again; when all do, it is not paused any more.
    pub(crate) fn end(&self, queue: &str, nodes: &[String]) {
        let mut known = self.0.lock();
        let Some(pause) = known.by_queue.get_mut(queue) else { return };
        pause.nodes.retain(|node| !nodes.contains(node));
        if pause.nodes.is_empty() {
            known.by_queue.remove(queue);
        }
        known.unwritten.insert(queue.to_owned());
    }

    pub(crate) fn get(&self, queue: &str) -> Option<Pause> {
        self.0.lock().by_queue.get(queue).cloned()
    }

    /// What was paused before this dashboard began. What was done since counts more.
    pub(crate) fn recall(&self, before: Vec<(String, Pause)>) {
        let mut known = self.0.lock();
        for (queue, pause) in before {
            if !known.unwritten.contains(&queue) {
                known.by_queue.entry(queue).or_insert(pause);
            }
        }
    }

    /// What the history is to have: `None` is a pause that is over.
    pub(crate) fn unwritten(&self) -> Vec<(String, Option<Pause>)> {
        let known = self.0.lock();
        known.unwritten.iter().map(|queue| (queue.clone(), known.by_queue.get(queue).cloned())).collect()
    }

    pub(crate) fn is_written(&self, queue: &str, pause: &Option<Pause>) {
        let mut known = self.0.lock();
        if known.by_queue.get(queue) == pause.as_ref() {
            known.unwritten.remove(queue);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nodes(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn a_pause_is_over_when_everybody_whom_it_stopped_takes_from_the_queue_again() {
        let pauses = Pauses::default();
        pauses.begin("shop", &nodes(&["b"]), 1.0);
        pauses.begin("shop", &nodes(&["a", "b"]), 2.0);
        assert_eq!(pauses.get("shop"), Some(Pause { nodes: nodes(&["a", "b"]), at: 1.0 }));
        pauses.end("shop", &nodes(&["b", "c"]));
        assert_eq!(pauses.get("shop").unwrap().nodes, ["a"]);
        pauses.end("shop", &nodes(&["a"]));
        assert_eq!(pauses.get("shop"), None);
        assert_eq!(pauses.unwritten(), [("shop".to_owned(), None)]);
    }

    /// What the history still has of before does not undo what was done meanwhile, and what changes while it is written is
    /// written again.
    #[test]
    fn what_was_done_since_the_start_counts_more_than_what_is_remembered() {
        let pauses = Pauses::default();
        let before = |queue: &str| (queue.to_owned(), Pause { nodes: nodes(&["old"]), at: 1.0 });
        pauses.begin("shop", &nodes(&["new"]), 5.0);
        pauses.begin("mail", &nodes(&["old"]), 5.0);
        pauses.end("mail", &nodes(&["old"]));
        pauses.recall(vec![before("shop"), before("mail"), before("film")]);
        assert_eq!(pauses.get("shop").unwrap().nodes, ["new"]);
        assert_eq!(pauses.get("mail"), None);
        assert_eq!(pauses.get("film").unwrap().nodes, ["old"]);
        let (queue, pause) = pauses.unwritten().pop().unwrap();
        pauses.begin(&queue, &nodes(&["later"]), 6.0);
        pauses.is_written(&queue, &pause);
        assert!(pauses.unwritten().iter().any(|(unwritten, _)| *unwritten == queue));
    }
}

//! Tasks: what is kept of each, how they are found, and which are forgotten.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use celeriac::events::Task;
use celeriac::protocol::State;
use celeriac::protocol::event::{Event, EventBody};

use super::Bounds;
use super::clip::Text;

/// Steps of one task beyond this many push out those in the middle.
const MAX_STEPS: usize = 200;
/// What a task takes besides its texts, roughly, in bytes.
const OVERHEAD: usize = 800;

/// The place of a task in the list: when it was heard of first, in microseconds since 1970, and its id.
pub(crate) type Key = (i64, Arc<str>);

/// Something that happened to a task.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Step {
    /// `sent`, `received`, …: the kind of the event.
    pub(crate) what: String,
    /// When, by the clock of whoever told.
    pub(crate) at: f64,
    /// The worker or client that told.
    pub(crate) by: String,
    pub(crate) error: Option<String>,
    clock: u64,
}

/// A task and its story.
#[derive(Clone, Debug)]
pub(crate) struct Kept {
    pub(crate) task: Task,
    pub(crate) key: Key,
    pub(crate) steps: Vec<Step>,
    /// Steps that had no room.
    pub(crate) left_out: usize,
    /// Texts that were cut, and how many characters they had.
    pub(crate) cuts: Vec<(Text, usize)>,
    bytes: usize,
}

impl Kept {
    /// From when it could have begun to when it did, in seconds: since it was sent, or received where nobody has told of
    /// its sending, or since its ETA. Never below 0: clocks differ.
    pub(crate) fn waited(&self) -> Option<f64> {
        let began = self.task.started?;
        // A task that is tried again waits from the retry on.
        let since = [self.task.sent.or(self.task.received), self.task.retried.filter(|at| *at < began)];
        let since = since.into_iter().flatten().reduce(f64::max)?;
        let eta = self.task.eta.as_deref().and_then(|eta| chrono::DateTime::parse_from_rfc3339(eta).ok());
        let eta = eta.map(|eta| eta.timestamp_micros() as f64 / 1e6);
        Some((began - eta.map_or(since, |eta| eta.max(since))).max(0.0))
    }

    /// How long its body ran, in seconds, as told or by the difference of the times.
    pub(crate) fn ran(&self) -> Option<f64> {
        let ended = self.task.succeeded.or(self.task.failed);
        self.task.runtime.or_else(|| Some((ended? - self.task.started?).max(0.0)))
    }

    fn weigh(&self) -> usize {
        let task = &self.task;
        let texts = [
            &task.name,
            &task.args,
            &task.kwargs,
            &task.result,
            &task.exception,
            &task.traceback,
            &task.eta,
            &task.expires,
            &task.root_id,
            &task.parent_id,
            &task.queue,
            &task.exchange,
            &task.routing_key,
            &task.client,
            &task.worker,
        ];
        let texts: usize = texts.into_iter().flatten().map(String::len).sum();
        let step = |step: &Step| 72 + step.what.len() + step.by.len() + step.error.as_ref().map_or(0, String::len);
        OVERHEAD + texts + task.uuid.len() * 3 + self.steps.iter().map(step).sum::<usize>()
    }

    fn note(&mut self, event: &Event<'_>) {
        let error = match &event.body {
            EventBody::TaskFailed { exception, .. } | EventBody::TaskRetried { exception, .. } => {
                Some(exception.to_string())
            }
            EventBody::TaskRevoked { expired: true, .. } => Some("its time was over before it began".to_owned()),
            EventBody::TaskRevoked { terminated: true, .. } => Some("it was ended while it ran".to_owned()),
            EventBody::TaskRejected { requeue: true, .. } => Some("its message went back to the queue".to_owned()),
            _ => None,
        };
        if self.steps.len() >= MAX_STEPS {
            self.steps.remove(MAX_STEPS / 2);
            self.left_out += 1;
        }
        let what = event.kind().trim_start_matches("task-").chars().take(40).collect();
        let clock = event.clock.unwrap_or(0);
        let step = Step { what, at: event.timestamp, by: event.hostname.to_string(), error, clock };
        // Events overtake each other: those of one sender are put in order by its clock.
        let is_before = |before: &Step| {
            if before.by == step.by { before.clock <= step.clock } else { before.at <= step.at }
        };
        let place = self.steps.iter().rposition(is_before);
        self.steps.insert(place.map_or(0, |place| place + 1), step);
    }
}

/// What is asked for. An empty condition is none.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Filter {
    /// How the name begins.
    pub(crate) name: String,
    pub(crate) state: String,
    pub(crate) worker: String,
    pub(crate) queue: String,
    pub(crate) id: String,
    /// In the arguments, whatever the case of the letters.
    pub(crate) text: String,
    /// Seconds since 1970.
    pub(crate) from: Option<f64>,
    pub(crate) to: Option<f64>,
}

impl Filter {
    pub(crate) fn matches(&self, kept: &Kept) -> bool {
        let Kept { task, key, .. } = kept;
        let at = key.0 as f64 / 1e6;
        let is = |wanted: &str, has: &Option<String>| wanted.is_empty() || has.as_deref() == Some(wanted);
        let contains = |has: &Option<String>| has.as_ref().is_some_and(|has| has.to_lowercase().contains(&self.text));
        (self.name.is_empty() || task.name.as_ref().is_some_and(|name| name.starts_with(&self.name)))
            && (self.state.is_empty() || task.state.to_string() == self.state)
            && is(&self.worker, &task.worker)
            && is(&self.queue, &task.queue)
            && (self.id.is_empty() || task.uuid == self.id)
            && (self.text.is_empty() || contains(&task.args) || contains(&task.kwargs))
            && self.from.is_none_or(|from| at >= from)
            && self.to.is_none_or(|to| at < to)
    }
}

/// Which way to go from a place in the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Toward {
    Older,
    Newer,
}

/// A place in the list, as it stands in a URL: `<microseconds>-<id>`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cursor(pub(crate) Key);

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.0.0, self.0.1)
    }
}

impl FromStr for Cursor {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (micros, id) = text.split_once('-').ok_or(())?;
        Ok(Self((micros.parse().map_err(|_| ())?, id.into())))
    }
}

/// Where a page begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    /// With the newest.
    Top,
    /// Behind this one, or before it.
    From(Key, Toward),
    /// With this one, or the next older.
    At(Key),
}

/// A page of the list, the newest first.
#[derive(Debug, Default)]
pub(crate) struct Page {
    pub(crate) rows: Vec<Kept>,
    /// How many there are that match and are newer, and older, than those of the page.
    pub(crate) newer: usize,
    pub(crate) older: usize,
}

/// The tasks that are remembered.
#[derive(Debug)]
pub(crate) struct Tasks {
    bounds: Bounds,
    by_id: HashMap<Arc<str>, Kept>,
    in_order: BTreeSet<Key>,
    bytes: usize,
    /// How many were forgotten to make room.
    pub(crate) forgotten: u64,
}

impl Tasks {
    pub(super) fn new(bounds: Bounds) -> Self {
        let bounds = Bounds { tasks: bounds.tasks.max(1), ..bounds };
        Self { bounds, by_id: HashMap::new(), in_order: BTreeSet::new(), bytes: 0, forgotten: 0 }
    }

    /// Takes in an event about a task; returns the task as it is now.
    pub(super) fn hear(&mut self, uuid: &str, event: &Event<'_>, cuts: Vec<(Text, usize)>, now: f64) -> &Kept {
        let id: Arc<str> = match self.by_id.get_key_value(uuid) {
            Some((id, _)) => Arc::clone(id),
            None => self.remember(uuid, now),
        };
        let kept = self.by_id.get_mut(&id).expect("it is there by now");
        // That a round was given up may be told after the end of the next.
        let is_over = matches!(kept.task.state, State::Success | State::Failure);
        let ended = (is_over && matches!(event.body, EventBody::TaskRetried { .. })).then(|| kept.task.clone());
        kept.task.apply(event);
        if let Some(ended) = ended {
            kept.task = Task { retried: kept.task.retried, ..ended };
        }
        for (text, was) in cuts {
            kept.cuts.retain(|(which, _)| *which != text);
            kept.cuts.push((text, was));
        }
        kept.note(event);
        self.bytes -= kept.bytes;
        kept.bytes = kept.weigh();
        self.bytes += kept.bytes;
        self.make_room(&id);
        &self.by_id[&id]
    }

    fn remember(&mut self, uuid: &str, now: f64) -> Arc<str> {
        let id: Arc<str> = uuid.into();
        let key = ((now * 1e6) as i64, Arc::clone(&id));
        self.in_order.insert(key.clone());
        let kept = Kept { task: Task::new(uuid), key, steps: Vec::new(), left_out: 0, cuts: Vec::new(), bytes: 0 };
        self.by_id.insert(Arc::clone(&id), kept);
        id
    }

    /// Forgets those heard of first, but never the one that is being told of.
    fn make_room(&mut self, told: &str) {
        while self.by_id.len() > self.bounds.tasks || (self.bytes > self.bounds.bytes && self.by_id.len() > 1) {
            let Some(oldest) = self.in_order.iter().find(|(_, id)| **id != *told).cloned() else { return };
            self.in_order.remove(&oldest);
            if let Some(kept) = self.by_id.remove(&oldest.1) {
                self.bytes -= kept.bytes;
                self.forgotten += 1;
            }
        }
    }

    pub(crate) fn get(&self, id: &str) -> Option<&Kept> {
        self.by_id.get(id)
    }

    pub(crate) fn len(&self) -> usize {
        self.by_id.len()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// From when the oldest is, in seconds since 1970.
    pub(crate) fn oldest(&self) -> Option<f64> {
        self.in_order.first().map(|(micros, _)| *micros as f64 / 1e6)
    }

    /// One page of those that match.
    pub(crate) fn page(&self, filter: &Filter, direction: &Direction, limit: usize) -> Page {
        let newest_first = self.in_order.iter().rev().filter_map(|(_, id)| self.by_id.get(id));
        let matching: Vec<&Kept> = newest_first.filter(|kept| filter.matches(kept)).collect();
        let from = match direction {
            Direction::Top => 0,
            Direction::At(key) => matching.partition_point(|kept| kept.key > *key),
            Direction::From(key, Toward::Older) => matching.partition_point(|kept| kept.key >= *key),
            Direction::From(key, Toward::Newer) => {
                matching.partition_point(|kept| kept.key > *key).saturating_sub(limit)
            }
        };
        let to = match direction {
            Direction::From(key, Toward::Newer) => matching.partition_point(|kept| kept.key > *key),
            _ => (from + limit).min(matching.len()),
        };
        let rows = matching[from..to].iter().copied().cloned().collect();
        Page { rows, newer: from, older: matching.len() - to }
    }

    /// How many are in these states.
    pub(crate) fn count(&self, states: &[State]) -> usize {
        self.by_id.values().filter(|kept| states.contains(&kept.task.state)).count()
    }

    /// Those of one workflow, in the order in which they were heard of, at most so many; and how many there are.
    pub(crate) fn of_workflow(&self, root: &str, limit: usize) -> (Vec<&Kept>, usize) {
        let belongs = |kept: &&Kept| kept.task.root_id.as_deref() == Some(root) || kept.task.uuid == root;
        let all = || self.in_order.iter().filter_map(|(_, id)| self.by_id.get(id)).filter(belongs);
        (all().take(limit).collect(), all().count())
    }
}

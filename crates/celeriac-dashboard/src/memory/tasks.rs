//! Tasks: what is kept of each, how they are found, and which are forgotten.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use celeriac::events::Task;
use celeriac::protocol::State;
use celeriac::protocol::event::{Event, EventBody};
use serde::{Deserialize, Serialize};

use super::Bounds;
use super::clip::Text;
use super::journal::Journal;
use crate::hiding::{HIDDEN, Hiding};

/// Steps of one task beyond this many push out those in the middle.
const MAX_STEPS: usize = 200;
/// What a task takes besides its texts, roughly, in bytes.
const OVERHEAD: usize = 800;

/// The place of a task in the list: when it was heard of first, in microseconds since 1970, and its id.
pub(crate) type Key = (i64, Arc<str>);

/// Something that happened to a task.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
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
    /// The history may know more of it, and has not been asked yet.
    pub(super) is_unread: bool,
}

/// A task as the history keeps it.
#[derive(Serialize, Deserialize)]
struct Story {
    task: Task,
    steps: Vec<Step>,
    left_out: usize,
    cuts: Vec<(Text, usize)>,
}

impl Kept {
    /// The class of the error that it has failed or is tried again with: what stands before the parenthesis.
    pub(crate) fn error_class(&self) -> Option<&str> {
        let failed = matches!(self.task.state, State::Failure | State::Retry);
        let exception = self.task.exception.as_deref().filter(|_| failed)?;
        Some(exception.split('(').next().unwrap_or_default().trim())
    }

    pub(crate) fn new(id: &Arc<str>, now: f64) -> Self {
        Self {
            task: Task::new(id),
            key: ((now * 1e6) as i64, Arc::clone(id)),
            steps: Vec::new(),
            left_out: 0,
            cuts: Vec::new(),
            bytes: 0,
            is_unread: false,
        }
    }

    /// Everything but its place, to be read by [`read`](Self::read).
    pub(crate) fn written(&self) -> Result<String, serde_json::Error> {
        let Self { task, steps, left_out, cuts, .. } = self.clone();
        serde_json::to_string(&Story { task, steps, left_out, cuts })
    }

    pub(crate) fn read(key: Key, story: &str) -> Result<Self, serde_json::Error> {
        let Story { task, steps, left_out, cuts } = serde_json::from_str(story)?;
        let mut kept = Self { task, key, steps, left_out, cuts, bytes: 0, is_unread: false };
        kept.bytes = kept.weigh();
        Ok(kept)
    }

    /// It began before it was heard of this time: what was known of it then.
    fn began_as(&mut self, before: Self) {
        self.key = before.key;
        let (now, was) = (&mut self.task, before.task);
        macro_rules! fill {
            ($($field:ident),*) => { $(if now.$field.is_none() { now.$field = was.$field; })* };
        }
        fill!(name, sent, received, started, succeeded, failed, retried, revoked, rejected, args, kwargs, result);
        fill!(exception, traceback, runtime, eta, expires, retries, root_id, parent_id, queue, exchange, routing_key);
        fill!(client, worker);
        if now.follows.is_empty() {
            now.follows = was.follows;
        }
        if was.timestamp > now.timestamp {
            (now.state, now.timestamp, now.clock) = (was.state, was.timestamp, was.clock);
        }
        let mut steps = before.steps;
        steps.append(&mut self.steps);
        let too_many = steps.len().saturating_sub(MAX_STEPS);
        steps.drain(MAX_STEPS / 2..MAX_STEPS / 2 + too_many);
        self.steps = steps;
        self.left_out += before.left_out + too_many;
        for cut in before.cuts {
            if !self.cuts.iter().any(|(which, _)| *which == cut.0) {
                self.cuts.push(cut);
            }
        }
    }

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

    /// As it is shown to somebody who may see what it was called with, or not.
    pub(crate) fn shown(&self, arguments: bool) -> Self {
        let mut kept = self.clone();
        if !arguments {
            for text in [&mut kept.task.args, &mut kept.task.kwargs, &mut kept.task.result].into_iter().flatten() {
                HIDDEN.clone_into(text);
            }
            kept.cuts.clear();
        }
        kept
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
        let follows: usize = task.follows.iter().map(|(id, name)| 48 + id.len() + name.len()).sum();
        OVERHEAD + texts + follows + task.uuid.len() * 3 + self.steps.iter().map(step).sum::<usize>()
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
    /// The class of the error, as `ValueError`.
    pub(crate) error: String,
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
            && (self.error.is_empty() || kept.error_class() == Some(&self.error))
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
    /// What the history has still to be told; `None`: there is none.
    pub(super) journal: Option<Journal>,
    pub(super) hiding: Hiding,
}

impl Tasks {
    pub(super) fn new(bounds: Bounds) -> Self {
        let bounds = Bounds { tasks: bounds.tasks.max(1), ..bounds };
        Self {
            bounds,
            by_id: HashMap::new(),
            in_order: BTreeSet::new(),
            bytes: 0,
            forgotten: 0,
            journal: None,
            hiding: Hiding::default(),
        }
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
        if self.hiding.hides(kept.task.name.as_deref()) {
            let task = &mut kept.task;
            for text in [&mut task.args, &mut task.kwargs, &mut task.result].into_iter().flatten() {
                HIDDEN.clone_into(text);
            }
        }
        for (text, was) in cuts {
            kept.cuts.retain(|(which, _)| *which != text);
            kept.cuts.push((text, was));
        }
        kept.note(event);
        self.bytes -= kept.bytes;
        kept.bytes = kept.weigh();
        self.bytes += kept.bytes;
        if let Some(journal) = &mut self.journal {
            journal.changed.insert(Arc::clone(&id));
        }
        self.make_room(&id);
        &self.by_id[&id]
    }

    fn remember(&mut self, uuid: &str, now: f64) -> Arc<str> {
        let id: Arc<str> = uuid.into();
        let kept = Kept { is_unread: self.journal.is_some(), ..Kept::new(&id, now) };
        self.in_order.insert(kept.key.clone());
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
                if let Some(journal) = &mut self.journal {
                    journal.is_pushed_out(kept);
                }
            }
        }
    }

    /// Takes in what the history knows of a task: of one that was heard of again, or of one that has not ended.
    pub(super) fn recall(&mut self, before: Kept) {
        let id = Arc::clone(&before.key.1);
        let key = before.key.clone();
        let Some(kept) = self.by_id.get_mut(&id) else {
            self.bytes += before.bytes;
            self.in_order.insert(key);
            self.by_id.insert(Arc::clone(&id), before);
            return self.make_room(&id);
        };
        if kept.is_unread {
            self.in_order.remove(&kept.key);
            self.in_order.insert(key);
            kept.began_as(before);
            kept.is_unread = false;
            self.bytes -= kept.bytes;
            kept.bytes = kept.weigh();
            self.bytes += kept.bytes;
        }
    }

    /// Those that the history is to be asked for before they are written, at most so many; afterwards they count as asked for.
    pub(super) fn unread(&self, limit: usize) -> Vec<Arc<str>> {
        let Some(journal) = &self.journal else { return Vec::new() };
        let is_unread = |id: &&Arc<str>| self.by_id.get(*id).is_some_and(|kept| kept.is_unread);
        journal.changed.iter().filter(is_unread).take(limit).cloned().collect()
    }

    pub(super) fn are_read(&mut self, ids: &[Arc<str>]) {
        for id in ids {
            if let Some(kept) = self.by_id.get_mut(id) {
                kept.is_unread = false;
            }
        }
    }

    /// What has changed since it was written last, at most so many; they count as written.
    pub(super) fn take_changed(&mut self, limit: usize) -> Vec<Kept> {
        let Some(journal) = &mut self.journal else { return Vec::new() };
        let mut taken: Vec<Kept> = journal.pushed_out.drain(..journal.pushed_out.len().min(limit)).collect();
        let is_read = |id: &&Arc<str>| self.by_id.get(*id).is_some_and(|kept| !kept.is_unread);
        let ids: Vec<_> = journal.changed.iter().filter(is_read).take(limit - taken.len()).cloned().collect();
        for id in ids {
            journal.changed.remove(&id);
            taken.extend(self.by_id.get(&id).cloned());
        }
        taken
    }

    /// They could not be written.
    pub(super) fn put_back(&mut self, rows: Vec<Kept>) {
        let Some(journal) = &mut self.journal else { return };
        for kept in rows {
            let id = Arc::clone(&kept.key.1);
            journal.changed.insert(Arc::clone(&id));
            if !self.by_id.contains_key(&id) {
                journal.is_pushed_out(kept);
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

    /// All that match, in no order.
    pub(crate) fn all(&self, filter: &Filter) -> impl Iterator<Item = &Kept> {
        self.by_id.values().filter(move |kept| filter.matches(kept))
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

//! What is remembered of a cluster, within bounds. Pure: time is passed in, in seconds since 1970 by our own clock.

mod clip;
mod journal;
mod minutes;
mod tasks;
mod workers;

use std::collections::VecDeque;
use std::sync::Arc;

use celeriac::protocol::event::{Event, EventBody};

pub(crate) use self::clip::Text;
use self::journal::Journal;
pub(crate) use self::minutes::{Minute, Minutes, Percentiles};
pub(crate) use self::tasks::{Cursor, Direction, Filter, Kept, Key, Page, Tasks, Toward};
pub(crate) use self::workers::{Known, Presence, Workers};
use crate::hiding::Hiding;

/// Times at which nothing could be heard are remembered up to this many.
const MAX_GAPS: usize = 20;

/// How much is remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Tasks; 10,000 by default. The ones heard of first are forgotten first.
    pub tasks: usize,
    /// What their texts take, in bytes; 64 MiB by default.
    pub bytes: usize,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { tasks: 10_000, bytes: 64 << 20 }
    }
}

/// A cluster as its events have told it.
#[derive(Debug)]
pub(crate) struct Picture {
    /// Since when somebody listens.
    pub(crate) since: f64,
    pub(crate) tasks: Tasks,
    pub(crate) workers: Workers,
    pub(crate) minutes: Minutes,
    /// Events taken in.
    pub(crate) events: u64,
    /// When a task was heard of last.
    pub(crate) last_task_event: Option<f64>,
    /// Events that came faster than they could be taken in, and when that was last.
    pub(crate) dropped: u64,
    pub(crate) last_dropped: Option<f64>,
    /// From when to when there was no connection; the last may still be going on.
    pub(crate) gaps: VecDeque<(f64, Option<f64>)>,
}

impl Picture {
    pub(crate) fn new(bounds: Bounds, now: f64) -> Self {
        Self {
            since: now,
            tasks: Tasks::new(bounds),
            workers: Workers::default(),
            minutes: Minutes::default(),
            events: 0,
            last_task_event: None,
            dropped: 0,
            last_dropped: None,
            gaps: VecDeque::new(),
        }
    }

    /// Takes in one event.
    pub(crate) fn hear(&mut self, mut event: Event<'static>, now: f64) {
        self.events += 1;
        match &event.body {
            EventBody::WorkerOffline(_) => self.workers.stops(&event, now),
            EventBody::WorkerOnline(_) | EventBody::WorkerHeartbeat(_) => self.workers.hear(&event, now),
            body => {
                let Some(uuid) = body.uuid().filter(|_| event.kind().starts_with("task-")) else { return };
                let uuid = uuid.to_owned();
                // It is sent by a client, and everything else happens in a worker.
                if !matches!(body, EventBody::TaskSent(_)) {
                    self.workers.hear(&event, now);
                }
                self.last_task_event = Some(now);
                let cuts = clip::clip(&mut event.body);
                let kept = self.tasks.hear(&uuid, &event, cuts, now);
                self.minutes.count(&event.body, kept, now);
            }
        }
    }

    /// What tasks were called with is not kept of those that are hidden.
    pub(crate) fn hides(&mut self, hiding: Hiding) {
        self.tasks.hiding = hiding;
    }

    /// From now on what changes is noted for a history, which may be so many tasks behind.
    pub(crate) fn keeps_a_journal(&mut self, room: usize) {
        self.tasks.journal = Some(Journal::new(room));
    }

    /// Nobody is to be told of what has changed so far.
    pub(crate) fn tears_the_journal(&mut self) {
        if let Some(journal) = &mut self.tasks.journal {
            *journal = Journal { lost: journal.lost, ..Journal::new(journal.room) };
        }
    }

    pub(crate) fn unread(&self, limit: usize) -> Vec<Arc<str>> {
        self.tasks.unread(limit)
    }

    /// What the history said of those that it was asked for.
    pub(crate) fn recalls(&mut self, asked: &[Arc<str>], found: Vec<Kept>) {
        for kept in found {
            self.tasks.recall(kept);
        }
        self.tasks.are_read(asked);
    }

    pub(crate) fn take_changed(&mut self, limit: usize) -> Vec<Kept> {
        self.tasks.take_changed(limit)
    }

    pub(crate) fn put_back(&mut self, rows: Vec<Kept>) {
        self.tasks.put_back(rows);
    }

    /// Tasks whose latest events are not in the history, and never will be.
    pub(crate) fn lost(&self) -> u64 {
        self.tasks.journal.as_ref().map_or(0, |journal| journal.lost)
    }

    /// So many tasks will not be in the history as they are now.
    pub(crate) fn loses(&mut self, count: usize) {
        if let Some(journal) = &mut self.tasks.journal {
            journal.lost += count as u64;
        }
    }

    /// What was known before this process began: minutes, workers, times at which nobody listened.
    pub(crate) fn remembers(&mut self, minutes: Vec<Minute>, workers: Vec<Known>, gaps: Vec<(f64, f64)>) {
        self.minutes.recall(minutes);
        self.workers.recall(workers);
        for (from, to) in gaps.into_iter().rev() {
            self.gaps.push_front((from, Some(to)));
        }
        while self.gaps.len() > MAX_GAPS {
            self.gaps.pop_front();
        }
    }

    /// So many events came while there was no room for them.
    pub(crate) fn drops(&mut self, count: u64, now: f64) {
        self.dropped += count;
        self.last_dropped = Some(now);
    }

    /// Whether there is a connection to hear by.
    pub(crate) fn is_connected(&mut self, connected: bool, now: f64) {
        match (self.gaps.back_mut(), connected) {
            (Some((_, end @ None)), true) => *end = Some(now),
            (Some((_, None)), false) | (_, true) => {}
            (_, false) => {
                if self.gaps.len() >= MAX_GAPS {
                    self.gaps.pop_front();
                }
                self.gaps.push_back((now, None));
            }
        }
    }
}

#[cfg(test)]
mod tests;

//! Workers: there, late, gone. None is forgotten when it goes.

use std::collections::HashMap;

use celeriac::events::Worker;
use celeriac::protocol::event::{Event, EventBody};
use serde::{Deserialize, Serialize};

/// Names beyond this many push out the one that has been gone the longest.
const MAX_WORKERS: usize = 2_000;
/// A worker that says nothing for so many of its heartbeats is late.
const LATE_AFTER: f64 = 3.0;
/// A worker that has been silent for so long is gone, in seconds.
const GONE_AFTER: f64 = 600.0;
/// Who has been gone for so long is folded away, in seconds.
const FOLDED_AFTER: f64 = 86_400.0;

/// Whether a worker is there. Times are seconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Presence {
    Here,
    /// It has said nothing for a while: since when.
    Late(f64),
    /// It said that it stops.
    Stopped(f64),
    /// It vanished without a word: when it was heard of last.
    Vanished(f64),
}

impl Presence {
    /// Since when it is gone, if it is.
    pub(crate) fn gone_since(self) -> Option<f64> {
        match self {
            Self::Here | Self::Late(_) => None,
            Self::Stopped(since) | Self::Vanished(since) => Some(since),
        }
    }

    pub(crate) fn is_folded(self, now: f64) -> bool {
        self.gone_since().is_some_and(|since| now > since + FOLDED_AFTER)
    }
}

/// A worker and what became of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Known {
    pub(crate) told: Worker,
    stopped: Option<f64>,
    pub(crate) first_heard: f64,
    pub(crate) succeeded: u64,
    pub(crate) failed: u64,
    #[serde(flatten)]
    pub(crate) more: Announced,
}

/// What else it has announced of tasks, by the kind of event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Announced {
    pub(crate) received: u64,
    pub(crate) started: u64,
    pub(crate) retried: u64,
    pub(crate) revoked: u64,
}

impl Known {
    /// It was counted before it was heard of this time; once: a connection to the history may be made anew.
    fn was(&mut self, before: &Self) {
        if before.first_heard >= self.first_heard {
            return;
        }
        self.first_heard = before.first_heard;
        self.succeeded += before.succeeded;
        self.failed += before.failed;
        self.more.received += before.more.received;
        self.more.started += before.more.started;
        self.more.retried += before.more.retried;
        self.more.revoked += before.more.revoked;
    }

    pub(crate) fn presence(&self, now: f64) -> Presence {
        let heard = self.told.heartbeat.unwrap_or(self.first_heard);
        let silence = now - heard;
        match self.stopped {
            Some(at) => Presence::Stopped(at),
            None if silence > GONE_AFTER.max(self.told.freq * LATE_AFTER) => Presence::Vanished(heard),
            None if silence > self.told.freq * LATE_AFTER => Presence::Late(heard),
            None => Presence::Here,
        }
    }
}

/// All that were heard of.
#[derive(Debug, Default)]
pub(crate) struct Workers(HashMap<String, Known>);

impl Workers {
    /// It has announced something, so it is there.
    pub(super) fn hear(&mut self, event: &Event<'_>, now: f64) {
        let known = self.entry(&event.hostname, now);
        known.stopped = None;
        match &event.body {
            EventBody::WorkerOnline(_) | EventBody::WorkerHeartbeat(_) => known.told.apply(event, now),
            body => {
                known.told.is_heard_of(event, now);
                match body {
                    EventBody::TaskReceived(_) => known.more.received += 1,
                    EventBody::TaskStarted { .. } => known.more.started += 1,
                    EventBody::TaskSucceeded { .. } => known.succeeded += 1,
                    EventBody::TaskFailed { .. } => known.failed += 1,
                    EventBody::TaskRetried { .. } => known.more.retried += 1,
                    EventBody::TaskRevoked { .. } => known.more.revoked += 1,
                    _ => {}
                }
            }
        }
    }

    /// It has said that it stops.
    pub(super) fn stops(&mut self, event: &Event<'_>, now: f64) {
        let known = self.entry(&event.hostname, now);
        known.told.is_heard_of(event, now);
        known.stopped = Some(now);
        known.told.active = Some(0);
    }

    fn entry(&mut self, name: &str, now: f64) -> &mut Known {
        if !self.0.contains_key(name) {
            if self.0.len() >= MAX_WORKERS {
                self.forget_one(now);
            }
            let told = Worker::new(name);
            let known =
                Known { told, stopped: None, first_heard: now, succeeded: 0, failed: 0, more: Announced::default() };
            self.0.insert(name.to_owned(), known);
        }
        self.0.get_mut(name).expect("it is there by now")
    }

    fn forget_one(&mut self, now: f64) {
        let heard = |known: &Known| known.told.heartbeat.unwrap_or(known.first_heard);
        let silent_first = |known: &Known| (known.presence(now).gone_since().is_none(), heard(known));
        let longest = self.0.iter().min_by(|(_, a), (_, b)| {
            silent_first(a).0.cmp(&silent_first(b).0).then(silent_first(a).1.total_cmp(&silent_first(b).1))
        });
        if let Some(name) = longest.map(|(name, _)| name.clone()) {
            self.0.remove(&name);
        }
    }

    /// Takes in those of before. What has been heard since counts more, and what was counted goes on.
    pub(super) fn recall(&mut self, before: Vec<Known>) {
        for before in before {
            let has_room = self.0.len() < MAX_WORKERS;
            match self.0.get_mut(&before.told.hostname) {
                Some(known) => known.was(&before),
                None if has_room => {
                    self.0.insert(before.told.hostname.clone(), before);
                }
                None => {}
            }
        }
    }

    /// By name.
    pub(crate) fn all(&self) -> Vec<&Known> {
        let mut all: Vec<_> = self.0.values().collect();
        all.sort_by(|a, b| a.told.hostname.cmp(&b.told.hostname));
        all
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Known> {
        self.0.get(name)
    }
}

//! What is revoked, limited in number and age (`celery/worker/state.py`, `revoked` and `revoked_stamps`).

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::protocol::{TaskMessage, Value};

/// A longer id is none: it would not fit into a message's `correlation_id`.
const LONGEST_ID: usize = 255;

/// More are never remembered: all workers, and their state files, have to take them.
pub(crate) const MOST_REVOKED: usize = 1_000_000;

/// How much is remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RevokeLimits {
    /// Celery's `REVOKES_MAX`: how many ids, and how many values of stamps.
    pub(crate) max: usize,
    /// Celery's `REVOKE_EXPIRES`, of ids.
    pub(crate) expires: Duration,
}

impl Default for RevokeLimits {
    fn default() -> Self {
        Self { max: 50_000, expires: Duration::from_secs(3 * 60 * 60) }
    }
}

/// What a revocation has come to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Remembered {
    /// Those that are revoked now.
    pub(crate) new: usize,
    /// Those that are not, because no more are remembered.
    pub(crate) refused: usize,
    /// Those of before that were forgotten for them, long before their time.
    pub(crate) forgotten: usize,
}

/// The ids of revoked tasks, in the order of their revocation.
#[derive(Debug, Default)]
pub(crate) struct Revoked {
    limits: RevokeLimits,
    /// The place of each.
    ids: HashMap<Arc<str>, u64>,
    order: BTreeMap<u64, (Instant, Arc<str>)>,
    next: u64,
}

impl Revoked {
    pub(crate) fn new(limits: RevokeLimits) -> Self {
        Self { limits, ..Self::default() }
    }

    /// Adds ids that are revoked together. Above the limit the oldest of before are forgotten; of more than the limit the
    /// first are taken.
    pub(crate) fn add<'a>(&mut self, ids: impl IntoIterator<Item = &'a str>, now: Instant) -> Remembered {
        self.expire(now);
        let (before, first) = (self.ids.len(), self.next);
        let (mut refused, mut known) = (0, 0);
        for id in ids {
            let is_here = self.ids.get(id).copied();
            let is_of_now = is_here.is_some_and(|place| place >= first);
            let taken = self.next - first;
            if id.len() > LONGEST_ID || (!is_of_now && taken >= self.limits.max as u64) {
                refused += 1;
                continue;
            }
            known += usize::from(is_here.is_some() && !is_of_now);
            if !is_of_now {
                self.insert(id, now);
            }
        }
        let new = usize::try_from(self.next - first).unwrap_or(usize::MAX);
        let forgotten = before - known - self.shrink(before - known, new);
        Remembered { new, refused, forgotten }
    }

    /// Adds one that was revoked at `at`, which is not before the last one.
    pub(crate) fn recall(&mut self, id: &str, at: Instant, now: Instant) {
        if id.len() <= LONGEST_ID {
            self.insert(id, at);
            self.expire(now);
            while self.ids.len() > self.limits.max {
                self.forget_first();
            }
        }
    }

    pub(crate) fn contains(&self, task_id: &str, now: Instant) -> bool {
        // Asked for every task, and nearly always empty.
        !self.ids.is_empty()
            && self
                .ids
                .get(task_id)
                .and_then(|place| self.order.get(place))
                .is_some_and(|(at, _)| self.counts(*at, now))
    }

    /// The ids that are still remembered, the oldest first, and how long ago each was revoked.
    pub(crate) fn ages(&self, now: Instant) -> impl Iterator<Item = (&str, Duration)> {
        let counting = self.order.values().filter(move |(at, _)| self.counts(*at, now));
        counting.map(move |(at, id)| (&**id, now.saturating_duration_since(*at)))
    }

    fn counts(&self, at: Instant, now: Instant) -> bool {
        now.saturating_duration_since(at) < self.limits.expires
    }

    fn insert(&mut self, id: &str, at: Instant) {
        let id: Arc<str> = id.into();
        if let Some(former) = self.ids.insert(Arc::clone(&id), self.next) {
            self.order.remove(&former);
        }
        self.order.insert(self.next, (at, id));
        self.next += 1;
    }

    /// Forgets of `old` ids as many as have no room beside `new` ones; returns how many are left.
    fn shrink(&mut self, old: usize, new: usize) -> usize {
        let surplus = (old + new).saturating_sub(self.limits.max).min(old);
        (0..surplus).for_each(|_| self.forget_first());
        old - surplus
    }

    fn expire(&mut self, now: Instant) {
        while self.order.first_key_value().is_some_and(|(_, (at, _))| !self.counts(*at, now)) {
            self.forget_first();
        }
    }

    fn forget_first(&mut self) {
        if let Some((_, (_, id))) = self.order.pop_first() {
            self.ids.remove(&id);
        }
    }
}

/// Values of stamps whose tasks are revoked. They are remembered until the worker ends.
#[derive(Debug, Default)]
pub(crate) struct RevokedStamps {
    max: usize,
    stamps: HashMap<String, HashSet<String>>,
    count: usize,
}

impl RevokedStamps {
    pub(crate) fn new(limits: RevokeLimits) -> Self {
        Self { max: limits.max, ..Self::default() }
    }

    /// Adds values of one stamp. Above the limit no more are taken: those of before count until the worker ends.
    pub(crate) fn add<'a>(&mut self, stamp: &str, values: impl IntoIterator<Item = &'a Value>) -> Remembered {
        let mut remembered = Remembered::default();
        let mut known = self.stamps.remove(stamp).unwrap_or_default();
        for value in values {
            let value = written(value);
            if known.contains(&value) {
                remembered.new += 1;
            } else if self.count >= self.max {
                remembered.refused += 1;
            } else {
                self.count += 1;
                remembered.new += 1;
                known.insert(value);
            }
        }
        if !known.is_empty() {
            self.stamps.insert(stamp.to_owned(), known);
        }
        remembered
    }

    /// Whether a task carries one of them. What names no stamp among its `stamped_headers` has none.
    pub(crate) fn contains(&self, task: &TaskMessage) -> bool {
        // Asked for every task, and nearly always empty.
        !self.stamps.is_empty() && task.stamped_headers.iter().flatten().any(|stamp| self.has(stamp, task))
    }

    fn has(&self, stamp: &str, task: &TaskMessage) -> bool {
        let Some(revoked) = self.stamps.get(stamp) else { return false };
        task.stamps.get(stamp).is_some_and(|value| values(value).iter().any(|value| revoked.contains(&written(value))))
    }
}

/// A value as it is compared: texts and numbers are never the same.
fn written(value: &Value) -> String {
    match value {
        Value::Str(text) => format!("'{text}"),
        Value::Int(number) => number.to_string(),
        other => format!("{other:?}"),
    }
}

/// The values of a stamp, which may be a list.
fn values(stamp: &Value) -> &[Value] {
    match stamp {
        Value::List(values) => values,
        one => std::slice::from_ref(one),
    }
}

/// The values of a task's stamp, which may be a list, that are among others.
pub(crate) fn shared_values<'a>(stamp: &'a Value, others: &[Value]) -> Vec<&'a Value> {
    let others: HashSet<String> = others.iter().map(written).collect();
    values(stamp).iter().filter(|value| others.contains(&written(value))).collect()
}

#[cfg(test)]
mod tests;

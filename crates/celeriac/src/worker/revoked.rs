//! The ids of revoked tasks, limited in number and age (`celery/worker/state.py`, `revoked`).

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use tokio::time::Instant;

use crate::protocol::{TaskMessage, Value};

/// Celery's `REVOKES_MAX` and `REVOKE_EXPIRES`.
const MAX: usize = 50_000;
const EXPIRES: Duration = Duration::from_secs(3 * 60 * 60);

#[derive(Debug, Default)]
pub(crate) struct Revoked {
    ids: HashMap<String, Instant>,
    /// In the order of their revocation. One that was revoked again leaves its former place behind.
    order: VecDeque<(Instant, String)>,
}

impl Revoked {
    pub(crate) fn add(&mut self, task_id: impl Into<String>, now: Instant) {
        self.recall(task_id.into(), now, now);
    }

    /// Adds one that was revoked at `at`, which is not before the last one.
    pub(crate) fn recall(&mut self, task_id: String, at: Instant, now: Instant) {
        self.ids.insert(task_id.clone(), at);
        self.order.push_back((at, task_id));
        self.purge(now);
    }

    pub(crate) fn contains(&self, task_id: &str, now: Instant) -> bool {
        // Asked for every task, and nearly always empty.
        !self.ids.is_empty() && self.ids.get(task_id).is_some_and(|at| now.duration_since(*at) < EXPIRES)
    }

    /// The ids that are still remembered, in no order.
    pub(crate) fn ids(&self, now: Instant) -> impl Iterator<Item = &str> {
        self.ages(now).map(|(id, _)| id)
    }

    /// The ids that are still remembered, and how long ago each was revoked.
    pub(crate) fn ages(&self, now: Instant) -> impl Iterator<Item = (&str, Duration)> {
        let ages = self.ids.iter().map(move |(id, at)| (id.as_str(), now.duration_since(*at)));
        ages.filter(|(_, age)| *age < EXPIRES)
    }

    fn purge(&mut self, now: Instant) {
        while let Some((at, task_id)) = self.order.front()
            && (self.ids.len() > MAX || now.duration_since(*at) >= EXPIRES || self.order.len() > 2 * MAX)
        {
            if self.ids.get(task_id) == Some(at) {
                self.ids.remove(task_id);
            }
            self.order.pop_front();
        }
    }
}

/// Values of stamps whose tasks are revoked. They are remembered until the worker ends.
#[derive(Debug, Default)]
pub(crate) struct RevokedStamps(HashMap<String, Vec<Value>>);

/// How many values are remembered of one stamp, and how many stamps; what comes after is not.
const MAX_STAMPS: usize = 10_000;

impl RevokedStamps {
    pub(crate) fn add(&mut self, stamp: &str, values: impl IntoIterator<Item = Value>) {
        if !self.0.contains_key(stamp) && self.0.len() >= MAX_STAMPS {
            return;
        }
        let known = self.0.entry(stamp.to_owned()).or_default();
        for value in values {
            if known.len() < MAX_STAMPS && !known.contains(&value) {
                known.push(value);
            }
        }
    }

    /// Whether a task carries one of them. What names no stamp among its `stamped_headers` has none.
    pub(crate) fn contains(&self, task: &TaskMessage) -> bool {
        // Asked for every task, and nearly always empty.
        !self.0.is_empty() && task.stamped_headers.iter().flatten().any(|stamp| self.has(stamp, task))
    }

    fn has(&self, stamp: &str, task: &TaskMessage) -> bool {
        let Some(revoked) = self.0.get(stamp) else { return false };
        task.stamps.get(stamp).is_some_and(|value| !shared_values(value, revoked).is_empty())
    }
}

/// The values of a task's stamp, which may be a list, that are among others.
pub(crate) fn shared_values<'a>(stamp: &'a Value, others: &[Value]) -> Vec<&'a Value> {
    let values = match stamp {
        Value::List(values) => values.as_slice(),
        one => std::slice::from_ref(one),
    };
    values.iter().filter(|value| others.contains(value)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::{Headers, RawJson};

    fn stamped(stamps: &[(&str, Value)]) -> TaskMessage {
        let mut task = TaskMessage::new("t", "id", RawJson::EMPTY_LIST, RawJson::EMPTY_OBJECT);
        task.stamped_headers = Some(stamps.iter().map(|(name, _)| (*name).to_owned()).collect());
        task.stamps = stamps.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect::<Headers>();
        task
    }

    #[test]
    fn a_task_is_revoked_by_any_value_of_any_of_its_stamps() {
        let mut revoked = RevokedStamps::default();
        assert!(!revoked.contains(&stamped(&[("tenant", "t-1".into())])));
        revoked.add("tenant", ["t-1".into(), Value::Int(7)]);
        for (task, expected) in [
            (stamped(&[("tenant", "t-1".into())]), true),
            (stamped(&[("tenant", Value::Int(7))]), true),
            (stamped(&[("tenant", "t-2".into())]), false),
            (stamped(&[("other", "t-1".into())]), false),
            (stamped(&[("tenant", vec!["t-2", "t-1"].into()), ("other", "x".into())]), true),
            (stamped(&[]), false),
        ] {
            assert_eq!(revoked.contains(&task), expected, "{:?}", task.stamps);
        }
        let unnamed = TaskMessage { stamped_headers: None, ..stamped(&[("tenant", "t-1".into())]) };
        assert!(!revoked.contains(&unnamed));
    }

    #[tokio::test(start_paused = true)]
    async fn a_revocation_is_forgotten_after_three_hours() {
        let mut revoked = Revoked::default();
        let start = Instant::now();
        revoked.add("a", start);
        assert!(revoked.contains("a", start + EXPIRES - Duration::from_secs(1)));
        assert!(!revoked.contains("a", start + EXPIRES));
        revoked.add("b", start + EXPIRES);
        assert_eq!(revoked.ids(start + EXPIRES).collect::<Vec<_>>(), ["b"]);
        assert_eq!(revoked.order.len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn the_oldest_are_forgotten_above_the_limit_and_revoking_again_makes_young() {
        let mut revoked = Revoked::default();
        let now = Instant::now();
        revoked.add("first", now);
        revoked.add("second", now);
        revoked.add("first", now + Duration::from_secs(1));
        for number in 0..MAX - 1 {
            revoked.add(format!("{number}"), now + Duration::from_secs(2));
        }
        assert!(revoked.contains("first", now + Duration::from_secs(2)));
        assert!(!revoked.contains("second", now + Duration::from_secs(2)));
        assert_eq!(revoked.ids.len(), MAX);
    }
}

//! The ids of revoked tasks, limited in number and age (`celery/worker/state.py`, `revoked`).

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use tokio::time::Instant;

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
        let task_id = task_id.into();
        self.ids.insert(task_id.clone(), now);
        self.order.push_back((now, task_id));
        self.purge(now);
    }

    pub(crate) fn contains(&self, task_id: &str, now: Instant) -> bool {
        // Asked for every task, and nearly always empty.
        !self.ids.is_empty() && self.ids.get(task_id).is_some_and(|at| now.duration_since(*at) < EXPIRES)
    }

    /// The ids that are still remembered, in no order.
    pub(crate) fn ids(&self, now: Instant) -> impl Iterator<Item = &str> {
        self.ids.iter().filter(move |(_, at)| now.duration_since(**at) < EXPIRES).map(|(id, _)| id.as_str())
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

#[cfg(test)]
mod tests {
    use super::*;

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

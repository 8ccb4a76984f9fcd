//! Workers agree on one of them (`celery/worker/consumer/gossip.py`). Pure: what is heard goes in, who is elected comes out.
//!
//! Everyone who is asked says so on the event exchange, and acknowledges what it hears there. The one with the lowest
//! logical clock is elected, of several the first by name.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use tokio::time::Instant;

use crate::protocol::Json;

/// Elections that are held at once; more are ignored.
const MAX_ELECTIONS: usize = 1_000;
/// How long acknowledgements are waited for: a worker may be gone, or take no part.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long is remembered what was heard of an election that we were never asked for.
const FORGET: Duration = Duration::from_secs(60);

/// The elections that are being held.
#[derive(Debug, Default)]
pub(crate) struct Elections(HashMap<String, Election>);

#[derive(Debug)]
struct Election {
    since: Instant,
    /// We were asked to take part.
    is_ours: bool,
    candidates: Vec<Candidate>,
    acknowledged: BTreeSet<String>,
}

/// One who takes part.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Candidate {
    pub(super) clock: u64,
    /// `<node>.<pid>`
    pub(super) process: String,
    pub(super) topic: String,
    pub(super) action: Json,
}

impl Elections {
    /// We are asked to take part.
    pub(super) fn begin(&mut self, id: &str, now: Instant) {
        if let Some(election) = self.entry(id, now) {
            election.is_ours = true;
        }
    }

    /// Somebody takes part.
    pub(super) fn candidate(&mut self, id: &str, candidate: Candidate, now: Instant) {
        if let Some(election) = self.entry(id, now) {
            election.candidates.push(candidate);
        }
    }

    /// Somebody has heard of a candidate. `alive` is how many others there are: with the last of them, and ourselves, it
    /// is decided who is elected.
    pub(super) fn acknowledged(&mut self, id: &str, node: &str, alive: usize) -> Option<Candidate> {
        let election = self.0.get_mut(id).filter(|election| election.is_ours)?;
        election.acknowledged.insert(node.to_owned());
        if election.acknowledged.len() <= alive || election.candidates.is_empty() {
            return None;
        }
        self.0.remove(id)?.elected()
    }

    /// What is decided although not everyone has acknowledged.
    pub(super) fn overdue(&mut self, now: Instant) -> Vec<(String, Candidate)> {
        self.0.retain(|_, election| election.is_ours || now.duration_since(election.since) < FORGET);
        let is_due = |election: &Election| election.is_ours && now.duration_since(election.since) >= PATIENCE;
        let due: Vec<String> =
            self.0.iter().filter(|(_, election)| is_due(election)).map(|(id, _)| id.clone()).collect();
        due.into_iter().filter_map(|id| self.0.remove(&id)?.elected().map(|elected| (id, elected))).collect()
    }

    fn entry(&mut self, id: &str, now: Instant) -> Option<&mut Election> {
        if !self.0.contains_key(id) && self.0.len() >= MAX_ELECTIONS {
            return None;
        }
        let new = || Election { since: now, is_ours: false, candidates: Vec::new(), acknowledged: BTreeSet::new() };
        Some(self.0.entry(id.to_owned()).or_insert_with(new))
    }
}

impl Election {
    fn elected(self) -> Option<Candidate> {
        self.candidates.into_iter().min_by(|a, b| a.clock.cmp(&b.clock).then_with(|| a.process.cmp(&b.process)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(clock: u64, process: &str) -> Candidate {
        Candidate { clock, process: process.to_owned(), topic: "task".to_owned(), action: Json::Null }
    }

    fn held() -> (Elections, Instant) {
        let (mut elections, now) = (Elections::default(), Instant::now());
        elections.begin("e", now);
        elections.candidate("e", candidate(129, "w2@h.7"), now);
        elections.candidate("e", candidate(129, "w1@h.9"), now);
        (elections, now)
    }

    #[tokio::test(start_paused = true)]
    async fn the_lowest_clock_wins_and_then_the_first_name_once_all_have_acknowledged() {
        let (mut elections, now) = held();
        assert_eq!(elections.acknowledged("e", "w1@h", 1), None);
        assert_eq!(elections.acknowledged("e", "w1@h", 1), None);
        assert_eq!(elections.acknowledged("e", "w2@h", 1), Some(candidate(129, "w1@h.9")));
        assert_eq!(elections.acknowledged("e", "w2@h", 1), None);
        elections.begin("f", now);
        elections.candidate("f", candidate(7, "z@h.1"), now);
        elections.candidate("f", candidate(8, "a@h.1"), now);
        assert_eq!(elections.acknowledged("f", "a@h", 0), Some(candidate(7, "z@h.1")));
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_for_ever_for_a_worker_that_does_not_answer() {
        let (mut elections, now) = held();
        assert_eq!(elections.acknowledged("e", "w1@h", 1), None);
        assert_eq!(elections.overdue(now + PATIENCE - Duration::from_millis(1)), []);
        assert_eq!(elections.overdue(now + PATIENCE), [("e".to_owned(), candidate(129, "w1@h.9"))]);
        assert_eq!(elections.overdue(now + PATIENCE), []);
    }

    #[tokio::test(start_paused = true)]
    async fn an_election_that_we_were_not_asked_for_is_not_ours_to_decide() {
        let (mut elections, now) = (Elections::default(), Instant::now());
        elections.candidate("e", candidate(1, "w@h.1"), now);
        assert_eq!(elections.acknowledged("e", "w@h", 0), None);
        assert_eq!(elections.overdue(now + FORGET), []);
        assert!(elections.0.is_empty());
        for number in 0..2 * MAX_ELECTIONS {
            elections.candidate(&number.to_string(), candidate(1, "w@h.1"), now);
        }
        assert_eq!(elections.0.len(), MAX_ELECTIONS);
    }
}

//! Whether a beat does its part: it leads, or stands by.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use super::lease::{Tenure, Terms};
use crate::app::App;

/// Looks at a beat while it runs. Cloning it is cheap.
#[derive(Clone)]
pub struct BeatHandle {
    pub(super) app: App,
    pub(super) terms: Terms,
    pub(super) seen: Arc<Mutex<Seen>>,
}

/// What a beat has seen of its store.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// When it last asked who leads, answered or not.
    asked: Option<Instant>,
    /// When it last was told.
    answered: Option<Instant>,
    /// Until when it leads.
    leads_until: Option<Instant>,
}

impl Seen {
    pub(super) fn asks(&mut self, now: Instant) {
        self.asked = Some(now);
        // The first answer is waited for as long as later ones.
        self.answered.get_or_insert(now);
    }

    pub(super) fn is_told(&mut self, now: Instant, tenure: Option<&Tenure>) {
        self.answered = Some(now);
        self.leads_until = tenure.map(|tenure| tenure.ends);
    }
}

/// Whether a beat does its part now. It is told without asking anybody.
#[derive(Clone, Debug)]
pub struct BeatReadiness {
    /// It sends; if not, another one does.
    pub leads: bool,
    /// What keeps it from leading and from standing by.
    pub problems: Vec<BeatUnready>,
}

/// What keeps a beat from its part.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BeatUnready {
    /// [`Beat::run`](super::Beat::run) has not been called, or has not asked its store yet.
    #[error("the beat has not begun to run")]
    NotStarted,
    /// The beat has not come to asking for so long.
    #[error("the runtime has not answered for {0:.0?}: something blocks its threads")]
    RuntimeBlocked(Duration),
    /// It is asked again until it answers.
    #[error("the schedule store has not said for {0:.0?} who leads")]
    NoStore(Duration),
    /// It reconnects by itself.
    #[error("not connected to the broker for {0:.0?}")]
    Disconnected(Duration),
}

/// How long the store may take for one answer, and the runtime to look at it, before the beat does not answer itself.
const LATE: Duration = Duration::from_secs(30);

impl BeatHandle {
    /// Whether the beat leads, or stands by with a store that answers. May be called from anywhere, also from another
    /// runtime.
    #[must_use]
    pub fn readiness(&self) -> BeatReadiness {
        let broker = self.app.broker().health();
        let mut readiness = self.seen.lock().readiness(self.terms, Instant::now());
        if !broker.connected {
            readiness.problems.push(BeatUnready::Disconnected(broker.since));
        }
        readiness
    }
}

impl Seen {
    fn readiness(&self, terms: Terms, now: Instant) -> BeatReadiness {
        let mut problems = Vec::new();
        match (self.asked, self.answered) {
            (Some(asked), Some(answered)) => {
                let silent = now.saturating_duration_since(answered);
                let late = now.saturating_duration_since(asked).saturating_sub(terms.ttl);
                if late > LATE {
                    problems.push(BeatUnready::RuntimeBlocked(late));
                } else if silent > terms.ttl {
                    problems.push(BeatUnready::NoStore(silent));
                }
            }
            _ => problems.push(BeatUnready::NotStarted),
        }
        BeatReadiness { leads: self.leads_until.is_some_and(|end| now < end), problems }
    }
}

impl BeatReadiness {
    /// Nothing keeps it from leading or from standing by.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.problems.is_empty()
    }

    /// Whether the process answers at all.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        !self.problems.iter().any(|problem| matches!(problem, BeatUnready::RuntimeBlocked(_)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::beat::store::Lease;

    #[test]
    fn a_beat_is_ready_while_its_store_answers_whether_it_leads_or_not() {
        let (terms, start) = (Terms { ttl: Duration::from_secs(10) }, Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        let told = |seen: &Seen, seconds| {
            let readiness = seen.readiness(terms, at(seconds));
            (readiness.leads, readiness.is_alive(), readiness.problems)
        };
        let mut seen = Seen::default();
        assert_eq!(told(&seen, 0), (false, true, vec![BeatUnready::NotStarted]));
        seen.asks(at(0));
        assert_eq!(told(&seen, 1), (false, true, vec![]));
        let lease = Lease { beat: "a".into(), term: 1 };
        seen.is_told(at(1), Some(&Tenure { lease, ends: terms.ends(at(0)) }));
        assert_eq!(told(&seen, 2), (true, true, vec![]));
        // The store is gone: it leads to the end of its lease, and is not ready any more.
        seen.asks(at(12));
        assert_eq!(told(&seen, 12), (false, true, vec![BeatUnready::NoStore(Duration::from_secs(11))]));
        seen.asks(at(13));
        seen.is_told(at(13), None);
        assert_eq!(told(&seen, 14), (false, true, vec![]));
        let (leads, is_alive, _) = told(&seen, 60);
        assert!(!leads && !is_alive);
    }
}

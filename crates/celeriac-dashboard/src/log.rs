//! What operators did here: who, what, why, and what the workers said to it. The last of it is on a page; all of it goes to
//! the process's own log, which is where it is kept.

use std::collections::VecDeque;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Actions that the page shows.
const KEPT: usize = 500;

/// One action.
#[derive(Clone, Debug)]
pub(crate) struct Done {
    pub(crate) number: u64,
    /// Of the form that asked for it: sent twice, it is one action.
    pub(crate) form: Uuid,
    /// Seconds since 1970.
    pub(crate) at: f64,
    pub(crate) who: String,
    pub(crate) what: String,
    pub(crate) why: String,
    /// `None`: it is under way.
    pub(crate) answers: Option<Vec<Answer>>,
    /// The history has it as it is.
    pub(crate) is_written: bool,
}

/// What one worker, or the broker, said to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Answer {
    pub(crate) from: String,
    pub(crate) said: String,
    pub(crate) is_refusal: bool,
}

#[derive(Default)]
pub(crate) struct Log(Mutex<Actions>);

#[derive(Default)]
struct Actions {
    last: u64,
    done: VecDeque<Done>,
}

impl Log {
    /// Notes that an action begins. `Err`: the form has been sent before; the number of what it did.
    pub(crate) fn begin(&self, form: Uuid, at: f64, who: &str, what: String, why: String) -> Result<u64, u64> {
        let mut actions = self.0.lock();
        if let Some(before) = actions.done.iter().find(|done| done.form == form) {
            return Err(before.number);
        }
        actions.last += 1;
        let number = actions.last;
        tracing::info!(number, who, what, why, "an operator acts");
        actions.done.push_back(Done {
            number,
            form,
            at,
            who: who.to_owned(),
            what,
            why,
            answers: None,
            is_written: false,
        });
        if actions.done.len() > KEPT {
            actions.done.pop_front();
        }
        Ok(number)
    }

    /// Notes what was said to it.
    pub(crate) fn end(&self, number: u64, answers: Vec<Answer>) {
        for Answer { from, said, is_refusal } in &answers {
            tracing::info!(number, from, said, is_refusal, "said to what an operator did");
        }
        if let Some(done) = self.0.lock().done.iter_mut().find(|done| done.number == number) {
            done.answers = Some(answers);
            done.is_written = false;
        }
    }

    /// Takes in what was done before, the oldest first.
    pub(crate) fn recall(&self, before: Vec<Done>) {
        let mut actions = self.0.lock();
        for done in before {
            if actions.done.iter().all(|known| known.form != done.form) {
                actions.last += 1;
                let number = actions.last;
                actions.done.push_back(Done { number, ..done });
            }
        }
        actions.done.make_contiguous().sort_by(|a, b| a.at.total_cmp(&b.at));
    }

    /// What the history has not, or not as it is.
    pub(crate) fn unwritten(&self) -> Vec<Done> {
        self.0.lock().done.iter().filter(|done| !done.is_written).cloned().collect()
    }

    pub(crate) fn is_written(&self, written: &Done) {
        let is_it = |done: &&mut Done| done.form == written.form && done.answers == written.answers;
        if let Some(done) = self.0.lock().done.iter_mut().find(is_it) {
            done.is_written = true;
        }
    }

    pub(crate) fn get(&self, number: u64) -> Option<Done> {
        self.0.lock().done.iter().find(|done| done.number == number).cloned()
    }

    /// The last first.
    pub(crate) fn all(&self) -> Vec<Done> {
        self.0.lock().done.iter().rev().cloned().collect()
    }
}

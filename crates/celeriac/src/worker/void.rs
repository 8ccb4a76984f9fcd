//! Ends that could not be acknowledged: their messages come again, and are settled then without running again.

use std::collections::{HashMap, VecDeque};

use super::conclusion::Verdict;

/// How many are remembered; the oldest are forgotten first, and run again.
const MOST: usize = 10_000;

/// What tasks have come to whose messages could not be settled, because their channel was gone. Pure.
#[derive(Debug, Default)]
pub(crate) struct VoidEnds {
    /// By task and retry: a retry has the id of its task.
    ends: HashMap<(String, u32), Verdict>,
    order: VecDeque<(String, u32)>,
}

impl VoidEnds {
    /// All has been done for a task but to settle its message.
    pub(crate) fn add(&mut self, id: &str, retries: u32, verdict: Verdict) {
        let is_last = matches!(verdict, Verdict::Acknowledge | Verdict::Reject { requeue: false });
        if !is_last {
            // It is to run again.
            return;
        }
        let key = (id.to_owned(), retries);
        if self.ends.insert(key.clone(), verdict).is_none() {
            self.order.push_back(key);
        }
        if self.order.len() > MOST
            && let Some(oldest) = self.order.pop_front()
        {
            self.ends.remove(&oldest);
        }
    }

    /// What is to become of the message of such a task that has come again. It may come once more.
    pub(crate) fn get(&self, id: &str, retries: u32) -> Option<Verdict> {
        if self.ends.is_empty() {
            return None;
        }
        self.ends.get(&(id.to_owned(), retries)).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_ended_is_remembered_and_what_is_to_run_again_is_not() {
        let mut ends = VoidEnds::default();
        ends.add("a", 0, Verdict::Acknowledge);
        ends.add("b", 1, Verdict::Reject { requeue: false });
        ends.add("c", 0, Verdict::Reject { requeue: true });
        ends.add("d", 0, Verdict::None);
        assert_eq!(ends.get("a", 0), Some(Verdict::Acknowledge));
        assert_eq!(ends.get("a", 1), None, "its retry is another message");
        assert_eq!(ends.get("b", 1), Some(Verdict::Reject { requeue: false }));
        assert_eq!((ends.get("c", 0), ends.get("d", 0)), (None, None));
    }

    #[test]
    fn only_so_many_are_remembered() {
        let mut ends = VoidEnds::default();
        for number in 0..=MOST {
            ends.add(&number.to_string(), 0, Verdict::Acknowledge);
            ends.add(&number.to_string(), 0, Verdict::Acknowledge);
        }
        assert_eq!((ends.get("0", 0), ends.ends.len()), (None, MOST));
        assert_eq!(ends.get("1", 0), Some(Verdict::Acknowledge));
    }
}

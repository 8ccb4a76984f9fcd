//! What happens by itself, and when.

use std::collections::{BTreeSet, HashMap};

use chrono::{DateTime, Utc};

use super::{receipt::ReceiptId, subscription::SubscriptionId, transaction::TransactionId};

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Task {
    /// An authorization nobody confirmed is cancelled.
    CancelAuthorization(TransactionId),
    ChargeSubscription(SubscriptionId),
    /// The cash register prints it.
    IssueReceipt(ReceiptId),
}

/// Every task stands here once at most.
#[derive(Default)]
pub(super) struct Agenda {
    by_time: BTreeSet<(DateTime<Utc>, Task)>,
    times: HashMap<Task, DateTime<Utc>>,
}

impl Agenda {
    /// The task is due at `at`, or never.
    pub(super) fn set(&mut self, task: Task, at: Option<DateTime<Utc>>) {
        let before = match at {
            Some(at) => self.times.insert(task.clone(), at),
            None => self.times.remove(&task),
        };
        if let Some(before) = before {
            self.by_time.remove(&(before, task.clone()));
        }
        if let Some(at) = at {
            self.by_time.insert((at, task));
        }
    }

    pub(super) fn next(&self) -> Option<&(DateTime<Utc>, Task)> {
        self.by_time.first()
    }
}

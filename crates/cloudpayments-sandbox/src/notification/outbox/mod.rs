//! Which notifications are still to be sent, and when: the gateway's plan of tries. Pure; time is passed in.

#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use super::{Kind, content::Field, reply::Outcome};
use crate::ledger::transaction::TransactionId;

/// Tries of one notification, the first included.
pub(crate) const MAX_TRIES: u32 = 100;
/// Minutes between one try and the next; the last interval repeats.
const INTERVALS: [i64; 5] = [1, 2, 5, 10, 30];

/// They only grow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct NoticeId(pub(crate) u64);

impl std::fmt::Display for NoticeId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

/// A notification as it was when it arose. It is sent as it is here, however late.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Notice {
    pub(crate) id: NoticeId,
    pub(crate) kind: Kind,
    /// The operation it is about; none for subscriptions and receipts of their own.
    pub(crate) transaction_id: Option<TransactionId>,
    pub(crate) account_id: Option<String>,
    pub(crate) invoice_id: Option<String>,
    pub(crate) fields: Vec<Field>,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) plan: Plan,
}

/// When the first try is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Plan {
    At(DateTime<Utc>),
    /// After a later one has been sent; if none comes, then.
    AfterAnother(DateTime<Utc>),
    /// Not by itself: a lost one, or a check, which the payment waits for.
    ByHand,
}

/// One try that has ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Try {
    pub(crate) notice_id: NoticeId,
    pub(crate) at: DateTime<Utc>,
    pub(crate) outcome: Outcome,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Waiting(DateTime<Utc>),
    /// Somebody is sending it.
    UnderWay,
    Accepted,
    /// Every try was in vain.
    GivenUp,
    /// It is not sent by itself.
    Withheld,
}

#[derive(Clone, Debug)]
pub(crate) struct Delivery {
    pub(crate) notice: Arc<Notice>,
    pub(crate) state: State,
    pub(crate) tries: u32,
    pub(crate) last: Option<Try>,
}

#[derive(Default)]
pub(crate) struct Outbox {
    next_id: u64,
    deliveries: BTreeMap<NoticeId, Delivery>,
    /// Of those that wait.
    due: BTreeSet<(DateTime<Utc>, NoticeId)>,
    /// Of those, the ones that wait for another.
    held: BTreeSet<NoticeId>,
}

/// How long after the try with this number (from 1) the next is.
pub(crate) fn interval_after(tries: u32) -> TimeDelta {
    let index = usize::try_from(tries.saturating_sub(1)).unwrap_or(usize::MAX);
    TimeDelta::minutes(INTERVALS[index.min(INTERVALS.len() - 1)])
}

impl Outbox {
    pub(crate) fn next_id(&self) -> NoticeId {
        NoticeId(self.next_id)
    }

    pub(crate) fn get(&self, id: NoticeId) -> Option<&Delivery> {
        self.deliveries.get(&id)
    }

    /// Those about an operation, in order.
    pub(crate) fn about(&self, id: TransactionId) -> Vec<Delivery> {
        self.deliveries.values().filter(|it| it.notice.transaction_id == Some(id)).cloned().collect()
    }

    /// In order of creation.
    pub(crate) fn deliveries(&self) -> impl DoubleEndedIterator<Item = &Delivery> {
        self.deliveries.values()
    }

    /// A notification has arisen. Beyond `capacity` the oldest that is done with is forgotten.
    pub(crate) fn add(&mut self, notice: Notice, capacity: usize) {
        let id = notice.id;
        self.next_id = self.next_id.max(id.0 + 1);
        if matches!(notice.plan, Plan::AfterAnother(_)) {
            self.held.insert(id);
        }
        let state = match notice.plan {
            Plan::At(at) | Plan::AfterAnother(at) => State::Waiting(at),
            Plan::ByHand => State::Withheld,
        };
        self.deliveries.insert(id, Delivery { notice: Arc::new(notice), state: State::Withheld, tries: 0, last: None });
        self.enter(id, state);
        if self.deliveries.len() > capacity {
            let done = self.deliveries.values().find(|delivery| !delivery.is_open()).map(|delivery| delivery.notice.id);
            done.and_then(|id| self.deliveries.remove(&id));
        }
    }

    /// A try has ended: accepted, or to be tried again by the plan.
    pub(crate) fn tried(&mut self, tried: Try) {
        let Some(delivery) = self.deliveries.get_mut(&tried.notice_id) else { return };
        delivery.tries += 1;
        let by_hand = delivery.notice.plan == Plan::ByHand;
        let state = match &tried.outcome {
            outcome if outcome.is_accepted() => State::Accepted,
            // The payment has been decided by it, or a person has seen it.
            _ if by_hand => State::Withheld,
            _ if delivery.tries >= MAX_TRIES => State::GivenUp,
            _ => State::Waiting(tried.at + interval_after(delivery.tries)),
        };
        let id = tried.notice_id;
        delivery.last = Some(tried);
        self.enter(id, state);
        self.release(id);
    }

    /// Those that wait for another one have waited enough when a later one was sent.
    fn release(&mut self, sent: NoticeId) {
        let released: Vec<_> = self.held.range(..sent).copied().collect();
        for id in released {
            self.held.remove(&id);
            self.enter(id, State::Waiting(DateTime::UNIX_EPOCH));
        }
    }

    /// Takes what is due, at most `limit`; each is under way until it is [`Outbox::tried`].
    pub(crate) fn take_due(&mut self, now: DateTime<Utc>, limit: usize) -> Vec<Arc<Notice>> {
        let due: Vec<_> = self.due.range(..=(now, NoticeId(u64::MAX))).take(limit).map(|(_, id)| *id).collect();
        due.into_iter().filter_map(|id| self.take(id)).collect()
    }

    /// Takes one, due or not: a person sends it again. `None` while it is under way.
    pub(crate) fn take(&mut self, id: NoticeId) -> Option<Arc<Notice>> {
        let delivery = self.deliveries.get(&id).filter(|delivery| delivery.state != State::UnderWay)?;
        let notice = Arc::clone(&delivery.notice);
        self.held.remove(&id);
        self.enter(id, State::UnderWay);
        Some(notice)
    }

    /// When something is due next.
    pub(crate) fn next_due(&self) -> Option<DateTime<Utc>> {
        self.due.first().map(|(at, _)| *at)
    }

    fn enter(&mut self, id: NoticeId, state: State) {
        let Some(delivery) = self.deliveries.get_mut(&id) else { return };
        if let State::Waiting(at) = delivery.state {
            self.due.remove(&(at, id));
        }
        if let State::Waiting(at) = state {
            self.due.insert((at, id));
        }
        delivery.state = state;
    }
}

impl Delivery {
    /// Will it be sent, or is it being sent?
    pub(crate) fn is_open(&self) -> bool {
        matches!(self.state, State::Waiting(_) | State::UnderWay)
    }
}

//! Which notifications are still to be sent, and when: the gateway's plan of tries. Pure; time is passed in.

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

    /// Is there a notification about this transaction that has not been tried yet?
    pub(crate) fn is_untold(&self, id: TransactionId) -> bool {
        let about = |delivery: &&Delivery| delivery.notice.transaction_id == Some(id);
        self.deliveries.values().rev().filter(about).any(|delivery| delivery.tries == 0 && delivery.is_open())
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn start() -> DateTime<Utc> {
        "2026-11-22T12:00:00Z".parse().unwrap()
    }

    fn notice(outbox: &Outbox, plan: Plan) -> Notice {
        Notice {
            id: outbox.next_id(),
            kind: Kind::Pay,
            transaction_id: None,
            account_id: None,
            invoice_id: None,
            fields: Vec::new(),
            created_at: start(),
            plan,
        }
    }

    fn add(outbox: &mut Outbox, plan: Plan) -> NoticeId {
        let notice = notice(outbox, plan);
        let id = notice.id;
        outbox.add(notice, 1000);
        id
    }

    fn tried(outbox: &mut Outbox, id: NoticeId, at: DateTime<Utc>, outcome: Outcome) {
        outbox.tried(Try { notice_id: id, at, outcome });
    }

    /// The plan of the documentation.
    #[test]
    fn a_notification_is_tried_a_hundred_times_at_1_2_5_10_and_then_every_30_minutes() {
        let mut outbox = Outbox::default();
        let id = add(&mut outbox, Plan::At(start()));
        let mut minutes = Vec::new();
        while let Some(due) = outbox.next_due() {
            assert!(outbox.take_due(due - TimeDelta::milliseconds(1), 10).is_empty(), "not before its time");
            assert_eq!(outbox.take_due(due, 10)[0].id, id);
            assert!(outbox.take_due(due, 10).is_empty(), "one sender at a time");
            minutes.push((due - start()).num_minutes());
            tried(&mut outbox, id, due, Outcome::Status(500));
        }
        assert_eq!(minutes[..8], [0, 1, 3, 8, 18, 48, 78, 108]);
        assert_eq!(minutes.len(), 100);
        assert_eq!(outbox.get(id).unwrap().state, State::GivenUp);
    }

    #[test]
    fn what_waits_for_another_is_sent_after_it_or_at_its_time() {
        let late = start() + TimeDelta::minutes(1);
        let mut outbox = Outbox::default();
        let held = add(&mut outbox, Plan::AfterAnother(late));
        assert!(outbox.take_due(start(), 10).is_empty());
        let other = add(&mut outbox, Plan::At(start()));
        assert_eq!(outbox.take_due(start(), 10)[0].id, other);
        assert!(outbox.take_due(start(), 10).is_empty());
        tried(&mut outbox, other, start(), Outcome::Code(0));
        assert_eq!(outbox.take_due(start(), 10)[0].id, held);

        let alone = add(&mut outbox, Plan::AfterAnother(late));
        assert_eq!(outbox.take_due(late, 10)[0].id, alone);
    }

    #[test]
    fn a_withheld_one_is_sent_by_hand_only() {
        let mut outbox = Outbox::default();
        let id = add(&mut outbox, Plan::ByHand);
        assert_eq!(outbox.next_due(), None);
        assert!(outbox.take(id).is_some() && outbox.take(id).is_none());
        tried(&mut outbox, id, start(), Outcome::Status(500));
        assert_eq!((outbox.get(id).unwrap().state, outbox.next_due()), (State::Withheld, None));
    }

    proptest! {
        /// Whatever happens in whatever order: nothing is sent after its acceptance by itself, nothing more than a
        /// hundred times, and what is open has a time or a sender.
        #[test]
        fn every_notification_ends(steps in prop::collection::vec((0u8..4, 0u64..6, 0i64..90), 0..400)) {
            let mut outbox = Outbox::default();
            let mut now = start();
            for (what, which, minutes) in steps {
                now += TimeDelta::minutes(minutes);
                match what {
                    0 => { add(&mut outbox, if which < 3 { Plan::At(now) } else { Plan::AfterAnother(now + TimeDelta::minutes(5)) }); }
                    1 => { outbox.take(NoticeId(which)); }
                    _ => for notice in outbox.take_due(now, 3) {
                        prop_assert!(outbox.get(notice.id).unwrap().tries < MAX_TRIES);
                        let outcome = if which == 0 { Outcome::Code(0) } else { Outcome::Unreadable };
                        tried(&mut outbox, notice.id, now, outcome);
                    },
                }
                for delivery in outbox.deliveries() {
                    let id = delivery.notice.id;
                    let times = outbox.due.iter().filter(|(_, other)| *other == id).count();
                    prop_assert_eq!(times, usize::from(matches!(delivery.state, State::Waiting(_))));
                    let accepted = delivery.last.as_ref().is_some_and(|tried| tried.outcome.is_accepted());
                    prop_assert!(!(accepted && matches!(delivery.state, State::Waiting(_))));
                }
            }
        }
    }
}

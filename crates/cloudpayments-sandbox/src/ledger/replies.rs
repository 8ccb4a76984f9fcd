//! Memory of request ids ("Идемпотентность API"): an answer given once is given again, unchanged, for an hour.

use std::collections::{HashMap, VecDeque};

use chrono::{DateTime, TimeDelta, Utc};

use super::{Reply, transaction::RequestId};

/// How long the result of a request id is kept.
pub(crate) const REPLY_LIFE: TimeDelta = TimeDelta::hours(1);

#[derive(Default)]
pub(super) struct Replies {
    by_id: HashMap<RequestId, Reply>,
    /// Oldest first; an id stands here once for every time it was remembered.
    order: VecDeque<(DateTime<Utc>, RequestId)>,
}

impl Replies {
    pub(super) fn get(&self, id: &RequestId, now: DateTime<Utc>) -> Option<&Reply> {
        self.by_id.get(id).filter(|reply| now < reply.at + REPLY_LIFE)
    }

    /// Remembers, and forgets what is past its hour or beyond `limit` answers.
    pub(super) fn remember(&mut self, id: RequestId, reply: Reply, limit: usize) {
        let now = reply.at;
        self.order.push_back((now, id.clone()));
        self.by_id.insert(id, reply);
        while let Some((at, id)) = self.order.front() {
            if self.order.len() <= limit && now < *at + REPLY_LIFE {
                break;
            }
            // The id may have been remembered again since.
            if self.by_id.get(id).is_some_and(|reply| reply.at == *at) {
                self.by_id.remove(id);
            }
            self.order.pop_front();
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.by_id.len()
    }
}

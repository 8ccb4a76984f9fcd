//! One queue: what waits in it and in which order.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::broker::Queue;
use crate::protocol::{Message, Value};

use super::core::{ConsumerId, OwnerId};

/// A message as it was published: shared by all queues that it was routed to.
#[derive(Debug)]
pub(super) struct Envelope {
    pub(super) exchange: String,
    pub(super) routing_key: String,
    pub(super) message: Message,
}

/// A place in a queue: urgent first, then in the order of arrival. A message that is given back returns to its place.
pub(super) type Place = (Reverse<u8>, u64);

#[derive(Clone, Debug)]
pub(super) struct Stored {
    pub(super) envelope: Arc<Envelope>,
    pub(super) redelivered: bool,
    expires: Option<Instant>,
}

pub(super) struct QueueState {
    pub(super) declared: Queue,
    /// Whose connection it lives and dies with.
    pub(super) owner: Option<OwnerId>,
    /// In turn: the first one is next.
    pub(super) consumers: VecDeque<ConsumerId>,
    pub(super) had_consumer: bool,
    pub(super) dead_letter_exchange: Option<String>,
    pub(super) dead_letter_routing_key: Option<String>,
    ready: BTreeMap<Place, Stored>,
    deadlines: BTreeSet<(Instant, Place)>,
    arrived: u64,
    max_priority: u8,
    time_to_live: Option<Duration>,
    expires: Option<Duration>,
    unused_since: Instant,
}

impl QueueState {
    pub(super) fn new(declared: &Queue, owner: OwnerId, now: Instant) -> Self {
        let argument = |name: &str| declared.arguments.get(name);
        let text = |name: &str| argument(name).and_then(Value::as_str).map(ToOwned::to_owned);
        let milliseconds = |name: &str| {
            argument(name).and_then(Value::as_i64).and_then(|ms| u64::try_from(ms).ok()).map(Duration::from_millis)
        };
        let max_priority = argument("x-max-priority").and_then(Value::as_i64).unwrap_or(0);
        Self {
            owner: declared.exclusive.then_some(owner),
            consumers: VecDeque::new(),
            had_consumer: false,
            dead_letter_exchange: text("x-dead-letter-exchange"),
            dead_letter_routing_key: text("x-dead-letter-routing-key"),
            ready: BTreeMap::new(),
            deadlines: BTreeSet::new(),
            arrived: 0,
            max_priority: u8::try_from(max_priority.clamp(0, 255)).unwrap_or(0),
            time_to_live: milliseconds("x-message-ttl"),
            expires: milliseconds("x-expires"),
            unused_since: now,
            declared: declared.clone(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.ready.len()
    }

    /// Puts a new message at the end of those of its priority.
    pub(super) fn push(&mut self, envelope: Arc<Envelope>, now: Instant) {
        let properties = &envelope.message.properties;
        let priority = properties.priority.unwrap_or(0).min(self.max_priority);
        let own = properties.expiration.map(Duration::from_millis);
        let life = [own, self.time_to_live].into_iter().flatten().min();
        let place = (Reverse(priority), self.arrived);
        self.arrived += 1;
        // A time too far to count is no limit.
        let expires = life.and_then(|life| now.checked_add(life));
        self.give_back(place, Stored { envelope, redelivered: false, expires });
    }

    /// Puts a message back where it was.
    pub(super) fn give_back(&mut self, place: Place, stored: Stored) {
        self.deadlines.extend(stored.expires.map(|expires| (expires, place)));
        self.ready.insert(place, stored);
    }

    /// Takes the first message that has not expired before `now`.
    pub(super) fn pop(&mut self, now: Instant) -> Option<(Place, Stored)> {
        let alive = |stored: &Stored| stored.expires.is_none_or(|expires| expires >= now);
        let place = self.ready.iter().find(|(_, stored)| alive(stored)).map(|(place, _)| *place)?;
        let stored = self.ready.remove(&place)?;
        self.forget_deadline(place, &stored);
        Some((place, stored))
    }

    /// Takes the messages that have expired by `now`.
    pub(super) fn expired(&mut self, now: Instant) -> Vec<Stored> {
        let mut expired = Vec::new();
        while let Some((_, place)) = self.deadlines.first().copied().filter(|(deadline, _)| *deadline <= now) {
            self.deadlines.pop_first();
            expired.extend(self.ready.remove(&place));
        }
        expired
    }

    pub(super) fn purge(&mut self) -> usize {
        self.deadlines.clear();
        std::mem::take(&mut self.ready).len()
    }

    /// The queue is in use until now.
    pub(super) fn touch(&mut self, now: Instant) {
        self.unused_since = now;
    }

    /// When something is to be done about this queue for time alone: a message expires, or the queue itself.
    pub(super) fn deadline(&self) -> Option<Instant> {
        [self.deadlines.first().map(|(deadline, _)| *deadline), self.end()].into_iter().flatten().min()
    }

    /// When the queue is deleted if nobody uses it (`x-expires`).
    pub(super) fn end(&self) -> Option<Instant> {
        self.expires.filter(|_| self.consumers.is_empty()).and_then(|life| self.unused_since.checked_add(life))
    }

    fn forget_deadline(&mut self, place: Place, stored: &Stored) {
        if let Some(expires) = stored.expires {
            self.deadlines.remove(&(expires, place));
        }
    }
}

//! The broker as a state machine: time is passed in, nothing waits.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use chrono::{DateTime, Utc};
use tokio::sync::Notify;

use super::death::{Reason, goes_in_circles, noted};
use super::queue::{Envelope, Place, QueueState, Stored};
use super::routing::Exchanges;
use crate::broker::{
    Binding, BindingDestination, ConsumeOptions, Delivery, DeliveryTag, Publication, Queue, QueueDepth, Topology,
};

pub(super) type OwnerId = u64;
pub(super) type ConsumerId = u64;

/// Deliveries handed to a consumer without acknowledgements ahead of its reading.
const AHEAD: usize = 1024;

#[derive(Clone, Copy)]
pub(super) struct Now {
    pub(super) instant: Instant,
    pub(super) wall: DateTime<Utc>,
}

struct Consumer {
    owner: OwnerId,
    queue: String,
    prefetch: u16,
    no_ack: bool,
    exclusive: bool,
    cancelled: bool,
    tags: u64,
    unacked: BTreeMap<u64, (Place, Stored)>,
    outbox: VecDeque<Delivery>,
    wake: Arc<Notify>,
}

impl Consumer {
    fn has_room(&self) -> bool {
        if self.no_ack {
            self.outbox.len() < AHEAD
        } else {
            self.prefetch == 0 || self.unacked.len() < usize::from(self.prefetch)
        }
    }
}

#[derive(Default)]
pub(super) struct Core {
    exchanges: Exchanges,
    queues: HashMap<String, QueueState>,
    consumers: HashMap<ConsumerId, Consumer>,
    next_consumer: ConsumerId,
    /// Consumers to be woken.
    woken: Vec<Arc<Notify>>,
}

impl Core {
    /// # Errors
    /// In words, what cannot be declared.
    pub(super) fn declare(&mut self, owner: OwnerId, topology: &Topology, now: Now) -> Result<(), String> {
        for exchange in &topology.exchanges {
            self.exchanges.declare(exchange)?;
        }
        for queue in &topology.queues {
            self.declare_queue(owner, queue, now)?;
        }
        for binding in &topology.bindings {
            if let BindingDestination::Queue(name) = &binding.destination {
                self.usable(owner, name)?;
            }
            self.exchanges.bind(binding)?;
        }
        Ok(())
    }

    fn declare_queue(&mut self, owner: OwnerId, queue: &Queue, now: Now) -> Result<(), String> {
        if self.queues.contains_key(&queue.name) {
            let known = self.usable(owner, &queue.name)?;
            known.touch(now.instant);
            if known.declared != *queue {
                return Err(format!(
                    "queue {:?} exists with other arguments (declare it with those, or delete it first): {:?}",
                    queue.name, known.declared
                ));
            }
            return Ok(());
        }
        let mut state = QueueState::new(queue, owner, now.instant);
        // Consumers outlive their queue and wait for it to come back.
        let waiting = self.consumers.iter().filter(|(_, consumer)| consumer.queue == queue.name && !consumer.cancelled);
        let mut waiting: Vec<ConsumerId> = waiting.map(|(id, _)| *id).collect();
        waiting.sort_unstable();
        state.had_consumer = !waiting.is_empty();
        state.consumers = waiting.into();
        self.queues.insert(queue.name.clone(), state);
        Ok(())
    }

    pub(super) fn unbind(&mut self, binding: &Binding) {
        self.exchanges.unbind(binding);
    }

    /// Whether any queue takes the message.
    pub(super) fn publish(&mut self, publication: Publication, now: Now) -> bool {
        let Publication { exchange, routing_key, mandatory: _, message } = publication;
        let Some(mut names) = self.exchanges.route(&exchange, &routing_key) else { return false };
        names.retain(|name| self.queues.contains_key(name));
        let routed = !names.is_empty();
        let envelope = Arc::new(Envelope { exchange, routing_key, message });
        for name in names {
            self.enqueue(&name, envelope.clone(), now);
        }
        routed
    }

    /// A message can die at once and go on to other queues; circles end, so this ends.
    fn enqueue(&mut self, name: &str, envelope: Arc<Envelope>, now: Now) {
        let mut open = vec![(name.to_owned(), envelope)];
        while let Some((name, envelope)) = open.pop() {
            let Some(queue) = self.queues.get_mut(&name) else { continue };
            queue.push(envelope, now.instant);
            self.dispatch(&name, now);
            open.extend(self.expire_messages(&name, now));
        }
    }

    /// Hands ready messages to consumers in turn, as long as one has room.
    fn dispatch(&mut self, name: &str, now: Now) {
        let Some(queue) = self.queues.get_mut(name) else { return };
        let mut full = 0;
        while full < queue.consumers.len() {
            let Some(id) = queue.consumers.pop_front() else { return };
            queue.consumers.push_back(id);
            let Some(consumer) = self.consumers.get_mut(&id).filter(|consumer| consumer.has_room()) else {
                full += 1;
                continue;
            };
            let Some((place, stored)) = queue.pop(now.instant) else {
                // It was nobody's turn.
                queue.consumers.rotate_right(1);
                return;
            };
            full = 0;
            consumer.tags += 1;
            let Envelope { exchange, routing_key, message } = &*stored.envelope;
            consumer.outbox.push_back(Delivery {
                message: message.clone(),
                exchange: exchange.clone(),
                routing_key: routing_key.clone(),
                redelivered: stored.redelivered,
                tag: DeliveryTag { generation: id, tag: consumer.tags },
            });
            if !consumer.no_ack {
                consumer.unacked.insert(consumer.tags, (place, stored));
            }
            self.woken.push(consumer.wake.clone());
        }
    }

    /// # Errors
    /// In words, why there can be no such consumer.
    pub(super) fn consume(
        &mut self,
        owner: OwnerId,
        options: &ConsumeOptions,
        wake: Arc<Notify>,
        now: Now,
    ) -> Result<ConsumerId, String> {
        let alone = |id: &ConsumerId| self.consumers.get(id).is_some_and(|consumer| consumer.exclusive);
        let others = self.queues.get(&options.queue).map_or(0, |queue| queue.consumers.len());
        let taken = self.queues.get(&options.queue).is_some_and(|queue| queue.consumers.iter().any(alone));
        let id = self.next_consumer + 1;
        let queue = self.usable(owner, &options.queue)?;
        if taken || (options.exclusive && others > 0) {
            return Err(format!("queue {:?} has an exclusive consumer, or others already", options.queue));
        }
        queue.consumers.push_back(id);
        queue.had_consumer = true;
        self.next_consumer = id;
        let consumer = Consumer {
            owner,
            queue: options.queue.clone(),
            prefetch: options.prefetch,
            no_ack: options.no_ack,
            exclusive: options.exclusive,
            cancelled: false,
            tags: 0,
            unacked: BTreeMap::new(),
            outbox: VecDeque::new(),
            wake,
        };
        self.consumers.insert(id, consumer);
        self.dispatch(&options.queue, now);
        Ok(id)
    }

    /// Moves up to `room` deliveries to their receiver; `None` when there will be no more.
    pub(super) fn take(&mut self, id: ConsumerId, room: usize, now: Now) -> Option<Vec<Delivery>> {
        let consumer = self.consumers.get_mut(&id)?;
        if consumer.cancelled && consumer.outbox.is_empty() {
            return None;
        }
        let taken: Vec<Delivery> = consumer.outbox.drain(..room.min(consumer.outbox.len())).collect();
        if consumer.no_ack && !taken.is_empty() {
            let queue = consumer.queue.clone();
            self.dispatch(&queue, now);
        }
        Some(taken)
    }

    /// Acknowledges one delivery, with `multiple` all up to it. A tag that is not open is ignored.
    pub(super) fn ack(&mut self, id: ConsumerId, tag: u64, multiple: bool, now: Now) {
        let Some(consumer) = self.consumers.get_mut(&id) else { return };
        if multiple {
            consumer.unacked = consumer.unacked.split_off(&(tag.saturating_add(1)));
        } else {
            consumer.unacked.remove(&tag);
        }
        let queue = consumer.queue.clone();
        self.dispatch(&queue, now);
    }

    pub(super) fn reject(&mut self, id: ConsumerId, tag: u64, requeue: bool, now: Now) {
        let Some(consumer) = self.consumers.get_mut(&id) else { return };
        let Some((place, mut stored)) = consumer.unacked.remove(&tag) else { return };
        let name = consumer.queue.clone();
        if requeue {
            if let Some(queue) = self.queues.get_mut(&name) {
                stored.redelivered = true;
                queue.give_back(place, stored);
            }
        } else {
            for (name, envelope) in self.dead_letters(&name, &stored, Reason::Rejected, now) {
                self.enqueue(&name, envelope, now);
            }
        }
        self.settle_queue(&name, now);
    }

    pub(super) fn set_prefetch(&mut self, id: ConsumerId, prefetch: u16, now: Now) {
        let Some(consumer) = self.consumers.get_mut(&id) else { return };
        consumer.prefetch = prefetch;
        let queue = consumer.queue.clone();
        self.dispatch(&queue, now);
    }

    /// Stops deliveries; what was delivered can still be settled.
    pub(super) fn cancel(&mut self, id: ConsumerId, now: Now) {
        let Some(consumer) = self.consumers.get_mut(&id) else { return };
        if std::mem::replace(&mut consumer.cancelled, true) {
            return;
        }
        self.woken.push(consumer.wake.clone());
        let name = consumer.queue.clone();
        let Some(queue) = self.queues.get_mut(&name) else { return };
        queue.consumers.retain(|other| *other != id);
        queue.touch(now.instant);
        if queue.declared.auto_delete && queue.consumers.is_empty() && queue.had_consumer {
            self.remove_queue(&name);
        }
    }

    /// Ends a consumer: everything it has not settled goes back to its place.
    pub(super) fn close_consumer(&mut self, id: ConsumerId, now: Now) {
        self.cancel(id, now);
        let Some(consumer) = self.consumers.remove(&id) else { return };
        self.woken.push(consumer.wake);
        if let Some(queue) = self.queues.get_mut(&consumer.queue) {
            for (place, mut stored) in consumer.unacked.into_values() {
                stored.redelivered = true;
                queue.give_back(place, stored);
            }
        }
        self.settle_queue(&consumer.queue, now);
    }

    /// Ends everything that belongs to a connection.
    pub(super) fn close_owner(&mut self, owner: OwnerId, now: Now) {
        let own = self.consumers.iter().filter(|(_, consumer)| consumer.owner == owner).map(|(id, _)| *id);
        for id in own.collect::<Vec<_>>() {
            self.close_consumer(id, now);
        }
        let own = self.queues.iter().filter(|(_, queue)| queue.owner == Some(owner)).map(|(name, _)| name.clone());
        for name in own.collect::<Vec<_>>() {
            self.remove_queue(&name);
        }
    }

    /// # Errors
    /// In words, if another connection has the queue to itself.
    pub(super) fn delete_queue(&mut self, owner: OwnerId, name: &str) -> Result<u64, String> {
        if !self.queues.contains_key(name) {
            return Ok(0);
        }
        let count = self.usable(owner, name)?.len();
        self.remove_queue(name);
        Ok(count as u64)
    }

    /// # Errors
    /// In words, if there is no such queue or another connection has it to itself.
    pub(super) fn purge(&mut self, owner: OwnerId, name: &str) -> Result<u64, String> {
        Ok(self.usable(owner, name)?.purge() as u64)
    }

    /// # Errors
    /// In words, if another connection has the queue to itself.
    pub(super) fn depth(&mut self, owner: OwnerId, name: &str, now: Now) -> Result<Option<QueueDepth>, String> {
        self.expire_queue(name, now);
        if !self.queues.contains_key(name) {
            return Ok(None);
        }
        let queue = self.usable(owner, name)?;
        Ok(Some(QueueDepth { messages: queue.len() as u64, consumers: queue.consumers.len() as u64 }))
    }

    /// Does what is due by now.
    pub(super) fn expire(&mut self, now: Now) {
        let due = |queue: &QueueState| queue.deadline().is_some_and(|deadline| deadline <= now.instant);
        let due: Vec<String> =
            self.queues.iter().filter(|(_, queue)| due(queue)).map(|(name, _)| name.clone()).collect();
        for name in due {
            self.expire_queue(&name, now);
        }
    }

    /// When to call [`expire`](Self::expire) next.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.queues.values().filter_map(QueueState::deadline).min()
    }

    /// The consumers that have something new to take.
    pub(super) fn take_woken(&mut self) -> Vec<Arc<Notify>> {
        std::mem::take(&mut self.woken)
    }

    fn expire_queue(&mut self, name: &str, now: Now) {
        for (name, envelope) in self.expire_messages(name, now) {
            self.enqueue(&name, envelope, now);
        }
        if self.queues.get(name).and_then(QueueState::end).is_some_and(|end| end <= now.instant) {
            self.remove_queue(name);
        }
    }

    /// After messages came back: consumers take them, or they expire.
    fn settle_queue(&mut self, name: &str, now: Now) {
        self.dispatch(name, now);
        for (name, envelope) in self.expire_messages(name, now) {
            self.enqueue(&name, envelope, now);
        }
    }

    /// Takes the expired messages out of a queue, and says where they go.
    fn expire_messages(&mut self, name: &str, now: Now) -> Vec<(String, Arc<Envelope>)> {
        let expired = self.queues.get_mut(name).map(|queue| queue.expired(now.instant)).unwrap_or_default();
        expired.iter().flat_map(|stored| self.dead_letters(name, stored, Reason::Expired, now)).collect()
    }

    fn dead_letters(&self, name: &str, stored: &Stored, reason: Reason, now: Now) -> Vec<(String, Arc<Envelope>)> {
        let Some(queue) = self.queues.get(name) else { return Vec::new() };
        let Some(exchange) = queue.dead_letter_exchange.clone() else { return Vec::new() };
        let routing_key = queue.dead_letter_routing_key.clone().unwrap_or_else(|| stored.envelope.routing_key.clone());
        let message = noted(&stored.envelope, name, reason, now.wall);
        let mut names = self.exchanges.route(&exchange, &routing_key).unwrap_or_default();
        names.retain(|name| reason == Reason::Rejected || !goes_in_circles(&message, name));
        let envelope = Arc::new(Envelope { exchange, routing_key, message });
        names.into_iter().map(|name| (name, envelope.clone())).collect()
    }

    /// Its consumers stay and wait for a queue of this name.
    fn remove_queue(&mut self, name: &str) {
        self.queues.remove(name);
        self.exchanges.unbind_queue(name);
        for consumer in self.consumers.values_mut().filter(|consumer| consumer.queue == name) {
            consumer.unacked.clear();
        }
    }

    /// A queue that exists and is not another connection's own.
    fn usable(&mut self, owner: OwnerId, name: &str) -> Result<&mut QueueState, String> {
        match self.queues.get_mut(name) {
            None => Err(format!("no queue {name:?}; declare it first")),
            Some(queue) if queue.owner.is_some_and(|other| other != owner) => {
                Err(format!("queue {name:?} belongs to another connection alone"))
            }
            Some(queue) => Ok(queue),
        }
    }

    /// Whether an exchange of this name exists.
    pub(super) fn has_exchange(&self, name: &str) -> bool {
        self.exchanges.exists(name)
    }
}

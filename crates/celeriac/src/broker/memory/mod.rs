//! `memory://name`: a broker inside this process.
//!
//! All handles of one name are connected to the same broker, which is gone with the last of them. It behaves like
//! `RabbitMQ` in everything that this crate uses, but for durability: nothing outlives the process. Like there, a queue
//! holds what it is given: a producer without a consumer fills the memory.

mod core;
mod death;
mod queue;
mod routing;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Weak};
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, sleep_until};

use self::core::{ConsumerId, Core, Now, OwnerId};
use super::{
    Binding, Broker, BrokerError, BrokerHealth, ConsumeOptions, ConsumerControl, Delivery, DeliveryTag, Publication,
    QueueDepth, Subscription, Topology,
};

/// Deliveries that wait for the receiver when there is no prefetch count to bound them.
const UNBOUNDED_BUFFER: usize = 1024;

static BROKERS: LazyLock<Mutex<HashMap<String, Weak<Shared>>>> = LazyLock::new(Mutex::default);
static OWNERS: AtomicU64 = AtomicU64::new(1);

/// One broker.
struct Shared {
    core: Mutex<Core>,
    /// The next deadline may be another than the timer thinks.
    timer: Arc<Notify>,
}

impl Shared {
    /// Changes the state, and wakes whom it concerns.
    fn update<T>(&self, change: impl FnOnce(&mut Core, Now) -> T) -> T {
        let now = now();
        let mut core = self.core.lock();
        let before = core.deadline();
        let value = change(&mut core, now);
        let (woken, after) = (core.take_woken(), core.deadline());
        drop(core);
        for consumer in woken {
            consumer.notify_one();
        }
        if before != after {
            self.timer.notify_one();
        }
        value
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // Ends the timer.
        self.timer.notify_one();
    }
}

fn now() -> Now {
    Now { instant: Instant::now().into_std(), wall: crate::clock::now() }
}

/// Expires messages and queues when their time has come. Without any that expire it sleeps for ever.
async fn watch_deadlines(broker: Weak<Shared>, changed: Arc<Notify>) {
    loop {
        let Some(shared) = broker.upgrade() else { return };
        let deadline = shared.core.lock().deadline();
        drop(shared);
        let due = async {
            match deadline {
                Some(deadline) => sleep_until(Instant::from_std(deadline)).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = due => if let Some(shared) = broker.upgrade() {
                shared.update(Core::expire);
            },
            () = changed.notified() => {}
        }
    }
}

/// One connection to a broker.
pub(super) struct MemoryBroker {
    address: String,
    owner: OwnerId,
    since: Instant,
    /// `None` when closed.
    shared: Mutex<Option<Arc<Shared>>>,
}

impl MemoryBroker {
    pub(super) fn connect(name: &str) -> Self {
        let mut brokers = BROKERS.lock();
        brokers.retain(|_, broker| broker.strong_count() > 0);
        let shared = brokers.get(name).and_then(Weak::upgrade).unwrap_or_else(|| {
            let timer = Arc::new(Notify::new());
            let shared = Arc::new(Shared { core: Mutex::default(), timer: timer.clone() });
            tokio::spawn(watch_deadlines(Arc::downgrade(&shared), timer));
            brokers.insert(name.to_owned(), Arc::downgrade(&shared));
            shared
        });
        Self {
            address: format!("memory://{name}"),
            owner: OWNERS.fetch_add(1, Ordering::Relaxed),
            since: Instant::now(),
            shared: Mutex::new(Some(shared)),
        }
    }

    fn shared(&self) -> Result<Arc<Shared>, BrokerError> {
        self.shared.lock().clone().ok_or_else(|| BrokerError::Closed { address: self.address.clone() })
    }

    fn refused(&self, reason: String) -> BrokerError {
        BrokerError::Refused { address: self.address.clone(), reason }
    }

    fn publish_now(core: &mut Core, publication: Publication, now: Now) -> Result<(), BrokerError> {
        let known = core.has_exchange(&publication.exchange);
        // Named before the message moves into its queues.
        let unroutable = (publication.mandatory || !known).then(|| BrokerError::Unroutable {
            exchange: publication.exchange.clone(),
            routing_key: publication.routing_key.clone(),
        });
        match (core.publish(publication, now), unroutable) {
            (false, Some(error)) => Err(error),
            _ => Ok(()),
        }
    }

    fn disconnect(&self) {
        if let Some(shared) = self.shared.lock().take() {
            shared.update(|core, now| core.close_owner(self.owner, now));
        }
    }
}

#[async_trait]
impl Broker for MemoryBroker {
    async fn declare(&self, topology: &Topology) -> Result<(), BrokerError> {
        self.shared()?
            .update(|core, now| core.declare(self.owner, topology, now))
            .map_err(|reason| self.refused(reason))
    }

    async fn publish(&self, publication: Publication) -> Result<(), BrokerError> {
        // Nothing here waits, but a loop that publishes must let others run.
        tokio::task::coop::consume_budget().await;
        self.shared()?.update(|core, now| Self::publish_now(core, publication, now))
    }

    async fn publish_batch(&self, publications: Vec<Publication>) -> Vec<Result<(), BrokerError>> {
        tokio::task::coop::consume_budget().await;
        match self.shared() {
            Ok(shared) => shared.update(|core, now| {
                publications.into_iter().map(|publication| Self::publish_now(core, publication, now)).collect()
            }),
            Err(error) => vec![Err(error); publications.len()],
        }
    }

    async fn publish_unconfirmed(&self, publication: Publication) -> Result<(), BrokerError> {
        tokio::task::coop::consume_budget().await;
        self.shared()?.update(|core, now| core.publish(publication, now));
        Ok(())
    }

    async fn consume(&self, options: ConsumeOptions) -> Result<Subscription, BrokerError> {
        let shared = self.shared()?;
        let wake = Arc::new(Notify::new());
        let id = shared
            .update(|core, now| core.consume(self.owner, &options, wake.clone(), now))
            .map_err(|reason| self.refused(reason))?;
        let buffer = match options.prefetch {
            0 => UNBOUNDED_BUFFER,
            count => usize::from(count),
        };
        let (sender, deliveries) = mpsc::channel(buffer);
        let consumer = Arc::new(Consumer { broker: Arc::downgrade(&shared), id, active: AtomicBool::new(true) });
        tokio::spawn(hand_out(consumer.clone(), sender, wake));
        Ok(Subscription { deliveries, control: Arc::new(Control(consumer)) })
    }

    async fn unbind(&self, binding: &Binding) -> Result<(), BrokerError> {
        self.shared()?.update(|core, _| core.unbind(binding));
        Ok(())
    }

    async fn delete_queue(&self, queue: &str) -> Result<u64, BrokerError> {
        self.shared()?.update(|core, _| core.delete_queue(self.owner, queue)).map_err(|reason| self.refused(reason))
    }

    async fn purge(&self, queue: &str) -> Result<u64, BrokerError> {
        self.shared()?.update(|core, _| core.purge(self.owner, queue)).map_err(|reason| self.refused(reason))
    }

    async fn queue_depth(&self, queue: &str) -> Result<Option<QueueDepth>, BrokerError> {
        self.shared()?.update(|core, now| core.depth(self.owner, queue, now)).map_err(|reason| self.refused(reason))
    }

    fn address(&self) -> &str {
        &self.address
    }

    fn health(&self) -> BrokerHealth {
        BrokerHealth {
            connected: self.shared.lock().is_some(),
            blocked: false,
            since: self.since.elapsed(),
            // Nothing is between here and there that could be silent.
            last_frame: Duration::ZERO,
            heartbeat: None,
        }
    }

    async fn close(&self) {
        self.disconnect();
    }
}

impl Drop for MemoryBroker {
    fn drop(&mut self) {
        self.disconnect();
    }
}

/// A consumer, held by who reads its deliveries and by who settles them: it ends with the last of the two.
struct Consumer {
    broker: Weak<Shared>,
    id: ConsumerId,
    /// Deliveries are handed out.
    active: AtomicBool,
}

impl Consumer {
    /// `None` when the broker is gone.
    fn update<T>(&self, change: impl FnOnce(&mut Core, ConsumerId, Now) -> T) -> Option<T> {
        self.broker.upgrade().map(|shared| shared.update(|core, now| change(core, self.id, now)))
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        self.update(Core::close_consumer);
    }
}

/// Moves deliveries to their receiver as it has room for them.
async fn hand_out(consumer: Arc<Consumer>, receiver: mpsc::Sender<Delivery>, wake: Arc<Notify>) {
    hand_out_all(&consumer, receiver, &wake).await;
    consumer.active.store(false, Ordering::Relaxed);
}

async fn hand_out_all(consumer: &Consumer, receiver: mpsc::Sender<Delivery>, wake: &Notify) {
    while let Ok(first) = receiver.reserve().await {
        let room = receiver.capacity() + 1;
        let taken = consumer.update(|core, id, now| core.take(id, room, now)).flatten();
        let Some(taken) = taken else { return };
        if taken.is_empty() {
            drop(first);
            tokio::select! {
                () = wake.notified() => {}
                () = receiver.closed() => {}
            }
            continue;
        }
        let mut taken = taken.into_iter();
        if let Some(delivery) = taken.next() {
            first.send(delivery);
        }
        for delivery in taken {
            // There is room: nobody else sends.
            let _ = receiver.try_send(delivery);
        }
    }
    // Nobody reads any more. What was read can still be settled.
    consumer.update(Core::cancel);
}

struct Control(Arc<Consumer>);

impl Control {
    fn settle(&self, tag: DeliveryTag, settle: impl FnOnce(&mut Core, ConsumerId, Now)) {
        if tag.generation == self.0.id {
            self.0.update(settle);
        }
    }
}

#[async_trait]
impl ConsumerControl for Control {
    async fn ack(&self, tag: DeliveryTag, multiple: bool) -> Result<(), BrokerError> {
        self.settle(tag, |core, id, now| core.ack(id, tag.tag, multiple, now));
        Ok(())
    }

    async fn reject(&self, tag: DeliveryTag, requeue: bool) -> Result<(), BrokerError> {
        self.settle(tag, |core, id, now| core.reject(id, tag.tag, requeue, now));
        Ok(())
    }

    async fn set_prefetch(&self, prefetch: u16) -> Result<(), BrokerError> {
        self.0.update(|core, id, now| core.set_prefetch(id, prefetch, now));
        Ok(())
    }

    fn is_active(&self) -> bool {
        self.0.active.load(Ordering::Relaxed)
    }

    async fn cancel(&self) -> Result<(), BrokerError> {
        self.0.active.store(false, Ordering::Relaxed);
        self.0.update(Core::cancel);
        Ok(())
    }

    async fn close(&self) {
        self.0.update(Core::close_consumer);
    }
}

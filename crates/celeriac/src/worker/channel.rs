//! What the parts of a worker share about one consumer.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicUsize, Ordering};

use parking_lot::Mutex;
use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::acks::AckTracker;
use super::attempts::DeliveryLimit;
use super::conclusion::Verdict;
use super::settle::Settlement;
use super::void::VoidEnds;
use crate::broker::{BrokerError, ConsumerControl, DeliveryTag};
use crate::protocol::TaskMessage;

/// For how many tasks that wait for limits a consumer takes others instead: each takes the memory of its message.
const MAX_LIMITED: usize = 10_000;

/// One consumer: its control, what is not acknowledged yet, and the way to the task that settles.
pub(crate) struct Channel {
    pub(crate) queue: String,
    pub(crate) delivery_limit: Option<DeliveryLimit>,
    pub(crate) control: Arc<dyn ConsumerControl>,
    tracker: Mutex<AckTracker>,
    /// Of tasks whose messages could not be settled.
    void: Mutex<VoidEnds>,
    /// Something may be acknowledged.
    flush: Notify,
    settle: mpsc::UnboundedSender<Settlement>,
    /// How many messages the prefetch count makes room for: they wait for their ETA, or for a limit.
    held: AtomicUsize,
    /// Of these, those that wait for a limit.
    limited: AtomicUsize,
    /// More wanted to wait than may, and that was told.
    is_crowded: AtomicBool,
    /// Since when the settler is at its work, or is gone.
    pub(crate) settles: Since,
    /// Since when the broker is asked for another prefetch count.
    pub(crate) asks: Since,
    /// What the broker was told.
    prefetch: AtomicU16,
    /// There is more or less room for messages than before.
    pub(crate) room_changed: Notify,
    /// Cancelled when a new generation begins: what has not begun is delivered again.
    generation: Mutex<(u64, CancellationToken)>,
    stop: CancellationToken,
}

impl Channel {
    /// `stop` ends the waiting of tasks that have not begun.
    pub(crate) fn new(
        queue: String,
        delivery_limit: Option<DeliveryLimit>,
        control: Arc<dyn ConsumerControl>,
        prefetch: u16,
        settle: mpsc::UnboundedSender<Settlement>,
        stop: &CancellationToken,
    ) -> Self {
        Self {
            queue,
            delivery_limit,
            control,
            tracker: Mutex::default(),
            void: Mutex::default(),
            flush: Notify::new(),
            settle,
            held: AtomicUsize::new(0),
            limited: AtomicUsize::new(0),
            is_crowded: AtomicBool::new(false),
            settles: Since::default(),
            asks: Since::default(),
            prefetch: AtomicU16::new(prefetch),
            room_changed: Notify::new(),
            generation: Mutex::new((0, stop.child_token())),
            stop: stop.clone(),
        }
    }

    /// Messages have arrived. The first of a new generation ends the waiting of those of the former.
    pub(crate) fn delivered(&self, tags: impl Iterator<Item = DeliveryTag>) {
        let mut tracker = self.tracker.lock();
        for tag in tags {
            if tag.generation != tracker.generation() {
                self.renew(tag.generation);
            }
            tracker.delivered(tag);
        }
    }

    fn renew(&self, generation: u64) {
        let mut current = self.generation.lock();
        current.1.cancel();
        *current = (generation, self.stop.child_token());
    }

    /// The end of waiting for a message of this generation; `None` if that generation is gone.
    pub(crate) fn patience(&self, generation: u64) -> Option<CancellationToken> {
        let current = self.generation.lock();
        (current.0 == generation).then(|| current.1.clone())
    }

    /// Whether deliveries of this generation can still be settled.
    pub(crate) fn is_current(&self, generation: u64) -> bool {
        self.generation.lock().0 == generation && self.control.is_current(generation)
    }

    /// All has been done for a task but to settle its message, which is not possible any longer.
    pub(super) fn ended_in_void(&self, task: &TaskMessage, verdict: Verdict) {
        self.void.lock().add(&task.id, task.retries, verdict);
    }

    /// What becomes of the message of such a task that has come again.
    pub(super) fn void_end(&self, task: &TaskMessage) -> Option<Verdict> {
        self.void.lock().get(&task.id, task.retries)
    }

    /// The message may be acknowledged; others may go with it.
    pub(crate) fn acknowledge(&self, tag: DeliveryTag) {
        self.tracker.lock().finished(tag);
        self.flush.notify_one();
    }

    pub(crate) fn reject(&self, tag: DeliveryTag, requeue: bool) {
        self.tracker.lock().rejected(tag, requeue);
        self.flush.notify_one();
    }

    /// Settles many at once.
    pub(crate) fn with_tracker(&self, settle: impl FnOnce(&mut AckTracker)) {
        settle(&mut self.tracker.lock());
        self.flush.notify_one();
    }

    /// Hands over what follows from the end of a task.
    pub(crate) fn settle(&self, settlement: Settlement) {
        // Closed only after a cold shutdown, when the broker delivers the message again.
        let _ = self.settle.send(settlement);
    }

    pub(crate) fn hold(self: &Arc<Self>) -> Held {
        self.make_room(false)
    }

    fn make_room(self: &Arc<Self>, is_limited: bool) -> Held {
        self.held.fetch_add(1, Ordering::Relaxed);
        self.room_changed.notify_one();
        Held { channel: Arc::clone(self), is_limited }
    }

    /// Room for another message while one waits for a limit of the cluster, or for a thread. So many may do so; what comes
    /// above that counts as what can run soon, and the queue waits with it.
    pub(crate) fn hold_limited(self: &Arc<Self>) -> Option<Held> {
        let before = self.limited.fetch_add(1, Ordering::Relaxed);
        if before < MAX_LIMITED {
            return Some(self.make_room(true));
        }
        self.limited.fetch_sub(1, Ordering::Relaxed);
        if !self.is_crowded.swap(true, Ordering::Relaxed) {
            let queue = &self.queue;
            tracing::warn!(
                queue,
                "{MAX_LIMITED} tasks wait for limits, such as a concurrency_key: the queue waits with them"
            );
        }
        None
    }

    pub(crate) fn held(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    /// How many messages the broker hands out before it waits for acknowledgements; 0 is without a limit.
    pub(crate) fn prefetch(&self) -> u16 {
        self.prefetch.load(Ordering::Relaxed)
    }

    pub(crate) fn set_prefetch(&self, prefetch: u16) {
        self.prefetch.store(prefetch, Ordering::Relaxed);
    }

    /// Messages that are not acknowledged.
    pub(crate) fn unacknowledged(&self) -> usize {
        self.tracker.lock().unsettled()
    }

    /// Sends acknowledgements whenever there are some, until `done`. Only this task sends them, so that none overtakes
    /// another. Under load many messages go with one acknowledgement.
    pub(crate) async fn acknowledge_until(&self, done: CancellationToken) {
        loop {
            let is_last = tokio::select! {
                () = self.flush.notified() => false,
                () = done.cancelled() => true,
            };
            if let Err(error) = self.send_acks().await {
                // The broker delivers these messages again.
                tracing::debug!(queue = self.queue, %error, "acknowledgement not sent");
            }
            if is_last {
                return;
            }
        }
    }

    async fn send_acks(&self) -> Result<(), BrokerError> {
        let acks = self.tracker.lock().take();
        for (tag, requeue) in acks.rejects {
            self.control.reject(tag, requeue).await?;
        }
        if let Some(tag) = acks.multiple {
            self.control.ack(tag, true).await?;
        }
        for tag in acks.single {
            self.control.ack(tag, false).await?;
        }
        Ok(())
    }
}

/// Since when something goes on, if it does.
#[derive(Debug, Default)]
pub(crate) struct Since(Mutex<Option<Instant>>);

impl Since {
    pub(crate) fn since(&self) -> Option<Instant> {
        *self.0.lock()
    }

    pub(crate) async fn during<T>(&self, work: impl Future<Output = T>) -> T {
        *self.0.lock() = Some(Instant::now());
        let value = work.await;
        *self.0.lock() = None;
        value
    }

    /// It goes on for ever once the answer is dropped.
    pub(crate) fn once_dropped(&self) -> impl Drop + use<'_> {
        struct End<'a>(&'a Since);
        impl Drop for End<'_> {
            fn drop(&mut self) {
                *self.0.0.lock() = Some(Instant::now());
            }
        }
        End(self)
    }
}

/// A message that waits, which the prefetch count makes room for.
pub(crate) struct Held {
    channel: Arc<Channel>,
    is_limited: bool,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.channel.held.fetch_sub(1, Ordering::Relaxed);
        if self.is_limited {
            self.channel.limited.fetch_sub(1, Ordering::Relaxed);
        }
        self.channel.room_changed.notify_one();
    }
}

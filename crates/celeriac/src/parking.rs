//! The parking queue: where messages wait that no worker could do anything with, until somebody looks.
//!
//! A worker moves there what is delivered again and again ([`WorkerBuilder::delivery_limit`]) and, if it is told to
//! ([`WorkerBuilder::parking`]), what cannot be read and tasks that it does not know. Each queue has one of its own,
//! `<queue>.parked`. A message stays there as it was, with headers `x-parked-…` that tell why, from where, when and by
//! which worker. It is published and confirmed there before it is acknowledged where it was, and the same on its way back:
//! if something dies in between, it is there twice, never lost.
//!
//! ```no_run
//! # use celeriac::{App, parking::Selection};
//! # async fn example(app: App) -> Result<(), Box<dyn std::error::Error>> {
//! let parking = app.parking("shop");
//! for message in parking.list(100).await? {
//!     println!("{:?} {:?}: {} ({})", message.task, message.id, message.reason, message.error);
//! }
//! let requeued = parking.requeue(&Selection::all().task("shop.greet")).await?;
//! # Ok(())
//! # }
//! ```
//!
//! [`WorkerBuilder::delivery_limit`]: crate::WorkerBuilder::delivery_limit
//! [`WorkerBuilder::parking`]: crate::WorkerBuilder::parking

mod note;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{sleep, timeout};

pub(crate) use self::note::{Note, is_noted, noted, reason_of};
pub use self::note::{ParkedMessage, Reason};

use crate::app::App;
use crate::broker::{Broker, BrokerError, ConsumeOptions, Delivery, Subscription};

/// How long a message may take to come of which the broker has said that it is there. Others may have taken it.
const PATIENCE: Duration = Duration::from_secs(5);
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// How often a queue that says it is empty is asked.
const ASK_EMPTY: usize = 3;

/// The parking queue of a queue.
#[derive(Clone, Debug)]
pub struct Parking {
    app: App,
    queue: String,
}

/// What becomes of a message. (A closure here would make futures of which nobody can prove that threads may share them.)
#[derive(Clone, Copy)]
enum Fate {
    Back,
    Away,
}

/// Which messages are meant: all that satisfy each condition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct Selection {
    ids: Option<HashSet<String>>,
    task: Option<String>,
}

impl Selection {
    /// No condition yet.
    pub fn all() -> Self {
        Self::default()
    }

    /// Only those of tasks with these ids.
    pub fn ids<I: Into<String>>(mut self, ids: impl IntoIterator<Item = I>) -> Self {
        self.ids = Some(ids.into_iter().map(Into::into).collect());
        self
    }

    /// Only those of tasks of this name.
    pub fn task(mut self, name: impl Into<String>) -> Self {
        self.task = Some(name.into());
        self
    }

    /// Whether a message satisfies all conditions.
    #[must_use]
    pub fn contains(&self, message: &ParkedMessage) -> bool {
        let is_named = |ids: &HashSet<String>| message.id.as_ref().is_some_and(|id| ids.contains(id));
        self.ids.as_ref().is_none_or(is_named)
            && self.task.as_ref().is_none_or(|task| message.task.as_ref() == Some(task))
    }
}

impl App {
    /// The parking queue of a queue.
    #[must_use]
    pub fn parking(&self, queue: impl Into<String>) -> Parking {
        Parking { app: self.clone(), queue: queue.into() }
    }
}

impl Parking {
    /// The name of the parking queue: `<queue>.parked`.
    #[must_use]
    pub fn name(&self) -> String {
        parking_queue(&self.queue)
    }

    /// Looks at what is parked, at most so many, the oldest first. Nothing changes by it, but while somebody looks nobody
    /// else sees these messages.
    ///
    /// # Errors
    /// See [`BrokerError`].
    pub async fn list(&self, limit: u16) -> Result<Vec<ParkedMessage>, BrokerError> {
        let mut found = Vec::new();
        let Some(mut walk) = Walk::begin(self, limit).await? else { return Ok(found) };
        while let Some(delivery) = walk.next().await {
            found.push(ParkedMessage::read(&delivery.message, &self.queue));
        }
        walk.end().await;
        Ok(found)
    }

    /// Sends messages back to where they came from, or else to their queue, as if they were new: nothing counts the
    /// deliveries of before. Returns how many.
    ///
    /// # Errors
    /// See [`BrokerError`]. What was not sent by then is still parked.
    pub async fn requeue(&self, selection: &Selection) -> Result<u64, BrokerError> {
        self.each(selection, Fate::Back).await
    }

    /// Throws messages away. Returns how many.
    ///
    /// # Errors
    /// See [`BrokerError`].
    pub async fn discard(&self, selection: &Selection) -> Result<u64, BrokerError> {
        self.each(selection, Fate::Away).await
    }

    /// Does with each message that is selected what is to become of it, and takes it off the parking queue then. What is
    /// parked meanwhile is for the next time.
    async fn each(&self, selection: &Selection, fate: Fate) -> Result<u64, BrokerError> {
        let Some(mut walk) = Walk::begin(self, u16::MAX).await? else { return Ok(0) };
        let mut count = 0;
        let mut failed = None;
        while let Some(delivery) = walk.next().await {
            let message = ParkedMessage::read(&delivery.message, &self.queue);
            if !selection.contains(&message) {
                continue;
            }
            self.forget_deliveries(&message).await;
            let sent = match fate {
                Fate::Back => self.send_back(&delivery).await,
                Fate::Away => Ok(()),
            };
            if let Err(error) = sent {
                failed = Some(error);
                break;
            }
            walk.take_off(&delivery).await?;
            count += 1;
        }
        walk.end().await;
        failed.map_or(Ok(count), Err)
    }

    async fn forget_deliveries(&self, message: &ParkedMessage) {
        if let (Some(counts), Some(id)) = (self.app.backend().deliveries(), &message.id)
            && let Err(error) = counts.forget(id).await
        {
            tracing::warn!(id, %error, "the deliveries of before still count");
        }
    }

    async fn send_back(&self, delivery: &Delivery) -> Result<(), BrokerError> {
        let broker = self.app.broker();
        let mut publication = note::returned(delivery.message.clone(), &self.queue);
        match broker.publish(publication.clone()).await {
            Err(BrokerError::Unroutable { .. })
                if !publication.exchange.is_empty() || publication.routing_key != self.queue =>
            {
                publication.exchange = String::new();
                publication.routing_key.clone_from(&self.queue);
                broker.publish(publication).await
            }
            sent => sent,
        }
    }
}

/// The name of the parking queue of a queue.
pub(crate) fn parking_queue(queue: &str) -> String {
    format!("{queue}.parked")
}

/// How many messages wait in a queue. A quorum queue that is too busy to answer is said to be empty: that is asked again.
async fn waiting(broker: &dyn Broker, queue: &str) -> Result<u64, BrokerError> {
    for _ in 0..ASK_EMPTY {
        match broker.queue_depth(queue).await? {
            None => break,
            Some(depth) if depth.messages > 0 => return Ok(depth.messages),
            Some(_) => sleep(LOOK_EVERY).await,
        }
    }
    Ok(0)
}

/// Goes through a parking queue once.
struct Walk {
    broker: Arc<dyn Broker>,
    queue: String,
    subscription: Subscription,
    /// How many messages there were when it began, and have not been seen yet.
    left: u64,
    /// How many were seen and not taken off.
    held: u64,
}

impl Walk {
    /// `None`: nothing is parked.
    async fn begin(parking: &Parking, limit: u16) -> Result<Option<Self>, BrokerError> {
        let broker = parking.app.broker();
        let queue = parking.name();
        let waiting = waiting(&**broker, &queue).await?;
        // All that are looked at are held until the end: so many can be.
        let prefetch = u16::try_from(waiting).unwrap_or(u16::MAX).min(limit);
        if prefetch == 0 {
            return Ok(None);
        }
        let options = ConsumeOptions { queue: queue.clone(), prefetch, ..ConsumeOptions::default() };
        let subscription = broker.consume(options).await?;
        let left = waiting.min(limit.into());
        Ok(Some(Self { broker: Arc::clone(broker), queue, subscription, left, held: 0 }))
    }

    async fn next(&mut self) -> Option<Delivery> {
        self.left = self.left.checked_sub(1)?;
        let delivery = timeout(PATIENCE, self.subscription.deliveries.recv()).await.ok().flatten()?;
        self.held += 1;
        Some(delivery)
    }

    async fn take_off(&mut self, delivery: &Delivery) -> Result<(), BrokerError> {
        self.held -= 1;
        self.subscription.control.ack(delivery.tag, false).await
    }

    /// What was not taken off goes back to its place. Quorum queues take their time for that: whoever looks next is to find
    /// it there.
    async fn end(self) {
        self.subscription.control.close().await;
        let back = async {
            while let Ok(Some(depth)) = self.broker.queue_depth(&self.queue).await
                && depth.messages < self.held
            {
                sleep(LOOK_EVERY).await;
            }
        };
        // Others may have taken it.
        let _ = timeout(PATIENCE, back).await;
    }
}

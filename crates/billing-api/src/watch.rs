//! Following a payment without asking for it again and again.
//!
//! Workers store the result of every task about a payment, and the result backend tells who has subscribed. A result is
//! only a hint to look: what is told to the caller is always read from the database. Each subscription is followed by a
//! look, so nothing that happens before it or after it is missed; a slow second look covers what has no task of its own,
//! such as the end of an unanswered 3-D Secure page, and a backend that is out of reach.

use std::sync::Arc;
use std::time::Duration;

use billing::tasks::{ChargePayment, CompleteThreeDs, ResolvePayment};
use billing::{PaymentId, Services, store};
use celeriac::backend::{ResultBackend, ResultSubscription};
use futures_util::stream::{self, BoxStream, SelectAll, StreamExt};
use futures_util::{FutureExt, Stream};
use tokio::time::{Instant, Interval, MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use tonic::Status;

use crate::caller::Caller;
use crate::convert;
use crate::deadline::Deadline;
use crate::error::{ApiError, Resource};
use crate::outage::Outages;
use crate::proto::{Payment, PaymentStatus};
use crate::streams::StreamPermit;

/// How long the first answer waits for the subscriptions. Later ones only cost another look.
const SUBSCRIBE_PATIENCE: Duration = Duration::from_millis(250);
/// How long to wait before a result backend that is out of reach is asked again.
const RESUBSCRIBE_AFTER: Duration = Duration::from_secs(1);

/// Outages as all who follow a payment see them.
static UNREAD: Outages = Outages::new();
static UNSUBSCRIBED: Outages = Outages::new();

/// Which payment is followed, and by whom.
pub(crate) struct Watched {
    pub(crate) id: PaymentId,
    pub(crate) caller: Caller,
}

/// A payment that is followed. Dropping it ends everything that belongs to it.
pub(crate) struct Watch {
    services: Services,
    watched: Watched,
    wake: Wake,
    reread: Interval,
    deadline: Deadline,
    shutdown: CancellationToken,
    /// What the caller knows.
    told: Option<Payment>,
    /// Read, and not told yet.
    next: Option<Payment>,
    ended: bool,
    _permit: StreamPermit,
}

impl Watch {
    /// Begins to follow a payment.
    pub(crate) async fn open(
        services: Services,
        watched: Watched,
        reread: Duration,
        deadline: Deadline,
        shutdown: CancellationToken,
        permit: StreamPermit,
    ) -> Result<Self, ApiError> {
        let Watched { id, caller } = &watched;
        if caller.account.is_some() {
            // What is another's is refused as fast as what does not exist.
            read(&services, *id, caller).await?;
        }
        let mut wake = Wake::on(services.app.backend(), *id);
        let _ = tokio::time::timeout(SUBSCRIBE_PATIENCE, wake.subscribed()).await;
        let now = read(&services, *id, caller).await?;
        let mut reread = tokio::time::interval_at(Instant::now() + reread, reread);
        reread.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Ok(Self {
            services,
            watched,
            wake,
            reread,
            deadline,
            shutdown,
            told: None,
            next: Some(now),
            ended: false,
            _permit: permit,
        })
    }

    /// The payment as it is now, then each time it changes, until it is final.
    pub(crate) fn into_stream(self) -> impl Stream<Item = Result<Payment, Status>> {
        stream::unfold(self, |mut watch| async move {
            if watch.ended {
                return None;
            }
            let item = watch.change().await;
            watch.ended = item.as_ref().map_or(true, is_final);
            watch.told = item.as_ref().ok().cloned();
            Some((item.map_err(Status::from), watch))
        })
    }

    async fn change(&mut self) -> Result<Payment, ApiError> {
        loop {
            if let Some(payment) = self.next.take()
                && self.is_news(&payment)
            {
                return Ok(payment);
            }
            tokio::select! {
                () = self.shutdown.cancelled() => return Err(ApiError::ShuttingDown),
                () = self.deadline.passed() => return Err(ApiError::DeadlineExceeded),
                () = self.wake.woken() => {}
                _ = self.reread.tick() => {}
            }
            match read(&self.services, self.watched.id, &self.watched.caller).await {
                Ok(payment) => self.next = Some(payment),
                // The next look may be luckier; the caller is better off waiting here than calling again.
                Err(ApiError::Unavailable(error)) => {
                    tracing::debug!(%error, "a watched payment cannot be read");
                    if UNREAD.begins() {
                        tracing::warn!(%error, "watched payments cannot be read for now");
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// A row is also touched by what its caller does not see.
    fn is_news(&self, payment: &Payment) -> bool {
        self.told.as_ref().is_none_or(|told| Payment { updated_at: told.updated_at, ..payment.clone() } != *told)
    }
}

/// Whether a payment has come to its end.
fn is_final(payment: &Payment) -> bool {
    match payment.status() {
        PaymentStatus::Succeeded
        | PaymentStatus::Declined
        | PaymentStatus::Failed
        | PaymentStatus::Abandoned
        | PaymentStatus::Duplicate
        | PaymentStatus::Refunded
        | PaymentStatus::TrialRefused => true,
        PaymentStatus::Unspecified
        | PaymentStatus::Created
        | PaymentStatus::Sending
        | PaymentStatus::AwaitingThreeDs
        | PaymentStatus::Processing => false,
    }
}

/// The payment as the database has it, for a caller that may see it.
pub(crate) async fn read(services: &Services, id: PaymentId, caller: &Caller) -> Result<Payment, ApiError> {
    let mut conn = services.db.conn().await?;
    let payment = store::payments::get(&mut conn, id).await?.filter(|payment| caller.sees(payment.account_id));
    payment.map(convert::payment).ok_or_else(|| ApiError::not_found(Resource::Payment, &id))
}

/// Tells when something may have happened to a payment.
struct Wake {
    hints: SelectAll<BoxStream<'static, Hint>>,
    unsubscribed: usize,
}

enum Hint {
    /// From now on every change is told: look at what was before.
    Subscribed,
    Changed,
}

impl Wake {
    /// Whatever may be done with a payment is done by one of these tasks. A renewal's task has the id of the charge.
    fn on(backend: &Arc<dyn ResultBackend>, id: PaymentId) -> Self {
        let tasks = [ChargePayment::task_id(id), CompleteThreeDs::task_id(id), ResolvePayment::task_id(id)];
        let unsubscribed = tasks.len();
        let hints = stream::select_all(tasks.map(|task_id| hints(Arc::clone(backend), task_id).boxed()));
        Self { hints, unsubscribed }
    }

    /// Completes once all subscriptions are confirmed.
    async fn subscribed(&mut self) {
        while self.unsubscribed > 0 {
            self.hint().await;
        }
    }

    /// Completes when it is time to look. Hints that come together are one.
    async fn woken(&mut self) {
        self.hint().await;
        while self.hint().now_or_never().is_some() {}
    }

    async fn hint(&mut self) {
        if let Some(Hint::Subscribed) = self.hints.next().await {
            self.unsubscribed = self.unsubscribed.saturating_sub(1);
        }
    }
}

/// The hints of one task, without an end.
fn hints(backend: Arc<dyn ResultBackend>, task_id: String) -> impl Stream<Item = Hint> + Send {
    stream::unfold((None, backend, task_id), |(subscription, backend, task_id)| async move {
        let mut subscription: Option<ResultSubscription> = subscription;
        if let Some(changes) = &mut subscription
            && changes.recv().await.is_some()
        {
            return Some((Hint::Changed, (subscription, backend, task_id)));
        }
        let subscription = subscribe(&*backend, &task_id).await;
        Some((Hint::Subscribed, (Some(subscription), backend, task_id)))
    })
}

async fn subscribe(backend: &dyn ResultBackend, task_id: &str) -> ResultSubscription {
    loop {
        match backend.subscribe(task_id).await {
            Ok(subscription) => return subscription,
            Err(error) => {
                if UNSUBSCRIBED.begins() {
                    tracing::warn!(%error, "cannot subscribe to results: payments are looked at less often");
                }
                tokio::time::sleep(RESUBSCRIBE_AFTER).await;
            }
        }
    }
}

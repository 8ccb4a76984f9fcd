//! Settles what follows from the end of tasks: results first, then what is sent again, then events, then the messages.
//!
//! Everything that is ready is settled together, so that under load many tasks share one round trip to the result
//! backend, and nothing waits when there is little to do.

use std::sync::Arc;

use chrono::{DateTime, FixedOffset};
use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::awaited::Backoff;
use super::channel::Channel;
use super::conclusion::{Conclusion, Report, Verdict};
use super::live::stored;
use super::shared::Shared;
use crate::backend::{BackendError, StoredResult};
use crate::broker::{BrokerError, DeliveryTag, Publication};
use crate::context::Request;
use crate::protocol::event::EventBody;
use crate::protocol::{Json, Revocation, repr};
use crate::task::Failure;

/// How many are settled together at most.
const BATCH: usize = 512;

/// What is to be done for one task.
#[derive(Debug)]
pub(crate) struct Settlement {
    store: Option<StoredResult>,
    resend: Option<Box<Resend>>,
    events: Vec<EventBody<'static>>,
    message: Option<(DeliveryTag, Verdict)>,
    /// Dropped once all of this is done.
    done: Option<DropGuard>,
}

/// A message to publish before the one that it comes from is settled.
#[derive(Debug)]
struct Resend {
    publication: Publication,
    eta: Option<DateTime<FixedOffset>>,
    /// It goes to the parking queue, and never to the queue that it comes from.
    parks: bool,
}

impl Settlement {
    /// A state to store on the way; the message stays as it is.
    pub(super) fn state(store: StoredResult, done: DropGuard) -> Self {
        Self { store: Some(store), resend: None, events: Vec::new(), message: None, done: Some(done) }
    }

    /// A message that is no task that could be run.
    pub(super) fn refuse(tag: DeliveryTag) -> Self {
        let message = Some((tag, Verdict::Reject { requeue: false }));
        Self { store: None, resend: None, events: Vec::new(), message, done: None }
    }

    /// Likewise, but it goes to the parking queue.
    pub(super) fn park(tag: DeliveryTag, publication: Publication) -> Self {
        let resend = Some(Box::new(Resend { publication, eta: None, parks: true }));
        Self { store: None, resend, events: Vec::new(), message: Some((tag, Verdict::Acknowledge)), done: None }
    }

    pub(super) fn of(conclusion: Conclusion, request: &Request, tag: DeliveryTag, is_announced: bool) -> Self {
        let Conclusion { meta, retry, parked, verdict, report } = conclusion;
        let retry = retry.map(|message| {
            let eta = message.eta;
            let publication = Publication {
                exchange: request.delivery_info.exchange.clone(),
                routing_key: request.delivery_info.routing_key.clone(),
                mandatory: true,
                message: message.into_message(),
            };
            Box::new(Resend { publication, eta, parks: false })
        });
        let parked = parked.map(|parked| Box::new(Resend { publication: *parked, eta: None, parks: true }));
        let events = if is_announced { events(report, verdict, &request.id) } else { Vec::new() };
        Self {
            store: meta.as_ref().map(stored),
            resend: retry.or(parked),
            events,
            message: Some((tag, verdict)),
            done: None,
        }
    }
}

/// What is announced about the end of a task.
fn events(report: Report, verdict: Verdict, id: &str) -> Vec<EventBody<'static>> {
    let uuid = || id.to_owned().into();
    let trace = |failure: &Failure| failure.traceback.clone().unwrap_or_default().into();
    let is_rejected_silently = matches!(report, Report::Unknown(_) | Report::Cancelled);
    let mut events = Vec::with_capacity(1);
    match report {
        Report::Succeeded { result, runtime } => events.push(EventBody::TaskSucceeded {
            uuid: uuid(),
            result: repr::value(&result).into(),
            runtime: runtime.as_secs_f64(),
        }),
        Report::Failed(failure) => events.push(EventBody::TaskFailed {
            uuid: uuid(),
            exception: repr_of(&failure).into(),
            traceback: Some(trace(&failure)),
        }),
        Report::Unknown(failure) => {
            events.push(EventBody::TaskFailed { uuid: uuid(), exception: repr_of(&failure).into(), traceback: None });
        }
        Report::Retried(cause) => events.push(EventBody::TaskRetried {
            uuid: uuid(),
            exception: repr_of(&cause).into(),
            traceback: Some(trace(&cause)),
        }),
        Report::Revoked { why, signal } => events.push(EventBody::TaskRevoked {
            uuid: uuid(),
            terminated: why == Revocation::Terminated,
            signum: signal.map_or(Json::Null, |signal| Json::Int(signal.into())),
            expired: why == Revocation::Expired,
        }),
        Report::Cancelled => events.push(EventBody::TaskCancelled { uuid: uuid() }),
        Report::Nothing => {}
    }
    if let Verdict::Reject { requeue } = verdict
        && !is_rejected_silently
    {
        events.push(EventBody::TaskRejected { uuid: uuid(), requeue });
    }
    events
}

/// A failure as Python shows the exception: `ValueError('boom')`. Celery's `Reject` has a way of its own.
fn repr_of(failure: &Failure) -> String {
    if let ("Reject", [reason, requeue]) = (failure.exc_type.as_str(), failure.exc_message.as_slice()) {
        let (reason, requeue) = (reason.as_str().unwrap_or_default(), requeue.as_bool() == Some(true));
        return format!("reject requeue={}: {reason}", if requeue { "True" } else { "False" });
    }
    repr::call(&failure.exc_type, &failure.exc_message)
}

/// Settles until `done`, and then what is left. The queue of settlements is bounded by the prefetch count.
pub(super) async fn settle_until(
    done: CancellationToken,
    shared: Arc<Shared>,
    channel: Arc<Channel>,
    mut settlements: mpsc::UnboundedReceiver<Settlement>,
) {
    let _gone = channel.settles.once_dropped();
    let mut batch = Vec::with_capacity(BATCH);
    let mut is_last = false;
    loop {
        tokio::select! {
            taken = settlements.recv_many(&mut batch, BATCH) => match taken {
                0 => return,
                _ if is_settled(&shared, &channel, &mut batch).await => {}
                // What is not acknowledged is delivered again, to another worker.
                _ => return,
            },
            () = done.cancelled(), if !is_last => {
                settlements.close();
                is_last = true;
            }
        }
    }
}

/// False: patience ended before it was.
async fn is_settled(shared: &Shared, channel: &Channel, batch: &mut Vec<Settlement>) -> bool {
    let settling = channel.settles.during(settle(shared, channel, batch));
    shared.give_up.run_until_cancelled(settling).await.is_some()
}

async fn settle(shared: &Shared, channel: &Channel, batch: &mut Vec<Settlement>) {
    let results: Vec<_> = batch.iter_mut().filter_map(|settlement| settlement.store.take()).collect();
    store(shared, &results).await;
    batch.iter_mut().for_each(|settlement| drop(settlement.done.take()));
    publish(shared, channel, batch).await;
    shared.events.announce_all(batch.iter_mut().flat_map(|settlement| settlement.events.drain(..)));
    channel.with_tracker(|tracker| {
        for (tag, verdict) in batch.drain(..).filter_map(|settlement| settlement.message) {
            match verdict {
                Verdict::Acknowledge => tracker.finished(tag),
                Verdict::Reject { requeue } => tracker.rejected(tag, requeue),
                Verdict::None => {}
            }
        }
    });
}

/// Stores results, however long the backend cannot be reached: their messages stay unacknowledged meanwhile.
pub(super) async fn store(shared: &Shared, results: &[StoredResult]) {
    if results.is_empty() {
        return;
    }
    let backend = shared.app.backend();
    let mut backoff = Backoff::new(&shared.vitals.backend);
    loop {
        match backend.store(results).await {
            Ok(()) => return backoff.over(),
            Err(BackendError::Refused { .. }) if results.len() > 1 => {
                // One of them is to blame; the others must not suffer for it.
                for result in results {
                    Box::pin(store(shared, std::slice::from_ref(result))).await;
                }
                return;
            }
            Err(error @ BackendError::Refused { .. }) => {
                tracing::error!(task_id = results[0].task_id, %error, "result given up");
                return;
            }
            Err(error) => {
                // What is known of these tasks so far is not to wait too.
                shared.events.flush();
                backoff.wait(&error).await;
            }
        }
    }
}

/// Publishes retries and what is parked, however long the broker cannot be reached.
async fn publish(shared: &Shared, channel: &Channel, batch: &mut [Settlement]) {
    let mut open = Vec::new();
    for (index, settlement) in batch.iter_mut().enumerate() {
        if let Some(mut resend) = settlement.resend.take() {
            shared.app.postpone(&channel.queue, &mut resend.publication, resend.eta).await;
            open.push((index, resend));
        }
    }
    let broker = shared.app.broker();
    let mut backoff = Backoff::new(&shared.vitals.broker);
    while !open.is_empty() {
        let publications = open.iter().map(|(_, resend)| resend.publication.clone()).collect();
        let confirmations = broker.publish_batch(publications).await;
        let mut failed = Vec::new();
        let mut problem = None;
        for ((index, mut resend), confirmation) in open.into_iter().zip(confirmations) {
            let Err(error) = confirmation else { continue };
            match not_sent(shared, channel, &mut resend, error).await {
                Next::Again => {}
                Next::Wait(error) => problem = Some(error),
                Next::Keep => {
                    batch[index].message = None;
                    continue;
                }
            }
            failed.push((index, resend));
        }
        open = failed;
        match problem {
            Some(error) => backoff.wait(&error).await,
            None => backoff.over(),
        }
    }
}

/// What becomes of a message that was not published.
enum Next {
    /// Another way may lead there.
    Again,
    Wait(BrokerError),
    /// It can never be: the message that it comes from stays unacknowledged. It comes again with the next connection.
    Keep,
}

async fn not_sent(shared: &Shared, channel: &Channel, resend: &mut Resend, error: BrokerError) -> Next {
    let queue = &channel.queue;
    let error = match error {
        BrokerError::Unroutable { .. } if resend.parks => {
            tracing::warn!(queue, "somebody has deleted the parking queue; declaring it again");
            match shared.app.broker().declare(&shared.app.queue(queue).parking()).await {
                Ok(()) => return Next::Again,
                Err(error) => error,
            }
        }
        // The way it came is gone, but its queue is there: it is being consumed.
        BrokerError::Unroutable { .. }
            if !resend.publication.exchange.is_empty() || resend.publication.routing_key != *queue =>
        {
            resend.publication.exchange = String::new();
            resend.publication.routing_key.clone_from(queue);
            return Next::Again;
        }
        error => error,
    };
    if resend.parks && matches!(error, BrokerError::Refused { .. }) {
        tracing::error!(queue, %error, "a message cannot be parked; it stays unacknowledged");
        return Next::Keep;
    }
    Next::Wait(error)
}

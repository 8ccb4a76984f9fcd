//! Publishes what is sent again: retries, and what is parked. Each waits for the broker by itself.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::app::{SendError, was_delayed};
use crate::broker::{BrokerError, Publication};
use crate::context::Request;
use crate::metrics;
use crate::parking::reason_of;
use crate::protocol::{Due, TaskMessage};
use crate::worker::awaited::Backoff;
use crate::worker::channel::Channel;
use crate::worker::live::not_retried;
use crate::worker::run::Run;
use crate::worker::shared::Shared;

/// What the parking queue has refused is tried again after this; the pause doubles each time.
const PARK_AGAIN: Duration = Duration::from_secs(1);
const PARK_AGAIN_MAX: Duration = Duration::from_secs(60);

/// A message to publish before the one that it comes from is settled.
pub(super) struct Resend {
    publication: Publication,
    due: Option<Due>,
    purpose: Purpose,
}

enum Purpose {
    /// The task runs again, or fails if its retry cannot be sent.
    Retry(Option<Arc<Run>>),
    /// The message goes to the parking queue. It is kept until it is there.
    Park,
    /// Likewise, but what it tells is not worth more than a task that goes on: it is left if it cannot be parked.
    ParkOrLeave,
}

impl Resend {
    pub(super) fn retry(message: TaskMessage, request: &Request, run: Option<&Arc<Run>>) -> Self {
        let due = message.due();
        let publication = Publication {
            exchange: request.delivery_info.exchange.clone(),
            routing_key: request.delivery_info.routing_key.clone(),
            mandatory: true,
            message: message.into_message(),
        };
        Self { publication, due, purpose: Purpose::Retry(run.map(Arc::clone)) }
    }

    pub(super) fn park(publication: Publication) -> Self {
        Self { publication, due: None, purpose: Purpose::Park }
    }

    pub(super) fn park_or_leave(publication: Publication) -> Self {
        Self { publication, due: None, purpose: Purpose::ParkOrLeave }
    }
}

/// How it went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sent {
    Done,
    /// It cannot be: another settlement of the same message takes its place.
    Replaced,
    /// Its message stays unacknowledged, and comes again with the next connection.
    Kept,
}

/// Publishes it, however long the broker cannot be reached.
pub(super) async fn resend(
    shared: Arc<Shared>,
    channel: Arc<Channel>,
    resend: Resend,
    done: CancellationToken,
) -> Sent {
    let Resend { mut publication, due, purpose } = resend;
    match purpose {
        Purpose::Retry(run) => {
            let Err(error) = send_retry(&shared, &channel, &mut publication, due).await else { return Sent::Done };
            if let Some(run) = run {
                shared.runs.spawn(not_retried(run, error, publication));
            }
            Sent::Replaced
        }
        Purpose::ParkOrLeave => {
            if let Err(error) = park(&shared, &channel, &publication).await {
                tracing::error!(queue = channel.queue, %error, "a retry that the broker refuses cannot be parked either");
            }
            Sent::Done
        }
        Purpose::Park => {
            let mut pause = PARK_AGAIN;
            let mut held = None;
            while let Err(error) = park(&shared, &channel, &publication).await {
                tracing::error!(queue = channel.queue, %error, again_in = ?pause, "a message cannot be parked; it stays unacknowledged");
                // It must not take the place of those that can be settled.
                held.get_or_insert_with(|| channel.hold());
                if done.run_until_cancelled(tokio::time::sleep(pause)).await.is_none() {
                    return Sent::Kept;
                }
                pause = (pause * 2).min(PARK_AGAIN_MAX);
            }
            Sent::Done
        }
    }
}

/// Sends a retry the way that its task came, or else to the queue that it came from.
///
/// # Errors
/// The broker does not take it.
async fn send_retry(
    shared: &Shared,
    channel: &Channel,
    publication: &mut Publication,
    due: Option<Due>,
) -> Result<(), SendError> {
    let queue = &channel.queue;
    shared.app.check_size(&publication.message)?;
    let way = (publication.exchange.clone(), publication.routing_key.clone());
    shared.app.postpone(queue, publication, due).await;
    let mut declared = false;
    loop {
        match publish(shared, publication).await {
            // The broker would not keep it until its time: its worker does.
            Err(BrokerError::Refused { .. }) if was_delayed(&publication.exchange) => {
                (publication.exchange, publication.routing_key) = way.clone();
            }
            // The way it came is gone, but its queue is there: it is being consumed.
            Err(BrokerError::Unroutable { .. })
                if !publication.exchange.is_empty() || publication.routing_key != *queue =>
            {
                publication.exchange = String::new();
                publication.routing_key.clone_from(queue);
            }
            Err(BrokerError::Unroutable { .. }) if !declared => {
                tracing::warn!(queue, "somebody has deleted the queue; declaring it again");
                declared = true;
                shared.app.broker().declare(&shared.app.queue(queue).topology()).await?;
            }
            sent => return Ok(sent?),
        }
    }
}

/// # Errors
/// The broker does not take it.
async fn park(shared: &Shared, channel: &Channel, publication: &Publication) -> Result<(), BrokerError> {
    match publish(shared, publication).await {
        Err(BrokerError::Unroutable { .. }) => {
            let queue = &channel.queue;
            tracing::warn!(queue, "somebody has deleted the parking queue; declaring it again");
            shared.app.broker().declare(&shared.app.queue(queue).parking()).await?;
            publish(shared, publication).await?;
        }
        sent => sent?,
    }
    metrics::parked(&channel.queue, reason_of(&publication.message));
    Ok(())
}

/// Publishes, however long the broker cannot be reached.
///
/// # Errors
/// The broker was reached and does not take it.
async fn publish(shared: &Shared, publication: &Publication) -> Result<(), BrokerError> {
    let mut backoff = Backoff::new(&shared.vitals.broker);
    loop {
        match shared.app.broker().publish(publication.clone()).await {
            Err(error @ (BrokerError::Timeout { .. } | BrokerError::Closed { .. })) => backoff.wait(&error).await,
            Err(error) => return Err(error),
            Ok(()) => {
                backoff.over();
                return Ok(());
            }
        }
    }
}

//! Takes messages from one queue and lets their tasks live.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use super::admission::{Admission, admit, tell_dropped};
use super::attempts;
use super::channel::Channel;
use super::conclusion::{Case, Conclusion, Outcome, Verdict};
use super::follows::follows;
use super::live::{Place, live, stored};
use super::parking::{Original, parked};
use super::qos::Qos;
use super::renewal;
use super::run::Run;
use super::settle::Settlement;
use super::shared::Shared;
use super::workflow::Ending;
use crate::app::{arrived, was_delayed};
use crate::backend::StoredResult;
use crate::broker::{Deliveries, Delivery, DeliveryTag};
use crate::context::{DeliveryInfo, Request};
use crate::parking::Reason;
use crate::protocol::event::{EventBody, TaskReceived};
use crate::protocol::{DecodeError, DecodeErrorKind, Message, ResultMeta, TaskMessage, format_time};
use crate::task::Failure;

/// How many messages are taken at once.
const BATCH: usize = 128;
/// How long the broker may take to stop delivering.
const CANCEL_TIMEOUT: Duration = Duration::from_secs(5);

pub(super) struct Consumer {
    pub(super) shared: Arc<Shared>,
    pub(super) channel: Arc<Channel>,
    pub(super) deliveries: Deliveries,
    pub(super) qos: Qos,
    /// Ends this consumer alone.
    pub(super) cancel: CancellationToken,
}

/// Why a consumer stopped taking messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// The worker stops, or takes no more tasks from this queue.
    Stopped,
    /// The broker ended it, for instance because the queue was deleted.
    ByBroker,
}

impl Consumer {
    /// Takes messages until the worker stops. What came and has not begun is given back.
    pub(super) async fn consume(&mut self) -> Ended {
        let mut batch = Vec::with_capacity(BATCH);
        loop {
            tokio::select! {
                biased;
                () = self.cancel.cancelled() => break,
                taken = self.deliveries.recv_many(&mut batch, BATCH) => {
                    if taken == 0 {
                        return Ended::ByBroker;
                    }
                    self.channel.delivered(batch.iter().map(|delivery| delivery.tag));
                    if batch.iter().any(renewal::is_due) {
                        Box::pin(renewal::renew(&self.shared, &self.channel, &mut batch)).await;
                    }
                    let (now, at) = (crate::clock::now(), Instant::now());
                    batch.drain(..).for_each(|delivery| self.receive(delivery, now, at));
                }
                () = self.channel.room_changed.notified() => {}
            }
            self.adjust_prefetch().await;
        }
        self.give_back().await;
        Ended::Stopped
    }

    fn receive(&self, delivery: Delivery, now: DateTime<Utc>, at: Instant) {
        let Delivery { mut message, mut exchange, mut routing_key, redelivered, tag } = delivery;
        if was_delayed(&exchange) {
            let queue = self.shared.app.queue(&self.channel.queue);
            (exchange, routing_key) = arrived(&queue, &routing_key, &mut message.headers);
        }
        let redelivered = redelivered || renewal::was_renewed(&message.headers);
        let priority = message.properties.priority.unwrap_or(0);
        let original = redelivered.then(|| self.original(&message)).flatten();
        let mut message = match TaskMessage::decode_within(message, self.shared.app.max_body()) {
            Ok(message) => message,
            Err(error) => return self.refuse(&error, tag, original, (&exchange, &routing_key)),
        };
        let task = self.shared.registry.get(&message.task);
        if let Some(task) = task {
            message.redact(task.fields, task.redacted);
        }
        let request = Request {
            message,
            delivery_info: DeliveryInfo { exchange, routing_key, redelivered, priority },
            hostname: Arc::clone(&self.shared.hostname),
        };
        if redelivered && self.is_known(&request, tag) {
            return;
        }
        let is_announced = self.shared.events.announces_tasks();
        let Some(task) = task else {
            return self.refuse_unknown(request, tag, original, now, is_announced);
        };
        let admission = admit(&request, self.shared.state.is_revoked(&request, at), now);
        if let Admission::Drop(why) = admission {
            tell_dropped(&request, why, now);
            let case = Case { options: Some(&task.options), ..self.case(&request, now) };
            let conclusion = case.conclude(Outcome::Revoked(why));
            self.settle(conclusion, request, tag, is_announced);
            return;
        }
        if is_announced {
            self.shared.events.announce(received(&request));
        }
        let (channel, shared) = (Arc::clone(&self.channel), Arc::clone(&self.shared));
        let run = Run::new(request, Arc::clone(task), tag, channel, shared, (at, is_announced), original);
        let place = Place::take(&run, admission);
        let life = live(Arc::new(run), place);
        if is_announced {
            let shared = Arc::clone(&self.shared);
            self.shared.runs.spawn(async move { shared.events.flush_whenever_it_waits(life).await });
        } else {
            self.shared.runs.spawn(life);
        }
    }

    /// Whether a message that has come again is that of a task which runs here, or has ended here, so that its former
    /// delivery could not be settled: then this one is.
    fn is_known(&self, request: &Request, tag: DeliveryTag) -> bool {
        if let Some(run) = self.shared.state.find_begun(&request.id)
            && Arc::ptr_eq(&run.channel, &self.channel)
            && run.request.retries == request.retries
            // Otherwise it is a second message.
            && run.tag().generation != tag.generation
            && run.take_over(tag)
        {
            tracing::info!(task = request.task, id = request.id, "the message of a task that runs here came again");
            if !run.task.options.acks_late {
                self.channel.acknowledge(tag);
            }
            return true;
        }
        let Some(verdict) = self.channel.void_end(&request.message) else { return false };
        tracing::info!(task = request.task, id = request.id, "the message of a task that has ended here came again");
        match verdict {
            Verdict::Acknowledge => self.channel.acknowledge(tag),
            Verdict::Reject { requeue } => self.channel.reject(tag, requeue),
            Verdict::None => {}
        }
        if self.channel.delivery_limit.is_some() {
            let (app, id) = (self.shared.app.clone(), request.id.clone());
            self.shared.runs.spawn(async move { attempts::forget(&app, &id).await });
        }
        true
    }

    /// A copy of a message that may have to be parked.
    fn original(&self, message: &Message) -> Option<Original> {
        self.shared.settings.parks().then(|| Box::new(message.clone()))
    }

    /// Gets rid of a message that cannot be read.
    fn refuse(&self, error: &DecodeError, tag: DeliveryTag, original: Option<Original>, way: (&str, &str)) {
        let queue = &self.channel.queue;
        if !self.shared.settings.parking {
            tracing::error!(queue, %error, "message rejected");
            return self.channel.settle(Settlement::refuse(tag, too_large(error)));
        }
        let Some(original) = original else { return self.channel.reject(tag, true) };
        tracing::error!(queue, %error, "message parked");
        let why = (&Reason::Undecodable, &*error.to_string());
        let parked = parked(&self.shared, &self.channel, *original, way, why);
        self.channel.settle(Settlement::park(tag, *parked, too_large(error)));
    }

    /// Gets rid of a task that is not known here.
    fn refuse_unknown(
        &self,
        request: Request,
        tag: DeliveryTag,
        original: Option<Original>,
        now: DateTime<Utc>,
        is_announced: bool,
    ) {
        let conclude = || self.case(&request, now).conclude(Outcome::Unknown);
        let conclusion = if self.shared.settings.parking {
            let Some(original) = original else { return self.channel.reject(tag, true) };
            tracing::error!(task = request.task, id = request.id, "task of unknown name parked");
            let DeliveryInfo { exchange, routing_key, .. } = &request.delivery_info;
            let error = format!("task {} is not registered", request.task);
            let why = (&Reason::UnknownTask, error.as_str());
            conclude().park(parked(&self.shared, &self.channel, *original, (exchange, routing_key), why))
        } else {
            tracing::error!(task = request.task, id = request.id, "task of unknown name rejected");
            conclude()
        };
        self.settle(conclusion, request, tag, is_announced);
    }

    /// Settles a task that was never begun.
    fn settle(&self, conclusion: Conclusion, request: Request, tag: DeliveryTag, is_announced: bool) {
        if request.embed.is_empty() {
            self.channel.settle(Settlement::of(conclusion, &request, None, tag, is_announced));
            return;
        }
        let (shared, channel) = (Arc::clone(&self.shared), Arc::clone(&self.channel));
        self.shared.runs.spawn(async move {
            Ending::new(&shared, &channel, &request, None, tag, is_announced).settle(conclusion).await;
        });
    }

    fn case<'a>(&self, request: &'a Request, now: DateTime<Utc>) -> Case<'a> {
        Case {
            request,
            options: None,
            children: Vec::new(),
            is_acknowledged: false,
            signal: None,
            extended: self.shared.settings.result_extended,
            now,
            random: 0.0,
        }
    }

    /// Makes room for messages that wait for their ETA, and for a pool that has grown.
    async fn adjust_prefetch(&mut self) {
        let room = self.shared.pool_of(&self.channel.queue).prefetch();
        let Some(count) = self.qos.adjust(room, self.channel.held()) else { return };
        self.channel.set_prefetch(count);
        if let Err(error) = self.channel.asks.during(self.channel.control.set_prefetch(count)).await {
            tracing::warn!(queue = self.channel.queue, %error, "prefetch not changed");
        }
    }

    /// Stops the deliveries and gives back those that nobody has looked at.
    async fn give_back(&mut self) {
        if let Err(error) = self.channel.control.cancel().await {
            tracing::debug!(queue = self.channel.queue, %error, "consumer not cancelled");
        }
        while let Ok(Some(delivery)) = timeout(CANCEL_TIMEOUT, self.deliveries.recv()).await {
            self.channel.delivered(std::iter::once(delivery.tag));
            self.channel.reject(delivery.tag, true);
        }
    }
}

/// Celery stores nothing about what it cannot read. What is too large for us it could, so its sender is told.
fn too_large(error: &DecodeError) -> Option<StoredResult> {
    let (DecodeErrorKind::TooLarge { .. }, Some(id)) = (&error.kind, &error.id) else { return None };
    Some(stored(&ResultMeta::failure(id.clone(), &Failure::from_error(error), crate::clock::now())))
}

fn received(request: &Request) -> EventBody<'_> {
    EventBody::TaskReceived(Box::new(TaskReceived {
        uuid: request.id.as_str().into(),
        name: request.name().into(),
        args: request.argsrepr.as_deref().unwrap_or_default().into(),
        kwargs: request.kwargsrepr.as_deref().unwrap_or_default().into(),
        root_id: request.root_id.as_deref().map(Into::into),
        parent_id: request.parent_id.as_deref().map(Into::into),
        retries: request.retries,
        eta: request.eta.as_ref().map(|eta| format_time(eta).into()),
        expires: request.expires.as_ref().map(|expires| format_time(expires).into()),
        follows: if request.embed.is_empty() { Vec::new() } else { follows(&request.embed) },
    }))
}

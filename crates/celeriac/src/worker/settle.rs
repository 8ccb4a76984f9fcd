//! Settles what follows from the end of tasks: results first, then what is sent again, then events, then the messages.
//!
//! Everything that is ready is settled together, so that under load many tasks share one round trip to the result
//! backend, and nothing waits when there is little to do. What has to wait, because a server does not take it, waits
//! apart: whatever needs nothing of that server, and whatever it takes, is settled meanwhile.

mod announced;
mod resend;
pub(super) mod storing;

use std::future::pending;
use std::sync::Arc;

use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, DropGuard};

use self::announced::{events, failed_after_all};
use self::resend::{Resend, Sent, resend};
use super::channel::Channel;
use super::conclusion::{Conclusion, Verdict};
use super::live::stored;
use super::run::Run;
use super::shared::Shared;
use crate::backend::StoredResult;
use crate::broker::{DeliveryTag, Publication};
use crate::context::Request;
use crate::protocol::event::EventBody;

/// How many are settled together at most.
const BATCH: usize = 512;

/// What is to be done for one task.
pub(crate) struct Settlement {
    store: Option<StoredResult>,
    resend: Option<Box<Resend>>,
    events: Vec<EventBody<'static>>,
    message: Option<(DeliveryTag, Verdict)>,
    /// The task whose message it is, if it was begun.
    run: Option<Arc<Run>>,
    /// Dropped once all of this is done.
    done: Option<DropGuard>,
}

impl Settlement {
    /// A state to store on the way; the message stays as it is.
    pub(super) fn state(store: StoredResult, done: DropGuard) -> Self {
        Self { store: Some(store), resend: None, events: Vec::new(), message: None, run: None, done: Some(done) }
    }

    /// A message that is no task that could be run. Who waits for its result is told, if its id could be read.
    pub(super) fn refuse(tag: DeliveryTag, store: Option<StoredResult>) -> Self {
        let message = Some((tag, Verdict::Reject { requeue: false }));
        Self { store, resend: None, events: Vec::new(), message, run: None, done: None }
    }

    /// Likewise, but it goes to the parking queue.
    pub(super) fn park(tag: DeliveryTag, publication: Publication, store: Option<StoredResult>) -> Self {
        let resend = Some(Box::new(Resend::park(publication)));
        let message = Some((tag, Verdict::Acknowledge));
        Self { store, resend, events: Vec::new(), message, run: None, done: None }
    }

    /// `run` is the task itself, if it was begun.
    pub(super) fn of(
        conclusion: Conclusion,
        request: &Request,
        run: Option<&Arc<Run>>,
        tag: DeliveryTag,
        is_announced: bool,
    ) -> Self {
        let Conclusion { meta, retry, parked, verdict, report } = conclusion;
        let retry = retry.map(|message| Box::new(Resend::retry(message, request, run)));
        let parked = parked.map(|parked| {
            // The retry is lost, and known to be: its message is not kept for it.
            let is_retry = matches!(run, Some(run) if run.begun().is_some());
            Box::new(if is_retry { Resend::park_or_leave(*parked) } else { Resend::park(*parked) })
        });
        let events = if is_announced { events(report, verdict, &request.id) } else { Vec::new() };
        Self {
            store: meta.as_ref().map(stored),
            resend: retry.or(parked),
            events,
            message: Some((tag, verdict)),
            run: run.map(Arc::clone),
            done: None,
        }
    }
}

/// Settles until `done`, and then what is left, unless patience ends before: what is not acknowledged then is delivered
/// again, to another worker. The queue of settlements is bounded by the prefetch count.
pub(super) async fn settle_until(
    done: CancellationToken,
    shared: Arc<Shared>,
    channel: Arc<Channel>,
    mut settlements: mpsc::UnboundedReceiver<Settlement>,
) {
    let _gone = channel.settles.once_dropped();
    let mut settler = Settler::new(&shared, &channel, &done);
    let settled = async {
        let mut batch = Vec::with_capacity(BATCH);
        let (mut is_open, mut is_last) = (true, false);
        while is_open || settler.is_busy() {
            tokio::select! {
                taken = settlements.recv_many(&mut batch, BATCH), if is_open => {
                    is_open = taken > 0;
                    settler.take(&mut batch);
                }
                () = settler.progress(), if settler.is_busy() => {}
                () = done.cancelled(), if !is_last => {
                    settlements.close();
                    is_last = true;
                }
            }
        }
    };
    shared.give_up.run_until_cancelled(settled).await;
}

/// What is being settled at this moment.
struct Settler {
    shared: Arc<Shared>,
    channel: Arc<Channel>,
    done: CancellationToken,
    /// Their results go with the next call of the backend.
    unstored: Vec<Settlement>,
    /// The call that is under way.
    storing: Option<BoxFuture<'static, Stored>>,
    /// What a server has not taken, or is to be published: each for itself.
    apart: FuturesUnordered<BoxFuture<'static, Apart>>,
}

/// What has become of a call.
struct Stored {
    settlements: Vec<Settlement>,
    /// Whose results the backend refuses.
    refused: Vec<Settlement>,
}

enum Apart {
    /// Its result is stored, or known not to be.
    Stored(Box<Settlement>),
    Sent(Box<Settlement>, Sent),
}

impl Settler {
    fn new(shared: &Arc<Shared>, channel: &Arc<Channel>, done: &CancellationToken) -> Self {
        Self {
            shared: Arc::clone(shared),
            channel: Arc::clone(channel),
            done: done.clone(),
            unstored: Vec::new(),
            storing: None,
            apart: FuturesUnordered::new(),
        }
    }

    fn is_busy(&self) -> bool {
        self.storing.is_some() || !self.apart.is_empty()
    }

    fn take(&mut self, batch: &mut Vec<Settlement>) {
        if batch.iter().all(|settlement| settlement.store.is_some()) {
            self.unstored.append(batch);
        } else {
            let (unstored, rest): (Vec<_>, Vec<_>) = batch.drain(..).partition(|settlement| settlement.store.is_some());
            self.unstored.extend(unstored);
            self.go_on(rest);
        }
        self.store_next();
    }

    /// Waits until something has been done that was under way. Nothing is lost when this future is dropped.
    async fn progress(&mut self) {
        let storing = async {
            match &mut self.storing {
                Some(storing) => storing.await,
                None => pending().await,
            }
        };
        tokio::select! {
            stored = storing => {
                self.storing = None;
                for settlement in stored.refused {
                    let alone = storing::alone(Arc::clone(&self.shared), settlement);
                    self.apart.push(Box::pin(async move { Apart::Stored(Box::new(alone.await)) }));
                }
                // The next call is on its way while this one's messages are settled.
                self.store_next();
                self.go_on(stored.settlements);
            }
            Some(apart) = self.apart.next() => match apart {
                Apart::Stored(settlement) => self.go_on(vec![*settlement]),
                Apart::Sent(settlement, Sent::Done) => self.finish(vec![*settlement]),
                // Its message waits for something else now, or comes again.
                Apart::Sent(_, Sent::Replaced | Sent::Kept) => {}
            }
        }
    }

    fn store_next(&mut self) {
        if self.storing.is_some() || self.unstored.is_empty() {
            return;
        }
        let count = self.unstored.len().min(BATCH);
        let batch = self.unstored.drain(..count).collect();
        let (shared, channel) = (Arc::clone(&self.shared), Arc::clone(&self.channel));
        self.storing = Some(Box::pin(async move { channel.settles.during(storing::together(&shared, batch)).await }));
    }

    /// Results are stored: what is to be sent again is next.
    fn go_on(&mut self, settlements: Vec<Settlement>) {
        if settlements.iter().all(|settlement| settlement.resend.is_none()) {
            return self.finish(settlements);
        }
        let (sends, finished): (Vec<_>, Vec<_>) =
            settlements.into_iter().partition(|settlement| settlement.resend.is_some());
        for mut settlement in sends {
            let Some(again) = settlement.resend.take() else { continue };
            let sent = resend(Arc::clone(&self.shared), Arc::clone(&self.channel), *again, self.done.clone());
            self.apart.push(Box::pin(async move { Apart::Sent(Box::new(settlement), sent.await) }));
        }
        self.finish(finished);
    }

    /// Nothing is left but to announce it and to settle the message.
    fn finish(&self, mut settlements: Vec<Settlement>) {
        if settlements.is_empty() {
            return;
        }
        self.shared.events.announce_all(settlements.iter_mut().flat_map(|settlement| settlement.events.drain(..)));
        let mut known: Option<(u64, bool)> = None;
        // Asked once for all that came on one channel.
        let mut is_current = |generation: u64| match known {
            Some((of, is_current)) if of == generation => is_current,
            _ => known.insert((generation, self.channel.is_current(generation))).1,
        };
        self.channel.with_tracker(|tracker| {
            for settlement in settlements.drain(..) {
                let Some((tag, verdict)) = settlement.message else { continue };
                let tag = settlement.run.as_ref().map_or(tag, |run| {
                    let tag = run.close(|tag| {
                        if !is_current(tag.generation) {
                            self.channel.ended_in_void(&run.request, verdict);
                        }
                    });
                    run.leave();
                    tag
                });
                match verdict {
                    Verdict::Acknowledge => tracker.finished(tag),
                    Verdict::Reject { requeue } => tracker.rejected(tag, requeue),
                    Verdict::None => {}
                }
            }
        });
    }
}

//! Starts the parts of a worker and stops them in the right order.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use super::attempts::DeliveryLimit;
use super::autoscale;
use super::channel::Channel;
use super::consumer::{Consumer, Ended};
use super::heart;
use super::management::look_at_policy;
use super::qos::Qos;
use super::queues::Taken;
use super::settle::settle_until;
use super::shared::Shared;
use super::shutdown::Patience;
use super::vitals;
use super::warnings;
use super::{Worker, WorkerError};
use crate::broker::{BrokerError, ConsumeOptions};
use crate::control;

/// How long a broker that cannot be reached, or that ended a consumer, is left alone.
const RETRY_EVERY: Duration = Duration::from_secs(1);
/// How long a cold shutdown waits for what is dropped to be settled.
const LAST_WORDS: Duration = Duration::from_secs(2);

pub(super) async fn run(worker: Worker, shutdown: CancellationToken) -> Result<(), WorkerError> {
    let shared = Arc::clone(&worker.shared);
    let parts = Parts::new(&worker);
    let quiet = CancellationToken::new();
    // Before anything can block the runtime.
    shared.look(Instant::now());
    let shutdown_asked = worker.shutdown.asked(shutdown);
    let _leash =
        worker.watchdog.map(|watchdog| watchdog.watch(Arc::clone(&shared))).transpose().map_err(|error| {
            WorkerError::Configuration(format!("no thread for the watchdog could be started: {error}"))
        })?;

    let mut background = JoinSet::new();
    let events = Arc::clone(&shared);
    let last_event = quiet.clone();
    background.spawn(async move { events.events.publish_until(last_event).await });
    let (looks, last_look) = (Arc::clone(&shared), quiet.clone());
    background.spawn(async move { vitals::look_until(last_look, &looks).await });
    let alive = Arc::clone(&shared);
    let heart_stop = shared.stop.clone();
    background.spawn(async move { heart::announce(&alive, heart_stop).await });

    if let Some(statedb) = worker.statedb {
        background.spawn(statedb.keep(Arc::clone(&shared), quiet.clone()));
    }

    warnings::of_long_tasks(&shared);
    let mut consumers = JoinSet::new();
    let failed = tokio::select! {
        () = shutdown_asked => None,
        () = shared.quit.cancelled() => None,
        failed = work(&parts, worker.added, &mut consumers, &mut background) => Some(failed),
    };

    shared.stop.cancel();
    tracing::info!(hostname = &*shared.hostname, "worker stops; waiting for the tasks that run");
    let patience = worker.shutdown.begin(&shared.settings);
    patience.wait(async { while consumers.join_next().await.is_some() {} }).await;
    shared.runs.close();
    if !patience.wait(shared.runs.wait()).await {
        tracing::warn!(hostname = &*shared.hostname, active = shared.state.active(), "running tasks are dropped");
        shared.abandon.cancel();
        // A body that never awaits cannot be dropped; its message is delivered again nevertheless.
        let _ = timeout(LAST_WORDS, shared.runs.wait()).await;
    }
    patience.linger().await;
    parts.close(&patience).await;
    quiet.cancel();
    let _ = timeout(LAST_WORDS, async { while background.join_next().await.is_some() {} }).await;
    shared.state.clear();
    match failed {
        Some(error) => Err(error.into()),
        None => shared.fate.get().cloned().map_or(Ok(()), Err),
    }
}

/// Meets the other workers, and then works until a consumer fails that the worker cannot work without.
async fn work(
    parts: &Arc<Parts>,
    added: mpsc::UnboundedReceiver<Taken>,
    consumers: &mut JoinSet<Result<(), BrokerError>>,
    background: &mut JoinSet<()>,
) -> BrokerError {
    let (shared, stop) = (&parts.shared, &parts.shared.stop);
    if shared.settings.mingle {
        // Before the first task is taken: it may have been revoked.
        control::mingle(shared).await;
    }
    if shared.settings.gossip {
        background.spawn(control::gossip(Arc::clone(shared), stop.clone()));
    }
    if shared.settings.remote_control {
        background.spawn(control::serve(Arc::clone(shared), stop.clone()));
    }
    if shared.autoscale.is_some() {
        background.spawn(autoscale::run(Arc::clone(shared), stop.clone()));
    }
    consume_all(parts, added, consumers).await
}

/// Consumes every queue that is added, until one fails for good that the worker cannot work without.
async fn consume_all(
    parts: &Arc<Parts>,
    mut added: mpsc::UnboundedReceiver<Taken>,
    consumers: &mut JoinSet<Result<(), BrokerError>>,
) -> BrokerError {
    loop {
        tokio::select! {
            Some(queue) = added.recv() => {
                consumers.spawn(serve(Arc::clone(parts), queue));
            }
            Some(ended) = consumers.join_next() => match ended {
                Ok(Ok(())) => {}
                Ok(Err(error)) => return error,
                Err(panic) => tracing::error!(%panic, "consumer failed"),
            },
        }
    }
}

/// The parts that belong to consumers. They outlive them: what has begun is settled after the last message has come.
struct Parts {
    shared: Arc<Shared>,
    settlers: tokio::sync::Mutex<JoinSet<()>>,
    ackers: tokio::sync::Mutex<JoinSet<()>>,
    settled: CancellationToken,
    acknowledged: CancellationToken,
}

impl Parts {
    fn new(worker: &Worker) -> Arc<Self> {
        Arc::new(Self {
            shared: Arc::clone(&worker.shared),
            settlers: tokio::sync::Mutex::default(),
            ackers: tokio::sync::Mutex::default(),
            settled: CancellationToken::new(),
            acknowledged: CancellationToken::new(),
        })
    }

    /// Subscribes to a queue and starts what settles its messages.
    async fn subscribe(&self, queue: &Taken) -> Result<(Consumer, Ends), BrokerError> {
        let shared = &self.shared;
        let name = &queue.definition.name;
        shared.app.broker().declare(&queue.definition.topology()).await?;
        if shared.settings.parks() {
            shared.app.broker().declare(&queue.definition.parking()).await?;
        }
        let delivery_limit = delivery_limit(shared, queue).await;
        if queue.definition.is_quorum() {
            warnings::of_low_limit(&queue.definition);
            look_at_policy(shared, name);
        }
        shared.app.receive_delayed(&queue.definition).await;
        let qos = Qos::new(shared.pool_of(name).prefetch());
        let options = ConsumeOptions { queue: name.clone(), prefetch: qos.current(), ..ConsumeOptions::default() };
        let subscription = shared.app.broker().consume(options).await?;
        let (sender, settlements) = mpsc::unbounded_channel();
        let control = subscription.control;
        let channel = Channel::new(name.clone(), delivery_limit, control, qos.current(), sender, &shared.stop);
        let channel = Arc::new(channel);

        let ends = Ends::new(self);
        let settler = settle_until(ends.settle.clone(), Arc::clone(shared), Arc::clone(&channel), settlements);
        self.settlers.lock().await.spawn(ends.settled.clone().after(settler));
        let (acker, acknowledge) = (Arc::clone(&channel), ends.acknowledge.clone());
        let acker = async move { acker.acknowledge_until(acknowledge).await };
        self.ackers.lock().await.spawn(ends.acknowledged.clone().after(acker));
        shared.channels.lock().push(Arc::clone(&channel));
        let (shared, cancel) = (Arc::clone(shared), queue.cancel.clone());
        Ok((Consumer { shared, channel, deliveries: subscription.deliveries, qos, cancel }, ends))
    }

    /// Gives up a channel whose consumer was cancelled, once what it has delivered has ended. A worker that stops does
    /// so itself.
    async fn retire(&self, channel: &Arc<Channel>, ends: &Ends) {
        let work = async {
            while channel.unacknowledged() > 0 {
                tokio::time::sleep(RETRY_EVERY).await;
            }
            ends.settle.cancel();
            ends.settled.wait().await;
            ends.acknowledge.cancel();
            ends.acknowledged.wait().await;
            channel.control.close().await;
            self.shared.channels.lock().retain(|other| !Arc::ptr_eq(other, channel));
        };
        self.shared.stop.run_until_cancelled(work).await;
    }

    /// Settles what is left, acknowledges it, and gives everything else back.
    async fn close(&self, patience: &Patience) {
        self.settled.cancel();
        let mut settlers = self.settlers.lock().await;
        let all_settled = async { while settlers.join_next().await.is_some() {} };
        tokio::pin!(all_settled);
        if !patience.wait(all_settled.as_mut()).await && timeout(LAST_WORDS, all_settled.as_mut()).await.is_err() {
            self.shared.give_up.cancel();
            all_settled.await;
        }
        self.acknowledged.cancel();
        let mut ackers = self.ackers.lock().await;
        let _ = timeout(LAST_WORDS, async { while ackers.join_next().await.is_some() {} }).await;
        let channels = std::mem::take(&mut *self.shared.channels.lock());
        for channel in channels {
            let given_back = channel.unacknowledged();
            if given_back > 0 {
                tracing::info!(queue = channel.queue, given_back, "unfinished messages are given back");
            }
            let _ = timeout(LAST_WORDS, channel.control.close()).await;
        }
    }
}

async fn delivery_limit(shared: &Shared, queue: &Taken) -> Option<DeliveryLimit> {
    let limit = shared.settings.delivery_limit?;
    let mut counts = shared.app.backend().deliveries();
    if let Some(backend) = counts
        && let Err(error) = backend.prepare().await
    {
        tracing::warn!(%error, "the result backend cannot count how often tasks begin");
        counts = None;
    }
    let limit = DeliveryLimit::new(limit, &queue.definition, counts);
    if limit.is_idle() {
        let (queue, backend) = (&queue.definition.name, shared.app.backend().address());
        tracing::warn!(queue, backend, "no delivery limit: neither a classic queue nor this result backend counts");
    }
    if limit.is_of_broker() && shared.app.broker().address().starts_with("amqp") {
        let (queue, backend) = (&queue.definition.name, shared.app.backend().address());
        tracing::warn!(
            queue,
            backend,
            "this result backend counts no attempts that outlive a worker, so the broker's deliveries count: what runs beside a \
             task that kills its worker is parked with it"
        );
    }
    Some(limit)
}

/// How the parts of one consumer are ended, one after the other, and that they have.
struct Ends {
    settle: CancellationToken,
    settled: Done,
    acknowledge: CancellationToken,
    acknowledged: Done,
}

impl Ends {
    /// They end with all others, too.
    fn new(parts: &Parts) -> Self {
        let (settle, acknowledge) = (parts.settled.child_token(), parts.acknowledged.child_token());
        Self { settle, settled: Done::default(), acknowledge, acknowledged: Done::default() }
    }
}

/// Whether something has ended.
#[derive(Clone, Default)]
struct Done(CancellationToken);

impl Done {
    /// Does it, and says so.
    async fn after(self, work: impl Future<Output = ()>) {
        let _said = self.0.drop_guard();
        work.await;
    }

    async fn wait(&self) {
        self.0.cancelled().await;
    }
}

/// Serves one queue until the worker stops or is told to leave it, whatever happens to its consumer.
async fn serve(parts: Arc<Parts>, taken: Taken) -> Result<(), BrokerError> {
    let (stop, queue) = (&taken.cancel, &taken.definition.name);
    loop {
        match stop.run_until_cancelled(parts.subscribe(&taken)).await {
            None => return Ok(()),
            Some(Ok((mut consumer, ends))) => {
                tracing::info!(queue, "worker takes tasks");
                if consumer.consume().await == Ended::Stopped {
                    parts.retire(&consumer.channel, &ends).await;
                    return Ok(());
                }
                tracing::warn!(queue, "the broker has ended the consumer; subscribing again");
            }
            Some(Err(error @ BrokerError::Timeout { .. })) => {
                tracing::warn!(queue, %error, "broker cannot be reached; trying again");
            }
            Some(Err(error)) if taken.required => return Err(error),
            Some(Err(error)) => {
                tracing::error!(queue, %error, "no tasks are taken from a queue that was added");
                parts.shared.queues.cancel(queue);
                return Ok(());
            }
        }
        if stop.run_until_cancelled(tokio::time::sleep(RETRY_EVERY)).await.is_none() {
            return Ok(());
        }
    }
}

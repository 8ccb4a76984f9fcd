//! One delivered task, from its admission to its end.

use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use chrono::{DateTime, Utc};
use parking_lot::Mutex;
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::cancellation::Cancellation;
use super::channel::Channel;
use super::conclusion::describe;
use super::parking::Original;
use super::pool::Pool;
use super::registry::Registered;
use super::shared::Shared;
use super::workflow::parent;
use crate::app::App;
use crate::broker::DeliveryTag;
use crate::canvas::{KnownTask, Parent};
use crate::context::Request;
use crate::protocol::trace::pass_on;
use crate::protocol::{Headers, RawJson, ResultMeta, ResultTuple, TaskMessage};
use crate::trace::TraceContext;

tokio::task_local! {
    /// The task whose body is running.
    static CURRENT: Arc<Run>;
}

/// One delivered task. Everyone who has to do with it shares this.
pub(crate) struct Run {
    pub(crate) request: Request,
    pub(crate) task: Arc<Registered>,
    message: Mutex<Open>,
    pub(crate) channel: Arc<Channel>,
    pub(crate) cancellation: Cancellation,
    /// When its message arrived.
    pub(super) received: Instant,
    /// Events tell of it; decided when its message arrived.
    pub(crate) is_announced: bool,
    /// The number of its seat, if the cluster gave it one.
    pub(crate) fence: OnceLock<u64>,
    /// The message as it came, if it may have to be parked.
    pub(super) original: Option<Original>,
    shared: Arc<Shared>,
    /// Its place among the runs of the worker, until it leaves it.
    place: Mutex<Option<usize>>,
    /// Its attempts are counted.
    counted: AtomicBool,
    /// Something else takes its place.
    replaced: AtomicBool,
    phase: AtomicU8,
    begun: OnceLock<Begun>,
    /// Cancelled once STARTED is stored, if that is to be stored.
    recorded: OnceLock<CancellationToken>,
    children: Mutex<Vec<ResultTuple>>,
    /// Where its span stands, or else what its message says.
    pub(crate) trace: OnceLock<TraceContext>,
}

/// The message of a run, while it is not settled.
#[derive(Clone, Copy, Debug)]
struct Open {
    tag: DeliveryTag,
    is_settled: bool,
}

/// When the body began.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Begun {
    pub(crate) time: DateTime<Utc>,
    pub(crate) at: Instant,
    pub(crate) limits: Limits,
}

/// How long the body may run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Limits {
    pub(crate) soft: Option<Duration>,
    pub(crate) hard: Option<Duration>,
}

/// Where a task stands, as remote control tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Waits for its ETA.
    Scheduled,
    /// Waits for its rate limit.
    Limited,
    /// Waits for a free slot.
    Reserved,
    Active,
    /// Its body has ended, and its message is not settled yet.
    Ended,
}

impl Run {
    /// Nobody wants its result.
    pub(super) fn ignores_result(&self) -> bool {
        self.request.ignore_result.unwrap_or(self.task.options.ignore_result)
    }

    pub(crate) fn new(
        request: Request,
        task: Arc<Registered>,
        tag: DeliveryTag,
        channel: Arc<Channel>,
        shared: Arc<Shared>,
        (received, is_announced): (Instant, bool),
        original: Option<Original>,
    ) -> Self {
        Self {
            request,
            task,
            message: Mutex::new(Open { tag, is_settled: false }),
            channel,
            shared,
            received,
            is_announced,
            original,
            place: Mutex::default(),
            counted: AtomicBool::new(false),
            replaced: AtomicBool::new(false),
            cancellation: Cancellation::default(),
            fence: OnceLock::new(),
            phase: AtomicU8::new(Phase::Reserved as u8),
            begun: OnceLock::new(),
            recorded: OnceLock::new(),
            children: Mutex::default(),
            trace: OnceLock::new(),
        }
    }

    pub(crate) fn app(&self) -> &App {
        &self.shared.app
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Whether it does not run again once its success is stored.
    pub(super) fn deduplicates(&self) -> bool {
        let options = &self.task.options;
        options.acks_late && (options.deduplicate_successful || self.shared.settings.deduplicate)
    }

    /// The delivery that is to be settled.
    pub(crate) fn tag(&self) -> DeliveryTag {
        self.message.lock().tag
    }

    /// Its message has come again while it runs, because the channel of the former delivery is gone: this one is to be
    /// settled instead. False: the former one was just settled.
    pub(super) fn take_over(&self, tag: DeliveryTag) -> bool {
        let mut message = self.message.lock();
        if !message.is_settled {
            message.tag = tag;
        }
        !message.is_settled
    }

    /// Its message is about to be settled; `before` is told which delivery that is, before it can no longer be another one.
    pub(super) fn close(&self, before: impl FnOnce(DeliveryTag)) -> DeliveryTag {
        let mut message = self.message.lock();
        before(message.tag);
        message.is_settled = true;
        message.tag
    }

    /// Whether the delivery can no longer be settled: its message comes again.
    pub(super) fn is_void(&self) -> bool {
        !self.channel.is_current(self.tag().generation)
    }

    /// Takes its place among the runs of the worker.
    pub(super) fn come(self: &Arc<Self>) {
        let place = self.shared.state.insert(Arc::clone(self));
        *self.place.lock() = Some(place);
    }

    /// Leaves it, if it has not done so.
    pub(super) fn leave(&self) {
        if let Some(place) = self.place.lock().take() {
            self.shared.state.remove(place);
        }
    }

    pub(super) fn is_counted(&self) -> bool {
        self.counted.load(Ordering::Relaxed)
    }

    pub(super) fn mark_counted(&self) {
        self.counted.store(true, Ordering::Relaxed);
    }

    pub(crate) fn mark_replaced(&self) {
        self.replaced.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_replaced(&self) -> bool {
        self.replaced.load(Ordering::Relaxed)
    }

    /// STARTED is about to be stored: what is dropped when it is.
    pub(crate) fn record(&self) -> DropGuard {
        self.recorded.get_or_init(CancellationToken::new).clone().drop_guard()
    }

    /// Waits until STARTED is stored, so that it does not take the place of a state that comes after it.
    pub(crate) async fn recorded(&self) {
        if let Some(recorded) = self.recorded.get() {
            recorded.cancelled().await;
        }
    }

    pub(crate) fn phase(&self) -> Phase {
        const PHASES: [Phase; 5] = [Phase::Scheduled, Phase::Limited, Phase::Reserved, Phase::Active, Phase::Ended];
        let phase = self.phase.load(Ordering::Relaxed);
        PHASES.into_iter().find(|candidate| *candidate as u8 == phase).unwrap_or(Phase::Reserved)
    }

    pub(crate) fn enter(&self, phase: Phase) {
        self.phase.store(phase as u8, Ordering::Relaxed);
    }

    /// The body begins. What the message says about time limits comes before what the task says.
    pub(crate) fn begin(&self, time: DateTime<Utc>, at: Instant) -> Begun {
        self.enter(Phase::Active);
        let of_task = self.task.limits();
        let limits = Limits {
            soft: self.request.soft_time_limit.or(of_task.soft),
            hard: self.request.time_limit.or(of_task.hard),
        };
        *self.begun.get_or_init(|| Begun { time, at, limits })
    }

    pub(crate) fn begun(&self) -> Option<&Begun> {
        self.begun.get()
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        let begun = self.begun()?;
        begun.limits.soft.or(begun.limits.hard).and_then(|limit| begun.at.checked_add(limit))
    }

    /// The body has outlived its hard limit by so much.
    pub(crate) fn is_overdue(&self, now: Instant, by: Duration) -> bool {
        let end = self.begun().and_then(|begun| begun.at.checked_add(begun.limits.hard?));
        end.is_some_and(|end| now.saturating_duration_since(end) > by)
    }

    pub(crate) fn children(&self) -> Vec<ResultTuple> {
        self.children.lock().clone()
    }

    /// Metadata of this task in a state that is not final.
    pub(crate) fn described(&self, meta: ResultMeta) -> ResultMeta {
        describe(meta, &self.request, self.children(), self.shared.settings.result_extended)
    }

    /// Runs a body as this task: what it sends becomes a child of this task.
    pub(crate) async fn scope<T>(self: Arc<Self>, body: impl Future<Output = T>) -> T {
        CURRENT.scope(self, body).await
    }

    /// [`scope`](Self::scope) for a body that blocks.
    pub(crate) fn scope_blocking<T>(self: Arc<Self>, body: impl FnOnce() -> T) -> T {
        CURRENT.sync_scope(self, body)
    }

    /// Whether it has to wait for a token of this worker.
    pub(super) fn is_rate_limited(&self) -> bool {
        self.task.is_rate_limited() && !self.shared.settings.disable_rate_limits
    }

    /// The slots in which such a body runs.
    pub(crate) fn slots(&self) -> &Pool {
        if self.task.is_blocking { &self.shared.threads.slots } else { self.shared.pool_of(&self.channel.queue) }
    }

    /// Makes a message that is to be sent the child of the task that sends it, if one does.
    pub(crate) fn adopt(message: &mut TaskMessage) {
        let _ = CURRENT.try_with(|parent| {
            message.root_id = Some(parent.request.root_id.clone().unwrap_or_else(|| parent.request.id.clone()));
            message.parent_id = Some(parent.request.id.clone());
            parent.pass_on_trace(&mut message.headers);
        });
    }

    /// What is sent belongs to the trace of this task, unless it belongs to another.
    pub(crate) fn pass_on_trace(&self, headers: &mut Headers) {
        if pass_on(&self.request.headers, headers)
            && let Some(place) = self.trace.get()
        {
            place.write(headers);
        }
    }

    /// Shows nothing of what a task hides that the worker of the sending task knows.
    pub(crate) fn redact(message: &mut TaskMessage) {
        let _ = CURRENT.try_with(|parent| {
            if let Some(task) = parent.shared.registry.get(&message.task) {
                message.redact(task.fields, task.redacted);
            }
        });
    }

    /// The task whose body is running, if one is.
    pub(crate) fn current() -> Option<Arc<Self>> {
        CURRENT.try_with(Arc::clone).ok()
    }

    /// As the parent of what is sent.
    pub(crate) fn as_parent(&self) -> Parent {
        parent(&self.request)
    }

    /// What this worker knows about a task.
    pub(crate) fn known(&self, task: &str) -> Option<KnownTask> {
        self.shared.registry.get(task).map(|task| task.known())
    }

    /// A call of another task as a part of this one, with arguments of its own.
    pub(crate) fn part(&self, task: &Arc<Registered>, args: RawJson) -> Arc<Self> {
        let mut request = self.request.clone();
        request.message.task.clone_from(&task.name);
        request.message.args = args;
        request.message.kwargs = RawJson::EMPTY_OBJECT;
        let (channel, shared) = (Arc::clone(&self.channel), Arc::clone(&self.shared));
        let part = Self::new(request, Arc::clone(task), self.tag(), channel, shared, (self.received, false), None);
        if let Some(begun) = self.begun() {
            let _ = part.begun.set(*begun);
        }
        Arc::new(part)
    }

    /// Remembers children that were sent.
    pub(crate) fn add_children(&self, children: impl IntoIterator<Item = ResultTuple>) {
        if self.tells_of_children() {
            self.children.lock().extend(children);
        }
    }

    /// Remembers a child that was sent.
    pub(crate) fn add_child(id: &str) {
        let _ = CURRENT.try_with(|parent| parent.add_children([ResultTuple::task(id)]));
    }

    /// They are remembered to be stored with the result. Where nothing is stored, a task may send a million others in constant
    /// memory.
    fn tells_of_children(&self) -> bool {
        let is_stored = !self.ignores_result() || self.task.options.store_errors_even_if_ignored;
        is_stored || self.request.embed.chord.is_some()
    }
}

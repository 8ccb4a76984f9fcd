//! Announces what the worker does, on the exchange `celeryev`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::broker::{Broker, BrokerError, Exchange, ExchangeKind, Publication, Topology};
use crate::clock::{self, LamportClock};
use crate::protocol::Message;
use crate::protocol::event::{EVENT_EXCHANGE, Event, EventBatch, EventBody};

/// Where events of one worker go. Task events that happen while others are being published go together, as one
/// `task.multi`; when it is quiet each goes at once.
pub(crate) struct EventSink {
    broker: Arc<dyn Broker>,
    hostname: Arc<str>,
    pid: u32,
    clock: LamportClock,
    /// Whether tasks are announced; events of the worker itself always are.
    tasks: AtomicBool,
    /// Tasks are announced whatever remote control says (`-E`).
    is_fixed: bool,
    batch: Mutex<EventBatch>,
    waiting: Notify,
}

/// Events that wait for a broker which takes none are dropped above this number: they are news, not records.
const MAX_WAITING: usize = 100_000;

impl EventSink {
    pub(crate) fn new(broker: Arc<dyn Broker>, hostname: Arc<str>, pid: u32, clock: LamportClock, tasks: bool) -> Self {
        Self {
            broker,
            hostname,
            pid,
            clock,
            tasks: AtomicBool::new(tasks),
            is_fixed: tasks,
            batch: Mutex::default(),
            waiting: Notify::new(),
        }
    }

    /// Whether tasks are announced. Asked once per task, when its message arrives.
    pub(crate) fn announces_tasks(&self) -> bool {
        self.tasks.load(Ordering::Relaxed)
    }

    /// Tasks are announced whatever remote control says.
    pub(crate) fn is_fixed(&self) -> bool {
        self.is_fixed
    }

    /// Announces tasks from now on, or no longer. Answers whether that is a change. A worker that was started with events
    /// goes on with them (`celery/worker/control.py`, `disable_events`).
    pub(crate) fn set_announces_tasks(&self, tasks: bool) -> bool {
        !self.is_fixed && self.tasks.swap(tasks, Ordering::Relaxed) != tasks
    }

    /// Announces something about a task, soon.
    pub(crate) fn announce(&self, body: EventBody<'_>) {
        self.push(&mut self.batch.lock(), body, clock::unix_seconds());
        self.waiting.notify_one();
    }

    /// Announces many things about tasks in their order.
    pub(crate) fn announce_all<'a>(&self, bodies: impl Iterator<Item = EventBody<'a>>) {
        let mut bodies = bodies.peekable();
        if bodies.peek().is_none() {
            return;
        }
        let now = clock::unix_seconds();
        let mut batch = self.batch.lock();
        bodies.for_each(|body| self.push(&mut batch, body, now));
        drop(batch);
        self.waiting.notify_one();
    }

    fn push(&self, batch: &mut EventBatch, body: EventBody<'_>, timestamp: f64) {
        if batch.len() < MAX_WAITING {
            batch.push(&self.event(body, timestamp));
        }
    }

    fn event<'a>(&'a self, body: EventBody<'a>, timestamp: f64) -> Event<'a> {
        Event {
            hostname: (&*self.hostname).into(),
            utcoffset: 0.0,
            pid: self.pid,
            clock: Some(self.clock.forward()),
            timestamp,
            body,
        }
    }

    /// Publishes an event of the worker itself.
    pub(crate) async fn publish(&self, body: EventBody<'_>) {
        let event = self.event(body, clock::unix_seconds());
        self.send(event.routing_key(), event.to_message()).await;
    }

    /// Publishes waiting task events until `done`, and then what is left.
    pub(crate) async fn publish_until(&self, done: CancellationToken) {
        loop {
            let is_last = tokio::select! {
                () = self.waiting.notified() => false,
                () = done.cancelled() => true,
            };
            let message = self.batch.lock().take(&self.hostname);
            if let Some(message) = message {
                self.send(EventBatch::ROUTING_KEY.to_owned(), message).await;
            }
            if is_last {
                return;
            }
        }
    }

    async fn send(&self, routing_key: String, message: Message) {
        let exchange = EVENT_EXCHANGE.to_owned();
        let publication = Publication { exchange, routing_key, mandatory: false, message };
        if let Err(error) = self.broker.publish_unconfirmed(publication).await {
            tracing::debug!(%error, "event not published");
        }
    }

    /// Declares the exchange as Celery 5 does.
    pub(crate) async fn declare(&self) -> Result<(), BrokerError> {
        let exchange =
            Exchange { name: EVENT_EXCHANGE.to_owned(), kind: ExchangeKind::Topic, durable: true, auto_delete: false };
        self.broker.declare(&Topology { exchanges: vec![exchange], ..Topology::default() }).await
    }
}

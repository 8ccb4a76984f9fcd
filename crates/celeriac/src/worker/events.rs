//! Announces what the worker does, on the exchange `celeryev`.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::broker::{Broker, BrokerError, Exchange, ExchangeKind, Publication, Topology};
use crate::clock::{self, LamportClock};
use crate::protocol::Message;
use crate::protocol::event::{EVENT_EXCHANGE, Event, EventBatch, EventBody};

/// Where events of one worker go. What happens to a task goes together, as one `task.multi`, until the task has ended or
/// waits for something; so does what happens while others are being published.
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
    /// There is something in the batch.
    is_unsaid: AtomicBool,
    flush: Notify,
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
            is_unsaid: AtomicBool::new(false),
            flush: Notify::new(),
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

    /// Announces tasks from now on, or no longer. Returns whether that is a change. A worker that was started with events
    /// goes on with them (`celery/worker/control.py`, `disable_events`).
    pub(crate) fn set_announces_tasks(&self, tasks: bool) -> bool {
        !self.is_fixed && self.tasks.swap(tasks, Ordering::Relaxed) != tasks
    }

    /// Announces something about a task, with what is said of it next: at the latest at the next [`flush`](Self::flush).
    pub(crate) fn announce(&self, body: EventBody<'_>) {
        self.push(&mut self.batch.lock(), body, clock::unix_seconds());
        self.is_unsaid.store(true, Ordering::Relaxed);
    }

    /// Publishes what was announced.
    pub(crate) fn flush(&self) {
        if self.is_unsaid.load(Ordering::Relaxed) {
            self.flush.notify_one();
        }
    }

    /// Lets a task live; what was announced is published whenever it waits for something.
    pub(crate) async fn flush_whenever_it_waits(&self, task: impl Future<Output = ()>) {
        let mut task = pin!(task);
        poll_fn(|context| {
            let polled = task.as_mut().poll(context);
            if polled.is_pending() {
                self.flush();
            }
            polled
        })
        .await;
    }

    /// Announces many things about tasks in their order, at once.
    pub(crate) fn announce_all<'a>(&self, bodies: impl Iterator<Item = EventBody<'a>>) {
        let mut bodies = bodies.peekable();
        if bodies.peek().is_some() {
            let now = clock::unix_seconds();
            let mut batch = self.batch.lock();
            bodies.for_each(|body| self.push(&mut batch, body, now));
            self.is_unsaid.store(true, Ordering::Relaxed);
        }
        self.flush();
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
                () = self.flush.notified() => false,
                () = done.cancelled() => true,
            };
            self.is_unsaid.store(false, Ordering::Relaxed);
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

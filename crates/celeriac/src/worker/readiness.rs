//! Whether a worker can do its work now, and what keeps it from that.

use std::time::Duration;

use tokio::time::Instant;

use super::shared::Shared;
use super::unserved::Unserved;
use crate::app::QueueDefinition;
use crate::broker::BrokerHealth;

/// A runtime that is later than this does not answer.
const LATE: Duration = Duration::from_secs(5);

/// Whether a worker can do its work now. It is told without asking anybody, and while the runtime is blocked, too.
#[derive(Clone, Debug)]
pub struct Readiness {
    /// What keeps it from its work; nothing if it is ready.
    pub problems: Vec<Unready>,
    /// The queues that it takes tasks from, each with whether there is an active consumer now.
    pub queues: Vec<(String, bool)>,
    /// Tasks that it knows and does not get, because it does not consume their queues. That keeps it from nothing, but
    /// somebody else has to run them.
    pub unserved: Vec<Unserved>,
    /// The connections to the broker.
    pub broker: BrokerHealth,
    /// How late the runtime is: more than a second or two means that bodies block its threads.
    pub lag: Duration,
}

/// What keeps a worker from its work.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unready {
    /// [`Worker::run`](crate::Worker::run) has not been called.
    #[error("the worker has not begun to run")]
    NotStarted,
    /// A shutdown has begun.
    #[error("the worker stops")]
    Stopping,
    /// The worker has not come to looking at itself for so long.
    #[error("the runtime has not answered for {0:.0?}: something blocks its threads")]
    RuntimeBlocked(Duration),
    /// It reconnects by itself.
    #[error("not connected to the broker for {0:.0?}")]
    Disconnected(Duration),
    /// The connection is open, it seems, and nothing comes on it.
    #[error("connected to the broker, but nothing has come from it for {age:.0?}; its heartbeat is {heartbeat:.0?}")]
    Silent {
        /// How long nothing has come.
        age: Duration,
        /// How often something should.
        heartbeat: Duration,
    },
    /// The queue cannot be consumed, for instance because it was deleted and exists with other arguments now.
    #[error("connected to the broker, but without a consumer on queue {0}")]
    NoConsumer(String),
    /// It takes no tasks meanwhile.
    #[error("the consumer of queue {queue} has waited for the broker's answer for {waited:.0?}")]
    ConsumerHangs {
        /// The queue.
        queue: String,
        /// How long it has waited.
        waited: Duration,
    },
    /// Tasks could begin and do not, or none of those that run can be ended.
    #[error("the pool has not moved for {stalled:.0?}: {waiting} tasks wait, {free} slots are free")]
    PoolStalled {
        /// Tasks that wait for a slot.
        waiting: usize,
        /// Slots that nobody has.
        free: usize,
        /// How long nothing has begun or ended.
        stalled: Duration,
    },
    /// No blocking task can begin.
    #[error("all threads for blocking tasks are held, for {0:.0?}, by tasks that have ended at their time limit")]
    ThreadsHeld(Duration),
    /// Although no server is waited for.
    #[error("tasks of queue {queue} have ended and have not been settled for {stalled:.0?}")]
    SettlingStalled {
        /// The queue.
        queue: String,
        /// How long nothing was settled.
        stalled: Duration,
    },
    /// It is asked again until it answers.
    #[error("tasks have ended and their results have waited for the result backend for {0:.0?}")]
    ResultsWait(Duration),
    /// It is asked again until it answers.
    #[error("tasks have ended and what follows them has waited for the broker for {0:.0?}")]
    RetriesWait(Duration),
}

impl Readiness {
    /// Nothing keeps it from its work.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.problems.is_empty()
    }

    /// Whether the process answers at all.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        !self.problems.iter().any(|problem| matches!(problem, Unready::RuntimeBlocked(_)))
    }
}

impl Unready {
    /// Waiting does not mend it, but a new start may: what a [watchdog](crate::WorkerBuilder::watchdog) looks for.
    #[must_use]
    pub fn needs_restart(&self) -> bool {
        match self {
            Self::RuntimeBlocked(_)
            | Self::Silent { .. }
            | Self::NoConsumer(_)
            | Self::ConsumerHangs { .. }
            | Self::PoolStalled { .. }
            | Self::ThreadsHeld(_)
            | Self::SettlingStalled { .. } => true,
            Self::NotStarted | Self::Stopping | Self::Disconnected(_) | Self::ResultsWait(_) | Self::RetriesWait(_) => {
                false
            }
        }
    }
}

impl Shared {
    pub(crate) fn readiness(&self, now: Instant) -> Readiness {
        let broker = self.app.broker().health();
        let with_consumer = |queue: QueueDefinition| {
            let has_consumer = self.has_consumer(&queue.name);
            (queue.name, has_consumer)
        };
        let queues: Vec<_> = self.queues.definitions().into_iter().map(with_consumer).collect();
        let lag = self.vitals.lag(now);
        let mut problems = Vec::new();
        match lag {
            None => problems.push(Unready::NotStarted),
            Some(lag) if lag > LATE => problems.push(Unready::RuntimeBlocked(lag)),
            Some(_) => {}
        }
        if self.stop.is_cancelled() {
            problems.push(Unready::Stopping);
        } else if lag.is_some() {
            self.connection_problems(&broker, &queues, &mut problems);
            self.work_problems(now, &mut problems);
        }
        let unserved = self.destinations.unserved(&self.queues);
        Readiness { problems, queues, unserved, broker, lag: lag.unwrap_or_default() }
    }

    fn connection_problems(&self, broker: &BrokerHealth, queues: &[(String, bool)], problems: &mut Vec<Unready>) {
        if !broker.connected {
            problems.push(Unready::Disconnected(broker.since));
            return;
        }
        if let Some(heartbeat) = broker.heartbeat.filter(|_| broker.is_silent()) {
            problems.push(Unready::Silent { age: broker.last_frame, heartbeat });
        }
        let without = queues.iter().filter(|(_, is_consumed)| !is_consumed);
        problems.extend(without.map(|(queue, _)| Unready::NoConsumer(queue.clone())));
    }

    fn work_problems(&self, now: Instant, problems: &mut Vec<Unready>) {
        let patience = self.settings.stalled_after;
        let long = |since: Option<Instant>| {
            let lasted = since.map(|since| now.saturating_duration_since(since));
            lasted.filter(|lasted| *lasted > patience)
        };
        let (results, retries) = (self.vitals.backend.since(), self.vitals.broker.since());
        for channel in self.channels.lock().iter() {
            let queue = || channel.queue.clone();
            if let Some(waited) = long(channel.asks.since()) {
                problems.push(Unready::ConsumerHangs { queue: queue(), waited });
            }
            // What waits for a server is told below.
            let settling = channel.settles.since().filter(|_| results.is_none() && retries.is_none());
            if let Some(stalled) = long(settling) {
                problems.push(Unready::SettlingStalled { queue: queue(), stalled });
            }
        }
        problems.extend(self.vitals.stall(now, patience));
        problems.extend(long(self.vitals.threads_held_since()).map(Unready::ThreadsHeld));
        let lasted = |since: Instant| now.saturating_duration_since(since);
        problems.extend(results.map(lasted).map(Unready::ResultsWait));
        problems.extend(retries.map(lasted).map(Unready::RetriesWait));
    }

    fn has_consumer(&self, queue: &str) -> bool {
        self.channels.lock().iter().any(|channel| channel.queue == queue && channel.control.is_active())
    }
}

//! A cluster as its events tell it (`celery/events/state.py`). Pure: time is passed in.

mod task;
mod worker;

use std::collections::{HashMap, VecDeque};

pub use task::Task;
pub use worker::Worker;

use crate::protocol::event::{Event, EventBody};

/// `max_tasks_in_memory`; beyond it the tasks heard of first are forgotten.
const MAX_TASKS: usize = 10_000;
/// `max_workers_in_memory`; names beyond it are not taken in.
const MAX_WORKERS: usize = 5_000;

/// The workers and tasks of a cluster, as far as events told of them.
#[derive(Clone, Debug)]
pub struct State {
    workers: HashMap<String, Worker>,
    tasks: HashMap<String, Task>,
    /// The ids of the tasks in the order in which they were first heard of.
    heard_of: VecDeque<String>,
    max_tasks: usize,
    events: u64,
    received: u64,
}

impl Default for State {
    fn default() -> Self {
        Self::with_max_tasks(MAX_TASKS)
    }
}

impl State {
    /// Remembers at most so many tasks.
    #[must_use]
    pub fn with_max_tasks(max_tasks: usize) -> Self {
        Self {
            workers: HashMap::new(),
            tasks: HashMap::new(),
            heard_of: VecDeque::new(),
            max_tasks,
            events: 0,
            received: 0,
        }
    }

    /// Takes in one event, received at `now` (seconds since 1970).
    pub fn apply(&mut self, event: &Event<'_>, now: f64) {
        self.events += 1;
        match &event.body {
            EventBody::WorkerOffline(_) => {
                self.workers.remove(&*event.hostname);
            }
            _ if event.kind().starts_with("worker-") => {
                if let Some(worker) = self.worker_entry(&event.hostname) {
                    worker.apply(event, now);
                }
            }
            body => {
                if let Some(uuid) = body.uuid().filter(|_| event.kind().starts_with("task-")) {
                    self.apply_to_task(uuid, event, now);
                }
            }
        }
    }

    fn apply_to_task(&mut self, uuid: &str, event: &Event<'_>, now: f64) {
        // It is sent by a client, and everything else happens in a worker.
        if !matches!(event.body, EventBody::TaskSent(_))
            && let Some(worker) = self.worker_entry(&event.hostname)
        {
            worker.is_heard_of(event, now);
        }
        if matches!(event.body, EventBody::TaskReceived(_)) {
            self.received += 1;
        }
        self.task_entry(uuid).apply(event);
    }

    fn worker_entry(&mut self, hostname: &str) -> Option<&mut Worker> {
        if !self.workers.contains_key(hostname) {
            if self.workers.len() >= MAX_WORKERS {
                return None;
            }
            self.workers.insert(hostname.to_owned(), Worker::new(hostname));
        }
        self.workers.get_mut(hostname)
    }

    fn task_entry(&mut self, uuid: &str) -> &mut Task {
        if !self.tasks.contains_key(uuid) {
            while self.tasks.len() >= self.max_tasks.max(1)
                && let Some(oldest) = self.heard_of.pop_front()
            {
                self.tasks.remove(&oldest);
            }
            self.heard_of.push_back(uuid.to_owned());
        }
        self.tasks.entry(uuid.to_owned()).or_insert_with(|| Task::new(uuid))
    }

    /// The workers by name.
    #[must_use]
    pub fn workers(&self) -> Vec<&Worker> {
        let mut workers: Vec<_> = self.workers.values().collect();
        workers.sort_by(|a, b| a.hostname.cmp(&b.hostname));
        workers
    }

    /// A worker by its node name, dead or alive.
    #[must_use]
    pub fn worker(&self, hostname: &str) -> Option<&Worker> {
        self.workers.get(hostname)
    }

    /// Those whose last heartbeat is not too long ago.
    pub fn alive_workers(&self, now: f64) -> impl Iterator<Item = &Worker> {
        self.workers.values().filter(move |worker| worker.is_alive(now))
    }

    /// Forgets the workers that are dead; answers their names.
    pub fn bury(&mut self, now: f64) -> Vec<String> {
        let dead: Vec<_> = self.workers.values().filter(|worker| !worker.is_alive(now)).collect();
        let dead: Vec<String> = dead.into_iter().map(|worker| worker.hostname.clone()).collect();
        for hostname in &dead {
            self.workers.remove(hostname);
        }
        dead
    }

    /// A task by its id, unless it has been pushed out by newer ones.
    #[must_use]
    pub fn task(&self, uuid: &str) -> Option<&Task> {
        self.tasks.get(uuid)
    }

    /// The tasks that something happened to last.
    #[must_use]
    pub fn latest_tasks(&self, limit: usize) -> Vec<&Task> {
        let mut tasks: Vec<_> = self.tasks.values().collect();
        let later_first = |a: &&Task, b: &&Task| {
            b.timestamp.total_cmp(&a.timestamp).then_with(|| b.clock.cmp(&a.clock)).then_with(|| a.uuid.cmp(&b.uuid))
        };
        if limit < tasks.len() {
            tasks.select_nth_unstable_by(limit, later_first);
            tasks.truncate(limit);
        }
        tasks.sort_unstable_by(later_first);
        tasks
    }

    /// Events taken in.
    #[must_use]
    pub fn event_count(&self) -> u64 {
        self.events
    }

    /// Tasks that workers have received.
    #[must_use]
    pub fn task_count(&self) -> u64 {
        self.received
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol;
    use crate::protocol::event::{TaskReceived, TaskSent, WorkerStatus};

    fn event(hostname: &'static str, clock: u64, body: EventBody<'static>) -> Event<'static> {
        let timestamp = 1000.0 + clock as f64;
        Event { hostname: hostname.into(), utcoffset: 0.0, pid: 7, clock: Some(clock), timestamp, body }
    }

    fn heartbeat(freq: f64, active: Option<u64>) -> EventBody<'static> {
        EventBody::WorkerHeartbeat(WorkerStatus {
            freq,
            active,
            processed: active,
            loadavg: None,
            sw_ident: "py-celery".into(),
            sw_ver: "5.7.0".into(),
            sw_sys: "Linux".into(),
        })
    }

    fn sent() -> EventBody<'static> {
        let queue = Some("celery".into());
        EventBody::TaskSent(Box::new(TaskSent { uuid: "a".into(), name: "t".into(), queue, ..TaskSent::default() }))
    }

    fn received(uuid: &'static str) -> EventBody<'static> {
        EventBody::TaskReceived(Box::new(TaskReceived {
            uuid: uuid.into(),
            name: "t".into(),
            args: "(1,)".into(),
            ..TaskReceived::default()
        }))
    }

    fn succeeded() -> EventBody<'static> {
        EventBody::TaskSucceeded { uuid: "a".into(), result: "3".into(), runtime: 0.5 }
    }

    fn retried() -> EventBody<'static> {
        EventBody::TaskRetried { uuid: "a".into(), exception: "E()".into(), traceback: None }
    }

    fn state(events: &[Event<'static>]) -> State {
        let mut state = State::default();
        events.iter().for_each(|event| state.apply(event, event.timestamp));
        state
    }

    #[test]
    fn a_worker_lives_for_twice_its_frequency_after_it_was_last_heard_of() {
        let mut state = state(&[event("w", 0, heartbeat(2.0, Some(3)))]);
        assert!(state.worker("w").unwrap().is_alive(1003.9));
        assert!(!state.worker("w").unwrap().is_alive(1004.0));
        state.apply(&event("w", 3, received("a")), 1003.0);
        assert_eq!(state.alive_workers(1006.9).count(), 1);
        assert_eq!(state.bury(1006.9), Vec::<String>::new());
        assert_eq!(state.bury(1007.0), ["w"]);
        assert!(state.workers().is_empty());
    }

    #[test]
    fn a_worker_that_goes_is_gone_at_once() {
        let EventBody::WorkerHeartbeat(status) = heartbeat(2.0, None) else { unreachable!() };
        let state = state(&[
            event("w", 0, heartbeat(2.0, None)),
            event("v", 1, heartbeat(2.0, None)),
            event("w", 2, EventBody::WorkerOffline(status)),
        ]);
        assert_eq!(state.workers().iter().map(|worker| &worker.hostname).collect::<Vec<_>>(), ["v"]);
    }

    #[test]
    fn a_heartbeat_that_was_asked_for_does_not_hide_the_counts() {
        let state = state(&[event("w", 0, heartbeat(2.0, Some(3))), event("w", 1, heartbeat(5.0, None))]);
        let worker = state.worker("w").unwrap();
        assert_eq!((worker.freq, worker.active, worker.processed), (5.0, Some(3), Some(3)));
    }

    #[test]
    fn what_overtakes_is_put_in_its_place() {
        let task = |events: &[_]| state(events).task("a").cloned().unwrap();
        let in_order = task(&[event("gen1@h", 1, sent()), event("w", 2, received("a")), event("w", 3, succeeded())]);
        assert_eq!(in_order.state, protocol::State::Success);
        assert_eq!((in_order.name.as_deref(), in_order.result.as_deref()), (Some("t"), Some("3")));
        assert_eq!((in_order.client.as_deref(), in_order.worker.as_deref()), (Some("gen1@h"), Some("w")));

        let reversed = task(&[event("w", 3, succeeded()), event("w", 2, received("a"))]);
        assert_eq!((&reversed.state, reversed.timestamp), (&protocol::State::Success, 1003.0));
        assert_eq!((reversed.args.as_deref(), reversed.received), (Some("(1,)"), Some(1002.0)));
    }

    #[test]
    fn a_retry_begins_the_round_anew() {
        let state = state(&[event("w", 1, received("a")), event("w", 2, retried()), event("v", 3, received("a"))]);
        let task = state.task("a").unwrap();
        assert_eq!((&task.state, task.worker.as_deref()), (&protocol::State::Received, Some("v")));
        assert_eq!(state.task_count(), 2);
    }

    #[test]
    fn events_of_a_kind_nobody_knows_make_a_state_of_that_name() {
        let body = EventBody::Other {
            kind: "task-progress".into(),
            fields: vec![("uuid".to_owned(), protocol::Json::Str("a".into()))],
        };
        let state = state(&[event("w", 1, body), event("w", 2, EventBody::TaskCancelled { uuid: "b".into() })]);
        assert_eq!(state.task("b").unwrap().state, protocol::State::Custom("CANCELLED".into()));
        assert_eq!(state.task("a").unwrap().state, protocol::State::Custom("PROGRESS".into()));
    }

    #[test]
    fn the_tasks_heard_of_first_are_forgotten_first_and_the_latest_are_shown_first() {
        let mut state = State::with_max_tasks(2);
        for (clock, uuid) in [(1, "a"), (2, "b"), (3, "a"), (4, "c")] {
            state.apply(&event("w", clock, received(uuid)), 1000.0);
        }
        let uuids = |limit| state.latest_tasks(limit).iter().map(|task| &*task.uuid).collect::<Vec<_>>();
        assert_eq!(uuids(10), ["c", "b"]);
        assert_eq!(uuids(1), ["c"]);
        assert_eq!(uuids(0), Vec::<&str>::new());
    }
}

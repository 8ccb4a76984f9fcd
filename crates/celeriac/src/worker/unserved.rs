//! Tasks that a worker knows and never gets, because it does not consume their queues.

use super::queues::Queues;
use super::registry::Registry;
use crate::app::App;

/// Where the tasks of a worker go whose senders say nothing else.
#[derive(Debug, Default)]
pub(crate) struct Destinations(Vec<Destination>);

#[derive(Debug)]
struct Destination {
    task: String,
    /// A queue, or else an exchange.
    place: Result<String, String>,
}

/// A task that a worker could run and does not get: its queue is consumed by others, or by nobody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unserved {
    /// The name of the task.
    pub task: String,
    /// Where it goes: a queue, or `exchange …`.
    pub queue: String,
}

impl Destinations {
    pub(super) fn of(app: &App, registry: &Registry) -> Self {
        let place = |task: &std::sync::Arc<super::Registered>| Destination {
            task: task.name.clone(),
            place: app.usual_destination(&task.name, &task.options),
        };
        let mut all: Vec<_> = registry.tasks().map(place).collect();
        all.sort_unstable_by(|one, other| one.task.cmp(&other.task));
        Self(all)
    }

    /// Those that lead to none of the queues that are consumed.
    pub(super) fn unserved(&self, queues: &Queues) -> Vec<Unserved> {
        let consumed = queues.definitions();
        let is_served = |place: &Result<String, String>| match place {
            Ok(queue) => consumed.iter().any(|definition| definition.name == *queue),
            Err(exchange) => consumed.iter().any(|definition| definition.exchange_name() == exchange),
        };
        let unserved = self.0.iter().filter(|destination| !is_served(&destination.place));
        let told = |Destination { task, place }: &Destination| Unserved {
            task: task.clone(),
            queue: place.clone().unwrap_or_else(|exchange| format!("exchange {exchange}")),
        };
        unserved.map(told).collect()
    }
}

/// Says in the log what will not be run here.
pub(super) fn warn_of(unserved: &[Unserved]) {
    let mut queues: Vec<&str> = unserved.iter().map(|unserved| unserved.queue.as_str()).collect();
    queues.sort_unstable();
    queues.dedup();
    for queue in queues {
        let tasks: Vec<_> =
            unserved.iter().filter(|unserved| unserved.queue == queue).map(|unserved| unserved.task.as_str()).collect();
        let tasks = tasks.join(", ");
        tracing::warn!(queue, tasks, "this worker does not consume the queue of some of its tasks: others must");
    }
}

//! What can be done to a worker.

use celeriac::control::Command;

use super::replies::{broker_says, one};
use super::{Answer, Read};
use crate::Core;
use crate::show::encoded;

/// Something to do to the worker `node`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct WorkerAction {
    node: String,
    order: Order,
}

/// What it is told.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Order {
    Shutdown,
    Grow {
        by: u32,
    },
    Shrink {
        by: u32,
    },
    Autoscale {
        min: u32,
        max: u32,
    },
    RateLimit {
        task: String,
        limit: String,
    },
    /// In seconds; empty: as the task has it.
    TimeLimit {
        task: String,
        soft: String,
        hard: String,
    },
    AddConsumer {
        queue: String,
    },
    CancelConsumer {
        queue: String,
    },
}

impl WorkerAction {
    pub(super) fn read(what: &str, read: &mut Read<'_>) -> Option<Self> {
        let is_known = matches!(
            what,
            "shutdown"
                | "grow"
                | "shrink"
                | "autoscale"
                | "rate-limit"
                | "time-limit"
                | "add-consumer"
                | "cancel-consumer"
        );
        let node = is_known.then(|| read.name("node"))?;
        let order = match what {
            "shutdown" => Order::Shutdown,
            "grow" => Order::Grow { by: read.number("by", 1) },
            "shrink" => Order::Shrink { by: read.number("by", 1) },
            "autoscale" => {
                let (min, max) = (read.number("min", 0), read.number("max", 1));
                if min > max && read.wrong.is_empty() {
                    read.wrong.push("min: must not be above max".to_owned());
                }
                Order::Autoscale { min, max }
            }
            "rate-limit" => Order::RateLimit { task: read.name("task"), limit: read.rate("limit") },
            "time-limit" => {
                Order::TimeLimit { task: read.name("task"), soft: read.seconds("soft"), hard: read.seconds("hard") }
            }
            "add-consumer" => Order::AddConsumer { queue: read.name("queue") },
            _ => Order::CancelConsumer { queue: read.name("queue") },
        };
        Some(Self { node, order })
    }

    pub(super) fn fields(&self) -> Vec<(&'static str, String)> {
        let (what, more) = match &self.order {
            Order::Shutdown => ("shutdown", Vec::new()),
            Order::Grow { by } => ("grow", vec![("by", by.to_string())]),
            Order::Shrink { by } => ("shrink", vec![("by", by.to_string())]),
            Order::Autoscale { min, max } => ("autoscale", vec![("min", min.to_string()), ("max", max.to_string())]),
            Order::RateLimit { task, limit } => ("rate-limit", vec![("task", task.clone()), ("limit", limit.clone())]),
            Order::TimeLimit { task, soft, hard } => {
                ("time-limit", vec![("task", task.clone()), ("soft", soft.clone()), ("hard", hard.clone())])
            }
            Order::AddConsumer { queue } => ("add-consumer", vec![("queue", queue.clone())]),
            Order::CancelConsumer { queue } => ("cancel-consumer", vec![("queue", queue.clone())]),
        };
        let of = [("do", what.to_owned()), ("node", self.node.clone())];
        of.into_iter().chain(more).collect()
    }

    pub(super) fn name(&self) -> String {
        let node = &self.node;
        match &self.order {
            Order::Shutdown => format!("Shut down {node}"),
            Order::Grow { by } => format!("Grow the pool of {node} by {by}"),
            Order::Shrink { by } => format!("Shrink the pool of {node} by {by}"),
            Order::Autoscale { min, max } => format!("Let {node} scale between {min} and {max}"),
            Order::RateLimit { task, limit } if limit == "0" => format!("Lift the rate limit of {task} on {node}"),
            Order::RateLimit { task, limit } => format!("Limit {task} on {node} to {limit}"),
            Order::TimeLimit { task, soft, hard } => {
                let limit = |limit: &str| if limit.is_empty() { "none".to_owned() } else { format!("{limit} s") };
                format!("Time limits of {task} on {node}: soft {}, hard {}", limit(soft), limit(hard))
            }
            Order::AddConsumer { queue } => format!("Let {node} take tasks from {queue}"),
            Order::CancelConsumer { queue } => format!("Stop {node} taking tasks from {queue}"),
        }
    }

    pub(super) fn effects(&self) -> &'static [&'static str] {
        match &self.order {
            Order::Shutdown => &[
                "The worker takes no more tasks, ends those that run, and stops. What it has not begun goes back to its queues.",
                "A worker answers this with silence: whether it stopped is seen on the page of workers. Whatever supervises it may start it again.",
            ],
            Order::Grow { .. } => &["So many more tasks run at once there, until the worker is started again."],
            Order::Shrink { .. } => &[
                "So many fewer tasks run at once there, until the worker is started again. Tasks that run are not ended.",
            ],
            Order::Autoscale { .. } => &["Its pool stays between these sizes. A worker without autoscaling refuses."],
            Order::RateLimit { .. } => &[
                "No more tasks of this kind begin on this worker in that time; those that wait stay in its memory, in their order.",
                "It holds until the worker is started again.",
            ],
            Order::TimeLimit { .. } => &[
                "Tasks of this kind that begin on this worker from now on are ended when they run longer; those that run keep the limits they began with.",
                "It holds until the worker is started again. A worker without such limits refuses.",
            ],
            Order::AddConsumer { .. } => &[
                "It takes tasks from this queue as well, until it is started again. A queue that does not exist is made.",
            ],
            Order::CancelConsumer { .. } => &[
                "It takes no more tasks from this queue, until it is started again. Tasks that it has taken are done.",
                "If no other worker takes tasks from the queue, they wait there.",
            ],
        }
    }

    pub(super) fn needs_reason(&self) -> bool {
        matches!(self.order, Order::Shutdown | Order::CancelConsumer { .. })
    }

    pub(super) fn came_from(&self) -> String {
        format!("/workers/{}", encoded(&self.node))
    }

    pub(super) async fn act(&self, core: &Core) -> Vec<Answer> {
        let command = match &self.order {
            Order::Shutdown => {
                let told = core.control.cast(Command::shutdown().to([&self.node])).await;
                return vec![broker_says(told.map(|()| format!("{} was told; it says nothing to this", self.node)))];
            }
            Order::Grow { by } => Command::pool_grow(*by),
            Order::Shrink { by } => Command::pool_shrink(*by),
            Order::Autoscale { min, max } => Command::autoscale(*max, *min),
            Order::RateLimit { task, limit } => Command::rate_limit(task, limit),
            Order::TimeLimit { task, soft, hard } => Command::time_limit(task, soft.parse().ok(), hard.parse().ok()),
            Order::AddConsumer { queue } => Command::add_consumer(queue),
            Order::CancelConsumer { queue } => Command::cancel_consumer(queue),
        };
        one(core, command, &self.node).await
    }
}

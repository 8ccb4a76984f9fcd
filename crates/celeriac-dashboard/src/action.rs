//! What operators can do. Each action is read from the fields of a form, says what it would do, and does exactly that.

mod again;
mod entry;
mod queue;

use celeriac::broker::BrokerError;
use celeriac::control::Command;
use celeriac::parking::Selection;
use serde_json::Value;

use self::entry::EntryAction;
use self::queue::QueueAction;
use crate::Core;
use crate::cluster::PATIENCE;
use crate::guard::Params;
use crate::log::Answer;

/// The longest name of a worker, queue, task or id, in bytes.
const MAX_NAME: usize = 300;
/// The most that a pool is changed by, and the largest that it can be told to be.
const MAX_POOL: u32 = 10_000;
/// Messages of one selection.
pub(crate) const MAX_SELECTED: usize = 100;
/// Workers of one selection.
const MAX_NODES: usize = 200;
/// The longest reason, in characters.
pub(crate) const MAX_REASON: usize = 500;

/// Something to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Shutdown {
        node: String,
    },
    Grow {
        node: String,
        by: u32,
    },
    Shrink {
        node: String,
        by: u32,
    },
    Autoscale {
        node: String,
        min: u32,
        max: u32,
    },
    RateLimit {
        node: String,
        task: String,
        limit: String,
    },
    /// In seconds; empty: as the task has it.
    TimeLimit {
        node: String,
        task: String,
        soft: String,
        hard: String,
    },
    AddConsumer {
        node: String,
        queue: String,
    },
    CancelConsumer {
        node: String,
        queue: String,
    },
    Revoke {
        id: String,
    },
    Terminate {
        id: String,
    },
    Requeue {
        queue: String,
        ids: Vec<String>,
    },
    Discard {
        queue: String,
        ids: Vec<String>,
    },
    Again {
        id: String,
    },
    Queue(QueueAction),
    Entry(EntryAction),
}

impl Action {
    /// Reads it from a form. `Err`: what is wrong with each field.
    pub(crate) fn read(form: &Params) -> Result<Self, Vec<String>> {
        let mut read = Read { form, wrong: Vec::new() };
        let action = match form.get("do") {
            "shutdown" => Some(Self::Shutdown { node: read.name("node") }),
            "grow" => Some(Self::Grow { node: read.name("node"), by: read.number("by", 1) }),
            "shrink" => Some(Self::Shrink { node: read.name("node"), by: read.number("by", 1) }),
            "autoscale" => {
                let (node, min, max) = (read.name("node"), read.number("min", 0), read.number("max", 1));
                if min > max && read.wrong.is_empty() {
                    read.wrong.push("min: must not be above max".to_owned());
                }
                Some(Self::Autoscale { node, min, max })
            }
            "rate-limit" => {
                Some(Self::RateLimit { node: read.name("node"), task: read.name("task"), limit: read.rate("limit") })
            }
            "time-limit" => {
                let (node, task) = (read.name("node"), read.name("task"));
                Some(Self::TimeLimit { node, task, soft: read.seconds("soft"), hard: read.seconds("hard") })
            }
            "again" => Some(Self::Again { id: read.name("id") }),
            "add-consumer" => Some(Self::AddConsumer { node: read.name("node"), queue: read.name("queue") }),
            "cancel-consumer" => Some(Self::CancelConsumer { node: read.name("node"), queue: read.name("queue") }),
            "revoke" => Some(Self::Revoke { id: read.name("id") }),
            "terminate" => Some(Self::Terminate { id: read.name("id") }),
            "requeue" => Some(Self::Requeue { queue: read.name("queue"), ids: read.ids() }),
            "discard" => Some(Self::Discard { queue: read.name("queue"), ids: read.ids() }),
            what => match (QueueAction::read(what, &mut read), EntryAction::read(what, &mut read)) {
                (Some(action), _) => Some(Self::Queue(action)),
                (_, Some(action)) => Some(Self::Entry(action)),
                (None, None) => {
                    read.wrong.push("do: is no action".to_owned());
                    None
                }
            },
        };
        action.filter(|_| read.wrong.is_empty()).ok_or(read.wrong)
    }

    /// The fields that it is read from.
    pub(crate) fn fields(&self) -> Vec<(&'static str, String)> {
        let text = |name, value: &str| (name, value.to_owned());
        let of = |name: &'static str| ("do", name.to_owned());
        match self {
            Self::Shutdown { node } => vec![of("shutdown"), text("node", node)],
            Self::Grow { node, by } => vec![of("grow"), text("node", node), ("by", by.to_string())],
            Self::Shrink { node, by } => vec![of("shrink"), text("node", node), ("by", by.to_string())],
            Self::Autoscale { node, min, max } => {
                vec![of("autoscale"), text("node", node), ("min", min.to_string()), ("max", max.to_string())]
            }
            Self::RateLimit { node, task, limit } => {
                vec![of("rate-limit"), text("node", node), text("task", task), text("limit", limit)]
            }
            Self::TimeLimit { node, task, soft, hard } => {
                vec![of("time-limit"), text("node", node), text("task", task), text("soft", soft), text("hard", hard)]
            }
            Self::Again { id } => vec![of("again"), text("id", id)],
            Self::Queue(action) => action.fields(),
            Self::Entry(action) => action.fields(),
            Self::AddConsumer { node, queue } => vec![of("add-consumer"), text("node", node), text("queue", queue)],
            Self::CancelConsumer { node, queue } => {
                vec![of("cancel-consumer"), text("node", node), text("queue", queue)]
            }
            Self::Revoke { id } => vec![of("revoke"), text("id", id)],
            Self::Terminate { id } => vec![of("terminate"), text("id", id)],
            Self::Requeue { queue, ids } | Self::Discard { queue, ids } => {
                let name = if matches!(self, Self::Requeue { .. }) { "requeue" } else { "discard" };
                let ids = ids.iter().map(|id| text("id", id));
                [of(name), text("queue", queue)].into_iter().chain(ids).collect()
            }
        }
    }

    /// What the button says, and the log.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Shutdown { node } => format!("Shut down {node}"),
            Self::Grow { node, by } => format!("Grow the pool of {node} by {by}"),
            Self::Shrink { node, by } => format!("Shrink the pool of {node} by {by}"),
            Self::Autoscale { node, min, max } => format!("Let {node} scale between {min} and {max}"),
            Self::RateLimit { node, task, limit } if limit == "0" => format!("Lift the rate limit of {task} on {node}"),
            Self::RateLimit { node, task, limit } => format!("Limit {task} on {node} to {limit}"),
            Self::TimeLimit { node, task, soft, hard } => {
                let limit = |limit: &str| if limit.is_empty() { "none".to_owned() } else { format!("{limit} s") };
                format!("Time limits of {task} on {node}: soft {}, hard {}", limit(soft), limit(hard))
            }
            Self::Again { id } => format!("Run {id} again"),
            Self::Queue(action) => action.name(),
            Self::Entry(action) => action.name(),
            Self::AddConsumer { node, queue } => format!("Let {node} take tasks from {queue}"),
            Self::CancelConsumer { node, queue } => format!("Stop {node} taking tasks from {queue}"),
            Self::Revoke { id } => format!("Revoke {id}"),
            Self::Terminate { id } => format!("Terminate {id}"),
            Self::Requeue { queue, ids } => format!("Requeue {} to {queue}", messages(ids)),
            Self::Discard { queue, ids } => format!("Discard {} of {queue}", messages(ids)),
        }
    }

    /// What will come of it.
    pub(crate) fn effects(&self) -> &'static [&'static str] {
        match self {
            Self::Shutdown { .. } => &[
                "The worker takes no more tasks, ends those that run, and stops. What it has not begun goes back to its queues.",
                "A worker answers this with silence: whether it stopped is seen on the page of workers. Whatever supervises it may start it again.",
            ],
            Self::Grow { .. } => &["So many more tasks run at once there, until the worker is started again."],
            Self::Shrink { .. } => &[
                "So many fewer tasks run at once there, until the worker is started again. Tasks that run are not ended.",
            ],
            Self::Autoscale { .. } => &["Its pool stays between these sizes. A worker without autoscaling refuses."],
            Self::RateLimit { .. } => &[
                "No more tasks of this kind begin on this worker in that time; those that wait stay in its memory, in their order.",
                "It holds until the worker is started again.",
            ],
            Self::TimeLimit { .. } => &[
                "Tasks of this kind that begin on this worker from now on are ended when they run longer; those that run keep the limits they began with.",
                "It holds until the worker is started again. A worker without such limits refuses.",
            ],
            Self::Again { .. } => &[
                "A new task is sent with exactly what this one was called with. Nothing is undone of what this one has done: only a task that may be done twice should be.",
            ],
            Self::Queue(action) => action.effects(),
            Self::Entry(action) => action.effects(),
            Self::AddConsumer { .. } => &[
                "It takes tasks from this queue as well, until it is started again. A queue that does not exist is made.",
            ],
            Self::CancelConsumer { .. } => &[
                "It takes no more tasks from this queue, until it is started again. Tasks that it has taken are done.",
                "If no other worker takes tasks from the queue, they wait there.",
            ],
            Self::Revoke { .. } => &[
                "Every worker drops the task instead of beginning it, and remembers to. If it runs already, it goes on.",
            ],
            Self::Terminate { .. } => &[
                "Every worker drops the task instead of beginning it; the one that runs it ends it where it is. What it has done so far stays done.",
                "A process of a Python worker is ended by a signal, with whatever else it runs.",
            ],
            Self::Requeue { .. } => &[
                "Exactly these messages go back to where they came from, as if they were new. If what was wrong with them has not been mended, they come back here.",
            ],
            Self::Discard { .. } => &["Exactly these messages are thrown away. There is no way back."],
        }
    }

    /// It stops work or loses something: the log is to say why.
    pub(crate) fn needs_reason(&self) -> bool {
        match self {
            Self::Shutdown { .. } | Self::CancelConsumer { .. } | Self::Terminate { .. } | Self::Discard { .. } => true,
            Self::Grow { .. }
            | Self::Shrink { .. }
            | Self::Autoscale { .. }
            | Self::RateLimit { .. }
            | Self::TimeLimit { .. }
            | Self::AddConsumer { .. }
            | Self::Revoke { .. }
            | Self::Requeue { .. } => false,
            Self::Again { .. } => true,
            Self::Queue(action) => action.needs_reason(),
            Self::Entry(action) => action.needs_reason(),
        }
    }

    /// The messages that it is about.
    pub(crate) fn selected(&self) -> &[String] {
        match self {
            Self::Requeue { ids, .. } | Self::Discard { ids, .. } => ids,
            _ => &[],
        }
    }

    /// The workers that it is about, where there are several.
    pub(crate) fn nodes(&self) -> &[String] {
        if let Self::Queue(action) = self { action.nodes() } else { &[] }
    }

    /// What is to be known before it is confirmed. `Err`: it cannot be done, and why.
    pub(crate) async fn foresee(&self, core: &Core) -> Result<Vec<String>, String> {
        match self {
            Self::Again { id } => again::call(core, id).await.map(|call| call.says(&core.hiding)),
            Self::Queue(action) => action.foresee(core).await,
            Self::Entry(action) => action.foresee(core).await,
            _ => Ok(Vec::new()),
        }
    }

    /// The page to go back to, below the mount point.
    pub(crate) fn came_from(&self) -> String {
        use crate::show::encoded;
        match self {
            Self::Shutdown { node }
            | Self::Grow { node, .. }
            | Self::Shrink { node, .. }
            | Self::Autoscale { node, .. }
            | Self::RateLimit { node, .. }
            | Self::TimeLimit { node, .. }
            | Self::AddConsumer { node, .. }
            | Self::CancelConsumer { node, .. } => format!("/workers/{}", encoded(node)),
            Self::Queue(action) => action.came_from(),
            Self::Entry(action) => action.came_from(),
            Self::Revoke { id } | Self::Terminate { id } | Self::Again { id } => format!("/tasks/{}", encoded(id)),
            Self::Requeue { queue, .. } | Self::Discard { queue, .. } => format!("/parked/{}", encoded(queue)),
        }
    }

    /// Does it; returns what was said to it.
    pub(crate) async fn act(&self, core: &Core) -> Vec<Answer> {
        let told = match self {
            Self::Shutdown { node } => {
                let told = core.control.cast(Command::shutdown().to([node])).await;
                return vec![broker_says(told.map(|()| format!("{node} was told; it says nothing to this")))];
            }
            Self::Grow { node, by } => to(core, Command::pool_grow(*by), node).await,
            Self::Shrink { node, by } => to(core, Command::pool_shrink(*by), node).await,
            Self::Autoscale { node, min, max } => to(core, Command::autoscale(*max, *min), node).await,
            Self::RateLimit { node, task, limit } => to(core, Command::rate_limit(task, limit), node).await,
            Self::TimeLimit { node, task, soft, hard } => {
                to(core, Command::time_limit(task, soft.parse().ok(), hard.parse().ok()), node).await
            }
            Self::Queue(action) => return action.act(core).await,
            Self::Entry(action) => return action.act(core).await,
            Self::Again { id } => {
                let sent = match again::call(core, id).await {
                    Ok(call) => again::send(core, &call).await,
                    Err(error) => Err(error),
                };
                let is_refusal = sent.is_err();
                let said = sent.map_or_else(|error| error, |new| format!("sent as {new}"));
                return vec![Answer { from: "the broker".to_owned(), said, is_refusal }];
            }
            Self::AddConsumer { node, queue } => to(core, Command::add_consumer(queue), node).await,
            Self::CancelConsumer { node, queue } => to(core, Command::cancel_consumer(queue), node).await,
            Self::Revoke { id } => everybody(core, Command::revoke([id])).await,
            Self::Terminate { id } => everybody(core, Command::terminate([id])).await,
            Self::Requeue { queue, ids } => {
                let count = core.app.parking(queue).requeue(&Selection::all().ids(ids)).await;
                return vec![broker_says(count.map(|count| of_the_selected(count, ids, "requeued")))];
            }
            Self::Discard { queue, ids } => {
                let count = core.app.parking(queue).discard(&Selection::all().ids(ids)).await;
                return vec![broker_says(count.map(|count| of_the_selected(count, ids, "discarded")))];
            }
        };
        told.unwrap_or_else(|error| vec![broker_says(Err(error))])
    }
}

async fn to(core: &Core, command: Command, node: &str) -> Result<Vec<Answer>, BrokerError> {
    let mut answers = ask(core, command.to([node]), 1).await?;
    if answers.is_empty() {
        answers.push(silent(node));
    }
    Ok(answers)
}

async fn everybody(core: &Core, command: Command) -> Result<Vec<Answer>, BrokerError> {
    let mut answers = ask(core, command, usize::MAX).await?;
    if answers.is_empty() {
        answers.push(silent("the workers"));
    }
    Ok(answers)
}

fn silent(from: &str) -> Answer {
    let said = format!("no answer within {} s", PATIENCE.as_secs());
    Answer { from: from.to_owned(), said, is_refusal: true }
}

/// Tells it and waits for what is said, no longer than until so many have spoken.
async fn ask(core: &Core, command: Command, most: usize) -> Result<Vec<Answer>, BrokerError> {
    let mut replies = core.control.call(command, PATIENCE).await?;
    let mut answers = Vec::new();
    while answers.len() < most
        && let Some(reply) = replies.next().await
    {
        answers.push(answer(&reply.node, reply.value.as_str()));
    }
    answers.sort_by(|a, b| a.from.cmp(&b.from));
    Ok(answers)
}

fn answer(node: &str, said: &str) -> Answer {
    let value: Value = serde_json::from_str(said).unwrap_or(Value::Null);
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let (said, is_refusal) = match (value.get("ok"), value.get("error")) {
        (_, Some(error)) => (text(error), true),
        (Some(ok), None) => (text(ok), false),
        (None, None) => (said.to_owned(), false),
    };
    Answer { from: node.to_owned(), said: said.chars().take(MAX_REASON).collect(), is_refusal }
}

fn broker_says(told: Result<String, BrokerError>) -> Answer {
    let is_refusal = told.is_err();
    let said = told.unwrap_or_else(|error| format!("{error}; what was not done by then is as it was"));
    Answer { from: "the broker".to_owned(), said, is_refusal }
}

fn of_the_selected(count: u64, ids: &[String], done: &str) -> String {
    let told = format!("{count} of {} {done}", messages(ids));
    if count < ids.len() as u64 { format!("{told}; the others were not there any more") } else { told }
}

fn messages(ids: &[String]) -> String {
    crate::show::counted(ids.len() as u64, "message", "messages")
}

/// Reads fields and notes what is wrong with them.
struct Read<'a> {
    form: &'a Params,
    wrong: Vec<String>,
}

impl Read<'_> {
    fn name(&mut self, field: &str) -> String {
        let text = self.form.get(field);
        if text.is_empty() {
            self.wrong.push(format!("{field}: is missing"));
        } else if text.len() > MAX_NAME || text.chars().any(char::is_control) {
            self.wrong.push(format!("{field}: is no name"));
        }
        text.to_owned()
    }

    fn number(&mut self, field: &str, least: u32) -> u32 {
        match self.form.get(field).parse() {
            Ok(number) if (least..=MAX_POOL).contains(&number) => number,
            _ => {
                self.wrong.push(format!("{field}: expected a number from {least} to {MAX_POOL}"));
                0
            }
        }
    }

    /// `10`, `10/s`, `5/m`, `100/h`; 0 is without a limit.
    fn rate(&mut self, field: &str) -> String {
        let text = self.form.get(field);
        let (number, unit) = text.split_once('/').unwrap_or((text, "s"));
        if number.parse::<u32>().is_err() || !matches!(unit, "s" | "m" | "h") {
            self.wrong.push(format!("{field}: expected a rate as 10/s, 5/m or 100/h; 0 is without a limit"));
        }
        text.to_owned()
    }

    /// A number of seconds above 0, or nothing.
    fn seconds(&mut self, field: &str) -> String {
        let text = self.form.get(field);
        if !text.is_empty() && !text.parse::<f64>().is_ok_and(|seconds| (0.001..=1e7).contains(&seconds)) {
            self.wrong.push(format!("{field}: expected a number of seconds, or nothing"));
        }
        text.to_owned()
    }

    fn nodes(&mut self) -> Vec<String> {
        let mut nodes: Vec<_> = self.form.all("node").map(str::to_owned).filter(|node| !node.is_empty()).collect();
        nodes.sort();
        nodes.dedup();
        if nodes.is_empty() {
            self.wrong.push("node: no worker is chosen".to_owned());
        } else if nodes.len() > MAX_NODES
            || nodes.iter().any(|node| node.len() > MAX_NAME || node.chars().any(char::is_control))
        {
            self.wrong.push(format!("node: expected at most {MAX_NODES} names of workers"));
        }
        nodes
    }

    fn ids(&mut self) -> Vec<String> {
        let mut ids: Vec<_> = self.form.all("id").map(str::to_owned).collect();
        ids.dedup();
        let is_wrong = |id: &String| id.is_empty() || id.len() > MAX_NAME || id.chars().any(char::is_control);
        if ids.is_empty() {
            self.wrong.push("id: nothing is selected".to_owned());
        } else if ids.len() > MAX_SELECTED || ids.iter().any(is_wrong) {
            self.wrong.push(format!("id: expected at most {MAX_SELECTED} ids"));
        }
        ids
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(query: &str) -> Result<Action, Vec<String>> {
        Action::read(&Params::read(query.as_bytes()))
    }

    #[test]
    fn what_a_preview_shows_is_what_its_form_asks_for() {
        for query in [
            "do=shutdown&node=a%40b",
            "do=grow&node=a&by=2",
            "do=shrink&node=a&by=2",
            "do=autoscale&node=a&min=0&max=4",
            "do=rate-limit&node=a&task=t&limit=5/m",
            "do=add-consumer&node=a&queue=q",
            "do=cancel-consumer&node=a&queue=q",
            "do=revoke&id=x",
            "do=again&id=x",
            "do=time-limit&node=a&task=t&soft=1.5&hard=",
            "do=pause-queue&queue=q&node=a&node=b",
            "do=resume-queue&queue=q&node=a",
            "do=purge&queue=q&typed=q",
            "do=run-entry&entry=e",
            "do=pause-entry&entry=e",
            "do=resume-entry&entry=e",
            "do=every&entry=e&seconds=1.5",
            "do=crontab&entry=e&crontab=0+4+*+*+1&zone=Europe%2FMoscow",
            "do=terminate&id=x",
            "do=requeue&queue=q&id=x&id=y",
            "do=discard&queue=q&id=x",
        ] {
            let action = read(query).unwrap();
            let fields = action.fields().into_iter().map(|(name, value)| (name.to_owned(), value));
            assert_eq!(Action::read(&Params(fields.collect())), Ok(action), "{query}");
        }
    }

    #[test]
    fn every_wrong_field_is_named() {
        for (query, fields) in [
            ("do=rm", &["do"][..]),
            ("do=shutdown&node=%20", &["node"]),
            ("do=grow&by=0", &["node", "by"]),
            ("do=grow&node=a&by=99999999999", &["by"]),
            ("do=autoscale&node=a&min=5&max=4", &["min"]),
            ("do=rate-limit&node=a&task=t&limit=fast", &["limit"]),
            ("do=rate-limit&node=a&task=t&limit=5/d", &["limit"]),
            ("do=requeue&queue=q", &["id"]),
            ("do=revoke&id=%00", &["id"]),
            ("do=time-limit&node=a&task=t&soft=soon", &["soft"]),
            ("do=pause-queue&queue=q", &["node"]),
            ("do=purge&queue=q&typed=other", &["typed"]),
            ("do=every&entry=e&seconds=0", &["seconds"]),
            ("do=every&entry=e&seconds=nan", &["seconds"]),
            ("do=crontab&entry=e&crontab=61+*+*+*+*&zone=Mars", &["crontab", "zone"]),
        ] {
            let wrong = read(query).unwrap_err();
            let named: Vec<_> = wrong.iter().filter_map(|wrong| wrong.split(':').next()).collect();
            assert_eq!(named, fields, "{query}");
        }
    }
}

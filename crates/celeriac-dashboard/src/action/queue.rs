//! What can be done to a queue: nobody takes from it for a while, somebody does again, everything in it is thrown away.

use celeriac::clock::unix_seconds;
use celeriac::control::Command;

use super::replies::{ask, broker_says};
use super::{Answer, Read};
use crate::Core;
use crate::show::{counted, encoded, number};

/// Something to do to a queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum QueueAction {
    /// These workers take no more tasks from it.
    Pause {
        queue: String,
        nodes: Vec<String>,
    },
    Resume {
        queue: String,
        nodes: Vec<String>,
    },
    /// `typed` is what somebody has typed to say that they mean it.
    Purge {
        queue: String,
        typed: String,
    },
}

impl QueueAction {
    pub(super) fn read(what: &str, read: &mut Read<'_>) -> Option<Self> {
        match what {
            "pause-queue" => Some(Self::Pause { queue: read.name("queue"), nodes: read.nodes() }),
            "resume-queue" => Some(Self::Resume { queue: read.name("queue"), nodes: read.nodes() }),
            "purge" => {
                let (queue, typed) = (read.name("queue"), read.form.get("typed").to_owned());
                if typed != queue {
                    read.wrong
                        .push("typed: type the name of the queue, to be sure that it is the one you mean".to_owned());
                }
                Some(Self::Purge { queue, typed })
            }
            _ => None,
        }
    }

    pub(super) fn fields(&self) -> Vec<(&'static str, String)> {
        let with_nodes = |what: &str, queue: &String, nodes: &[String]| {
            let nodes = nodes.iter().map(|node| ("node", node.clone()));
            [("do", what.to_owned()), ("queue", queue.clone())].into_iter().chain(nodes).collect()
        };
        match self {
            Self::Pause { queue, nodes } => with_nodes("pause-queue", queue, nodes),
            Self::Resume { queue, nodes } => with_nodes("resume-queue", queue, nodes),
            Self::Purge { queue, typed } => {
                vec![("do", "purge".to_owned()), ("queue", queue.clone()), ("typed", typed.clone())]
            }
        }
    }

    pub(super) fn name(&self) -> String {
        let workers = |nodes: &[String]| counted(nodes.len() as u64, "worker", "workers");
        match self {
            Self::Pause { queue, nodes } => format!("Pause {queue} on {}", workers(nodes)),
            Self::Resume { queue, nodes } => format!("Resume {queue} on {}", workers(nodes)),
            Self::Purge { queue, .. } => format!("Purge {queue}"),
        }
    }

    pub(super) fn effects(&self) -> &'static [&'static str] {
        match self {
            Self::Pause { .. } => &[
                "These workers take no more tasks from this queue, until it is resumed or they are started again. What they have taken is done.",
                "Tasks wait in the queue meanwhile. A worker that is started later takes from it.",
            ],
            Self::Resume { .. } => &["These workers take tasks from this queue, until they are started again."],
            Self::Purge { .. } => &[
                "Every message that waits in this queue is thrown away, also what comes until then. There is no way back.",
                "What workers have already taken is not touched.",
            ],
        }
    }

    pub(super) fn needs_reason(&self) -> bool {
        matches!(self, Self::Pause { .. } | Self::Purge { .. })
    }

    pub(super) fn nodes(&self) -> &[String] {
        match self {
            Self::Pause { nodes, .. } | Self::Resume { nodes, .. } => nodes,
            Self::Purge { .. } => &[],
        }
    }

    pub(super) fn came_from(&self) -> String {
        let (Self::Pause { queue, .. } | Self::Resume { queue, .. } | Self::Purge { queue, .. }) = self;
        format!("/queues/{}", encoded(queue))
    }

    /// What is to be known before it is confirmed. `Err`: it cannot be done.
    pub(super) async fn foresee(&self, core: &Core) -> Result<Vec<String>, String> {
        let Self::Purge { queue, .. } = self else { return Ok(Vec::new()) };
        match core.app.broker().queue_depth(queue).await {
            Ok(Some(depth)) => {
                Ok(vec![format!("{} there now.", counted(depth.messages, "message waits", "messages wait"))])
            }
            Ok(None) => Err(format!("There is no queue {queue}.")),
            Err(error) => Err(format!("The broker does not say what is in the queue: {error}")),
        }
    }

    pub(super) async fn act(&self, core: &Core) -> Vec<Answer> {
        match self {
            Self::Pause { queue, nodes } => {
                let answers = tell(core, Command::cancel_consumer(queue), nodes).await;
                core.pauses.begin(queue, nodes, unix_seconds());
                answers
            }
            Self::Resume { queue, nodes } => {
                let answers = tell(core, Command::add_consumer(queue), nodes).await;
                core.pauses.end(queue, nodes);
                answers
            }
            Self::Purge { queue, .. } => {
                let purged = core.app.broker().purge(queue).await;
                let says = |count| format!("{} thrown away", counted(count, "message was", "messages were"));
                vec![broker_says(purged.map(says))]
            }
        }
    }
}

/// Tells these workers and no others; whoever says nothing is named.
async fn tell(core: &Core, command: Command, nodes: &[String]) -> Vec<Answer> {
    let answers = ask(core, command.to(nodes.to_vec()), nodes.len()).await;
    let mut answers = answers.unwrap_or_else(|error| vec![broker_says(Err(error))]);
    let silent: Vec<_> = nodes.iter().filter(|node| answers.iter().all(|answer| answer.from != **node)).collect();
    if !silent.is_empty() && answers.iter().all(|answer| answer.from != "the broker") {
        let said = format!("{} said nothing in time", number(silent.len() as u64));
        let silent: Vec<_> = silent.iter().map(|node| node.as_str()).collect();
        answers.push(Answer { from: silent.join(", "), said, is_refusal: true });
    }
    answers
}

//! What can be done to a task.

use celeriac::control::Command;

use super::replies::everybody;
use super::{Answer, Read, again};
use crate::Core;
use crate::show::encoded;

/// Something to do to a task, by its id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum TaskAction {
    Revoke { id: String },
    Terminate { id: String },
    Again { id: String },
}

impl TaskAction {
    pub(super) fn read(what: &str, read: &mut Read<'_>) -> Option<Self> {
        match what {
            "revoke" => Some(Self::Revoke { id: read.name("id") }),
            "terminate" => Some(Self::Terminate { id: read.name("id") }),
            "again" => Some(Self::Again { id: read.name("id") }),
            _ => None,
        }
    }

    fn id(&self) -> &str {
        let (Self::Revoke { id } | Self::Terminate { id } | Self::Again { id }) = self;
        id
    }

    pub(super) fn fields(&self) -> Vec<(&'static str, String)> {
        let what = match self {
            Self::Revoke { .. } => "revoke",
            Self::Terminate { .. } => "terminate",
            Self::Again { .. } => "again",
        };
        vec![("do", what.to_owned()), ("id", self.id().to_owned())]
    }

    pub(super) fn name(&self) -> String {
        match self {
            Self::Revoke { id } => format!("Revoke {id}"),
            Self::Terminate { id } => format!("Terminate {id}"),
            Self::Again { id } => format!("Run {id} again"),
        }
    }

    pub(super) fn effects(&self) -> &'static [&'static str] {
        match self {
            Self::Revoke { .. } => &[
                "Every worker drops the task instead of beginning it, and remembers to. If it runs already, it goes on.",
            ],
            Self::Terminate { .. } => &[
                "Every worker drops the task instead of beginning it; the one that runs it ends it where it is. What it has done so far stays done.",
                "A process of a Python worker is ended by a signal, with whatever else it runs.",
            ],
            Self::Again { .. } => &[
                "A new task is sent with exactly what this one was called with. Nothing is undone of what this one has done: only a task that may be done twice should be.",
            ],
        }
    }

    pub(super) fn needs_reason(&self) -> bool {
        matches!(self, Self::Terminate { .. } | Self::Again { .. })
    }

    pub(super) fn came_from(&self) -> String {
        format!("/tasks/{}", encoded(self.id()))
    }

    /// `Err`: it cannot be done, and why.
    pub(super) async fn foresee(&self, core: &Core) -> Result<Vec<String>, String> {
        match self {
            Self::Again { id } => again::call(core, id).await.map(|call| call.says(&core.hiding)),
            Self::Revoke { .. } | Self::Terminate { .. } => Ok(Vec::new()),
        }
    }

    pub(super) async fn act(&self, core: &Core) -> Vec<Answer> {
        match self {
            Self::Revoke { id } => everybody(core, Command::revoke([id])).await,
            Self::Terminate { id } => everybody(core, Command::terminate([id])).await,
            Self::Again { id } => {
                let sent = match again::call(core, id).await {
                    Ok(call) => again::send(core, &call).await,
                    Err(error) => Err(error),
                };
                let is_refusal = sent.is_err();
                let said = sent.map_or_else(|error| error, |new| format!("sent as {new}"));
                vec![Answer { from: "the broker".to_owned(), said, is_refusal }]
            }
        }
    }
}

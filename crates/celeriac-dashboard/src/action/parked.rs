//! What can be done to parked messages: exactly to those that were chosen.

use celeriac::parking::Selection;

use super::replies::broker_says;
use super::{Answer, Read};
use crate::Core;
use crate::show::{counted, encoded};

/// Something to do to chosen messages that are parked beside a queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ParkedAction {
    Requeue { queue: String, ids: Vec<String> },
    Discard { queue: String, ids: Vec<String> },
}

impl ParkedAction {
    pub(super) fn read(what: &str, read: &mut Read<'_>) -> Option<Self> {
        match what {
            "requeue" => Some(Self::Requeue { queue: read.name("queue"), ids: read.ids() }),
            "discard" => Some(Self::Discard { queue: read.name("queue"), ids: read.ids() }),
            _ => None,
        }
    }

    fn queue(&self) -> &str {
        let (Self::Requeue { queue, .. } | Self::Discard { queue, .. }) = self;
        queue
    }

    /// The messages that it is about.
    pub(super) fn selected(&self) -> &[String] {
        let (Self::Requeue { ids, .. } | Self::Discard { ids, .. }) = self;
        ids
    }

    pub(super) fn fields(&self) -> Vec<(&'static str, String)> {
        let what = match self {
            Self::Requeue { .. } => "requeue",
            Self::Discard { .. } => "discard",
        };
        let ids = self.selected().iter().map(|id| ("id", id.clone()));
        [("do", what.to_owned()), ("queue", self.queue().to_owned())].into_iter().chain(ids).collect()
    }

    pub(super) fn name(&self) -> String {
        match self {
            Self::Requeue { queue, ids } => format!("Requeue {} to {queue}", messages(ids)),
            Self::Discard { queue, ids } => format!("Discard {} of {queue}", messages(ids)),
        }
    }

    pub(super) fn effects(&self) -> &'static [&'static str] {
        match self {
            Self::Requeue { .. } => &[
                "Exactly these messages go back to where they came from, as if they were new. If what was wrong with them has not been mended, they come back here.",
            ],
            Self::Discard { .. } => &["Exactly these messages are thrown away. There is no way back."],
        }
    }

    pub(super) fn needs_reason(&self) -> bool {
        matches!(self, Self::Discard { .. })
    }

    pub(super) fn came_from(&self) -> String {
        format!("/parked/{}", encoded(self.queue()))
    }

    pub(super) async fn act(&self, core: &Core) -> Vec<Answer> {
        let (parking, ids) = (core.app.parking(self.queue()), self.selected());
        let selection = Selection::all().ids(ids);
        let (count, done) = match self {
            Self::Requeue { .. } => (parking.requeue(&selection).await, "requeued"),
            Self::Discard { .. } => (parking.discard(&selection).await, "discarded"),
        };
        vec![broker_says(count.map(|count| of_the_selected(count, ids, done)))]
    }
}

fn of_the_selected(count: u64, ids: &[String], done: &str) -> String {
    let told = format!("{count} of {} {done}", messages(ids));
    if count < ids.len() as u64 { format!("{told}; the others were not there any more") } else { told }
}

fn messages(ids: &[String]) -> String {
    counted(ids.len() as u64, "message", "messages")
}

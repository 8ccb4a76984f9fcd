//! What operators can do. Each action is read from the fields of a form, says what it would do, and does exactly that.

mod again;
mod entry;
mod parked;
mod queue;
mod read;
mod replies;
mod task;
mod worker;

use self::entry::EntryAction;
use self::parked::ParkedAction;
use self::queue::QueueAction;
use self::read::Read;
use self::task::TaskAction;
use self::worker::WorkerAction;
use crate::Core;
use crate::guard::Params;
use crate::log::Answer;

pub(crate) use self::read::MAX_SELECTED;

/// The longest reason, in characters.
pub(crate) const MAX_REASON: usize = 500;

/// Something to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Worker(WorkerAction),
    Task(TaskAction),
    Parked(ParkedAction),
    Queue(QueueAction),
    Entry(EntryAction),
}

/// What all kinds of actions have.
macro_rules! each {
    ($action:expr, $of:ident => $does:expr) => {
        match $action {
            Action::Worker($of) => $does,
            Action::Task($of) => $does,
            Action::Parked($of) => $does,
            Action::Queue($of) => $does,
            Action::Entry($of) => $does,
        }
    };
}

impl Action {
    /// Reads it from a form. `Err`: what is wrong with each field.
    pub(crate) fn read(form: &Params) -> Result<Self, Vec<String>> {
        let mut read = Read { form, wrong: Vec::new() };
        let (what, fields) = (form.get("do"), &mut read);
        let action = WorkerAction::read(what, fields).map(Self::Worker);
        let action = action.or_else(|| TaskAction::read(what, fields).map(Self::Task));
        let action = action.or_else(|| ParkedAction::read(what, fields).map(Self::Parked));
        let action = action.or_else(|| QueueAction::read(what, fields).map(Self::Queue));
        let action = action.or_else(|| EntryAction::read(what, fields).map(Self::Entry));
        if action.is_none() {
            read.wrong.push("do: is no action".to_owned());
        }
        action.filter(|_| read.wrong.is_empty()).ok_or(read.wrong)
    }

    /// The fields that it is read from.
    pub(crate) fn fields(&self) -> Vec<(&'static str, String)> {
        each!(self, action => action.fields())
    }

    /// What the button says, and the log.
    pub(crate) fn name(&self) -> String {
        each!(self, action => action.name())
    }

    /// What will come of it.
    pub(crate) fn effects(&self) -> &'static [&'static str] {
        each!(self, action => action.effects())
    }

    /// It stops work or loses something: the log is to say why.
    pub(crate) fn needs_reason(&self) -> bool {
        each!(self, action => action.needs_reason())
    }

    /// The messages that it is about.
    pub(crate) fn selected(&self) -> &[String] {
        if let Self::Parked(action) = self { action.selected() } else { &[] }
    }

    /// The workers that it is about, where there are several.
    pub(crate) fn nodes(&self) -> &[String] {
        if let Self::Queue(action) = self { action.nodes() } else { &[] }
    }

    /// What is to be known before it is confirmed. `Err`: it cannot be done, and why.
    pub(crate) async fn foresee(&self, core: &Core) -> Result<Vec<String>, String> {
        match self {
            Self::Task(action) => action.foresee(core).await,
            Self::Queue(action) => action.foresee(core).await,
            Self::Entry(action) => action.foresee(core).await,
            Self::Worker(_) | Self::Parked(_) => Ok(Vec::new()),
        }
    }

    /// The page to go back to, below the mount point.
    pub(crate) fn came_from(&self) -> String {
        each!(self, action => action.came_from())
    }

    /// Does it; returns what was said to it.
    pub(crate) async fn act(&self, core: &Core) -> Vec<Answer> {
        each!(self, action => action.act(core).await)
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
            // Expressions that others have died of.
            ("do=crontab&entry=e&crontab=@reboot&zone=UTC", &["crontab"]),
            ("do=crontab&entry=e&crontab=0-99999999999+*+*+*+*&zone=UTC", &["crontab"]),
        ] {
            let wrong = read(query).unwrap_err();
            let named: Vec<_> = wrong.iter().filter_map(|wrong| wrong.split(':').next()).collect();
            assert_eq!(named, fields, "{query}");
        }
        let long = format!("do=crontab&entry=e&crontab={}*+*+*+*+*&zone=UTC", "*/1,".repeat(50_000));
        assert!(read(&long).is_err(), "one that takes gigabytes elsewhere");
    }
}

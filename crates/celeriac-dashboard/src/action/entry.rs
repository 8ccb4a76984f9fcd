//! What can be done to an entry of the schedule.

use std::time::Duration;

use celeriac::beat::Schedule;
use celeriac::beat::store::Change;
use chrono_tz::Tz;

use super::{Answer, Read};
use crate::Core;
use crate::show::encoded;

/// The longest time between two ticks, in seconds: ten years.
const LONGEST: f64 = 3.2e8;

/// Something to do to an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum EntryAction {
    Run {
        entry: String,
    },
    Pause {
        entry: String,
    },
    Resume {
        entry: String,
    },
    /// Every so many seconds.
    Every {
        entry: String,
        seconds: String,
    },
    Crontab {
        entry: String,
        crontab: String,
        zone: String,
    },
}

impl EntryAction {
    pub(super) fn read(what: &str, read: &mut Read<'_>) -> Option<Self> {
        match what {
            "run-entry" => Some(Self::Run { entry: read.name("entry") }),
            "pause-entry" => Some(Self::Pause { entry: read.name("entry") }),
            "resume-entry" => Some(Self::Resume { entry: read.name("entry") }),
            "every" => {
                let (entry, seconds) = (read.name("entry"), read.form.get("seconds").to_owned());
                let is_read = seconds.parse::<f64>().is_ok_and(|seconds| (0.001..=LONGEST).contains(&seconds));
                if !is_read {
                    read.wrong.push("seconds: expected a number of seconds, 0.001 or more".to_owned());
                }
                Some(Self::Every { entry, seconds })
            }
            "crontab" => {
                let (entry, crontab, zone) = (read.name("entry"), read.name("crontab"), read.name("zone"));
                if let Err(error) = crontab.parse::<celeriac::beat::Crontab>() {
                    read.wrong.push(format!("crontab: {error}"));
                }
                if zone.parse::<Tz>().is_err() {
                    read.wrong.push("zone: expected a time zone as Europe/Moscow".to_owned());
                }
                Some(Self::Crontab { entry, crontab, zone })
            }
            _ => None,
        }
    }

    fn entry(&self) -> &str {
        let (Self::Run { entry }
        | Self::Pause { entry }
        | Self::Resume { entry }
        | Self::Every { entry, .. }
        | Self::Crontab { entry, .. }) = self;
        entry
    }

    pub(super) fn fields(&self) -> Vec<(&'static str, String)> {
        let (what, more) = match self {
            Self::Run { .. } => ("run-entry", Vec::new()),
            Self::Pause { .. } => ("pause-entry", Vec::new()),
            Self::Resume { .. } => ("resume-entry", Vec::new()),
            Self::Every { seconds, .. } => ("every", vec![("seconds", seconds.clone())]),
            Self::Crontab { crontab, zone, .. } => {
                ("crontab", vec![("crontab", crontab.clone()), ("zone", zone.clone())])
            }
        };
        let of = [("do", what.to_owned()), ("entry", self.entry().to_owned())];
        of.into_iter().chain(more).collect()
    }

    pub(super) fn name(&self) -> String {
        match self {
            Self::Run { entry } => format!("Run {entry} now"),
            Self::Pause { entry } => format!("Pause {entry}"),
            Self::Resume { entry } => format!("Resume {entry}"),
            Self::Every { entry, seconds } => format!("Let {entry} run every {seconds} s"),
            Self::Crontab { entry, crontab, zone } => format!("Let {entry} run at {crontab} ({zone})"),
        }
    }

    pub(super) fn effects(&self) -> &'static [&'static str] {
        match self {
            Self::Run { .. } => &[
                "Its task is sent once, now, with an id of its own. Its ticks stay as they are: it may run again soon.",
            ],
            Self::Pause { .. } => &[
                "Nothing is sent of it until it is resumed: every beat sees that within seconds, and a restart changes nothing.",
            ],
            Self::Resume { .. } => &[
                "It is sent again from its next tick on; of the ticks that were missed what its catch-up policy says.",
            ],
            Self::Every { .. } | Self::Crontab { .. } => {
                &["Its rule is replaced in the store of the schedule, where every beat sees it within seconds."]
            }
        }
    }

    pub(super) fn needs_reason(&self) -> bool {
        !matches!(self, Self::Run { .. } | Self::Resume { .. })
    }

    pub(super) fn came_from(&self) -> String {
        format!("/schedule/{}", encoded(self.entry()))
    }

    fn change(&self) -> Option<Change> {
        match self {
            Self::Run { .. } => None,
            Self::Pause { .. } => Some(Change::Enabled(false)),
            Self::Resume { .. } => Some(Change::Enabled(true)),
            Self::Every { seconds, .. } => {
                let every = Duration::try_from_secs_f64(seconds.parse().ok()?).ok()?;
                Some(Change::Schedule(Schedule::Every(every)))
            }
            Self::Crontab { crontab, zone, .. } => {
                Some(Change::Schedule(Schedule::Crontab(crontab.parse().ok()?, zone.parse().ok()?)))
            }
        }
    }

    /// `Err`: it cannot be done, and why.
    pub(super) async fn foresee(&self, core: &Core) -> Result<Vec<String>, String> {
        let timetable = core.timetable.as_ref().ok_or("This dashboard knows no schedule.")?;
        let entry =
            timetable.entry(self.entry()).await.map_err(|error| format!("The store does not answer: {error}"))?;
        match (entry, self) {
            (None, _) => Err("Nobody knows this entry here: it is in the code of a beat alone.".to_owned()),
            (Some(_), Self::Run { .. }) => Ok(Vec::new()),
            (Some(entry), _) if entry.is_stored => {
                Ok(entry.rule.map(|rule| format!("Now: {rule}.")).into_iter().collect())
            }
            (Some(_), _) => {
                Err("This entry is in the code of the beats, not in their store: it is changed there.".to_owned())
            }
        }
    }

    pub(super) async fn act(&self, core: &Core) -> Vec<Answer> {
        let done = match (&core.timetable, self.change()) {
            (None, _) => Err("this dashboard knows no schedule".to_owned()),
            (Some(timetable), None) => timetable.run(&core.app, self.entry()).await.map(|id| format!("sent as {id}")),
            (Some(timetable), Some(change)) => match timetable.change(self.entry(), &change).await {
                Ok(true) => Ok("changed".to_owned()),
                Ok(false) => Err("it has no such entry any more".to_owned()),
                Err(error) => Err(error.to_string()),
            },
        };
        let is_refusal = done.is_err();
        vec![Answer { from: "the schedule".to_owned(), said: done.unwrap_or_else(|error| error), is_refusal }]
    }
}

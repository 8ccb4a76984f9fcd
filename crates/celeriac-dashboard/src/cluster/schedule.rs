//! The schedule, as its store and the code of the beats have it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use celeriac::App;
use celeriac::beat::store::{Change, EntryDefinition, Lease};
use celeriac::beat::{Entry, Schedule as Rule, ScheduleStore, StoreError};
use celeriac::clock;
use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use tokio::time::{MissedTickBehavior, interval};
use uuid::Uuid;

use crate::Core;
use crate::show::duration;

const EVERY: Duration = Duration::from_secs(5);

/// Where the schedule is found.
pub(crate) struct Timetable {
    store: Arc<dyn ScheduleStore>,
    in_code: Vec<Entry>,
    zone: Tz,
}

/// The schedule at one time.
#[derive(Clone, Debug)]
pub(crate) struct Schedule {
    /// Who leads. `Err`: the store does not say, and why.
    pub(crate) leader: Result<Option<Lease>, String>,
    pub(crate) entries: Vec<Planned>,
    pub(crate) at: DateTime<Utc>,
}

/// An entry and how far it is.
#[derive(Clone, Debug)]
pub(crate) struct Planned {
    pub(crate) name: String,
    /// `None`: only the beat knows; it is neither in the store nor among the entries that this dashboard was told of.
    pub(crate) task: Option<String>,
    pub(crate) rule: Option<Rule>,
    pub(crate) enabled: bool,
    /// The last tick that was handled.
    pub(crate) last: Option<DateTime<Utc>>,
    /// The tick after that; it is overdue when its time is over.
    pub(crate) next: Option<DateTime<Utc>>,
}

impl Timetable {
    pub(crate) fn new(store: Arc<dyn ScheduleStore>, in_code: Vec<Entry>, zone: Tz) -> Self {
        Self { store, in_code, zone }
    }

    async fn read(&self, now: DateTime<Utc>) -> Schedule {
        let leader = self.store.leader().await.map_err(|error| error.to_string());
        let entries = match &leader {
            Ok(_) => self.entries(now).await,
            Err(error) => Err(StoreError::Unavailable(error.clone())),
        };
        match entries {
            Ok(entries) => Schedule { leader, entries, at: now },
            Err(error) => Schedule { leader: Err(error.to_string()), entries: Vec::new(), at: now },
        }
    }

    async fn entries(&self, now: DateTime<Utc>) -> Result<Vec<Planned>, StoreError> {
        let stored = self.store.entries(None).await?.map_or_else(Vec::new, |stored| stored.entries);
        let progress = self.store.progress().await?;
        let mut entries = BTreeMap::new();
        for name in progress.keys() {
            entries.insert(name.clone(), (None, None, true));
        }
        for entry in &self.in_code {
            let (task, rule) = (entry.task().to_owned(), entry.schedule(self.zone));
            entries.insert(entry.name().to_owned(), (Some(task), Some(rule), true));
        }
        for entry in stored {
            entries.insert(entry.name, (Some(entry.task), Some(entry.schedule), entry.enabled));
        }
        let planned = |(name, (task, rule, enabled)): (String, (Option<String>, Option<Rule>, bool))| {
            let last = progress.get(&name).and_then(|progress| progress.handled);
            let next = rule.as_ref().filter(|_| enabled).and_then(|rule| rule.next_after(last.unwrap_or(now)));
            Planned { name, task, rule, enabled, last, next }
        };
        Ok(entries.into_iter().map(planned).collect())
    }
}

/// An entry that somebody wants to do something to.
pub(crate) struct Found {
    /// It is in the store, where it can be changed, and not in the code of the beats.
    pub(crate) is_stored: bool,
    /// In words.
    pub(crate) rule: Option<String>,
}

impl Timetable {
    async fn stored(&self, name: &str) -> Result<Option<EntryDefinition>, StoreError> {
        let stored = self.store.entries(None).await?.map_or_else(Vec::new, |stored| stored.entries);
        Ok(stored.into_iter().find(|entry| entry.name == name))
    }

    pub(crate) async fn entry(&self, name: &str) -> Result<Option<Found>, StoreError> {
        if let Some(stored) = self.stored(name).await? {
            return Ok(Some(Found { is_stored: true, rule: Some(in_words(&stored.schedule)) }));
        }
        let entry = self.in_code.iter().find(|entry| entry.name() == name);
        Ok(entry.map(|entry| Found { is_stored: false, rule: Some(in_words(&entry.schedule(self.zone))) }))
    }

    /// Sends the task of an entry once; returns its id.
    pub(crate) async fn run(&self, app: &App, name: &str) -> Result<String, String> {
        let stored = self.stored(name).await.map_err(|error| error.to_string())?.map(Entry::from);
        let entry = stored.as_ref().or_else(|| self.in_code.iter().find(|entry| entry.name() == name));
        let entry = entry.ok_or("there is no such entry any more")?;
        let id = Uuid::new_v4().to_string();
        entry.send_now(app, &id).await.map_err(|error| error.to_string())?;
        Ok(id)
    }

    pub(crate) async fn change(&self, name: &str, change: &Change) -> Result<bool, StoreError> {
        self.store.change(name, change).await
    }
}

/// A rule as a person says it.
pub(crate) fn in_words(rule: &Rule) -> String {
    match rule {
        Rule::Every(every) if every.as_secs() < 60 && every.subsec_nanos() == 0 => {
            format!("every {} s", every.as_secs())
        }
        Rule::Every(every) => format!("every {}", duration(every.as_secs_f64())),
        Rule::Crontab(crontab, zone) => format!("{crontab} ({zone})"),
        Rule::Clocked(at) => format!("once, at {}", at.format("%Y-%m-%d %H:%M:%S UTC")),
    }
}

impl Schedule {
    /// How late the entry is that is overdue the longest; zero if none is.
    pub(crate) fn lag(&self) -> Duration {
        let late = self.entries.iter().filter_map(|entry| (self.at - entry.next?).to_std().ok());
        late.max().unwrap_or_default()
    }
}

pub(super) async fn watch(core: Arc<Core>) {
    let Some(timetable) = &core.timetable else { return };
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let schedule = timetable.read(clock::now()).await;
        core.cluster.write().schedule = Some(schedule);
    }
}

//! The schedule, as its store and the code of the beats have it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use celeriac::beat::store::Lease;
use celeriac::beat::{Entry, Schedule as Rule, ScheduleStore, StoreError};
use celeriac::clock;
use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use tokio::time::{MissedTickBehavior, interval};

use crate::Core;

const EVERY: Duration = Duration::from_secs(5);

/// Where the schedule is found.
pub(crate) struct Timetable {
    store: Arc<dyn ScheduleStore>,
    in_code: Vec<(String, String, Rule)>,
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
    pub(crate) fn new(store: Arc<dyn ScheduleStore>, entries: &[Entry], zone: Tz) -> Self {
        let known = |entry: &Entry| (entry.name().to_owned(), entry.task().to_owned(), entry.schedule(zone));
        Self { store, in_code: entries.iter().map(known).collect() }
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
        for (name, task, rule) in &self.in_code {
            entries.insert(name.clone(), (Some(task.clone()), Some(rule.clone()), true));
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

//! What is sent, and when.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use chrono_tz::Tz;

use super::schedule::{Timetable, task_id};
use super::store::EntryDefinition;
use super::ticker::Plan;
use super::{CatchUp, Crontab, Schedule};
use crate::app::{App, SendError, SendOptions};
use crate::protocol::{RawJson, repr};
use crate::task::Task;

/// The sending of one tick.
pub(super) type Sending = Pin<Box<dyn Future<Output = Result<(), SendError>> + Send>>;

/// A tick that is about to be sent.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct DueTick<'a> {
    /// The name of its entry.
    pub entry: &'a str,
    /// The name of the task that is sent.
    pub task: &'a str,
    /// When the entry is due.
    pub schedule: &'a Schedule,
    /// The time of the tick, which may be over.
    pub time: DateTime<Utc>,
    /// The id of the task: the same should the tick be sent a second time.
    pub task_id: &'a str,
}

/// What wants to know of each tick before it is sent.
pub(super) type Tell = dyn Fn(&DueTick<'_>, SendOptions) -> SendOptions + Send + Sync;

/// A task and the times at which it is sent.
///
/// ```
/// use std::time::Duration;
/// use celeriac::beat::{CatchUp, CrontabError};
/// use celeriac::{Entry, SendOptions, Task};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Task, Serialize, Deserialize)]
/// #[task(name = "shop.report")]
/// struct Report {
///     days: u32,
/// }
///
/// # fn main() -> Result<(), CrontabError> {
/// let mondays = Entry::crontab("weekly-report", "0 9 * * mon".parse()?, Report { days: 7 })
///     .catch_up(CatchUp::All)
///     .options(SendOptions::new().queue("reports").expires(Duration::from_secs(3600)));
/// # Ok(())
/// # }
/// ```
#[must_use]
pub struct Entry {
    pub(super) name: String,
    task: Arc<str>,
    when: When,
    start: Option<DateTime<Utc>>,
    end: Option<DateTime<Utc>>,
    catch_up: CatchUp,
    enabled: bool,
    stored: Option<Stored>,
    options: SendOptions,
    send: Arc<dyn Fn(App, SendOptions) -> Sending + Send + Sync>,
}

/// A schedule whose time zone may be still to be said.
enum When {
    Known(Schedule),
    Crontab(Crontab),
}

/// What only an entry of a store has.
struct Stored {
    one_off: bool,
    last_run_at: Option<DateTime<Utc>>,
    total_run_count: u64,
}

impl Entry {
    /// Sends a task at every multiple of `every` since 1970, or since its [start time](Self::start_time).
    pub fn every<T: Task>(name: impl Into<String>, every: Duration, task: T) -> Self {
        Self::typed(name.into(), When::Known(Schedule::Every(every)), task)
    }

    /// Sends a task at the times of a crontab, by the clocks of the beat's time zone.
    pub fn crontab<T: Task>(name: impl Into<String>, crontab: Crontab, task: T) -> Self {
        Self::typed(name.into(), When::Crontab(crontab), task)
    }

    /// Sends a task once. Whether it was sent is in the [store](super::ScheduleStore): one that forgets with the process
    /// sends it only if the process runs at that time.
    pub fn clocked<T: Task>(name: impl Into<String>, at: DateTime<Utc>, task: T) -> Self {
        Self::typed(name.into(), When::Known(Schedule::Clocked(at)), task)
    }

    fn typed<T: Task>(name: String, when: When, task: T) -> Self {
        let task = Arc::new(task);
        Self::new(name, T::NAME.into(), when, move |app, options| {
            let task = Arc::clone(&task);
            Box::pin(async move { app.send_ref(&*task, options).await.map(drop) })
        })
    }

    /// Sends a task that this program does not know as a type. `args` must be a JSON list, `kwargs` an object.
    pub fn named(name: impl Into<String>, schedule: Schedule, task: &str, args: RawJson, kwargs: RawJson) -> Self {
        let task: Arc<str> = task.into();
        Self::new(name.into(), Arc::clone(&task), When::Known(schedule), move |app, options| {
            let (task, args, kwargs) = (Arc::clone(&task), args.clone(), kwargs.clone());
            let shown = Some(shown(&args));
            Box::pin(async move { app.send_json(&task, args, kwargs, shown, options).await.map(drop) })
        })
    }

    fn new(
        name: String,
        task: Arc<str>,
        when: When,
        send: impl Fn(App, SendOptions) -> Sending + Send + Sync + 'static,
    ) -> Self {
        Self {
            name,
            task,
            when,
            start: None,
            end: None,
            catch_up: CatchUp::default(),
            enabled: true,
            stored: None,
            options: SendOptions::new(),
            send: Arc::new(send),
        }
    }

    /// An entry of a store.
    pub(super) fn stored(definition: EntryDefinition) -> Self {
        let options = definition.options();
        let EntryDefinition { name, task, args, kwargs, schedule, .. } = definition;
        Self {
            start: definition.start_time,
            end: definition.expires,
            catch_up: definition.catch_up,
            enabled: definition.enabled,
            stored: Some(Stored {
                one_off: definition.one_off,
                last_run_at: definition.last_run_at,
                total_run_count: definition.total_run_count,
            }),
            options,
            ..Self::named(name, schedule, &task, args, kwargs)
        }
    }

    /// What becomes of ticks that were missed; [`CatchUp::Once`] by default.
    pub fn catch_up(mut self, catch_up: CatchUp) -> Self {
        self.catch_up = catch_up;
        self
    }

    /// Nothing is sent before this time, from which an interval is counted.
    pub fn start_time(mut self, start: DateTime<Utc>) -> Self {
        self.start = Some(start);
        self
    }

    /// Nothing is sent from this time on.
    pub fn expires(mut self, end: DateTime<Utc>) -> Self {
        self.end = Some(end);
        self
    }

    /// Whether anything is sent.
    pub fn enabled(mut self, enabled: bool) -> Self {
        self.enabled = enabled;
        self
    }

    /// How it is sent. A task id given here is not used: every tick has its own.
    pub fn options(mut self, options: SendOptions) -> Self {
        self.options = options;
        self
    }

    /// What it is called.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The name of the task that is sent.
    #[must_use]
    pub fn task(&self) -> &str {
        &self.task
    }

    /// When it is sent, for crontabs without a time zone of their own by the clocks of `zone`.
    #[must_use]
    pub fn schedule(&self, zone: Tz) -> Schedule {
        match &self.when {
            When::Known(schedule) => schedule.clone(),
            When::Crontab(crontab) => Schedule::Crontab(crontab.clone(), zone),
        }
    }

    /// When it is due, for crontabs by the clocks of `zone`. `None`: it is switched off.
    pub(super) fn plan(&self, zone: Tz) -> Option<Plan> {
        let schedule = self.schedule(zone);
        let ends_itself = matches!(schedule, Schedule::Clocked(_));
        self.enabled.then(|| Plan {
            timetable: Timetable { schedule, start: self.start, end: self.end, catch_up: self.catch_up },
            is_stored: self.stored.is_some(),
            one_off: self.stored.as_ref().is_some_and(|stored| stored.one_off || ends_itself),
            // `ModelEntry.is_due`
            is_spent: self.stored.as_ref().is_some_and(|stored| stored.one_off && stored.total_run_count > 0),
            last_run_at: self.stored.as_ref().and_then(|stored| stored.last_run_at),
        })
    }

    /// Sends its task once, besides its ticks, with an id that is not that of a tick.
    ///
    /// # Errors
    /// See [`SendError`].
    pub async fn send_now(&self, app: &App, task_id: &str) -> Result<(), SendError> {
        (self.send)(app.clone(), self.options.clone().task_id(task_id)).await
    }

    /// Sends the task of one tick. `again`: it may have been sent before.
    pub(super) fn send(&self, app: &App, tick: DateTime<Utc>, again: bool, told: Option<(&Tell, Tz)>) -> Sending {
        let mut options = self.options.clone().task_id(task_id(&self.name, tick)).header("celery_beat_task", true);
        if again {
            options = options.header(super::SENT_AGAIN, true);
        }
        if let Some((tell, zone)) = told {
            let due = DueTick {
                entry: &self.name,
                task: &self.task,
                schedule: &self.schedule(zone),
                time: tick,
                task_id: &task_id(&self.name, tick),
            };
            options = tell(&due, options);
        }
        (self.send)(app.clone(), options)
    }
}

/// An entry of a [store](super::ScheduleStore).
impl From<EntryDefinition> for Entry {
    fn from(definition: EntryDefinition) -> Self {
        Self::stored(definition)
    }
}

/// Celery's beat sends arguments as a list (`celery/beat.py`, `_evaluate_entry_args`), and so they are shown; that there
/// are none is shown as everywhere.
fn shown(args: &RawJson) -> String {
    let tuple = repr::args(args);
    match tuple.strip_prefix('(').and_then(|rest| rest.strip_suffix(')')) {
        Some(elements) if !elements.is_empty() => format!("[{}]", elements.strip_suffix(',').unwrap_or(elements)),
        _ => tuple,
    }
}

//! A row of django-celery-beat, read as its `ModelEntry` reads it (`django_celery_beat/schedulers.py`).

use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio_postgres::Error;

use crate::beat::store::definition::{self, DefinitionError, EntryDefinition};
use crate::beat::{Crontab, Schedule};

pub(super) const COLUMNS: &str = "
    task.name, task.task, task.args, task.kwargs, task.queue, task.exchange, task.routing_key, task.headers,
    task.priority, task.expires, task.expire_seconds, task.start_time, task.one_off, task.enabled, task.last_run_at,
    task.total_run_count, interval.every, interval.period, crontab.minute, crontab.hour, crontab.day_of_week,
    crontab.day_of_month, crontab.month_of_year, crontab.timezone, clocked.clocked_time, progress.catch_up";

pub(super) struct Row {
    pub(super) name: String,
    task: String,
    args: String,
    kwargs: String,
    queue: Option<String>,
    exchange: Option<String>,
    routing_key: Option<String>,
    headers: String,
    priority: Option<i32>,
    expires: Option<DateTime<Utc>>,
    expire_seconds: Option<i32>,
    start_time: Option<DateTime<Utc>>,
    one_off: bool,
    enabled: bool,
    last_run_at: Option<DateTime<Utc>>,
    total_run_count: i32,
    interval: Option<(i32, String)>,
    /// Minute, hour, day of week, day of month, month of year, time zone.
    crontab: Option<[String; 6]>,
    clocked: Option<DateTime<Utc>>,
    catch_up: Option<String>,
}

impl Row {
    pub(super) fn read(row: &tokio_postgres::Row) -> Result<Self, Error> {
        let every: Option<i32> = row.try_get(16)?;
        let period: Option<String> = row.try_get(17)?;
        let mut fields = [const { None::<String> }; 6];
        for (place, field) in fields.iter_mut().enumerate() {
            *field = row.try_get(18 + place)?;
        }
        let crontab = match fields {
            [Some(a), Some(b), Some(c), Some(d), Some(e), Some(f)] => Some([a, b, c, d, e, f]),
            _ => None,
        };
        Ok(Self {
            name: row.try_get(0)?,
            task: row.try_get(1)?,
            args: row.try_get(2)?,
            kwargs: row.try_get(3)?,
            queue: row.try_get(4)?,
            exchange: row.try_get(5)?,
            routing_key: row.try_get(6)?,
            headers: row.try_get(7)?,
            priority: row.try_get(8)?,
            expires: row.try_get(9)?,
            expire_seconds: row.try_get(10)?,
            start_time: row.try_get(11)?,
            one_off: row.try_get(12)?,
            enabled: row.try_get(13)?,
            last_run_at: row.try_get(14)?,
            total_run_count: row.try_get(15)?,
            interval: every.zip(period),
            crontab,
            clocked: row.try_get(24)?,
            catch_up: row.try_get(25)?,
        })
    }

    pub(super) fn into_definition(self) -> Result<EntryDefinition, DefinitionError> {
        let schedule = self.schedule()?;
        let set = |text: Option<String>| text.filter(|text| !text.is_empty());
        let number = |field: &str| DefinitionError(format!("{field}: out of range"));
        Ok(EntryDefinition {
            args: definition::list("args", Some(&self.args))?,
            kwargs: definition::object("kwargs", Some(&self.kwargs))?,
            headers: definition::headers(Some(&self.headers))?,
            queue: set(self.queue),
            exchange: set(self.exchange),
            routing_key: set(self.routing_key),
            priority: self.priority.map(u8::try_from).transpose().map_err(|_| number("priority"))?,
            expires: self.expires,
            expire_seconds: self.expire_seconds.map(u32::try_from).transpose().map_err(|_| number("expire_seconds"))?,
            start_time: self.start_time,
            one_off: self.one_off,
            enabled: self.enabled,
            catch_up: set(self.catch_up).map_or(Ok(Default::default()), |text| text.parse())?,
            last_run_at: self.last_run_at,
            total_run_count: self.total_run_count.try_into().unwrap_or_default(),
            ..EntryDefinition::new(self.name, self.task, schedule)
        })
    }

    /// In the order in which `PeriodicTask.schedule` looks.
    fn schedule(&self) -> Result<Schedule, DefinitionError> {
        if let Some((every, period)) = &self.interval {
            let micros: u64 = match period.as_str() {
                "days" => 86_400_000_000,
                "hours" => 3_600_000_000,
                "minutes" => 60_000_000,
                "seconds" => 1_000_000,
                "microseconds" => 1,
                other => return Err(DefinitionError(format!("interval: period {other:?} is not known"))),
            };
            let every = u64::try_from(*every).ok().filter(|every| *every > 0);
            let every = every.ok_or_else(|| DefinitionError("interval: every must be above 0".to_owned()))?;
            return Ok(Schedule::Every(Duration::from_micros(every.saturating_mul(micros))));
        }
        if let Some([minute, hour, day_of_week, day_of_month, month_of_year, zone]) = &self.crontab {
            let [minute, hour, day_of_week, day_of_month, month_of_year] =
                [minute, hour, day_of_week, day_of_month, month_of_year].map(|field| field.replace(' ', ""));
            let crontab = Crontab::new(&minute, &hour, &day_of_week, &day_of_month, &month_of_year);
            let crontab = crontab.map_err(|error| DefinitionError(format!("crontab: {error}")))?;
            return Ok(Schedule::Crontab(crontab, definition::zone(zone)?));
        }
        let clocked = self.clocked.map(Schedule::Clocked);
        clocked.ok_or_else(|| {
            DefinitionError("it has neither interval, crontab nor clocked (solar is not known)".to_owned())
        })
    }
}

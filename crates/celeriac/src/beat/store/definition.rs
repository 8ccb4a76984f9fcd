//! An entry as a store keeps it, and the JSON in which Redis does.

use std::str::FromStr;
use std::time::Duration;

use chrono::{DateTime, SecondsFormat, Utc};
use chrono_tz::Tz;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::app::SendOptions;
use crate::beat::{CatchUp, Crontab, Schedule};
use crate::protocol::{Json, RawJson, Value};

/// An entry that is not in code: the fields of django-celery-beat's `PeriodicTask`, and a catch-up policy.
#[derive(Clone, Debug)]
pub struct EntryDefinition {
    /// Unique in its store; the id of each tick's task is made of it.
    pub name: String,
    /// The task that is sent.
    pub task: String,
    /// A JSON list.
    pub args: RawJson,
    /// A JSON object.
    pub kwargs: RawJson,
    /// When it is sent.
    pub schedule: Schedule,
    /// Where to; `None`: as the routes of the application say.
    pub queue: Option<String>,
    /// Instead of a queue.
    pub exchange: Option<String>,
    /// Counts only with an exchange.
    pub routing_key: Option<String>,
    /// 0 to 255; `None` is 0.
    pub priority: Option<u8>,
    /// Added to the message.
    pub headers: Vec<(String, Json)>,
    /// From then on nothing is sent, and what was sent is not started.
    pub expires: Option<DateTime<Utc>>,
    /// What was sent is not started after this many seconds.
    pub expire_seconds: Option<u32>,
    /// Nothing is sent before.
    pub start_time: Option<DateTime<Utc>>,
    /// Switched off after its first tick. A clocked schedule always is.
    pub one_off: bool,
    /// Nothing is sent of an entry that is not.
    pub enabled: bool,
    /// What becomes of the ticks that were missed; Celery catches up once.
    pub catch_up: CatchUp,
    /// When its task was sent last.
    pub last_run_at: Option<DateTime<Utc>>,
    /// How often its task was sent.
    pub total_run_count: u64,
}

/// What is wrong with an entry of a store; it names the field.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct DefinitionError(pub(super) String);

impl EntryDefinition {
    /// A task without arguments, with Celery's defaults for all else.
    #[must_use]
    pub fn new(name: impl Into<String>, task: impl Into<String>, schedule: Schedule) -> Self {
        Self {
            name: name.into(),
            task: task.into(),
            args: RawJson::EMPTY_LIST,
            kwargs: RawJson::EMPTY_OBJECT,
            schedule,
            queue: None,
            exchange: None,
            routing_key: None,
            priority: None,
            headers: Vec::new(),
            expires: None,
            expire_seconds: None,
            start_time: None,
            one_off: false,
            enabled: true,
            catch_up: CatchUp::default(),
            last_run_at: None,
            total_run_count: 0,
        }
    }

    /// How its tasks are sent: with the header that django-celery-beat adds.
    pub(in crate::beat) fn options(&self) -> SendOptions {
        let mut options = SendOptions::new();
        for (name, value) in &self.headers {
            options = options.header(name, Value::from_json(value));
        }
        options = options.header("periodic_task_name", self.name.as_str());
        if let Some(queue) = &self.queue {
            options = options.queue(queue);
        }
        if let Some(exchange) = &self.exchange {
            options = options.exchange(exchange, self.routing_key.as_deref().unwrap_or_default());
        }
        if let Some(priority) = self.priority {
            options = options.priority(priority);
        }
        match (self.expires, self.expire_seconds) {
            (Some(expires), _) => options.expires_at(expires),
            (None, Some(seconds)) => options.expires(Duration::from_secs(seconds.into())),
            (None, None) => options,
        }
    }

    /// Reads the JSON of an entry.
    ///
    /// ```json
    /// {"task": "shop.greet", "kwargs": {"name": "Ada"}, "every": 30}
    /// ```
    ///
    /// One of `every` (seconds), `crontab` (`minute hour day_of_month month_of_year day_of_week`, with `timezone`, UTC by
    /// default) and `clocked` (a time) says when. Optional are `args`, `kwargs`, `queue`, `exchange`, `routing_key`,
    /// `priority`, `headers`, `expires` (a time), `expire_seconds`, `start_time`, `one_off`, `enabled` and `catch_up`
    /// (`once`, `skip`, `all`, or how many: `"3"`).
    ///
    /// # Errors
    /// Names the field that cannot be read.
    pub fn from_json(name: &str, text: &str) -> Result<Self, DefinitionError> {
        let written: Written<'_> = serde_json::from_str(text).map_err(|error| DefinitionError(error.to_string()))?;
        let mut entry = Self::new(name, written.task.clone(), written.schedule()?);
        entry.args = list("args", written.args.map(RawValue::get))?;
        entry.kwargs = object("kwargs", written.kwargs.map(RawValue::get))?;
        entry.headers = headers(written.headers.map(RawValue::get))?;
        entry.catch_up = written.catch_up.as_deref().map_or(Ok(CatchUp::default()), str::parse)?;
        entry.queue = written.queue;
        entry.exchange = written.exchange;
        entry.routing_key = written.routing_key;
        entry.priority = written.priority;
        entry.expires = written.expires;
        entry.expire_seconds = written.expire_seconds;
        entry.start_time = written.start_time;
        entry.one_off = written.one_off;
        entry.enabled = written.enabled;
        Ok(entry)
    }

    /// As [`from_json`](Self::from_json) reads it.
    #[must_use]
    pub fn to_json(&self) -> String {
        let text = |text: &str| Json::Str(text.to_owned());
        let time = |time: &DateTime<Utc>| text(&time.to_rfc3339_opts(SecondsFormat::AutoSi, true));
        let mut fields =
            vec![("task", text(&self.task)), ("args", self.args.to_tree()), ("kwargs", self.kwargs.to_tree())];
        match &self.schedule {
            Schedule::Every(every) => fields.push(("every", Json::Number(every.as_secs_f64().to_string()))),
            Schedule::Crontab(crontab, zone) => {
                fields.extend([("crontab", text(&crontab.to_string())), ("timezone", text(zone.name()))]);
            }
            Schedule::Clocked(at) => fields.push(("clocked", time(at))),
        }
        let texts = [("queue", &self.queue), ("exchange", &self.exchange), ("routing_key", &self.routing_key)];
        fields.extend(texts.into_iter().filter_map(|(name, value)| Some((name, text(value.as_deref()?)))));
        let numbers = [("priority", self.priority.map(u32::from)), ("expire_seconds", self.expire_seconds)];
        fields.extend(numbers.into_iter().filter_map(|(name, value)| Some((name, Json::Int(value?.into())))));
        let times = [("expires", &self.expires), ("start_time", &self.start_time)];
        fields.extend(times.into_iter().filter_map(|(name, value)| Some((name, time(value.as_ref()?)))));
        fields.push(("headers", Json::Object(self.headers.clone())));
        fields.extend([("one_off", Json::Bool(self.one_off)), ("enabled", Json::Bool(self.enabled))]);
        fields.push(("catch_up", text(&self.catch_up.to_string())));
        let mut bytes = Vec::new();
        Json::Object(fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()).write(&mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written<'a> {
    task: String,
    #[serde(borrow)]
    args: Option<&'a RawValue>,
    #[serde(borrow)]
    kwargs: Option<&'a RawValue>,
    every: Option<f64>,
    crontab: Option<String>,
    timezone: Option<String>,
    clocked: Option<DateTime<Utc>>,
    queue: Option<String>,
    exchange: Option<String>,
    routing_key: Option<String>,
    priority: Option<u8>,
    #[serde(borrow)]
    headers: Option<&'a RawValue>,
    expires: Option<DateTime<Utc>>,
    expire_seconds: Option<u32>,
    start_time: Option<DateTime<Utc>>,
    #[serde(default)]
    one_off: bool,
    #[serde(default = "yes")]
    enabled: bool,
    catch_up: Option<String>,
}

fn yes() -> bool {
    true
}

impl Written<'_> {
    fn schedule(&self) -> Result<Schedule, DefinitionError> {
        match (self.every, &self.crontab, self.clocked) {
            (Some(seconds), None, None) => every(seconds),
            (None, Some(fields), None) => {
                let crontab =
                    fields.parse::<Crontab>().map_err(|error| DefinitionError(format!("crontab: {error}")))?;
                Ok(Schedule::Crontab(crontab, zone(self.timezone.as_deref().unwrap_or("UTC"))?))
            }
            (None, None, Some(time)) => Ok(Schedule::Clocked(time)),
            _ => Err(DefinitionError("exactly one of every, crontab and clocked expected".to_owned())),
        }
    }
}

fn every(seconds: f64) -> Result<Schedule, DefinitionError> {
    let every = Duration::try_from_secs_f64(seconds).ok().filter(|every| *every >= Duration::from_micros(1));
    every.map(Schedule::Every).ok_or_else(|| DefinitionError("every: a number of seconds above 0 expected".to_owned()))
}

pub(super) fn zone(name: &str) -> Result<Tz, DefinitionError> {
    name.parse().map_err(|_| DefinitionError(format!("timezone: {name:?} is not known")))
}

pub(super) fn list(field: &str, text: Option<&str>) -> Result<RawJson, DefinitionError> {
    shaped(field, text, RawJson::EMPTY_LIST, b'[', "list")
}

pub(super) fn object(field: &str, text: Option<&str>) -> Result<RawJson, DefinitionError> {
    shaped(field, text, RawJson::EMPTY_OBJECT, b'{', "object")
}

/// Nothing, and an empty text, is the default, as in django-celery-beat.
fn shaped(field: &str, text: Option<&str>, empty: RawJson, first: u8, what: &str) -> Result<RawJson, DefinitionError> {
    let Some(text) = text.map(str::trim).filter(|text| !text.is_empty()) else { return Ok(empty) };
    let json = RawJson::parse(text.to_owned()).map_err(|error| DefinitionError(format!("{field}: {error}")))?;
    match json.as_bytes().first() {
        Some(byte) if *byte == first => Ok(json),
        _ => Err(DefinitionError(format!("{field}: a JSON {what} expected"))),
    }
}

pub(super) fn headers(text: Option<&str>) -> Result<Vec<(String, Json)>, DefinitionError> {
    match object("headers", text)?.to_tree() {
        Json::Object(headers) => Ok(headers),
        _ => Ok(Vec::new()),
    }
}

impl FromStr for CatchUp {
    type Err = DefinitionError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "skip" => Ok(Self::Skip),
            "once" => Ok(Self::Once),
            "all" => Ok(Self::All),
            number => number
                .parse()
                .map(Self::UpTo)
                .map_err(|_| DefinitionError(format!("catch_up: {text:?} is none of once, skip, all and a number"))),
        }
    }
}

impl std::fmt::Display for CatchUp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Skip => f.write_str("skip"),
            Self::Once => f.write_str("once"),
            Self::UpTo(count) => count.fmt(f),
            Self::All => f.write_str("all"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_read_as_it_was_written() {
        for text in [
            r#"{"task": "a", "every": 0.5}"#,
            r#"{"task": "a", "args": [1,"x"], "kwargs": {"b":1,"a":2.50}, "crontab": "0 4 * * mon", "timezone": "Europe/Moscow",
                "queue": "q", "exchange": "e", "routing_key": "k", "priority": 9, "headers": {"x": 1}, "expire_seconds": 60,
                "start_time": "2026-01-01T00:00:00Z", "catch_up": "3", "enabled": false}"#,
            r#"{"task": "a", "clocked": "2026-01-01T03:00:00.5+03:00", "one_off": true, "catch_up": "skip"}"#,
        ] {
            let entry = EntryDefinition::from_json("n", text).unwrap();
            let again = EntryDefinition::from_json("n", &entry.to_json()).unwrap();
            assert_eq!(format!("{entry:?}"), format!("{again:?}"), "{text}");
        }
    }

    #[test]
    fn what_is_wrong_with_an_entry_is_named() {
        for (text, field) in [
            ("", "EOF"),
            (r#"{"every": 1}"#, "task"),
            (r#"{"task": "a"}"#, "exactly one of every"),
            (r#"{"task": "a", "every": 1, "crontab": "* * * * *"}"#, "exactly one of every"),
            (r#"{"task": "a", "every": 0}"#, "every"),
            (r#"{"task": "a", "every": 1e300}"#, "every"),
            (r#"{"task": "a", "crontab": "* * * 13 *"}"#, "month_of_year"),
            (r#"{"task": "a", "crontab": "* * * * *", "timezone": "Mars"}"#, "timezone"),
            (r#"{"task": "a", "every": 1, "args": {}}"#, "args"),
            (r#"{"task": "a", "every": 1, "kwargs": []}"#, "kwargs"),
            (r#"{"task": "a", "every": 1, "headers": 1}"#, "headers"),
            (r#"{"task": "a", "every": 1, "catch_up": "maybe"}"#, "catch_up"),
            (r#"{"task": "a", "every": 1, "priority": 256}"#, "256"),
            (r#"{"task": "a", "every": 1, "evry": 2}"#, "evry"),
        ] {
            let error = EntryDefinition::from_json("n", text).unwrap_err().to_string();
            assert!(error.contains(field), "{text}: {error}");
        }
    }
}

//! A schedule in Redis: a hash of JSON entries that operators may edit.

use std::collections::HashMap;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, SecondsFormat, Utc};
use parking_lot::Mutex;
use redis::Script;
use serde::Deserialize;

use super::{Change, EntryDefinition, Lease, Progress, Record, ScheduleStore, StoreError, StoredEntries};
use crate::backend::BackendError;
use crate::backend::redis::link::Link;

/// KEYS: lease, term. ARGV: beat, milliseconds. The lease is the text `term beat`.
const LEAD: &str = r"
local held = redis.call('GET', KEYS[1])
if held then
  local term, beat = string.match(held, '^(%d+) (.*)$')
  if beat ~= ARGV[1] then return false end
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
  return tonumber(term)
end
local term = redis.call('INCR', KEYS[2])
redis.call('SET', KEYS[1], term .. ' ' .. ARGV[1], 'NX', 'PX', ARGV[2])
return term
";

/// KEYS: lease. ARGV: what it is.
const RESIGN: &str = r"
if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end
";

/// KEYS: lease, progress, entries, version. ARGV: what the lease is, then seven of each record: entry, whether it stays,
/// handled, sending, sent_at, and its JSON as it was and as it shall be if it is to be switched off.
///
/// Written again, a record changes nothing: what is recorded as handled already is not counted.
const RECORD: &str = r"
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
local function value(text) if text ~= '' then return text end end
for i = 2, #ARGV, 7 do
  local entry, stays, handled, sending, sent_at, before, after = unpack(ARGV, i, i + 6)
  if stays == '' then
    redis.call('HDEL', KEYS[2], entry)
  else
    local ok, progress = pcall(cjson.decode, redis.call('HGET', KEYS[2], entry) or '{}')
    if not ok or type(progress) ~= 'table' then progress = {} end
    local is_again = progress.handled == value(handled) and progress.sending == value(sending)
    if sent_at ~= '' and not is_again then
      progress.last_run_at = sent_at
      progress.total_run_count = (tonumber(progress.total_run_count) or 0) + 1
    end
    if after ~= '' then progress.last_run_at, progress.total_run_count = nil, nil end
    progress.handled, progress.sending = value(handled), value(sending)
    redis.call('HSET', KEYS[2], entry, cjson.encode(progress))
  end
  if after ~= '' and redis.call('HGET', KEYS[3], entry) == before then
    redis.call('HSET', KEYS[3], entry, after)
    redis.call('INCR', KEYS[4])
  end
end
return 1
";

/// KEYS: entries, version. ARGV: the name of an entry, its JSON as it was, and as it shall be.
const CHANGE: &str = r"
if redis.call('HGET', KEYS[1], ARGV[1]) ~= ARGV[2] then return 0 end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
redis.call('INCR', KEYS[2])
return 1
";
/// How often an entry is read again that others change at the same time.
const MAX_CHANGES: usize = 8;

/// A schedule in Redis, shared by all beats that use the same database and prefix (`celeriac:{beat}:` by default):
///
/// | key | what |
/// |---|---|
/// | `…entries` | hash: the name of an entry → its JSON, see [`EntryDefinition::from_json`] |
/// | `…version` | raised (`INCR`) by whoever has changed the entries: within 5 seconds they are read again |
/// | `…progress` | hash: name → JSON of `handled`, `sending`, `last_run_at`, `total_run_count`; written by the beat that leads |
/// | `…lease` | `term beat` of the beat that leads, with a time to live |
/// | `…term` | the last term |
///
/// ```text
/// HSET celeriac:{beat}:entries greet '{"task": "shop.greet", "kwargs": {"name": "Ada"}, "every": 30}'
/// INCR celeriac:{beat}:version
/// ```
///
/// What Redis loses is lost: give it a durable configuration (`appendonly yes`) where missed ticks matter.
pub struct RedisScheduleStore {
    link: Link,
    prefix: String,
    scripts: Scripts,
    /// The JSON of the entries as it was read last.
    texts: Mutex<HashMap<String, String>>,
}

struct Scripts {
    lead: Script,
    resign: Script,
    record: Script,
    change: Script,
}

impl RedisScheduleStore {
    /// Connects. No answer is waited for longer than `timeout`.
    ///
    /// # Errors
    /// See [`connect`](super::connect).
    pub async fn connect(url: &str, timeout: Duration) -> Result<Self, BackendError> {
        let link = Link::connect(url, None, timeout).await?;
        let scripts = Scripts {
            lead: Script::new(LEAD),
            resign: Script::new(RESIGN),
            record: Script::new(RECORD),
            change: Script::new(CHANGE),
        };
        Ok(Self { link, prefix: "celeriac:{beat}:".to_owned(), scripts, texts: Mutex::default() })
    }

    /// What its keys begin with: beats of another system in the same database need another prefix.
    #[must_use]
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    fn key(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    async fn hash(&self, name: &str) -> Result<HashMap<String, String>, StoreError> {
        let hash = redis::cmd("HGETALL").arg(self.key(name)).query_async(&mut self.link.connection()).await;
        Ok(hash.map_err(|error| self.link.failed(&error))?)
    }

    /// The JSON of an entry as it is and as it shall be.
    fn disabled(&self, record: &Record) -> Option<(String, String)> {
        let before = self.texts.lock().get(&record.entry).filter(|_| record.disable)?.clone();
        let mut entry = EntryDefinition::from_json(&record.entry, &before).ok()?;
        entry.enabled = false;
        Some((before, entry.to_json()))
    }
}

/// A value of the hash of progress, as far as it is ours to read.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Stored {
    handled: Option<DateTime<Utc>>,
    sending: Option<DateTime<Utc>>,
    last_run_at: Option<DateTime<Utc>>,
    total_run_count: u64,
}

impl Stored {
    fn read(entry: &str, text: &str) -> Self {
        serde_json::from_str(text).unwrap_or_else(|error| {
            tracing::warn!(entry, %error, "progress of a schedule entry cannot be read; it begins anew");
            Self::default()
        })
    }
}

fn held(lease: &Lease) -> String {
    format!("{} {}", lease.term, lease.beat)
}

fn text(time: Option<DateTime<Utc>>) -> String {
    time.map_or_else(String::new, |time| time.to_rfc3339_opts(SecondsFormat::Micros, true))
}

#[async_trait]
impl ScheduleStore for RedisScheduleStore {
    async fn lead(&self, beat: &str, ttl: Duration) -> Result<Option<u64>, StoreError> {
        let millis = u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX).max(1);
        let mut call = self.scripts.lead.key(self.key("lease"));
        call.key(self.key("term")).arg(beat).arg(millis);
        let term = call.invoke_async(&mut self.link.connection()).await;
        Ok(term.map_err(|error| self.link.failed(&error))?)
    }

    async fn leader(&self) -> Result<Option<Lease>, StoreError> {
        let held = redis::cmd("GET").arg(self.key("lease")).query_async(&mut self.link.connection()).await;
        let held: Option<String> = held.map_err(|error| self.link.failed(&error))?;
        let read = |(term, beat): (&str, &str)| Some(Lease { beat: beat.to_owned(), term: term.parse().ok()? });
        Ok(held.as_deref().and_then(|held| held.split_once(' ')).and_then(read))
    }

    async fn resign(&self, lease: &Lease) -> Result<(), StoreError> {
        let mut call = self.scripts.resign.key(self.key("lease"));
        call.arg(held(lease));
        let resigned: Result<(), _> = call.invoke_async(&mut self.link.connection()).await;
        Ok(resigned.map_err(|error| self.link.failed(&error))?)
    }

    async fn entries(&self, seen: Option<&str>) -> Result<Option<StoredEntries>, StoreError> {
        let version = redis::cmd("GET").arg(self.key("version")).query_async(&mut self.link.connection()).await;
        let version: Option<String> = version.map_err(|error| self.link.failed(&error))?;
        let version = version.unwrap_or_default();
        if seen == Some(&version) {
            return Ok(None);
        }
        let (texts, progress) = (self.hash("entries").await?, self.hash("progress").await?);
        let mut entries = Vec::with_capacity(texts.len());
        for (name, text) in &texts {
            match EntryDefinition::from_json(name, text) {
                Ok(mut entry) => {
                    let stored = progress.get(name).map(|text| Stored::read(name, text)).unwrap_or_default();
                    (entry.last_run_at, entry.total_run_count) = (stored.last_run_at, stored.total_run_count);
                    entries.push(entry);
                }
                Err(error) => tracing::error!(entry = name, %error, "schedule entry cannot be read; it is left out"),
            }
        }
        *self.texts.lock() = texts;
        Ok(Some(StoredEntries { version, entries }))
    }

    async fn progress(&self) -> Result<HashMap<String, Progress>, StoreError> {
        let read = |(name, text): (String, String)| {
            let Stored { handled, sending, .. } = Stored::read(&name, &text);
            (name, Progress { handled, sending })
        };
        Ok(self.hash("progress").await?.into_iter().map(read).collect())
    }

    async fn change(&self, entry: &str, change: &Change) -> Result<bool, StoreError> {
        for _ in 0..MAX_CHANGES {
            let mut ask = redis::cmd("HGET");
            let before = ask.arg(self.key("entries")).arg(entry).query_async(&mut self.link.connection()).await;
            let before: Option<String> = before.map_err(|error| self.link.failed(&error))?;
            let Some(before) = before else { return Ok(false) };
            let definition = EntryDefinition::from_json(entry, &before);
            let mut definition = definition.map_err(|error| StoreError::Unavailable(error.to_string()))?;
            change.apply(&mut definition);
            let mut call = self.scripts.change.key(self.key("entries"));
            call.key(self.key("version")).arg(entry).arg(before).arg(definition.to_json());
            let changed = call.invoke_async(&mut self.link.connection()).await;
            let changed: i64 = changed.map_err(|error| self.link.failed(&error))?;
            if changed == 1 {
                return Ok(true);
            }
        }
        Err(StoreError::Unavailable("somebody else changes the entry all the time".to_owned()))
    }

    async fn record(&self, lease: &Lease, records: &[Record]) -> Result<(), StoreError> {
        let mut call = self.scripts.record.key(self.key("lease"));
        call.key(self.key("progress")).key(self.key("entries")).key(self.key("version")).arg(held(lease));
        for record in records {
            let progress = record.progress.unwrap_or_default();
            let stays = if record.progress.is_some() { "1" } else { "" };
            let (before, after) = self.disabled(record).unwrap_or_default();
            call.arg(&record.entry).arg(stays).arg(text(progress.handled)).arg(text(progress.sending));
            call.arg(text(record.sent_at)).arg(before).arg(after);
        }
        let done = call.invoke_async(&mut self.link.connection()).await;
        let is_done: bool = done.map_err(|error| self.link.failed(&error))?;
        if is_done { Ok(()) } else { Err(StoreError::NotLeading) }
    }
}

//! `redis://`, `rediss://`, `sentinel://`: results as Celery's Redis backend keeps them (`celery/backends/redis.py`), key `celery-task-meta-<id>`.

pub(crate) mod address;
mod chord;
mod deliveries;
mod dialer;
mod errors;
mod keys;
mod limits;
pub(crate) mod link;
mod listener;
mod refusal;

use std::time::Duration;

use async_trait::async_trait;
use redis::{RedisError, Script};

use self::keys::Keys;
use self::link::{Connection, Link};
use self::listener::Listener;
use super::memory::is_success;
use super::parts::parts;
use super::payload::{pack, unpack};
use super::{
    BackendError, BackendOptions, ChordPart, ChordProgress, ClusterLimits, DeliveryCounts, ResultBackend,
    ResultSubscription, StoredResult, is_failure,
};
use crate::protocol::Compression;

/// Does for many results at once what Celery does for one: GET, and unless a SUCCESS is there, SETEX (or SET) and
/// PUBLISH. The fast path reads the status where every writer of this format puts it: first. What is compressed it cannot
/// read: it leaves that alone and answers which those are.
const STORE: &str = r#"
local magic = '\0celery-compressed\0'
local packed = {}
local function is_success(stored)
  if type(stored) ~= 'string' then return false end
  local status = string.match(stored, '^{"status": ?"([A-Z]+)"')
  if status then return status == 'SUCCESS' end
  local ok, meta = pcall(cjson.decode, stored)
  return ok and type(meta) == 'table' and meta['status'] == 'SUCCESS'
end
for i, key in ipairs(KEYS) do
  local stored = redis.pcall('GET', key)
  if type(stored) == 'string' and string.byte(stored) == 0 and string.sub(stored, 1, #magic) == magic then
    table.insert(packed, i)
  elseif not is_success(stored) then
    local seconds, meta = tonumber(ARGV[2 * i - 1]), ARGV[2 * i]
    if seconds > 0 then
      redis.call('SETEX', key, seconds, meta)
    else
      redis.call('SET', key, meta)
    end
    redis.call('PUBLISH', key, meta)
  end
end
return packed
"#;

/// Stores a result in place of another, unless that is not there any longer.
const REPLACE: &str = r"
local key, seconds, meta, other = KEYS[1], tonumber(ARGV[1]), ARGV[2], ARGV[3]
if redis.call('GET', key) ~= other then return 0 end
if seconds > 0 then
  redis.call('SETEX', key, seconds, meta)
else
  redis.call('SET', key, meta)
end
redis.call('PUBLISH', key, meta)
return 1
";

/// A result backend that every Celery client can read.
pub struct RedisBackend {
    link: Link,
    keys: Keys,
    times: Times,
    compression: Option<Compression>,
    /// The parts of chords are kept in the order of the header.
    chord_ordered: bool,
    store: Script,
    replace: Script,
    chords: chord::Scripts,
    limits: limits::Scripts,
    listener: Listener,
}

/// For how many seconds something is kept; 0 is for ever.
struct Times {
    result: u64,
    failure: u64,
    chord: u64,
}

impl Times {
    fn new(options: &BackendOptions) -> Self {
        let seconds = |expires: Option<Duration>| expires.map_or(0, |expires| expires.as_secs().max(1));
        Self {
            result: seconds(options.expires),
            failure: seconds(options.of_failures()),
            chord: seconds(options.of_chords()),
        }
    }

    /// Its members and their results are read by users too (`celery/backends/base.py`, `_chord_result_expires`).
    fn of_chord_results(&self) -> u64 {
        if self.chord == 0 || self.result == 0 { 0 } else { self.chord.max(self.result) }
    }

    fn of(&self, meta: &str) -> u64 {
        // Almost always they are the same.
        if self.failure != self.result && is_failure(meta) { self.failure } else { self.result }
    }
}

impl RedisBackend {
    /// Connects.
    ///
    /// # Errors
    /// See [`connect`](super::connect).
    pub(super) async fn connect(url: &str, options: &BackendOptions) -> Result<Self, BackendError> {
        let link = Link::connect(url, options.master_name.as_deref(), options.timeout).await?;
        let listener = Listener::new(&link, options.timeout);
        Ok(Self {
            link,
            keys: Keys::new(&options.key_prefix),
            times: Times::new(options),
            compression: options.compression,
            chord_ordered: options.chord_ordered,
            store: Script::new(STORE),
            replace: Script::new(REPLACE),
            chords: chord::Scripts::new(),
            limits: limits::Scripts::new(),
            listener,
        })
    }

    fn connection(&self) -> Connection {
        self.link.connection()
    }

    fn failed(&self, error: &RedisError) -> BackendError {
        self.link.failed(error)
    }

    async fn store_some(&self, results: &[StoredResult]) -> Result<(), RedisError> {
        let mut call = self.store.prepare_invoke();
        for StoredResult { task_id, meta, .. } in results {
            call.key(self.keys.task(task_id)).arg(self.times.of(meta)).arg(&*pack(meta, self.compression));
        }
        let packed: Vec<usize> = call.invoke_async(&mut self.connection()).await?;
        for place in packed {
            if let Some(result) = results.get(place - 1) {
                self.store_over(result).await?;
            }
        }
        Ok(())
    }

    /// Stores a result where there is a compressed one, unless that is a SUCCESS.
    async fn store_over(&self, result: &StoredResult) -> Result<(), RedisError> {
        let StoredResult { task_id, meta, .. } = result;
        let key = self.keys.task(task_id);
        loop {
            let stored: Option<Vec<u8>> = redis::cmd("GET").arg(&key).query_async(&mut self.connection()).await?;
            let Some(stored) = stored else { return Box::pin(self.store_some(std::slice::from_ref(result))).await };
            if unpack(stored.clone()).is_ok_and(|meta| is_success(&meta)) {
                return Ok(());
            }
            let mut call = self.replace.prepare_invoke();
            call.key(&key).arg(self.times.of(meta)).arg(&*pack(meta, self.compression)).arg(stored);
            if call.invoke_async(&mut self.connection()).await? {
                return Ok(());
            }
        }
    }

    /// # Errors
    /// What was stored cannot be read, now or later.
    fn unpacked(&self, payload: Vec<u8>) -> Result<String, BackendError> {
        unpack(payload).map_err(|reason| BackendError::Refused { address: self.link.address.clone(), reason })
    }
}

#[async_trait]
impl ResultBackend for RedisBackend {
    async fn store(&self, results: &[StoredResult]) -> Result<(), BackendError> {
        for part in parts(results) {
            self.store_some(part).await.map_err(|error| self.failed(&error))?;
        }
        Ok(())
    }

    async fn get(&self, task_id: &str) -> Result<Option<String>, BackendError> {
        let mut command = redis::cmd("GET");
        command.arg(self.keys.task(task_id));
        let stored: Option<Vec<u8>> =
            command.query_async(&mut self.connection()).await.map_err(|error| self.failed(&error))?;
        stored.map(|payload| self.unpacked(payload)).transpose()
    }

    async fn subscribe(&self, task_id: &str) -> Result<ResultSubscription, BackendError> {
        self.listener.subscribe(self.keys.task(task_id)).await
    }

    async fn forget(&self, task_id: &str) -> Result<(), BackendError> {
        let mut command = redis::cmd("DEL");
        command.arg(self.keys.task(task_id));
        command.exec_async(&mut self.connection()).await.map_err(|error| self.failed(&error))
    }

    fn counts_chords(&self) -> bool {
        true
    }

    async fn begin_chord(&self, group_id: &str, size: usize) -> Result<(), BackendError> {
        self.set_chord_size(group_id, size).await
    }

    async fn chord_part(&self, part: &ChordPart, token: &str) -> Result<ChordProgress, BackendError> {
        self.file_part(part, token).await
    }

    async fn extend_chord(&self, group_id: &str, token: &str) -> Result<bool, BackendError> {
        self.extend_claim(group_id, token).await
    }

    async fn end_chord(&self, group_id: &str, token: &str) -> Result<(), BackendError> {
        self.drop_chord(group_id, token).await
    }

    async fn fail_chord(&self, group_id: &str) -> Result<(), BackendError> {
        self.drop_chord_size(group_id).await
    }

    async fn add_to_chord(&self, group_id: &str) -> Result<(), BackendError> {
        self.enlarge_chord(group_id).await
    }

    async fn save_group(&self, group_id: &str, group: &str) -> Result<(), BackendError> {
        self.store_group(group_id, group).await
    }

    async fn group(&self, group_id: &str) -> Result<Option<String>, BackendError> {
        self.stored_group(group_id).await
    }

    async fn forget_group(&self, group_id: &str) -> Result<(), BackendError> {
        self.drop_group(group_id).await
    }

    fn limits(&self) -> Option<&dyn ClusterLimits> {
        Some(self)
    }

    fn deliveries(&self) -> Option<&dyn DeliveryCounts> {
        Some(self)
    }

    fn address(&self) -> &str {
        &self.link.address
    }

    async fn close(&self) {
        self.listener.close();
    }
}

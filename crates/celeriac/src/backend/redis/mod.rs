//! `redis://`: results as Celery's Redis backend keeps them (`celery/backends/redis.py`), key `celery-task-meta-<id>`.

mod chord;
mod deliveries;
mod limits;
pub(crate) mod link;
mod listener;

use async_trait::async_trait;
use redis::aio::ConnectionManager;
use redis::{RedisError, Script};

use self::link::Link;
use self::listener::Listener;
use super::parts::parts;
use super::{
    BackendError, BackendOptions, ChordPart, ChordProgress, ClusterLimits, DeliveryCounts, ResultBackend,
    ResultSubscription, StoredResult,
};

/// Celery's prefix of result keys, which are the names of the pub/sub channels too.
const KEY_PREFIX: &str = "celery-task-meta-";

/// Does for many results at once what Celery does for one: GET, and unless a SUCCESS is there, SETEX (or SET) and
/// PUBLISH. The fast path reads the status where every writer of this format puts it: first.
const STORE: &str = r#"
local seconds = tonumber(ARGV[1])
local function is_success(stored)
  if type(stored) ~= 'string' then return false end
  local status = string.match(stored, '^{"status": ?"([A-Z]+)"')
  if status then return status == 'SUCCESS' end
  local ok, meta = pcall(cjson.decode, stored)
  return ok and type(meta) == 'table' and meta['status'] == 'SUCCESS'
end
for i, key in ipairs(KEYS) do
  if not is_success(redis.pcall('GET', key)) then
    local meta = ARGV[i + 1]
    if seconds > 0 then
      redis.call('SETEX', key, seconds, meta)
    else
      redis.call('SET', key, meta)
    end
    redis.call('PUBLISH', key, meta)
  end
end
"#;

/// A result backend that every Celery client can read.
pub struct RedisBackend {
    link: Link,
    /// Seconds that a result is kept; 0 is for ever.
    seconds: u64,
    store: Script,
    chords: chord::Scripts,
    limits: limits::Scripts,
    listener: Listener,
}

impl RedisBackend {
    /// Connects. `address` is the URL as it may be shown.
    ///
    /// # Errors
    /// See [`connect`](super::connect).
    pub(super) async fn connect(url: &str, address: String, options: &BackendOptions) -> Result<Self, BackendError> {
        let link = Link::connect(url, address, options.timeout).await?;
        let listener = Listener::new(link.client.clone(), link.address.clone(), options.timeout);
        let seconds = options.expires.map_or(0, |expires| expires.as_secs().max(1));
        let (store, chords, limits) = (Script::new(STORE), chord::Scripts::new(), limits::Scripts::new());
        Ok(Self { link, seconds, store, chords, limits, listener })
    }

    fn connection(&self) -> ConnectionManager {
        self.link.connection()
    }

    fn failed(&self, error: &RedisError) -> BackendError {
        self.link.failed(error)
    }

    async fn store_some(&self, results: &[StoredResult]) -> Result<(), RedisError> {
        let mut call = self.store.prepare_invoke();
        call.arg(self.seconds);
        for result in results {
            call.key(key_of(&result.task_id)).arg(&result.meta);
        }
        call.invoke_async(&mut self.connection()).await
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
        command.arg(key_of(task_id));
        command.query_async(&mut self.connection()).await.map_err(|error| self.failed(&error))
    }

    async fn subscribe(&self, task_id: &str) -> Result<ResultSubscription, BackendError> {
        self.listener.subscribe(key_of(task_id)).await
    }

    async fn forget(&self, task_id: &str) -> Result<(), BackendError> {
        let mut command = redis::cmd("DEL");
        command.arg(key_of(task_id));
        command.exec_async(&mut self.connection()).await.map_err(|error| self.failed(&error))
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

fn key_of(task_id: &str) -> String {
    let mut key = String::with_capacity(KEY_PREFIX.len() + task_id.len());
    key.push_str(KEY_PREFIX);
    key.push_str(task_id);
    key
}

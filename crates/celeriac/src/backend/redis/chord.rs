//! Chords and groups in Redis, in the keys of Celery's Redis backend: `celery-taskset-meta-<group id>` and, behind it,
//! `.s` the size, `.j` the parts, `.t` what was added to the size later, `.d` which tasks have handed in, `.c` the claim.
//! Workers of Celery 5.5 share all but the last two.

use redis::{RedisError, Script};

use super::RedisBackend;
use crate::backend::BackendError;
use crate::backend::chord::{CLAIM, ChordPart, ChordProgress, CompleteChord, DONE, EXTENDED_CLAIM};
use crate::backend::payload::pack;

/// Files a part and, if it was the last, claims the chord. Answers 0 (open), 1 (claimed by another) or 2 (claimed for the
/// caller), the parts and the stored group. Asked again by the holder of the claim, it answers the same again: the
/// first answer may have been lost. Whoever comes first decides whether the parts are kept in an order.
const PART: &str = r"
local jkey, tkey, skey, dkey, gkey, ckey = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local member, value, score, ordered = ARGV[1], ARGV[2], ARGV[3], ARGV[4] == '1'
local expires, group_expires, claim_expires, token = tonumber(ARGV[5]), tonumber(ARGV[6]), ARGV[7], ARGV[8]
local kind = redis.call('TYPE', jkey).ok
if kind == 'list' then ordered = false elseif kind == 'zset' then ordered = true end
if redis.call('GET', ckey) == 'done' then
  return {0, {}, false}
end
if redis.call('SISMEMBER', dkey, member) == 0 then
  if ordered then redis.call('ZADD', jkey, score, value) else redis.call('RPUSH', jkey, value) end
  redis.call('SADD', dkey, member)
end
if expires > 0 then
  for _, key in ipairs({jkey, tkey, skey, dkey}) do
    redis.call('EXPIRE', key, expires)
  end
  if group_expires > 0 then redis.call('EXPIRE', gkey, group_expires) end
end
local size = redis.call('GET', skey)
if not size or redis.call(ordered and 'ZCARD' or 'LLEN', jkey) ~= tonumber(size) + tonumber(redis.call('GET', tkey) or 0) then
  return {0, {}, false}
end
if redis.call('SET', ckey, token, 'NX', 'EX', claim_expires) or redis.call('GET', ckey) == token then
  return {2, redis.call(ordered and 'ZRANGE' or 'LRANGE', jkey, 0, -1), redis.call('GET', gkey)}
end
return {1, {}, false}
";

/// Keeps a claim, or takes one that has expired while the chord is still there.
const EXTEND: &str = r"
local ckey, skey, token, expires = KEYS[1], KEYS[2], ARGV[1], ARGV[2]
local holder = redis.call('GET', ckey)
if holder == token or (not holder and redis.call('EXISTS', skey) == 1) then
  redis.call('SET', ckey, token, 'EX', expires)
  return 1
end
return 0
";

/// The body is on its way: drops what belongs to the chord and remembers that it is done.
const END: &str = r"
local ckey = KEYS[1]
if redis.call('GET', ckey) == ARGV[1] then
  redis.call('DEL', KEYS[2], KEYS[3], KEYS[4], KEYS[5])
  redis.call('SET', ckey, 'done', 'EX', ARGV[2])
end
";

/// Begins a chord. One that is sent again reuses its group id, but is a new run. A group in a header that was sent with
/// Celery 5.5 has the id of the chord around it, and counts less than that: such a size changes nothing.
const BEGIN: &str = r"
local ckey, skey, size, expires = KEYS[1], KEYS[2], tonumber(ARGV[1]), tonumber(ARGV[2])
redis.call('DEL', ckey)
if tonumber(redis.call('GET', skey) or 0) < size then
  if expires > 0 then redis.call('SET', skey, size, 'EX', expires) else redis.call('SET', skey, size) end
end
";

/// Text that may be compressed.
type Payload = Vec<u8>;

/// The scripts, which are known to the server by their hashes.
pub(super) struct Scripts {
    begin: Script,
    part: Script,
    extend: Script,
    end: Script,
}

impl Scripts {
    pub(super) fn new() -> Self {
        Self { begin: Script::new(BEGIN), part: Script::new(PART), extend: Script::new(EXTEND), end: Script::new(END) }
    }
}

impl RedisBackend {
    pub(super) async fn set_chord_size(&self, group_id: &str, size: usize) -> Result<(), BackendError> {
        let mut call = self.chords.begin.prepare_invoke();
        call.key(self.keys.group(group_id, ".c")).key(self.keys.group(group_id, ".s")).arg(size).arg(self.times.chord);
        call.invoke_async(&mut self.connection()).await.map_err(|error| self.chord_failed(&error))
    }

    pub(super) async fn file_part(&self, part: &ChordPart, token: &str) -> Result<ChordProgress, BackendError> {
        let group_id = &part.group_id;
        let score = part.group_index.map_or_else(|| "+inf".to_owned(), |index| index.to_string());
        let mut call = self.chords.part.prepare_invoke();
        for suffix in [".j", ".t", ".s", ".d", "", ".c"] {
            call.key(self.keys.group(group_id, suffix));
        }
        // A task that runs twice counts once; two places in the header may share one id.
        call.arg(format!("{}:{score}", part.task_id)).arg(&*pack(&part.to_json(), self.compression));
        call.arg(&score).arg(u8::from(self.chord_ordered));
        call.arg(self.times.chord).arg(self.times.of_chord_results()).arg(CLAIM.as_secs()).arg(token);
        let answer: (u8, Vec<Payload>, Option<Payload>) =
            call.invoke_async(&mut self.connection()).await.map_err(|error| self.chord_failed(&error))?;
        match answer {
            (2, parts, group) => Ok(ChordProgress::Complete(CompleteChord {
                parts: parts.into_iter().map(|part| self.unpacked(part)).collect::<Result<_, _>>()?,
                group: group.map(|group| self.unpacked(group)).transpose()?,
            })),
            (1, ..) => Ok(ChordProgress::Claimed),
            _ => Ok(ChordProgress::Open),
        }
    }

    pub(super) async fn extend_claim(&self, group_id: &str, token: &str) -> Result<bool, BackendError> {
        let mut call = self.chords.extend.prepare_invoke();
        call.key(self.keys.group(group_id, ".c"))
            .key(self.keys.group(group_id, ".s"))
            .arg(token)
            .arg(EXTENDED_CLAIM.as_secs());
        call.invoke_async(&mut self.connection()).await.map_err(|error| self.failed(&error))
    }

    pub(super) async fn drop_chord(&self, group_id: &str, token: &str) -> Result<(), BackendError> {
        let mut call = self.chords.end.prepare_invoke();
        for suffix in [".c", ".j", ".t", ".s", ".d"] {
            call.key(self.keys.group(group_id, suffix));
        }
        call.arg(token).arg(DONE.as_secs());
        call.invoke_async(&mut self.connection()).await.map_err(|error| self.failed(&error))
    }

    pub(super) async fn drop_chord_size(&self, group_id: &str) -> Result<(), BackendError> {
        self.delete(self.keys.group(group_id, ".s")).await
    }

    /// A task was added to the header.
    pub(super) async fn enlarge_chord(&self, group_id: &str) -> Result<(), BackendError> {
        let mut command = redis::cmd("INCR");
        command.arg(self.keys.group(group_id, ".t"));
        command.exec_async(&mut self.connection()).await.map_err(|error| self.failed(&error))
    }

    pub(super) async fn store_group(&self, group_id: &str, group: &str) -> Result<(), BackendError> {
        let (key, group) = (self.keys.group(group_id, ""), pack(group, self.compression));
        let mut pipe = redis::pipe();
        pipe.atomic();
        match self.times.result {
            0 => pipe.set(&key, &*group).ignore(),
            seconds => pipe.set_ex(&key, &*group, seconds).ignore(),
        };
        pipe.publish(&key, &*group).ignore();
        pipe.exec_async(&mut self.connection()).await.map_err(|error| self.failed(&error))
    }

    pub(super) async fn stored_group(&self, group_id: &str) -> Result<Option<String>, BackendError> {
        let mut command = redis::cmd("GET");
        command.arg(self.keys.group(group_id, ""));
        let stored: Option<Vec<u8>> =
            command.query_async(&mut self.connection()).await.map_err(|error| self.failed(&error))?;
        stored.map(|payload| self.unpacked(payload)).transpose()
    }

    pub(super) async fn drop_group(&self, group_id: &str) -> Result<(), BackendError> {
        self.delete(self.keys.group(group_id, "")).await
    }

    async fn delete(&self, key: String) -> Result<(), BackendError> {
        let mut command = redis::cmd("DEL");
        command.arg(key);
        command.exec_async(&mut self.connection()).await.map_err(|error| self.failed(&error))
    }

    /// Somebody has put something else under the key of the parts.
    fn chord_failed(&self, error: &RedisError) -> BackendError {
        if error.to_string().contains("WRONGTYPE") {
            return BackendError::Refused { address: self.link.address.clone(), reason: error.to_string() };
        }
        self.failed(error)
    }
}

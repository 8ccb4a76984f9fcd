//! Limits of the whole cluster in Redis. Under `celeriac-limit-<key>`: `.h` who holds a seat (scored with the end of the
//! lease), `.q` who waits (scored with the place in the line), `.a` until when each of those is believed to wait, and
//! the pub/sub channel that tells when a seat is free; `celeriac-rate-<key>`: when the next start is.
//!
//! All times are taken from the server, in milliseconds; rates in microseconds. Nothing is left of a key that is not used.

use std::time::Duration;

use async_trait::async_trait;
use redis::{RedisError, Script};

use super::RedisBackend;
use crate::backend::limits::{ClusterLimits, Grant, Seat};
use crate::backend::{BackendError, ResultSubscription};

const LIMIT_PREFIX: &str = "celeriac-limit-";
const RATE_PREFIX: &str = "celeriac-rate-";
/// Counts the places and the seats that were ever given.
const SEQUENCE: &str = "celeriac-limit-sequence";
/// A rate below this is none that could be waited for.
const LONGEST: Duration = Duration::from_secs(30 * 365 * 24 * 60 * 60);

/// Answers 1 and the fence, or 0 and how long to wait at most.
const CLAIM: &str = r"
local seated, line, asked, sequence = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local token, limit, lease = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZREMRANGEBYSCORE', seated, '-inf', now)
for _, gone in ipairs(redis.call('ZRANGEBYSCORE', asked, '-inf', now)) do
  if gone ~= token then
    redis.call('ZREM', line, gone)
    redis.call('ZREM', asked, gone)
  end
end
local function keep(key)
  if redis.call('PTTL', key) < lease then redis.call('PEXPIRE', key, lease) end
end
local function sit()
  redis.call('ZREM', line, token)
  redis.call('ZREM', asked, token)
  redis.call('ZADD', seated, now + lease, token)
  keep(seated)
  return {1, redis.call('INCR', sequence)}
end
if redis.call('ZSCORE', seated, token) then return sit() end
if not redis.call('ZSCORE', line, token) then
  redis.call('ZADD', line, redis.call('INCR', sequence), token)
end
if redis.call('ZCARD', seated) + redis.call('ZRANK', line, token) < limit then return sit() end
redis.call('ZADD', asked, now + lease, token)
keep(line)
keep(asked)
local first = now + lease
for _, key in ipairs({seated, asked}) do
  local soonest = redis.call('ZRANGE', key, 0, 0, 'WITHSCORES')
  if soonest[2] and tonumber(soonest[2]) < first then first = tonumber(soonest[2]) end
end
return {0, first - now}
";

const RENEW: &str = r"
local seated, token, lease = KEYS[1], ARGV[1], tonumber(ARGV[2])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local until_then = redis.call('ZSCORE', seated, token)
if not until_then or tonumber(until_then) <= now then return 0 end
redis.call('ZADD', seated, now + lease, token)
if redis.call('PTTL', seated) < lease then redis.call('PEXPIRE', seated, lease) end
return 1
";

/// Whoever waits is told, also of a place in the line that is given up: it may have been the first.
const RELEASE: &str = r"
for i = 1, 3 do redis.call('ZREM', KEYS[i], ARGV[1]) end
redis.call('PUBLISH', KEYS[4], '')
";

const RESERVE: &str = r"
local interval = tonumber(ARGV[1])
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local start = math.max(tonumber(redis.call('GET', KEYS[1]) or 0), now)
local next = start + interval
redis.call('SET', KEYS[1], string.format('%.0f', next), 'PX', math.ceil((next - now) / 1000) + 1)
return start - now
";

const GIVE_BACK: &str = r"
local interval = tonumber(ARGV[1])
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local next = tonumber(redis.call('GET', KEYS[1]) or 0)
if next > now then
  local before = math.max(next - interval, now)
  redis.call('SET', KEYS[1], string.format('%.0f', before), 'PX', math.ceil((before - now) / 1000) + 1)
end
";

pub(super) struct Scripts {
    claim: Script,
    renew: Script,
    release: Script,
    reserve: Script,
    give_back: Script,
}

impl Scripts {
    pub(super) fn new() -> Self {
        Self {
            claim: Script::new(CLAIM),
            renew: Script::new(RENEW),
            release: Script::new(RELEASE),
            reserve: Script::new(RESERVE),
            give_back: Script::new(GIVE_BACK),
        }
    }
}

#[async_trait]
impl ClusterLimits for RedisBackend {
    async fn claim(&self, seat: &Seat) -> Result<Grant, BackendError> {
        let mut call = self.limits.claim.prepare_invoke();
        call.key(key(seat, ".h")).key(key(seat, ".q")).key(key(seat, ".a")).key(SEQUENCE);
        call.arg(&seat.token).arg(seat.limit).arg(milliseconds(seat.lease));
        let answer: Result<(u8, u64), RedisError> = call.invoke_async(&mut self.connection()).await;
        match answer.map_err(|error| self.failed(&error))? {
            (1, fence) => Ok(Grant::Seated { fence }),
            (_, wait) => Ok(Grant::Wait { at_most: Duration::from_millis(wait) }),
        }
    }

    async fn renew(&self, seat: &Seat) -> Result<bool, BackendError> {
        let mut call = self.limits.renew.prepare_invoke();
        call.key(key(seat, ".h")).arg(&seat.token).arg(milliseconds(seat.lease));
        call.invoke_async(&mut self.connection()).await.map_err(|error| self.failed(&error))
    }

    async fn release(&self, seat: &Seat) -> Result<(), BackendError> {
        let mut call = self.limits.release.prepare_invoke();
        call.key(key(seat, ".h")).key(key(seat, ".q")).key(key(seat, ".a")).key(key(seat, "")).arg(&seat.token);
        call.invoke_async(&mut self.connection()).await.map_err(|error| self.failed(&error))
    }

    async fn freed(&self, key: &str) -> Result<ResultSubscription, BackendError> {
        self.listener.subscribe(format!("{LIMIT_PREFIX}{key}")).await
    }

    async fn reserve(&self, key: &str, interval: Duration) -> Result<Duration, BackendError> {
        let mut call = self.limits.reserve.prepare_invoke();
        call.key(format!("{RATE_PREFIX}{key}"));
        call.arg(microseconds(interval));
        let delay: Result<u64, RedisError> = call.invoke_async(&mut self.connection()).await;
        delay.map(Duration::from_micros).map_err(|error| self.failed(&error))
    }

    async fn give_back(&self, key: &str, interval: Duration) -> Result<(), BackendError> {
        let mut call = self.limits.give_back.prepare_invoke();
        call.key(format!("{RATE_PREFIX}{key}")).arg(microseconds(interval));
        call.invoke_async(&mut self.connection()).await.map_err(|error| self.failed(&error))
    }
}

fn microseconds(interval: Duration) -> u64 {
    u64::try_from(interval.min(LONGEST).as_micros()).unwrap_or(u64::MAX)
}

fn key(seat: &Seat, suffix: &str) -> String {
    format!("{LIMIT_PREFIX}{}{suffix}", seat.key)
}

fn milliseconds(lease: Duration) -> u64 {
    u64::try_from(lease.min(LONGEST).as_millis()).unwrap_or(u64::MAX).max(1)
}

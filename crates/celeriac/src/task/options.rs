//! How a task is run: the attributes of Celery's `Task` class, known at compile time.

use std::time::Duration;

use super::ConcurrencyLimit;

/// The options of a task. Names and defaults are those of `celery.app.task.Task`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TaskOptions {
    /// Where it is sent unless the sender says otherwise; `None` is the application's default queue.
    pub queue: Option<&'static str>,
    /// Sent with the message; `None` is 0. RabbitMQ heeds it on queues with `x-max-priority`.
    pub priority: Option<u8>,
    /// Acknowledge after the task has run instead of before: it may then run twice, but is never lost.
    pub acks_late: bool,
    /// With `acks_late`: acknowledge also when it failed or ran out of time. Said by both together, where neither
    /// `acks_on_failure` nor `acks_on_timeout` says otherwise.
    pub acks_on_failure_or_timeout: bool,
    /// With `acks_late`: acknowledge also when it failed (else reject it, and its message is gone or dead-lettered).
    pub acks_on_failure: Option<bool>,
    /// With `acks_late`: acknowledge also when it ran out of time (else it is delivered again).
    pub acks_on_timeout: Option<bool>,
    /// Changes nothing: with `acks_late` the message goes back whenever the worker dies or drops the task. Bodies have no
    /// process of their own that could be lost alone (`billiard`'s `WorkerLostError`).
    pub reject_on_worker_lost: bool,
    /// With `acks_late`: a message that was delivered before is acknowledged instead of being run if its success is stored
    /// (`worker_deduplicate_successful_tasks`, for one task).
    pub deduplicate_successful: bool,
    /// How often it is retried; `None` is without end.
    pub max_retries: Option<u32>,
    /// Between retries, where neither the body nor `retry_backoff` says otherwise.
    pub default_retry_delay: Duration,
    /// The delay of the first retry; it doubles with each.
    pub retry_backoff: Option<Duration>,
    /// No delay by `retry_backoff` is longer.
    pub retry_backoff_max: Duration,
    /// Draws the delay between zero and what the backoff says, so that retries do not come in waves.
    pub retry_jitter: bool,
    /// Retry unexpected errors (those converted by `?`) instead of failing.
    pub autoretry: bool,
    /// After this long the task is told to end.
    pub soft_time_limit: Option<Duration>,
    /// After this long the task is ended.
    pub time_limit: Option<Duration>,
    /// How often it may start, per worker.
    pub rate_limit: Option<RateLimit>,
    /// How often it may start, in the whole cluster. Ours: Celery has no such thing.
    pub cluster_rate: Option<RateLimit>,
    /// How many with one value of an argument may run at once, in the whole cluster. Ours too.
    pub concurrency: Option<ConcurrencyLimit>,
    /// Messages that are older are dropped instead of run.
    pub expires: Option<Duration>,
    /// Store nothing about how it ended.
    pub ignore_result: bool,
    /// With `ignore_result`: store failures nevertheless.
    pub store_errors_even_if_ignored: bool,
    /// Store the state STARTED when it starts.
    pub track_started: bool,
}

impl TaskOptions {
    /// Celery's defaults.
    pub const DEFAULT: Self = Self {
        queue: None,
        priority: None,
        acks_late: false,
        acks_on_failure_or_timeout: true,
        acks_on_failure: None,
        acks_on_timeout: None,
        reject_on_worker_lost: false,
        deduplicate_successful: false,
        max_retries: Some(3),
        default_retry_delay: Duration::from_secs(180),
        retry_backoff: None,
        retry_backoff_max: Duration::from_secs(600),
        retry_jitter: true,
        autoretry: false,
        soft_time_limit: None,
        time_limit: None,
        rate_limit: None,
        cluster_rate: None,
        concurrency: None,
        expires: None,
        ignore_result: false,
        store_errors_even_if_ignored: false,
        track_started: false,
    };

    /// Whether a message that is acknowledged late is acknowledged although its task has failed.
    #[must_use]
    pub const fn acknowledges_failure(&self) -> bool {
        match self.acks_on_failure {
            Some(acks) => acks,
            None => self.acks_on_failure_or_timeout,
        }
    }

    /// Whether it is acknowledged although its task ran out of time.
    #[must_use]
    pub const fn acknowledges_timeout(&self) -> bool {
        match self.acks_on_timeout {
            Some(acks) => acks,
            None => self.acks_on_failure_or_timeout,
        }
    }

    /// Whether the whole cluster decides when it may start.
    #[must_use]
    pub const fn is_cluster_limited(&self) -> bool {
        self.cluster_rate.is_some() || self.concurrency.is_some()
    }

    /// Whether a task that has been retried `retries` times may be retried again.
    #[must_use]
    pub fn may_retry(&self, retries: u32) -> bool {
        self.max_retries.is_none_or(|max| retries < max)
    }

    /// How long to wait before the retry after `retries` earlier ones. `random` is drawn evenly from 0 to 1
    /// (`celery/utils/time.py`, `get_exponential_backoff_interval`).
    #[must_use]
    pub fn retry_delay(&self, retries: u32, random: f64) -> Duration {
        let Some(first) = self.retry_backoff else { return self.default_retry_delay };
        let factor = 2_u32.saturating_pow(retries);
        let full = first.saturating_mul(factor).min(self.retry_backoff_max);
        if self.retry_jitter { full.mul_f64(random.clamp(0.0, 1.0)) } else { full }
    }
}

impl Default for TaskOptions {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// How often a task may start: `10/m` (`celery/utils/time.py`, `rate`).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RateLimit {
    count: f64,
    period: Period,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Period {
    Second,
    Minute,
    Hour,
}

/// The text is no rate limit.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no rate limit: write a number of tasks, then /s, /m or /h")]
pub struct RateLimitError(String);

impl RateLimit {
    /// So many in a second; one every ten seconds is 0.1.
    #[must_use]
    pub const fn per_second(count: f64) -> Self {
        Self { count, period: Period::Second }
    }

    /// So many in a minute.
    #[must_use]
    pub const fn per_minute(count: f64) -> Self {
        Self { count, period: Period::Minute }
    }

    /// So many in an hour.
    #[must_use]
    pub const fn per_hour(count: f64) -> Self {
        Self { count, period: Period::Hour }
    }

    /// Reads `10/m`, `0.5/s`, `100` (per second). `None` and `0` are no limit at all.
    ///
    /// # Errors
    /// The text is neither.
    pub fn parse(text: &str) -> Result<Option<Self>, RateLimitError> {
        let refused = || RateLimitError(text.to_owned());
        let (count, period) = text.split_once('/').unwrap_or((text, "s"));
        let count: f64 = count.trim().parse().map_err(|_| refused())?;
        let period = match period {
            "s" => Period::Second,
            "m" => Period::Minute,
            "h" => Period::Hour,
            _ => return Err(refused()),
        };
        if !count.is_finite() || count < 0.0 {
            return Err(refused());
        }
        Ok((count > 0.0).then_some(Self { count, period }))
    }

    /// Starts per second.
    #[must_use]
    pub fn rate(&self) -> f64 {
        match self.period {
            Period::Second => self.count,
            Period::Minute => self.count / 60.0,
            Period::Hour => self.count / 3600.0,
        }
    }

    /// The time between two starts.
    #[must_use]
    pub fn interval(&self) -> Duration {
        Duration::try_from_secs_f64(1.0 / self.rate()).unwrap_or(Duration::MAX)
    }
}

impl std::fmt::Display for RateLimit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let period = match self.period {
            Period::Second => 's',
            Period::Minute => 'm',
            Period::Hour => 'h',
        };
        write!(f, "{}/{period}", self.count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_retry_waits_twice_as_long_as_the_one_before_up_to_the_maximum() {
        let options = TaskOptions {
            retry_backoff: Some(Duration::from_secs(1)),
            retry_backoff_max: Duration::from_secs(10),
            retry_jitter: false,
            ..TaskOptions::DEFAULT
        };
        let delays: Vec<_> = (0..6).map(|retries| options.retry_delay(retries, 0.5).as_secs()).collect();
        assert_eq!(delays, [1, 2, 4, 8, 10, 10]);
        assert_eq!(options.retry_delay(u32::MAX, 0.5), Duration::from_secs(10));
        let jittered = TaskOptions { retry_jitter: true, ..options };
        assert_eq!(jittered.retry_delay(2, 0.25), Duration::from_secs(1));
        assert_eq!(TaskOptions::DEFAULT.retry_delay(7, 0.25), Duration::from_secs(180));
    }

    #[test]
    fn retries_end_at_their_maximum_unless_there_is_none() {
        assert!(TaskOptions::DEFAULT.may_retry(2) && !TaskOptions::DEFAULT.may_retry(3));
        assert!(TaskOptions { max_retries: None, ..TaskOptions::DEFAULT }.may_retry(u32::MAX));
    }

    #[test]
    fn rate_limits_are_read_and_shown_as_celery_writes_them() {
        for (text, shown, milliseconds) in
            [("10/m", "10/m", 6000), ("0.5/s", "0.5/s", 2000), ("4", "4/s", 250), ("2/h", "2/h", 1_800_000)]
        {
            let limit = RateLimit::parse(text).unwrap().unwrap();
            assert_eq!((limit.to_string().as_str(), limit.interval().as_millis()), (shown, milliseconds), "{text}");
        }
        assert_eq!(RateLimit::parse("0"), Ok(None));
        for text in ["", "fast", "10/day", "-1/s", "inf/s", "NaN", "1/"] {
            assert!(RateLimit::parse(text).is_err(), "{text:?}");
        }
    }
}

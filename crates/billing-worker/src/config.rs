//! What a worker can be told from outside.

use std::path::PathBuf;
use std::time::Duration;

use billing::breaker::BreakerPolicy;
use billing::duration;
use billing::payment::identity::Terminal;
use clap::{ArgAction, Args};
use secrecy::SecretString;

use crate::life::LifeConfig;
use crate::receipts::ReceiptsConfig;
use crate::roles::RolesConfig;
use crate::setting::{ConfigError, at_least_one, delta};
use crate::shares::Shares;

/// Options of `billing worker`.
#[derive(Debug, Clone, Args)]
#[group(id = "worker")]
pub struct Config {
    /// The payment gateway
    #[arg(long, env = "GATEWAY_URL", default_value = "http://127.0.0.1:8090", value_name = "URL")]
    pub gateway_url: String,

    /// The Public ID of our terminal
    #[arg(long, env = "CLOUDPAYMENTS_PUBLIC_ID", default_value = "pk_sandbox", value_name = "ID")]
    pub cloudpayments_public_id: String,

    /// The API Secret of our terminal
    #[arg(
        long,
        env = "CLOUDPAYMENTS_API_SECRET",
        default_value = "sk_sandbox",
        hide_env_values = true,
        value_name = "SECRET"
    )]
    pub cloudpayments_api_secret: SecretString,

    /// Whether our terminal takes real money: live or test. By default live, and test where GATEWAY_URL is plain http, as
    /// only that of a sandbox is. A payment made in the other mode gives no access and waits for a person
    #[arg(long, env = "CLOUDPAYMENTS_TERMINAL", value_name = "live|test")]
    pub cloudpayments_terminal: Option<Terminal>,

    /// Requests to the gateway at once, from all workers together, which agree on it in RESULT_BACKEND; where that is
    /// PostgreSQL, from this process. What --worker-renewals-concurrency and --worker-lookups-concurrency leave of them is for
    /// payments alone; of two or more at least one always is. [default: 30 on a live terminal, 5 on a test one]
    #[arg(long, env = "GATEWAY_MAX_IN_FLIGHT", value_parser = at_least_one, value_name = "N")]
    pub gateway_max_in_flight: Option<usize>,

    /// Tasks at once from the queue payments, and from any other that has no setting of its own here
    #[arg(
        short = 'c',
        long,
        visible_alias = "concurrency",
        env = "WORKER_CONCURRENCY",
        default_value_t = 64,
        value_parser = at_least_one,
        value_name = "N"
    )]
    pub worker_concurrency: usize,

    /// Renewals at once, besides other tasks [default: half of --gateway-max-in-flight]
    #[arg(long, env = "WORKER_RENEWALS_CONCURRENCY", value_parser = at_least_one, value_name = "N")]
    pub worker_renewals_concurrency: Option<usize>,

    /// Looks at payments in doubt at once, besides other tasks [default: a sixth of --gateway-max-in-flight]
    #[arg(long, env = "WORKER_LOOKUPS_CONCURRENCY", value_parser = at_least_one, value_name = "N")]
    pub worker_lookups_concurrency: Option<usize>,

    /// Tasks of the timetable at once, besides other tasks
    #[arg(
        long,
        env = "WORKER_TIMETABLE_CONCURRENCY",
        default_value_t = 4,
        value_parser = at_least_one,
        value_name = "N"
    )]
    pub worker_timetable_concurrency: usize,

    /// The queues to take tasks from: payments (customers wait for them), renewals, lookups (payments in doubt) and billing
    /// (the timetable). Each must be taken by some worker
    #[arg(
        short = 'Q',
        long,
        visible_alias = "queues",
        env = "WORKER_QUEUES",
        default_value = "payments,renewals,lookups,billing",
        value_delimiter = ',',
        value_name = "QUEUE[,QUEUE]"
    )]
    pub worker_queues: Vec<String>,

    /// Queues among them to take no tasks from
    #[arg(
        short = 'X',
        long,
        visible_alias = "exclude-queues",
        env = "WORKER_EXCLUDE_QUEUES",
        value_delimiter = ',',
        value_name = "QUEUE[,QUEUE]"
    )]
    pub worker_exclude_queues: Vec<String>,

    /// The name of this worker in dashboards: %h stands for the host's name, %n and %d for its parts. By default celery@%h
    #[arg(short = 'n', long, visible_alias = "hostname", env = "WORKER_NAME", value_name = "NAME@HOST")]
    pub worker_name: Option<String>,

    /// A file in which this worker remembers across restarts which tasks were revoked; each worker needs its own
    #[arg(long, visible_alias = "statedb", env = "WORKER_STATEDB", value_name = "FILE")]
    pub worker_statedb: Option<PathBuf>,

    /// How many revoked tasks are remembered; above it the oldest are forgotten
    #[arg(long, env = "WORKER_REVOKES_MAX", default_value_t = 50_000, value_parser = revokes, value_name = "N")]
    pub worker_revokes_max: usize,

    /// How long a revoked task is remembered
    #[arg(
        long,
        env = "WORKER_REVOKE_EXPIRES",
        default_value = "3h",
        value_parser = duration::parse,
        value_name = "DURATION"
    )]
    pub worker_revoke_expires: Duration,

    /// How long running tasks may take to finish after SIGTERM
    #[arg(
        long,
        env = "WORKER_SHUTDOWN_TIMEOUT",
        default_value = "30s",
        value_parser = duration::parse,
        value_name = "DURATION"
    )]
    pub worker_shutdown_timeout: Duration,

    /// A message that was delivered so often without its task coming to an end is moved to QUEUE.parked; 0: never
    #[arg(long, env = "WORKER_DELIVERY_LIMIT", default_value_t = 5, value_name = "N")]
    pub worker_delivery_limit: u32,

    /// Moves messages that cannot be read, and unknown tasks, to QUEUE.parked instead of rejecting them
    #[arg(long, env = "WORKER_PARKING", default_value_t = true, action = ArgAction::Set, value_name = "BOOL")]
    pub worker_parking: bool,

    #[command(flatten)]
    pub life: LifeConfig,

    /// How long before a renewal is charged its customer is told; of a short period a quarter passes before. 1h to 90d
    #[arg(long, env = "RENEWAL_NOTICE", default_value = "3d", value_parser = duration::notice, value_name = "DURATION")]
    pub renewal_notice: Duration,

    /// How long before a tariff costs something else its subscribers are told; as for `billing tariffs price`. 1h to 90d
    #[arg(
        long,
        env = "PRICE_CHANGE_NOTICE",
        default_value = "30d",
        value_parser = duration::notice,
        value_name = "DURATION"
    )]
    pub price_change_notice: Duration,

    /// How long a customer may take on the bank's 3-D Secure page
    #[arg(long, env = "THREE_DS_TTL", default_value = "30m", value_parser = duration::parse, value_name = "DURATION")]
    pub three_ds_ttl: Duration,

    /// After this long a payment whose message nobody took is sent again
    #[arg(long, env = "STRANDED_AFTER", default_value = "60s", value_parser = duration::parse, value_name = "DURATION")]
    pub stranded_after: Duration,

    /// How long what happened is kept: the story of each payment, and what others are told. Five years by default, at
    /// least 90 days
    #[arg(long, env = "EVENTS_KEPT_FOR", default_value = "1827d", value_parser = at_least_90_days, value_name = "DURATION")]
    pub events_kept_for: Duration,

    /// How long addresses and card masks of a closed account are kept, for disputes: from its closing, and from the end of its
    /// last payment
    #[arg(
        long,
        env = "PERSONAL_TRACES_KEPT",
        default_value = "30d",
        value_parser = traces_kept,
        value_name = "DURATION"
    )]
    pub personal_traces_kept: Duration,

    #[command(flatten)]
    pub breaker: BreakerConfig,

    /// How long the requests to the gateway and its responses are kept, without what is secret; at least a day. Whole months
    /// are dropped, once all of a month is older
    #[arg(
        long,
        env = "GATEWAY_CALLS_KEPT_FOR",
        default_value = "90d",
        value_parser = at_least_a_day,
        value_name = "DURATION"
    )]
    pub gateway_calls_kept_for: Duration,

    /// How long the gateway's notifications are kept once they have had their effect, but for those of receipts, which stay; at
    /// least a day. One that is told again later still has no second effect
    #[arg(
        long,
        env = "NOTIFICATIONS_KEPT_FOR",
        default_value = "90d",
        value_parser = at_least_a_day,
        value_name = "DURATION"
    )]
    pub notifications_kept_for: Duration,

    #[command(flatten)]
    pub roles: RolesConfig,

    #[command(flatten)]
    pub receipts: ReceiptsConfig,
}

/// When the gateway is left alone for a while, by all workers together.
#[derive(Debug, Clone, Args)]
pub struct BreakerConfig {
    /// So many requests in a row that the gateway fails – no connection, no response, 5xx – have
    /// payments wait. (That it refuses our credentials does at once.) Likewise charges of kept cards that it takes for wrong
    #[arg(
        long,
        env = "GATEWAY_BREAKER_FAILURES",
        default_value_t = 5,
        value_parser = clap::value_parser!(i32).range(1..=1000),
        value_name = "N"
    )]
    pub gateway_breaker_failures: i32,

    /// Requests that are counted once one has failed, within five minutes: if too many of them fail, payments wait although
    /// others in between go well
    #[arg(
        long,
        env = "GATEWAY_BREAKER_CALLS",
        default_value_t = 20,
        value_parser = clap::value_parser!(i32).range(1..=1000),
        value_name = "N"
    )]
    pub gateway_breaker_calls: i32,

    /// How many in a hundred of them are too many
    #[arg(
        long,
        env = "GATEWAY_BREAKER_SHARE",
        default_value_t = 50,
        value_parser = clap::value_parser!(i32).range(1..=100),
        value_name = "PERCENT"
    )]
    pub gateway_breaker_share: i32,

    /// How long they wait before one of them finds out, at most an hour; while it finds nothing better twice as long each
    /// time, up to 32 times
    #[arg(
        long,
        env = "GATEWAY_BREAKER_PAUSE",
        default_value = "30s",
        value_parser = duration::parse,
        value_name = "DURATION"
    )]
    pub gateway_breaker_pause: Duration,
}

impl BreakerConfig {
    pub(crate) fn policy(&self) -> Result<BreakerPolicy, ConfigError> {
        let longest = Duration::from_secs(60 * 60);
        if self.gateway_breaker_pause.is_zero() || self.gateway_breaker_pause > longest {
            return Err(ConfigError::BreakerPause);
        }
        let pause = delta("GATEWAY_BREAKER_PAUSE", self.gateway_breaker_pause)?;
        Ok(BreakerPolicy {
            failures: self.gateway_breaker_failures,
            calls: self.gateway_breaker_calls,
            share: self.gateway_breaker_share,
            pause,
        })
    }
}

fn revokes(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(number @ 1..=1_000_000) => Ok(number),
        _ => Err("expected a number from 1 to 1000000".to_owned()),
    }
}

fn at_least_90_days(text: &str) -> Result<Duration, String> {
    at_least_days(text, 90)
}

fn at_least_a_day(text: &str) -> Result<Duration, String> {
    at_least_days(text, 1)
}

fn at_least_days(text: &str, days: u64) -> Result<Duration, String> {
    match duration::parse(text) {
        Ok(kept) if kept >= Duration::from_secs(days * 24 * 60 * 60) => Ok(kept),
        Ok(_) => Err(format!("must be {days}d or more")),
        Err(error) => Err(error.to_string()),
    }
}

/// Connecting takes a fraction of the whole, so that a gateway out of reach is known to be safe to ask again.
const CONNECT_SHARE: u32 = 4;

/// That the timeout can be worked with is checked with the services.
const SOME_TIME: Duration = Duration::from_secs(60);

fn traces_kept(text: &str) -> Result<Duration, String> {
    const LONGEST: Duration = Duration::from_hours(24 * 3_650);
    let kept = duration::parse(text).map_err(|error| error.to_string())?;
    if kept <= LONGEST { Ok(kept) } else { Err("must not be longer than 3650d".to_owned()) }
}

impl Config {
    /// Whether a worker can work with these settings. Reaches out to nobody.
    ///
    /// # Errors
    /// [`ConfigError`].
    pub fn check(&self) -> Result<(), ConfigError> {
        self.gateway(SOME_TIME)?;
        self.breaker.policy()?;
        self.roles.client()?;
        if self.worker_queues.iter().any(|queue| queue.trim().is_empty()) {
            return Err(ConfigError::NamelessQueue);
        }
        let chosen = self.worker_renewals_concurrency.is_some() || self.worker_lookups_concurrency.is_some();
        let Shares { renewals, lookups, beside_payments } = self.shares();
        if chosen && renewals + lookups > beside_payments {
            return Err(ConfigError::NothingForPayments { max_in_flight: self.max_in_flight() });
        }
        Ok(())
    }

    /// What kind of terminal ours is: the gateway itself speaks nothing but https.
    #[must_use]
    pub fn terminal(&self) -> Terminal {
        let is_plain =
            self.gateway_url.trim_start().get(..5).is_some_and(|scheme| scheme.eq_ignore_ascii_case("http:"));
        self.cloudpayments_terminal.unwrap_or(if is_plain { Terminal::Test } else { Terminal::Live })
    }

    pub(crate) fn gateway(&self, timeout: Duration) -> Result<cloudpayments::Client, ConfigError> {
        Ok(cloudpayments::Client::new(cloudpayments::ClientConfig {
            base_url: self.gateway_url.clone(),
            public_id: self.cloudpayments_public_id.clone(),
            api_secret: self.cloudpayments_api_secret.clone(),
            timeout,
            connect_timeout: (timeout / CONNECT_SHARE).min(Duration::from_secs(10)),
            max_in_flight: self.max_in_flight(),
        })?)
    }
}

#[cfg(test)]
impl Config {
    /// As these options of the command line make it.
    pub(crate) fn of(options: &str) -> Self {
        use clap::Parser as _;

        #[derive(clap::Parser)]
        struct Options {
            #[command(flatten)]
            worker: Config,
        }

        Options::parse_from(std::iter::once("worker").chain(options.split_whitespace())).worker
    }
}

//! A setting: how it is read, and what is said of one that cannot be worked with.

use std::time::Duration;

use chrono::TimeDelta;

/// A setting that cannot be worked with. Names the variable; what is wrong with it may stand in the source.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("{setting}", setting = variable(.0))]
    Gateway(#[from] cloudpayments::ConfigError),
    #[error("GATEWAY_BREAKER_PAUSE: more than 0 and at most an hour")]
    BreakerPause,
    #[error("{variable}: too long")]
    TooLong { variable: &'static str },
    #[error("WORKER_QUEUES: one of the names is empty")]
    NamelessQueue,
    #[error(
        "WORKER_RENEWALS_CONCURRENCY and WORKER_LOOKUPS_CONCURRENCY: together they must leave some of GATEWAY_MAX_IN_FLIGHT ({max_in_flight}) for payments"
    )]
    NothingForPayments { max_in_flight: usize },
    #[error("{variable}: {problem}")]
    Auth { variable: &'static str, problem: String },
    #[error("{variable}: {problem}")]
    Receipts { variable: &'static str, problem: &'static str },
    #[error("WORKER_NAME, WORKER_STATEDB, WORKER_EXCLUDE_QUEUES, WORKER_AUTOSCALE or BROKER_API: {0}")]
    Worker(String),
}

/// Which of our settings the client complains about.
fn variable(error: &cloudpayments::ConfigError) -> &'static str {
    use cloudpayments::ConfigError as E;
    match error {
        E::BaseUrl(_) | E::Http(_) | E::Tls(_) => "GATEWAY_URL",
        E::PublicId => "CLOUDPAYMENTS_PUBLIC_ID",
        E::ApiSecret => "CLOUDPAYMENTS_API_SECRET",
        E::Zero("max_in_flight") => "GATEWAY_MAX_IN_FLIGHT",
        E::Zero(_) => "GATEWAY_TIMEOUT",
    }
}

/// A number of things.
pub(crate) fn at_least_one(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(number @ 1..=100_000) => Ok(number),
        _ => Err("expected a number from 1 to 100000".to_owned()),
    }
}

/// As the database counts time.
pub(crate) fn delta(variable: &'static str, duration: Duration) -> Result<TimeDelta, ConfigError> {
    TimeDelta::from_std(duration).map_err(|_| ConfigError::TooLong { variable })
}

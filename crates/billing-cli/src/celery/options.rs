//! Options that the verbs have in common (`celery/bin/celery.py`, `celery/bin/control.py`).

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use celeriac::broker::{self, Broker, BrokerError, ConnectOptions};
use clap::Args;

use super::output::Output;

/// Where Celery looks for a broker when it is not told.
const DEFAULT_BROKER: &str = "amqp://guest:guest@localhost:5672//";
/// `broker_connection_timeout`
const CONNECT_TIMEOUT: Duration = Duration::from_secs(4);

/// Celery's global options.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Global Options")]
pub(super) struct GlobalOptions {
    /// Address of the broker [default: CELERY_BROKER_URL, else amqp://guest:guest@localhost:5672//]
    #[arg(short, long, env = "BROKER_URL", hide_env_values = true, value_name = "URL")]
    broker: Option<String>,

    /// Address of the result backend [default: CELERY_RESULT_BACKEND]
    #[arg(long, env = "RESULT_BACKEND", hide_env_values = true, value_name = "URL")]
    result_backend: Option<String>,

    /// Do not use colors; there are none in any case where the output is no terminal
    #[arg(short = 'C', long, env = "NO_COLOR", value_parser = any_text, num_args = 0, default_missing_value = "1")]
    no_color: Option<bool>,

    /// Say no more than what was asked
    #[arg(short, long)]
    quiet: bool,

    /// Accepted for scripts written for Celery; there is no Python application to load
    #[arg(short = 'A', long, env = "APP", value_name = "APP")]
    app: Option<String>,

    /// Accepted for scripts written for Celery
    #[arg(long, hide = true)]
    loader: Option<String>,

    /// Accepted for scripts written for Celery
    #[arg(long, hide = true)]
    config: Option<String>,

    /// Accepted for scripts written for Celery
    #[arg(long, hide = true)]
    workdir: Option<PathBuf>,

    /// Accepted for scripts written for Celery
    #[arg(long, hide = true)]
    skip_checks: bool,
}

impl GlobalOptions {
    pub(super) fn output(&self) -> Output {
        Output::new(self.quiet, self.no_color.unwrap_or(false))
    }

    pub(super) fn broker_url(&self) -> String {
        let url = self.broker.clone().or_else(|| std::env::var("CELERY_BROKER_URL").ok());
        url.filter(|url| !url.is_empty()).unwrap_or_else(|| DEFAULT_BROKER.to_owned())
    }

    pub(super) fn result_backend_url(&self) -> Option<String> {
        let url = self.result_backend.clone().or_else(|| std::env::var("CELERY_RESULT_BACKEND").ok());
        url.filter(|url| !url.is_empty())
    }

    pub(super) async fn connect(&self) -> Result<Arc<dyn Broker>, BrokerError> {
        let options = ConnectOptions {
            connect_timeout: CONNECT_TIMEOUT,
            attempt_timeout: CONNECT_TIMEOUT,
            publish_timeout: CONNECT_TIMEOUT,
            connection_name: "billing command line".to_owned(),
            ..ConnectOptions::default()
        };
        broker::connect(&self.broker_url(), options).await
    }
}

/// Options of the verbs that ask or tell workers something.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Remote Control Options")]
pub(super) struct RemoteOptions {
    /// Timeout in seconds waiting for reply
    #[arg(short, long, default_value = "1.0", value_parser = seconds, value_name = "FLOAT")]
    pub(super) timeout: Duration,

    /// Comma separated list of destination node names
    #[arg(short, long, value_delimiter = ',', value_name = "NODES")]
    pub(super) destination: Vec<String>,

    /// Use json as output format
    #[arg(short, long)]
    pub(super) json: bool,
}

/// Whatever NO_COLOR says is a yes, unless it says nothing (<https://no-color.org>).
#[expect(clippy::unnecessary_wraps, reason = "clap wants a result")]
fn any_text(text: &str) -> Result<bool, String> {
    Ok(!text.is_empty())
}

/// Reads a number of seconds.
pub(super) fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| format!("'{text}' is not a valid float."))?;
    Duration::try_from_secs_f64(seconds).map_err(|_| format!("'{text}' is not a number of seconds to wait."))
}

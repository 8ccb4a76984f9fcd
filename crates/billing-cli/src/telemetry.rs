//! Logs, traces and error reports. Started once, before any role.

mod check_ins;
mod panics;
mod reports;
mod scrub;
mod traces;

use std::io::IsTerminal as _;

use clap::{Args, ValueEnum};
use sentry::ClientInitGuard;
use sentry::integrations::tracing::BreadcrumbLayer;
use tracing::{Level, Metadata};
use tracing_subscriber::filter::{FilterExt as _, LevelFilter, filter_fn};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _};

pub(crate) use self::check_ins::watched;
pub(crate) use self::traces::propagator;
use self::traces::{Traces, TracesConfig};

#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Telemetry")]
pub struct TelemetryConfig {
    /// What is logged: a level, or target=level pairs divided by commas [default: info; standalone and demo: warn].
    /// Libraries say nothing at trace, where they print passwords, and the driver of PostgreSQL nothing at debug
    #[arg(long, env = "LOG", global = true, value_name = "FILTER")]
    log: Option<String>,

    /// How log lines look
    #[arg(long, env = "LOG_FORMAT", default_value = "text", global = true, value_name = "FORMAT")]
    log_format: LogFormat,

    /// Where errors are reported; none are when this is not set
    #[arg(long, env = "SENTRY_DSN", global = true, hide_env_values = true, value_name = "URL")]
    sentry_dsn: Option<sentry::types::Dsn>,

    /// The environment that Sentry files reports under
    #[arg(long, env = "SENTRY_ENVIRONMENT", default_value = "development", global = true, value_name = "NAME")]
    sentry_environment: String,

    /// The release that Sentry files reports under [default: billing@ and the version]
    #[arg(long, env = "SENTRY_RELEASE", global = true, value_name = "NAME")]
    sentry_release: Option<String>,

    #[command(flatten)]
    traces: TracesConfig,
}

#[derive(ValueEnum, Clone, Copy, Debug)]
enum LogFormat {
    Text,
    Json,
}

/// At TRACE libraries print the bytes of the wire: logins to servers with their passwords, whole messages; the driver of
/// PostgreSQL prints the parameters of each statement at DEBUG. Whatever `LOG` asks for, those are not written.
fn may_be_written(metadata: &Metadata<'_>) -> bool {
    let most = if metadata.target().starts_with("tokio_postgres") { Level::INFO } else { Level::DEBUG };
    *metadata.level() <= most || is_ours(metadata)
}

fn is_ours(metadata: &Metadata<'_>) -> bool {
    ["billing", "celeriac", "cloudpayments", "dial", "listener"].iter().any(|ours| metadata.target().starts_with(ours))
}

/// What `lapin` says of a lost connection is said once and in words by those who use it. A message that no queue takes is
/// an error for who sent it; the library would print its whole body, to whoever asks for the rest too.
fn without_the_librarys_lines(filter: EnvFilter, asked: &str) -> anyhow::Result<EnvFilter> {
    let filter = if asked.contains("lapin") { filter } else { filter.add_directive("lapin=off".parse()?) };
    Ok(filter.add_directive("lapin::returned_messages=off".parse()?))
}

/// Lines have colors where a person reads them, unless that person does not want any (<https://no-color.org>).
fn colors() -> bool {
    std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|said| said.is_empty())
}

/// Keeps traces and error reporting alive; dropping it sends what is still waiting.
pub struct Telemetry {
    _traces: Option<Traces>,
    _sentry: Option<ClientInitGuard>,
}

impl TelemetryConfig {
    /// Starts logging to standard error and, if they are set, traces and reporting to Sentry.
    pub fn start(&self, default_log: &str) -> anyhow::Result<Telemetry> {
        let filter = EnvFilter::builder()
            .parse(self.log.as_deref().unwrap_or(default_log))
            .map_err(|error| anyhow::anyhow!("LOG: {error}; for example LOG=info,celeriac=debug"))?;
        let filter = without_the_librarys_lines(filter, self.log.as_deref().unwrap_or_default())?;
        let lines = tracing_subscriber::fmt::layer().with_ansi(colors()).with_writer(std::io::stderr);
        let lines = match self.log_format {
            LogFormat::Text => lines.boxed(),
            LogFormat::Json => lines.json().boxed(),
        };
        let sentry = self.sentry_dsn.as_ref().map(|dsn| self.start_sentry(&dsn.to_string()));
        let traces = self.traces.start()?;
        tracing_subscriber::registry()
            .with(lines.with_filter(filter.and(filter_fn(may_be_written))))
            // What happened before goes along with each error.
            .with(sentry.as_ref().map(|_| BreadcrumbLayer::new().with_filter(LevelFilter::INFO)))
            .with(sentry.as_ref().map(|_| reports::Reports::default().with_filter(filter_fn(reports::concerns))))
            .with(traces.as_ref().map(Traces::layer))
            .init();
        Ok(Telemetry { _traces: traces, _sentry: sentry })
    }

    fn start_sentry(&self, dsn: &str) -> ClientInitGuard {
        let release =
            self.sentry_release.clone().unwrap_or_else(|| concat!("billing@", env!("CARGO_PKG_VERSION")).to_owned());
        // Headers and bodies may hold what must not leave this process.
        let options = sentry::ClientOptions::new().send_default_pii(false);
        let options = options.before_send(|event| Some(scrub::scrubbed(panics::placed(event))));
        sentry::init(options.dsn(dsn).release(release).environment(self.sentry_environment.clone()))
    }
}

//! Starting one role on real servers.

use std::io::Write as _;

use anyhow::Context as _;
use billing::services::ServicesError;
use billing::{Services, ServicesConfig, store};
use celeriac::WorkerError;
use clap::Args;

use crate::dashboard::{About, Bound, DashboardArgs};
use crate::exit::{self, Exit};
use crate::probes::{self, Probes, ProbesConfig};
use crate::signals::Signals;
use crate::telemetry;

#[derive(Args, Debug)]
pub struct ApiConfig {
    #[command(flatten, next_help_heading = "API")]
    pub api: billing_api::Config,
    #[command(flatten, next_help_heading = "API")]
    pub probes: ProbesConfig,
    #[command(flatten, next_help_heading = "Services")]
    pub services: billing::ServicesConfig,
}

#[derive(Args, Debug)]
pub struct WorkerConfig {
    #[command(flatten, next_help_heading = "Worker")]
    pub worker: billing_worker::Config,
    #[command(flatten, next_help_heading = "Worker")]
    pub probes: ProbesConfig,
    #[command(flatten, next_help_heading = "Services")]
    pub services: billing::ServicesConfig,
}

#[derive(Args, Debug)]
pub struct BeatConfig {
    #[command(flatten, next_help_heading = "Beat")]
    pub beat: billing_beat::Config,
    #[command(flatten, next_help_heading = "Beat")]
    pub probes: ProbesConfig,
    #[command(flatten, next_help_heading = "Services")]
    pub services: billing::ServicesConfig,
}

#[derive(Args, Debug)]
pub struct DashboardConfig {
    #[command(flatten, next_help_heading = "Dashboard")]
    pub dashboard: DashboardArgs,
    #[command(flatten, next_help_heading = "Timetable, as the beats have it")]
    pub timetable: billing_beat::Config,
    #[command(flatten, next_help_heading = "Services")]
    pub services: billing::ServicesConfig,
}

#[derive(Args, Debug)]
pub struct AdminConfig {
    #[command(flatten, next_help_heading = "Admin panel")]
    pub admin: billing_admin::Config,
    #[command(flatten, next_help_heading = "Services")]
    pub services: billing::ServicesConfig,
}

#[derive(Args, Debug)]
pub struct MigrateConfig {
    /// Puts three tariffs on sale if there are none of their names: a day, a month and a year
    #[arg(long, env = "SEED")]
    pub seed: bool,
    #[command(flatten)]
    pub services: billing::ServicesConfig,
}

#[derive(Args, Debug)]
pub struct CryptogramConfig {
    /// The number of a test card, for example 4242424242424242
    pub card_number: String,
    /// When the card expires
    #[arg(long, default_value = "12/39", value_name = "MM/YY")]
    pub exp: String,
    /// The three digits on its back
    #[arg(long, default_value = "123")]
    pub cvv: String,
}

/// Connects to database, broker and result backend; tries again until `CONNECT_WITHIN` is over or a signal comes.
pub(crate) async fn connect(config: ServicesConfig, signals: &Signals) -> Result<Services, Exit> {
    tokio::select! {
        connected = config.with_propagator(telemetry::propagator()).connect() => connected.map_err(services_error),
        () = signals.stop.warm.cancelled() => Err(stopped_while_connecting()),
    }
}

pub(crate) fn services_error(error: ServicesError) -> Exit {
    match error {
        ServicesError::Setting { .. } => Exit::configuration(error),
        ServicesError::Unreachable { .. } => Exit::unavailable(error),
    }
}

pub(crate) async fn api(config: ApiConfig, signals: &Signals) -> Result<u8, Exit> {
    let bound = billing_api::bind(config.api).await.map_err(api_error)?;
    let probes = Probes::listen(&config.probes)?;
    let services = connect(config.services.with_metrics(config.probes.are_asked()), signals).await?;
    let readiness = bound.readiness();
    probes.tell(move || probes::of_api(readiness.is_serving()));
    tracing::info!(address = %bound.local_addr(), "the API listens");
    let app = services.app.clone();
    let ended = bound.run(services, signals.stop.warm.clone()).await;
    app.close().await;
    ended?;
    Ok(exit::OK)
}

pub(crate) fn api_error(error: billing_api::StartError) -> Exit {
    match error {
        billing_api::StartError::Setting { .. } => Exit::configuration(error),
        billing_api::StartError::Listen { .. } => Exit::unavailable(error),
    }
}

pub(crate) async fn worker(config: WorkerConfig, signals: &Signals) -> Result<u8, Exit> {
    config.worker.check().map_err(Exit::configuration)?;
    let probes = Probes::listen(&config.probes)?;
    let services = connect(config.services.with_metrics(config.probes.are_asked()), signals).await?;
    let app = services.app.clone();
    let worker = billing_worker::prepare(config.worker, services, &signals.stop, end_process).map_err(worker_error)?;
    let handle = worker.handle();
    let watched = handle.clone();
    let circuits = worker.circuits();
    probes.tell(move || probes::of_worker(&watched, &circuits));
    let ended = worker.run(signals.stop.clone()).await;
    app.close().await;
    ended.map_err(worker_error)?;
    match handle.dropped() {
        0 => Ok(exit::OK),
        dropped => {
            tracing::warn!(dropped, "tasks were dropped before their end; their messages were given back");
            Ok(exit::FAILED)
        }
    }
}

/// The runtime does not answer: nobody else can end the process.
#[expect(clippy::print_stderr, reason = "the last word of the process")]
fn end_process(why: &str) {
    eprintln!("billing: the watchdog ends the process: {why}");
    std::process::exit(exit::SOFTWARE.into());
}

fn worker_error(error: anyhow::Error) -> Exit {
    let is_settings = error.is::<billing_worker::ConfigError>();
    match error.downcast_ref::<WorkerError>() {
        Some(WorkerError::Configuration(_)) => Exit::configuration(error),
        Some(WorkerError::Spent(_)) => Exit { status: exit::AGAIN, error },
        _ if is_settings => Exit::configuration(error),
        _ => error.into(),
    }
}

pub(crate) async fn beat(config: BeatConfig, signals: &Signals) -> Result<u8, Exit> {
    let probes = Probes::listen(&config.probes)?;
    let services = connect(config.services.with_metrics(config.probes.are_asked()), signals).await?;
    let app = services.app.clone();
    let beat = telemetry::watched(billing_beat::prepare(config.beat, services).await?);
    let handle = beat.handle();
    probes.tell(move || probes::of_beat(&handle));
    beat.run(signals.stop.warm.clone()).await;
    app.close().await;
    Ok(exit::OK)
}

/// Needs broker and result backend, and no database.
pub(crate) async fn dashboard(config: DashboardConfig, signals: &Signals) -> Result<u8, Exit> {
    let DashboardConfig { dashboard, timetable, services } = config;
    let services = services.with_propagator(telemetry::propagator());
    let bound = Bound::bind(dashboard).await?;
    let app = tokio::select! {
        connected = services.connect_app() => connected.map_err(services_error)?,
        () = signals.stop.warm.cancelled() => return Err(stopped_while_connecting()),
    };
    let address = bound.address();
    let (result_backend, time_zone) = (services.result_backend, services.billing_time_zone);
    let about = About { app: app.clone(), result_backend, time_zone, timetable };
    let serving = bound.serve(about, signals.stop.warm.clone()).await?;
    tracing::info!(%address, "the dashboard listens");
    serving.await;
    app.close().await;
    Ok(exit::OK)
}

pub(crate) async fn admin(config: AdminConfig, signals: &Signals) -> Result<u8, Exit> {
    let bound = billing_admin::bind(config.admin).await.map_err(admin_error)?;
    let services = connect(config.services, signals).await?;
    tracing::info!(address = %bound.local_addr(), "the admin panel listens");
    let app = services.app.clone();
    bound.run(services, signals.stop.warm.clone()).await;
    app.close().await;
    Ok(exit::OK)
}

pub(crate) fn admin_error(error: billing_admin::StartError) -> Exit {
    match error {
        billing_admin::StartError::InTheClear(_) | billing_admin::StartError::Setting { .. } => {
            Exit::configuration(error)
        }
        billing_admin::StartError::Listen { .. } => Exit::unavailable(error),
    }
}

fn stopped_while_connecting() -> Exit {
    Exit { status: exit::INTERRUPTED, error: anyhow::anyhow!("stopped while connecting") }
}

pub(crate) async fn sandbox(config: cloudpayments_sandbox::Config, signals: &Signals) -> Result<u8, Exit> {
    let bound = cloudpayments_sandbox::bind(config).await.map_err(sandbox_error)?;
    tracing::info!(address = %bound.address(), "the gateway's sandbox listens");
    bound.serve(signals.stop.warm.clone()).await;
    Ok(exit::OK)
}

pub(crate) fn sandbox_error(error: cloudpayments_sandbox::StartError) -> Exit {
    use cloudpayments_sandbox::StartError as E;
    match error {
        E::LedgerFile(_) => Exit::configuration(error),
        E::Listen { .. } | E::LedgerInUse(_) => Exit::unavailable(error),
    }
}

pub(crate) async fn migrate(config: MigrateConfig) -> Result<u8, Exit> {
    let db = config.services.connect_database().await.map_err(services_error)?;
    let applied = db.migrate().await.context("DATABASE_URL")?;
    tracing::info!(database = db.address(), ?applied, "the database is up to date");
    if config.seed {
        store::tariffs::seed(&mut *db.conn().await?, &store::tariffs::defaults(), db.now()).await?;
    }
    Ok(exit::OK)
}

pub(crate) fn cryptogram(config: &CryptogramConfig) -> Result<u8, Exit> {
    let made = cloudpayments_sandbox::cryptogram(&config.card_number, &config.exp, &config.cvv);
    let cryptogram = made.map_err(Exit::configuration)?;
    writeln!(std::io::stdout(), "{cryptogram}")?;
    Ok(exit::OK)
}

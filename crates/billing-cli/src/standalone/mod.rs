//! `billing standalone`: the whole system in one process, with nothing installed.

#[cfg(feature = "embedded")]
mod home;
#[cfg(feature = "embedded")]
mod postgres;
mod system;

use std::path::{Path, PathBuf};

use billing::db::Db;
use clap::{Args, Command};
use tokio::time::Instant;

#[cfg(feature = "embedded")]
pub(crate) use home::settle;
pub(crate) use system::System;

use crate::dashboard::DashboardArgs;
use crate::demo::{self, DemoConfig};
use crate::exit::{self, Exit};
use crate::signals::Signals;

/// The value of `DATABASE_URL` that means the `PostgreSQL` inside this process.
const EMBEDDED: &str = "embedded";
/// The value of `GATEWAY_URL` that means the sandbox inside this process.
const SANDBOX: &str = "sandbox";
/// With this one may act on the dashboard.
const ACT_TOKEN: &str = "operator-dev";

#[derive(Args, Debug)]
pub struct StandaloneConfig {
    /// Where everything is kept: the database, what the embedded PostgreSQL unpacks (100 MB), the sandbox's ledger, the key of `billing token`
    #[arg(long, env = "BILLING_DATA_DIR", default_value = ".data", value_name = "DIRECTORY")]
    pub data_dir: PathBuf,

    /// Play the demo, then stay up
    #[arg(long, env = "STANDALONE_DEMO")]
    pub demo: bool,

    /// Before all else play a month of 500 subscribers, for the panel to show, if nobody has paid here yet
    #[arg(long, env = "STANDALONE_DEMO_MONTH")]
    pub demo_month: bool,

    /// Play the demo, then end with its exit status
    #[arg(long, env = "STANDALONE_DEMO_AND_EXIT")]
    pub demo_and_exit: bool,

    #[command(flatten, next_help_heading = "API")]
    pub api: billing_api::Config,
    #[command(flatten, next_help_heading = "Worker")]
    pub worker: billing_worker::Config,
    #[command(flatten, next_help_heading = "Beat")]
    pub beat: billing_beat::Config,
    #[command(flatten, next_help_heading = "Dashboard")]
    pub dashboard: DashboardArgs,
    #[command(flatten, next_help_heading = "Admin panel")]
    pub admin: billing_admin::Config,
    #[command(flatten, next_help_heading = "Gateway sandbox")]
    pub sandbox: cloudpayments_sandbox::Config,
    #[command(flatten, next_help_heading = "Services")]
    pub services: billing::ServicesConfig,
}

/// What is different here from the roles on real servers: everything is inside, and nobody wants to wait.
pub(crate) fn defaults(command: Command) -> Command {
    const DEFAULTS: [(&str, &str); 19] = [
        ("database_url", EMBEDDED),
        ("broker_url", "memory://standalone"),
        ("result_backend", "memory://standalone"),
        ("gateway_url", SANDBOX),
        ("gateway_timeout", "5s"),
        ("sandbox_max_concurrent", "30"),
        ("resolve_first_look", "1s"),
        ("open_renewals_every", "1s"),
        ("republish_stranded_every", "5s"),
        ("resolve_unknown_every", "1s"),
        ("resume_refunds_every", "1s"),
        ("run_bulks_every", "5s"),
        ("expire_three_ds_every", "10s"),
        ("settle_notifications_every", "5s"),
        ("notifications_listen", "127.0.0.1:8095"),
        ("end_holds_every", "10s"),
        ("worker_shutdown_timeout", "3s"),
        // Known to everybody, as all tokens here are.
        ("dashboard_act_token", ACT_TOKEN),
        // Nobody would start it again.
        ("worker_watchdog", "0s"),
    ];
    DEFAULTS.into_iter().fold(command, |command, (id, value)| command.mut_arg(id, |arg| arg.default_value(value)))
}

/// Runs everything until a signal, or until the demo has ended if that is all that was asked for.
pub(crate) async fn run(config: StandaloneConfig, signals: Signals) -> Result<u8, Exit> {
    let (demo, demo_and_exit) = (config.demo, config.demo_and_exit);
    let began = Instant::now();
    let mut system = System::start(config, &signals).await?;
    system.introduce(began.elapsed(), !demo_and_exit);
    system.tell_month();
    let mut status = exit::OK;
    if demo || demo_and_exit {
        let config = system.demo_config()?;
        tokio::select! {
            played = demo::run(config) => status = demo::status(played),
            () = signals.stop.warm.cancelled() => status = exit::INTERRUPTED,
        }
    }
    if !demo_and_exit {
        status = system.wait(&signals).await;
    }
    system.stop(&signals).await?;
    Ok(status)
}

/// The key by which tokens of browsers are made and checked where there is no auth service.
pub(crate) fn browser_key(data_dir: &Path) -> PathBuf {
    data_dir.join("browser-key")
}

impl DemoConfig {
    fn against(api: std::net::SocketAddr, sandbox: std::net::SocketAddr, database: Db) -> anyhow::Result<Self> {
        Ok(Self {
            demo_api_url: format!("http://{api}").parse()?,
            demo_sandbox_url: format!("http://{sandbox}").parse()?,
            database: Some(database),
            ..Self::local()
        })
    }
}

//! `billing dashboard`: the operators' page of the queue, here with what it cannot know by itself.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context as _;
use celeriac::App;
use celeriac::beat::store;
use celeriac_dashboard::{Bounds, Dashboard, History, HistoryError, Retention};
use chrono_tz::Tz;
use clap::Args;
use listener::{Limits, Listener};
use secrecy::{ExposeSecret as _, SecretString};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::celery::KNOWN_QUEUES;
use crate::exit::Exit;

/// Who looks are operators: a few, each with some pages open.
const LIMITS: Limits = Limits { per_address: 256, in_all: 512, ..Limits::DEFAULT };
/// How long a page that is being made may hold the end of the process.
const STOP_WITHIN: Duration = Duration::from_secs(2);

#[derive(Args, Clone, Debug)]
#[group(id = "dashboard")]
pub struct DashboardArgs {
    /// Where the pages are
    #[arg(long, env = "DASHBOARD_LISTEN", default_value = "127.0.0.1:5555", value_name = "ADDRESS:PORT")]
    pub dashboard_listen: SocketAddr,

    /// Who signs in with this may look, 12 characters or more; without it everybody on this machine may, and no other address
    /// than a loopback one can be listened on
    #[arg(long, env = "DASHBOARD_READ_TOKEN", hide_env_values = true, hide_default_value = true, value_name = "TOKEN")]
    pub dashboard_read_token: Option<SecretString>,

    /// Who signs in with this may look and act; without it nobody may act
    #[arg(long, env = "DASHBOARD_ACT_TOKEN", hide_env_values = true, hide_default_value = true, value_name = "TOKEN")]
    pub dashboard_act_token: Option<SecretString>,

    /// Browsers come by https, through a proxy that keeps Host and Origin
    #[arg(long, env = "DASHBOARD_HTTPS")]
    pub dashboard_https: bool,

    /// Queues that are watched besides those that workers take tasks from
    #[arg(long, env = "DASHBOARD_QUEUES", value_delimiter = ',', default_values_t = KNOWN_QUEUES.map(str::to_owned), value_name = "QUEUES")]
    pub dashboard_queues: Vec<String>,

    /// RabbitMQ's management API with user and password: rates and unacknowledged messages are known with it
    #[arg(long, env = "DASHBOARD_BROKER_API", hide_env_values = true, value_name = "URL")]
    pub dashboard_broker_api: Option<Url>,

    /// How many tasks are remembered
    #[arg(long, env = "DASHBOARD_MAX_TASKS", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000), value_name = "N")]
    pub dashboard_max_tasks: u32,

    /// How much memory what is remembered of tasks may take, in megabytes
    #[arg(long, env = "DASHBOARD_MAX_MEMORY", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=65_536), value_name = "MB")]
    pub dashboard_max_memory: u32,

    /// The database that tasks, workers and what operators did are kept in, as libpq takes it; without it they are in memory
    #[arg(long, env = "DASHBOARD_HISTORY_URL", hide_env_values = true, value_name = "URL")]
    pub dashboard_history_url: Option<SecretString>,

    /// How many days of tasks are kept there, today included
    #[arg(long, env = "DASHBOARD_HISTORY_DAYS", default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=3_650), value_name = "DAYS")]
    pub dashboard_history_days: u32,

    /// How much disk they may take there, in gigabytes; above it the oldest days go first
    #[arg(long, env = "DASHBOARD_HISTORY_MAX_SIZE", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=100_000), value_name = "GB")]
    pub dashboard_history_max_size: u32,
}

impl DashboardArgs {
    fn history(&self) -> Result<Option<History>, HistoryError> {
        let retention = Retention {
            days: self.dashboard_history_days,
            bytes: u64::from(self.dashboard_history_max_size) * 1_000_000_000,
        };
        self.dashboard_history_url.as_ref().map(|url| History::new(url, retention)).transpose()
    }
}

/// What of a system its dashboard is about.
pub(crate) struct About {
    pub(crate) app: App,
    pub(crate) result_backend: SecretString,
    pub(crate) time_zone: Tz,
    pub(crate) timetable: billing_beat::Config,
}

/// A dashboard that has its port and begins with [`serve`](Self::serve).
pub(crate) struct Bound {
    listener: TcpListener,
    address: SocketAddr,
    args: DashboardArgs,
    history: Option<History>,
}

impl Bound {
    pub(crate) async fn bind(args: DashboardArgs) -> Result<Self, Exit> {
        let wanted = args.dashboard_listen;
        Dashboard::check_access(args.dashboard_read_token.as_ref(), args.dashboard_act_token.as_ref(), wanted)
            .map_err(|error| setting(&error))?;
        let history =
            args.history().map_err(|error| Exit::configuration(anyhow::anyhow!("DASHBOARD_HISTORY_URL: {error}")))?;
        let listener = TcpListener::bind(wanted).await;
        let listener = listener.with_context(|| format!("DASHBOARD_LISTEN: cannot listen on {wanted}"));
        let listener = listener.map_err(Exit::unavailable)?;
        let address = listener.local_addr()?;
        Ok(Self { listener, address, args, history })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The pages, listening to the cluster from now on; whoever has no right to be served is told which setting is wrong.
    pub(crate) async fn serve(
        self,
        about: About,
        stop: CancellationToken,
    ) -> Result<impl Future<Output = ()> + Send + 'static, Exit> {
        let Self { listener, address, args, history } = self;
        let store = store::connect(about.result_backend.expose_secret()).await.context("RESULT_BACKEND")?;
        let mut dashboard = Dashboard::builder(about.app)
            .title("Billing queues")
            .time_zone(about.time_zone)
            .queues(args.dashboard_queues)
            .bounds(Bounds {
                tasks: args.dashboard_max_tasks as usize,
                bytes: args.dashboard_max_memory as usize * 1_000_000,
            })
            .https(args.dashboard_https)
            .schedule(store)
            .entries(billing_beat::entries(&about.timetable))
            .shutdown(stop.clone());
        if let Some(history) = history {
            dashboard = dashboard.history(history);
        }
        if let Some(token) = args.dashboard_read_token {
            dashboard = dashboard.read_token(token);
        }
        if let Some(token) = args.dashboard_act_token {
            dashboard = dashboard.act_token(token);
        }
        if let Some(api) = args.dashboard_broker_api {
            dashboard = dashboard.management(api);
        }
        let pages = dashboard.into_router(address).map_err(|error| setting(&error))?;
        Ok(async move {
            let serving = Listener::new(listener, LIMITS).serve(pages, stop.clone());
            tokio::select! {
                () = serving => {}
                () = async { stop.cancelled().await; tokio::time::sleep(STOP_WITHIN).await } => {}
            }
        })
    }
}

fn setting(error: &celeriac_dashboard::AccessError) -> Exit {
    use celeriac_dashboard::AccessError as E;
    let variable = match error {
        E::Unprotected(_) => "DASHBOARD_READ_TOKEN is not set, and DASHBOARD_LISTEN",
        E::Short("read") => "DASHBOARD_READ_TOKEN",
        E::Short(_) | E::Same => "DASHBOARD_ACT_TOKEN",
    };
    Exit::configuration(anyhow::anyhow!("{variable}: {error}"))
}

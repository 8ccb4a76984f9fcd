//! `billing dashboard`: the operators' page of the queue, here with what it cannot know by itself.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context as _;
use axum::extract::{ConnectInfo, Request};
use axum::middleware::map_request;
use celeriac::App;
use celeriac::beat::store;
use celeriac_dashboard::{AccessError, Alerts, Bounds, Dashboard, History, HistoryError, ProxyHeader, Retention};
use chrono_tz::Tz;
use clap::Args;
use listener::{Limits, Listener, Peer};
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

    /// The header in which a reverse proxy says who comes: whoever is named there may look
    #[arg(long, env = "DASHBOARD_PROXY_HEADER", value_name = "NAME")]
    pub dashboard_proxy_header: Option<String>,

    /// The addresses of proxies whose header counts, as 10.0.0.7 or 10.0.0.0/8; they must take it from what browsers send
    #[arg(long, env = "DASHBOARD_TRUSTED_PROXIES", value_delimiter = ',', value_name = "ADDRESSES")]
    pub dashboard_trusted_proxies: Vec<String>,

    /// Who of those that the proxy names may act
    #[arg(long, env = "DASHBOARD_PROXY_ACT", value_delimiter = ',', value_name = "NAMES")]
    pub dashboard_proxy_act: Vec<String>,

    /// Tasks whose arguments and results are not kept and not shown; * is anything
    #[arg(long, env = "DASHBOARD_HIDE_ARGUMENTS", value_delimiter = ',', value_name = "TASKS")]
    pub dashboard_hide_arguments: Vec<String>,

    /// Who may only look sees no arguments and no results
    #[arg(long, env = "DASHBOARD_HIDE_FROM_READERS")]
    pub dashboard_hide_from_readers: bool,

    /// Where alerts are posted to: no worker, no beat leader, and what is set below
    #[arg(long, env = "DASHBOARD_ALERTS_URL", hide_env_values = true, value_name = "URL")]
    pub dashboard_alerts_url: Option<Url>,

    /// Goes along with them as Authorization: Bearer
    #[arg(
        long,
        env = "DASHBOARD_ALERTS_TOKEN",
        hide_env_values = true,
        hide_default_value = true,
        value_name = "TOKEN"
    )]
    pub dashboard_alerts_token: Option<SecretString>,

    /// Alert when more messages than this wait in a queue
    #[arg(long, env = "DASHBOARD_ALERTS_QUEUE_LONGER", value_name = "MESSAGES")]
    pub dashboard_alerts_queue_longer: Option<u64>,

    /// Alert when a task has waited longer than this in a queue; known of tasks whose senders announce them
    #[arg(long, env = "DASHBOARD_ALERTS_QUEUE_OLDER", value_name = "SECONDS")]
    pub dashboard_alerts_queue_older: Option<u64>,

    /// Alert when more tasks than this have failed in five minutes
    #[arg(long, env = "DASHBOARD_ALERTS_FAILURES", value_name = "TASKS")]
    pub dashboard_alerts_failures: Option<u64>,

    /// Only what has lasted so long is told, and that it is over when it has been over for so long
    #[arg(long, env = "DASHBOARD_ALERTS_AFTER", default_value_t = 60, value_name = "SECONDS")]
    pub dashboard_alerts_after: u64,
}

impl DashboardArgs {
    fn proxy(&self) -> Result<Option<ProxyHeader>, AccessError> {
        let Some(header) = &self.dashboard_proxy_header else { return Ok(None) };
        let trusted = self.dashboard_trusted_proxies.iter().map(String::as_str);
        ProxyHeader::new(header, trusted, self.dashboard_proxy_act.iter().cloned()).map(Some)
    }

    fn alerts(&self) -> Option<Alerts> {
        let url = self.dashboard_alerts_url.clone()?;
        Some(Alerts {
            token: self.dashboard_alerts_token.clone(),
            queue_longer: self.dashboard_alerts_queue_longer,
            queue_older: self.dashboard_alerts_queue_older.map(Duration::from_secs),
            failures: self.dashboard_alerts_failures,
            after: Duration::from_secs(self.dashboard_alerts_after),
            ..Alerts::to(url)
        })
    }

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
        let proxy = args.proxy().map_err(|error| setting(&error))?;
        let (read, act) = (args.dashboard_read_token.as_ref(), args.dashboard_act_token.as_ref());
        Dashboard::check_access(read, act, proxy.as_ref(), wanted).map_err(|error| setting(&error))?;
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
        let (proxy, alerts) = (args.proxy().map_err(|error| setting(&error))?, args.alerts());
        let mut dashboard = Dashboard::builder(about.app)
            .title("Billing queues")
            .time_zone(about.time_zone)
            .queues(args.dashboard_queues)
            .bounds(Bounds {
                tasks: args.dashboard_max_tasks as usize,
                bytes: args.dashboard_max_memory as usize * 1_000_000,
            })
            .https(args.dashboard_https)
            .hide_arguments_of(args.dashboard_hide_arguments.clone())
            .hide_arguments_from_readers(args.dashboard_hide_from_readers)
            .arguments(ids)
            .schedule(store)
            .entries(billing_beat::entries(&about.timetable))
            .shutdown(stop.clone());
        if let Some(proxy) = proxy {
            dashboard = dashboard.proxy_header(proxy);
        }
        if let Some(alerts) = alerts {
            dashboard = dashboard.alerts(alerts);
        }
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
        let pages = pages.layer(map_request(with_peer));
        Ok(async move {
            let serving = Listener::new(listener, LIMITS).serve(pages, stop.clone());
            tokio::select! {
                () = serving => {}
                () = async { stop.cancelled().await; tokio::time::sleep(STOP_WITHIN).await } => {}
            }
        })
    }
}

/// The other end of the connection, where the dashboard looks for it.
async fn with_peer(mut request: Request) -> Request {
    if let Some(address) = request.extensions().get::<Peer>().map(Peer::address) {
        request.extensions_mut().insert(ConnectInfo(address));
    }
    request
}

/// The keyword arguments of our tasks are ids and nothing else (`billing::tasks`), so that they can be read as they are
/// printed: `{'payment_id': '…'}`. A task is a function of the row that it names, and may be sent again.
fn ids(task: &str, kwargs: &str) -> Option<serde_json::Value> {
    if !task.starts_with("billing.") {
        return None;
    }
    let inside = kwargs.strip_prefix('{')?.strip_suffix('}')?;
    let pairs = inside.split(", ").filter(|pair| !pair.is_empty()).map(|pair| {
        let (name, value) = pair.split_once(": ")?;
        let quoted = |text: &str| Some(text.strip_prefix('\'')?.strip_suffix('\'')?.to_owned());
        let (name, value) = (quoted(name)?, quoted(value)?);
        let is_name = name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
        (is_name && value.parse::<uuid::Uuid>().is_ok()).then_some((name, serde_json::Value::String(value)))
    });
    pairs.collect::<Option<serde_json::Map<_, _>>>().map(serde_json::Value::Object)
}

fn setting(error: &celeriac_dashboard::AccessError) -> Exit {
    use celeriac_dashboard::AccessError as E;
    let variable = match error {
        E::Unprotected(_) => "DASHBOARD_READ_TOKEN is not set, and DASHBOARD_LISTEN",
        E::Proxy(_) => "DASHBOARD_PROXY_HEADER, DASHBOARD_TRUSTED_PROXIES",
        E::Short("read") => "DASHBOARD_READ_TOKEN",
        E::Short(_) | E::Same => "DASHBOARD_ACT_TOKEN",
    };
    Exit::configuration(anyhow::anyhow!("{variable}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::ids;

    #[test]
    fn only_ids_are_read_as_they_are_printed() {
        let id = "5f0c7c1e-5a4b-4a57-9d2c-6d9a0f2f7f2a";
        let read = ids("billing.charge_payment", &format!("{{'payment_id': '{id}'}}")).unwrap();
        assert_eq!(read, serde_json::json!({ "payment_id": id }));
        assert_eq!(ids("billing.tick", "{}").unwrap(), serde_json::json!({}));
        for (task, kwargs) in [
            ("shop.charge", format!("{{'payment_id': '{id}'}}")),
            ("billing.x", "{'amount': 5}".to_owned()),
            ("billing.x", format!("{{'payment_id': '{id}")),
            ("billing.x", format!("{{'payment_id': '{id}...'}}")),
            ("billing.x", "{'name': 'Ada'}".to_owned()),
        ] {
            assert_eq!(ids(task, &kwargs), None, "{task} {kwargs}");
        }
    }
}

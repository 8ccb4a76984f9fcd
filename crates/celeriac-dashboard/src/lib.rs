#![doc = include_str!("../README.md")]
#![warn(missing_docs)]

mod access;
mod action;
mod alerts;
mod assets;
mod chart;
mod cluster;
mod feed;
mod find;
mod guard;
mod health;
mod hiding;
mod history;
mod live;
mod log;
mod memory;
mod page;
mod pages;
mod pauses;
mod proxy;
mod routes;
mod show;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use celeriac::App;
use celeriac::beat::{Entry, ScheduleStore};
use celeriac::control::Client;
use chrono_tz::Tz;
use parking_lot::RwLock;
use secrecy::SecretString;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use url::Url;

use self::access::Gate;
use self::cluster::{Cluster, Management, Timetable};
use self::hiding::Hiding;
use self::log::Log;
use self::memory::Picture;
use self::pauses::Pauses;

pub use self::access::AccessError;
pub use self::alerts::Alerts;
pub use self::history::{History, HistoryError, Retention};
pub use self::memory::Bounds;
pub use self::proxy::ProxyHeader;

/// Pages that stay open, each with its stream of news.
const MAX_STREAMS: usize = 200;

/// A page elsewhere that tells more about a task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// What it says, for instance `Payment 48213`.
    pub text: String,
    /// Where it leads: a path of this server, beginning with `/`, or an `https://` address; others are not shown.
    pub href: String,
}

/// Finds what a task is about, by its name and its keyword arguments as they are shown (`{'payment_id': '…'}`).
type Linker = dyn Fn(&str, &str) -> Option<Link> + Send + Sync;

/// Reads the keyword arguments of a task exactly, by its name and as they are printed; `None`: it cannot.
type Rerunner = dyn Fn(&str, &str) -> Option<serde_json::Value> + Send + Sync;

/// The dashboard of a cluster; begins with [`builder`](Self::builder).
pub struct Dashboard;

impl Dashboard {
    /// A dashboard of the workers and queues that `app` talks to.
    pub fn builder(app: App) -> Builder {
        Builder {
            app,
            title: "Queues".to_owned(),
            base: String::new(),
            zone: Tz::UTC,
            bounds: Bounds::default(),
            queues: BTreeSet::new(),
            read_token: None,
            act_token: None,
            https: false,
            management: None,
            store: None,
            entries: Vec::new(),
            linker: None,
            rerunner: None,
            alerts: None,
            proxy: None,
            hiding: Hiding::default(),
            history: None,
            stop: CancellationToken::new(),
        }
    }
}

impl Dashboard {
    /// Whether a dashboard with these tokens may be served at `address`; [`Builder::into_router`] says the same.
    ///
    /// # Errors
    /// [`AccessError`].
    pub fn check_access(
        read_token: Option<&SecretString>,
        act_token: Option<&SecretString>,
        proxy: Option<&ProxyHeader>,
        address: SocketAddr,
    ) -> Result<(), AccessError> {
        Gate::new(read_token.cloned(), act_token.cloned(), proxy.cloned(), address, false).map(drop)
    }
}

/// How a dashboard is to be.
#[must_use]
pub struct Builder {
    app: App,
    title: String,
    base: String,
    zone: Tz,
    bounds: Bounds,
    queues: BTreeSet<String>,
    read_token: Option<SecretString>,
    act_token: Option<SecretString>,
    https: bool,
    management: Option<Url>,
    store: Option<Arc<dyn ScheduleStore>>,
    entries: Vec<Entry>,
    linker: Option<Box<Linker>>,
    rerunner: Option<Box<Rerunner>>,
    alerts: Option<Alerts>,
    proxy: Option<ProxyHeader>,
    hiding: Hiding,
    history: Option<History>,
    stop: CancellationToken,
}

impl Builder {
    /// What stands at the top of each page.
    pub fn title(mut self, title: impl Into<String>) -> Self {
        self.title = title.into();
        self
    }

    /// Where the router is nested, for instance `/queues`; every link begins with it. The root by default.
    pub fn mounted_at(mut self, path: &str) -> Self {
        self.base = path.trim_end_matches('/').to_owned();
        self
    }

    /// On whose wall clock times are shown; UTC by default.
    pub fn time_zone(mut self, zone: Tz) -> Self {
        self.zone = zone;
        self
    }

    /// How much is remembered of tasks.
    pub fn bounds(mut self, bounds: Bounds) -> Self {
        self.bounds = bounds;
        self
    }

    /// Queues to watch besides those that workers say they take tasks from.
    pub fn queues<Q: Into<String>>(mut self, queues: impl IntoIterator<Item = Q>) -> Self {
        self.queues.extend(queues.into_iter().map(Into::into));
        self
    }

    /// Who signs in with this may look. Without it, and on a loopback address only, everybody who reaches the port may.
    pub fn read_token(mut self, token: impl Into<SecretString>) -> Self {
        self.read_token = Some(token.into());
        self
    }

    /// Who signs in with this may look and act. Without it nobody may act.
    pub fn act_token(mut self, token: impl Into<SecretString>) -> Self {
        self.act_token = Some(token.into());
        self
    }

    /// Browsers come by https, through a proxy that keeps `Host` and `Origin`: cookies are sent by https only.
    pub fn https(mut self, https: bool) -> Self {
        self.https = https;
        self
    }

    /// `RabbitMQ`'s management API, for instance `http://guest:guest@localhost:15672`: with it, messages that are not
    /// acknowledged and rates are known, too.
    pub fn management(mut self, api: Url) -> Self {
        self.management = Some(api);
        self
    }

    /// Where the beats of this cluster agree on who sends; with it there is a page about the schedule.
    pub fn schedule(mut self, store: Arc<dyn ScheduleStore>) -> Self {
        self.store = Some(store);
        self
    }

    /// The entries that the beats have in their code, so that they are shown with their rules.
    pub fn entries(mut self, entries: impl IntoIterator<Item = Entry>) -> Self {
        self.entries.extend(entries);
        self
    }

    /// Links a task to a page elsewhere, by its name and its keyword arguments as they are shown.
    pub fn link(mut self, linker: impl Fn(&str, &str) -> Option<Link> + Send + Sync + 'static) -> Self {
        self.linker = Some(Box::new(linker));
        self
    }

    /// Says what a task was called with, by its name and its keyword arguments as they are printed (`{'id': '…'}`), so that it
    /// can be run again where the result backend does not keep that. Only for tasks without positional arguments whose
    /// keyword arguments can be read exactly, as ids can; anything else is `None`.
    pub fn arguments(mut self, read: impl Fn(&str, &str) -> Option<serde_json::Value> + Send + Sync + 'static) -> Self {
        self.rerunner = Some(Box::new(read));
        self
    }

    /// What is wrong is told to a webhook.
    pub fn alerts(mut self, alerts: Alerts) -> Self {
        self.alerts = Some(alerts);
        self
    }

    /// A reverse proxy says who comes. The server must put the address of the other end among the extensions of each request,
    /// as [`axum::extract::ConnectInfo`] (`into_make_service_with_connect_info`).
    pub fn proxy_header(mut self, header: ProxyHeader) -> Self {
        self.proxy = Some(header);
        self
    }

    /// What these tasks are called with and return is not kept and not shown: names, in which `*` is anything. What went wrong
    /// is shown as the task says it.
    pub fn hide_arguments_of<N: Into<String>>(mut self, names: impl IntoIterator<Item = N>) -> Self {
        self.hiding.names.extend(names.into_iter().map(Into::into));
        self
    }

    /// Who may only look sees no arguments and no results, and does not find tasks by them.
    pub fn hide_arguments_from_readers(mut self, hide: bool) -> Self {
        self.hiding.from_readers = hide;
        self
    }

    /// Where everything is kept, so that a restart forgets nothing. Without it what was heard is in memory only.
    pub fn history(mut self, history: History) -> Self {
        self.history = Some(history);
        self
    }

    /// When this is cancelled, open pages are let go of and nothing is watched any more.
    pub fn shutdown(mut self, stop: CancellationToken) -> Self {
        self.stop = stop;
        self
    }

    /// Begins to listen, and returns the pages, to be served at `address` and nested where
    /// [`mounted_at`](Self::mounted_at) says. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// [`AccessError`]: everybody could look. Without tokens a dashboard is for a loopback address only.
    pub fn into_router(self, address: SocketAddr) -> Result<Router, AccessError> {
        let gate = Gate::new(self.read_token, self.act_token, self.proxy, address, self.https)?;
        let control = Client::new(Arc::clone(self.app.broker()));
        let broker = self.app.broker().address().to_owned();
        let timetable = self.store.map(|store| Timetable::new(store, self.entries, self.zone));
        let core = Arc::new(Core {
            picture: RwLock::new(Picture::new(self.bounds, celeriac::clock::unix_seconds())),
            cluster: RwLock::new(Cluster::default()),
            management: self.management.map(|api| Management::new(api, &broker)),
            app: self.app,
            control,
            title: self.title,
            base: self.base,
            zone: self.zone,
            bounds: self.bounds,
            queues: self.queues,
            timetable,
            linker: self.linker,
            rerunner: self.rerunner,
            hiding: self.hiding,
            pauses: Pauses::default(),
            history: self.history,
            gate,
            log: Log::default(),
            streams: Arc::new(Semaphore::new(MAX_STREAMS)),
            stop: self.stop,
        });
        history::start(&core);
        core.picture.write().hides(core.hiding.clone());
        if let Some(alerts) = self.alerts {
            alerts::start(&core, alerts);
        }
        feed::start(&core);
        cluster::start(&core);
        Ok(routes::router(core))
    }
}

/// What the pages are made from.
pub(crate) struct Core {
    app: App,
    control: Client,
    title: String,
    base: String,
    zone: Tz,
    bounds: Bounds,
    queues: BTreeSet<String>,
    picture: RwLock<Picture>,
    cluster: RwLock<Cluster>,
    management: Option<Management>,
    timetable: Option<Timetable>,
    linker: Option<Box<Linker>>,
    rerunner: Option<Box<Rerunner>>,
    hiding: Hiding,
    pauses: Pauses,
    history: Option<History>,
    gate: Gate,
    log: Log,
    streams: Arc<Semaphore>,
    stop: CancellationToken,
}

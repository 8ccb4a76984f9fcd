//! The panel for accounting and support, in the browser: who pays what, why something is as it is, what comes next.
//!
//! Every page is complete without JavaScript. What each asks of who comes stands in one table (`routes`), and what every
//! request passes first in `guard`. Pages read, in transactions that cannot write; what comes next and why they take from
//! [`billing::explain`], which is told the same times as the workers act by.

mod access;
mod assets;
mod chart;
mod config;
mod guard;
mod lang;
mod list;
mod oidc;
mod page;
mod pages;
mod params;
mod report;
mod routes;
mod show;
mod story;
mod words;
mod workbook;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use billing::Services;
use listener::{Limits, Listener};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

pub use self::config::{Config, StartError};
pub use self::oidc::OidcConfig;
use self::oidc::Provider;

/// Who looks are a few people, each with some pages open.
const LIMITS: Limits = Limits { per_address: 256, in_all: 512, ..Limits::DEFAULT };
/// How long a page that is being made may hold the end of the process.
const STOP_WITHIN: Duration = Duration::from_secs(2);
/// Passwords that are compared at a time: each takes a core and 19 MiB for a moment.
const PASSWORDS_AT_ONCE: usize = 2;

/// A panel that has its port, and begins with [`run`](Self::run).
pub struct Bound {
    listener: TcpListener,
    address: SocketAddr,
    config: Config,
    oidc: Option<Provider>,
}

/// Takes the port.
///
/// # Errors
/// [`StartError`].
pub async fn bind(config: Config) -> Result<Bound, StartError> {
    let wanted = config.admin_listen;
    config.check()?;
    let oidc = config.oidc.provider()?;
    let listen = |source| StartError::Listen { address: wanted, source };
    let listener = TcpListener::bind(wanted).await.map_err(listen)?;
    let address = listener.local_addr().map_err(listen)?;
    Ok(Bound { listener, address, config, oidc })
}

impl Bound {
    /// Where it listens.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Serves the pages until `stop`.
    pub async fn run(self, services: Services, stop: CancellationToken) {
        let Self { listener, address: _, config, oidc } = self;
        let core = Arc::new(Core {
            services,
            https: config.admin_https,
            proxies: config.admin_proxies,
            needs_factor: config.admin_second_factor,
            queues: config.queues(),
            price_notice: config.price_notice(),
            oidc,
            passwords: Arc::new(Semaphore::new(PASSWORDS_AT_ONCE)),
        });
        let serving = Listener::new(listener, LIMITS).serve(routes::router(core), stop.clone());
        tokio::select! {
            () = serving => {}
            () = async { stop.cancelled().await; tokio::time::sleep(STOP_WITHIN).await } => {}
        }
    }
}

/// What the pages are made from.
pub(crate) struct Core {
    services: Services,
    /// Cookies are sent by https only.
    https: bool,
    /// So many proxies stand in front.
    proxies: u8,
    /// Everybody needs a second factor.
    needs_factor: bool,
    /// Where the dashboard of the queue is, without a slash at its end.
    queues: Option<String>,
    /// Subscribers are told of a price so long before.
    price_notice: chrono::TimeDelta,
    /// The company's provider of sign-in.
    oidc: Option<Provider>,
    passwords: Arc<Semaphore>,
}

impl Core {
    /// The staff come by the company's provider, and with a password only whom the command line lets.
    pub(crate) fn wants_no_passwords(&self) -> bool {
        self.oidc.as_ref().is_some_and(Provider::is_only)
    }
}

//! Starting and stopping.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use chrono::TimeDelta;
use listener::{Limits, Listener};
use parking_lot::{Mutex, MutexGuard};
use tokio::{
    net::TcpListener,
    sync::{Notify, Semaphore},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::{
    clock::Clock,
    config::Config,
    http::{
        self, Books, Gateway,
        faults::Faults,
        load::Load,
        sender::{self, Post},
    },
    journal::{Journal, JournalError},
    ledger::{Ledger, notices::Site, secret::Secret},
    notification::{Kind, settings::Settings},
    wire::answer::Terminal,
};

/// How long requests under way may take to end after the sandbox is told to stop.
const SHUTDOWN_LIMIT: Duration = Duration::from_secs(3);

/// Everything on a developer's machine has one address, and a shop may think for long between the halves of a request.
fn limits() -> Limits {
    Limits { body: Duration::from_secs(30), per_address: 1024, ..Limits::default() }
}

/// Why the sandbox does not start. The message names the setting to change.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("SANDBOX_LISTEN: cannot listen on {address}: {source}")]
    Listen { address: SocketAddr, source: io::Error },
    /// It cannot be read or written, or is something else: name another.
    #[error("SANDBOX_LEDGER_FILE: {0}")]
    LedgerFile(String),
    /// Another sandbox has it.
    #[error("SANDBOX_LEDGER_FILE: {0}")]
    LedgerInUse(String),
}

impl From<JournalError> for StartError {
    fn from(error: JournalError) -> Self {
        match error {
            JournalError::InUse { .. } => Self::LedgerInUse(error.to_string()),
            JournalError::Io { .. } | JournalError::Foreign { .. } => Self::LedgerFile(error.to_string()),
        }
    }
}

/// Runs the sandbox until it is told to stop.
///
/// # Errors
///
/// It cannot start ([`StartError`]).
pub async fn run(config: Config, shutdown: CancellationToken) -> anyhow::Result<()> {
    bind(config).await?.serve(shutdown).await;
    Ok(())
}

/// A sandbox that has its port and its ledger. It answers when it is served.
pub struct Bound {
    listener: TcpListener,
    address: SocketAddr,
    gateway: Arc<Gateway>,
}

/// Takes the port and opens the ledger, so that what is wrong with either is known before anything runs.
///
/// # Errors
///
/// The port is taken or the ledger file cannot be used.
pub async fn bind(config: Config) -> Result<Bound, StartError> {
    let listen = |source| StartError::Listen { address: config.listen, source };
    let listener = TcpListener::bind(config.listen).await.map_err(listen)?;
    let address = listener.local_addr().map_err(listen)?;
    let clock = Clock::new(config.clock_speed);
    let base_url = match &config.public_url {
        Some(url) => url.as_str().trim_end_matches('/').to_owned(),
        None => format!("http://{}", reachable(address)),
    };
    let books = open_books(&config, &base_url, &clock)?;
    let gateway = Gateway {
        terminal: Terminal { public_id: config.public_id, fee: config.fee, base_url },
        api_secret: config.api_secret,
        strict: config.strict,
        two_stage: config.two_stage,
        latency: config.latency,
        clock,
        books: Mutex::new(books),
        faults: Mutex::new(Faults::default()),
        slots: Arc::new(Semaphore::new(config.max_concurrent.min(Semaphore::MAX_PERMITS))),
        load: Load::default(),
        turns: Arc::default(),
        post: Post::default(),
        reply_timeout: config.notification_timeout,
        sent: Notify::new(),
        shutdown: CancellationToken::new(),
    };
    Ok(Bound { listener, address, gateway: Arc::new(gateway) })
}

fn open_books(config: &Config, base_url: &str, clock: &Clock) -> Result<Books, JournalError> {
    let fresh = Secret::new(Uuid::new_v4(), Uuid::new_v4());
    let told = config.notifications_url.as_ref();
    let settings = Kind::ALL.into_iter().filter_map(|kind| Some((kind, Settings::under(told?, kind))));
    let site = Site::new(base_url.to_owned(), settings);
    let new_ledger = |secret| Ledger::new(secret, clock.now().timestamp_millis(), config.max_transactions, site);
    let Some(path) = &config.ledger_file else {
        return Ok(Books { ledger: new_ledger(fresh), journal: None });
    };
    let (mut journal, secret) = Journal::open(path, fresh)?;
    let mut ledger = new_ledger(secret);
    journal.replay(|change| ledger.apply(change))?;
    Ok(Books { ledger, journal: Some(journal) })
}

/// A browser cannot go to "any address".
fn reachable(address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), address.port())
    } else {
        address
    }
}

impl Bound {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn books(&self) -> MutexGuard<'_, Books> {
        self.gateway.books.lock()
    }

    /// Answers until told to stop, then lets requests under way end (a delayed one is cut) for at most three seconds.
    pub async fn serve(self, shutdown: CancellationToken) {
        tracing::info!(address = %self.address, "the CloudPayments sandbox is listening");
        let going_down = self.gateway.shutdown.clone();
        let sending = tokio::spawn(sender::run(Arc::clone(&self.gateway)));
        let router = http::router(self.gateway);
        let serving = Listener::new(self.listener, limits()).serve(router, shutdown.clone());
        let overdue = async {
            shutdown.cancelled().await;
            // What waits for its time is not waited for.
            going_down.cancel();
            tokio::time::sleep(SHUTDOWN_LIMIT).await;
        };
        tokio::select! {
            () = serving => {}
            () = overdue => {}
        }
        going_down.cancel();
        let _ = sending.await;
    }
}

/// A sandbox running in the background, for tests. Dropping it stops it.
pub struct Sandbox {
    /// Where it listens.
    pub addr: SocketAddr,
    clock: Clock,
    shutdown: CancellationToken,
    server: JoinHandle<()>,
}

impl Sandbox {
    /// Starts a sandbox; [`Config::for_tests`] gives it a free port.
    ///
    /// # Errors
    ///
    /// The port is taken or the ledger file cannot be used.
    pub async fn start(config: Config) -> Result<Self, StartError> {
        let bound = bind(config).await?;
        let (addr, clock) = (bound.address, bound.gateway.clock.clone());
        let shutdown = CancellationToken::new();
        let server = tokio::spawn(bound.serve(shutdown.clone()));
        Ok(Self { addr, clock, shutdown, server })
    }

    /// Base URL of the gateway's API, without a slash at the end.
    pub fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// Moves the sandbox's clock forward: request ids are forgotten after an hour, authorizations after seven days.
    pub fn advance(&self, by: Duration) {
        self.clock.advance(TimeDelta::from_std(by).unwrap_or(TimeDelta::MAX));
    }

    /// Stops it and waits until it has.
    ///
    /// # Errors
    ///
    /// It panicked.
    pub async fn stop(mut self) -> io::Result<()> {
        self.shutdown.cancel();
        (&mut self.server).await.map_err(io::Error::other)
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

//! Notifications of the gateway: an HTTP port of its own, a path for each kind.
//!
//! What is signed is written down before anything is made of it, and `{"code":0}` is replied only after that is committed:
//! any other reply has it told again. What it means goes the way of a response ([`billing::store::notifications`]). A check
//! is replied to from the rows, on connections of its own, and writes nothing.

mod config;
mod figures;
mod networks;
mod request;
mod words;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use billing::db::{Db, DbError};
use billing::event::Source;
use billing::notification::{CheckReply, Notice, NoticeEffect, NoticeKind};
use billing::payment::identity::Terminal;
use billing::store::StoreError;
use billing::store::notifications::{self, Received, Rules};
use billing::trail::{self, Trail};
use billing::{Services, wake};
use bytes::Bytes;
use cloudpayments::notification::{Kind, Reply};
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Request, Response};
use http_body_util::Full;
use listener::{Body, Limits, Listener};
use rustls::ServerConfig;
use secrecy::{ExposeSecret as _, SecretString};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::field::Empty;
use tracing::{Instrument as _, Span};

pub use self::config::NotificationsConfig;
use self::request::Refused;
use self::words::{Heard, heard};
use crate::outage::Outages;
use crate::start::StartError;

/// Refusals are told of once, however many.
static REFUSED: Outages = Outages::new();
static UNAVAILABLE: Outages = Outages::new();
static MISDIRECTED: Outages = Outages::new();

/// The port, held and not served yet.
pub(crate) struct Bound {
    config: NotificationsConfig,
    api_secrets: Vec<SecretString>,
    tls: Option<Arc<ServerConfig>>,
    listener: TcpListener,
    address: SocketAddr,
}

/// Checks the settings and takes the port, if there is to be one.
///
/// # Errors
/// [`StartError`] names the variable to correct.
pub(crate) async fn bind(config: &NotificationsConfig) -> Result<Option<Bound>, StartError> {
    let Some(address) = config.listen else { return Ok(None) };
    let api_secrets = secrets(config)?;
    let tls = crate::tls::notifications_tls(config)?;
    let listen = |source| StartError::Listen { variable: "NOTIFICATIONS_LISTEN", address, source };
    let listener = TcpListener::bind(address).await.map_err(listen)?;
    let address = listener.local_addr().map_err(listen)?;
    Ok(Some(Bound { config: config.clone(), api_secrets, tls, listener, address }))
}

/// One, or two while the first is replaced by the second.
fn secrets(config: &NotificationsConfig) -> Result<Vec<SecretString>, StartError> {
    let given = config.api_secrets.as_ref().map(SecretString::expose_secret).unwrap_or_default();
    let secrets: Vec<SecretString> =
        given.split(',').map(str::trim).filter(|secret| !secret.is_empty()).map(SecretString::from).collect();
    match secrets.len() {
        1 | 2 => Ok(secrets),
        0 => Err(StartError::setting("NOTIFICATIONS_API_SECRETS", "must be set together with NOTIFICATIONS_LISTEN")),
        _ => Err(StartError::setting("NOTIFICATIONS_API_SECRETS", "expected one secret, or two while it is changed")),
    }
}

impl Bound {
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Takes notifications until `shutdown`, and finishes what has begun.
    ///
    /// # Errors
    /// When there can be no connections for checks.
    pub(crate) async fn serve(self, services: Services, shutdown: CancellationToken) -> Result<(), DbError> {
        let Self { config, api_secrets, tls, listener, address } = self;
        let scheme = if tls.is_some() { "https" } else { "http" };
        tracing::info!(
            url = format!("{scheme}://{address}{}", request::PATH),
            "notifications of the gateway are taken"
        );
        figures::begin();
        let limits =
            Limits { body: config.timeout, per_address: MAX_CONNECTIONS, in_all: MAX_CONNECTIONS, ..Limits::default() };
        let desk = Arc::new(Desk {
            checks_db: services.db.beside(config.check_connections)?,
            checks: Semaphore::new(config.max_in_flight),
            others: Semaphore::new(config.max_in_flight),
            // The other half is for who calls the API.
            writing: Semaphore::new(services.db.size().div_ceil(2)),
            rules: Rules {
                terminal: config.terminal.unwrap_or(Terminal::Live),
                patience: services.times.resolve.first_look,
                zone: services.time_zone,
            },
            tracker: TaskTracker::new(),
            services,
            api_secrets,
            config,
        });
        let mut port = Listener::new(listener, limits);
        if let Some(tls) = tls {
            port = port.tls(tls);
        }
        let serving = Arc::clone(&desk);
        let service = tower::service_fn(move |request| {
            let desk = Arc::clone(&serving);
            async move { Ok::<_, Infallible>(desk.respond(request).await) }
        });
        port.serve(service, shutdown).await;
        desk.tracker.close();
        desk.tracker.wait().await;
        Ok(())
    }
}

/// With the largest body on each, 64 MiB.
const MAX_CONNECTIONS: usize = 512;

/// What every notification is served with.
struct Desk {
    services: Services,
    config: NotificationsConfig,
    api_secrets: Vec<SecretString>,
    checks_db: Db,
    checks: Semaphore,
    others: Semaphore,
    /// How many of our connections to the database notifications have at once.
    writing: Semaphore,
    rules: Rules,
    /// What has begun is finished, also when the gateway hangs up.
    tracker: TaskTracker,
}

impl Desk {
    async fn respond(self: Arc<Self>, request: Request<Body>) -> Response<Full<Bytes>> {
        let kind = request::kind(&request).map_or("unknown", Kind::as_str);
        let span = tracing::error_span!("notification", kind, payment_id = Empty, trace_id = Empty);
        let place = self.services.app.propagator().and_then(|propagator| propagator.context(&span));
        if let Some(place) = &place {
            span.record("trace_id", place.trace_id());
        }
        let trail =
            Trail { trace_id: place.map(|place| place.trace_id().to_owned()), ..Trail::of(Source::Notification) };
        let reply = trail::follow(trail, self.reply(request)).instrument(span);
        let (status, reply) = match reply.await {
            Ok(reply) => (http::StatusCode::OK, reply),
            Err(refused) => {
                figures::count(kind, figures::refusal(&refused));
                tell(&refused);
                (refused.status(), Reply::NotAcceptable)
            }
        };
        let mut response = Response::new(Full::new(Bytes::from(reply.body())));
        *response.status_mut() = status;
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        response
    }

    async fn reply(self: &Arc<Self>, request: Request<Body>) -> Result<Reply, Refused> {
        let kind = request::kind(&request)?;
        request::may_send(&request, &self.config)?;
        let (places, within) = match kind {
            Kind::Check => (&self.checks, self.config.check_timeout),
            _ => (&self.others, self.config.timeout),
        };
        let serving = async {
            let genuine = request::genuine(kind, request, &self.api_secrets).await?;
            let _place = places.try_acquire().map_err(|_| Refused::Busy)?;
            match heard(genuine.notification, &genuine.message) {
                Heard::Check(notice) => self.check(&notice).await,
                Heard::Told(received) => self.take(*received).await,
            }
        };
        tokio::time::timeout(within, serving).await.unwrap_or(Err(Refused::Unavailable))
    }

    async fn check(&self, notice: &Notice) -> Result<Reply, Refused> {
        let checking = async {
            let mut conn = self.checks_db.conn().await?;
            notifications::check(&mut conn, notice, self.rules.terminal).await
        };
        let reply = checking.await.map_err(unavailable)?;
        figures::count("check", verdict(reply));
        match reply {
            CheckReply::Accepted => Ok(Reply::Accepted),
            reply => {
                tracing::info!(invoice_id = notice.invoice_id, ?reply, "a payment is not to be made");
                Ok(match reply {
                    CheckReply::Accepted => Reply::Accepted,
                    CheckReply::WrongInvoice => Reply::WrongInvoice,
                    CheckReply::WrongAccount => Reply::WrongAccount,
                    CheckReply::WrongAmount => Reply::WrongAmount,
                    CheckReply::NotAcceptable => Reply::NotAcceptable,
                    CheckReply::Expired => Reply::Expired,
                })
            }
        }
    }

    /// Writes it down, and lets it have its effect. It is not begun anew for whoever has hung up, nor broken off.
    async fn take(self: &Arc<Self>, received: Received) -> Result<Reply, Refused> {
        let is_taken_for_made = matches!(received.key.kind, NoticeKind::Pay | NoticeKind::Confirm);
        if is_taken_for_made && received.notice.may_be_check && MISDIRECTED.begins() {
            let notification = &received.key;
            tracing::error!(%notification, "it looks like a Check: correct the addresses in the gateway's cabinet");
        }
        let desk = Arc::clone(self);
        let taking = async move { desk.write_down(received).await };
        let taking = self.tracker.spawn(trail::follow(trail::current(), taking).in_current_span());
        match taking.await {
            Ok(Ok(())) => Ok(Reply::Accepted),
            Ok(Err(error)) => Err(unavailable(error)),
            Err(panicked) => {
                tracing::error!(%panicked, "a notification was not written down");
                Err(Refused::Unavailable)
            }
        }
    }

    async fn write_down(&self, received: Received) -> Result<(), StoreError> {
        let Services { db, cipher, .. } = &self.services;
        let Ok(_writing) = self.writing.acquire().await else { return Ok(()) };
        let mut conn = db.conn().await?;
        if !notifications::receive(&mut conn, &received, cipher, db.now()).await? {
            figures::count(received.key.kind.as_str(), "again");
            tracing::debug!(notification = %received.key, "told again");
            return Ok(());
        }
        let key = &received.key;
        let acted = notifications::act(&mut conn, key, self.rules, cipher, db.now()).await;
        let acted = match acted {
            Ok(acted) => acted,
            Err(error) if error.is_transient() => return Err(error),
            // It is kept, and told again it would fare no better: the timetable tries, and a person must look.
            Err(error) => {
                figures::count(key.kind.as_str(), "later");
                tracing::error!(notification = %key, %error, "a notification has no effect yet");
                notifications::put_off(&mut conn, key, db.now()).await?;
                return Ok(());
            }
        };
        drop(conn);
        if let Some((id, _)) = acted.payment {
            Span::current().record("payment_id", tracing::field::display(id));
        }
        figures::count(key.kind.as_str(), acted.effect.map_or("later", NoticeEffect::as_str));
        if trail::take_news() {
            self.services.bell.ring();
        }
        acted.tell(key);
        let (app, now) = (self.services.app.clone(), db.now());
        let waking = async move { wake::after_notification(&app, &acted, now).await };
        self.tracker.spawn(waking.in_current_span());
        Ok(())
    }
}

const fn verdict(reply: CheckReply) -> &'static str {
    match reply {
        CheckReply::Accepted => "accepted",
        CheckReply::WrongInvoice => "wrong_invoice",
        CheckReply::WrongAccount => "wrong_account",
        CheckReply::WrongAmount => "wrong_amount",
        CheckReply::NotAcceptable => "not_acceptable",
        CheckReply::Expired => "expired",
    }
}

fn unavailable(error: impl std::fmt::Display) -> Refused {
    if UNAVAILABLE.begins() {
        tracing::warn!(%error, "notifications cannot be taken for now; the gateway tells them again");
    }
    Refused::Unavailable
}

/// Forged ones must not fill the log; one that is genuine and not understood is a person's to look at.
fn tell(refused: &Refused) {
    match refused {
        Refused::Unreadable(_) => tracing::error!(why = %refused, "a notification is refused"),
        _ if REFUSED.begins() => tracing::warn!(why = %refused, "notifications are refused"),
        _ => tracing::debug!(why = %refused, "a notification is refused"),
    }
}

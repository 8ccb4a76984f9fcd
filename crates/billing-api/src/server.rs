//! From configuration to a running server, and back down.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use billing::Services;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderName};
use http::{HeaderValue, Method, Request, Uri};
use http_body_util::BodyExt as _;
use listener::{BodyError, Limits, Listener};
use rustls::ServerConfig;
use secrecy::ExposeSecret;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tonic::body::Body;
use tonic::service::Routes;
use tonic_web::GrpcWebLayer;
use tower::{ServiceBuilder, ServiceExt as _};
use tower_http::cors::{AllowOrigin, CorsLayer};

use crate::access::AccessApi;
use crate::auth::Clients;
use crate::browser::Browsers;
use crate::config::{Config, LOCAL_TOKENS};
use crate::error::ApiError;
use crate::events::EventsApi;
use crate::gate::{GateLayer, PUBLIC_STREAMS, REQUEST_ID, Rules};
use crate::gateway_rest::GatewayRest;
use crate::health::{self, Readiness};
use crate::notifications;
use crate::payments::{PaymentsApi, REPLAYED};
use crate::per_client::PerClient;
use crate::proto::FILE_DESCRIPTOR_SET;
use crate::proto::access_server::AccessServer;
use crate::proto::events_server::EventsServer;
use crate::proto::payments_server::PaymentsServer;
use crate::proto::reconciliation_server::ReconciliationServer;
use crate::proto::refunds_server::RefundsServer;
use crate::proto::subscriptions_server::SubscriptionsServer;
use crate::proto::tariffs_server::TariffsServer;
use crate::reconciliation::ReconciliationApi;
use crate::refunds::RefundsApi;
use crate::start::StartError;
use crate::streams::StreamLimits;
use crate::subscriptions::SubscriptionsApi;
use crate::tail::Tail;
use crate::tariffs::TariffsApi;
use crate::validation::MAX_MESSAGE;
use crate::writes::Writes;

/// How long a browser may remember what it is allowed.
const PREFLIGHT: Duration = Duration::from_secs(3600);
/// How long connections have to end after the signal to stop.
const GRACE: Duration = Duration::from_secs(3);

/// An API that holds its port and does not serve yet.
pub struct Bound {
    config: Config,
    clients: Clients,
    browsers: Option<Browsers>,
    tls: Option<Arc<ServerConfig>>,
    cors: CorsLayer,
    listener: TcpListener,
    address: SocketAddr,
    notifications: Option<notifications::Bound>,
    reporter: health::Reporter,
}

/// Checks the whole configuration and takes the port.
///
/// # Errors
/// [`StartError`] names the variable to correct.
pub async fn bind(config: Config) -> Result<Bound, StartError> {
    let clients = Clients::parse(&config.tokens).map_err(|problem| StartError::setting("API_TOKENS", problem))?;
    let browsers = Browsers::of(&config.browsers)?;
    let tls = crate::tls::server_tls(&config)?;
    let cors = cors(&config.web_origins)?;
    let notifications = notifications::bind(&config.notifications).await?;
    let listen = |source| StartError::Listen { variable: "API_LISTEN", address: config.listen, source };
    let listener = TcpListener::bind(config.listen).await.map_err(listen)?;
    let address = listener.local_addr().map_err(listen)?;
    let reporter = health::reporter();
    Ok(Bound { config, clients, browsers, tls, cors, listener, address, reporter, notifications })
}

impl Bound {
    /// Where the API listens: with port 0 in the configuration, the port that was given.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Where notifications of the gateway are taken, if they are.
    #[must_use]
    pub fn notifications_addr(&self) -> Option<SocketAddr> {
        self.notifications.as_ref().map(notifications::Bound::address)
    }

    /// Looks at the API once it runs.
    #[must_use]
    pub fn readiness(&self) -> Readiness {
        Readiness(self.reporter.subscribe())
    }

    /// `http://` or `https://` and the address.
    #[must_use]
    pub fn url(&self) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.address)
    }

    /// Answers until `shutdown`. Then takes no new connection, ends the open streams with UNAVAILABLE, and returns when
    /// what was begun is finished, at the latest after three seconds.
    ///
    /// # Errors
    /// When the server cannot go on.
    pub async fn run(self, services: Services, shutdown: CancellationToken) -> anyhow::Result<()> {
        self.announce();
        if let Some(browsers) = self.browsers.clone() {
            tokio::spawn(browsers.run(shutdown.clone()));
        }
        let writes = Writes::default();
        let routes = self.routes(&services, &writes, &shutdown)?.add_service(health::service(&self.reporter)).prepare();
        let of_one_client = self.config.max_in_flight_of_one_client();
        let rules = Rules {
            in_flight: Arc::new(Semaphore::new(self.config.max_in_flight)),
            of_one_client: PerClient::new(&self.clients, of_one_client, self.config.browsers.max_in_flight_per_account),
            public_streams: Arc::new(Semaphore::new(PUBLIC_STREAMS)),
            timeout: self.config.request_timeout,
            clients: self.clients,
            browsers: self.browsers.clone(),
            propagator: services.app.propagator().cloned(),
        };
        let service = ServiceBuilder::new()
            .layer(self.cors)
            .layer(GrpcWebLayer::new())
            .layer(GateLayer(Arc::new(rules)))
            .service(routes)
            .map_request(|request: Request<listener::Body>| request.map(|body| Body::new(body.map_err(late))));
        let mut listener = Listener::new(self.listener, limits(&self.config, of_one_client));
        if let Some(tls) = self.tls {
            listener = listener.tls(tls);
        }
        let serving = listener.serve(service, shutdown.clone());
        let notified = async {
            match self.notifications {
                Some(notifications) => notifications.serve(services.clone(), shutdown.clone()).await,
                None => Ok(()),
            }
        };
        let finished = async {
            let report = health::report(self.reporter, &services, &shutdown);
            let (_, (), notified) = tokio::join!(serving, report, notified);
            if let Err(error) = notified {
                tracing::error!(%error, "notifications of the gateway are not taken");
            }
            writes.wait().await;
        };
        let out_of_time = async {
            shutdown.cancelled().await;
            tokio::time::sleep(GRACE).await;
        };
        tokio::select! {
            () = finished => {}
            () = out_of_time => tracing::warn!("connections were still open after {GRACE:?}"),
        }
        tracing::info!("the API has stopped");
        Ok(())
    }

    fn announce(&self) {
        if self.browsers.is_none() && !self.config.web_origins.is_empty() {
            tracing::warn!("API_WEB_ORIGINS without API_JWKS: pages may call, and there are no tokens for them");
        }
        tracing::info!(url = self.url(), clients = ?self.clients, "the API answers gRPC and grpc-web");
        if self.config.tokens.expose_secret() == LOCAL_TOKENS && !self.address.ip().is_loopback() {
            tracing::warn!(
                address = %self.address,
                "API_TOKENS has its default, which everybody knows, and API_LISTEN can be reached from outside"
            );
        }
    }

    fn routes(&self, services: &Services, writes: &Writes, shutdown: &CancellationToken) -> anyhow::Result<Routes> {
        let streams = Arc::new(StreamLimits::new(
            &self.clients,
            self.config.max_streams,
            self.config.browsers.max_streams_per_account,
        ));
        let tail = Tail::new(services.clone());
        tokio::spawn(tail.clone().run(self.config.events_reread, shutdown.clone()));
        let gateway_rest = GatewayRest::default();
        let payments = PaymentsApi {
            services: services.clone(),
            streams: Arc::clone(&streams),
            reread: self.config.watch_reread,
            writes: writes.clone(),
            gateway_rest: gateway_rest.clone(),
            shutdown: shutdown.clone(),
        };
        let tariffs = TariffsApi { services: services.clone() };
        let subscriptions = SubscriptionsApi { services: services.clone(), writes: writes.clone(), gateway_rest };
        let reconciliation = ReconciliationApi { services: services.clone() };
        let refunds = RefundsApi { services: services.clone(), writes: writes.clone() };
        let events = EventsApi {
            services: services.clone(),
            tail: tail.clone(),
            streams: Arc::clone(&streams),
            shutdown: shutdown.clone(),
        };
        let access =
            AccessApi { services: services.clone(), writes: writes.clone(), tail, streams, shutdown: shutdown.clone() };
        Ok(Routes::new(reflection().build_v1()?.max_decoding_message_size(MAX_MESSAGE))
            .add_service(reflection().build_v1alpha()?.max_decoding_message_size(MAX_MESSAGE))
            .add_service(TariffsServer::new(tariffs).max_decoding_message_size(MAX_MESSAGE))
            .add_service(PaymentsServer::new(payments).max_decoding_message_size(MAX_MESSAGE))
            .add_service(AccessServer::new(access).max_decoding_message_size(MAX_MESSAGE))
            .add_service(ReconciliationServer::new(reconciliation).max_decoding_message_size(MAX_MESSAGE))
            .add_service(RefundsServer::new(refunds).max_decoding_message_size(MAX_MESSAGE))
            .add_service(EventsServer::new(events).max_decoding_message_size(MAX_MESSAGE))
            .add_service(SubscriptionsServer::new(subscriptions).max_decoding_message_size(MAX_MESSAGE)))
    }
}

fn reflection() -> tonic_reflection::server::Builder<'static> {
    tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        // What the details of an error are made of.
        .register_encoded_file_descriptor_set(tonic_types::pb::FILE_DESCRIPTOR_SET)
}

/// Every connection is held to these, whoever it is of.
fn limits(config: &Config, of_one_client: usize) -> Limits {
    // All that a client may have under way, it may have on one connection.
    let streams = u32::try_from(config.max_streams.saturating_add(of_one_client)).unwrap_or(u32::MAX);
    Limits {
        handshake: config.handshake_timeout,
        idle: config.idle_timeout,
        body: config.message_timeout,
        per_address: config.max_connections_per_address,
        in_all: config.max_connections,
        streams,
        ..Limits::default()
    }
}

/// A message that does not come is a refusal like others.
fn late(error: BodyError) -> Status {
    match error {
        BodyError::Late(within) => ApiError::MessageLate { within }.into(),
        BodyError::Broken(error) => Status::from_error(error.into()),
    }
}

/// What browsers are told: pages of these origins may call, and may read what grpc-web answers in headers.
fn cors(origins: &[String]) -> Result<CorsLayer, StartError> {
    let origins = origins
        .iter()
        .filter(|origin| !origin.is_empty())
        .map(|origin| match origin.parse::<Uri>() {
            Ok(uri) if uri.scheme().is_some() && uri.path() == "/" && !origin.ends_with('/') => {
                HeaderValue::try_from(origin).map_err(|_| origin)
            }
            _ => Err(origin),
        })
        .collect::<Result<Vec<_>, _>>()
        .map_err(|origin| {
            StartError::setting("API_WEB_ORIGINS", format!("{origin:?} is no origin: expected https://cinema.example"))
        })?;
    let request_id = HeaderName::from_static(REQUEST_ID);
    let name = HeaderName::from_static;
    Ok(CorsLayer::new()
        .allow_origin(AllowOrigin::list(origins))
        .allow_methods([Method::POST])
        .allow_headers([
            AUTHORIZATION,
            CONTENT_TYPE,
            name("grpc-timeout"),
            name("x-grpc-web"),
            name("x-user-agent"),
            request_id.clone(),
        ])
        .expose_headers([
            Status::GRPC_STATUS,
            Status::GRPC_MESSAGE,
            Status::GRPC_STATUS_DETAILS,
            name(REPLAYED),
            request_id,
        ])
        .max_age(PREFLIGHT))
}

//! From configuration to a server that answers, and back down.

use std::fmt::Display;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use billing::Services;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderName};
use http::{HeaderValue, Method, Uri};
use secrecy::ExposeSecret;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tonic::service::Routes;
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Server, ServerTlsConfig};
use tonic_web::GrpcWebLayer;
use tower_http::cors::{AllowOrigin, CorsLayer};

use crate::access::AccessApi;
use crate::auth::Clients;
use crate::config::{Config, LOCAL_TOKENS};
use crate::events::EventsApi;
use crate::gate::{GateLayer, REQUEST_ID, Rules};
use crate::health;
use crate::payments::{PaymentsApi, REPLAYED};
use crate::proto::FILE_DESCRIPTOR_SET;
use crate::proto::access_server::AccessServer;
use crate::proto::events_server::EventsServer;
use crate::proto::payments_server::PaymentsServer;
use crate::proto::tariffs_server::TariffsServer;
use crate::streams::StreamLimits;
use crate::tail::Tail;
use crate::tariffs::TariffsApi;
use crate::validation::MAX_MESSAGE;
use crate::writes::Writes;

/// A peer that does not answer a ping for this long is gone, and its streams with it.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(30);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);
/// Streams of all kinds on one connection.
const MAX_HTTP2_STREAMS: u32 = 4096;
const MAX_HEADERS: u32 = 16 * 1024;
/// How long a browser may remember what it is allowed.
const PREFLIGHT: Duration = Duration::from_secs(3600);
/// How long connections have to end after the signal to stop.
const GRACE: Duration = Duration::from_secs(3);

/// Why the API could not start. Nothing was served.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A setting is wrong: correct it.
    #[error("{variable}: {problem}")]
    Setting { variable: &'static str, problem: String },
    /// The address cannot be had, for example because another process has it.
    #[error("API_LISTEN: cannot listen on {address}: {source}")]
    Listen { address: SocketAddr, source: std::io::Error },
}

impl StartError {
    pub(crate) fn setting(variable: &'static str, problem: impl Display) -> Self {
        Self::Setting { variable, problem: problem.to_string() }
    }
}

/// An API that holds its port and does not answer yet.
pub struct Bound {
    config: Config,
    clients: Clients,
    tls: Option<ServerTlsConfig>,
    cors: CorsLayer,
    listener: TcpListener,
    address: SocketAddr,
}

/// Checks the whole configuration and takes the port.
///
/// # Errors
/// [`StartError`] names the variable to correct.
pub async fn bind(config: Config) -> Result<Bound, StartError> {
    let clients = Clients::parse(&config.tokens).map_err(|problem| StartError::setting("API_TOKENS", problem))?;
    let tls = crate::tls::server_tls(&config)?;
    let cors = cors(&config.web_origins)?;
    let listen = |source| StartError::Listen { address: config.listen, source };
    let listener = TcpListener::bind(config.listen).await.map_err(listen)?;
    let address = listener.local_addr().map_err(listen)?;
    Ok(Bound { config, clients, tls, cors, listener, address })
}

impl Bound {
    /// Where the API listens: with port 0 in the configuration, the port that was given.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.address
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
        let (reporter, health) = health::service().await;
        let writes = Writes::default();
        let routes = self.routes(&services, &writes, &shutdown)?.add_service(health);
        let rules = Rules {
            clients: self.clients,
            timeout: self.config.request_timeout,
            in_flight: Arc::new(Semaphore::new(self.config.max_in_flight)),
        };
        let mut server = Server::builder();
        if let Some(tls) = self.tls {
            server = server.tls_config(tls)?;
        }
        let serving = server
            .accept_http1(true)
            .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
            .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
            .http2_max_header_list_size(MAX_HEADERS)
            .max_concurrent_streams(MAX_HTTP2_STREAMS)
            .layer(self.cors)
            .layer(GrpcWebLayer::new())
            .layer(GateLayer(Arc::new(rules)))
            .add_routes(routes)
            .serve_with_incoming_shutdown(
                TcpIncoming::from(self.listener).with_nodelay(Some(true)),
                shutdown.cancelled(),
            );
        let finished = async {
            let (served, ()) = tokio::join!(serving, health::report(reporter, &services, &shutdown));
            writes.wait().await;
            served
        };
        let out_of_time = async {
            shutdown.cancelled().await;
            tokio::time::sleep(GRACE).await;
        };
        tokio::select! {
            served = finished => served?,
            () = out_of_time => tracing::warn!("connections were still open after {GRACE:?}"),
        }
        tracing::info!("the API has stopped");
        Ok(())
    }

    fn announce(&self) {
        tracing::info!(url = self.url(), clients = ?self.clients, "the API answers gRPC and grpc-web");
        if self.config.tokens.expose_secret() == LOCAL_TOKENS && !self.address.ip().is_loopback() {
            tracing::warn!(
                address = %self.address,
                "API_TOKENS has its default, which everybody knows, and API_LISTEN can be reached from outside"
            );
        }
    }

    fn routes(&self, services: &Services, writes: &Writes, shutdown: &CancellationToken) -> anyhow::Result<Routes> {
        let streams = Arc::new(StreamLimits::new(&self.clients, self.config.max_streams));
        let tail = Tail::new(services.clone());
        tokio::spawn(tail.clone().run(self.config.events_reread, shutdown.clone()));
        let payments = PaymentsApi {
            services: services.clone(),
            streams: Arc::clone(&streams),
            reread: self.config.watch_reread,
            writes: writes.clone(),
            shutdown: shutdown.clone(),
        };
        let tariffs = TariffsApi { services: services.clone() };
        let events = EventsApi {
            services: services.clone(),
            tail: tail.clone(),
            streams: Arc::clone(&streams),
            shutdown: shutdown.clone(),
        };
        let access =
            AccessApi { services: services.clone(), writes: writes.clone(), tail, streams, shutdown: shutdown.clone() };
        Ok(Routes::new(reflection().build_v1()?)
            .add_service(reflection().build_v1alpha()?)
            .add_service(TariffsServer::new(tariffs).max_decoding_message_size(MAX_MESSAGE))
            .add_service(PaymentsServer::new(payments).max_decoding_message_size(MAX_MESSAGE))
            .add_service(AccessServer::new(access).max_decoding_message_size(MAX_MESSAGE))
            .add_service(EventsServer::new(events).max_decoding_message_size(MAX_MESSAGE)))
    }
}

fn reflection() -> tonic_reflection::server::Builder<'static> {
    tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
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

//! `grpc.health.v1`: SERVING while the database and the broker can be reached.
//!
//! As the protocol asks: `Check` of a service that is not here is NOT_FOUND, `Watch` of it says SERVICE_UNKNOWN and stays
//! open, because other versions of a server may have it.

use std::time::Duration;

use billing::Services;
use billing::db::DbError;
use diesel_async::SimpleAsyncConnection;
use futures_util::stream::{self, BoxStream, StreamExt as _};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic::server::NamedService;
use tonic::{Request, Response, Status};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_server::{Health, HealthServer};
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

use crate::access::AccessApi;
use crate::events::EventsApi;
use crate::payments::PaymentsApi;
use crate::proto::access_server::AccessServer;
use crate::proto::events_server::EventsServer;
use crate::proto::payments_server::PaymentsServer;
use crate::proto::reconciliation_server::ReconciliationServer;
use crate::proto::refunds_server::RefundsServer;
use crate::proto::subscriptions_server::SubscriptionsServer;
use crate::proto::tariffs_server::TariffsServer;
use crate::reconciliation::ReconciliationApi;
use crate::refunds::RefundsApi;
use crate::subscriptions::SubscriptionsApi;
use crate::tariffs::TariffsApi;
use crate::validation::MAX_MESSAGE;

/// How often the servers behind us are looked at.
const EVERY: Duration = Duration::from_secs(2);
/// A database that does not answer in this time counts as out of reach.
const PATIENCE: Duration = Duration::from_secs(5);

/// The whole server, as the protocol names it, and each service.
const NAMES: [&str; 8] = [
    "",
    TariffsServer::<TariffsApi>::NAME,
    PaymentsServer::<PaymentsApi>::NAME,
    AccessServer::<AccessApi>::NAME,
    EventsServer::<EventsApi>::NAME,
    SubscriptionsServer::<SubscriptionsApi>::NAME,
    RefundsServer::<RefundsApi>::NAME,
    ReconciliationServer::<ReconciliationApi>::NAME,
];

/// What all services are: they stand on the same servers. When the sender is dropped, the streams that watch end.
pub(crate) type Reporter = watch::Sender<ServingStatus>;

/// Says NOT_SERVING until [`report`] knows better.
pub(crate) fn reporter() -> Reporter {
    watch::Sender::new(ServingStatus::NotServing)
}

/// The service, which says what the reporter was last told.
pub(crate) fn service(reporter: &Reporter) -> HealthServer<HealthApi> {
    HealthServer::new(HealthApi { status: reporter.subscribe() }).max_decoding_message_size(MAX_MESSAGE)
}

/// Looks at the API while it runs. Cheap to clone.
#[derive(Clone)]
pub struct Readiness(pub(crate) watch::Receiver<ServingStatus>);

impl Readiness {
    /// Whether database and broker can be reached, as `grpc.health.v1` has it.
    #[must_use]
    pub fn is_serving(&self) -> bool {
        *self.0.borrow() == ServingStatus::Serving
    }
}

/// Returns what was last told.
pub(crate) struct HealthApi {
    status: watch::Receiver<ServingStatus>,
}

#[tonic::async_trait]
impl Health for HealthApi {
    async fn check(&self, request: Request<HealthCheckRequest>) -> Result<Response<HealthCheckResponse>, Status> {
        let name = &request.get_ref().service;
        if !is_here(name) {
            return Err(Status::not_found("there is no such service"));
        }
        Ok(Response::new(response(*self.status.borrow())))
    }

    type WatchStream = BoxStream<'static, Result<HealthCheckResponse, Status>>;

    async fn watch(&self, request: Request<HealthCheckRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let mut status = self.status.clone();
        status.mark_changed();
        let stream = if is_here(&request.get_ref().service) { changes(status) } else { unknown(status) };
        Ok(Response::new(stream))
    }
}

fn is_here(name: &str) -> bool {
    NAMES.contains(&name)
}

fn response(status: ServingStatus) -> HealthCheckResponse {
    HealthCheckResponse { status: status.into() }
}

/// The status as it is now, then each time it changes, until the server stops.
fn changes(status: watch::Receiver<ServingStatus>) -> BoxStream<'static, Result<HealthCheckResponse, Status>> {
    let next = |mut status: watch::Receiver<ServingStatus>| async move {
        status.changed().await.ok()?;
        let now = *status.borrow_and_update();
        Some((Ok(response(now)), status))
    };
    stream::unfold(status, next).boxed()
}

/// SERVICE_UNKNOWN, and nothing more until the server stops.
fn unknown(mut status: watch::Receiver<ServingStatus>) -> BoxStream<'static, Result<HealthCheckResponse, Status>> {
    let stopped = async move {
        while status.changed().await.is_ok() {}
        None
    };
    let told = stream::once(std::future::ready(Ok(response(ServingStatus::ServiceUnknown))));
    told.chain(stream::once(stopped).filter_map(std::future::ready)).boxed()
}

/// Keeps the answers true until `shutdown`; then says NOT_SERVING and ends the streams that watch.
pub(crate) async fn report(reporter: Reporter, services: &Services, shutdown: &CancellationToken) {
    let watching = async {
        let mut before = None;
        loop {
            let problem = problem(services).await;
            if before.as_ref() != Some(&problem) {
                match &problem {
                    None => tracing::info!("ready"),
                    Some(problem) => tracing::warn!(problem, "not ready"),
                }
                let status = if problem.is_none() { ServingStatus::Serving } else { ServingStatus::NotServing };
                tell(&reporter, status);
                before = Some(problem);
            }
            tokio::time::sleep(EVERY).await;
        }
    };
    shutdown.run_until_cancelled(watching).await;
    tell(&reporter, ServingStatus::NotServing);
}

/// Wakes who watches, if it is news.
fn tell(reporter: &Reporter, status: ServingStatus) {
    reporter.send_if_modified(|before| std::mem::replace(before, status) != status);
}

/// Why requests could not be served now.
async fn problem(services: &Services) -> Option<String> {
    let broker = services.app.broker();
    let broker_health = broker.health();
    if !broker_health.connected {
        return Some(format!("no connection to {}", broker.address()));
    }
    if broker_health.blocked {
        return Some(format!("{} takes no messages: memory or disk alarm", broker.address()));
    }
    match tokio::time::timeout(PATIENCE, ping(services)).await {
        Ok(Ok(())) => None,
        Ok(Err(error)) => Some(error.to_string()),
        Err(_) => Some(format!("{} did not answer within {PATIENCE:?}", services.db.address())),
    }
}

async fn ping(services: &Services) -> Result<(), DbError> {
    Ok(services.db.conn().await?.batch_execute("select 1").await?)
}

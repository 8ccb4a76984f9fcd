//! `grpc.health.v1`: SERVING while the database and the broker can be reached.

use std::time::Duration;

use billing::Services;
use billing::db::DbError;
use diesel_async::SimpleAsyncConnection;
use tokio_util::sync::CancellationToken;
use tonic::server::NamedService;
use tonic_health::ServingStatus;
use tonic_health::pb::health_server::{Health, HealthServer};
use tonic_health::server::HealthReporter;

use crate::access::AccessApi;
use crate::payments::PaymentsApi;
use crate::proto::access_server::AccessServer;
use crate::proto::payments_server::PaymentsServer;
use crate::proto::tariffs_server::TariffsServer;
use crate::tariffs::TariffsApi;

/// How often the servers behind us are looked at.
const EVERY: Duration = Duration::from_secs(2);
/// A database that does not answer in this time counts as out of reach.
const PATIENCE: Duration = Duration::from_secs(5);

/// The whole server, as the protocol names it, and each service.
const NAMES: [&str; 4] =
    ["", TariffsServer::<TariffsApi>::NAME, PaymentsServer::<PaymentsApi>::NAME, AccessServer::<AccessApi>::NAME];

/// The service, which says NOT_SERVING until [`report`] knows better.
pub(crate) async fn service() -> (HealthReporter, HealthServer<impl Health>) {
    let (reporter, service) = tonic_health::server::health_reporter();
    tell(&reporter, ServingStatus::NotServing).await;
    (reporter, service)
}

/// Keeps the answers true until `shutdown`; then says NOT_SERVING and ends the streams that watch.
pub(crate) async fn report(mut reporter: HealthReporter, services: &Services, shutdown: &CancellationToken) {
    let watching = async {
        let mut before = None;
        loop {
            let problem = problem(services).await;
            if before.as_ref() != Some(&problem) {
                match &problem {
                    None => tracing::info!("ready"),
                    Some(problem) => tracing::warn!(problem, "not ready"),
                }
                tell(&reporter, if problem.is_none() { ServingStatus::Serving } else { ServingStatus::NotServing })
                    .await;
                before = Some(problem);
            }
            tokio::time::sleep(EVERY).await;
        }
    };
    shutdown.run_until_cancelled(watching).await;
    tell(&reporter, ServingStatus::NotServing).await;
    for name in NAMES {
        reporter.clear_service_status(name).await;
    }
}

async fn tell(reporter: &HealthReporter, status: ServingStatus) {
    for name in NAMES {
        reporter.set_service_status(name, status).await;
    }
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

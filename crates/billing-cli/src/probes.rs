//! What an orchestrator asks a role over HTTP, `/livez` and `/readyz`, and what Prometheus reads, `/metrics`.
//!
//! They are answered by a thread with a runtime of its own, so that they tell the truth about a role whose runtime is
//! blocked.

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::Context as _;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderName, StatusCode};
use axum::routing::get;
use axum::{Json, Router};
use billing::store::circuits::Standing;
use billing_worker::Circuits;
use celeriac::beat::BeatHandle;
use celeriac::worker::{Unserved, WorkerHandle};
use clap::Args;
use listener::{Limits, Listener};
use metrics_exporter_prometheus::PrometheusHandle;
use serde_json::{Value, json};

use tokio_util::sync::CancellationToken;

use crate::exit::Exit;
use crate::exporter;

#[derive(Args, Debug)]
pub struct ProbesConfig {
    /// Answers GET /livez and /readyz here, with 200 or 503 and the reasons as JSON, and GET /metrics for Prometheus; not at
    /// all by default
    #[arg(long, env = "HEALTH_LISTEN", value_name = "ADDRESS:PORT")]
    pub health_listen: Option<SocketAddr>,
}

impl ProbesConfig {
    /// Whether anybody is to be told how the role is.
    pub(crate) fn are_asked(&self) -> bool {
        self.health_listen.is_some()
    }
}

/// Who asks are an orchestrator and an operator or two; the descriptors are for what the role does.
const LIMITS: Limits = Limits { per_address: 16, in_all: 64, idle: Duration::from_secs(60), ..Limits::DEFAULT };

/// How a role is.
pub(crate) struct Report {
    pub alive: bool,
    pub ready: bool,
    pub details: Value,
}

type Look = Box<dyn Fn() -> Report + Send + Sync>;

/// The probes of a role; nothing if nobody asks for them.
#[derive(Default)]
pub(crate) struct Probes(Arc<OnceLock<Look>>);

impl Probes {
    /// Answers from now on, that the role starts.
    pub(crate) fn listen(config: &ProbesConfig) -> Result<Self, Exit> {
        let probes = Self::default();
        if let Some(address) = config.health_listen {
            let listener = bind(address).with_context(|| format!("HEALTH_LISTEN: cannot listen on {address}"));
            let listener = listener.map_err(Exit::unavailable)?;
            tracing::info!(address = %listener.local_addr()?, "health listens");
            let asked = Asked { look: Arc::clone(&probes.0), figures: exporter::install()? };
            std::thread::Builder::new().name("health".to_owned()).spawn(move || serve(listener, asked))?;
        }
        Ok(probes)
    }

    /// From now on this is what the role says.
    pub(crate) fn tell(&self, look: impl Fn() -> Report + Send + Sync + 'static) {
        // It is told once.
        let _ = self.0.set(Box::new(look));
    }
}

fn bind(address: SocketAddr) -> std::io::Result<TcpListener> {
    let listener = TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// What is asked for.
#[derive(Clone)]
struct Asked {
    look: Arc<OnceLock<Look>>,
    figures: PrometheusHandle,
}

/// Ends with the process.
fn serve(listener: TcpListener, asked: Asked) {
    let served = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build().and_then(|runtime| {
        runtime.block_on(async {
            tokio::spawn(keep_up(asked.figures.clone()));
            let routes = Router::new()
                .route("/livez", get(livez))
                .route("/readyz", get(readyz))
                .route("/metrics", get(metrics))
                .with_state(asked);
            let listener = Listener::new(tokio::net::TcpListener::from_std(listener)?, LIMITS);
            listener.serve(routes, CancellationToken::new()).await;
            Ok(())
        })
    });
    if let Err(error) = served {
        tracing::error!(%error, "health is not answered any more");
    }
}

async fn keep_up(figures: PrometheusHandle) {
    loop {
        tokio::time::sleep(exporter::UPKEEP).await;
        figures.run_upkeep();
    }
}

async fn livez(State(asked): State<Asked>) -> (StatusCode, Json<Value>) {
    let report = report(&asked.look);
    (status(report.alive), Json(report.details))
}

async fn readyz(State(asked): State<Asked>) -> (StatusCode, Json<Value>) {
    let report = report(&asked.look);
    (status(report.ready), Json(report.details))
}

/// In the text format of Prometheus.
async fn metrics(State(asked): State<Asked>) -> ([(HeaderName, &'static str); 1], String) {
    ([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], asked.figures.render())
}

fn report(look: &OnceLock<Look>) -> Report {
    let starts = || Report {
        alive: true,
        ready: false,
        details: json!({"ready": false, "reasons": ["it connects to its services"]}),
    };
    look.get().map_or_else(starts, |look| look())
}

fn status(is_well: bool) -> StatusCode {
    if is_well { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }
}

pub(crate) fn of_worker(worker: &WorkerHandle, circuits: &Circuits) -> Report {
    let readiness = worker.readiness();
    let reasons: Vec<_> = readiness.problems.iter().map(ToString::to_string).collect();
    let mut not_consumed = BTreeMap::<_, Vec<_>>::new();
    for Unserved { task, queue } in &readiness.unserved {
        not_consumed.entry(queue).or_default().push(task);
    }
    // That payments wait for the gateway is no reason to start another worker.
    let waits: Vec<_> = circuits
        .not_closed()
        .into_iter()
        .map(|Standing { circuit, breaker, reason }| {
            json!({
                "circuit": circuit.as_str(),
                "state": breaker.state.as_str(),
                "since": breaker.since.to_rfc3339(),
                "until": breaker.until.map(|until| until.to_rfc3339()),
                "reason": reason,
            })
        })
        .collect();
    let broker = &readiness.broker;
    let details = json!({
        "ready": readiness.is_ready(),
        "reasons": reasons,
        "consuming": readiness.queues.iter().cloned().collect::<BTreeMap<_, _>>(),
        // Queues of tasks that this worker knows: others have to consume them.
        "not_consuming": not_consumed,
        // What payments wait for; empty: for nothing.
        "gateway": waits,
        "broker": {
            "connected": broker.connected,
            "blocked": broker.blocked,
            "last_frame_seconds": broker.last_frame.as_secs_f64(),
        },
        "runtime_lag_seconds": readiness.lag.as_secs_f64(),
    });
    Report { alive: readiness.is_alive(), ready: readiness.is_ready(), details }
}

/// Orchestrators ask `grpc.health.v1` as well, which says the same.
pub(crate) fn of_api(serves: bool) -> Report {
    let reasons = if serves { json!([]) } else { json!(["the database or the broker cannot be reached"]) };
    Report { alive: true, ready: serves, details: json!({"ready": serves, "reasons": reasons}) }
}

pub(crate) fn of_beat(beat: &BeatHandle) -> Report {
    let readiness = beat.readiness();
    let reasons: Vec<_> = readiness.problems.iter().map(ToString::to_string).collect();
    let details = json!({"ready": readiness.is_ready(), "reasons": reasons, "leads": readiness.leads});
    Report { alive: readiness.is_alive(), ready: readiness.is_ready(), details }
}

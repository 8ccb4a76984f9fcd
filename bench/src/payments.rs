//! Whole payments: from gRPC to settled in PostgreSQL, beside what pgbench does with the same statements.
//!
//! API, worker and the gateway's sandbox (which answers at once) are processes of their own, the queue is a quorum queue;
//! all of them, the servers and the callers share the machine.

mod collector;
mod pgbench;
pub mod system;

use std::ffi::OsString;

use anyhow::{Context, Result, ensure};
use billing_api::proto::access_client::AccessClient;
use billing_api::proto::payments_client::PaymentsClient;
use billing_api::proto::tariffs_client::TariffsClient;
use billing_api::proto::{CreatePaymentRequest, ListTariffsRequest, RegisterAccountRequest};
use tokio::task::JoinSet;
use tokio::time::Instant;
use tonic::Request;
use tonic::transport::{Channel, Endpoint};

use crate::process::{cpu_seconds, cpu_seconds_of_family};
use crate::servers::Servers;
use collector::Collector;
use system::{Role, System};

/// How many wait for an answer of the API at once.
const CALLERS: usize = 64;
const CONNECTIONS: usize = 4;
/// A card without 3-D Secure that always pays.
const CARD: &str = "4000000000003055";

/// Payments a second, and where the processors' time goes.
#[derive(Clone, Copy, Debug)]
pub struct Settled {
    pub ours: f64,
    /// The same with a trace of each, kept whole and sent to a collector.
    pub traced: f64,
    pub pgbench: f64,
    pub cost: Cost,
}

/// Milliseconds of processor time per payment.
#[derive(Clone, Copy, Debug)]
pub struct Cost {
    pub callers: f64,
    pub api: f64,
    pub worker: f64,
    pub sandbox: f64,
    pub postgres: f64,
    pub broker: f64,
    pub backend: f64,
}

/// Pays `count` first payments, each of an account of its own, with telemetry and without, and lets pgbench do the same.
pub async fn measure(servers: &Servers, count: usize) -> Result<Settled> {
    let traced = traced(servers, count).await?;
    let system = System::start(servers, None).await?;
    let (ours, cost) = pay(servers, &system, count).await?;
    let database = system.stop().await?;
    let pgbench = pgbench::measure(servers, &database, count).await?;
    database.drop().await?;
    Ok(Settled { ours, traced, pgbench, cost })
}

/// Payments a second while every trace is kept.
async fn traced(servers: &Servers, count: usize) -> Result<f64> {
    let collector = Collector::start().await?;
    let system = System::start(servers, Some(&collector.url)).await?;
    let (rate, _) = pay(servers, &system, count).await?;
    system.stop().await?.drop().await?;
    let (spans, payments) = (collector.spans(), count as u64);
    ensure!(spans > payments, "{spans} spans of {payments} payments: there is no trace of each");
    Ok(rate)
}

/// Is `billing`, as the project's own binary is.
pub async fn role(arguments: Vec<OsString>) -> Result<()> {
    let cli = billing_cli::cli::parse(std::iter::once("billing".into()).chain(arguments))?;
    ensure!(rustls::crypto::ring::default_provider().install_default().is_ok(), "one TLS provider");
    let status = billing_cli::run(cli).await.map_err(|exit| exit.error)?;
    ensure!(status == 0, "billing ended with {status}");
    Ok(())
}

async fn pay(servers: &Servers, system: &System, count: usize) -> Result<(f64, Cost)> {
    let mut channels = Vec::new();
    for _ in 0..CONNECTIONS {
        channels.push(Endpoint::from_shared(system.api.clone())?.connect().await?);
    }
    let tariff = TariffsClient::new(channels[0].clone()).list_tariffs(authorized(ListTariffsRequest {})?).await?;
    let tariff_id = tariff.into_inner().tariffs.first().context("three tariffs are seeded")?.tariff_id.clone();
    let accounts: Vec<String> = (0..count).map(|n| format!("00000000-0000-4000-8000-{n:012}")).collect();
    each(&channels, &accounts, |channel, account_id| async move {
        AccessClient::new(channel).register_account(authorized(RegisterAccountRequest { account_id })?).await?;
        Ok(())
    })
    .await?;

    // The gateway takes each cryptogram once.
    let cryptogram = || cloudpayments_sandbox::cryptogram(CARD, "12/39", "123");
    let customers: Vec<_> =
        accounts.into_iter().map(|account_id| Ok((account_id, cryptogram()?))).collect::<Result<_>>()?;
    let pay = |channel, (account_id, card_cryptogram_packet): (String, String)| {
        let request = CreatePaymentRequest {
            idempotency_key: account_id.clone(),
            trial: None,
            account_id,
            tariff_id: tariff_id.clone(),
            card_cryptogram_packet,
            ip_address: "203.0.113.7".to_owned(),
        };
        async move {
            PaymentsClient::new(channel).create_payment(authorized(request)?).await?;
            Ok(())
        }
    };
    // A database that knows nothing of its tables plans as if they were empty, and keeps to it.
    let (first, rest) = customers.split_at(count / 10);
    each(&channels, first, pay).await?;
    system.settle(first.len()).await?;
    system.analyze().await?;

    let spent = || {
        [
            cpu_seconds(&[std::process::id()]),
            cpu_seconds(&[system.pid(Role::Api)]),
            cpu_seconds(&[system.pid(Role::Worker)]),
            cpu_seconds(&[system.pid(Role::Sandbox)]),
            cpu_seconds_of_family(servers.postgres_pid),
            cpu_seconds(&[servers.broker_pid]),
            cpu_seconds(&[servers.redis_pid]),
        ]
    };
    let before = spent();
    let began = Instant::now();
    each(&channels, rest, pay).await?;
    system.settle(count).await?;
    let took = began.elapsed();
    let after = spent();
    system.check(count).await?;
    let each = |n: usize| (after[n] - before[n]) * 1e3 / rest.len() as f64;
    let [callers, api, worker, sandbox, postgres, broker, backend] = std::array::from_fn(each);
    let cost = Cost { callers, api, worker, sandbox, postgres, broker, backend };
    Ok((rest.len() as f64 / took.as_secs_f64(), cost))
}

/// Does something for each customer, from all callers at once.
async fn each<T, F, Fut>(channels: &[Channel], customers: &[T], call: F) -> Result<()>
where
    T: Clone,
    F: Fn(Channel, T) -> Fut,
    Fut: Future<Output = Result<()>> + Send + 'static,
{
    let mut calls = JoinSet::new();
    for (n, customer) in customers.iter().enumerate() {
        if calls.len() >= CALLERS {
            calls.join_next().await.context("one is under way")???;
        }
        calls.spawn(call(channels[n % channels.len()].clone(), customer.clone()));
    }
    while let Some(ended) = calls.join_next().await {
        ended??;
    }
    Ok(())
}

pub fn authorized<T>(message: T) -> Result<Request<T>> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("authorization", system::TOKEN.parse()?);
    Ok(request)
}

//! Many accounts are due at once: how fast they are planned, in how much memory, and how long anybody's rows are locked
//! meanwhile. And how fast everybody who watches the log of events hears of what has happened.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use billing::ServicesConfig;
use billing::tasks::{OpenRenewals, RENEWALS, TIMETABLE};
use billing_api::proto::access_client::AccessClient;
use billing_api::proto::events_client::EventsClient;
use billing_api::proto::{Event, RegisterAccountRequest, WatchEventsRequest};
use clap::Parser;
use serde::{Deserialize, Serialize};
use tokio::process::{Child, Command};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tonic::Streaming;
use tonic::transport::Endpoint;

use crate::payments::authorized;
use crate::payments::system::{Database, answers, connect, free_address, role};
use crate::reads;
use crate::servers::Servers;

const WATCHERS: usize = 100;
const CONNECTIONS: usize = 10;
const ENDS_WITHIN: Duration = Duration::from_secs(1_800);
/// Tables of fewer accounts are rightly read from end to end now and then: for the rows of a chunk that is less work.
const LARGE: usize = 500_000;
/// How often it is looked who holds locks.
const LOOK_EVERY: Duration = Duration::from_millis(2);

#[derive(Parser)]
struct Options {
    #[command(flatten)]
    services: ServicesConfig,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Planned {
    pub accounts: usize,
    /// Accounts a second: bill, payment and events written, the worker told of each.
    pub rate: f64,
    /// The most that the worker had resident, in megabytes.
    pub peak: f64,
    /// The longest transaction, in milliseconds: nobody's rows were locked for longer.
    pub longest_lock: f64,
    /// The slowest call of the API while there are so many, in milliseconds. None reads a table from end to end.
    pub slowest_call: f64,
}

#[derive(Clone, Copy, Debug)]
pub struct Watched {
    /// Events a second that all watchers have received.
    pub rate: f64,
}

/// Has so many due accounts planned by one worker. Renewals are taken from their queue as they come, by nobody who charges.
pub async fn plan(servers: &Servers, accounts: usize) -> Result<Planned> {
    let database = Database::migrated(servers).await?;
    fill(&database, accounts, "now() - interval '32 days'").await?;
    let app = services_of(servers, &database).connect().await?.app;
    for queue in [RENEWALS, TIMETABLE] {
        app.declare_queue(queue).await?;
        app.broker().purge(queue).await?;
    }
    let settings = [
        ("DATABASE_URL", database.url.as_str()),
        ("BROKER_URL", servers.amqp.as_str()),
        ("RESULT_BACKEND", servers.redis.as_str()),
        ("WORKER_QUEUES", TIMETABLE),
        ("LOG", "error"),
    ];
    database.execute("create temp table scans as select relid, seq_scan from pg_stat_user_tables").await?;
    // While all accounts are due, the first one found is as good as any to whoever only asks whether there is one.
    database.execute("set enable_seqscan = off").await?;
    let mut worker = role(&settings, &["worker"])?;
    let pid = worker.id().context("it runs")?;
    let (ours, done) = (database.count("select pg_backend_pid()::bigint").await?, CancellationToken::new());
    let locks = tokio::spawn(longest_transaction(servers.clone(), database.name.clone(), ours, done.clone()));

    let due = "select count(*) from (select from account where next_charge_at <= now() limit 1) as due";
    let (began, mut ordered, mut peak) = (Instant::now(), None::<Instant>, 0.0_f64);
    while database.count(due).await? > 0 {
        ensure!(began.elapsed() < ENDS_WITHIN, "not all accounts were planned in time");
        // As the beat does, only more often: a full queue ends a tick.
        if ordered.is_none_or(|at| at.elapsed() > Duration::from_secs(1)) {
            app.send(OpenRenewals {}).await?;
            ordered = Some(Instant::now());
        }
        app.broker().purge(RENEWALS).await?;
        peak = peak.max(high_water_megabytes(pid)?);
        sleep(Duration::from_millis(50)).await;
    }
    let took = began.elapsed();
    done.cancel();
    let longest_lock = locks.await??;
    stop(&mut worker).await?;
    for queue in [RENEWALS, TIMETABLE] {
        app.broker().purge(queue).await?;
    }
    let opened = database.count("select count(*) from bill where kind = 'renewal'").await?;
    ensure!(opened == i64::try_from(accounts)?, "{opened} renewals of {accounts} accounts");
    let read = database
        .count(
            "select coalesce(sum(now.seq_scan - scans.seq_scan), 0)::bigint
             from pg_stat_user_tables now join scans using (relid) where n_live_tup >= 1000",
        )
        .await?;
    // The count above is one that reads the table.
    let is_large = accounts >= LARGE;
    ensure!(read <= 1 || !is_large, "large tables were read from end to end {read} times");
    let slowest_call = reads::check(servers, &database, is_large).await?;
    database.drop().await?;
    Ok(Planned { accounts, rate: accounts as f64 / took.as_secs_f64(), peak, longest_lock, slowest_call })
}

/// How this program itself sends tasks.
pub fn services_of(servers: &Servers, database: &Database) -> ServicesConfig {
    Options::parse_from([
        "bench",
        "--database-url",
        &database.url,
        "--broker-url",
        &servers.amqp,
        "--result-backend",
        &servers.redis,
    ])
    .services
}

/// Writes so many events at once; each of the watchers gets them all.
pub async fn watch(servers: &Servers, events: usize) -> Result<Watched> {
    let database = Database::migrated(servers).await?;
    let api = free_address()?;
    let settings = [
        ("DATABASE_URL", database.url.as_str()),
        ("BROKER_URL", servers.amqp.as_str()),
        ("RESULT_BACKEND", servers.redis.as_str()),
        ("API_LISTEN", api.as_str()),
        ("API_TOKENS", "bench:bench-only:events+accounts"),
        ("LOG", "error"),
    ];
    let mut server = role(&settings, &["api"])?;
    answers(&api).await?;
    let mut channels = Vec::new();
    for _ in 0..CONNECTIONS {
        channels.push(Endpoint::from_shared(format!("http://{api}"))?.connect().await?);
    }
    let mut watchers = JoinSet::new();
    for n in 0..WATCHERS {
        let request = authorized(WatchEventsRequest { resume_token: String::new(), kinds: Vec::new() })?;
        let stream = EventsClient::new(channels[n % CONNECTIONS].clone()).watch(request).await?.into_inner();
        // And the one that wakes the server.
        watchers.spawn(receive(stream, events + 1));
    }
    let write = format!(
        "insert into event (at, kind, account_id, source, is_public)
         select now(), 'account_registered', gen_random_uuid(), 'api', true from generate_series(1, {events})"
    );
    let began = Instant::now();
    database.execute(&write).await?;
    let account_id = "00000000-0000-4000-8000-000000000001".to_owned();
    AccessClient::new(channels[0].clone()).register_account(authorized(RegisterAccountRequest { account_id })?).await?;
    while let Some(received) = timeout(ENDS_WITHIN, watchers.join_next()).await.context("events are missing")? {
        received??;
    }
    let took = began.elapsed();
    stop(&mut server).await?;
    database.drop().await?;
    Ok(Watched { rate: events as f64 / took.as_secs_f64() })
}

async fn receive(mut stream: Streaming<Event>, events: usize) -> Result<()> {
    for n in 0..events {
        ensure!(stream.message().await?.is_some(), "a stream ended after {n} events");
    }
    Ok(())
}

/// As many subscribers, in pieces.
pub async fn fill(database: &Database, accounts: usize, last: &str) -> Result<()> {
    const AT_ONCE: usize = 50_000;
    let subscribers = include_str!("../../crates/billing/tests/subscribers.sql").replace(":last", last);
    for done in (0..accounts).step_by(AT_ONCE) {
        let n = AT_ONCE.min(accounts - done);
        let piece = subscribers.replace(":n", &n.to_string()).replace("1000000000 + n", &format!("{done} + n"));
        database.execute(&format!("begin; {piece} commit")).await?;
    }
    database.execute("vacuum analyze").await
}

/// The age in milliseconds of the oldest transaction of others that was seen until `done`.
async fn longest_transaction(servers: Servers, database: String, ours: i64, done: CancellationToken) -> Result<f64> {
    let client = connect(&servers.postgres).await?;
    let query = client
        .prepare(
            "select coalesce(max(extract(epoch from clock_timestamp() - xact_start)) * 1000, 0)::float8
             from pg_stat_activity where datname = $1 and pid <> $2 and xact_start is not null
             and backend_type = 'client backend'",
        )
        .await?;
    let mut longest = 0.0_f64;
    while !done.is_cancelled() {
        let age: f64 = client.query_one(&query, &[&database, &i32::try_from(ours)?]).await?.try_get(0)?;
        longest = longest.max(age);
        sleep(LOOK_EVERY).await;
    }
    Ok(longest)
}

pub async fn stop(role: &mut Child) -> Result<()> {
    let pid = role.id().context("it runs")?;
    Command::new("kill").arg(pid.to_string()).status().await?;
    timeout(Duration::from_secs(60), role.wait()).await.context("a role does not stop")??;
    Ok(())
}

/// The most that a process has had resident, in megabytes (10⁶ bytes).
pub fn high_water_megabytes(pid: u32) -> Result<f64> {
    let text = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("the kernel tells memory")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<f64>()? * 1024.0 / 1e6)
}

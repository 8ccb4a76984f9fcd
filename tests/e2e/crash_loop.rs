//! Workers that are killed again and again with money in doubt: whoever kills them, the payments are not given up.

use std::time::Duration;

use billing_api::proto::{Payment, PaymentStatus};
use serde_json::json;
use testkit::{Process, Signal};
use tokio_postgres::{Client, NoTls};

use crate::cinema::Cinema;
use crate::system::System;

const PATIENCE: Duration = Duration::from_secs(120);
const PAYMENTS: usize = 20;
/// More than a message may be delivered.
const KILLS: usize = 6;

/// A gateway that is slow to look, and a worker that waits for it and does not leave it alone.
const SETTINGS: [(&str, &str); 4] = [
    ("GATEWAY_TIMEOUT", "4s"),
    ("WORKER_WATCHDOG", "0s"),
    ("GATEWAY_BREAKER_FAILURES", "1000"),
    ("GATEWAY_BREAKER_CALLS", "1000"),
];

async fn connect(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

async fn number(client: &Client, sql: &str) -> i64 {
    client.query_one(sql, &[]).await.unwrap().get(0)
}

/// `kill -9`.
async fn kill(worker: &mut Process) {
    worker.signal(Signal::Kill);
    worker.wait(PATIENCE).await;
}

async fn all_are_charged_once(cinema: &Cinema, payments: &[Payment]) {
    for payment in payments {
        let ended = cinema.outcome(&payment.payment_id, PATIENCE).await;
        assert_eq!(ended.status(), PaymentStatus::Succeeded, "{ended:?}");
    }
    let charged = cinema.successes_by_bill().await;
    assert_eq!(charged.len(), payments.len());
    assert!(charged.values().all(|count| *count == 1), "{charged:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn payments_charged_in_doubt_settle_by_themselves_after_their_looks_have_been_killed_again_and_again() {
    let (vhost, redis) = tokio::join!(testkit::rabbitmq(), testkit::redis());
    let system = System::start_with(&vhost.amqp_url(), redis.url(), "0ms", &SETTINGS).await;
    let mut worker = system.worker("first").await;
    let cinema = Cinema::connect(system.api, system.sandbox).await;
    let database = connect(system.database_url()).await;
    let slow =
        json!({ "match": { "path": "/v2/payments/find" }, "fault": "delay", "delay_ms": 3_500, "times": 10_000 });
    cinema.fault(slow).await;

    let mut payments = Vec::new();
    for _ in 0..PAYMENTS {
        let account_id = cinema.sign_up().await;
        cinema.fault(json!({ "match": { "account_id": account_id }, "fault": "drop_after" })).await;
        payments.push(cinema.pay(&account_id).await);
    }
    for _ in 0..KILLS {
        let before = number(&database, "select coalesce(sum(looks), 0) from tries").await;
        // A look has begun, and is not at its end.
        testkit::eventually(PATIENCE, async || {
            let looks = number(&database, "select coalesce(sum(looks), 0) from tries").await;
            if looks > before { Ok(()) } else { Err(looks) }
        })
        .await;
        kill(&mut worker).await;
        worker = system.worker("next").await;
    }
    cinema.no_faults().await;
    all_are_charged_once(&cinema, &payments).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn payments_not_sent_when_their_workers_were_killed_again_and_again_are_sent_by_themselves() {
    let (vhost, redis) = tokio::join!(testkit::rabbitmq(), testkit::redis());
    let system = System::start_with(&vhost.amqp_url(), redis.url(), "0ms", &SETTINGS).await;
    let cinema = Cinema::connect(system.api, system.sandbox).await;
    let mut payments = Vec::new();
    for _ in 0..PAYMENTS {
        let account_id = cinema.sign_up().await;
        payments.push(cinema.pay(&account_id).await);
    }
    // Nobody gets past the first transaction.
    let (database, locks) = (connect(system.database_url()).await, connect(system.database_url()).await);
    locks.batch_execute("begin; select 1 from account for update").await.unwrap();
    let waiting = "select count(*) from pg_stat_activity where datname = current_database() \
        and wait_event_type = 'Lock' and query ilike '%account%'";
    for _ in 0..KILLS {
        let mut worker = system.worker("killed").await;
        testkit::eventually(PATIENCE, async || {
            let seen = number(&database, waiting).await;
            if seen > 0 { Ok(()) } else { Err(seen) }
        })
        .await;
        kill(&mut worker).await;
        let end = "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() \
            and wait_event_type = 'Lock'";
        database.batch_execute(end).await.unwrap();
    }
    locks.batch_execute("rollback").await.unwrap();
    let _worker = system.worker("last").await;
    all_are_charged_once(&cinema, &payments).await;
}

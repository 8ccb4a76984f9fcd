//! A person asks to be forgotten, and the worker that does it is killed in the middle.

use std::time::Duration;

use billing_api::proto::PaymentStatus;
use testkit::Signal;
use tokio_postgres::{Client, NoTls};

use crate::cinema::Cinema;
use crate::system::System;

const PATIENCE: Duration = Duration::from_secs(120);

async fn connect(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

async fn number(database: &Client, sql: &str) -> i64 {
    database.query_one(sql, &[]).await.unwrap().get(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asked_to_be_forgotten_is_although_the_worker_dies_in_the_middle() {
    let (vhost, redis) = tokio::join!(testkit::rabbitmq(), testkit::redis());
    let settings = [("WIPE_TRACES_EVERY", "1s"), ("PERSONAL_TRACES_KEPT", "0s")];
    let system = System::start_with(&vhost.amqp_url(), redis.url(), "0ms", &settings).await;
    let mut worker = system.worker("first").await;
    let cinema = Cinema::connect(system.api, system.sandbox).await;
    let account_id = cinema.sign_up().await;
    let payment = cinema.pay(&account_id).await;
    assert_eq!(cinema.outcome(&payment.payment_id, PATIENCE).await.status(), PaymentStatus::Succeeded);

    // The wiping has begun, and cannot go on.
    let (database, locks) = (connect(system.database_url()).await, connect(system.database_url()).await);
    locks.batch_execute("begin; select 1 from bill for update").await.unwrap();
    cinema.close_account(&account_id).await;
    let waiting = "select count(*) from pg_stat_activity where datname = current_database()
        and wait_event_type = 'Lock' and query ilike '%ip_address%'";
    testkit::eventually(PATIENCE, async || number(&database, waiting).await == 1).await;
    worker.signal(Signal::Kill);
    worker.wait(PATIENCE).await;
    locks.batch_execute("rollback").await.unwrap();

    let _another = system.worker("second").await;
    let forgotten = "select count(*) from account where traces_wiped_at is not null";
    testkit::eventually(PATIENCE, async || number(&database, forgotten).await == 1).await;
    let traces = "select (select count(*) from bill where ip_address is not null)
        + (select count(*) from payment where card is not null) + (select count(*) from card where mask is not null)";
    assert_eq!(number(&database, traces).await, 0);
    assert_eq!(
        number(&database, "select count(*) from payment where state = 'succeeded'").await,
        1,
        "the history stays"
    );
}

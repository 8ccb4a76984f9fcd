//! Machines whose clocks are wrong.

use std::time::Duration;

use billing_api::proto::PaymentStatus;
use testkit::Process;
use tokio_postgres::NoTls;

use crate::cinema::Cinema;
use crate::system::System;

const PATIENCE: Duration = Duration::from_secs(60);

/// Connections of this address find the database's clock so far from that of their machine.
async fn apart(database_url: &str, interval: &str) -> String {
    let (client, connection) = tokio_postgres::connect(database_url, NoTls).await.unwrap();
    tokio::spawn(connection);
    let clock = format!(
        "create schema if not exists apart;
         create or replace function apart.clock_timestamp() returns timestamptz language sql volatile
             return pg_catalog.clock_timestamp() + interval '{interval}'"
    );
    client.batch_execute(&clock).await.unwrap();
    let separator = if database_url.contains('?') { '&' } else { '?' };
    format!("{database_url}{separator}options=-csearch_path%3Dapart,pg_catalog,public")
}

async fn warned(worker: &mut Process, words: &str) {
    let line = worker.wait_for_line("the clock of this machine is", PATIENCE).await;
    assert!(line.contains("WARN") && line.contains(words), "{line}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_whose_clock_is_wrong_says_so_and_goes_by_the_clock_of_the_database() {
    let (vhost, redis) = tokio::join!(testkit::rabbitmq(), testkit::redis());
    let system = System::start(&vhost.amqp_url(), redis.url(), "0ms").await;
    let behind = apart(system.database_url(), "7 minutes").await;
    let mut worker = system.worker_with("behind", &[("DATABASE_URL", &behind)]).await;
    warned(&mut worker, "behind").await;

    let cinema = Cinema::connect(system.api, system.sandbox).await;
    let payment = cinema.pay(&cinema.sign_up().await).await;
    let paid = cinema.outcome(&payment.payment_id, PATIENCE).await;
    assert_eq!(paid.status(), PaymentStatus::Succeeded);
    let (client, connection) = tokio_postgres::connect(system.database_url(), NoTls).await.unwrap();
    tokio::spawn(connection);
    let by_the_database = "select first_sent_at > now() + interval '6 minutes' from payment";
    assert!(client.query_one(by_the_database, &[]).await.unwrap().get::<_, bool>(0));
}

//! How a worker ends: what its status says of the work, and what its log says.

use std::time::Duration;

use testkit::{Process, Signal};

use crate::cinema::Cinema;
use crate::system::System;

const PATIENCE: Duration = Duration::from_secs(60);

async fn working(worker: &mut Process) {
    worker.wait_for_lines("worker takes tasks", 2, PATIENCE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_drops_work_ends_with_1_and_one_that_stops_cleanly_with_0_and_no_error_in_its_log() {
    let (vhost, redis) = tokio::join!(testkit::rabbitmq(), testkit::redis());
    let system = System::start(&vhost.amqp_url(), redis.url(), "0ms").await;
    let cinema = Cinema::connect(system.api, system.sandbox).await;
    let mut worker = system.worker_with("dropping", &[("GATEWAY_TIMEOUT", "60s")]).await;
    working(&mut worker).await;
    let account_id = cinema.sign_up().await;
    cinema.slow_answer(&account_id, Duration::from_secs(50)).await;
    cinema.pay(&account_id).await;
    // It is charged: the task waits for the answer.
    testkit::eventually(PATIENCE, async || !cinema.successes_by_bill().await.is_empty()).await;
    worker.signal(Signal::Interrupt);
    worker.wait_for_line("warm shutdown", PATIENCE).await;
    worker.signal(Signal::Interrupt);
    let ended = worker.wait(PATIENCE).await;
    assert_eq!(ended.code(), Some(1), "{}", worker.output());
    assert!(worker.output().contains("tasks were dropped before their end"), "{}", worker.output());

    let mut worker = system.worker("clean").await;
    working(&mut worker).await;
    let account_id = cinema.sign_up().await;
    let payment = cinema.pay(&account_id).await;
    cinema.outcome(&payment.payment_id, PATIENCE).await;
    worker.signal(Signal::Terminate);
    let ended = worker.wait(PATIENCE).await;
    let said = worker.output();
    assert_eq!(ended.code(), Some(0), "{said}");
    assert!(!said.contains("ERROR"), "{said}");
    // Nobody reads it on a terminal.
    assert!(!said.contains('\u{1b}'), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_of_the_broker_is_two_lines_in_the_log_of_a_worker_and_none_of_the_library() {
    let database = testkit::postgres().await;
    let (vhost, redis) = tokio::join!(testkit::rabbitmq(), testkit::redis());
    let proxy = testkit::FaultProxy::start(&vhost.amqp_url()).await;
    let mut worker = Process::billing(&["worker"], |command| {
        command.env("DATABASE_URL", database.url()).env("RESULT_BACKEND", redis.url());
        command.env("BROKER_URL", proxy.url(&vhost.amqp_url()));
    })
    .await;
    working(&mut worker).await;
    proxy.refuse().await;
    proxy.cut();
    worker.wait_for_line("the broker cannot be reached", PATIENCE).await;
    proxy.accept().await;
    worker.wait_for_line("the broker is back", PATIENCE).await;
    worker.signal(Signal::Terminate);
    assert!(worker.wait(PATIENCE).await.success(), "{}", worker.output());
    let said = worker.output();
    let of_it: Vec<_> = said.lines().filter(|line| line.contains("broker") && !line.contains("gateway")).collect();
    assert_eq!(of_it.len(), 2, "{said}");
    assert!(of_it[1].contains("away="), "{said}");
    assert!(!said.contains("lapin") && !said.contains("ERROR"), "{said}");
}

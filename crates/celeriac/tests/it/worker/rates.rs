//! Rate limits where connections are lost, slots are taken and tasks are revoked: no token is lost with them.

use std::time::Duration;

use celeriac::{SendOptions, TaskOptions, WorkerBuilder};
use testkit::FaultProxy;
use tokio::time::Instant;

use super::setup::{SOON, Serving, Setup};
use super::tasks::{Limited, Log, Nothing, Wait};

/// A worker behind a proxy, whose tasks come through another connection.
async fn behind_a_proxy(
    configure: impl FnOnce(WorkerBuilder<Log>) -> WorkerBuilder<Log>,
) -> (Setup, FaultProxy, Serving) {
    let setup = Setup::classic().await;
    let proxy = FaultProxy::start(&setup.broker).await;
    let app = setup.builder().broker(proxy.url(&setup.broker));
    let serving = setup.serve_app(app, configure).await;
    (setup, proxy, serving)
}

/// 10 a second, 60 tasks, three connections lost on the way: they all begin in the time that the rate says.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_are_lost_put_a_rate_limited_task_into_no_debt() {
    const TASKS: usize = 60;
    let (setup, proxy, serving) = behind_a_proxy(|worker| worker.concurrency(16)).await;
    let sender = setup.app().await;
    let began = Instant::now();
    for _ in 0..TASKS {
        sender.send(Limited).await.unwrap();
    }
    for begun in [5, 10, 15] {
        serving.log.begun_count(begun).await;
        proxy.cut();
        testkit::eventually(SOON, async || serving.app.broker().health().connected).await;
    }
    tokio::time::timeout(Duration::from_secs(60), serving.log.begun_count(TASKS)).await.unwrap();
    let took = began.elapsed();
    // 5.9 s by the rate. With what was waiting booked ahead each loss cost 64 tokens, 6.4 s.
    assert!(took >= Duration::from_millis(5_000), "the rate was not kept: {took:?}");
    assert!(took < Duration::from_secs(12), "the lost connections cost tokens: {took:?}");
    serving.stop().await;
}

#[tokio::test]
async fn a_task_that_is_revoked_while_it_waits_takes_no_token() {
    let setup = Setup::memory().await;
    let serving = setup.serve(|worker| worker.concurrency(8)).await;
    assert!(serving.handle.rate_limit("t.nothing", Some(celeriac::RateLimit::per_minute(60.0))));
    for number in 0..30 {
        let id = format!("{number}");
        serving.app.send_with(Nothing, SendOptions::new().task_id(id)).await.unwrap();
    }
    serving.log.begun_count(1).await;
    (1..29).for_each(|number| serving.handle.revoke(&number.to_string(), false));
    let began = Instant::now();
    serving.log.begun_count(2).await;
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    assert_eq!(serving.log.begun(), ["0", "29"]);
    serving.stop().await;
}

#[tokio::test]
async fn rate_limited_tasks_begin_in_the_order_of_their_messages() {
    let setup = Setup::memory().await;
    let serving = setup.serve(|worker| worker.concurrency(8)).await;
    let ids: Vec<_> = (0..10).map(|number| number.to_string()).collect();
    for id in &ids {
        serving.app.send_with(Limited, SendOptions::new().task_id(id)).await.unwrap();
    }
    serving.log.begun_count(10).await;
    assert_eq!(serving.log.begun(), ids);
    serving.stop().await;
}

#[tokio::test]
async fn tasks_that_had_their_tokens_while_all_slots_were_taken_begin_when_those_are_free() {
    let setup = Setup::memory().await;
    let serving = setup.serve(|worker| worker.concurrency(1)).await;
    serving.app.send(Wait).await.unwrap();
    serving.log.begun_count(1).await;
    serving.app.send(Limited).await.unwrap();
    testkit::eventually(SOON, async || serving.handle.reserved().len() == 1).await;
    serving.log.gate.add_permits(1);
    serving.log.begun_count(2).await;
    serving.stop().await;
}

/// Celery's `worker_disable_rate_limits`.
#[tokio::test]
async fn a_worker_may_be_told_to_heed_no_rate_limits() {
    const ONE_A_DAY: TaskOptions = TaskOptions {
        rate_limit: Some(celeriac::RateLimit::per_hour(0.04)),
        cluster_rate: Some(celeriac::RateLimit::per_hour(0.04)),
        ..TaskOptions::DEFAULT
    };
    async fn rare(
        _: celeriac::worker::Call,
        _: celeriac::Context<Log>,
    ) -> celeriac::TaskResult<celeriac::protocol::RawJson> {
        Ok(celeriac::protocol::RawJson::NULL)
    }
    let setup = Setup::memory().await;
    let serving = setup.serve(|worker| worker.task_named("t.rare", ONE_A_DAY, rare).disable_rate_limits(true)).await;
    for _ in 0..5 {
        let none: [u8; 0] = [];
        let sent = serving.app.send_named("t.rare", none, serde_json::json!({}), SendOptions::new()).await.unwrap();
        sent.typed::<()>().get(SOON).await.unwrap();
    }
    serving.stop().await;
}

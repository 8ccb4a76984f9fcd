//! What a worker does when it is told to stop.

use std::time::Duration;

use celeriac::protocol::State;
use celeriac::{SendOptions, Worker};
use tokio_util::sync::CancellationToken;

use super::on_every_broker;
use super::setup::{SOON, Serving, Setup, drain};
use super::tasks::*;

on_every_broker!(
    a_warm_shutdown_finishes_what_runs_and_gives_back_the_rest,
    a_shutdown_that_takes_too_long_drops_what_runs,
    a_cold_shutdown_drops_what_runs_at_once,
    an_idle_worker_stops_at_once,
);

/// Two tasks that run, three that wait for a slot, one that waits for its ETA.
async fn busy(setup: &Setup, timeout: Duration, cold: &CancellationToken) -> (Serving, Vec<String>) {
    let configure = |worker: celeriac::WorkerBuilder<Log>| {
        worker.concurrency(2).prefetch_multiplier(4).shutdown_timeout(timeout).cold(cold.clone())
    };
    let worker = setup.serve_app(setup.builder().native_delayed_delivery(false), configure).await;
    let mut ids = Vec::new();
    for _ in 0..5 {
        ids.push(worker.app.send(Wait).await.unwrap().id().to_owned());
    }
    let later = SendOptions::new().countdown(Duration::from_secs(60));
    ids.push(worker.app.send_with(Wait, later).await.unwrap().id().to_owned());
    worker.log.begun_count(2).await;
    testkit::eventually(SOON, async || (worker.handle.reserved().len(), worker.handle.scheduled().len()) == (3, 1))
        .await;
    (worker, ids)
}

/// The ids of what is left in the queue, which all has been delivered before.
async fn left(setup: &Setup, count: usize) -> Vec<String> {
    let left = drain(&setup.app().await, "celery", count).await;
    assert!(left.iter().all(|delivery| delivery.redelivered));
    let mut ids: Vec<_> =
        left.into_iter().map(|delivery| delivery.message.properties.correlation_id.unwrap()).collect();
    ids.sort();
    ids
}

fn sorted(ids: &[String]) -> Vec<String> {
    let mut ids = ids.to_vec();
    ids.sort();
    ids
}

async fn a_warm_shutdown_finishes_what_runs_and_gives_back_the_rest(setup: Setup) {
    let (worker, ids) = busy(&setup, SOON, &CancellationToken::new()).await;
    let begun = worker.log.begun();
    worker.begin_to_stop();
    // The rest is back in the queue while the two still run: another worker need not wait for them.
    let rest: Vec<_> = ids.iter().filter(|id| !begun.contains(id)).cloned().collect();
    assert_eq!(left(&setup, 4).await, sorted(&rest));
    assert_eq!(worker.handle.active().len(), 2);
    worker.log.gate.add_permits(5);
    let app = worker.app.clone();
    worker.ended().await;
    for id in &begun {
        assert_eq!(app.result::<()>(id).state().await.unwrap(), State::Success);
    }
    for id in &rest {
        assert_eq!(app.result::<()>(id).state().await.unwrap(), State::Pending);
    }
    assert_eq!(app.broker().queue_depth("celery").await.unwrap().unwrap().messages, 0);
}

async fn a_shutdown_that_takes_too_long_drops_what_runs(setup: Setup) {
    let (worker, ids) = busy(&setup, Duration::from_millis(100), &CancellationToken::new()).await;
    worker.stop().await;
    assert_eq!(left(&setup, 6).await, sorted(&ids));
}

async fn a_cold_shutdown_drops_what_runs_at_once(setup: Setup) {
    let cold = CancellationToken::new();
    let (worker, ids) = busy(&setup, SOON, &cold).await;
    let early = worker.app.send(WaitEarly).await.unwrap();
    worker.begin_to_stop();
    cold.cancel();
    worker.ended().await;
    let mut expected = sorted(&ids);
    expected.push(early.id().to_owned());
    expected.sort();
    assert_eq!(left(&setup, 7).await, expected);
}

async fn an_idle_worker_stops_at_once(setup: Setup) {
    let worker = setup.serve(|worker| worker).await;
    worker.app.send(Nothing).await.unwrap().get(SOON).await.unwrap();
    let begin = tokio::time::Instant::now();
    worker.stop().await;
    assert!(begin.elapsed() < Duration::from_secs(2), "{:?}", begin.elapsed());
}

#[tokio::test]
async fn a_task_acknowledged_early_and_dropped_is_said_to_be_tried_again() {
    let cold = CancellationToken::new();
    let worker = Setup::memory().await.serve(|worker| worker.cold(cold.clone())).await;
    let result = worker.app.send(WaitEarly).await.unwrap();
    worker.log.begun_count(1).await;
    worker.begin_to_stop();
    cold.cancel();
    worker.ended().await;
    assert_eq!(result.state().await.unwrap(), State::Retry);
}

#[tokio::test]
async fn a_concurrency_of_zero_is_no_worker() {
    let app = Setup::memory().await.app().await;
    let Err(error) = Worker::builder(app).concurrency(0).build() else { panic!("it would never do anything") };
    assert!(error.to_string().contains("concurrency is 0"), "{error}");
}

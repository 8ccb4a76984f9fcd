//! Queues with slots of their own.

use std::time::Duration;

use celeriac::{Context, SendOptions, TaskResult, Worker, WorkerError};
use testkit::eventually;
use tokio::time::Instant;

use super::on_every_broker;
use super::setup::{SOON, Setup};
use super::tasks::{Add, Wait};

on_every_broker!(slow_tasks_of_one_queue_keep_those_of_another_from_nothing);

async fn slow_tasks_of_one_queue_keep_those_of_another_from_nothing(setup: Setup) {
    let worker = setup
        .serve(|worker| {
            let worker = worker.queues(["celery", "slow"]).concurrency(1).queue_concurrency("slow", 2);
            worker.stalled_after(Duration::from_millis(100))
        })
        .await;
    for _ in 0..30 {
        worker.app.send_with(Wait, SendOptions::new().queue("slow")).await.unwrap();
    }
    worker.log.begun_count(2).await;
    let began = Instant::now();
    eventually(SOON, async || {
        let sum = worker.app.send(Add { x: 1, y: 2 }).await.unwrap().id().to_owned();
        assert_eq!(worker.app.result::<i64>(sum).get(SOON).await.unwrap(), 3);
        assert_eq!(
            worker.handle.readiness().problems,
            [],
            "that tasks wait beside free slots of another queue is no stall"
        );
        began.elapsed() > Duration::from_secs(3)
    })
    .await;
    // And the other way round: the one slot that queues share is taken.
    worker.app.send(Wait).await.unwrap();
    worker.app.send(Wait).await.unwrap();
    worker.log.gate.add_permits(32);
    worker.settled("slow").await;
    worker.stop().await;
}

async fn nothing(_: super::tasks::Nothing, _: Context) -> TaskResult<()> {
    Ok(())
}

#[tokio::test]
async fn a_queue_has_one_slot_at_least() {
    let app = Setup::memory().await.app().await;
    let worker = Worker::builder(app).task(nothing).queue_concurrency("slow", 0).build();
    assert!(matches!(worker, Err(WorkerError::Configuration(why)) if why.contains("slow")));
}

//! A worker that ends by itself, and one that is told to end softly.

use std::time::Duration;

use celeriac::protocol::State;
use celeriac::{QueueDefinition, SendOptions, WorkerError};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::on_every_broker;
use super::setup::{SOON, Setup, drain};
use super::tasks::*;

on_every_broker!(
    a_worker_ends_after_so_many_tasks_and_leaves_the_rest,
    a_soft_shutdown_waits_for_what_runs_and_then_drops_it,
);

async fn a_worker_ends_after_so_many_tasks_and_leaves_the_rest(setup: Setup) {
    let app = setup.app().await;
    let mut ids = Vec::new();
    for _ in 0..5 {
        ids.push(app.send(Nothing).await.unwrap().id().to_owned());
    }
    let worker = setup.serve(|worker| worker.concurrency(1).max_tasks(3)).await;
    let (log, handle) = (worker.log.clone(), worker.handle.clone());
    let Err(WorkerError::Spent(why)) = worker.result().await else { panic!("it has done its part") };
    assert!(why.contains("3 tasks"), "{why}");
    assert_eq!((log.begun().as_slice(), handle.processed()), (&ids[..3], 3));
    assert_eq!(app.result::<()>(&ids[2]).state().await.unwrap(), State::Success);
    assert_eq!(drain(&app, "celery", 2).await.len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_with_too_much_memory_ends_once_it_has_run_a_task() {
    let setup = Setup::memory().await;
    let worker = setup.serve(|worker| worker.max_memory(1)).await;
    testkit::eventually(SOON, async || worker.handle.readiness().is_ready()).await;
    worker.app.send(Nothing).await.unwrap().get(SOON).await.unwrap();
    let Err(WorkerError::Spent(why)) = worker.result().await else { panic!("it has done its part") };
    assert!(why.contains("bytes of memory"), "{why}");
}

async fn a_soft_shutdown_waits_for_what_runs_and_then_drops_it(setup: Setup) {
    let (soft, timeout) = (CancellationToken::new(), Duration::from_secs(1));
    let app = setup.builder().native_delayed_delivery(false);
    let worker = setup.serve_app(app, |worker| worker.concurrency(2).soft_shutdown(soft.clone(), timeout)).await;
    let mut ids = Vec::new();
    for _ in 0..3 {
        ids.push(worker.app.send(Wait).await.unwrap().id().to_owned());
    }
    let later = SendOptions::new().countdown(Duration::from_secs(60));
    worker.app.send_with(Wait, later).await.unwrap();
    worker.log.begun_count(2).await;
    testkit::eventually(SOON, async || worker.handle.scheduled().len() == 1).await;

    let began = Instant::now();
    soft.cancel();
    worker.log.gate.add_permits(1);
    worker.ended().await;
    assert!(began.elapsed() >= timeout, "{:?}", began.elapsed());
    let app = setup.app().await;
    let mut states = Vec::new();
    for id in &ids {
        states.push(app.result::<()>(id).state().await.unwrap());
    }
    assert_eq!(states.iter().filter(|state| **state == State::Success).count(), 1, "{states:?}");
    assert_eq!(drain(&app, "celery", 3).await.len(), 3);
}

#[tokio::test]
async fn a_soft_shutdown_ends_with_its_last_task_or_with_a_cold_one() {
    for finishes in [true, false] {
        let (soft, cold) = (CancellationToken::new(), CancellationToken::new());
        let setup = Setup::memory().await;
        let worker = setup.serve(|worker| worker.soft_shutdown(soft.clone(), SOON).cold(cold.clone())).await;
        let result = worker.app.send(Wait).await.unwrap();
        worker.log.begun_count(1).await;
        soft.cancel();
        if finishes {
            worker.log.gate.add_permits(1);
        } else {
            cold.cancel();
        }
        worker.ended().await;
        let state = result.state().await.unwrap();
        assert_eq!(state, if finishes { State::Success } else { State::Pending });
    }
}

#[tokio::test(start_paused = true)]
async fn a_soft_shutdown_takes_its_time_on_idle_if_it_is_told_to() {
    let timeout = Duration::from_secs(5);
    for (on_idle, took) in [(false, Duration::ZERO), (true, timeout)] {
        let soft = CancellationToken::new();
        let setup = Setup::memory().await;
        let worker = setup
            .serve(|worker| worker.mingle(false).soft_shutdown(soft.clone(), timeout).soft_shutdown_on_idle(on_idle))
            .await;
        testkit::eventually(SOON, async || worker.handle.readiness().is_ready()).await;
        let began = Instant::now();
        soft.cancel();
        worker.ended().await;
        let elapsed = began.elapsed();
        assert!(elapsed >= took && elapsed < took + Duration::from_secs(4), "{on_idle}: {elapsed:?}");
    }
}

mod priority {
    use super::*;

    /// Higher first, as soon as the broker may choose: with a prefetch of one and late acknowledgement.
    async fn the_task_of_the_highest_priority_begins_first(setup: Setup) {
        let queue = QueueDefinition::new("celery").max_priority(9);
        let app = setup.builder().queue(queue);
        let worker = setup.serve_app(app, |worker| worker.concurrency(1).prefetch_multiplier(1)).await;
        let mut sent = Vec::new();
        let first = worker.app.send(Wait).await.unwrap();
        worker.log.begun_count(1).await;
        for priority in [1, 9, 5, 9, 0] {
            let options = SendOptions::new().priority(priority);
            let task = worker.app.send_with(Wait, options).await.unwrap();
            sent.push((std::cmp::Reverse(priority), task.id().to_owned()));
        }
        worker.log.gate.add_permits(6);
        worker.log.begun_count(6).await;
        sent.sort_by_key(|(priority, _)| *priority);
        let expected: Vec<_> =
            std::iter::once(first.id().to_owned()).chain(sent.into_iter().map(|(_, id)| id)).collect();
        assert_eq!(worker.log.begun(), expected);
        worker.stop().await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn in_rabbitmq() {
        the_task_of_the_highest_priority_begins_first(Setup::classic().await).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn in_memory() {
        the_task_of_the_highest_priority_begins_first(Setup::memory().await).await;
    }
}

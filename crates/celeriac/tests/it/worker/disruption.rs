//! Servers and connections that go away in the middle of work: nothing is lost.

use std::collections::HashSet;
use std::time::Duration;

use celeriac::protocol::State;
use celeriac::{App, SendOptions};
use testkit::FaultProxy;

use super::on_every_broker;
use super::setup::{SOON, Serving, Setup};
use super::tasks::*;

/// What a restart of RabbitMQ may take on a busy machine.
pub(super) const LATER: Duration = Duration::from_secs(90);

on_every_broker!(results_wait_for_a_backend_that_is_away_and_their_messages_stay_unacknowledged);

async fn results_wait_for_a_backend_that_is_away_and_their_messages_stay_unacknowledged(setup: Setup) {
    let redis = testkit::redis().await;
    let proxy = FaultProxy::start(redis.url()).await;
    let backend_timeout = Duration::from_millis(300);
    let app = setup.builder().backend(proxy.url(redis.url())).backend_timeout(backend_timeout);
    let worker = setup.serve_app(app, |worker| worker.concurrency(8)).await;
    let direct = App::builder().broker(&setup.broker).backend(redis.url()).build().await.unwrap();

    proxy.refuse().await;
    proxy.cut();
    let ids = send(&worker.app, 20).await;
    // Bodies run on: a backend that is away does not hold them.
    worker.log.begun_count(20).await;
    assert_eq!(worker.handle.unacknowledged(), 20);
    for id in &ids {
        assert_eq!(direct.result::<()>(id).state().await.unwrap(), State::Pending);
    }
    proxy.accept().await;
    worker.settled("celery").await;
    for id in &ids {
        assert_eq!(direct.result::<()>(id).state().await.unwrap(), State::Success);
    }
    assert_eq!(worker.log.begun().len(), 20, "each ran once");
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backend_that_stays_silent_and_one_that_forgets_everything_lose_no_task() {
    let setup = Setup::classic().await;
    let proxy = FaultProxy::start(&setup.backend).await;
    let app = setup.builder().backend(proxy.url(&setup.backend)).backend_timeout(Duration::from_millis(300));
    let worker = setup.serve_app(app, |worker| worker.concurrency(8)).await;
    let before = send(&worker.app, 200).await;
    proxy.pause();
    let meanwhile = send(&worker.app, 200).await;
    worker.log.begun_count(200).await;
    proxy.resume();
    worker.settled("celery").await;
    for id in before.iter().chain(&meanwhile) {
        assert_eq!(worker.app.result::<()>(id).state().await.unwrap(), State::Success);
    }
    let mut redis =
        redis::Client::open(setup.backend.as_str()).unwrap().get_multiplexed_async_connection().await.unwrap();
    redis::cmd("FLUSHDB").exec_async(&mut redis).await.unwrap();
    let after = worker.app.send(Add { x: 1, y: 1 }).await.unwrap().typed::<i64>();
    assert_eq!(after.get(SOON).await.unwrap(), 2);
    assert_eq!(worker.app.result::<()>(&before[0]).state().await.unwrap(), State::Pending);
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_are_cut_again_and_again_lose_no_task_and_leave_no_message() {
    const TASKS: usize = 2000;
    for setup in [Setup::classic().await, Setup::quorum().await] {
        let proxy = FaultProxy::start(&setup.broker).await;
        let app = setup.builder().broker(proxy.url(&setup.broker));
        let worker = setup.serve_app(app, |worker| worker.concurrency(8)).await;
        let sender = setup.app().await;
        let ids = tokio::spawn(async move { send(&sender, TASKS).await });
        for part in 1..=4 {
            worker.log.begun_count(TASKS * part / 5).await;
            proxy.cut();
        }
        let ids: HashSet<_> = ids.await.unwrap().into_iter().collect();
        done(&worker, &ids, LATER).await;
        every_message_is_acknowledged(&setup, worker).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_worker_held_that_is_cut_off_for_good_is_done_by_another() {
    for setup in [Setup::classic().await, Setup::quorum().await] {
        let proxy = FaultProxy::start(&setup.broker).await;
        let lost =
            setup.serve_app(setup.builder().broker(proxy.url(&setup.broker)), |worker| worker.concurrency(2)).await;
        let app = setup.app().await;
        let mut ids = HashSet::new();
        for _ in 0..6 {
            ids.insert(app.send(Wait).await.unwrap().id().to_owned());
        }
        let later = SendOptions::new().countdown(Duration::from_millis(500));
        ids.insert(app.send_with(Wait, later).await.unwrap().id().to_owned());
        lost.log.begun_count(2).await;
        proxy.refuse().await;
        proxy.cut();

        let worker = setup.serve(|worker| worker).await;
        worker.log.gate.add_permits(ids.len());
        worker.log.begun_count(ids.len()).await;
        done(&worker, &ids, SOON).await;
        every_message_is_acknowledged(&setup, worker).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tasks_that_wait_for_their_eta_begin_once_although_the_connection_was_lost() {
    for setup in [Setup::classic().await, Setup::quorum().await] {
        let proxy = FaultProxy::start(&setup.broker).await;
        let app = setup.builder().broker(proxy.url(&setup.broker)).native_delayed_delivery(false);
        let worker = setup.serve_app(app, |worker| worker).await;
        let eta = SendOptions::new().countdown(Duration::from_secs(3));
        let mut ids = HashSet::new();
        for _ in 0..10 {
            ids.insert(worker.app.send_with(Nothing, eta.clone()).await.unwrap().id().to_owned());
        }
        testkit::eventually(SOON, async || worker.handle.scheduled().len() == 10).await;
        proxy.cut();
        done(&worker, &ids, SOON).await;
        assert_eq!(worker.log.begun().len(), 10, "the copies from before are forgotten");
        every_message_is_acknowledged(&setup, worker).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_waits_for_a_broker_that_is_not_there_yet() {
    let setup = Setup::classic().await;
    let proxy = FaultProxy::start(&setup.broker).await;
    let app = setup.builder().broker(proxy.url(&setup.broker)).publish_timeout(Duration::from_millis(300));
    let app = app.build().await.unwrap();
    proxy.refuse().await;
    proxy.cut();
    let log = Log::default();
    let worker = register(celeriac::Worker::builder(app.clone()), &log).build().unwrap();
    let worker = Serving::start(app, worker, log);
    let id = setup.app().await.send(Nothing).await.unwrap().id().to_owned();
    proxy.accept().await;
    worker.log.begun_count(1).await;
    done(&worker, &HashSet::from([id]), SOON).await;
    worker.stop().await;
}

/// Sends that many tasks, one after the other, each until it is confirmed.
async fn send(app: &App, count: usize) -> Vec<String> {
    let mut ids = Vec::with_capacity(count);
    for number in 0..count {
        let task = Add { x: i64::try_from(number).unwrap(), y: 1 };
        ids.push(app.send(task).await.expect("it is confirmed in time").id().to_owned());
    }
    ids
}

/// Waits until all tasks have succeeded and all messages are settled.
pub(super) async fn done(worker: &Serving, ids: &HashSet<String>, within: Duration) {
    let deadline = tokio::time::Instant::now() + within;
    for id in ids {
        let left = deadline.duration_since(tokio::time::Instant::now());
        testkit::eventually(left, async || match worker.app.result::<()>(id).state().await {
            Ok(State::Success) => Ok(()),
            other => Err((id, other)),
        })
        .await;
    }
    let begun: HashSet<_> = worker.log.begun().into_iter().collect();
    assert!(ids.is_subset(&begun));
    testkit::eventually(within, async || {
        let depth = worker.app.broker().queue_depth(worker.app.default_queue()).await.unwrap().unwrap();
        let left = (depth.messages, worker.handle.unacknowledged());
        if left == (0, 0) { Ok(()) } else { Err(left) }
    })
    .await;
}

/// Once the worker has ended, nothing comes back: every message was acknowledged.
pub(super) async fn every_message_is_acknowledged(setup: &Setup, worker: Serving) {
    let queue = worker.app.default_queue().to_owned();
    worker.stop().await;
    let depth = setup.app().await.broker().queue_depth(&queue).await.unwrap().unwrap();
    assert_eq!((depth.messages, depth.consumers), (0, 0));
}

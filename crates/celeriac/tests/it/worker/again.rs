//! Messages that come again although their tasks run, or have ended.

use std::process::Command;
use std::time::Duration;

use celeriac::protocol::State;
use celeriac::{App, Context, QueueType, SendOptions, TaskError, TaskOptions, Worker};
use serde_json::json;
use testkit::{FaultProxy, Process};
use tokio_util::sync::CancellationToken;

use super::disruption::every_message_is_acknowledged;
use super::setup::{SOON, Serving, Setup};
use super::tasks::*;

/// What is sent beside the one that matters.
const OTHERS: usize = 45;

async fn through(setup: &Setup) -> (FaultProxy, celeriac::AppBuilder) {
    let proxy = FaultProxy::start(&setup.broker).await;
    let app = setup.builder().broker(proxy.url(&setup.broker));
    (proxy, app)
}

/// Waits until a worker gets messages on its present connection: what came before is there by then.
async fn reached(worker: &Serving, app: &App) {
    let sent = app.send(Nothing).await.expect("the broker is there");
    sent.typed::<()>().get(SOON).await.expect("it is run");
    let _ = worker;
}

async fn succeeded(app: &App, id: &str) {
    testkit::eventually(SOON, async || app.result::<()>(id).state().await.unwrap() == State::Success).await;
}

/// A worker whose task ends when its acknowledgement cannot be sent any longer.
async fn ends_in_void(setup: &Setup, limit: u32) -> (FaultProxy, Serving, String) {
    let (proxy, app) = through(setup).await;
    let worker = setup.serve_app(app, |worker| worker.delivery_limit(limit)).await;
    let id = setup.app().await.send(Wait).await.unwrap().id().to_owned();
    worker.log.begun_count(1).await;
    proxy.refuse().await;
    proxy.cut();
    testkit::eventually(SOON, async || !worker.app.broker().health().connected).await;
    worker.log.gate.add_permits(1);
    succeeded(&worker.app, &id).await;
    (proxy, worker, id)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_whose_message_comes_again_while_it_runs_runs_once() {
    for setup in [Setup::classic().await, Setup::quorum().await] {
        let (proxy, app) = through(&setup).await;
        let worker = setup.serve_app(app, |worker| worker).await;
        let direct = setup.app().await;
        let mut ids = Vec::new();
        for _ in 0..3 {
            ids.push(direct.send(Wait).await.unwrap().id().to_owned());
        }
        ids.push(direct.send(WaitEarly).await.unwrap().id().to_owned());
        worker.log.begun_count(4).await;
        proxy.cut();
        reached(&worker, &direct).await;
        worker.log.gate.add_permits(8);
        for id in &ids {
            succeeded(&direct, id).await;
        }
        worker.settled("celery").await;
        assert_eq!(worker.log.begun().len(), 5, "each has run once: {:?}", worker.log.begun());
        every_message_is_acknowledged(&setup, worker).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_that_ended_when_it_could_not_be_acknowledged_is_acknowledged_when_its_message_comes_again() {
    for setup in [Setup::classic().await, Setup::quorum().await] {
        let (proxy, worker, _) = ends_in_void(&setup, 0).await;
        proxy.accept().await;
        let direct = setup.app().await;
        reached(&worker, &direct).await;
        worker.settled("celery").await;
        assert_eq!(worker.log.begun().len(), 2, "it has not run again");
        every_message_is_acknowledged(&setup, worker).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_end_that_cannot_be_acknowledged_counts_as_an_attempt() {
    let setup = Setup::classic().await;
    let (_proxy, first, id) = ends_in_void(&setup, 2).await;
    let app = setup.app().await;
    let counts = app.backend().deliveries().expect("Redis counts");
    testkit::eventually(SOON, async || counts.counted(&id).await.unwrap() == 1).await;
    let second = setup.serve(|worker| worker.delivery_limit(2)).await;
    testkit::eventually(SOON, async || {
        let depth = app.broker().queue_depth("celery.parked").await.unwrap();
        depth.is_some_and(|depth| depth.messages == 1)
    })
    .await;
    assert_eq!(second.log.begun(), [""; 0]);
    assert_eq!(app.result::<()>(&id).state().await.unwrap(), State::Success, "what is stored stays");
    second.stop().await;
    first.begin_to_stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_success_that_is_stored_is_not_run_again_where_the_worker_deduplicates() {
    for deduplicates in [true, false] {
        let setup = Setup::classic().await;
        let (_proxy, first, id) = ends_in_void(&setup, 0).await;
        let second = setup.serve(|worker| worker.deduplicate_successful_tasks(deduplicates)).await;
        second.log.gate.add_permits(1);
        let app = setup.app().await;
        reached(&second, &app).await;
        second.settled("celery").await;
        let again = second.log.begun().contains(&id);
        assert_eq!(again, !deduplicates);
        second.stop().await;
        first.begin_to_stop();
    }
}

/// The broker counts each time that a message came back, and drops it at its limit.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_that_come_back_more_often_than_a_quorum_queue_allows_are_not_lost() {
    let vhost = testkit::rabbitmq().await;
    vhost.policy("limit", ".*", json!({"delivery-limit": 8})).await;
    let mut setup = Setup::quorum().await;
    setup.broker = vhost.amqp_url();
    let (proxy, app) = through(&setup).await;
    let worker = setup.serve_app(app, |worker| worker.concurrency(1).prefetch_multiplier(1_000)).await;
    let direct = setup.app().await;
    let first = direct.send(Wait).await.unwrap().id().to_owned();
    let mut ids = vec![first];
    worker.log.begun_count(1).await;
    for number in 0..OTHERS {
        let options = SendOptions::new().task_id(format!("other-{number}"));
        ids.push(direct.send_with(Nothing, options).await.unwrap().id().to_owned());
    }
    for _ in 0..14 {
        testkit::eventually(SOON, async || {
            // More, if the cut came between the new copy of a message and the acknowledgement of the one that had come too often.
            let ready = direct.broker().queue_depth("celery").await.unwrap().map(|depth| depth.messages);
            let reserved = worker.handle.reserved().len();
            if ready == Some(0) && reserved >= OTHERS { Ok(()) } else { Err((ready, reserved)) }
        })
        .await;
        proxy.cut();
        testkit::eventually(SOON, async || worker.app.broker().health().connected).await;
    }
    worker.log.gate.add_permits(20);
    for id in &ids {
        succeeded(&direct, id).await;
    }
    worker.settled("celery").await;
    every_message_is_acknowledged(&setup, worker).await;
}

/// The environment of a worker that is to say something at its start.
const CHILD: [&str; 2] = ["CELERIAC_TEST_LOW_BROKER", "CELERIAC_TEST_LOW_API"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_broker_will_do_to_long_tasks_and_to_what_comes_back_is_said_at_the_start() {
    if let [Ok(broker), Ok(api)] = CHILD.map(std::env::var) {
        testkit::show_logs();
        let app = App::builder().broker(broker).backend("memory://low").queue_type(QueueType::Quorum);
        let options =
            TaskOptions { acks_late: true, time_limit: Some(Duration::from_secs(3600)), ..TaskOptions::DEFAULT };
        let worker = Worker::builder(app.build().await.unwrap()).management_api(api).delivery_limit(5);
        let worker = worker.task_named("t.long", options, async |_, _: Context| Err(TaskError::Ignore));
        return worker.build().unwrap().run(CancellationToken::new()).await.unwrap();
    }
    let vhost = testkit::rabbitmq().await;
    vhost.policy("limit", ".*", json!({"delivery-limit": 3})).await;
    let mut command = Command::new(std::env::current_exe().unwrap());
    let test = "worker::again::what_the_broker_will_do_to_long_tasks_and_to_what_comes_back_is_said_at_the_start";
    command.args(["--exact", test, "--nocapture"]);
    command.envs(CHILD.into_iter().zip([vhost.amqp_url(), vhost.management_url()]));
    let mut worker = Process::spawn("a worker", command);
    worker.wait_for_line("so the broker's deliveries count", SOON).await;
    worker.wait_for_line("a policy (delivery-limit) lets the queue drop messages", SOON).await;
    worker.wait_for_line("the task may run longer than the broker waits for its acknowledgement", SOON).await;
}

/// RabbitMQ closes the channel of a consumer that takes too long, and delivers all again that was open on it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_longer_than_the_brokers_delivery_timeout_and_its_neighbours_run_once() {
    let (server, redis) = tokio::join!(testkit::own_rabbitmq(), testkit::redis());
    for setting in ["consumer_timeout, 1000", "channel_tick_interval, 500"] {
        server.rabbitmqctl(&["eval", &format!("application:set_env(rabbit, {setting}).")]).await;
    }
    let mut setup = Setup::memory().await;
    setup.broker = server.url().to_owned();
    setup.backend = redis.url().to_owned();
    let worker = setup.serve(|worker| worker.delivery_limit(3)).await;
    let direct = setup.app().await;
    let mut ids = Vec::new();
    for _ in 0..5 {
        ids.push(direct.send(Wait).await.unwrap().id().to_owned());
    }
    worker.log.begun_count(5).await;
    testkit::eventually(Duration::from_secs(60), async || {
        server.log().matches("delivery acknowledgement on channel").count() > 2
    })
    .await;
    worker.log.gate.add_permits(5);
    for id in &ids {
        succeeded(&direct, id).await;
    }
    worker.settled("celery").await;
    assert_eq!(worker.log.begun().len(), 5);
    worker.stop().await;
}

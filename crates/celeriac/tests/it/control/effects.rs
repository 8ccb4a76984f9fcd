//! What commands do to our worker.

use std::time::Duration;

use celeriac::control::Command;
use celeriac::events::Receiver;
use celeriac::protocol::event::{Event, EventBody};
use celeriac::protocol::{Json, State};
use celeriac::{SendOptions, WorkerBuilder};
use serde_json::json;

use super::remote::{Remote, SILENCE};
use crate::worker::on_every_broker;
use crate::worker::setup::{SOON, Serving, Setup};
use crate::worker::tasks::{Add, Limited, Log, Nothing, Wait};

async fn start(setup: &Setup, configure: impl FnOnce(WorkerBuilder<Log>) -> WorkerBuilder<Log>) -> (Serving, Remote) {
    let serving = setup.serve(configure).await;
    let remote = Remote::of(&serving.app, &["w@test"]).await;
    (serving, remote)
}

/// The first event that is the one.
async fn event(receiver: &mut Receiver, is_it: impl Fn(&Event<'static>) -> bool) -> Event<'static> {
    let found = async {
        loop {
            let events = receiver.events().await.expect("the broker is there");
            if let Some(event) = events.into_iter().find(&is_it) {
                return event;
            }
        }
    };
    tokio::time::timeout(SOON, found).await.expect("the event comes in time")
}

async fn a_terminated_task_ends_at_once_and_its_event_names_the_signal(setup: Setup) {
    let (serving, remote) = start(&setup, |worker| worker.events(true)).await;
    let mut events = Receiver::all(serving.app.broker()).await.unwrap();
    let result = serving.app.send_with(Wait, SendOptions::new().task_id("running")).await.unwrap();
    serving.log.begun_count(1).await;
    let terminate = Command::new("revoke").argument("task_id", "running").argument("terminate", 1);
    let reply = remote.ask(terminate.argument("signal", "SIGKILL")).await;
    assert_eq!(reply, json!({"ok": "terminate: running"}));
    let error = result.get(SOON).await.unwrap_err().to_string();
    assert_eq!(error, "task revoked: terminated");
    let revoked = event(&mut events, |event| event.kind() == "task-revoked").await;
    let EventBody::TaskRevoked { terminated, signum, expired, .. } = revoked.body else { unreachable!() };
    assert_eq!((terminated, signum, expired), (true, Json::Int(9), false));
    serving.settled("celery").await;
    serving.stop().await;
}

async fn a_queue_can_be_added_and_left_and_added_again(setup: Setup) {
    let (serving, remote) = start(&setup, |worker| worker).await;
    let app = &serving.app;
    for round in 0..3 {
        assert_eq!(remote.ask(Command::add_consumer("extra")).await, json!({"ok": "add consumer extra"}));
        app.send_with(Nothing, SendOptions::new().queue("extra")).await.unwrap();
        serving.log.begun_count(2 * round + 1).await;

        // What was taken from a queue that is left then is still run.
        app.send_with(Wait, SendOptions::new().queue("extra")).await.unwrap();
        serving.log.begun_count(2 * round + 2).await;
        assert_eq!(
            remote.ask(Command::cancel_consumer("extra")).await,
            json!({"ok": "no longer consuming from extra"})
        );
        serving.log.gate.add_permits(1);
        serving.settled("extra").await;
        let nobody =
            async || app.broker().queue_depth("extra").await.unwrap().is_some_and(|depth| depth.consumers == 0);
        testkit::eventually(SOON, nobody).await;
    }
    app.send_with(Nothing, SendOptions::new().queue("extra")).await.unwrap();
    let depth = app.broker().queue_depth("extra").await.unwrap().unwrap();
    assert_eq!((depth.messages, depth.consumers), (1, 0));
    serving.stop().await;
}

async fn consumed_queues_are_told_with_their_exchanges(setup: Setup) {
    let (serving, remote) = start(&setup, |worker| worker.queues(["one"])).await;
    let topic = Command::add_consumer("two").argument("exchange", "logs").argument("exchange_type", "topic");
    remote.ask(topic.argument("routing_key", "a.#")).await;
    let queues = remote.ask(Command::active_queues()).await;
    let summary = |queue: &serde_json::Value| {
        let exchange = &queue["exchange"];
        json!([queue["name"], exchange["name"], exchange["type"], queue["routing_key"], queue["durable"]])
    };
    let summaries: Vec<_> = queues.as_array().unwrap().iter().map(summary).collect();
    assert_eq!(summaries, [json!(["one", "one", "direct", "one", true]), json!(["two", "logs", "topic", "a.#", true])]);
    let bound = async || serving.app.send_with(Nothing, SendOptions::new().exchange("logs", "a.b")).await.is_ok();
    testkit::eventually(SOON, bound).await;
    serving.log.begun_count(1).await;
    serving.stop().await;
}

on_every_broker!(
    a_terminated_task_ends_at_once_and_its_event_names_the_signal,
    a_queue_can_be_added_and_left_and_added_again,
    consumed_queues_are_told_with_their_exchanges,
);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_obeys_again_after_it_has_lost_its_connection() {
    let vhost = testkit::rabbitmq().await;
    let serving = super::remote::serve(&vhost, |worker| worker).await;
    let remote = Remote::of(&serving.app, &["w@test"]).await;
    testkit::eventually(SOON, async || vhost.close_connections().await >= 2).await;
    let obeys = async || {
        let asked = remote.0.call(Command::ping(), SILENCE).await;
        match asked {
            Ok(replies) => !replies.collect().await.is_empty(),
            Err(_) => false,
        }
    };
    testkit::eventually(Duration::from_secs(60), obeys).await;
    serving.stop().await;
}

#[tokio::test]
async fn a_revoked_task_is_marked_at_once_and_never_begins() {
    let setup = Setup::memory().await;
    let (serving, remote) = start(&setup, |worker| worker.concurrency(1)).await;
    let app = &serving.app;
    app.send_with(Wait, SendOptions::new().task_id("first")).await.unwrap();
    serving.log.begun_count(1).await;
    app.send_with(Add { x: 1, y: 1 }, SendOptions::new().task_id("second")).await.unwrap();
    let later = SendOptions::new().task_id("third").countdown(Duration::from_secs(3600));
    app.send_with(Add { x: 1, y: 1 }, later).await.unwrap();
    testkit::eventually(SOON, async || serving.handle.scheduled().len() == 1).await;

    let reply = remote.ask(Command::revoke(["first", "second", "third", "elsewhere"])).await;
    assert_eq!(reply, json!({"ok": "tasks {'elsewhere', 'first', 'second', 'third'} flagged as revoked"}));
    for id in ["second", "third", "elsewhere"] {
        let meta = app.result::<()>(id).meta().await.unwrap().unwrap();
        assert_eq!(meta.state, State::Revoked, "{id}");
        assert_eq!(
            meta.result.as_str(),
            r#"{"exc_type":"TaskRevokedError","exc_message":["revoked"],"exc_module":"celery.exceptions"}"#
        );
    }
    // What runs is left alone.
    assert_eq!(app.result::<()>("first").meta().await.unwrap(), None);
    let revoked = remote.ask(Command::revoked()).await;
    assert_eq!(revoked.as_array().unwrap().len(), 4);
    serving.log.gate.add_permits(1);
    app.result::<String>("first").get(SOON).await.unwrap();
    app.send_with(Nothing, SendOptions::new().task_id("last")).await.unwrap();
    app.result::<()>("last").get(SOON).await.unwrap();
    assert_eq!(serving.log.begun(), ["first", "last"]);
    serving.stop().await;
}

#[tokio::test]
async fn a_result_is_not_overwritten_by_a_revocation_that_comes_too_late() {
    let setup = Setup::memory().await;
    let (serving, remote) = start(&setup, |worker| worker).await;
    let result = serving.app.send(Add { x: 1, y: 2 }).await.unwrap();
    assert_eq!(result.clone().typed::<i64>().get(SOON).await.unwrap(), 3);
    remote.ask(Command::revoke([result.id()])).await;
    assert_eq!(result.state().await.unwrap(), State::Success);
    serving.stop().await;
}

#[tokio::test]
async fn tasks_are_revoked_by_their_stamps() {
    let setup = Setup::memory().await;
    let (serving, remote) = start(&setup, |worker| worker).await;
    let app = &serving.app;
    let stamped = |id: &str, tenant: &str| SendOptions::new().task_id(id).stamp("tenant", tenant);
    app.send_with(Wait, stamped("running", "t-1")).await.unwrap();
    app.send_with(Wait, stamped("of another", "t-2")).await.unwrap();
    serving.log.begun_count(2).await;
    let reply = remote.ask(Command::revoke_by_stamp("tenant", ["t-1"], true)).await;
    assert_eq!(reply, json!({"ok": "headers defaultdict(<class 'set'>, {'tenant': {'t-1'}}) revoked"}));
    assert!(app.result::<()>("running").get(SOON).await.unwrap_err().to_string().contains("terminated"));
    app.send_with(Nothing, stamped("later", "t-1")).await.unwrap();
    assert!(app.result::<()>("later").get(SOON).await.unwrap_err().to_string().contains("revoked"));
    serving.log.gate.add_permits(1);
    app.result::<String>("of another").get(SOON).await.unwrap();
    serving.stop().await;
}

#[tokio::test]
async fn lifting_a_rate_limit_frees_those_that_wait_for_it() {
    let setup = Setup::memory().await;
    let (serving, remote) = start(&setup, |worker| worker).await;
    remote.ask(Command::rate_limit("t.limited", "1/h")).await;
    for _ in 0..5 {
        serving.app.send(Limited).await.unwrap();
    }
    serving.log.begun_count(1).await;
    remote.ask(Command::rate_limit("t.limited", "0")).await;
    serving.log.begun_count(5).await;
    serving.stop().await;
}

#[tokio::test]
async fn new_time_limits_count_for_tasks_that_begin_from_then_on() {
    let setup = Setup::memory().await;
    let (serving, remote) = start(&setup, |worker| worker).await;
    remote.ask(Command::time_limit("t.wait", None, Some(0.05))).await;
    let result = serving.app.send(Wait).await.unwrap();
    assert_eq!(result.get(SOON).await.unwrap_err().to_string(), "TimeLimitExceeded: 0.05");
    remote.ask(Command::time_limit("t.wait", None, None)).await;
    let result = serving.app.send(Wait).await.unwrap();
    serving.log.begun_count(2).await;
    serving.log.gate.add_permits(1);
    result.get(SOON).await.unwrap();
    serving.stop().await;
}

#[tokio::test]
async fn a_pool_that_grows_runs_more_at_once_and_takes_more_messages() {
    let setup = Setup::memory().await;
    let (serving, remote) = start(&setup, |worker| worker.concurrency(1)).await;
    for _ in 0..3 {
        serving.app.send(Wait).await.unwrap();
    }
    serving.log.begun_count(1).await;
    assert_eq!(
        remote.ask(Command::pool_shrink(1)).await["error"],
        "ValueError(\"Can't shrink pool. All processes busy!\")"
    );
    remote.ask(Command::pool_grow(2)).await;
    serving.log.begun_count(3).await;
    let told = async || {
        let stats = remote.ask(Command::stats()).await;
        stats["pool"]["max-concurrency"] == 3 && stats["prefetch_count"] == 12
    };
    testkit::eventually(SOON, told).await;
    serving.log.gate.add_permits(3);
    serving.settled("celery").await;
    assert_eq!(remote.ask(Command::pool_shrink(2)).await, json!({"ok": "pool will shrink"}));
    serving.stop().await;
}

#[tokio::test]
async fn a_pool_that_scales_follows_its_work_within_its_bounds() {
    let setup = Setup::memory().await;
    let (serving, remote) = start(&setup, |worker| worker.autoscale(3, 1)).await;
    for refused in [Command::pool_grow(1), Command::pool_shrink(1)] {
        let error = remote.ask(refused).await["error"].as_str().unwrap().to_owned();
        assert!(error.ends_with("is not supported with autoscale. Adjust autoscale range instead."), "{error}");
    }
    for _ in 0..4 {
        serving.app.send(Wait).await.unwrap();
    }
    serving.log.begun_count(3).await;
    let scaler = remote.ask(Command::stats()).await["autoscaler"].clone();
    assert_eq!(scaler, json!({"max": 3, "min": 1, "current": 3, "qty": 4}));
    assert_eq!(remote.ask(Command::autoscale(4, 2)).await, json!({"ok": "autoscale now max=4 min=2"}));
    serving.log.begun_count(4).await;
    serving.log.gate.add_permits(4);
    serving.stop().await;
}

#[tokio::test]
async fn task_events_are_switched_on_and_off_unless_the_worker_was_started_with_them() {
    let setup = Setup::memory().await;
    let (serving, remote) = start(&setup, |worker| worker).await;
    let mut events = Receiver::all(serving.app.broker()).await.unwrap();
    let run = async |id: &str| {
        serving.app.send_with(Nothing, SendOptions::new().task_id(id)).await.unwrap();
        serving.app.result::<()>(id).get(SOON).await.unwrap();
    };
    run("before").await;
    remote.ask(Command::enable_events()).await;
    run("during").await;
    let first = event(&mut events, |event| event.kind().starts_with("task-")).await;
    assert_eq!((first.kind(), first.body.uuid()), ("task-received", Some("during")));
    remote.ask(Command::disable_events()).await;
    run("after").await;
    remote.ask(Command::enable_events()).await;
    run("again").await;
    let next = event(&mut events, |event| event.body.uuid().is_some_and(|uuid| uuid != "during")).await;
    assert_eq!(next.body.uuid(), Some("again"));
    serving.stop().await;

    let (serving, remote) = start(&setup, |worker| worker.events(true)).await;
    assert_eq!(remote.ask(Command::disable_events()).await, json!({"ok": "task events already disabled"}));
    assert_eq!(remote.ask(Command::enable_events()).await, json!({"ok": "task events already enabled"}));
    let mut events = Receiver::all(serving.app.broker()).await.unwrap();
    serving.app.send(Nothing).await.unwrap();
    event(&mut events, |event| event.kind() == "task-succeeded").await;
    serving.stop().await;
}

#[tokio::test]
async fn a_heartbeat_that_is_asked_for_comes_at_once_and_tells_no_numbers() {
    let setup = Setup::memory().await;
    let (serving, remote) = start(&setup, |worker| worker).await;
    let mut events = Receiver::workers(serving.app.broker()).await.unwrap();
    remote.ask(Command::heartbeat()).await;
    let asked = event(
        &mut events,
        |event| matches!(&event.body, EventBody::WorkerHeartbeat(status) if status.active.is_none()),
    );
    let EventBody::WorkerHeartbeat(status) = asked.await.body else { unreachable!() };
    assert_eq!((status.freq, status.processed, status.loadavg), (5.0, None, None));
    serving.stop().await;
}

#[tokio::test]
async fn shutdown_is_warm_and_answers_nothing() {
    let setup = Setup::memory().await;
    let (serving, remote) = start(&setup, |worker| worker).await;
    let mut events = Receiver::workers(serving.app.broker()).await.unwrap();
    let result = serving.app.send(Wait).await.unwrap();
    serving.log.begun_count(1).await;
    assert_eq!(remote.all(Command::shutdown(), SILENCE).await, []);
    event(&mut events, |event| event.kind() == "worker-offline").await;
    serving.log.gate.add_permits(1);
    assert_eq!(result.clone().typed::<String>().get(SOON).await.unwrap(), "waited");
    serving.ended().await;
}

#[tokio::test]
async fn a_worker_without_remote_control_answers_nobody() {
    let setup = Setup::memory().await;
    let serving = setup.serve(|worker| worker.remote_control(false)).await;
    serving.app.send(Nothing).await.unwrap();
    serving.log.begun_count(1).await;
    assert_eq!(Remote::new(&serving.app).all(Command::ping(), SILENCE).await, []);
    serving.stop().await;
}

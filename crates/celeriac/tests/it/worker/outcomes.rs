//! What is stored and what becomes of the message, for the ways to end that no captured flow shows.

use std::time::Duration;

use celeriac::protocol::{Compression, State};
use celeriac::{Failure, GetError, QueueDefinition, SendOptions};
use serde_json::{Value, json};

use super::on_every_broker;
use super::setup::{SOON, Serving, Setup, drain, listen};
use super::tasks::*;

on_every_broker!(
    a_value_is_stored_and_the_message_acknowledged,
    a_panic_is_a_failure_and_the_worker_goes_on,
    a_value_that_cannot_be_written_is_a_failure,
    an_error_that_was_not_foreseen_is_a_failure_unless_the_task_retries_by_itself,
    a_failure_that_does_not_count_as_done_goes_to_the_dead_letter_queue,
    a_message_given_back_comes_again,
    a_child_knows_its_parent_and_the_parent_its_child,
    a_body_knows_the_whole_request,
    a_compressed_message_is_read,
    a_body_that_listens_ends_by_itself_at_its_soft_limit,
    a_terminated_body_is_dropped,
    a_task_revoked_while_it_waits_for_its_eta_never_begins,
    tasks_that_wait_for_their_eta_keep_no_other_from_running,
    a_task_sent_twice_under_one_id_runs_twice_and_its_first_success_stays,
    a_worker_says_that_it_is_there_that_it_lives_and_that_it_goes,
    tasks_begin_no_faster_than_their_rate_limit,
    a_task_acknowledged_early_is_off_the_queue_while_it_runs,
    with_one_slot_tasks_run_in_the_order_of_their_messages,
    no_more_bodies_run_at_once_than_the_concurrency_says,
);

async fn failure_of(worker: &Serving, id: &str) -> Failure {
    let meta = worker.meta_when(id, |meta| meta.state.is_ready()).await;
    assert_eq!(meta.state, State::Failure);
    meta.exception_info().unwrap()
}

async fn a_value_is_stored_and_the_message_acknowledged(setup: Setup) {
    let worker = setup.serve(|worker| worker).await;
    let result = worker.app.send(Add { x: 2, y: 3 }).await.unwrap().typed::<i64>();
    assert_eq!(result.get(SOON).await.unwrap(), 5);
    worker.settled("celery").await;
    worker.stop().await;
}

async fn a_panic_is_a_failure_and_the_worker_goes_on(setup: Setup) {
    let worker = setup.serve(|worker| worker).await;
    let result = worker.app.send(Panic).await.unwrap();
    let Err(GetError::Failed(failure)) = result.get(SOON).await else { panic!("it panicked") };
    assert_eq!((failure.exc_type.as_str(), failure.exc_message), ("Panic", vec![json!("out of cheese")]));
    let after = worker.app.send(Add { x: 1, y: 1 }).await.unwrap().typed::<i64>();
    assert_eq!(after.get(SOON).await.unwrap(), 2);
    worker.settled("celery").await;
    worker.stop().await;
}

async fn a_value_that_cannot_be_written_is_a_failure(setup: Setup) {
    let worker = setup.serve(|worker| worker).await;
    let result = worker.app.send(Unwritable).await.unwrap();
    let failure = failure_of(&worker, result.id()).await;
    assert_eq!((failure.exc_type.as_str(), failure.exc_module.as_str()), ("EncodeError", "kombu.exceptions"));
    worker.stop().await;
}

async fn an_error_that_was_not_foreseen_is_a_failure_unless_the_task_retries_by_itself(setup: Setup) {
    let worker = setup.serve(|worker| worker).await;
    let fails = worker.app.send(Unexpected).await.unwrap();
    let retries = worker.app.send(Autoretry).await.unwrap();
    for result in [&fails, &retries] {
        let failure = failure_of(&worker, result.id()).await;
        assert_eq!(failure.exc_type, "ParseIntError");
        assert_eq!(failure.exc_message, [json!("invalid digit found in string")]);
    }
    assert_eq!(worker.log.begun(), [retries.id(), retries.id()], "once, and once more");
    worker.settled("celery").await;
    worker.stop().await;
}

async fn a_failure_that_does_not_count_as_done_goes_to_the_dead_letter_queue(setup: Setup) {
    let queue = QueueDefinition::new("letters")
        .argument("x-dead-letter-exchange", "")
        .argument("x-dead-letter-routing-key", "dead");
    let worker = setup.serve_app(setup.builder().queue(queue), |worker| worker.queues(["letters"])).await;
    worker.app.declare_queue("dead").await.unwrap();
    let options = SendOptions::new().queue("letters");
    let result = worker.app.send_with(FailUnacknowledged, options).await.unwrap();
    let failure = failure_of(&worker, result.id()).await;
    assert_eq!(failure.exc_message, [json!("insufficient funds"), json!(402)]);
    let dead = drain(&worker.app, "dead", 1).await;
    assert_eq!(dead[0].message.properties.correlation_id.as_deref(), Some(result.id()));
    worker.settled("letters").await;
    worker.stop().await;
}

async fn a_message_given_back_comes_again(setup: Setup) {
    let worker = setup.serve(|worker| worker).await;
    let result = worker.app.send(Reject { requeue: true }).await.unwrap().typed::<String>();
    assert_eq!(result.get(SOON).await.unwrap(), "came again");
    assert_eq!(worker.log.begun().len(), 2);
    worker.settled("celery").await;
    worker.stop().await;
}

async fn a_child_knows_its_parent_and_the_parent_its_child(setup: Setup) {
    let worker = setup.serve(|worker| worker).await;
    let root = worker.app.send(Parent).await.unwrap().typed::<String>();
    let child = root.get(SOON).await.unwrap();
    let meta = worker.meta_when(&child, |meta| meta.state.is_ready()).await;
    assert_eq!(meta.parent_id.as_deref(), Some(root.id()));
    let children = root.meta().await.unwrap().unwrap().children.unwrap();
    assert_eq!(children.iter().map(|child| child.id.as_str()).collect::<Vec<_>>(), [child.as_str()]);
    // Where nothing is stored, nothing is kept to be stored.
    worker.app.send_with(Parent, SendOptions::new().ignore_result(true)).await.unwrap();
    testkit::eventually(SOON, async || worker.log.remembered.lock().len() == 2).await;
    assert_eq!(*worker.log.remembered.lock(), [1, 0]);

    let asked = worker.app.send_with(AskRequest, SendOptions::new().root_id("r").parent_id("p")).await.unwrap();
    let request = asked.typed::<Value>().get(SOON).await.unwrap();
    assert_eq!((&request["root_id"], &request["parent_id"]), (&json!("r"), &json!("p")));
    worker.stop().await;
}

async fn a_body_knows_the_whole_request(setup: Setup) {
    let worker = setup.serve(|worker| worker).await;
    let options = SendOptions::new().priority(7).group("g", Some(3)).header("tenant", "cinema");
    let result = worker.app.send_with(AskRequest, options).await.unwrap();
    let id = result.id().to_owned();
    let request = result.typed::<Value>().get(SOON).await.unwrap();
    let expected = json!({
        "id": id, "root_id": id, "parent_id": null, "group": "g", "retries": 0, "hostname": "w@test",
        "routing_key": "celery", "redelivered": false, "priority": 7, "tenant": "cinema", "has_deadline": true,
    });
    assert_eq!(request, expected);
    worker.stop().await;
}

async fn a_compressed_message_is_read(setup: Setup) {
    let worker = setup.serve(|worker| worker).await;
    let value = json!(["x".repeat(5000), 1]);
    let options = SendOptions::new().compression(Compression::Gzip);
    let result = worker.app.send_with(Echo { value: value.clone() }, options).await.unwrap().typed::<Value>();
    assert_eq!(result.get(SOON).await.unwrap(), value);
    worker.stop().await;
}

async fn a_body_that_listens_ends_by_itself_at_its_soft_limit(setup: Setup) {
    let worker = setup.serve(|worker| worker).await;
    let limits = || {
        let soft = SendOptions::new().soft_time_limit(Duration::from_millis(50));
        soft.time_limit(Duration::from_millis(500))
    };
    let listen = |then: &str| worker.app.send_with(Listen { then: then.to_owned() }, limits());
    let finishes = listen("finish").await.unwrap().typed::<String>();
    let gives_up = listen("give up").await.unwrap();
    let hangs = listen("hang").await.unwrap();
    assert_eq!(finishes.get(SOON).await.unwrap(), "cleaned up");
    assert_eq!(failure_of(&worker, gives_up.id()).await.exc_type, "SoftTimeLimitExceeded");
    let failure = failure_of(&worker, hangs.id()).await;
    assert_eq!((failure.exc_type.as_str(), failure.exc_message), ("TimeLimitExceeded", vec![json!(0.5)]));
    worker.stop().await;
}

async fn a_terminated_body_is_dropped(setup: Setup) {
    let worker = setup.serve(|worker| worker).await;
    let result = worker.app.send(Wait).await.unwrap();
    worker.log.begun_count(1).await;
    assert_eq!(worker.handle.active().len(), 1);
    worker.handle.revoke(result.id(), true);
    assert!(matches!(result.get(SOON).await, Err(GetError::Revoked(reason)) if reason == "terminated"));
    assert_eq!(worker.handle.active().len(), 0);
    worker.settled("celery").await;
    worker.stop().await;
}

async fn a_task_revoked_while_it_waits_for_its_eta_never_begins(setup: Setup) {
    // The broker would keep it for most of that time.
    let app = setup.builder().native_delayed_delivery(false);
    let worker = setup.serve_app(app, |worker| worker).await;
    // Long enough for a slow machine to see that it waits.
    let options = SendOptions::new().countdown(Duration::from_secs(2));
    let result = worker.app.send_with(Nothing, options).await.unwrap();
    testkit::eventually(SOON, async || worker.handle.scheduled().len() == 1).await;
    worker.handle.revoke(result.id(), false);
    assert_eq!(worker.handle.revoked(), [result.id()]);
    assert!(matches!(result.get(SOON).await, Err(GetError::Revoked(reason)) if reason == "revoked"));
    assert!(worker.log.begun().is_empty());
    worker.settled("celery").await;
    worker.stop().await;
}

async fn tasks_that_wait_for_their_eta_keep_no_other_from_running(setup: Setup) {
    let app = setup.builder().native_delayed_delivery(false);
    let worker = setup.serve_app(app, |worker| worker.concurrency(1).prefetch_multiplier(1)).await;
    let later = SendOptions::new().countdown(Duration::from_secs(60));
    for _ in 0..20 {
        worker.app.send_with(Wait, later.clone()).await.unwrap();
    }
    let now = worker.app.send(Add { x: 1, y: 1 }).await.unwrap().typed::<i64>();
    assert_eq!(now.get(SOON).await.unwrap(), 2);
    assert_eq!(worker.handle.scheduled().len(), 20);
    worker.stop().await;
}

async fn a_task_sent_twice_under_one_id_runs_twice_and_its_first_success_stays(setup: Setup) {
    let worker = setup.serve(|worker| worker.concurrency(1)).await;
    let id = uuid::Uuid::new_v4().to_string();
    for x in [1, 10] {
        worker.app.send_with(Add { x, y: 1 }, SendOptions::new().task_id(&id)).await.unwrap();
    }
    worker.log.begun_count(2).await;
    worker.settled("celery").await;
    assert_eq!(worker.app.result::<i64>(&id).get(SOON).await.unwrap(), 2);
    worker.stop().await;
}

async fn a_worker_says_that_it_is_there_that_it_lives_and_that_it_goes(setup: Setup) {
    let app = setup.app().await;
    let (exchange, key) = (celeriac::protocol::event::EVENT_EXCHANGE, "worker.#");
    listen(&app, exchange, key, "news").await;
    let worker = setup.serve(|worker| worker).await;
    worker.app.send(Add { x: 1, y: 1 }).await.unwrap().get(SOON).await.unwrap();
    let mut news = drain(&app, "news", 2).await;
    worker.stop().await;
    while news.last().unwrap().routing_key != "worker.offline" {
        news.extend(drain(&app, "news", 1).await);
    }
    let keys: Vec<_> = news.iter().map(|event| event.routing_key.as_str()).collect();
    assert_eq!((keys[0], keys[1]), ("worker.online", "worker.heartbeat"));
    let first: Value = serde_json::from_slice(&news[0].message.body).unwrap();
    let last: Value = serde_json::from_slice(&news[news.len() - 1].message.body).unwrap();
    assert_eq!((&first["hostname"], &first["freq"]), (&json!("w@test"), &json!(2.0)));
    // It may say that it is there a little later than it takes the task.
    assert!(first["processed"].as_u64().is_some_and(|processed| processed <= 1), "{first}");
    assert_eq!((&last["active"], &last["processed"]), (&json!(0), &json!(1)));
    assert!(last["clock"].as_u64() > first["clock"].as_u64());
}

async fn tasks_begin_no_faster_than_their_rate_limit(setup: Setup) {
    let worker = setup.serve(|worker| worker).await;
    let begin = tokio::time::Instant::now();
    for _ in 0..4 {
        worker.app.send(Limited).await.unwrap();
    }
    worker.log.begun_count(4).await;
    assert!(begin.elapsed() >= Duration::from_millis(300), "{:?}", begin.elapsed());
    assert!(worker.handle.rate_limit("t.limited", None));
    assert!(!worker.handle.rate_limit("t.unknown", None));
    worker.settled("celery").await;
    worker.stop().await;
}

async fn a_task_acknowledged_early_is_off_the_queue_while_it_runs(setup: Setup) {
    let worker = setup.serve(|worker| worker).await;
    let early = worker.app.send(WaitEarly).await.unwrap();
    worker.log.begun_count(1).await;
    worker.settled("celery").await;
    assert!(worker.handle.active()[0].acknowledged);
    let late = worker.app.send(Wait).await.unwrap();
    worker.log.begun_count(2).await;
    assert_eq!(worker.handle.unacknowledged(), 1);
    worker.log.gate.add_permits(2);
    for result in [early, late] {
        result.get(SOON).await.unwrap();
    }
    worker.settled("celery").await;
    worker.stop().await;
}

async fn with_one_slot_tasks_run_in_the_order_of_their_messages(setup: Setup) {
    let worker = setup.serve(|worker| worker.concurrency(1)).await;
    let mut sent = Vec::new();
    for _ in 0..100 {
        sent.push(worker.app.send(Add { x: 1, y: 1 }).await.unwrap().id().to_owned());
    }
    worker.log.begun_count(100).await;
    assert_eq!(worker.log.begun(), sent);
    worker.stop().await;
}

async fn no_more_bodies_run_at_once_than_the_concurrency_says(setup: Setup) {
    let worker = setup.serve(|worker| worker.concurrency(3).prefetch_multiplier(2)).await;
    for _ in 0..10 {
        worker.app.send(Wait).await.unwrap();
    }
    worker.log.begun_count(3).await;
    testkit::eventually(SOON, async || worker.handle.reserved().len() == 3).await;
    assert_eq!(worker.handle.active().len(), 3);
    assert_eq!(worker.handle.unacknowledged(), 6, "prefetch is concurrency times the multiplier");
    worker.log.gate.add_permits(10);
    worker.log.begun_count(10).await;
    worker.settled("celery").await;
    assert_eq!(worker.handle.totals(), [("t.wait".to_owned(), 10)]);
    assert_eq!(worker.handle.processed(), 10);
    worker.stop().await;
}

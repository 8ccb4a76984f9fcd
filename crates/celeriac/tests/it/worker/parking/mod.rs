//! What no worker can do anything with is parked, and goes back when somebody says so.

mod broken;
mod poison;

use std::collections::HashSet;

use celeriac::broker::Publication;
use celeriac::parking::{ParkedMessage, Reason, Selection};
use celeriac::protocol::{Headers, Message, State, Value};
use celeriac::{App, GetError, SendOptions, TaskOptions, WorkerBuilder};
use serde_json::json;

use super::on_every_broker;
use super::setup::{SOON, Serving, Setup, drain, listen};
use super::tasks::*;

on_every_broker!(
    what_cannot_be_read_is_parked_as_it_was,
    a_task_that_is_not_known_is_parked_and_runs_when_it_is_requeued_where_it_is,
    some_are_requeued_some_are_discarded_and_the_rest_stays,
    a_message_that_came_through_an_exchange_goes_back_through_it_or_else_to_its_queue,
);

/// The name of a task that no worker here knows, unless a test registers it.
const NEW: &str = "t.new";

/// A worker that parks.
async fn serve(setup: &Setup, configure: impl FnOnce(WorkerBuilder<Log>) -> WorkerBuilder<Log>) -> Serving {
    setup.serve(|worker| configure(worker.parking(true))).await
}

/// Registers a task that says whether it was delivered before.
fn knows_it(worker: WorkerBuilder<Log>) -> WorkerBuilder<Log> {
    let options = TaskOptions { acks_late: true, ..TaskOptions::DEFAULT };
    worker.task_named(NEW, options, async |_, cx: celeriac::Context<Log>| {
        Ok(celeriac::protocol::RawJson::of(&json!({"again": cx.redelivered()})).unwrap())
    })
}

/// What is parked, once it is so much.
async fn parked(app: &App, count: usize) -> Vec<ParkedMessage> {
    let parking = app.parking("celery");
    waiting(app, &parking.name(), count).await;
    let list = parking.list(100).await.unwrap();
    assert_eq!(list.len(), count, "{list:?}");
    // Whoever looks takes nothing away.
    waiting(app, &parking.name(), count).await;
    list
}

/// Waits until so many messages wait in a queue.
async fn waiting(app: &App, queue: &str, count: usize) {
    testkit::eventually(SOON, async || {
        let depth = app.broker().queue_depth(queue).await.unwrap().map_or(0, |depth| depth.messages);
        if depth == count as u64 { Ok(()) } else { Err((queue.to_owned(), depth)) }
    })
    .await;
}

async fn send_new(app: &App, id: &str) {
    app.send_named(NEW, json!([1]), json!({}), SendOptions::new().task_id(id)).await.unwrap();
}

async fn what_cannot_be_read_is_parked_as_it_was(setup: Setup) {
    let worker = serve(&setup, |worker| worker).await;
    let mut message = Message { body: "{\"no json".into(), ..Message::default() };
    message.properties.content_type = Some("application/json".to_owned());
    message.properties.correlation_id = Some("its id".to_owned());
    message.properties.priority = Some(2);
    message.properties.expiration = Some(3_600_000);
    let mut nested = Headers::default();
    nested.insert("deep", vec![1, 2]);
    for (name, value) in [("task", "t.add".into()), ("id", "its id".into()), ("mine", Value::Table(nested))] {
        message.headers.insert(name, value);
    }
    let routing_key = "celery".to_owned();
    let publication = Publication { exchange: "celery".to_owned(), routing_key, mandatory: true, message };
    worker.app.declare_queue("celery").await.unwrap();
    worker.app.broker().publish(publication.clone()).await.unwrap();

    let list = parked(&worker.app, 1).await;
    let [ParkedMessage { id, task, reason, error, queue, exchange, routing_key, since, worker: by, .. }] = &*list
    else {
        panic!("{list:?}")
    };
    assert_eq!((id.as_deref(), task.as_deref(), reason), (Some("its id"), Some("t.add"), &Reason::Undecodable));
    assert!(error.contains("not JSON"), "{error}");
    assert_eq!((queue.as_str(), exchange.as_str(), routing_key.as_str()), ("celery", "celery", "celery"));
    assert_eq!(by.as_deref(), Some("w@test"));
    assert!(celeriac::clock::now() - since.unwrap() < chrono::TimeDelta::minutes(1));
    worker.settled("celery").await;
    worker.stop().await;

    let app = setup.app().await;
    let there = drain(&app, "celery.parked", 1).await.remove(0).message;
    assert_eq!((&there.body, there.properties.expiration), (&publication.message.body, None));
    assert_eq!(there.headers.get("mine"), publication.message.headers.get("mine"));
    app.broker()
        .publish(Publication {
            exchange: String::new(),
            routing_key: "celery.parked".into(),
            mandatory: true,
            message: there,
        })
        .await
        .unwrap();
    assert_eq!(app.parking("celery").requeue(&Selection::all()).await.unwrap(), 1);
    let back = drain(&app, "celery", 1).await.remove(0);
    assert_eq!((back.exchange.as_str(), back.routing_key.as_str(), back.redelivered), ("celery", "celery", false));
    // As it was, but for how often it was sent back.
    assert_eq!(back.message.headers.get("x-parked-returned"), Some(&Value::from(1)));
    let sorted = |message: &Message| {
        let mut message = message.clone();
        let headers = std::mem::take(&mut message.headers).into_iter();
        let mut headers: Vec<_> = headers.filter(|(name, _)| name != "x-parked-returned").collect();
        headers.sort_by(|one, other| one.0.cmp(&other.0));
        (message, headers)
    };
    assert_eq!(sorted(&back.message), sorted(&publication.message));
}

async fn a_task_that_is_not_known_is_parked_and_runs_when_it_is_requeued_where_it_is(setup: Setup) {
    let worker = serve(&setup, |worker| worker).await;
    send_new(&worker.app, "n").await;
    let result = worker.app.result::<serde_json::Value>("n");
    // Whoever waits for it is told, as by Celery.
    let Err(GetError::Failed(failure)) = result.get(SOON).await else { panic!("nobody knows it") };
    assert_eq!((failure.exc_type.as_str(), failure.exc_message), ("NotRegistered", vec![json!(NEW)]));
    let list = parked(&worker.app, 1).await;
    assert_eq!((list[0].reason.clone(), list[0].task.as_deref()), (Reason::UnknownTask, Some(NEW)));
    assert_eq!(list[0].argsrepr.as_deref(), Some("(1,)"));
    worker.settled("celery").await;
    worker.stop().await;

    let worker = serve(&setup, knows_it).await;
    assert_eq!(worker.app.parking("celery").requeue(&Selection::all()).await.unwrap(), 1);
    let meta = worker.meta_when("n", |meta| meta.state == State::Success).await;
    assert_eq!(meta.result.to_string(), r#"{"again":false}"#);
    worker.settled("celery").await;
    parked(&worker.app, 0).await;
    worker.stop().await;
}

async fn some_are_requeued_some_are_discarded_and_the_rest_stays(setup: Setup) {
    let worker = serve(&setup, |worker| worker).await;
    for id in ["a", "b", "c", "d"] {
        send_new(&worker.app, id).await;
    }
    worker.app.send_named("t.other", json!([]), json!({}), SendOptions::new().task_id("e")).await.unwrap();
    parked(&worker.app, 5).await;
    worker.stop().await;

    let app = setup.app().await;
    let parking = app.parking("celery");
    assert_eq!(parking.requeue(&Selection::all().ids(["a", "nobody"])).await.unwrap(), 1);
    assert_eq!(parking.requeue(&Selection::all().task("t.other")).await.unwrap(), 1);
    assert_eq!(parking.discard(&Selection::all().ids(["b", "e"]).task(NEW)).await.unwrap(), 1);
    let rest: HashSet<_> = parked(&app, 2).await.into_iter().map(|message| message.id.unwrap()).collect();
    assert_eq!(rest, HashSet::from(["c".to_owned(), "d".to_owned()]));
    waiting(&app, "celery", 2).await;
    assert_eq!(app.parking("nowhere").list(10).await.unwrap(), []);
    assert_eq!(parking.discard(&Selection::all()).await.unwrap(), 2);
    assert_eq!(parking.requeue(&Selection::all()).await.unwrap(), 0);
}

async fn a_message_that_came_through_an_exchange_goes_back_through_it_or_else_to_its_queue(setup: Setup) {
    // Declares the queues.
    let worker = serve(&setup, |worker| worker).await;
    testkit::eventually(SOON, async || {
        worker.app.broker().queue_depth("celery").await.unwrap().is_some_and(|depth| depth.consumers == 1)
    })
    .await;
    worker.stop().await;
    let app = setup.app().await;
    listen(&app, "news", "eu.#", "elsewhere").await;
    for (id, exchange, routing_key, queue) in
        [("known", "news", "eu.de", "elsewhere"), ("gone", "nowhere", "key", "celery")]
    {
        let mut message = Message { body: "?".into(), ..Message::default() };
        for (name, value) in [("id", id), ("x-parked-exchange", exchange), ("x-parked-routing-key", routing_key)] {
            message.headers.insert(name, value);
        }
        let routing_key = "celery.parked".to_owned();
        let publication = Publication { exchange: String::new(), routing_key, mandatory: true, message };
        app.broker().publish(publication).await.unwrap();
        assert_eq!(app.parking("celery").requeue(&Selection::all()).await.unwrap(), 1);
        let there = drain(&app, queue, 1).await.remove(0).message;
        let headers = [("id", &Value::from(id)), ("x-parked-returned", &Value::from(1))];
        assert_eq!(there.headers.iter().collect::<Vec<_>>(), headers);
    }
}

//! The application as a sender.

mod size;

use std::time::Duration;

use celeriac::broker::{BrokerError, ExchangeKind, Topology};
use celeriac::protocol::{DeliveryMode, State, TaskMessage, Value};
use celeriac::{App, BuildError, GetError, QueueDefinition, QueueType, Route, SendError, SendOptions, Task};
use serde::{Deserialize, Serialize};
use serde_json::json;
use testkit::FaultProxy;

use crate::worker::on_every_broker;
use crate::worker::setup::{SOON, Setup, drain, listen};
use crate::worker::tasks::Add;

on_every_broker!(
    a_task_is_sent_as_celery_sends_it,
    options_are_in_the_message,
    a_task_goes_where_the_sender_says_then_the_task_then_the_route_then_to_the_default_queue,
    a_queue_behind_a_topic_exchange_is_reached_through_it,
    a_route_may_say_the_routing_key_and_a_function_may_say_the_route,
    a_task_that_no_queue_takes_is_an_error,
    many_tasks_are_answered_in_their_order_and_each_for_itself,
    a_queue_that_exists_with_other_arguments_is_refused,
    after_close_nothing_is_sent,
    a_queue_that_somebody_has_deleted_is_declared_again,
    every_task_that_is_sent_is_announced_if_asked_for,
);

#[derive(Task, Serialize, Deserialize, Clone)]
#[task(name = "shop.order", priority = 3, time_limit = "20s", soft_time_limit = "1500ms")]
struct Order {
    item: String,
    count: u32,
}

#[derive(Task, Serialize, Deserialize)]
#[task(name = "shop.invoice", queue = "invoices", expires = "2m")]
struct Invoice {}

fn order() -> Order {
    Order { item: "tea".into(), count: 2 }
}

async fn a_task_is_sent_as_celery_sends_it(setup: Setup) {
    let app = setup.app().await;
    let id = app.send(order()).await.unwrap().id().to_owned();
    let sent = drain(&app, "celery", 1).await.remove(0);
    assert_eq!((sent.exchange.as_str(), sent.routing_key.as_str()), ("", "celery"));
    let properties = sent.message.properties;
    assert_eq!(properties.content_type.as_deref(), Some("application/json"));
    assert_eq!(properties.content_encoding.as_deref(), Some("utf-8"));
    assert_eq!(properties.delivery_mode, DeliveryMode::Persistent);
    assert_eq!(properties.priority, Some(3));
    assert_eq!(properties.correlation_id.as_deref(), Some(id.as_str()));
    assert!(properties.reply_to.is_some());
    let headers = sent.message.headers;
    for (name, value) in [
        ("lang", Value::from("py")),
        ("task", "shop.order".into()),
        ("id", id.as_str().into()),
        ("root_id", id.as_str().into()),
        ("parent_id", Value::Null),
        ("eta", Value::Null),
        ("expires", Value::Null),
        ("retries", Value::Int(0)),
        ("timelimit", Value::List(vec![Value::Int(20), Value::Float(1.5)])),
        ("kwargsrepr", "{'item': 'tea', 'count': 2}".into()),
        ("ignore_result", Value::Bool(false)),
        ("stamped_headers", Value::Null),
    ] {
        assert_eq!(headers.get(name), Some(&value), "{name}");
    }
    let origin = headers.get("origin").and_then(Value::as_str).unwrap();
    assert!(origin.starts_with(&format!("gen{}@", std::process::id())), "{origin}");
    assert_eq!(headers.len(), 19);
    let body: serde_json::Value = serde_json::from_slice(&sent.message.body).unwrap();
    let embed = json!({"callbacks": null, "errbacks": null, "chain": null, "chord": null});
    assert_eq!(body, json!([[], {"item": "tea", "count": 2}, embed]));
}

async fn options_are_in_the_message(setup: Setup) {
    let app = setup.builder().native_delayed_delivery(false).build().await.unwrap();
    let now = celeriac::clock::now();
    let options = SendOptions::new()
        .task_id("its-own")
        .countdown(Duration::from_secs(60))
        .expires(Duration::from_secs(120))
        .priority(9)
        .header("tenant", "cinema")
        .group("g", Some(2))
        .shadow("shown")
        .ignore_result(true)
        .time_limit(Duration::from_secs(5))
        .stamp("shift", "night");
    assert_eq!(app.send_with(order(), options).await.unwrap().id(), "its-own");
    let message = drain(&app, "celery", 1).await.remove(0).message;
    assert_eq!(message.properties.priority, Some(9));
    assert!((119_000..=120_000).contains(&message.properties.expiration.unwrap()));
    let time = |name| {
        let text = message.headers.get(name).and_then(Value::as_str).unwrap();
        (celeriac::protocol::parse_time(text).unwrap().to_utc() - now).num_seconds()
    };
    assert!((60..=61).contains(&time("eta")) && (120..=121).contains(&time("expires")));
    for (name, value) in [
        ("id", Value::from("its-own")),
        ("tenant", "cinema".into()),
        ("group", "g".into()),
        ("group_index", Value::Int(2)),
        ("shadow", "shown".into()),
        ("ignore_result", Value::Bool(true)),
        ("timelimit", Value::List(vec![Value::Int(5), Value::Float(1.5)])),
        ("stamped_headers", Value::List(vec!["shift".into()])),
    ] {
        assert_eq!(message.headers.get(name), Some(&value), "{name}");
    }

    app.send(Invoice {}).await.unwrap();
    let invoice = drain(&app, "invoices", 1).await.remove(0).message;
    assert!((119_000..=120_000).contains(&invoice.properties.expiration.unwrap()), "the task's own expiry");
}

async fn a_task_goes_where_the_sender_says_then_the_task_then_the_route_then_to_the_default_queue(setup: Setup) {
    let builder = setup.builder().default_queue("default").route("shop.*", Route::queue("routed"));
    let app = builder.build().await.unwrap();
    app.send_named("other.task", json!([]), json!({}), SendOptions::new()).await.unwrap();
    app.send(order()).await.unwrap();
    app.send(Invoice {}).await.unwrap();
    app.send_with(Invoice {}, SendOptions::new().queue("said")).await.unwrap();
    for (queue, task) in
        [("default", "other.task"), ("routed", "shop.order"), ("invoices", "shop.invoice"), ("said", "shop.invoice")]
    {
        let sent = drain(&app, queue, 1).await.remove(0);
        assert_eq!(sent.message.headers.get("task"), Some(&Value::from(task)), "{queue}");
        let depth = app.broker().queue_depth(queue).await.unwrap().unwrap();
        assert_eq!(depth.messages, 0, "{queue}");
    }
}

async fn a_queue_behind_a_topic_exchange_is_reached_through_it(setup: Setup) {
    let audit = QueueDefinition::new("audit").exchange("logs", ExchangeKind::Topic, "audit.#");
    let builder = setup.builder().queue(audit).route("log.*", Route::exchange("logs", "audit.eu"));
    let app = builder.build().await.unwrap();
    app.declare_queue("audit").await.unwrap();
    app.send_named("log.write", json!([1]), json!({}), SendOptions::new()).await.unwrap();
    let sent = drain(&app, "audit", 1).await.remove(0);
    assert_eq!((sent.exchange.as_str(), sent.routing_key.as_str()), ("logs", "audit.eu"));
    let direct = SendOptions::new().exchange("logs", "nobody.listens");
    let error = app.send_with(order(), direct).await.unwrap_err();
    assert!(matches!(error, SendError::Unroutable { .. }), "{error:?}");
}

async fn a_route_may_say_the_routing_key_and_a_function_may_say_the_route(setup: Setup) {
    let audit = QueueDefinition::new("audit").exchange("logs", ExchangeKind::Topic, "audit.#");
    let app =
        setup.builder().queue(audit).route_regex("log\\.(write|read)", Route::queue("audit").routing_key("audit.eu"));
    let by_tenant = |message: &TaskMessage| {
        let tenant = message.headers.get("tenant").and_then(Value::as_str)?;
        Some(Route::queue(format!("of-{tenant}")))
    };
    let app = app.router(by_tenant).build().await.unwrap();
    let send = async |name: &str, options| app.send_named(name, json!([]), json!({}), options).await.unwrap();
    send("log.write", SendOptions::new()).await;
    let sent = drain(&app, "audit", 1).await.remove(0);
    assert_eq!((sent.exchange.as_str(), sent.routing_key.as_str()), ("logs", "audit.eu"));
    send("other", SendOptions::new().header("tenant", "cinema")).await;
    assert_eq!(drain(&app, "of-cinema", 1).await.len(), 1);
    send("other", SendOptions::new().header("tenant", "cinema").queue("said")).await;
    assert_eq!(drain(&app, "said", 1).await.len(), 1);
}

#[tokio::test]
async fn a_route_with_a_pattern_that_cannot_be_read_is_no_application() {
    let setup = Setup::memory().await;
    let error = setup.builder().route_regex("shop(", Route::queue("shop")).build().await.unwrap_err();
    assert!(matches!(error, BuildError::Route(_)), "{error}");
}

async fn a_task_that_no_queue_takes_is_an_error(setup: Setup) {
    let app = setup.app().await;
    let error = app.send_with(order(), SendOptions::new().exchange("", "nowhere")).await.unwrap_err();
    let SendError::Unroutable { exchange, routing_key } = error else { panic!("{error:?}") };
    assert_eq!((exchange.as_str(), routing_key.as_str()), ("", "nowhere"));
}

async fn many_tasks_are_answered_in_their_order_and_each_for_itself(setup: Setup) {
    let app = setup.app().await;
    let tasks = (0..50).map(|number| {
        let options = SendOptions::new().task_id(number.to_string());
        (order(), if number % 10 == 7 { options.exchange("", "nowhere") } else { options })
    });
    let answers = app.send_many(tasks).await;
    assert_eq!(answers.len(), 50);
    for (number, answer) in answers.into_iter().enumerate() {
        match answer {
            Ok(result) => assert_eq!(result.id(), number.to_string()),
            Err(error) => {
                assert!(number % 10 == 7 && matches!(error, SendError::Unroutable { .. }), "{number}: {error:?}");
            }
        }
    }
    drain(&app, "celery", 45).await;
}

async fn a_queue_that_exists_with_other_arguments_is_refused(setup: Setup) {
    let app = setup.app().await;
    let mut other = Topology::default();
    other.queues.push(celeriac::broker::Queue {
        name: "celery".into(),
        durable: true,
        exclusive: false,
        auto_delete: false,
        arguments: [("x-message-ttl".to_owned(), Value::Int(1000))].into_iter().collect(),
    });
    app.broker().declare(&other).await.unwrap();
    let error = app.send(order()).await.unwrap_err();
    assert!(matches!(error, SendError::Refused { .. }), "{error:?}");
}

async fn after_close_nothing_is_sent(setup: Setup) {
    let app = setup.app().await;
    app.send(order()).await.unwrap();
    app.close().await;
    let error = tokio::time::timeout(SOON, app.send(order())).await.unwrap().unwrap_err();
    assert!(matches!(error, SendError::Unavailable { .. }), "{error:?}");
}

async fn a_queue_that_somebody_has_deleted_is_declared_again(setup: Setup) {
    let (app, operator) = (setup.app().await, setup.app().await);
    app.send(order()).await.unwrap();
    operator.broker().delete_queue("celery").await.unwrap();
    app.send(order()).await.unwrap();
    operator.broker().delete_queue("celery").await.unwrap();
    app.send_named("a.task", json!([]), json!({}), SendOptions::new()).await.unwrap();
    drain(&app, "celery", 1).await;
}

async fn every_task_that_is_sent_is_announced_if_asked_for(setup: Setup) {
    let app = setup.builder().sent_events(true).build().await.unwrap();
    listen(&app, "celeryev", "task.sent", "events").await;
    let first = app.send_with(order(), SendOptions::new().root_id("root").parent_id("parent")).await.unwrap();
    let rest = app.send_many((0..3).map(|_| (Invoice {}, SendOptions::new()))).await;
    assert!(app.send_with(order(), SendOptions::new().exchange("", "nowhere")).await.is_err());
    let events = drain(&app, "events", 4).await;
    let mut events: Vec<serde_json::Value> =
        events.iter().map(|event| serde_json::from_slice(&event.message.body).unwrap()).collect();
    let ids: Vec<_> = rest.into_iter().map(|sent| json!(sent.unwrap().id())).collect();
    assert_eq!(events[1..].iter().map(|event| event["uuid"].clone()).collect::<Vec<_>>(), ids);
    let mut event = events.remove(0);
    for key in ["hostname", "pid", "clock", "timestamp"] {
        assert!(!event[key].take().is_null(), "{key}");
    }
    let expected = json!({
        "hostname": null, "utcoffset": 0.0, "pid": null, "clock": null, "timestamp": null, "type": "task-sent",
        "uuid": first.id(), "root_id": "root", "parent_id": "parent", "name": "shop.order", "args": "()",
        "kwargs": "{'item': 'tea', 'count': 2}", "retries": 0, "eta": null, "expires": null, "queue": "celery",
        "exchange": "", "routing_key": "celery",
    });
    assert_eq!(event, expected);
    assert_eq!(
        app.broker().queue_depth("events").await.unwrap().unwrap().messages,
        0,
        "what was not taken is not told"
    );
}

#[tokio::test]
async fn a_broker_that_stays_away_is_an_error_within_the_publish_timeout() {
    let setup = Setup::classic().await;
    let proxy = FaultProxy::start(&setup.broker).await;
    let app = setup
        .builder()
        .broker(proxy.url(&setup.broker))
        .publish_timeout(Duration::from_millis(500))
        .build()
        .await
        .unwrap();
    app.send(order()).await.unwrap();
    proxy.refuse().await;
    proxy.cut();
    let begin = tokio::time::Instant::now();
    let error = app.send(order()).await.unwrap_err();
    assert!(matches!(error, SendError::Timeout { .. }), "{error:?}");
    assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
    assert!(!error.to_string().contains("guest:guest"), "{error}");
    proxy.accept().await;
    testkit::eventually(SOON, async || app.send(order()).await).await;
}

#[tokio::test]
async fn whoever_waits_for_a_result_waits_for_its_backend_too() {
    let setup = Setup::classic().await;
    let proxy = FaultProxy::start(&setup.backend).await;
    let builder = setup.builder().backend(proxy.url(&setup.backend)).backend_timeout(Duration::from_millis(300));
    let app = builder.build().await.unwrap();
    let worker = setup.serve(|worker| worker).await;
    proxy.refuse().await;
    proxy.cut();
    let result = app.send(Add { x: 2, y: 2 }).await.unwrap().typed::<i64>();
    worker.log.begun_count(1).await;
    worker.settled("celery").await;
    let error = result.get(Duration::from_millis(200)).await.unwrap_err();
    assert!(matches!(error, GetError::Timeout { .. } | GetError::Backend(_)), "{error:?}");
    let (value, ()) = tokio::join!(result.get(SOON), proxy.accept());
    assert_eq!(value.unwrap(), 4);
    worker.stop().await;
}

#[tokio::test]
async fn nothing_is_known_of_a_task_that_was_never_sent() {
    let app = Setup::memory().await.app().await;
    let result = app.result::<u8>("never");
    assert_eq!(result.state().await.unwrap(), State::Pending);
    assert!(result.meta().await.unwrap().is_none());
    let error = result.get(Duration::from_millis(50)).await.unwrap_err();
    assert!(error.to_string().contains("never has not ended within 50ms"), "{error}");
}

#[tokio::test]
async fn an_application_that_cannot_be_says_why() {
    let memory = || App::builder().broker("memory://why").backend("memory://why");
    let missing = App::builder().backend("memory://why").build().await.unwrap_err();
    assert!(matches!(missing, BuildError::Missing("broker")));
    let missing = App::builder().broker("memory://why").build().await.unwrap_err();
    assert!(matches!(missing, BuildError::Missing("result backend")));
    let refused = memory().broker("kafka://u:secret@h").build().await.unwrap_err();
    assert!(matches!(refused, BuildError::Broker(BrokerError::Refused { .. })), "{refused:?}");
    assert!(!refused.is_temporary() && !refused.to_string().contains("secret"), "{refused}");
    let port = testkit::free_port();
    let away = memory().backend(format!("redis://:secret@127.0.0.1:{port}")).build().await.unwrap_err();
    assert!(away.is_temporary() && !away.to_string().contains("secret"), "{away}");
    let away = memory().broker(format!("amqp://127.0.0.1:{port}")).connect_timeout(Duration::from_millis(300));
    assert!(away.build().await.unwrap_err().is_temporary());
}

#[tokio::test]
async fn arguments_that_are_no_list_and_no_object_are_not_sent() {
    let app = Setup::memory().await.app().await;
    let error = app.send_named("t", json!({}), json!({}), SendOptions::new()).await.unwrap_err();
    assert_eq!(error.to_string(), "the arguments of t cannot be written: args must be a list");
    let error = app.send_named("t", json!([]), json!([]), SendOptions::new()).await.unwrap_err();
    assert!(error.to_string().ends_with("kwargs must be an object"), "{error}");
}

#[tokio::test]
async fn a_quorum_queue_is_one_on_the_server() {
    let vhost = testkit::rabbitmq().await;
    let app = App::builder().broker(vhost.amqp_url()).backend("memory://quorum").queue_type(QueueType::Quorum);
    app.build().await.unwrap().send(order()).await.unwrap();
    let queue = testkit::eventually(SOON, async || vhost.queue("celery").await).await;
    assert_eq!(queue["type"], "quorum");
}

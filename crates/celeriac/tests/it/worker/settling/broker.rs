//! What the broker does not take.

use celeriac::broker::{Binding, BindingDestination, Exchange, ExchangeKind, Publication, Queue, Topology};
use celeriac::canvas::{Canvas, Signature};
use celeriac::protocol::Value::Decimal;
use celeriac::protocol::{Headers, Message};
use serde_json::json;

use super::*;

/// Everything but to publish through the default exchange.
const NOT_DIRECTLY: Permissions = Permissions { configure: ".*", write: "^(?!amq\\.default$).*", read: ".*" };

async fn places() -> (Vhost, RedisDb) {
    tokio::join!(testkit::rabbitmq(), testkit::redis())
}

fn app(url: String, redis: &RedisDb) -> AppBuilder {
    App::builder().broker(url).backend(redis.url()).publish_timeout(Duration::from_secs(3))
}

fn news_to(queue: &str) -> Binding {
    let destination = BindingDestination::Queue(queue.into());
    Binding { exchange: "news".into(), destination, routing_key: "news".into() }
}

/// An exchange, from which retries may go elsewhere later.
async fn news_go_to_celery(app: &App) {
    let exchange = Exchange { name: "news".into(), kind: ExchangeKind::Direct, durable: true, auto_delete: false };
    let topology = Topology { exchanges: vec![exchange], bindings: vec![news_to("celery")], ..Topology::default() };
    app.broker().declare(&topology).await.unwrap();
}

async fn news_go_only_to(app: &App, queue: Queue) {
    let topology = Topology { bindings: vec![news_to(&queue.name)], queues: vec![queue], ..Topology::default() };
    app.broker().declare(&topology).await.unwrap();
    app.broker().unbind(&news_to("celery")).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_retry_that_the_user_may_not_send_fails_its_task_and_what_follows_and_holds_no_other() {
    let (vhost, redis) = places().await;
    let direct = app(vhost.amqp_url(), &redis).build().await.unwrap();
    let options = SendOptions::new().task_id("retried");
    direct.send_with(Autoretry, options).await.unwrap();
    let chain = Canvas::chain([
        Signature::new("t.autoretry").with("task_id", "first"),
        Signature::new("t.nothing").with("task_id", "second"),
    ]);
    direct.publish(chain).await.unwrap();
    let ordinary = send_ordinary(&direct, "ordinary").await;

    let url = vhost.amqp_url_of("worker", NOT_DIRECTLY).await;
    let worker = start(app(url, &redis), |worker| worker.delivery_limit(5)).await;
    all_have_results(&direct, &ordinary).await;
    for id in ["retried", "first", "second"] {
        let failure = failure(&direct, id).await;
        assert!(failure.exc_message[0].as_str().unwrap().contains("ACCESS_REFUSED"), "{failure:?}");
    }
    worker.settled("celery").await;
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_retry_that_a_full_queue_rejects_fails_its_task_is_parked_and_holds_no_other() {
    let (vhost, redis) = places().await;
    let direct = app(vhost.amqp_url(), &redis).build().await.unwrap();
    let ordinary = send_ordinary(&direct, "ordinary").await;
    news_go_to_celery(&direct).await;
    let options = SendOptions::new().task_id("retried-full").exchange("news", "news");
    direct.send_with(Autoretry, options).await.unwrap();
    // From now on what is sent there goes into a queue that takes nothing.
    let mut arguments = Headers::default();
    arguments.insert("x-max-length", 1_i64);
    arguments.insert("x-overflow", "reject-publish");
    let full = Queue { name: "full".into(), durable: true, exclusive: false, auto_delete: false, arguments };
    news_go_only_to(&direct, full).await;
    let filler = Publication {
        exchange: String::new(),
        routing_key: "full".into(),
        mandatory: true,
        message: Message::default(),
    };
    direct.broker().publish(filler).await.expect("there is room for one");

    let patient = app(vhost.amqp_url(), &redis).publish_timeout(Duration::from_secs(15));
    let worker = start(patient, |worker| worker.delivery_limit(5)).await;
    all_have_results(&direct, &ordinary).await;
    let state = direct.result::<()>("retried-full").state().await.unwrap();
    assert!(!state.is_ready(), "the others have waited for it, {state:?}");
    let failure = failure(&direct, "retried-full").await;
    assert!(failure.exc_message[0].as_str().unwrap().contains("a queue is full"), "{failure:?}");
    worker.settled("celery").await;
    worker.stop().await;
    let parked = direct.parking("celery").list(10).await.unwrap();
    assert_eq!(parked.len(), 1, "{parked:?}");
    assert_eq!((parked[0].id.as_deref(), parked[0].reason.as_str()), (Some("retried-full"), "retry-refused"));
}

/// What it comes to where a queue of type stream gets the retry: RabbitMQ's channel crashes over a decimal in a header.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_retry_over_which_the_broker_closes_the_connection_fails_its_task_is_parked_and_holds_no_other() {
    let (vhost, redis) = places().await;
    let direct = app(vhost.amqp_url(), &redis).build().await.unwrap();
    let ordinary = send_ordinary(&direct, "ordinary").await;
    news_go_to_celery(&direct).await;
    let price = Decimal { scale: 2, mantissa: 1_250 };
    let options = SendOptions::new().task_id("retried-stream").exchange("news", "news").header("price", price);
    direct.send_with(Autoretry, options).await.unwrap();
    let mut arguments = Headers::default();
    arguments.insert("x-queue-type", "stream");
    let stream = Queue { name: "stream".into(), durable: true, exclusive: false, auto_delete: false, arguments };
    news_go_only_to(&direct, stream).await;

    let patient = app(vhost.amqp_url(), &redis).publish_timeout(Duration::from_secs(30));
    let worker = start(patient, |worker| worker.delivery_limit(5)).await;
    all_have_results(&direct, &ordinary).await;
    let failure = failure(&direct, "retried-stream").await;
    assert!(failure.exc_message[0].as_str().unwrap().contains("INTERNAL_ERROR"), "{failure:?}");
    worker.settled("celery").await;
    worker.stop().await;
    let parked = direct.parking("celery").list(10).await.unwrap();
    assert_eq!(parked.len(), 1, "{parked:?}");
    assert_eq!((parked[0].id.as_deref(), parked[0].reason.as_str()), (Some("retried-stream"), "retry-refused"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_retry_larger_than_the_broker_takes_or_than_our_own_limit_fails_its_task_and_holds_no_other() {
    let (server, redis) = tokio::join!(testkit::own_rabbitmq(), testkit::redis());
    let direct = app(server.url().to_owned(), &redis).build().await.unwrap();
    let send = async |id: &str| {
        let kwargs = json!({"ballast": "x".repeat(100_000)});
        direct.send_named("t.large_retry", json!([]), kwargs, SendOptions::new().task_id(id)).await.unwrap();
    };
    for (limit, ours, reason) in [
        (50_000, 16 * 1024 * 1024, "larger than configured max size"),
        (134_217_728, 50_000, "max_message_size is 50000"),
    ] {
        let id = format!("large-{limit}");
        send(&id).await;
        let ordinary = send_ordinary(&direct, &id).await;
        // Channels that are opened from now on know it.
        let set = format!("application:set_env(rabbit, max_message_size, {limit}).");
        server.rabbitmqctl(&["eval", &set]).await;
        let app = app(server.url().to_owned(), &redis).max_message_size(ours);
        let worker = start(app, |worker| {
            let options = celeriac::TaskOptions { acks_late: true, ..celeriac::TaskOptions::DEFAULT };
            worker.delivery_limit(5).task_named("t.large_retry", options, async |_, _| {
                Err(celeriac::TaskError::retry_in(Duration::ZERO, Failure::new("Again", ["not yet"])))
            })
        })
        .await;
        all_have_results(&direct, &ordinary).await;
        let failure = failure(&direct, &id).await;
        assert!(failure.exc_message[0].as_str().unwrap().contains(reason), "{failure:?}");
        worker.settled("celery").await;
        worker.stop().await;
        server.rabbitmqctl(&["eval", "application:set_env(rabbit, max_message_size, 134217728)."]).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_parking_queue_refuses_holds_no_other_and_is_parked_once_it_may() {
    let (vhost, redis) = places().await;
    let direct = app(vhost.amqp_url(), &redis).build().await.unwrap();
    for number in 0..20 {
        let options = SendOptions::new().task_id(format!("unknown-{number}"));
        direct.send_named("t.unknown", json!([]), json!({}), options).await.unwrap();
    }
    let ordinary = send_ordinary(&direct, "ordinary").await;
    let url = vhost.amqp_url_of("worker", NOT_DIRECTLY).await;
    // Those that cannot be parked are more than are prefetched.
    let worker = start(app(url, &redis), |worker| worker.parking(true).concurrency(2).prefetch_multiplier(2)).await;
    all_have_results(&direct, &ordinary).await;
    testkit::eventually(SOON, async || worker.handle.unacknowledged() == 20).await;

    vhost.permit("worker", Permissions::ALL).await;
    testkit::eventually(Duration::from_secs(90), async || {
        let depth = direct.broker().queue_depth("celery.parked").await.unwrap().map_or(0, |depth| depth.messages);
        if depth == 20 { Ok(()) } else { Err(depth) }
    })
    .await;
    worker.settled("celery").await;
    worker.stop().await;
}

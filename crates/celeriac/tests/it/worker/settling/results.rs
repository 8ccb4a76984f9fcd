//! What the result backend does not take.

use std::sync::Arc;

use celeriac::canvas::{Canvas, Signature};
use celeriac::protocol::RawJson;
use celeriac::worker::{TaskFailure, TaskHooks};
use celeriac::{Request, TaskError, TaskOptions};
use parking_lot::Mutex;
use serde_json::json;

use super::*;

const LATE: TaskOptions = TaskOptions { acks_late: true, ..TaskOptions::DEFAULT };

/// Answers with so many bytes.
fn large(worker: WorkerBuilder<Log>) -> WorkerBuilder<Log> {
    worker.task_named("t.large", LATE, async |call, _| {
        let [bytes]: [usize; 1] = serde_json::from_slice(call.args.as_bytes()).unwrap();
        Ok(RawJson::of(&"x".repeat(bytes)).unwrap())
    })
}

async fn ask(redis: &OwnServer, command: &[&str]) {
    let client = redis::Client::open(redis.url()).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await.unwrap();
    redis::cmd(command[0]).arg(&command[1..]).exec_async(&mut connection).await.unwrap();
}

async fn send_large(app: &App, id: &str, bytes: usize) {
    app.send_named("t.large", json!([bytes]), json!({}), SendOptions::new().task_id(id)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_result_that_redis_has_no_room_for_fails_its_task_and_holds_no_other() {
    let (vhost, redis) = tokio::join!(testkit::rabbitmq(), testkit::own_redis());
    ask(&redis, &["CONFIG", "SET", "maxmemory", "16mb", "maxmemory-policy", "noeviction"]).await;
    let app = || App::builder().broker(vhost.amqp_url()).backend(redis.url()).max_result_size(64 << 20);
    let direct = app().build().await.unwrap();
    send_large(&direct, "large", 24 << 20).await;
    let ordinary = send_ordinary(&direct, "ordinary").await;
    let worker = start(app(), large).await;
    all_have_results(&direct, &ordinary).await;
    let failure = failure(&direct, "large").await;
    assert!(failure.exc_message[0].as_str().unwrap().contains("OOM"), "{failure:?}");
    worker.settled("celery").await;
    worker.stop().await;
}

/// What hooks are told of tasks whose names begin with `t.large`.
#[derive(Clone, Default)]
struct Told(Arc<Mutex<Vec<String>>>);

impl Told {
    fn say(&self, what: &str, request: &Request) {
        if request.task.starts_with("t.large") {
            self.0.lock().push(format!("{} {what}", request.id));
        }
    }
}

impl TaskHooks for Told {
    fn on_success(&self, request: &Request, _: Duration) {
        self.say("success", request);
    }

    fn on_failure(&self, request: &Request, failure: &TaskFailure<'_>) {
        self.say(&format!("failure {} {}", failure.unexpected, failure.failure.exc_type), request);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hooks_are_told_of_a_task_that_failed_only_because_its_result_cannot_be_stored() {
    let (vhost, redis) = tokio::join!(testkit::rabbitmq(), testkit::own_redis());
    ask(&redis, &["CONFIG", "SET", "maxmemory", "4mb", "maxmemory-policy", "noeviction"]).await;
    let app = || App::builder().broker(vhost.amqp_url()).backend(redis.url());
    let direct = app().build().await.unwrap();
    let told = Told::default();
    let worker = start(app(), |worker| large(worker).hooks(told.clone())).await;
    // One at a time: what Redis holds of one result while it refuses it would leave no room for the other's failure.
    send_large(&direct, "alone", 8 << 20).await;
    assert!(failure(&direct, "alone").await.exc_message[0].as_str().unwrap().contains("OOM"));
    let chain = Canvas::chain([
        Signature::new("t.large").arg(8 << 20).with("task_id", "step"),
        Signature::new("t.large_after").with("task_id", "next"),
    ]);
    direct.publish(chain).await.unwrap();
    assert!(failure(&direct, "step").await.exc_message[0].as_str().unwrap().contains("OOM"));
    worker.settled("celery").await;
    worker.stop().await;
    let mut lines = told.0.lock().clone();
    lines.retain(|line| line.starts_with("alone") || line.starts_with("step"));
    lines.sort();
    let expected =
        ["alone failure true BackendError", "alone success", "step failure true BackendError", "step success"];
    assert_eq!(lines, expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_result_larger_than_our_limit_fails_its_task_and_what_follows_by_a_failure_that_names_the_setting() {
    let (vhost, redis) = tokio::join!(testkit::rabbitmq(), testkit::redis());
    let app = || App::builder().broker(vhost.amqp_url()).backend(redis.url()).max_result_size(10_000);
    let direct = app().build().await.unwrap();
    send_large(&direct, "limit-small", 9_000).await;
    send_large(&direct, "limit-large", 20_000).await;
    let chain = Canvas::chain([
        Signature::new("t.large").arg(20_000).with("task_id", "limit-first"),
        Signature::new("t.nothing").with("task_id", "limit-second"),
    ]);
    direct.publish(chain).await.unwrap();
    let header = [Signature::new("t.large").arg(20_000), Signature::new("t.add").arg(1).arg(1)];
    let chord = direct.publish(Canvas::chord(header, Signature::new("t.echo"))).await.unwrap();
    for name in ["t.large_failure", "t.large_state"] {
        direct.send_named(name, json!([]), json!({}), SendOptions::new().task_id(name)).await.unwrap();
    }
    let ignored = SendOptions::new().task_id("limit-ignored").ignore_result(true);
    direct.send_named("t.large", json!([20_000]), json!({}), ignored).await.unwrap();

    let told = Told::default();
    let worker = start(app(), |worker| {
        large(worker)
            .hooks(told.clone())
            .task_named("t.large_failure", LATE, async |_, _| {
                Err(TaskError::fail(Failure::new("Big", ["x".repeat(20_000)])))
            })
            .task_named("t.large_state", LATE, async |_, context| {
                let error = context.update_state("PROGRESS", &"x".repeat(20_000)).await.unwrap_err();
                Ok(RawJson::of(&error.to_string()).unwrap())
            })
    })
    .await;
    for id in ["limit-large", "limit-first", "limit-second", chord.id(), "t.large_failure"] {
        let failure = failure(&direct, id).await;
        assert!(failure.exc_message[0].as_str().unwrap().contains("max_result_size is 10000"), "{id}: {failure:?}");
    }
    let said: String = direct.result("t.large_state").get(SOON).await.unwrap();
    assert!(said.contains("max_result_size is 10000"), "{said}");
    assert_eq!(direct.result::<String>("limit-small").get(SOON).await.unwrap().len(), 9_000);
    worker.settled("celery").await;
    worker.stop().await;
    let told = told.0.lock();
    for line in ["limit-large failure true BackendError", "limit-small success", "limit-ignored success"] {
        assert!(told.iter().any(|told| told == line), "{line} {told:?}");
    }
    assert!(!told.iter().any(|line| line == "limit-large success"), "{told:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_result_over_which_redis_closes_the_connection_fails_its_task_and_its_chord_and_holds_no_other() {
    let (vhost, redis) = tokio::join!(testkit::rabbitmq(), testkit::own_redis());
    ask(&redis, &["CONFIG", "SET", "proto-max-bulk-len", "1mb"]).await;
    let app = || App::builder().broker(vhost.amqp_url()).backend(redis.url());
    let direct = app().build().await.unwrap();
    send_large(&direct, "large", 2 << 20).await;
    let header =
        [Signature::new("t.large").arg(2 << 20).with("task_id", "part"), Signature::new("t.add").arg(1).arg(1)];
    let chord = direct.publish(Canvas::chord(header, Signature::new("t.echo"))).await.unwrap();
    let ordinary = send_ordinary(&direct, "ordinary").await;
    let worker = start(app(), large).await;
    all_have_results(&direct, &ordinary).await;
    for id in ["large", "part", chord.id()] {
        assert!(!failure(&direct, id).await.exc_message.is_empty());
    }
    worker.settled("celery").await;
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_result_that_redis_never_lets_us_write_is_given_up_and_holds_no_other() {
    let (vhost, redis) = tokio::join!(testkit::rabbitmq(), testkit::own_redis());
    let user = [
        "ACL",
        "SETUSER",
        "worker",
        "on",
        ">secret",
        "+@all",
        "&*",
        "%RW~celery-task-meta-ordinary*",
        "%RW~celery-task-meta-part",
        "%R~*",
        "%RW~celery-taskset*",
    ];
    ask(&redis, &user).await;
    let direct = App::builder().broker(vhost.amqp_url()).backend(redis.url()).build().await.unwrap();
    for number in 0..5 {
        direct.send_with(Add { x: 1, y: 1 }, SendOptions::new().task_id(format!("forbidden-{number}"))).await.unwrap();
    }
    let ordinary = send_ordinary(&direct, "ordinary").await;
    let url = redis.url().replacen("redis://", "redis://worker:secret@", 1);
    let worker = start(App::builder().broker(vhost.amqp_url()).backend(url), |worker| worker).await;
    all_have_results(&direct, &ordinary).await;
    worker.settled("celery").await;
    for number in 0..5 {
        let meta = direct.result::<()>(format!("forbidden-{number}")).state().await.unwrap();
        assert_eq!(meta, State::Pending);
    }
    worker.stop().await;
}

/// Trouble that passes loses no result.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_result_that_redis_refuses_for_a_moment_is_stored_after_all() {
    let (vhost, redis) = tokio::join!(testkit::rabbitmq(), testkit::own_redis());
    let app = || App::builder().broker(vhost.amqp_url()).backend(redis.url());
    let worker = start(app(), |worker| worker).await;
    let direct = app().build().await.unwrap();
    ask(&redis, &["CONFIG", "SET", "maxmemory", "1", "maxmemory-policy", "noeviction"]).await;
    let ordinary = send_ordinary(&direct, "ordinary").await;
    worker.log.begun_count(ORDINARY).await;
    testkit::eventually(SOON, async || worker.handle.unacknowledged() == ORDINARY).await;
    ask(&redis, &["CONFIG", "SET", "maxmemory", "0"]).await;
    all_have_results(&direct, &ordinary).await;
    worker.settled("celery").await;
    worker.stop().await;
}

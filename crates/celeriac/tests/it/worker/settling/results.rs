//! What the result backend does not take.

use celeriac::TaskOptions;
use celeriac::canvas::{Canvas, Signature};
use celeriac::protocol::RawJson;
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
    let app = || App::builder().broker(vhost.amqp_url()).backend(redis.url());
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

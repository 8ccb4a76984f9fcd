//! Tasks that are to start later, and that the broker keeps until then.

use std::sync::Arc;
use std::time::Duration;

use celeriac::broker::ExchangeKind;
use celeriac::canvas::Signature;
use celeriac::protocol::{RawJson, State};
use celeriac::worker::Call;
use celeriac::{
    App, AppBuilder, Context, Failure, QueueDefinition, QueueType, SendOptions, TaskError, TaskOptions, TaskResult,
};
use serde_json::{Value, json};
use testkit::{Process, Signal};

use super::on_every_broker;
use super::recording::RecordingBroker;
use super::setup::{SOON, Serving, Setup};
use super::tasks::{Add, Log, Nothing};

const LATER: Duration = Duration::from_secs(60);
const LATE: Duration = Duration::from_secs(2);
const FAR: Duration = Duration::from_secs(1000);

/// A quorum queue behind a topic exchange: the kind that Celery's own programs delay for.
fn topic(builder: AppBuilder) -> AppBuilder {
    builder.queue(QueueDefinition::new("late").exchange("tasks", ExchangeKind::Topic, "late")).default_queue("late")
}

async fn messages(app: &App, queue: &str) -> u64 {
    app.broker().queue_depth(queue).await.unwrap().map_or(0, |depth| depth.messages)
}

/// Waits until a task that was sent with [`LATE`] has run; no worker had it before.
async fn comes_in_time(serving: &Serving, queue: &str, options: SendOptions) {
    let eta = celeriac::clock::now() + LATE;
    let result = serving.app.send_with(Add { x: 1, y: 2 }, options.eta(eta)).await.unwrap();
    assert_eq!((messages(&serving.app, queue).await, serving.handle.unacknowledged()), (0, 0), "a worker holds it");
    let id = result.id().to_owned();
    assert_eq!(result.typed::<i64>().get(SOON).await.unwrap(), 3);
    let done = serving.meta_when(&id, |meta| meta.state == State::Success).await.date_done.unwrap();
    assert!(done >= eta, "{done} is before {eta}");
}

async fn the_broker_keeps_what_is_late_and_nothing_waits_behind_it(setup: Setup) {
    for (build, queue) in [((|builder| builder) as fn(AppBuilder) -> AppBuilder, "celery"), (topic, "late")] {
        let app = build(setup.builder().native_delayed_delivery(true));
        let serving = setup.serve_app(app, |worker| worker.queues([queue])).await;
        serving.app.send_with(Nothing, SendOptions::new().queue(queue).countdown(FAR)).await.unwrap();
        comes_in_time(&serving, queue, SendOptions::new().queue(queue)).await;
        serving.app.send_with(Nothing, SendOptions::new().queue(queue)).await.unwrap();
        serving.log.begun_count(2).await;
        assert_eq!(messages(&serving.app, "celery_delayed_9").await, 1, "what is far away waits on the ladder");
        serving.app.broker().purge("celery_delayed_9").await.unwrap();
        serving.stop().await;
    }
}

async fn a_late_task_outlives_all_workers(setup: Setup) {
    let app = setup.builder().native_delayed_delivery(true);
    let first = setup.serve_app(app, |worker| worker).await;
    let result = first.app.send_with(Add { x: 2, y: 2 }, SendOptions::new().countdown(LATE)).await.unwrap();
    first.stop().await;
    let second = setup.serve(|worker| worker).await;
    assert_eq!(second.app.result::<i64>(result.id()).get(SOON).await.unwrap(), 4);
    second.stop().await;
}

/// The notes that the broker makes on its way must not be sent again: it would take it for a message in a circle.
async fn a_task_is_retried_late_more_than_once(setup: Setup) {
    async fn stubborn(_: Call, cx: Context<Log>) -> TaskResult<RawJson> {
        let request = cx.request();
        if request.retries < 2 {
            return Err(TaskError::retry_in(Duration::from_millis(1200), Failure::builtin("OSError", "not yet")));
        }
        let came = (&request.delivery_info.exchange, &request.delivery_info.routing_key);
        let notes = request.headers.iter().filter(|(name, _)| name.starts_with("x-")).count();
        Ok(RawJson::of(&(request.retries, came, notes))?)
    }
    let app = setup.builder().native_delayed_delivery(true);
    let serving = setup.serve_app(app, |worker| worker.task_named("t.stubborn", TaskOptions::DEFAULT, stubborn)).await;
    let sent = serving.app.send_named("t.stubborn", json!([]), json!({}), SendOptions::new()).await.unwrap();
    assert_eq!(sent.typed::<Value>().get(SOON).await.unwrap(), json!([2, ["", "celery"], 0]));
    serving.stop().await;
}

/// The time between saying so and sending it does not cost a second.
#[tokio::test]
async fn a_countdown_of_so_many_seconds_goes_through_the_broker_for_so_many_however_it_is_said() {
    async fn retried(call: Call, cx: Context<Log>) -> TaskResult<RawJson> {
        match cx.request().retries {
            0 => Err(TaskError::retry_in(Duration::from_secs(1), Failure::builtin("OSError", "not yet"))),
            _ => Ok(call.args),
        }
    }
    let setup = Setup::memory().await;
    let inner = setup.app().await;
    let broker = Arc::new(RecordingBroker::new(Arc::clone(inner.broker())));
    let app = App::builder().broker_instance(Arc::clone(&broker) as _).backend(&setup.backend);
    let app = app.native_delayed_delivery(true);
    let serving = setup.serve_app(app, |worker| worker.task_named("t.retried", TaskOptions::DEFAULT, retried)).await;
    let delays = || -> Vec<u32> {
        let published = std::mem::take(&mut *broker.published.lock());
        let late = published.iter().filter(|publication| publication.exchange.starts_with("celery_delayed_"));
        let seconds = late.map(|publication| {
            let digits = publication.routing_key.split('.').take(28);
            digits.fold(0, |seconds, bit| seconds * 2 + u32::from(bit == "1"))
        });
        seconds.collect()
    };
    let retried = serving.app.send_named("t.retried", json!([]), json!({}), SendOptions::new()).await.unwrap();
    retried.get(SOON).await.unwrap();
    assert_eq!(delays(), [1], "a retry");
    for seconds in [1, 5, 300] {
        let later = SendOptions::new().countdown(Duration::from_secs(seconds.into()));
        serving.app.send_with(Nothing, later).await.unwrap();
        serving.app.publish(Signature::new("t.nothing").with("countdown", i64::from(seconds))).await.unwrap();
        assert_eq!(delays(), [seconds, seconds]);
    }
    let eta = celeriac::clock::now() + Duration::from_secs(5);
    serving.app.send_with(Nothing, SendOptions::new().eta(eta)).await.unwrap();
    assert_eq!(delays(), [4], "never after the time that was said");
    serving.stop().await;
}

on_every_broker!(
    the_broker_keeps_what_is_late_and_nothing_waits_behind_it,
    a_late_task_outlives_all_workers,
    a_task_is_retried_late_more_than_once,
);

/// What the ladder is made of follows from Celery's own declarations: with others the broker would refuse.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn celery_and_we_declare_the_same_ladder_whoever_is_first() {
    let script = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/worker/python/ladder.py");
    for queue_type in ["classic", "quorum"] {
        for is_python_first in [true, false] {
            let setup = Setup::classic().await;
            let kind = if queue_type == "quorum" { QueueType::Quorum } else { QueueType::Classic };
            let builder = setup.builder().native_delayed_delivery(true).native_delayed_delivery_queue_type(kind);
            let python = async || testkit::run_python(script.clone(), [&setup.broker, queue_type]).await;
            if is_python_first {
                assert_eq!(python().await.trim(), "declared");
            }
            let serving = setup.serve_app(topic(builder), |worker| worker.queues(["late"])).await;
            comes_in_time(&serving, "late", SendOptions::new()).await;
            if !is_python_first {
                assert_eq!(python().await.trim(), "declared");
            }
            serving.stop().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_the_ladder_is_of_another_type_workers_wait_as_before() {
    let setup = Setup::classic().await;
    let script = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/worker/python/ladder.py");
    testkit::run_python(script, [&setup.broker, "classic"]).await;
    let serving = setup.serve_app(setup.builder().native_delayed_delivery(true), |worker| worker).await;
    let result = serving.app.send_with(Add { x: 1, y: 2 }, SendOptions::new().countdown(LATE)).await.unwrap();
    assert_eq!(result.typed::<i64>().get(SOON).await.unwrap(), 3);
    serving.stop().await;
}

/// Celery leaves the ladder to the worker, and its worker finds what we put on it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn celery_and_we_delay_for_each_other() {
    let setup = Setup::quorum().await;
    let serving = setup.serve_app(topic(setup.builder()), |worker| worker.queues(["late"])).await;
    // The ladder is there when the worker takes tasks.
    let depth = async || serving.app.broker().queue_depth("late").await.unwrap();
    testkit::eventually(SOON, async || depth().await.is_some_and(|depth| depth.consumers > 0)).await;
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/worker/python");
    let printed = testkit::run_python(folder.join("late.py"), [&setup.broker, &setup.backend]).await;
    let seen: Value = serde_json::from_str(&printed).unwrap();
    assert_eq!((&seen["value"], &seen["is_early"]), (&json!(5), &json!(false)), "{seen}");
    assert_eq!(seen["waited_in"], "celery_delayed_1", "{seen}");
    serving.stop().await;

    let mut command = std::process::Command::new(testkit::python());
    command.current_dir(folder).env("BROKER", &setup.broker).env("BACKEND", &setup.backend);
    command.env("PYTHONDONTWRITEBYTECODE", "1");
    command.args(["-m", "celery", "-A", "late", "worker", "--loglevel", "INFO", "--pool", "threads", "-c", "1"]);
    command.args(["--without-mingle", "--without-gossip"]);
    let mut worker = Process::spawn("celery worker", command);
    worker.wait_for_line("ready.", LATER).await;
    let app = topic(setup.builder()).build().await.unwrap();
    let eta = celeriac::clock::now() + LATE;
    let sent = app.send_named("late.time", json!([]), json!({}), SendOptions::new().eta(eta)).await.unwrap();
    let began: f64 = sent.typed().get(LATER).await.unwrap();
    assert!(began >= eta.timestamp_micros() as f64 / 1e6, "{began} is before {eta}");
    worker.signal(Signal::Terminate);
    worker.wait(LATER).await;
}

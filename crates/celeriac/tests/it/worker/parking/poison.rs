//! Tasks that never come to an end.

use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use celeriac::canvas::Signature;
use celeriac::protocol::RawJson;
use celeriac::{Context, QueueType, TaskError, Worker};
use testkit::Process;
use tokio_util::sync::CancellationToken;

use super::*;

on_every_broker!(
    a_task_that_gives_its_message_back_again_and_again_is_parked_at_the_limit,
    what_is_given_back_before_it_begins_is_no_attempt,
);

const LATE: TaskOptions = TaskOptions { acks_late: true, ..TaskOptions::DEFAULT };
const LIMIT: u32 = 3;
const KILL: &str = "t.kill";
const HEALTHY: &str = "t.healthy";
/// How many healthy tasks run beside the one that kills.
const NEIGHBOURS: usize = 15;

/// Where the worker that is to die finds its broker, its results, and of which type the queue is.
const CHILD: [&str; 3] = ["CELERIAC_TEST_BROKER", "CELERIAC_TEST_BACKEND", "CELERIAC_TEST_QUORUM"];

fn poison(result: Result<serde_json::Value, GetError>) -> String {
    let Err(GetError::Failed(failure)) = result else { panic!("{result:?}") };
    assert_eq!((failure.exc_type.as_str(), failure.exc_module.as_str()), ("WorkerLostError", "billiard.exceptions"));
    failure.exc_message[0].as_str().unwrap().to_owned()
}

/// Registers a task that gives its message back each time, and counts that.
fn stubborn(worker: WorkerBuilder<Log>, attempts: &'static AtomicU32) -> WorkerBuilder<Log> {
    worker.task_named("t.stubborn", LATE, async |_, _| {
        attempts.fetch_add(1, Ordering::Relaxed);
        Err(TaskError::reject(true, "not me"))
    })
}

fn counter() -> &'static AtomicU32 {
    Box::leak(Box::new(AtomicU32::new(0)))
}

async fn a_task_that_gives_its_message_back_again_and_again_is_parked_at_the_limit(setup: Setup) {
    let attempts = counter();
    let worker = setup.serve(|worker| stubborn(worker.delivery_limit(LIMIT), attempts)).await;
    let errback = Signature::new("t.nothing").with("task_id", "errback").immutable();
    let options = SendOptions::new().task_id("s").link_error(errback);
    worker.app.send_named("t.stubborn", json!([]), json!({}), options).await.unwrap();

    let message = poison(worker.app.result("s").get(SOON).await);
    assert!(message.contains("delivered 3 times"), "{message}");
    assert_eq!(attempts.load(Ordering::Relaxed), LIMIT);
    let list = parked(&worker.app, 1).await;
    assert_eq!((&list[0].reason, list[0].id.as_deref()), (&Reason::DeliveryLimit, Some("s")));
    worker.app.result::<()>("errback").get(SOON).await.expect("its errback has run");

    // Requeued it counts as new.
    assert_eq!(worker.app.parking("celery").requeue(&Selection::all()).await.unwrap(), 1);
    testkit::eventually(SOON, async || {
        let attempts = attempts.load(Ordering::Relaxed);
        if attempts == 2 * LIMIT { Ok(()) } else { Err(attempts) }
    })
    .await;
    parked(&worker.app, 1).await;
    worker.settled("celery").await;
    worker.stop().await;
}

async fn what_is_given_back_before_it_begins_is_no_attempt(setup: Setup) {
    let limited = |worker: WorkerBuilder<Log>| worker.concurrency(1).delivery_limit(2);
    let app = setup.app().await;
    for _ in 0..4 {
        app.send(Wait).await.unwrap();
    }
    for left in (0..4).rev() {
        let worker = setup.serve(limited).await;
        worker.log.begun_count(1).await;
        worker.begin_to_stop();
        // What waits for the slot is given back.
        waiting(&app, "celery", left).await;
        let begun = worker.log.begun();
        worker.log.gate.add_permits(1);
        worker.ended().await;
        assert_eq!(begun.len(), 1);
        assert_eq!(app.result::<String>(&begun[0]).get(SOON).await.unwrap(), "waited");
    }
    assert_eq!(app.parking("celery").list(10).await.unwrap(), []);
}

/// A result backend whose counts die with the worker leaves it to the queue to count.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_quorum_queue_counts_where_no_result_backend_does() {
    let (setup, memory) = (Setup::quorum().await, Setup::memory().await);
    let attempts = counter();
    let app = setup.builder().backend(&memory.backend);
    let worker = setup.serve_app(app, |worker| stubborn(worker.delivery_limit(LIMIT), attempts)).await;
    let options = SendOptions::new().task_id("s");
    worker.app.send_named("t.stubborn", json!([]), json!({}), options).await.unwrap();
    poison(worker.app.result("s").get(SOON).await);
    assert_eq!(attempts.load(Ordering::Relaxed), LIMIT);
    let list = parked(&worker.app, 1).await;
    assert_eq!(
        worker.app.parking("celery").requeue(&Selection::all().ids([list[0].id.clone().unwrap()])).await.unwrap(),
        1
    );
    testkit::eventually(SOON, async || attempts.load(Ordering::Relaxed) == 2 * LIMIT).await;
    worker.settled("celery").await;
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_that_kills_its_worker_each_time_is_parked_and_runs_where_it_does_not() {
    if std::env::var_os(CHILD[0]).is_some() {
        return kill_myself().await;
    }
    for setup in [Setup::classic().await, Setup::quorum().await] {
        let app = setup.app().await;
        let result = app.send_named(KILL, json!([]), json!({}), SendOptions::new().task_id("k")).await.unwrap();
        for _ in 0..LIMIT {
            let mut child = child(&setup);
            let ended = child.wait(SOON).await;
            assert!(ended.code().is_none(), "it was aborted: {ended:?}\n{}", child.output());
        }
        let survivor = child(&setup);
        let message = poison(result.typed().get(SOON).await);
        assert!(message.contains("delivered 3 times"), "{message}");
        let list = parked(&app, 1).await;
        assert_eq!((&list[0].reason, list[0].task.as_deref()), (&Reason::DeliveryLimit, Some(KILL)));
        assert_eq!(list[0].worker.as_deref(), Some("child@test"));
        drop(survivor);

        let harmless = |worker: WorkerBuilder<Log>| {
            worker.task_named(KILL, LATE, async |_, cx: Context<Log>| {
                Ok(RawJson::of(&json!({"again": cx.redelivered()})).unwrap())
            })
        };
        let worker = setup.serve(|worker| harmless(worker.delivery_limit(LIMIT))).await;
        assert_eq!(app.parking("celery").requeue(&Selection::all().task(KILL)).await.unwrap(), 1);
        let meta = worker.meta_when("k", |meta| meta.state == State::Success).await;
        assert_eq!(meta.result.to_string(), r#"{"again":false}"#);
        worker.settled("celery").await;
        worker.stop().await;
        waiting(&app, "celery.parked", 0).await;
    }
}

/// Those that ran beside it were never alone when their worker died.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_task_that_kills_its_worker_takes_none_of_its_neighbours_along() {
    if std::env::var_os(CHILD[0]).is_some() {
        return kill_myself().await;
    }
    let mut setups = vec![Setup::classic().await, Setup::quorum().await];
    #[cfg(feature = "postgres")]
    setups.push(Setup::postgres().await);
    for setup in setups {
        let app = setup.app().await;
        app.send_named(KILL, json!([]), json!({}), SendOptions::new().task_id("k")).await.unwrap();
        let mut healthy = Vec::new();
        for number in 0..NEIGHBOURS {
            let options = SendOptions::new().task_id(format!("healthy-{number}"));
            healthy.push(app.send_named(HEALTHY, json!([]), json!({}), options).await.unwrap());
        }
        let test = "worker::parking::poison::a_task_that_kills_its_worker_takes_none_of_its_neighbours_along";
        for _ in 0..LIMIT {
            let mut child = child_of(&setup, test);
            assert!(child.wait(SOON * 2).await.code().is_none(), "{}", child.output());
        }
        let survivor = child_of(&setup, test);
        poison(app.result("k").get(SOON).await);
        for result in healthy {
            result
                .typed::<String>()
                .get(SOON * 2)
                .await
                .unwrap_or_else(|error| panic!("{error}\n{}", survivor.output()));
        }
        assert_eq!(parked(&app, 1).await[0].id.as_deref(), Some("k"));
    }
}

/// This test once more, as a worker in a process of its own.
fn child(setup: &Setup) -> Process {
    child_of(
        setup,
        "worker::parking::poison::a_task_that_kills_its_worker_each_time_is_parked_and_runs_where_it_does_not",
    )
}

fn child_of(setup: &Setup, test: &str) -> Process {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--nocapture"]);
    let is_quorum = (setup.queue_type == QueueType::Quorum).to_string();
    command.envs(CHILD.into_iter().zip([&setup.broker, &setup.backend, &is_quorum]));
    Process::spawn("a worker that dies", command)
}

async fn kill_myself() {
    testkit::show_logs();
    let [broker, backend, is_quorum] = CHILD.map(|name| std::env::var(name).unwrap());
    let queue_type = if is_quorum == "true" { QueueType::Quorum } else { QueueType::Classic };
    let app = App::builder().broker(broker).backend(backend).queue_type(queue_type).build().await.unwrap();
    let worker = Worker::builder(app).hostname("child@test").delivery_limit(LIMIT).concurrency(NEIGHBOURS + 1);
    let worker = worker.task_named(KILL, LATE, async |_, _: Context| {
        // Its neighbours have begun by then.
        tokio::time::sleep(Duration::from_millis(200)).await;
        std::process::abort()
    });
    let worker = worker.task_named(HEALTHY, LATE, async |_, _: Context| {
        tokio::time::sleep(Duration::from_millis(400)).await;
        Ok(RawJson::of("fine").unwrap())
    });
    worker.build().unwrap().run(CancellationToken::new()).await.unwrap();
}

//! Real Celery on the other side: its client with our worker, its worker with our client.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use celeriac::protocol::{RawJson, State};
use celeriac::worker::Call;
use celeriac::{Context, GetError, SendOptions, Task, TaskOptions, TaskResult};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use testkit::{Process, Signal};

use super::setup::Setup;

const LATER: Duration = Duration::from_secs(60);

pub(super) fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/it/worker/python")
}

/// Answers its argument as it came, type tags and all.
async fn echo_raw(call: Call, _: Context<super::tasks::Log>) -> TaskResult<RawJson> {
    let args = call.args.as_str();
    Ok(RawJson::parse(args[1..args.len() - 1].to_owned())?)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_celery_client_calls_our_worker_on_classic_queues() {
    client_calls_worker(Setup::classic().await, "classic").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_celery_client_calls_our_worker_on_quorum_queues() {
    client_calls_worker(Setup::quorum().await, "quorum").await;
}

async fn client_calls_worker(setup: Setup, queue_type: &str) {
    let worker =
        setup.serve(|worker| worker.events(true).task_named("t.echo_raw", TaskOptions::DEFAULT, echo_raw)).await;
    let script = folder().join("producer.py");
    let printed = testkit::run_python(script, [&setup.broker, &setup.backend, queue_type]).await;
    let mut seen: Value = serde_json::from_str(&printed).unwrap();
    let protocol = seen["protocol"]["value"].take();
    let expected = json!({
        "positional": {"value": 5},
        "keywords": {"value": 7},
        "mixed": {"value": 8},
        "countdown": {"value": 2},
        "compressed": {"value": 11},
        "protocol": {"value": null},
        "rich_is_equal": true,
        "nothing": {"value": null},
        "failure": {
            "raised": "celery.exceptions.PaymentDeclined", "args": ["insufficient funds", 402], "state": "FAILURE",
        },
        "panic": {"raised": "celery.exceptions.Panic", "args": ["out of cheese"], "state": "FAILURE"},
        "wrong_arguments": {
            "raised": "builtins.TypeError", "args": ["add() missing 1 required positional argument: 'y'"],
            "state": "FAILURE",
        },
        "unknown": {"raised": "celery.exceptions.NotRegistered", "args": ["t.unheard_of"], "state": "FAILURE"},
        "expired": {"raised": "celery.exceptions.TaskRevokedError", "args": ["expired"], "state": "REVOKED"},
        "retried": {
            "raised": seen["retried"]["raised"], "args": ["invalid digit found in string"], "state": "FAILURE",
        },
        "soft_limit": {"raised": "billiard.exceptions.SoftTimeLimitExceeded", "args": [], "state": "FAILURE"},
        "hard_limit": {"raised": "billiard.exceptions.TimeLimitExceeded", "args": [2], "state": "FAILURE"},
        "group": [0, 2, 4, 6, 8],
        "children": true,
        "child": 3,
        "forgotten": "PENDING",
    });
    assert_eq!(seen, expected);
    assert_eq!((&protocol["tenant"], &protocol["priority"]), (&json!("cinema"), &json!(3)));
    worker.settled("celery").await;
    worker.stop().await;
}

#[derive(Task, Serialize, Deserialize)]
#[task(name = "p.add")]
struct Add {
    x: i64,
    y: i64,
}

#[derive(Task, Serialize, Deserialize)]
#[task(name = "p.describe", time_limit = "90s", soft_time_limit = "80s")]
struct Describe {
    card: String,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn our_client_calls_a_celery_worker_on_classic_queues() {
    client_calls_celery(Setup::classic().await, "classic").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn our_client_calls_a_celery_worker_on_quorum_queues() {
    client_calls_celery(Setup::quorum().await, "quorum").await;
}

async fn client_calls_celery(setup: Setup, queue_type: &str) {
    let mut command = Command::new(testkit::python());
    command.args(["-m", "celery", "-A", "worker", "worker", "--pool=threads", "--concurrency=4", "-n", "python@test"]);
    command.args(["--without-gossip", "--without-mingle", "--loglevel=info"]).current_dir(folder());
    command.env("BROKER", &setup.broker).env("BACKEND", &setup.backend).env("QUEUE_TYPE", queue_type);
    let app = setup.app().await;
    // Both sides declare the queue; whoever comes second must declare the same.
    app.declare_queue("celery").await.unwrap();
    let mut worker = Process::spawn("celery worker", command);
    worker.wait_for_line("ready.", LATER).await;

    assert_eq!(app.send(Add { x: 2, y: 3 }).await.unwrap().typed::<i64>().get(LATER).await.unwrap(), 5);
    let named = app.send_named("p.add", json!([20, 1]), json!({}), SendOptions::new()).await.unwrap();
    assert_eq!(named.typed::<i64>().get(LATER).await.unwrap(), 21);
    let later = SendOptions::new().countdown(Duration::from_secs(1));
    assert_eq!(app.send_with(Add { x: 1, y: 1 }, later).await.unwrap().typed::<i64>().get(LATER).await.unwrap(), 2);

    let options = SendOptions::new().priority(4).header("tenant", "cinema").root_id("root").parent_id("parent");
    let described = app.send_with(Describe { card: "none".into() }, options).await.unwrap();
    let id = described.id().to_owned();
    let mut seen = described.typed::<Value>().get(LATER).await.unwrap();
    let origin = seen["origin"].take();
    assert!(origin.as_str().unwrap().starts_with(&format!("gen{}@", std::process::id())), "{origin}");
    let expected = json!({
        "kwargs": {"card": "none"}, "id": id, "root_id": "root", "parent_id": "parent", "retries": 0,
        "argsrepr": "()", "kwargsrepr": "{'card': 'none'}", "origin": null, "priority": 4, "routing_key": "celery",
        "timelimit": [90, 80], "tenant": "cinema", "lang": "py",
    });
    let args = seen["argsrepr"].take();
    assert!(args == "()" || args == "[]", "{args}");
    seen["argsrepr"] = json!("()");
    assert_eq!(seen, expected);

    let send = async |name: &str, args: Value| app.send_named(name, args, json!({}), SendOptions::new()).await.unwrap();
    let Err(GetError::Failed(failure)) = send("p.fail", json!([])).await.get(LATER).await else { panic!("it fails") };
    assert_eq!((failure.exc_type.as_str(), failure.exc_module.as_str()), ("PaymentDeclined", "worker"));
    assert_eq!(failure.exc_message, [json!("insufficient funds"), json!(402)]);
    assert!(failure.traceback.unwrap().contains("raise PaymentDeclined"));

    assert_eq!(send("p.retry", json!([2])).await.typed::<i64>().get(LATER).await.unwrap(), 2);
    let Err(GetError::Failed(failure)) = send("p.unheard_of", json!([])).await.get(LATER).await else {
        panic!("it is not known")
    };
    assert_eq!(failure.exc_type, "NotRegistered");
    let expired = SendOptions::new().expires_at(celeriac::clock::now() - Duration::from_secs(5));
    let expired = app.send_with(Add { x: 1, y: 1 }, expired).await.unwrap();
    // RabbitMQ drops what has expired before anybody sees it, unless a consumer is ready at that moment.
    let seen = expired.get(Duration::from_secs(1)).await;
    assert!(matches!(seen, Err(GetError::Revoked(_) | GetError::Timeout { .. })), "{seen:?}");

    let progress = send("p.progress", json!([])).await;
    let mut watch = progress.watch().await.unwrap();
    let mut states = Vec::new();
    while states.last() != Some(&State::Success) {
        states.push(tokio::time::timeout(LATER, watch.changed()).await.unwrap().unwrap().state);
    }
    assert!(states.contains(&State::from("PROGRESS")), "{states:?}");
    worker.signal(Signal::Terminate);
    worker.wait(LATER).await;
}

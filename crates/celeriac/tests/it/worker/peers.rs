//! Every way in which a task ends: Celery's client sees the same of our worker as of Celery's, and our client the same of
//! Celery's worker as of ours.

use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use celeriac::control::{Client, Command as Remote};
use celeriac::protocol::{Compression, RawJson, State};
use celeriac::worker::Call;
use celeriac::{App, Context, Failure, GetError, SendOptions, TaskError, TaskOptions, TaskResult};
use serde_json::{Value, json};
use testkit::{Process, Signal};

use super::python::folder;
use super::setup::Setup;
use super::tasks::Log;

const LATER: Duration = Duration::from_secs(90);
const QUEUES: [&str; 2] = ["q-python", "q-ours"];

const OPTIONS: TaskOptions = TaskOptions {
    max_retries: Some(2),
    default_retry_delay: Duration::ZERO,
    track_started: true,
    ..TaskOptions::DEFAULT
};

/// The body of `ends.py`.
async fn end(call: Call, cx: Context<Log>) -> TaskResult<RawJson> {
    let (how, value) = arguments(&call)?;
    let fail = |failure| Err(TaskError::fail(failure));
    match how.as_str() {
        "value" => Ok(value),
        "builtin" => fail(Failure::new("ValueError", [json!("boom"), json!(5)]).with_module("builtins")),
        "key" => fail(Failure::builtin("KeyError", "k")),
        "silent" => fail(Failure::new("RuntimeError", [""; 0]).with_module("builtins")),
        "custom" => fail(Failure::new("Declined", [json!("insufficient funds"), json!(402)]).with_module("ends")),
        "retry" if cx.request().retries == 2 => Ok(RawJson::of(&2)?),
        "retry" => Err(TaskError::retry_in(Duration::ZERO, Failure::builtin("ValueError", "not yet"))),
        "exhausted" => Err(TaskError::retry_in(Duration::ZERO, Failure::builtin("ValueError", "never"))),
        "ignore" => Err(TaskError::ignore()),
        "reject" => Err(TaskError::reject(false, "no thanks")),
        "progress" => {
            cx.update_state("PROGRESS", &json!({"done": 1})).await?;
            Ok(RawJson::of(&"done")?)
        }
        "child" => {
            let options = SendOptions::new().queue(cx.request().delivery_info.routing_key.clone());
            let child = cx.app().send_named("t.end", ("value", 1), json!({}), options).await?;
            Ok(RawJson::of(child.id())?)
        }
        _ => std::future::pending().await,
    }
}

/// As Python binds them to `end(self, how, value=None)`.
fn arguments(call: &Call) -> Result<(String, RawJson), TaskError> {
    let args: Vec<RawJson> = elements(call.args.as_str());
    let wrong = |message: &str| TaskError::fail(Failure::builtin("TypeError", message));
    let how = args.first().ok_or_else(|| wrong("end() missing 1 required positional argument: 'how'"))?;
    if args.len() > 2 {
        return Err(wrong("end() takes from 2 to 3 positional arguments but 4 were given"));
    }
    let keyword = call.kwargs.to_tree().get("value").cloned();
    let raw = |value: celeriac::protocol::Json| {
        let mut text = Vec::new();
        value.write(&mut text);
        RawJson::parse(text).unwrap()
    };
    let value = args.get(1).cloned().or(keyword.map(raw)).unwrap_or(RawJson::NULL);
    Ok((how.to_tree().as_str().unwrap().to_owned(), value))
}

/// The elements of a list, type tags and all.
fn elements(list: &str) -> Vec<RawJson> {
    let celeriac::protocol::Json::List(items) = RawJson::parse(list.to_owned()).unwrap().to_tree() else {
        return vec![];
    };
    let raw = |item: &celeriac::protocol::Json| {
        let mut text = Vec::new();
        item.write(&mut text);
        RawJson::parse(text).unwrap()
    };
    items.iter().map(raw).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_end_of_a_task_looks_the_same_whoever_runs_it_and_whoever_looks() {
    let setup = Setup::classic().await;
    let ours = setup
        .serve(|worker| {
            let worker = worker.queues([QUEUES[1]]).result_extended(true).events(true);
            worker.task_named("t.end", OPTIONS, end)
        })
        .await;
    let python = |program: &str, arguments: &[&str]| {
        let mut command = Command::new(testkit::python().with_file_name(program));
        command.args(arguments).current_dir(folder()).env("PYTHONDONTWRITEBYTECODE", "1");
        command.env("BROKER", &setup.broker).env("BACKEND", &setup.backend);
        command
    };
    let arguments = ["-A", "ends", "worker", "-c", "4", "-n", "w@python", "-Q", QUEUES[0], "-l", "INFO"];
    let mut celerys = Process::spawn("celery worker", python("celery", &arguments));
    celerys.wait_for_line(" ready.", LATER).await;

    let mut client = python("python", &["ends.py", QUEUES[0], QUEUES[1]]);
    let output = tokio::task::spawn_blocking(move || client.output().unwrap()).await.unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{}\n{}", text(&output.stderr), celerys.output());
    let views: Vec<serde_json::Map<String, Value>> = serde_json::from_slice(&output.stdout).unwrap();
    let differ = |end: &&String| without_traceback(&views[0][*end]) != without_traceback(&views[1][*end]);
    let different: Vec<_> = views[0].keys().filter(differ).map(|end| [&views[0][end], &views[1][end]]).collect();
    assert!(different.is_empty(), "Celery's and ours: {different:#?}");

    let app = setup.app().await;
    let (of_python, of_ours) = tokio::join!(look(&app, QUEUES[0]), look(&app, QUEUES[1]));
    assert_eq!(of_ours, of_python);
    // Of all that was sent, what is malformed too, at most one is held: if it was revoked after it came, until its ETA.
    testkit::eventually(LATER, async || ours.handle.unacknowledged() <= 1).await;
    assert_eq!(ours.app.broker().queue_depth(QUEUES[1]).await.unwrap().unwrap().messages, 0);
    ours.stop().await;
    celerys.signal(Signal::Terminate);
    celerys.wait(LATER).await;
}

/// There is nothing to trace in a failure that our bodies make themselves.
fn without_traceback(view: &Value) -> Value {
    let mut view = view.clone();
    if let Some(fields) = view.as_object_mut() {
        fields.remove("has_traceback");
    }
    view
}

/// What our client sees of the tasks of a worker.
async fn look(app: &App, queue: &str) -> Vec<(&'static str, Value)> {
    let options = || SendOptions::new().queue(queue);
    let rich = json!([
        {"__type__": "datetime", "__value__": "2024-02-29T12:00:00+00:00"},
        {"__type__": "uuid", "__value__": {"hex": "00000000000000000000000000000001"}},
        {"__type__": "decimal", "__value__": "12.3400"},
        "снег ☃",
        null,
        1.5e300
    ]);
    let second = || Duration::from_secs(1);
    let sent = [
        ("nothing", json!(["value"]), options()),
        ("rich", json!(["value", rich]), options()),
        ("compressed", json!(["value", "x".repeat(100)]), options().compression(Compression::Gzip)),
        ("late", json!(["value", 1]), options().countdown(Duration::from_millis(500))),
        ("builtin", json!(["builtin"]), options()),
        ("key", json!(["key"]), options()),
        ("silent", json!(["silent"]), options()),
        ("custom", json!(["custom"]), options()),
        ("wrong arguments", json!([]), options()),
        ("retried", json!(["retry"]), options()),
        ("exhausted", json!(["exhausted"]), options()),
        ("rejected", json!(["reject"]), options()),
        ("soft limit", json!(["sleep"]), options().soft_time_limit(second())),
        ("hard limit", json!(["sleep"]), options().time_limit(second())),
        ("progress", json!(["progress"]), options()),
        ("child", json!(["child"]), options()),
    ];
    let mut results = Vec::new();
    for (name, args, options) in sent {
        results.push((name, app.send_named("t.end", args, json!({}), options).await.unwrap()));
    }
    let unknown = app.send_named("t.unheard_of", json!([]), json!({}), options()).await.unwrap();
    results.push(("unknown", unknown));
    let mut seen = Vec::new();
    for (name, result) in results {
        let got = match result.clone().typed::<Value>().get(LATER).await {
            // The id of its child.
            Ok(_) if name == "child" => json!("an id"),
            Ok(value) => value,
            Err(GetError::Failed(failure)) => json!([failure.exc_module, failure.exc_type, failure.exc_message]),
            Err(other) => json!(other.to_string()),
        };
        let meta = result.meta().await.unwrap().unwrap();
        let extended = meta.extended.map(|extended| json!([extended.name, extended.retries]));
        let children = meta.children.map(|children| children.len());
        let told = json!([meta.state.as_str(), children, meta.date_done.is_some(), extended]);
        seen.push((name, json!([got, told])));
    }
    let running = app.send_named("t.end", json!(["sleep"]), json!({}), options()).await.unwrap();
    let mut watch = running.watch().await.unwrap();
    while watch.changed().await.unwrap().state != State::Started {}
    let terminate = Remote::terminate([running.id()]);
    Client::new(Arc::clone(app.broker())).cast(terminate).await.unwrap();
    seen.push(("terminated", json!(running.get(LATER).await.unwrap_err().to_string())));
    seen
}

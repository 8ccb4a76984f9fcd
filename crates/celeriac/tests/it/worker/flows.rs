//! Captured flows of a real Celery worker, played to ours: the same message comes in, the same must go out.
//!
//! `tests/fixtures/flow` holds what a Celery 5.7 worker published and stored for each message. Times, process ids and
//! tracebacks differ from run to run; everything else must be equal.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use celeriac::backend::{self, BackendOptions};
use celeriac::broker::{self, ConnectOptions, Publication};
use celeriac::protocol::{DeliveryMode, Headers, Message, Properties, RawJson, Value};
use celeriac::worker::{Call, WorkerHandle};
use celeriac::{App, Context, Failure, Task, TaskError, TaskOptions, TaskResult, Worker};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};
use tokio_util::sync::CancellationToken;

use super::on_every_broker;
use super::recording::{RecordingBackend, RecordingBroker};
use super::setup::{SOON, Setup};

on_every_broker!(
    values,
    failures,
    retries,
    time_limits,
    dropped_tasks,
    messages_that_are_no_tasks,
    messages_of_other_writers,
    states_on_the_way,
    extended_results,
);

async fn values(setup: Setup) {
    for flow in
        ["success_add", "success_none", "ignored_result", "result_compressed_none", "json_types_roundtrip", "eta_2s"]
    {
        replay(&setup, flow).await;
    }
}

async fn failures(setup: Setup) {
    let flows = [
        "failure_valueerror",
        "failure_custom_exception",
        "failure_wrong_args_send_task",
        "ignore",
        "reject_no_requeue",
    ];
    for flow in flows {
        replay(&setup, flow).await;
    }
}

async fn retries(setup: Setup) {
    for flow in ["retry_then_success", "retry_exhausted"] {
        replay(&setup, flow).await;
    }
}

async fn time_limits(setup: Setup) {
    for flow in ["soft_timeout", "hard_timeout"] {
        replay(&setup, flow).await;
    }
}

async fn dropped_tasks(setup: Setup) {
    for flow in ["expired", "revoked_before_run", "unknown_task"] {
        replay(&setup, flow).await;
    }
}

async fn messages_that_are_no_tasks(setup: Setup) {
    for flow in ["malformed_bad_json", "malformed_content_type_pickle", "malformed_no_headers"] {
        replay(&setup, flow).await;
    }
}

async fn messages_of_other_writers(setup: Setup) {
    for flow in ["minimal_headers_accepted", "minimal_headers_embed", "protocol1"] {
        replay(&setup, flow).await;
    }
}

async fn states_on_the_way(setup: Setup) {
    for flow in ["track_started", "progress_update_state"] {
        replay(&setup, flow).await;
    }
}

async fn extended_results(setup: Setup) {
    for flow in ["success", "failure", "retry", "progress", "track_started", "stamped"] {
        replay(&setup, &format!("result_extended/{flow}")).await;
    }
}

/// Plays the first message of a flow to a worker of ours and compares everything that follows.
async fn replay(setup: &Setup, flow: &str) {
    let fixture = Fixture::read(flow);
    let stage = Stage::set(setup, flow.starts_with("result_extended/"), &fixture.worker).await;
    if flow == "revoked_before_run" {
        stage.handle.revoke(&fixture.id, false);
    }
    stage.broker.inner.publish(fixture.first.clone()).await.unwrap();
    stage.until_it_is_over(&fixture).await;

    assert_eq!(stage.stored(), fixture.stored, "{flow}: what is stored");
    assert_eq!(stage.sent_again(), fixture.sent_again, "{flow}: what is sent again");
    assert_eq!(stage.events(), fixture.events, "{flow}: what is announced");
    stage.shutdown.cancel();
    stage.worker.await.unwrap().unwrap();
}

/// A worker whose broker and backend remember.
struct Stage {
    broker: Arc<RecordingBroker>,
    backend: Arc<RecordingBackend>,
    handle: WorkerHandle,
    shutdown: CancellationToken,
    worker: tokio::task::JoinHandle<Result<(), celeriac::WorkerError>>,
}

impl Stage {
    async fn set(setup: &Setup, extended: bool, hostname: &str) -> Self {
        let broker = broker::connect(&setup.broker, ConnectOptions::default()).await.unwrap();
        let broker = Arc::new(RecordingBroker::new(broker));
        let backend = backend::connect(&setup.backend, &BackendOptions::default()).await.unwrap();
        let backend = Arc::new(RecordingBackend { inner: backend, stored: Mutex::default() });
        let builder = App::builder().broker_instance(broker.clone()).backend_instance(backend.clone());
        let app = builder.queue_type(setup.queue_type).build().await.unwrap();
        app.declare_queue("celery").await.unwrap();
        let worker = Worker::builder(app).hostname(hostname).events(true).result_extended(extended);
        let worker = register(worker).build().unwrap();
        let (handle, shutdown) = (worker.handle(), CancellationToken::new());
        let worker = tokio::spawn(worker.run(shutdown.clone()));
        Self { broker, backend, handle, shutdown, worker }
    }

    /// Waits until as much has happened as in the flow, and the message is settled.
    async fn until_it_is_over(&self, fixture: &Fixture) {
        testkit::eventually(SOON, async || {
            let depth = self.broker.inner.queue_depth("celery").await.unwrap().unwrap_or_default();
            let seen = (self.stored().len(), self.sent_again().len(), self.events().len());
            let expected = (fixture.stored.len(), fixture.sent_again.len(), fixture.events.len());
            let is_over = seen == expected && depth.messages == 0 && self.handle.unacknowledged() == 0;
            if is_over { Ok(()) } else { Err((seen, expected, depth, self.events())) }
        })
        .await;
    }

    fn stored(&self) -> Vec<Json> {
        let stored = self.backend.stored.lock();
        stored.iter().map(|result| comparable_meta(&result.meta)).collect()
    }

    fn sent_again(&self) -> Vec<Json> {
        let published = self.broker.published.lock();
        published.iter().filter(|publication| publication.exchange.is_empty()).map(comparable_task).collect()
    }

    fn events(&self) -> Vec<Json> {
        let published = self.broker.published.lock();
        let events = published.iter().filter(|publication| publication.exchange == "celeryev");
        sorted(events.flat_map(|event| comparable_events(&serde_json::from_slice(&event.message.body).unwrap())))
    }
}

/// What was captured.
struct Fixture {
    id: String,
    worker: String,
    first: Publication,
    stored: Vec<Json>,
    sent_again: Vec<Json>,
    events: Vec<Json>,
}

impl Fixture {
    fn read(flow: &str) -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/fixtures/flow/{flow}.json"));
        let text = std::fs::read_to_string(path).unwrap();
        let json: Json = serde_json::from_str(&text).unwrap();
        let published = json["published"].as_array().unwrap();
        let mut tasks = published.iter().filter(|message| message["kind"] == "task");
        let first = captured(tasks.next().unwrap());
        let id = id_of(&first.message);
        let sent_again = tasks.map(|message| comparable_task(&captured(message))).collect();

        // Some captures hold an event or a result of the scenario before: those are about other tasks.
        let own = |event: &Json| event.to_string().contains(&id);
        let events = published.iter().filter(|message| message["kind"] == "event");
        let events = events.flat_map(|message| comparable_events(&message["body_json"])).filter(own);
        let worker = published.iter().filter(|message| message["routing_key"] == "task.multi");
        let worker = worker.filter_map(|message| message["headers"]["hostname"].as_str()).next();
        Self {
            worker: worker.unwrap_or("w1@cap").to_owned(),
            stored: stored(&json, flow).into_iter().filter(own).collect(),
            sent_again,
            events: without_doubles(sorted(events), flow),
            first,
            id,
        }
    }
}

/// The metadata that the worker wrote.
fn stored(json: &Json, flow: &str) -> Vec<Json> {
    let commands = json["redis_commands"].as_array().unwrap().iter().filter_map(|command| command["cmd"].as_str());
    let written = commands.filter_map(|command| command.strip_prefix("SETEX ")?.splitn(3, ' ').nth(2));
    // MONITOR shows quotes and backslashes of a payload with a backslash.
    let unescaped = written.map(|payload| payload.replace("\\\\", "\\"));
    let metas = unescaped.map(|payload| comparable_meta(&payload));
    match flow {
        // Measured twice: Celery's parent process and its pool both write it.
        "hard_timeout" => metas.take(1).collect(),
        // The first is written by the process that revokes.
        "revoked_before_run" => metas.skip(1).collect(),
        _ => metas.collect(),
    }
}

fn without_doubles(mut events: Vec<Json>, flow: &str) -> Vec<Json> {
    if flow == "hard_timeout" {
        events.dedup_by(|one, other| one["type"] == other["type"]);
    }
    events
}

fn sorted(events: impl Iterator<Item = Json>) -> Vec<Json> {
    let mut events: Vec<_> = events.collect();
    // Events of a retry and of the message that it sends come in any order.
    events.sort_by_key(|event| (event["retries"].as_u64().unwrap_or(0), event.to_string()));
    events
}

/// Metadata without what differs from run to run.
fn comparable_meta(text: &str) -> Json {
    let mut meta: Json = serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"));
    let keys = meta.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    if meta["status"] == "STARTED" {
        meta["result"]["pid"] = json!("some");
    }
    replace_if_there(&mut meta, "date_done");
    // Ours has a traceback only where there is something to trace.
    meta.as_object_mut().unwrap().remove("traceback");
    meta["(keys)"] = json!(keys);
    meta
}

/// A message of a task without what differs from run to run.
fn comparable_task(publication: &Publication) -> Json {
    let Publication { exchange, routing_key, message, .. } = publication;
    let mut headers = json_of(&Value::Table(message.headers.clone()));
    replace_if_there(&mut headers, "eta");
    let body: Json = serde_json::from_slice(&message.body).unwrap();
    let Properties { correlation_id, reply_to, priority, expiration, content_type, content_encoding, .. } =
        &message.properties;
    let properties = json!([correlation_id, reply_to, priority, expiration, content_type, content_encoding]);
    let is_persistent = message.properties.delivery_mode == DeliveryMode::Persistent;
    json!([exchange, routing_key, headers, body, properties, is_persistent])
}

/// The task events of a message, without what differs from run to run.
fn comparable_events(body: &Json) -> Vec<Json> {
    let events = body.as_array().cloned().unwrap_or_else(|| vec![body.clone()]);
    let is_ours =
        |event: &Json| event["type"].as_str().is_some_and(|kind| kind.starts_with("task-") && kind != "task-sent");
    events.into_iter().filter(is_ours).map(comparable_event).collect()
}

fn comparable_event(mut event: Json) -> Json {
    for key in ["hostname", "pid", "clock", "timestamp", "runtime", "traceback", "eta"] {
        replace_if_there(&mut event, key);
    }
    // Without a representation in the message Celery says nothing or null; ours says nothing.
    for key in ["args", "kwargs"] {
        if event.get(key).is_some_and(Json::is_null) {
            event[key] = json!("");
        }
    }
    // Celery wraps the exceptions of its pool, and shows the wrapping.
    if event["exception"] == "ExceptionWithTraceback()" {
        event["exception"] = json!("TimeLimitExceeded(2)");
    }
    event
}

fn replace_if_there(object: &mut Json, key: &str) {
    if let Some(value) = object.get_mut(key).filter(|value| !value.is_null()) {
        *value = json!("some");
    }
}

/// A captured message, to be published again.
fn captured(json: &Json) -> Publication {
    let text = |value: &Json| value.as_str().map(str::to_owned);
    let properties = &json["properties"];
    let body = match json["body_b64"].as_str() {
        Some(body) => base64::Engine::decode(&base64::engine::general_purpose::STANDARD, body).unwrap(),
        None => json["body_utf8"].as_str().unwrap().into(),
    };
    let headers = match value_of(&json["headers"]) {
        Value::Table(headers) => headers,
        _ => Headers::default(),
    };
    let message = Message {
        properties: Properties {
            content_type: text(&properties["content_type"]),
            content_encoding: text(&properties["content_encoding"]),
            correlation_id: text(&properties["correlation_id"]),
            reply_to: text(&properties["reply_to"]),
            priority: properties["priority"].as_u64().map(|priority| u8::try_from(priority).unwrap()),
            // A message that has expired may not even be delivered; the worker must know by itself.
            expiration: None,
            ..Properties::default()
        },
        headers,
        body: body.into(),
    };
    Publication { exchange: String::new(), routing_key: "celery".to_owned(), mandatory: true, message }
}

fn id_of(message: &Message) -> String {
    let header = message.headers.get("id").and_then(Value::as_str).map(str::to_owned);
    header.unwrap_or_else(|| {
        let body: Json = serde_json::from_slice(&message.body).unwrap_or_default();
        body["id"].as_str().unwrap_or("no id").to_owned()
    })
}

fn value_of(json: &Json) -> Value {
    match json {
        Json::Null => Value::Null,
        Json::Bool(flag) => Value::Bool(*flag),
        Json::Number(number) => number.as_i64().map_or_else(|| Value::Float(number.as_f64().unwrap()), Value::Int),
        Json::String(text) => Value::Str(text.clone()),
        Json::Array(items) => Value::List(items.iter().map(value_of).collect()),
        Json::Object(table) => Value::Table(table.iter().map(|(name, json)| (name.clone(), value_of(json))).collect()),
    }
}

fn json_of(value: &Value) -> Json {
    match value {
        Value::Bool(flag) => json!(flag),
        Value::Int(number) => json!(number),
        Value::Float(number) => json!(number),
        Value::Str(text) => json!(text),
        Value::List(items) => items.iter().map(json_of).collect(),
        Value::Table(table) => table.iter().map(|(name, value)| (name.to_owned(), json_of(value))).collect(),
        _ => Json::Null,
    }
}

// The tasks of the captured application.

macro_rules! tasks {
    ($($(#[$options:meta])* $task:ident { $($field:ident: $type:ty),* } => $body:expr;)*) => {
        $(
            #[derive(Task, Serialize, Deserialize)]
            $(#[$options])*
            struct $task { $($field: $type),* }
        )*

        fn register(worker: celeriac::WorkerBuilder) -> celeriac::WorkerBuilder {
            worker$(.task(body::<$task, _, _>($body)))*.task_named("proj.echo", TaskOptions::DEFAULT, echo)
        }
    };
}

/// Takes whatever comes: `def echo(*args, **kwargs)`.
async fn echo(call: Call, _: Context) -> TaskResult<RawJson> {
    Ok(RawJson::parse(format!(r#"{{"args": {}, "kwargs": {}}}"#, call.args, call.kwargs))?)
}

/// Says the types of a body.
fn body<T, F, Fut>(body: F) -> F
where
    F: Fn(T, Context) -> Fut,
    Fut: Future<Output = TaskResult<Json>>,
{
    body
}

tasks! {
    #[task(name = "proj.add")]
    Add { x: i64, y: i64 } => async |task, _| Ok(json!(task.x + task.y));
    #[task(name = "proj.noop")]
    Noop {} => async |_, _| Ok(Json::Null);
    #[task(name = "proj.ignored", ignore_result)]
    Ignored { x: i64 } => async |task, _| Ok(json!(task.x));
    #[task(name = "proj.fail")]
    Fail { msg: String } => async |task, _| Err(TaskError::fail(Failure::builtin("ValueError", task.msg)));
    #[task(name = "proj.fail_custom")]
    FailCustom { code: i64, msg: String } => async |task, _| {
        Err(TaskError::fail(Failure::new("CustomError", [json!(task.code), json!(task.msg)]).with_module("proj")))
    };
    #[task(name = "proj.ignore")]
    Ignore {} => async |_, _| Err(TaskError::ignore());
    #[task(name = "proj.reject", acks_late)]
    Reject { requeue: bool } => async |task, _| Err(TaskError::reject(task.requeue, "no thanks"));
    #[task(name = "proj.retry_task", max_retries = 2)]
    RetryTask { x: String, times: u32 } => async |task, cx| {
        if cx.request().retries < task.times {
            let cause = Failure::builtin("ValueError", format!("try again {}", task.x));
            return Err(TaskError::retry_in(Duration::from_millis(100), cause));
        }
        Ok(json!(task.x))
    };
    #[task(name = "proj.soft")]
    Soft { seconds: u64 } => async |task, _| {
        tokio::time::sleep(Duration::from_secs(task.seconds)).await;
        Ok(Json::Null)
    };
    #[task(name = "proj.hard")]
    Hard { seconds: u64 } => async |task, cx| {
        cx.cancelled().await;
        tokio::time::sleep(Duration::from_secs(task.seconds)).await;
        Ok(Json::Null)
    };
    #[task(name = "proj.sleep_started", track_started)]
    SleepStarted { seconds: f64 } => async |task, _| Ok(json!(task.seconds));
    #[task(name = "proj.progress")]
    Progress { total: u64 } => async |task, cx| {
        for current in 0..task.total {
            cx.update_state("PROGRESS", &json!({"current": current, "total": task.total})).await?;
        }
        Ok(json!({"done": task.total}))
    };
}

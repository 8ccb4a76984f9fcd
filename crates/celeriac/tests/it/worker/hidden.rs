//! What a task or a sender hides from operators stays hidden on every way: what is sent, announced, answered to remote
//! control, stored and logged is searched for the bytes of the secret. The bodies of task messages alone carry it.

use std::sync::Arc;

use celeriac::broker::Publication;
use celeriac::canvas::{Canvas, Signature};
use celeriac::control::Command;
use celeriac::protocol::{Compression, RawJson};
use celeriac::worker::Call;
use celeriac::{App, Context, Failure, GetError, SendOptions, Task, TaskError, TaskOptions, TaskResult, Worker};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use testkit::Tap;
use tokio::sync::Semaphore;

use super::recording::RecordingBroker;
use super::setup::{SOON, Serving, Setup};
use super::tasks::Log;
use crate::control::remote::Remote;

const SECRET: &str = "SECRET-4711";
const NONE: [u8; 0] = [];

/// What is not acknowledged has not ended yet.
const LATE: TaskOptions = TaskOptions { acks_late: true, ..TaskOptions::DEFAULT };

type Gate = Arc<Semaphore>;

#[derive(Task, Serialize, Deserialize)]
#[task(name = "t.pay", acks_late, max_retries = 2, default_retry_delay = "1ms")]
struct Pay {
    #[task(redact)]
    #[serde(alias = "code")]
    pin: String,
    #[serde(default)]
    how: String,
}

async fn pay(task: Pay, cx: Context<Gate>) -> TaskResult<usize> {
    match task.how.as_str() {
        "retry" if cx.request().retries == 0 => Err(TaskError::retry(Failure::new("Busy", [1]))),
        "fail" => Err(TaskError::fail(Failure::new("Declined", [1]))),
        "wait" => {
            let _passed = cx.state().acquire().await;
            Ok(0)
        }
        _ => Ok(task.pin.len()),
    }
}

#[derive(Task, Serialize, Deserialize)]
#[task(name = "t.pin", acks_late)]
struct Pin {
    #[task(redact)]
    pin: u32,
}

async fn pin(task: Pin, _: Context<Gate>) -> TaskResult<u32> {
    Ok(task.pin)
}

/// A task without a type: only its sender knows what is secret.
async fn any(call: Call, cx: Context<Gate>) -> TaskResult<RawJson> {
    if call.kwargs.as_str().contains("wait") {
        let _passed = cx.state().acquire().await;
    }
    Ok(RawJson::NULL)
}

/// Sends tasks that its worker knows, by name, and a workflow of them.
async fn begin(_: Call, cx: Context<Gate>) -> TaskResult<RawJson> {
    let app = cx.app();
    app.send_named("t.pay", NONE, json!({"pin": SECRET}), SendOptions::new()).await?;
    app.send_named("t.pay", NONE, json!({"code": SECRET}), SendOptions::new()).await?;
    app.send_named("t.pay", [SECRET], json!({}), SendOptions::new()).await?;
    app.send_named("t.pin", NONE, json!({"pin": SECRET}), SendOptions::new()).await?;
    // It hides something else, and not what the task hides.
    let shows = SendOptions::new().kwargsrepr(format!("{{'pin': '{SECRET}', 'how': '***'}}"));
    app.send_named("t.pay", NONE, json!({"pin": SECRET, "how": "x"}), shows).await?;
    app.publish(Signature::new("t.pay").kwarg("pin", SECRET) | named_pay()).await?;
    Ok(RawJson::NULL)
}

async fn become_another(call: Call, cx: Context<Gate>) -> TaskResult<RawJson> {
    let sig = call.kwargs.to_tree().get("sig").cloned().expect("the test gives one");
    cx.replace(Canvas::from_json(&sig).expect("it is a signature")).await
}

fn typed(how: &str) -> Signature {
    Signature::of(&Pay { pin: SECRET.to_owned(), how: how.to_owned() }).unwrap().immutable()
}

/// As Python writes `sig.set(argsrepr=…, kwargsrepr=…)`.
fn said() -> Signature {
    let task = Signature::new("t.any").arg(SECRET).kwarg("pin", SECRET);
    task.with("argsrepr", "('***',)").with("kwargsrepr", "{'pin': '***'}")
}

fn named_pay() -> Signature {
    Signature::new("t.pay").kwarg("pin", SECRET).immutable()
}

fn nothing() -> Signature {
    Signature::new("t.any").immutable()
}

/// A secret in every place of every kind of workflow.
fn workflows() -> Vec<(&'static str, Canvas)> {
    let mut workflows: Vec<(&'static str, Canvas)> = Vec::new();
    for hidden in [typed, |_: &str| said()] {
        workflows.extend([
            ("alone", hidden("").into()),
            ("first of a chain", hidden("") | nothing()),
            ("step of a chain", nothing() | hidden("") | hidden("")),
            ("group", Canvas::group([hidden(""), nothing()])),
            ("header of a chord", Canvas::chord([hidden(""), hidden("")], nothing())),
            ("body of a chord", Canvas::chord([nothing()], hidden(""))),
            ("link", Canvas::from(nothing()).link(hidden(""))),
            ("errback", Canvas::from(typed("fail")).link_error(hidden("").immutable())),
            ("replacement", Signature::new("t.become").kwarg("sig", hidden("").to_json()).into()),
            ("map", Canvas::map(&hidden(""), [SECRET, SECRET]).unwrap()),
            ("map of a chain", nothing() | Canvas::map(&hidden(""), [SECRET]).unwrap()),
        ]);
    }
    workflows.push(("retry", typed("retry").into()));
    workflows.push(("retry in a chain", nothing() | typed("retry") | said()));
    // The worker that sends it knows the task.
    workflows.push(("known where it is sent", nothing() | named_pay()));
    workflows
}

/// All that is logged at any level.
#[derive(Clone, Default)]
struct Logged(Arc<Mutex<Vec<String>>>);

impl tracing::field::Visit for Logged {
    fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn std::fmt::Debug) {
        self.0.lock().push(format!("{field}={value:?}"));
    }
}

impl tracing::Subscriber for Logged {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        metadata.target().starts_with("celeriac")
    }

    fn new_span(&self, attributes: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        attributes.record(&mut self.clone());
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}

    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        event.record(&mut self.clone());
    }

    fn enter(&self, _: &tracing::span::Id) {}

    fn exit(&self, _: &tracing::span::Id) {}
}

struct World {
    setup: Setup,
    broker: Arc<RecordingBroker>,
    serving: Serving,
    gate: Gate,
}

async fn world() -> World {
    world_of(Setup::memory().await).await
}

async fn world_of(setup: Setup) -> World {
    let inner = App::builder().broker(&setup.broker).backend(&setup.backend).build().await.unwrap();
    let broker = Arc::new(RecordingBroker::new(Arc::clone(inner.broker())));
    let app = App::builder().broker_instance(Arc::clone(&broker) as _).backend(&setup.backend).sent_events(true);
    let app = app.build().await.unwrap();
    let gate = Gate::new(Semaphore::new(0));
    let worker = Worker::builder(app.clone())
        .hostname("w@test")
        .mingle(false)
        .gossip(false)
        .events(true)
        .result_extended(true)
        .track_started(true)
        .concurrency(1)
        .prefetch_multiplier(100)
        .state(Arc::clone(&gate))
        .task(pay)
        .task(pin)
        .task_named("t.any", LATE, any)
        .task_named("t.begin", LATE, begin)
        .task_named("t.become", LATE, become_another);
    let serving = Serving::start(app, worker.build().unwrap(), Log::default());
    World { setup, broker, serving, gate }
}

/// What can be seen of a message: of a task everything but its body, of events and replies all.
fn visible(publication: &Publication) -> String {
    let message = &publication.message;
    let body = match message.headers.get("task") {
        Some(_) => String::new(),
        None => String::from_utf8_lossy(&message.body).into_owned(),
    };
    format!("{} {:?} {:?} {body}", publication.routing_key, message.properties, message.headers)
}

impl World {
    /// Nothing that was published until now shows the secret; and something was.
    fn assert_hidden(&self, what: &str) {
        let published = std::mem::take(&mut *self.broker.published.lock());
        assert!(!published.is_empty(), "{what}");
        for publication in &published {
            let seen = visible(publication);
            assert!(!seen.contains(SECRET), "{what}: {seen}");
        }
    }

    /// Nor do the results of tasks that were sent.
    async fn assert_results_hidden(&self, ids: &[String]) {
        assert!(!ids.is_empty());
        for id in ids {
            let stored = self.serving.app.backend().get(id).await.unwrap().unwrap_or_default();
            assert!(!stored.contains(SECRET), "{stored}");
        }
    }

    fn sent(&self) -> Vec<String> {
        let published = self.broker.published.lock();
        let ids = published.iter().filter_map(|publication| publication.message.headers.get("id")?.as_str());
        ids.map(str::to_owned).collect()
    }
}

#[tokio::test]
async fn what_is_hidden_stays_hidden_in_workflows_events_results_and_logs() {
    let logged = Logged::default();
    let _subscriber = tracing::subscriber::set_default(logged.clone());
    let world = world().await;
    for (what, canvas) in workflows() {
        let published = world.serving.app.publish(canvas).await.expect(what);
        let ended = published.get::<Value>(SOON).await;
        assert!(!matches!(ended, Err(GetError::Timeout { .. })), "{what}");
        world.serving.settled("celery").await;
        let sent = world.sent();
        world.assert_hidden(what);
        world.assert_results_hidden(&sent).await;
    }
    let begun = world.serving.app.send_named("t.begin", NONE, json!({}), SendOptions::new()).await.unwrap();
    begun.get(SOON).await.unwrap();
    world.serving.settled("celery").await;
    let sent = world.sent();
    assert!(sent.len() >= 7, "{sent:?}");
    world.assert_hidden("sent by a worker that knows the task");
    world.assert_results_hidden(&sent).await;

    let hides = || SendOptions::new().argsrepr("('***',)").kwargsrepr("{'pin': '***'}");
    world.serving.app.send(Pay { pin: SECRET.to_owned(), how: String::new() }).await.unwrap();
    let sent = world.serving.app.send_named("t.any", [SECRET], json!({"pin": SECRET}), hides()).await.unwrap();
    sent.get(SOON).await.unwrap();
    world.serving.settled("celery").await;
    world.assert_hidden("sent");
    let meta = sent.meta().await.unwrap().unwrap();
    let extended = meta.extended.unwrap();
    assert_eq!(extended.kwargs.unwrap().as_str(), r#""{'pin': '***'}""#, "what stands for it is seen");
    assert_eq!(extended.args.unwrap().as_str(), r#""('***',)""#);

    // By a program that knows nothing of what the task hides.
    let stranger = world.setup.app().await;
    let shown = json!({"pin": SECRET, "how": "retry"});
    let sent = stranger.send_named("t.pay", NONE, shown, SendOptions::new()).await.unwrap();
    sent.get(SOON).await.unwrap();
    world.serving.settled("celery").await;
    world.assert_hidden("sent by a stranger");
    world.assert_results_hidden(&[sent.id().to_owned()]).await;

    let lines = logged.0.lock().clone();
    assert!(lines.iter().any(|line| line.contains("t.pay")), "bodies run in spans");
    assert!(!lines.iter().any(|line| line.contains(SECRET)), "{lines:?}");
    world.serving.stop().await;
}

/// The same workflow, with the bodies of all its messages compressed: what can be read on the wire then is not in a body.
fn compressed(canvas: &Canvas) -> Canvas {
    fn compress(json: &mut Value) {
        match json {
            Value::Array(items) => items.iter_mut().for_each(compress),
            Value::Object(fields) => {
                fields.values_mut().for_each(compress);
                if fields.contains_key("task") && fields.contains_key("kwargs") {
                    let options = fields.entry("options").or_insert_with(|| json!({}));
                    options["compression"] = json!("gzip");
                }
            }
            _ => {}
        }
    }
    let mut json = serde_json::to_value(canvas.to_json()).expect("it is JSON");
    compress(&mut json);
    Canvas::from_json(&RawJson::of(&json).expect("it is JSON").to_tree()).expect("it is a workflow still")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_hidden_is_not_among_the_bytes_to_rabbitmq_but_in_bodies_and_not_among_those_to_redis() {
    let (vhost, redis) = tokio::join!(testkit::rabbitmq(), testkit::redis());
    let (broker, results) = (Tap::on(&vhost.amqp_url()).await, Tap::on(redis.url()).await);
    let mut setup = Setup::memory().await;
    setup.broker = broker.url().to_owned();
    setup.backend = results.url().to_owned();
    let world = world_of(setup).await;
    let app = &world.serving.app;
    let silent = |what: &str| {
        for (tap, wire) in [(&broker, "RabbitMQ"), (&results, "Redis")] {
            let heard = tap.heard();
            let at = heard.find(SECRET).map(|at| heard[..at].chars().rev().take(300).collect::<Vec<_>>());
            let before: Option<String> = at.map(|text| text.into_iter().rev().collect());
            assert_eq!(before, None, "{what}: on the wire to {wire}, after this");
        }
    };
    for (what, canvas) in workflows() {
        let ended = app.publish(compressed(&canvas)).await.expect(what).get::<Value>(SOON).await;
        assert!(!matches!(ended, Err(GetError::Timeout { .. })), "{what}");
        world.serving.settled("celery").await;
        silent(what);
    }
    let packed = || SendOptions::new().compression(Compression::Gzip);
    let pay = |how: &str| Pay { pin: SECRET.to_owned(), how: how.to_owned() };
    app.send_with(pay("retry"), packed()).await.unwrap().get(SOON).await.unwrap();
    let late = packed().countdown(std::time::Duration::from_millis(100));
    app.send_with(pay(""), late).await.unwrap().get(SOON).await.unwrap();
    let hides = packed().argsrepr("('***',)").kwargsrepr("{'pin': '***'}");
    app.send_named("t.any", [SECRET], json!({"pin": SECRET}), hides).await.unwrap().get(SOON).await.unwrap();
    world.serving.settled("celery").await;
    silent("sent");
    // The taps hear: what is not hidden, what stands for it, and a body that is not compressed.
    for (tap, known) in [(&broker, "t.pay"), (&broker, "***"), (&results, "***")] {
        assert!(tap.heard().contains(known), "{known}");
    }
    app.send(pay("")).await.unwrap().get(SOON).await.unwrap();
    assert!(broker.heard().contains(SECRET) && !results.heard().contains(SECRET));
    world.serving.stop().await;
}

#[tokio::test]
async fn what_is_hidden_stays_hidden_from_remote_control() {
    let world = world().await;
    let remote = Remote::of(&world.serving.app, &["w@test"]).await;
    let wait = || Pay { pin: SECRET.to_owned(), how: "wait".to_owned() };
    let hides = || SendOptions::new().argsrepr("('***',)").kwargsrepr("{'***': '***'}");
    let map = Canvas::map(&typed(""), [SECRET]).unwrap();
    let stranger = world.setup.app().await;
    let later = || hides().countdown(std::time::Duration::from_secs(3600));
    let app = &world.serving.app;
    // One runs, others wait for its slot, others for their time.
    let first = app.send(wait()).await.unwrap();
    testkit::eventually(SOON, async || {
        let active = remote.ask(Command::active(false)).await;
        active.as_array().is_some_and(|active| active.len() == 1)
    })
    .await;
    let mut ids = vec![first.id().to_owned()];
    ids.push(app.send(wait()).await.unwrap().id().to_owned());
    ids.push(app.send_named("t.any", [SECRET], json!({"wait": SECRET}), hides()).await.unwrap().id().to_owned());
    ids.push(app.publish(map).await.unwrap().id().to_owned());
    let shown = SendOptions::new();
    ids.push(stranger.send_named("t.pay", [SECRET], json!({}), shown).await.unwrap().id().to_owned());
    ids.push(app.send_named("t.any", [SECRET], json!({"pin": SECRET}), later()).await.unwrap().id().to_owned());
    ids.push(app.send_with(wait(), later()).await.unwrap().id().to_owned());
    testkit::eventually(SOON, async || {
        let known = remote.ask(Command::query_task(ids.clone())).await;
        known.as_object().is_some_and(|known| known.len() == ids.len())
    })
    .await;
    let mut asked = 0;
    for command in [
        Command::active(false),
        Command::active(true),
        Command::reserved(),
        Command::scheduled(),
        Command::query_task(ids.clone()),
        Command::stats(),
        Command::report(),
    ] {
        let method = command.method().to_owned();
        let told: Value = remote.ask(command).await;
        assert!(!told.to_string().contains(SECRET), "{method}: {told}");
        asked += usize::from(told.to_string().contains("***"));
    }
    assert_eq!(asked, 5, "each of the tasks is shown with what stands for its secret");
    world.assert_hidden("remote control");
    world.gate.add_permits(100);
    first.get(SOON).await.unwrap();
    world.assert_hidden("ended");
    world.serving.stop().await;
}

/// The client of AMQP logs what comes back with its body.
#[tokio::test]
async fn no_broadcast_of_remote_control_asks_to_be_returned() {
    let setup = Setup::memory().await;
    let inner = setup.app().await;
    let broker = Arc::new(RecordingBroker::new(Arc::clone(inner.broker())));
    let app = App::builder().broker_instance(Arc::clone(&broker) as _).backend(&setup.backend).build().await.unwrap();
    let worker =
        Worker::builder(app.clone())
            .hostname("alone@test")
            .task_named("t.any", LATE, |_: Call, _: Context| async { Ok(RawJson::NULL) });
    let serving = Serving::start(app.clone(), worker.build().unwrap(), Log::default());
    let remote = Remote::of(&app, &["alone@test"]).await;
    remote.0.cast(Command::revoke(["x"]).to(["nobody@nowhere"])).await.unwrap();
    let published = broker.published.lock().clone();
    let control: Vec<_> = published.iter().filter(|publication| publication.exchange.contains("pidbox")).collect();
    assert!(control.iter().any(|publication| String::from_utf8_lossy(&publication.message.body).contains("hello")));
    assert!(control.iter().all(|publication| !publication.mandatory), "{control:?}");
    serving.stop().await;
}

//! What is told of tasks inside the process, and the trace that goes with them.

use std::sync::Arc;
use std::time::Duration;

use celeriac::canvas::Signature;
use celeriac::protocol::{RawJson, Revocation};
use celeriac::worker::{Call, TaskEnd, TaskFailure, TaskHooks};
use celeriac::{Context, Failure, Request, SendOptions, TaskError, TaskOptions, TaskResult, Worker};
use parking_lot::Mutex;
use serde_json::{Value, json};

use super::on_every_broker;
use super::setup::{SOON, Serving, Setup};
use super::tasks::{Autoretry, FailUnacknowledged, Log, Nothing, Panic, Unexpected};

on_every_broker!(
    hooks_are_told_of_each_task_and_whether_its_failure_was_foreseen,
    each_beginning_that_is_told_has_its_end_with_how_long_the_body_ran,
    a_trace_goes_with_all_that_a_task_sends_and_with_what_follows_it,
);

#[derive(Clone, Default)]
struct Told(Arc<Mutex<Vec<String>>>);

impl Told {
    fn say(&self, what: &str, request: &Request) {
        self.0.lock().push(format!("{what} {} {}", request.task, request.retries));
    }
}

impl TaskHooks for Told {
    fn on_start(&self, request: &Request) {
        self.say("start", request);
    }

    fn on_success(&self, request: &Request, _: Duration) {
        self.say("success", request);
    }

    fn on_retry(&self, request: &Request, _: &Failure) {
        self.say("retry", request);
    }

    fn on_failure(&self, request: &Request, failure: &TaskFailure<'_>) {
        self.say(if failure.unexpected { "unexpected" } else { "failure" }, request);
    }

    fn on_revoked(&self, request: &Request, why: Revocation) {
        self.say(&format!("{why:?}"), request);
    }
}

async fn hooks_are_told_of_each_task_and_whether_its_failure_was_foreseen(setup: Setup) {
    let told = Told::default();
    let worker = setup.serve(|worker| worker.concurrency(1).hooks(told.clone())).await;
    let app = &worker.app;
    app.send(Nothing).await.unwrap();
    app.send(FailUnacknowledged).await.unwrap();
    app.send(Unexpected).await.unwrap();
    app.send(Panic).await.unwrap();
    app.send(Autoretry).await.unwrap();
    worker.handle.revoke("revoked", false);
    app.send_with(Nothing, SendOptions::new().task_id("revoked")).await.unwrap();
    testkit::eventually(SOON, async || told.0.lock().iter().any(|line| line == "unexpected t.autoretry 1")).await;
    worker.settled("celery").await;
    let mut lines = told.0.lock().clone();
    lines.sort();
    assert_eq!(
        lines,
        [
            "failure t.fail_unacknowledged 0",
            "retry t.autoretry 0",
            "start t.autoretry 0",
            "start t.autoretry 1",
            "start t.fail_unacknowledged 0",
            "start t.nothing 0",
            "start t.panic 0",
            "start t.unexpected 0",
            "success t.nothing 0",
            "unexpected t.autoretry 1",
            "unexpected t.panic 0",
            "unexpected t.unexpected 0",
        ]
    );
    worker.stop().await;
}

/// Beginnings without their ends, and the ends.
#[derive(Clone, Default)]
struct Pairs {
    open: Arc<Mutex<Vec<String>>>,
    ends: Arc<Mutex<Vec<(String, TaskEnd, Duration)>>>,
}

impl TaskHooks for Pairs {
    fn on_start(&self, request: &Request) {
        self.open.lock().push(request.id.clone());
    }

    fn on_end(&self, request: &Request, end: TaskEnd, runtime: Duration) {
        let mut open = self.open.lock();
        let begun = open.iter().position(|id| *id == request.id).expect("it has begun");
        open.remove(begun);
        self.ends.lock().push((request.id.clone(), end, runtime));
    }
}

/// Ends as its argument says, after a moment.
async fn ends(call: Call, cx: Context) -> TaskResult<RawJson> {
    tokio::time::sleep(Duration::from_millis(20)).await;
    let how: Vec<String> = serde_json::from_str(call.args.as_str())?;
    let failure = || Failure::new("Busy", ["later"]);
    match how[0].as_str() {
        "ignore" => Err(TaskError::ignore()),
        "reject" => Err(TaskError::reject(false, "no")),
        "requeue" if !cx.redelivered() => Err(TaskError::reject(true, "later")),
        "retry" if cx.request().retries == 0 => Err(TaskError::retry_in(Duration::ZERO, failure())),
        "replace" => cx.replace(Signature::new("h.ends").arg("value")).await,
        "fail" => Err(TaskError::fail(failure())),
        "panic" => panic!("out of cheese"),
        "hang" => std::future::pending().await,
        _ => Ok(RawJson::NULL),
    }
}

async fn each_beginning_that_is_told_has_its_end_with_how_long_the_body_ran(setup: Setup) {
    let pairs = Pairs::default();
    let app = setup.app().await;
    let options = TaskOptions { acks_late: true, ..TaskOptions::DEFAULT };
    let worker = Worker::builder(app.clone()).hostname("w@test").task_named("h.ends", options, ends);
    let cold = tokio_util::sync::CancellationToken::new();
    let worker = worker.hooks(pairs.clone()).cold(cold.clone()).build().unwrap();
    let worker = Serving::start(app.clone(), worker, Log::default());
    let send = async |how: &str, id: &str| {
        app.send_named("h.ends", [how], json!({}), SendOptions::new().task_id(id)).await.unwrap();
    };
    for how in ["value", "ignore", "reject", "requeue", "retry", "replace", "fail", "panic"] {
        send(how, how).await;
    }
    for id in ["terminated", "dropped"] {
        send("hang", id).await;
        testkit::eventually(SOON, async || pairs.open.lock().iter().any(|open| open == id)).await;
    }
    testkit::eventually(SOON, async || pairs.ends.lock().len() >= 11).await;
    worker.handle.revoke("terminated", true);
    testkit::eventually(SOON, async || pairs.ends.lock().len() >= 12).await;
    cold.cancel();
    let handle = worker.handle.clone();
    worker.ended().await;

    assert_eq!(*pairs.open.lock(), Vec::<String>::new());
    let ends = pairs.ends.lock().clone();
    let mut told: Vec<_> = ends.iter().map(|(id, end, _)| format!("{id} {end:?}")).collect();
    told.sort();
    assert_eq!(
        told,
        [
            "dropped Dropped",
            "fail Failed",
            "ignore Ignored",
            "panic Failed",
            "reject Rejected { requeue: false }",
            "replace Replaced",
            "replace Succeeded",
            "requeue Rejected { requeue: true }",
            "requeue Succeeded",
            "retry Retried",
            "retry Succeeded",
            "terminated Revoked",
            "value Succeeded",
        ]
    );
    assert!(ends.iter().all(|(_, _, runtime)| *runtime >= Duration::from_millis(15)), "{ends:?}");
    assert_eq!(handle.dropped(), 1);
}

/// Answers the trace headers that it came with.
async fn trace(_: Call, cx: Context) -> TaskResult<RawJson> {
    let header = |name: &str| cx.request().headers.get(name).and_then(|value| value.as_str().map(str::to_owned));
    Ok(RawJson::of(&json!([header("traceparent"), header("baggage"), header("sentry-trace"), header("tenant")]))?)
}

/// Sends one task directly and one as a workflow; answers their ids.
async fn sends(_: Call, cx: Context) -> TaskResult<RawJson> {
    let none: [u8; 0] = [];
    let direct = cx.app().send_named("h.trace", none, json!({}), SendOptions::new()).await?;
    let published = cx.app().publish(Signature::new("h.trace")).await?;
    Ok(RawJson::of(&[direct.id(), published.id()])?)
}

async fn a_trace_goes_with_all_that_a_task_sends_and_with_what_follows_it(setup: Setup) {
    const NONE: [u8; 0] = [];
    const TRACEPARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let app = setup.app().await;
    let worker = Worker::builder(app.clone()).hostname("w@test").mingle(false).gossip(false);
    let worker =
        worker.task_named("h.trace", TaskOptions::DEFAULT, trace).task_named("h.sends", TaskOptions::DEFAULT, sends);
    let worker = Serving::start(app.clone(), worker.build().unwrap(), Log::default());

    let options = SendOptions::new().header("traceparent", TRACEPARENT).header("baggage", "a=b").header("tenant", "x");
    let options = options.link(Signature::new("h.trace").with("task_id", "follows").immutable());
    let sent = app.send_named("h.sends", NONE, json!({}), options).await.unwrap().typed::<Vec<String>>();
    let mut ids = sent.get(SOON).await.unwrap();
    ids.push("follows".to_owned());
    for id in ids {
        let seen: Value = app.result(&id).get(SOON).await.unwrap();
        assert_eq!(seen, json!([TRACEPARENT, "a=b", null, null]), "the trace, and nothing else");
    }
    worker.stop().await;
}

/// What a layer that reports errors would see.
#[derive(Clone, Default)]
struct Errors(Arc<Mutex<Vec<String>>>);

impl tracing::field::Visit for Errors {
    fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn std::fmt::Debug) {
        self.0.lock().push(format!("{field}={value:?}"));
    }
}

impl tracing::Subscriber for Errors {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        *metadata.level() == tracing::Level::ERROR
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
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

#[tokio::test]
async fn only_failures_that_nobody_foresaw_are_errors_in_the_log_with_tags_and_without_arguments() {
    let errors = Errors::default();
    let _subscriber = tracing::subscriber::set_default(errors.clone());
    let worker = Setup::memory().await.serve(|worker| worker).await;
    worker.app.send(FailUnacknowledged).await.unwrap();
    let id = worker.app.send(Unexpected).await.unwrap().id().to_owned();
    testkit::eventually(SOON, async || !errors.0.lock().is_empty()).await;
    worker.settled("celery").await;
    let seen = errors.0.lock().clone();
    for field in ["tags.task=\"t.unexpected\"", "tags.queue=\"celery\"", "tags.retries=0", &format!("task_id=\"{id}\"")]
    {
        assert!(seen.iter().any(|line| line == field), "{field} in {seen:?}");
    }
    assert!(!seen.iter().any(|line| line.contains("PaymentDeclined") || line.contains("args")), "{seen:?}");
    worker.stop().await;
}

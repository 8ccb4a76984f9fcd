use std::time::Duration;

use celeriac::canvas::Signature;
use celeriac::testing::TestApp;
use celeriac::{App, Context, Failure, SendOptions, Task, TaskError, TaskResult};
use clap::Parser;
use opentelemetry::trace::SpanKind;
use opentelemetry_sdk::trace::{InMemorySpanExporter, SimpleSpanProcessor, SpanData};
use serde::{Deserialize, Serialize};
use tracing::Instrument as _;
use tracing_subscriber::layer::SubscriberExt as _;

use super::*;

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    traces: TracesConfig,
}

#[derive(Task, Serialize, Deserialize)]
#[task(name = "t.charge", max_retries = 3)]
struct Charge {}

#[derive(Task, Serialize, Deserialize, Debug, PartialEq)]
#[task(name = "t.receipt")]
struct Receipt {}

/// Sends a receipt, and succeeds the second time.
async fn charge(_: Charge, cx: Context) -> TaskResult<()> {
    if cx.request().retries == 0 {
        return Err(TaskError::retry_in(Duration::ZERO, Failure::new("Busy", ["later"])));
    }
    tracing::trace_span!("gateway", path = "/payments/cards/charge", status = 200, outcome = "ok", token = "secret")
        .in_scope(|| ());
    cx.app().send(Receipt {}).await?;
    Ok(())
}

async fn receipt(_: Receipt, _: Context) -> TaskResult<()> {
    Ok(())
}

/// Spans that were kept while `work` was done.
async fn spans_of(arguments: &[&str], work: impl AsyncFnOnce(&TestApp)) -> Vec<SpanData> {
    let line = Line::try_parse_from([&["billing"], arguments].concat()).unwrap();
    let kept = InMemorySpanExporter::default();
    let traces = Traces(line.traces.provider(SimpleSpanProcessor::new(Translated(kept.clone()))));
    let _log = tracing::subscriber::set_default(tracing_subscriber::registry().with(traces.layer()));
    let test = TestApp::with(App::builder().propagator(Arc::new(OpenTelemetry))).await;
    work(&test).await;
    kept.get_finished_spans().unwrap()
}

#[track_caller]
fn named<'a>(spans: &'a [SpanData], name: &str) -> Vec<&'a SpanData> {
    let found: Vec<_> = spans.iter().filter(|span| span.name == name).collect();
    assert!(!found.is_empty(), "no {name} in {:?}", spans.iter().map(|span| &span.name).collect::<Vec<_>>());
    found
}

fn attribute(span: &SpanData, name: &str) -> Option<String> {
    let found = span.attributes.iter().find(|attribute| attribute.key.as_str() == name);
    found.map(|attribute| attribute.value.to_string())
}

#[tokio::test]
async fn what_is_sent_and_all_that_follows_from_it_is_one_trace() {
    let spans = spans_of(&[], async |test| {
        let request = tracing::info_span!("request", method = "billing.v1.Payments/CreatePayment", code = "Ok");
        let follows = SendOptions::new().link(Signature::new("t.receipt").with("task_id", "follows").immutable());
        test.app().send_with(Charge {}, follows).instrument(request).await.unwrap();
        test.run_until_idle(|worker| worker.task(charge).task(receipt)).await;
    })
    .await;

    let request = named(&spans, "billing.v1.Payments/CreatePayment")[0];
    let [sent] = named(&spans, "apply_async/t.charge")[..] else {
        panic!("one is sent, and a retry is none of its own")
    };
    let [first, second] = named(&spans, "run/t.charge")[..] else { panic!("it runs twice") };
    let trace = request.span_context.trace_id();
    assert!(spans.iter().all(|span| span.span_context.trace_id() == trace), "{spans:?}");
    assert_eq!(sent.parent_span_id, request.span_context.span_id());
    assert_eq!((&sent.span_kind, &first.span_kind), (&SpanKind::Producer, &SpanKind::Consumer));
    assert_eq!((first.parent_span_id, first.links.len()), (sent.span_context.span_id(), 0));
    assert_eq!(attribute(first, "celeriac.outcome").as_deref(), Some("retried"));

    // The second run goes on from the first, and says so.
    assert_eq!(second.parent_span_id, first.span_context.span_id());
    let linked: Vec<_> = second.links.iter().map(|link| link.span_context.span_id()).collect();
    assert_eq!(linked, [first.span_context.span_id()]);
    assert_eq!(attribute(second, "celery.retries").as_deref(), Some("1"));

    // What its body does and sends, and what follows from its success, are its children.
    let gateway = named(&spans, "POST /payments/cards/charge")[0];
    assert_eq!(gateway.parent_span_id, second.span_context.span_id());
    assert!(!format!("{gateway:?}").contains("secret"), "only fields of the list leave");
    let receipts = named(&spans, "apply_async/t.receipt");
    assert_eq!(receipts.len(), 2);
    assert!(receipts.iter().all(|sent| sent.parent_span_id == second.span_context.span_id()), "{receipts:?}");
    let runs = named(&spans, "run/t.receipt");
    assert!(runs.iter().all(|run| receipts.iter().any(|sent| sent.span_context.span_id() == run.parent_span_id)));
}

const FOREIGN: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

#[tokio::test]
async fn a_trace_that_somebody_else_began_goes_on() {
    let spans = spans_of(&[], async |test| {
        // As a message that is sent on says it, by whoever is in no trace himself.
        let options = SendOptions::new().header("traceparent", FOREIGN).header("tracestate", "vendor=1");
        test.app().send_with(Receipt {}, options).await.unwrap();
        test.run_until_idle(|worker| worker.task(receipt)).await;
    })
    .await;
    let run = named(&spans, "run/t.receipt")[0];
    let sent = named(&spans, "apply_async/t.receipt")[0];
    assert_eq!(sent.parent_span_id.to_string(), "b7ad6b7169203331");
    assert_eq!(run.span_context.trace_id().to_string(), "0af7651916cd43dd8448eb211c80319c");
    assert_eq!(run.span_context.trace_state().header(), "vendor=1");
}

#[tokio::test]
async fn what_is_not_kept_keeps_its_trace_id_all_the_same() {
    let mut traceparent = None;
    let spans = spans_of(&["--otel-traces-sampler=parentbased_always_off"], async |test| {
        test.app().send(Receipt {}).await.unwrap();
        let sent = test.assert_enqueued(&Receipt {});
        traceparent = TraceContext::of(&sent.message.headers);
    })
    .await;
    assert!(spans.is_empty(), "{spans:?}");
    assert!(traceparent.unwrap().traceparent().ends_with("-00"), "whoever receives it does not keep it either");
}

#[test]
fn a_wrong_setting_is_refused() {
    for wrong in [
        "--otel-exporter-otlp-endpoint=collector:4317",
        "--otel-exporter-otlp-endpoint=ftp://collector",
        "--otel-traces-sampler=sometimes",
        "--otel-traces-sampler-arg=2",
        "--otel-traces-sampler-arg=NaN",
    ] {
        assert!(Line::try_parse_from(["billing", wrong]).is_err(), "{wrong}");
    }
}

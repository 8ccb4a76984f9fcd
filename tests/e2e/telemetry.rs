//! Traces and reports, as the servers that take them see them: one payment's trace is whole, a report says what it is about,
//! and neither tells anything that nobody may read.

mod collector;
mod sentry;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use billing_api::proto::period::Length;
use billing_api::proto::{CreatePaymentRequest, PaymentStatus, payments_client::PaymentsClient};
use celeriac::beat::store::{self, Lease, Progress, Record};
use chrono::TimeDelta;
use serde_json::Value;
use testkit::{Process, eventually};
use tokio_postgres::NoTls;
use uuid::Uuid;

use self::collector::{Collector, Kept};
use self::sentry::Sentry;
use crate::cinema::{ASKS_THREE_DS, CARD, Cinema};
use crate::secrecy::assert_none_is_told;
use crate::system::System;

const PATIENCE: Duration = Duration::from_secs(60);

/// A trace that the frontend began, and its span.
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00f067aa0ba902b7";

/// The tick of an entry that comes once an hour was due while no beat was there.
async fn is_overdue(results: &str, entry: &str) {
    let store = store::connect(results).await.unwrap();
    let term = store.lead("the one before", Duration::from_secs(5)).await.unwrap().expect("nobody leads");
    let lease = Lease { beat: "the one before".to_owned(), term };
    let progress = Progress { handled: Some(billing::clock::now() - TimeDelta::hours(2)), sending: None };
    let record = Record { entry: entry.to_owned(), progress: Some(progress), sent_at: None, disable: false };
    store.record(&lease, &[record]).await.unwrap();
    store.resign(&lease).await.unwrap();
}

fn scripts() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("e2e/telemetry")
}

#[tokio::test(flavor = "multi_thread")]
async fn one_payment_is_one_trace_and_an_error_one_issue_and_nobody_is_told_a_secret() {
    let (collector, sentry) = tokio::join!(Collector::start(), Sentry::start());
    let (vhost, redis) = tokio::join!(testkit::rabbitmq(), testkit::redis());
    is_overdue(redis.url(), "keep-history").await;
    let settings = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url()),
        ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20collector-key"),
        ("OTEL_BSP_SCHEDULE_DELAY", "100"),
        ("SENTRY_DSN", sentry.dsn()),
        ("SENTRY_ENVIRONMENT", "e2e"),
        ("SENTRY_RELEASE", "billing@7"),
        // As Celery declares them: its producer is among us.
        ("QUEUE_TYPE", "classic"),
    ];
    let system = System::start_with(&vhost.amqp_url(), redis.url(), "0ms", &settings).await;
    let mut worker = system.worker_with("traced", &[("LOG_FORMAT", "json"), ("LOG", "warn")]).await;
    let cinema = Cinema::connect(system.api, system.sandbox).await;
    let account_id = cinema.sign_up().await;
    let cryptogram = cinema.cryptogram(CARD).await;

    let request = CreatePaymentRequest {
        account_id: account_id.clone(),
        tariff_id: cinema.tariff(Length::Months(1)),
        card_cryptogram_packet: cryptogram.clone(),
        ip_address: "203.0.113.7".to_owned(),
        idempotency_key: Uuid::new_v4().to_string(),
        trial: None,
    };
    let mut request = tonic::Request::new(request);
    request.metadata_mut().insert("authorization", "Bearer frontend-dev".parse().unwrap());
    request.metadata_mut().insert("traceparent", format!("00-{TRACE}-{PARENT}-01").parse().unwrap());
    let mut api = PaymentsClient::connect(format!("http://{}", system.api)).await.unwrap();
    let payment = api.create_payment(request).await.unwrap().into_inner();
    let paid = cinema.outcome(&payment.payment_id, PATIENCE).await;
    assert_eq!(paid.status(), PaymentStatus::Succeeded);

    // From the call to the card.
    let spans = eventually(PATIENCE, async || {
        let spans: Vec<_> = collector.spans().into_iter().filter(|span| span.trace_id == TRACE).collect();
        let is_whole = spans.iter().any(|span| span.name == "run/billing.charge_payment");
        if is_whole { Ok(spans) } else { Err(collector.names()) }
    })
    .await;
    let one = |name: &str| {
        let found: Vec<&Kept> = spans.iter().filter(|span| span.name == name).collect();
        assert_eq!(found.len(), 1, "{name} in {spans:#?}");
        found[0]
    };
    let call = one("billing.v1.Payments/CreatePayment");
    let sent = one("apply_async/billing.charge_payment");
    let run = one("run/billing.charge_payment");
    let gateway = one("POST /payments/cards/charge");
    assert_eq!(call.parent, PARENT);
    assert_eq!((&sent.parent, &run.parent, &gateway.parent), (&call.id, &sent.id, &run.id));
    for work in [call, run] {
        // What the database did for it, statement by statement, and no value.
        let of_database = |span: &&Kept| span.has("db.query.text") && span.parent == work.id;
        let statements: Vec<&Kept> = spans.iter().filter(of_database).collect();
        let row = statements.iter().find(|span| span.name.ends_with(" payment")).expect("its own row");
        assert_eq!(row.attribute("db.system.name"), "postgresql");
        assert_eq!(row.attribute("db.collection.name"), "payment");
        assert_eq!(row.attribute("db.query.summary"), row.name);
        assert!(row.name.starts_with(row.attribute("db.operation.name")), "{row:?}");
        assert!(row.attribute("db.query.text").contains("$1"), "{row:?}");
        assert!(statements.iter().any(|span| span.name == "COMMIT"), "{statements:#?}");
        assert!(!statements.iter().any(|span| span.name == "BEGIN"), "{statements:#?}");
        assert_eq!(work.attribute("billing.payment_id"), payment.payment_id);
    }
    assert_eq!(gateway.attribute("http.response.status_code"), "200");
    assert_eq!(gateway.attribute("billing.gateway.outcome"), "ok");
    assert_eq!(gateway.attribute("url.path"), "/payments/cards/charge");
    assert_eq!(run.attribute("celeriac.outcome"), "succeeded");
    assert_eq!(run.service, "billing");

    // What is written down of it names the trace.
    let (database, connection) = tokio_postgres::connect(system.database_url(), NoTls).await.unwrap();
    tokio::spawn(connection);
    let query = "select distinct trace_id from event where payment_id::text = $1";
    let traces = database.query(query, &[&payment.payment_id]).await.unwrap();
    let traces: Vec<Option<&str>> = traces.iter().map(|row| row.get(0)).collect();
    assert_eq!(traces, [Some(TRACE)]);

    // A Python producer's trace goes on in our worker; its third attempt at a payment that is not there is an error.
    let nobody = Uuid::new_v4().to_string();
    let broker = vhost.amqp_url();
    let begun = testkit::run_python(scripts().join("producer.py"), [&broker, &nobody]).await;
    let begun: Value = serde_json::from_str(begun.trim()).unwrap();
    let report =
        eventually(PATIENCE, async || sentry.reports().into_iter().find(|report| report.contains(&nobody))).await;
    let report: Value = serde_json::from_str(&report).unwrap();
    assert_eq!((&report["release"], &report["environment"]), (&"billing@7".into(), &"e2e".into()), "{report:#}");
    let tags = &report["tags"];
    assert_eq!((&tags["task"], &tags["payment_id"]), (&"billing.charge_payment".into(), &nobody.clone().into()));
    assert_eq!((&tags["trace_id"], &tags["task_id"]), (&begun["trace_id"], &begun["task_id"]));
    let kind = report["fingerprint"].as_array().unwrap();
    assert_eq!((&kind[0], &kind[1], kind.len()), (&"task".into(), &"billing.charge_payment".into(), 3), "{kind:?}");
    assert!(!report["fingerprint"].to_string().contains(&nobody), "reports of one kind are one issue");
    let foreign = eventually(PATIENCE, async || {
        let of_the_trace = |span: &Kept| begun["trace_id"] == span.trace_id.as_str();
        collector.spans().into_iter().find(|span| of_the_trace(span) && span.name == "run/billing.charge_payment")
    })
    .await;
    assert_eq!(begun["span_id"], foreign.parent.as_str());
    assert_eq!(foreign.links, [(foreign.trace_id.clone(), foreign.parent.clone())], "it says that it is a retry");
    assert_eq!(foreign.error.as_deref(), Some("failed"));

    // The line of the log says all of that, too, although little is logged.
    let line = worker.wait_for_line(&nobody, PATIENCE).await;
    let line: Value = serde_json::from_str(&line).unwrap();
    let span = &line["spans"][0];
    assert_eq!((&line["level"], &span["payment_id"]), (&"ERROR".into(), &nobody.clone().into()), "{line:#}");
    assert_eq!((&span["trace_id"], &span["task_id"]), (&begun["trace_id"], &begun["task_id"]), "{line:#}");

    // The timetable is kept.
    let check_ins = eventually(PATIENCE, async || {
        let told: Vec<Value> =
            sentry.check_ins().into_iter().filter(|told| told["monitor_slug"] == "keep-history").collect();
        if told.len() >= 2 { Ok(told) } else { Err(told) }
    })
    .await;
    assert_eq!((&check_ins[0]["status"], &check_ins[1]["status"]), (&"in_progress".into(), &"ok".into()));
    assert_eq!(check_ins[0]["check_in_id"], check_ins[1]["check_in_id"]);
    assert_eq!(check_ins[0]["monitor_config"]["schedule"]["value"], 60);
    assert_eq!(check_ins[0]["environment"], "e2e");

    // With the bank's page, and a token: what they were told by then holds none of it.
    let asks_cryptogram = cinema.cryptogram(ASKS_THREE_DS).await;
    let asks = cinema.buy_with(&cinema.sign_up().await, &asks_cryptogram, Length::Months(1)).await;
    let answer = cinema.answered(&asks, PATIENCE).await;
    cinema.submit(&asks.payment_id, &answer).await;
    assert_eq!(cinema.outcome(&asks.payment_id, PATIENCE).await.status(), PaymentStatus::Succeeded);
    eventually(PATIENCE, async || collector.names().iter().any(|name| name == "POST /payments/cards/post3ds")).await;
    let mut secrets = vec![answer.1, ASKS_THREE_DS.to_owned(), CARD.to_owned(), cryptogram, asks_cryptogram];
    secrets.extend(cinema.tokens().await);
    secrets.extend(["frontend-dev", "auth-dev", "sk_sandbox", "203.0.113.7", "collector-key"].map(str::to_owned));
    assert_eq!(collector.authorization().as_deref(), Some("Bearer collector-key"));
    for (told, what) in [(collector.told(), "a trace"), (sentry.told(), "a report")] {
        assert!(told.contains(&nobody), "{what} is being watched");
        assert_none_is_told(&told, &secrets, what);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_python_worker_goes_on_with_our_trace() {
    let (collector, vhost) = tokio::join!(Collector::start(), testkit::rabbitmq());
    let mut command = Command::new(testkit::python().with_file_name("celery"));
    command.args(["-A", "traced_worker", "worker", "-P", "solo", "-Q", "traced", "-l", "INFO"]);
    command.current_dir(scripts()).env("BROKER_URL", vhost.amqp_url());
    let mut python = Process::spawn("celery worker", command);
    python.wait_for_line(" ready.", PATIENCE).await;
    let mut call = Process::billing(&["call", "t.traced", "--queue", "traced"], |command| {
        command.env("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url()).env("BROKER_URL", vhost.amqp_url());
    })
    .await;
    assert!(call.wait(PATIENCE).await.success(), "{}", call.output());
    let sent = eventually(PATIENCE, async || {
        let spans = collector.spans();
        spans.into_iter().find(|span| span.name == "apply_async/t.traced").ok_or_else(|| collector.names())
    })
    .await;
    let line = python.wait_for_line("SPAN ", PATIENCE).await;
    let span: Value = serde_json::from_str(line.split("SPAN ").nth(1).unwrap()).unwrap();
    assert_eq!(span["name"], "run/t.traced");
    assert_eq!((&span["trace_id"], &span["parent"]), (&sent.trace_id.into(), &sent.id.into()));
}

//! What leaves this process of a span: its name by OpenTelemetry's conventions, and the fields of a list. What is not on it
//! stays here.
//!
//! Done where spans are sent, on a thread of its own: those who make them spend nothing on it.

use std::time::Duration;

use opentelemetry::trace::{SpanKind, Status};
use opentelemetry::{KeyValue, Value};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{SpanData, SpanExporter};

use super::statements::Statement;

/// An exporter that is given our spans.
#[derive(Debug)]
pub(super) struct Translated<E>(pub(super) E);

impl<E: SpanExporter> SpanExporter for Translated<E> {
    fn export(&self, mut batch: Vec<SpanData>) -> impl Future<Output = OTelSdkResult> + Send {
        batch.retain(|span| !is_probe(span) && !begins_a_transaction(span));
        batch.iter_mut().for_each(translate);
        self.0.export(batch)
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.0.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.0.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.0.set_resource(resource);
    }
}

/// How our spans of one name are told.
struct Convention {
    /// The name of the span in this program.
    span: &'static str,
    kind: SpanKind,
    /// What the name begins with, and the field that it ends with.
    name: (&'static str, Option<&'static str>),
    /// Fields and what they are called.
    fields: &'static [(&'static str, &'static str)],
    /// What is the same for all.
    constant: &'static [(&'static str, &'static str)],
}

/// Names as `opentelemetry-instrumentation-celery` and the semantic conventions have them.
const CONVENTIONS: [Convention; 6] = [
    Convention {
        span: "request",
        kind: SpanKind::Server,
        name: ("", Some("method")),
        fields: &[
            ("method", "rpc.method"),
            ("code", "rpc.response.status_code"),
            ("request_id", "billing.request_id"),
            ("payment_id", "billing.payment_id"),
        ],
        constant: &[("rpc.system.name", "grpc")],
    },
    Convention {
        span: "notification",
        kind: SpanKind::Server,
        name: ("notification/", Some("kind")),
        fields: &[("payment_id", "billing.payment_id")],
        constant: &[("http.request.method", "POST")],
    },
    Convention {
        span: "send",
        kind: SpanKind::Producer,
        name: ("apply_async/", Some("task")),
        fields: &[
            ("task", "celery.task_name"),
            ("task_id", "messaging.message.id"),
            ("queue", "messaging.destination.name"),
        ],
        constant: &[("celery.action", "apply_async")],
    },
    Convention {
        span: "task",
        kind: SpanKind::Consumer,
        name: ("run/", Some("task")),
        fields: &[
            ("task", "celery.task_name"),
            ("task_id", "messaging.message.id"),
            ("queue", "messaging.destination.name"),
            ("retries", "celery.retries"),
            ("outcome", "celeriac.outcome"),
            ("monitor", "celeriac.entry"),
            ("payment_id", "billing.payment_id"),
            ("refund_id", "billing.refund_id"),
        ],
        constant: &[("celery.action", "run")],
    },
    Convention {
        span: "gateway",
        kind: SpanKind::Client,
        name: ("POST ", Some("path")),
        fields: &[
            ("path", "url.path"),
            ("status", "http.response.status_code"),
            ("outcome", "billing.gateway.outcome"),
        ],
        constant: &[("http.request.method", "POST"), ("peer.service", "cloudpayments")],
    },
    Convention {
        span: "database",
        kind: SpanKind::Client,
        name: ("database", None),
        fields: &[],
        constant: &[("db.system.name", "postgresql")],
    },
];

/// Ends of our work that are errors: of a task, of a call of the gateway, of a request.
const ERRORS: [&str; 9] = [
    "failed",
    "unknown",
    "our_fault",
    "safe_to_retry",
    "Internal",
    "Unknown",
    "Unavailable",
    "DeadlineExceeded",
    "DataLoss",
];

/// Whether somebody asks for our health, as is done every few seconds.
fn is_probe(span: &SpanData) -> bool {
    let is_health =
        |field: &KeyValue| field.key.as_str() == "method" && field.value.as_str().starts_with("grpc.health.");
    span.name == "request" && span.attributes.iter().any(is_health)
}

/// A transaction is told by its statements and its end; that it begins says nothing more.
fn begins_a_transaction(span: &SpanData) -> bool {
    let is_begin = |field: &KeyValue| field.key.as_str() == "statement" && field.value.as_str().starts_with("BEGIN");
    span.name == "database" && span.attributes.iter().any(is_begin)
}

/// As the conventions for databases have it: named by what it does to which table.
fn tell_statement(span: &mut SpanData, text: &str) {
    let statement = Statement::read(text);
    let summary = statement.summary();
    span.name = summary.clone().into();
    span.attributes.push(KeyValue::new("db.query.summary", summary));
    span.attributes.push(KeyValue::new("db.operation.name", statement.operation));
    span.attributes.extend(statement.table.map(|table| KeyValue::new("db.collection.name", table)));
    span.attributes.push(KeyValue::new("db.query.text", statement.text));
}

fn translate(span: &mut SpanData) {
    span.events = opentelemetry_sdk::trace::SpanEvents::default();
    let fields = std::mem::take(&mut span.attributes);
    let Some(convention) = CONVENTIONS.iter().find(|convention| convention.span == span.name) else { return };
    let value = |name: &str| fields.iter().find(|field| field.key.as_str() == name).map(|field| &field.value);
    let (prefix, named) = convention.name;
    let suffix = named.and_then(value).map(Value::as_str).unwrap_or_default();
    span.name = format!("{prefix}{suffix}").into();
    span.span_kind = convention.kind.clone();
    let told = convention.fields.iter();
    span.attributes = told.filter_map(|(name, told)| Some(KeyValue::new(*told, value(name)?.clone()))).collect();
    span.attributes.extend(convention.constant.iter().map(|(name, value)| KeyValue::new(*name, *value)));
    if let Some(text) = value("statement") {
        tell_statement(span, &text.as_str());
    }
    let end = value("outcome").or_else(|| value("code")).map(Value::as_str);
    if let Some(end) = end.filter(|end| ERRORS.contains(&&**end)) {
        span.status = Status::error(end.into_owned());
    }
}

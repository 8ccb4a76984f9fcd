//! The headers by which tracing tools follow work from process to process. What a task sends carries those that it came
//! with, so that all of a workflow is one trace.

use super::Headers;

/// W3C trace context and baggage as OpenTelemetry's instrumentation of Celery writes them, and Sentry's own.
const TRACE: [&str; 4] = ["traceparent", "tracestate", "baggage", "sentry-trace"];

/// Adds the trace of one message to another, unless that has one; tells whether it had none.
pub(crate) fn pass_on(from: &Headers, to: &mut Headers) -> bool {
    if TRACE.iter().any(|name| to.get(name).is_some()) {
        return false;
    }
    for name in TRACE {
        if let Some(value) = from.get(name) {
            to.push(name, value.clone());
        }
    }
    true
}

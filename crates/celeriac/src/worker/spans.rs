//! The span of a task: what is logged of it says whose it is, and it takes its place in the trace that its message says.

use tracing::Span;
use tracing::field::Empty;

use super::run::Run;
use crate::context::Request;
use crate::trace::TraceContext;

/// The span in which a body runs.
pub(super) fn begin_span(run: &Run) -> Span {
    let (request, shared) = (&run.request, run.shared());
    let span = shared.hooks.iter().find_map(|hook| hook.span(request)).unwrap_or_else(|| plain(request));
    let from = TraceContext::of(&request.headers);
    let Some(propagator) = shared.app.propagator() else {
        if let Some(from) = from {
            span.record("trace_id", from.trace_id());
            let _ = run.trace.set(from);
        }
        return span;
    };
    if let Some(from) = &from {
        propagator.continue_from(&span, from);
        if request.retries > 0 {
            propagator.link(&span, from);
        }
    }
    if let Some(place) = propagator.context(&span) {
        span.record("trace_id", place.trace_id());
        let _ = run.trace.set(place);
    }
    span
}

fn plain(request: &Request) -> Span {
    tracing::info_span!(
        "task",
        task = request.task,
        task_id = request.id,
        queue = request.delivery_info.routing_key,
        retries = request.retries,
        trace_id = Empty,
        outcome = Empty,
    )
}

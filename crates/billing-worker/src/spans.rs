//! The span of a task: what is logged of it, and what is traced, names the payment that it is about.

use celeriac::Request;
use celeriac::protocol::Value;
use celeriac::worker::TaskHooks;
use serde::Deserialize;
use tracing::Span;
use tracing::field::{Empty, display};
use uuid::Uuid;

pub(crate) struct Spans;

/// What a task may be about.
#[derive(Deserialize)]
struct About {
    payment_id: Option<Uuid>,
    refund_id: Option<Uuid>,
}

impl TaskHooks for Spans {
    fn span(&self, request: &Request) -> Option<Span> {
        let monitor = request.headers.get("sentry-monitor-slug").and_then(Value::as_str);
        // Of this level, lines say whose they are however little `LOG` asks for.
        let span = tracing::error_span!(
            "task",
            task = request.task,
            task_id = request.id,
            queue = request.delivery_info.routing_key,
            retries = request.retries,
            payment_id = Empty,
            refund_id = Empty,
            monitor,
            trace_id = Empty,
            outcome = Empty,
        );
        let about = serde_json::from_slice::<About>(request.kwargs.as_bytes());
        if let Ok(About { payment_id, refund_id }) = about {
            if let Some(id) = payment_id {
                span.record("payment_id", display(id));
            }
            if let Some(id) = refund_id {
                span.record("refund_id", display(id));
            }
        }
        Some(span)
    }
}

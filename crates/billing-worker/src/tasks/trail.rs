//! Whatever a task writes into the log of events says which task it was; and who follows the log is woken once it has ended.

use std::pin::Pin;

use billing::event::Source;
use billing::trail::{self, Trail};
use celeriac::protocol::Value;
use celeriac::{Context, Request, TaskResult};

use crate::desk::Desk;

type Running<R> = Pin<Box<dyn Future<Output = TaskResult<R>> + Send>>;

/// The body of a task, on the trail of its message.
pub(super) fn on<T, R, F, Fut>(source: Source, body: F) -> impl Fn(T, Context<Desk>) -> Running<R> + Send + Sync
where
    F: Fn(T, Context<Desk>) -> Fut + Send + Sync,
    Fut: Future<Output = TaskResult<R>> + Send + 'static,
    R: 'static,
{
    move |task, cx| {
        let trail = of(source, cx.request());
        let desk = cx.state().clone();
        let running = body(task, cx);
        Box::pin(trail::follow(trail, async move {
            let ended = running.await;
            desk.tell_news();
            ended
        }))
    }
}

/// The longest ids that the log takes, in characters.
const MAX_TASK_ID: usize = 255;
const MAX_TRACE_ID: usize = 64;

fn of(source: Source, request: &Request) -> Trail {
    Trail {
        task_id: Some(request.id.chars().take(MAX_TASK_ID).collect()),
        trace_id: trace_id(request),
        worker: Some(request.hostname.to_string()),
        attempt: i32::try_from(request.retries).unwrap_or(i32::MAX).saturating_add(1),
        ..Trail::of(source)
    }
}

/// As OpenTelemetry's `traceparent` has it (`version-trace-parent-flags`), or Sentry's own header (`trace-span-sampled`).
fn trace_id(request: &Request) -> Option<String> {
    let header = |name| match request.headers.get(name) {
        Some(Value::Str(text)) => Some(text.as_str()),
        _ => None,
    };
    let id = header("traceparent")
        .and_then(|text| text.split('-').nth(1))
        .or_else(|| header("sentry-trace").and_then(|text| text.split('-').next()))?;
    (!id.is_empty()).then(|| id.replace('\0', "").chars().take(MAX_TRACE_ID).collect())
}

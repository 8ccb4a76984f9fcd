//! Whatever a task writes into the log of events says which task it was; and who follows the log is woken once it has ended.

use std::pin::Pin;

use billing::event::Source;
use billing::trail::{self, Trail};
use celeriac::protocol::Value;
use celeriac::trace::TraceContext;
use celeriac::{Context, TaskResult};

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
        let trail = of(source, &cx);
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

fn of(source: Source, cx: &Context<Desk>) -> Trail {
    let request = cx.request();
    Trail {
        task_id: Some(request.id.chars().take(MAX_TASK_ID).collect()),
        trace_id: trace_id(cx),
        worker: Some(request.hostname.to_string()),
        attempt: i32::try_from(request.retries).unwrap_or(i32::MAX).saturating_add(1),
        ..Trail::of(source)
    }
}

/// That of OpenTelemetry, or the one of Sentry's own header (`trace-span-sampled`).
fn trace_id(cx: &Context<Desk>) -> Option<String> {
    let sentrys = || cx.request().headers.get("sentry-trace").and_then(Value::as_str)?.split('-').next();
    let id = cx.trace().map(TraceContext::trace_id).or_else(sentrys)?;
    (!id.is_empty()).then(|| id.replace('\0', "").chars().take(MAX_TRACE_ID).collect())
}

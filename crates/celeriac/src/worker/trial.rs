//! Whether a task that was delivered before may begin.

use std::sync::Arc;

use tokio::sync::OwnedSemaphorePermit;

use super::attempts;
use super::live::{Start, Waited, wait_in_line, with_patience};
use super::run::{Phase, Run};
use super::workflow::Ending;
use crate::protocol::{ResultMeta, State};

/// Whether a task that was delivered before may begin now: it may have succeeded, or it is suspected to have killed its
/// worker, or has done so too often. A suspect has a `trial`, beside which there is no other in this worker.
pub(super) async fn begin_again(
    run: &Arc<Run>,
    mut permit: OwnedSemaphorePermit,
    trial: &mut Option<OwnedSemaphorePermit>,
) -> Start {
    if run.deduplicates() && has_succeeded(run).await {
        return Start::Succeeded;
    }
    if attempts::is_suspect(run).await {
        drop(permit);
        match with_patience(run, wait_for_trial(run, trial)).await {
            Start::Now(slot) => permit = slot,
            start => return start,
        }
    }
    match attempts::begin(run).await {
        Some(deliveries) => Start::Spent(deliveries),
        None => Start::Now(permit),
    }
}

async fn wait_for_trial(run: &Run, trial: &mut Option<OwnedSemaphorePermit>) -> Waited {
    // It is not the pool that it waits for.
    run.enter(Phase::Limited);
    *trial = Arc::clone(&run.shared().trials).acquire_owned().await.ok();
    wait_in_line(run, run.slots().line_up()).await
}

/// Whether the success of a task is stored: the worker that ran it could not acknowledge its message
/// (`celery/app/trace.py`, `deduplicate_successful_tasks`). Its part in a chord may be missing.
async fn has_succeeded(run: &Arc<Run>) -> bool {
    let stored = run.app().backend().get(&run.request.id).await.ok().flatten();
    let Some(meta) = stored.and_then(|stored| ResultMeta::from_json(&stored).ok()) else { return false };
    if meta.state != State::Success {
        return false;
    }
    tracing::info!(task = run.request.task, id = run.request.id, "task has succeeded before, and is not run again");
    if run.request.embed.chord.is_some() {
        Ending::of(run).part(State::Success, meta.result).await;
    }
    true
}

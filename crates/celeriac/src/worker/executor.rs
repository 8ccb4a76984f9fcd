//! Runs a body within its limits, and survives it.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::time::{Instant, sleep_until};

use super::conclusion::Outcome;
use super::run::{Begun, Limits, Run};
use crate::protocol::{RawJson, Revocation};
use crate::task::{Failure, TaskError};

/// Runs a body to its end: its answer, or that it was dropped.
pub(super) async fn execute(run: &Arc<Run>, begun: Begun) -> Outcome {
    let body = Arc::clone(run).scope(run.task.run(Arc::clone(run)));
    let body = AssertUnwindSafe(body).catch_unwind();
    tokio::pin!(body);

    let Limits { soft, hard } = begun.limits;
    let hard_limit = limit(begun.at, hard);
    let soft_limit = limit(begun.at, soft);
    tokio::pin!(hard_limit, soft_limit);
    let mut is_told = false;
    loop {
        tokio::select! {
            biased;
            answer = &mut body => return match outcome(answer, begun.at) {
                // It was told that it is terminated, and gave up: that is no failure of its own.
                Outcome::Answered(_) if run.cancellation.is_terminated() => Outcome::Revoked(Revocation::Terminated),
                outcome => outcome,
            },
            () = run.cancellation.terminated() => return Outcome::Revoked(Revocation::Terminated),
            () = run.shared().abandon.cancelled() => return Outcome::Cancelled,
            () = &mut hard_limit => return Outcome::TimeLimit(hard.unwrap_or_default()),
            () = &mut soft_limit, if !is_told => {
                // A thread cannot be dropped: its body looks for itself.
                if !run.cancellation.listens() && !run.task.is_blocking {
                    return Outcome::SoftTimeLimit;
                }
                run.cancellation.tell();
                is_told = true;
            }
        }
    }
}

/// Waits for a limit; for ever if there is none.
async fn limit(begun: Instant, limit: Option<Duration>) {
    match limit.and_then(|limit| begun.checked_add(limit)) {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}

type Answer = Result<Result<RawJson, TaskError>, Box<dyn Any + Send>>;

fn outcome(answer: Answer, begun: Instant) -> Outcome {
    match answer {
        Ok(Ok(result)) => Outcome::Succeeded { result, runtime: begun.elapsed() },
        Ok(Err(error)) => Outcome::Answered(error),
        Err(panic) => Outcome::Answered(TaskError::Fail(panicked(panic.as_ref()))),
    }
}

/// The exception type of a body that panicked.
pub(super) const PANIC: &str = "Panic";

/// The failure of a body that panicked. Where it did stands in the log, written by the panic hook.
fn panicked(panic: &(dyn Any + Send)) -> Failure {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    Failure::new(PANIC, [text.unwrap_or_else(|| "panic".to_owned())])
}

//! The life of one task: it waits until it may begin, runs, and its conclusion goes to be settled.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use super::admission::{Admission, admit};
use super::conclusion::{Case, Outcome};
use super::executor::execute;
use super::run::{Phase, Run};
use super::settle::Settlement;
use super::workflow::Ending;
use crate::backend::StoredResult;
use crate::protocol::event::EventBody;
use crate::protocol::{ResultMeta, Revocation};

/// Lives the life of a task. `admission` is what was said when its message arrived, a moment ago.
pub(super) async fn live(run: Arc<Run>, admission: Admission) {
    let shared = Arc::clone(run.shared());
    let slot = shared.state.insert(Arc::clone(&run));
    let start = match at_once(&run, admission) {
        Some(start) => start,
        None => with_patience(&run).await,
    };
    let outcome = match start {
        Start::Now(permit) => {
            let outcome = perform(&run).await;
            drop(permit);
            Some(outcome)
        }
        Start::Never(why) => Some(Outcome::Revoked(why)),
        Start::GiveBack => {
            run.channel.reject(run.tag, true);
            None
        }
        Start::DeliveredAgain => None,
    };
    shared.state.remove(slot);
    if let Some(outcome) = outcome {
        conclude(&run, outcome).await;
    }
}

enum Start {
    Now(OwnedSemaphorePermit),
    Never(Revocation),
    /// The worker stops: another one may run the task.
    GiveBack,
    /// The connection was lost, and this message comes again.
    DeliveredAgain,
}

/// The usual case: nothing to wait for.
fn at_once(run: &Run, admission: Admission) -> Option<Start> {
    if run.shared().stop.is_cancelled() {
        return Some(Start::GiveBack);
    }
    if admission != Admission::Run || run.task.is_rate_limited() {
        return None;
    }
    run.shared().pool.try_take().map(Start::Now)
}

/// Waits until the task may begin, unless the worker stops or the message's connection is lost meanwhile.
async fn with_patience(run: &Run) -> Start {
    let Some(patience) = run.channel.patience(run.tag.generation) else { return Start::DeliveredAgain };
    let waited = patience.run_until_cancelled(wait(run)).await;
    // A slot that becomes free because the worker stops is no reason to begin.
    let waited = waited.filter(|_| !patience.is_cancelled());
    match waited {
        Some(Ok(permit)) => Start::Now(permit),
        Some(Err(why)) => Start::Never(why),
        None if run.shared().stop.is_cancelled() => Start::GiveBack,
        None => Start::DeliveredAgain,
    }
}

/// Waits for the ETA, for the rate limit and for a free slot.
async fn wait(run: &Run) -> Result<OwnedSemaphorePermit, Revocation> {
    wait_for_eta(run).await?;
    wait_for_rate(run).await;
    run.enter(Phase::Reserved);
    let permit = run.shared().pool.take().await;
    // It may have been revoked, or have expired, while it waited.
    match admission_now(run, crate::clock::now()) {
        Admission::Drop(why) => Err(why),
        Admission::Hold(_) | Admission::Run => Ok(permit),
    }
}

async fn wait_for_eta(run: &Run) -> Result<(), Revocation> {
    let mut held = None;
    loop {
        let now = crate::clock::now();
        match admission_now(run, now) {
            Admission::Drop(why) => return Err(why),
            Admission::Run => return Ok(()),
            Admission::Hold(until) => {
                run.enter(Phase::Scheduled);
                held.get_or_insert_with(|| run.channel.hold());
                sleep_towards(until, now).await;
            }
        }
    }
}

/// Waits for a place under the task's rate limit, and anew when that is changed.
async fn wait_for_rate(run: &Run) {
    let mut changes = run.task.rate_changes();
    loop {
        let delay = run.task.reserve_rate(Instant::now());
        if delay.is_zero() {
            return;
        }
        run.enter(Phase::Limited);
        tokio::select! {
            () = tokio::time::sleep(delay) => return,
            _ = changes.changed() => {}
        }
    }
}

/// Sleeps until a time of the wall clock, but not for long at once: that clock may be set.
async fn sleep_towards(until: DateTime<Utc>, now: DateTime<Utc>) {
    const LOOK_AGAIN: Duration = Duration::from_secs(60);
    tokio::time::sleep((until - now).to_std().unwrap_or_default().min(LOOK_AGAIN)).await;
}

fn admission_now(run: &Run, now: DateTime<Utc>) -> Admission {
    admit(&run.request, run.shared().state.is_revoked(&run.request, Instant::now()), now)
}

/// Runs the body, with what is said and stored at its beginning.
async fn perform(run: &Arc<Run>) -> Outcome {
    let shared = run.shared();
    let begun = run.begin(crate::clock::now(), Instant::now());
    let options = &run.task.options;
    if !options.acks_late {
        run.channel.acknowledge(run.tag);
    }
    if options.track_started || shared.settings.track_started {
        let meta = ResultMeta::started(run.request.id.clone(), shared.pid, &shared.hostname);
        run.channel.settle(Settlement::state(stored(&run.described(meta))));
    }
    if run.is_announced {
        shared.events.announce(EventBody::TaskStarted { uuid: run.request.id.as_str().into() });
    }
    shared.state.begun();
    let outcome = execute(run, begun).await;
    shared.state.ended();
    outcome
}

/// Works out what follows from the end of a task and hands it over.
async fn conclude(run: &Run, outcome: Outcome) {
    let case = Case {
        request: &run.request,
        options: Some(&run.task.options),
        children: run.children(),
        is_acknowledged: run.begun().is_some() && !run.task.options.acks_late,
        signal: run.cancellation.signal(),
        extended: run.shared().settings.result_extended,
        now: crate::clock::now(),
        random: fastrand::f64(),
    };
    let conclusion = case.conclude(outcome);
    let (request, tag, is_announced) = (&run.request, run.tag, run.is_announced);
    if request.embed.is_empty() {
        run.channel.settle(Settlement::of(conclusion, request, tag, is_announced));
    } else {
        let ending = Ending { shared: run.shared(), channel: &run.channel, request, tag, is_announced };
        ending.settle(conclusion).await;
    }
}

pub(super) fn stored(meta: &ResultMeta) -> StoredResult {
    StoredResult { task_id: meta.task_id.clone(), is_final: meta.state.is_ready(), meta: meta.to_json() }
}

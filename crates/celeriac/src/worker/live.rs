//! The life of one task: it waits until it may begin, runs, and its conclusion goes to be settled.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;
use tracing::{Instrument as _, Span};

use super::admission::{Admission, admit, tell_dropped};
use super::attempts;
use super::cluster::{self, Claims, Turn};
use super::conclusion::{Case, Conclusion, Outcome, Report};
use super::executor::execute;
use super::hooks;
use super::parking::parked;
use super::pool::Ticket;
use super::rate::{self, Token};
use super::run::{Phase, Run};
use super::settle::Settlement;
use super::spans::begin_span;
use super::trial::begin_again;
use super::workflow::Ending;
use crate::app::SendError;
use crate::backend::StoredResult;
use crate::broker::Publication;
use crate::context::DeliveryInfo;
use crate::parking::Reason;
use crate::protocol::event::EventBody;
use crate::protocol::{Message, ResultMeta, Revocation};
use crate::task::{Failure, TaskError};

/// A task's place among those that want to run.
pub(super) enum Place {
    Slot(OwnedSemaphorePermit),
    /// In line for a slot.
    Line(Ticket),
    /// Something else comes first: its ETA, its rate limit, or what the cluster says.
    Later(Turns),
    /// None: it was delivered so often before, and may not be again.
    Spent(u32),
}

/// Places in line that were taken when the message arrived.
#[derive(Default)]
pub(super) struct Turns {
    rate: Option<Turn>,
    cluster: Option<Turn>,
}

impl Place {
    /// Takes a place for a task whose message has just arrived: tasks get slots in the order of their messages, although
    /// they live in parallel. `admission` is what was said when the message arrived.
    pub(super) fn take(run: &Run, admission: Admission) -> Self {
        if run.request.delivery_info.redelivered
            && let Some(deliveries) = attempts::spent(run)
        {
            return Self::Spent(deliveries);
        }
        if admission != Admission::Run {
            return Self::Later(Turns::default());
        }
        let turns = Turns {
            rate: run.is_rate_limited().then(|| rate::line_up(run)),
            cluster: run.task.options.is_cluster_limited().then(|| cluster::line_up(run)),
        };
        if turns.rate.is_some() || turns.cluster.is_some() {
            return Self::Later(turns);
        }
        let pool = run.slots();
        pool.try_take().map_or_else(|| Self::Line(pool.line_up()), Self::Slot)
    }
}

/// Lives the life of a task.
pub(super) async fn live(run: Arc<Run>, place: Place) {
    let shared = Arc::clone(run.shared());
    run.come();
    let (mut claims, mut token) = (Claims::default(), None);
    // Those that wait for a thread, or have one, must not keep away those that need none.
    let _held = run.task.is_blocking.then(|| cluster::hold(&run));
    let start = match place {
        _ if shared.stop.is_cancelled() => Start::GiveBack,
        Place::Spent(deliveries) => Start::Spent(deliveries),
        Place::Slot(permit) => Start::Now(permit),
        Place::Line(ticket) => with_patience(&run, wait_in_line(&run, ticket)).await,
        Place::Later(turns) => with_patience(&run, wait(&run, turns, &mut claims, &mut token)).await,
    };
    let mut trial = None;
    let start = match start {
        Start::Now(permit) if run.request.delivery_info.redelivered => {
            Box::pin(begin_again(&run, permit, &mut trial)).await
        }
        start => start,
    };
    let begins = matches!(start, Start::Now(_));
    if let Some(token) = token.take()
        && begins
    {
        token.spend();
    }
    let mut span = Span::none();
    let (outcome, permit) = match start {
        Start::Now(permit) => {
            span = begin_span(&run);
            (Some(perform(&run).instrument(span.clone()).await), Some(permit))
        }
        Start::Succeeded => (Some(Outcome::Deduplicated), None),
        Start::Spent(deliveries) => (Some(Outcome::Poison { deliveries }), None),
        Start::Never(why) => {
            tell_dropped(&run.request, why, crate::clock::now());
            (Some(Outcome::Revoked(why)), None)
        }
        Start::GiveBack => {
            run.channel.reject(run.tag(), true);
            (None, None)
        }
        Start::DeliveredAgain => (None, None),
    };
    if outcome.is_some() && run.begun().is_some() && run.task.options.acks_late {
        // Until its message is settled: it may come again meanwhile.
        run.enter(Phase::Ended);
    } else {
        run.leave();
    }
    if let Some(outcome) = outcome {
        let is_over = conclude(&run, outcome, permit, None).instrument(span).await;
        if is_over && attempts::is_of_interest(&run) {
            Box::pin(attempts::end(&run)).await;
        }
    }
    drop(trial);
    claims.give_up(begins).await;
}

pub(super) enum Start {
    Now(OwnedSemaphorePermit),
    Never(Revocation),
    Spent(u32),
    /// Never again: it has succeeded before.
    Succeeded,
    /// The worker stops: another one may run the task.
    GiveBack,
    /// The connection was lost, and this message comes again.
    DeliveredAgain,
}

pub(super) type Waited = Result<OwnedSemaphorePermit, Revocation>;

/// Waits until the task may begin, unless the worker stops or the message's connection is lost meanwhile.
pub(super) async fn with_patience(run: &Run, wait: impl Future<Output = Waited>) -> Start {
    let Some(patience) = run.channel.patience(run.tag().generation) else { return Start::DeliveredAgain };
    let waited = patience.run_until_cancelled(wait).await;
    // A slot that becomes free because the worker stops is no reason to begin.
    let waited = waited.filter(|_| !patience.is_cancelled());
    match waited {
        Some(Ok(permit)) => Start::Now(permit),
        Some(Err(why)) => Start::Never(why),
        None if run.shared().stop.is_cancelled() => Start::GiveBack,
        None => Start::DeliveredAgain,
    }
}

/// Waits for the ETA, for the rate limit, for the cluster and for a free slot. What is taken for the task on the way is in
/// `claims` and `token`, also if this is dropped half way.
async fn wait(run: &Arc<Run>, turns: Turns, claims: &mut Claims, token: &mut Option<Token>) -> Waited {
    wait_for_eta(run).await?;
    if run.is_rate_limited() {
        *token = Some(rate::wait(run, turns.rate).await?);
    }
    if run.task.options.is_cluster_limited() {
        return Box::pin(cluster::wait(run, turns.cluster, claims)).await;
    }
    wait_in_line(run, run.slots().line_up()).await
}

pub(super) async fn wait_in_line(run: &Run, ticket: Ticket) -> Waited {
    run.enter(Phase::Reserved);
    let permit = ticket.await;
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

/// Sleeps until a time of the wall clock, but not for long at once: that clock may be set.
async fn sleep_towards(until: DateTime<Utc>, now: DateTime<Utc>) {
    const LOOK_AGAIN: Duration = Duration::from_secs(60);
    tokio::time::sleep((until - now).to_std().unwrap_or_default().min(LOOK_AGAIN)).await;
}

pub(super) fn admission_now(run: &Run, now: DateTime<Utc>) -> Admission {
    admit(&run.request, run.shared().state.is_revoked(&run.request, Instant::now()), now)
}

/// Runs the body, with what is said and stored at its beginning.
async fn perform(run: &Arc<Run>) -> Outcome {
    let shared = run.shared();
    let begun = run.begin(crate::clock::now(), Instant::now());
    let options = &run.task.options;
    if !options.acks_late {
        run.channel.acknowledge(run.tag());
    }
    if (options.track_started || shared.settings.track_started) && !run.ignores_result() {
        let meta = ResultMeta::started(run.request.id.clone(), shared.pid, &shared.hostname);
        run.channel.settle(Settlement::state(stored(&run.described(meta)), run.record()));
    }
    if run.is_announced {
        shared.events.announce(EventBody::TaskStarted { uuid: run.request.id.as_str().into() });
    }
    shared.state.begun();
    for hook in &shared.hooks {
        hook.on_start(&run.request);
    }
    if let Some(meters) = &shared.meters {
        let waited = run.request.eta.is_none().then(|| begun.at.duration_since(run.received));
        meters.begun(&run.channel.queue, &run.request.task, waited);
    }
    let outcome = execute(run, begun).await;
    shared.ended();
    outcome
}

/// Works out what follows from the end of a task and hands it over.
///
/// The slot is given back after that, so that with one slot tasks are settled in their order too; but a workflow, which
/// has more to publish, does not keep it.
///
/// Returns whether this attempt is over for good.
async fn conclude(
    run: &Arc<Run>,
    outcome: Outcome,
    permit: Option<OwnedSemaphorePermit>,
    unsent: Option<&Publication>,
) -> bool {
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
    let outcome = within_size(run, outcome);
    let unexpected = hooks::is_unexpected(&outcome);
    let said = hooks::end_of(&outcome, run.is_replaced());
    if outcome == Outcome::Cancelled {
        run.shared().state.dropped_one();
    }
    let is_poison = matches!(outcome, Outcome::Poison { .. });
    let mut conclusion = case.conclude(outcome);
    if let (Some(retry), Some(place)) = (&mut conclusion.retry, run.trace.get()) {
        place.write(&mut retry.headers);
    }
    if is_poison {
        conclusion = park(run, conclusion);
    }
    if let Some(retry) = unsent {
        conclusion = park_retry(run, conclusion, retry);
    }
    let is_over = attempts::is_over(&conclusion);
    let listening = &run.shared().hooks;
    hooks::tell(listening, &run.request, &conclusion, unexpected);
    if let Some(begun) = run.begun() {
        let (end, runtime) = hooks::ended(said, &conclusion.report, begun.at.elapsed());
        Span::current().record("outcome", end.as_str());
        for hook in listening {
            hook.on_end(&run.request, end, runtime);
        }
        if let Some(meters) = &run.shared().meters {
            meters.ended(&run.channel.queue, &run.request.task, end.as_str(), runtime);
        }
    }
    let (request, tag, is_announced) = (&run.request, run.tag(), run.is_announced);
    if request.embed.is_empty() {
        run.channel.settle(Settlement::of(conclusion, request, Some(run), tag, is_announced));
    } else {
        drop(permit);
        let ending = Ending::of(run);
        ending.settle(conclusion).await;
    }
    is_over
}

/// A result that is too large to be stored, or to be a part of a chord: the task has failed.
fn within_size(run: &Run, outcome: Outcome) -> Outcome {
    let Outcome::Succeeded { result, .. } = &outcome else { return outcome };
    let is_kept = !run.ignores_result() || run.request.embed.chord.is_some();
    match run.app().check_result_size(result.as_bytes().len()) {
        Err(error) if is_kept => Outcome::TooLarge(Failure::from_error(&error)),
        _ => outcome,
    }
}

/// A retry that cannot be sent: the task has failed (`celery/app/task.py`, `retry`, raises `Reject`).
pub(super) async fn not_retried(run: Arc<Run>, error: SendError, retry: Publication) {
    tracing::error!(task = run.request.task, id = run.request.id, %error, "a retry cannot be sent: the task has failed");
    // The parking queue would not take it either.
    let unsent = (!matches!(error, SendError::TooLarge { .. })).then_some(&retry);
    let failure = Failure::from_error(&error);
    conclude(&run, Outcome::Answered(TaskError::Fail(failure)), None, unsent).await;
}

/// Keeps a retry that could not be sent, where messages are parked.
fn park_retry(run: &Run, conclusion: Conclusion, retry: &Publication) -> Conclusion {
    let (true, Report::Failed(failure)) = (run.shared().settings.parks(), &conclusion.report) else {
        return conclusion;
    };
    let DeliveryInfo { exchange, routing_key, .. } = &run.request.delivery_info;
    let (way, error) = ((exchange.as_str(), routing_key.as_str()), failure.repr());
    let why = (&Reason::RetryRefused, error.as_str());
    let parked = parked(run.shared(), &run.channel, retry.message.clone(), way, why);
    let verdict = conclusion.verdict;
    Conclusion { verdict, ..conclusion.park(parked) }
}

/// A message that seems to kill its workers is kept from them.
fn park(run: &Run, conclusion: Conclusion) -> Conclusion {
    let (Some(original), Report::Failed(failure)) = (&run.original, &conclusion.report) else { return conclusion };
    let DeliveryInfo { exchange, routing_key, .. } = &run.request.delivery_info;
    let (way, error) = ((exchange.as_str(), routing_key.as_str()), failure.repr());
    let why = (&Reason::DeliveryLimit, error.as_str());
    let mut message = Message::clone(original);
    if !run.task.redacted.is_empty() {
        // Its sender may not know what this task hides.
        message.headers.insert("argsrepr", run.request.argsrepr.clone());
        message.headers.insert("kwargsrepr", run.request.kwargsrepr.clone());
    }
    let parked = parked(run.shared(), &run.channel, message, way, why);
    conclusion.park(parked)
}

pub(super) fn stored(meta: &ResultMeta) -> StoredResult {
    StoredResult { task_id: meta.task_id.clone(), is_final: meta.state.is_ready(), meta: meta.to_json() }
}

//! What the gateway has is compared with what we have. A run goes on from where its row says, one step after the other, each
//! kept before the next: a worker that dies loses none. Where the two do not agree and no person is needed, the look-up's way
//! is taken: what the gateway says of the payment is applied to it.

mod settle;

use std::time::Duration;

use billing::PaymentId;
use billing::reconciliation::{DifferenceKind, Phase};
use billing::resolve::{Spread, backoff};
use billing::store::StoreError;
use billing::store::reconciliation::{self as store, Compared, Run};
use billing::tasks::Reconcile;
use celeriac::{Context, TaskError, TaskResult};
use chrono::TimeDelta;
use cloudpayments::{Doubt, Error, ListRequest};
use tokio::time::Instant;

use super::calls::Calls;
use crate::desk::Desk;
use crate::gateway;

/// After so long a task gives the run back, and another goes on behind the look-ups that wait.
const A_TURN: Duration = Duration::from_secs(10);

/// Rows that one transaction compares.
const CHUNK: i64 = 2_000;

/// After a step that went wrong the next is tried so much later at first, and each time later.
const FIRST_PAUSE: TimeDelta = TimeDelta::seconds(15);
const LONGEST_PAUSE: TimeDelta = TimeDelta::minutes(30);

pub(crate) async fn reconcile(task: Reconcile, cx: Context<Desk>) -> TaskResult<()> {
    let desk = cx.state();
    let claimed = {
        let mut conn = desk.services.db.conn().await?;
        let now = desk.now();
        store::claim(&mut conn, task.reconciliation_id, desk.lease(now), now).await?
    };
    if let Some(run) = claimed {
        work(run, desk).await?;
    }
    go_on(&cx).await
}

/// Sends for the next turn of this run, or for the run after it. If this is lost, the timetable sends for it.
async fn go_on(cx: &Context<Desk>) -> TaskResult<()> {
    let desk = cx.state();
    let due = store::due(&mut *desk.services.db.conn().await?, desk.now()).await?;
    if let Some(reconciliation_id) = due {
        cx.app().send(Reconcile { reconciliation_id }).await?;
    }
    Ok(())
}

/// Why a step was not done.
enum Halt {
    /// Somebody else goes on with the run.
    Overtaken,
    /// The gateway could not be asked: the run is put off.
    Gateway(Error),
    Failed(TaskError),
}

impl From<StoreError> for Halt {
    fn from(error: StoreError) -> Self {
        Self::Failed(error.into())
    }
}

impl From<billing::db::DbError> for Halt {
    fn from(error: billing::db::DbError) -> Self {
        Self::Failed(error.into())
    }
}

async fn work(mut run: Run, desk: &Desk) -> TaskResult<()> {
    let begun = Instant::now();
    while run.phase != Phase::Ended && begun.elapsed() < A_TURN {
        run = match step(&run, desk).await {
            Ok(next) => next,
            Err(Halt::Overtaken) => return Ok(()),
            Err(Halt::Failed(error)) => return Err(error),
            Err(Halt::Gateway(error)) => {
                let asked = match &error {
                    Error::SafeToRetry { retry_after, .. } => *retry_after,
                    _ => None,
                };
                return Ok(put_off(&run, &error.to_string(), asked, desk).await?);
            }
        };
        desk.tell_news();
    }
    if run.phase == Phase::Ended {
        tell_end(&run);
        return Ok(());
    }
    Ok(store::release(&mut *desk.services.db.conn().await?, &run, desk.now()).await?)
}

async fn step(run: &Run, desk: &Desk) -> Result<Run, Halt> {
    match run.phase {
        Phase::Listing => read_page(run, desk).await,
        Phase::Chargebacks => read_chargebacks(run, desk).await,
        Phase::Comparing | Phase::ComparingOurs => compare(run, desk).await,
        Phase::Settling => settle::settle(run, desk).await,
        Phase::Ended => Err(Halt::Overtaken),
    }
}

/// Tries the step again later, each time later; not before the gateway has asked for it.
async fn put_off(run: &Run, why: &str, asked: Option<Duration>, desk: &Desk) -> Result<(), StoreError> {
    let now = desk.now();
    let spread = Spread::of(PaymentId::from(run.id.get()));
    let pause = backoff(FIRST_PAUSE, run.fruitless + 1, LONGEST_PAUSE, spread);
    let asked = asked.and_then(|asked| TimeDelta::from_std(asked).ok()).unwrap_or_default();
    let again_at = now + pause.max(asked);
    tracing::warn!(run = %run.id, why, next = %again_at, "the reconciliation waits");
    store::troubled(&mut *desk.services.db.conn().await?, run, why, again_at).await
}

fn request(run: &Run) -> ListRequest {
    let listed = run.range().listed();
    ListRequest::created_between(listed.from, listed.to)
}

fn page_no(run: &Run) -> u32 {
    u32::try_from(run.next_page).unwrap_or(1)
}

async fn read_page(run: &Run, desk: &Desk) -> Result<Run, Halt> {
    let page = {
        let _place = desk.allowance.beside_payments(None).await;
        let calls = Calls::about(None, desk);
        let request = request(run);
        let asking = calls.gateway.list(&request, page_no(run));
        calls.make("/v2/payments/list", None, asking).await.map_err(Halt::Gateway)?
    };
    let mut conn = desk.services.db.conn().await?;
    let next = if page.is_empty() {
        store::end_reading(&mut conn, run).await?
    } else {
        let unless_told = run.range_from;
        let page: Vec<_> = page.iter().map(|row| gateway::listed(row, desk.terminal, unless_told)).collect();
        store::keep_page(&mut conn, run, &page, desk.lease(desk.now()), desk.now()).await?
    };
    next.ok_or(Halt::Overtaken)
}

async fn read_chargebacks(run: &Run, desk: &Desk) -> Result<Run, Halt> {
    let asked = {
        let _place = desk.allowance.beside_payments(None).await;
        let calls = Calls::about(None, desk);
        let request = request(run);
        let asking = calls.gateway.chargebacks(&request, page_no(run));
        calls.make("/chargebacks/list", None, asking).await
    };
    let page = match asked {
        Ok(page) => page,
        // Not every terminal tells them.
        Err(
            error @ (Error::OurFault { .. }
            | Error::OutcomeUnknown { why: Doubt::Refusal(_) | Doubt::Status(400..=499) }),
        ) => {
            tracing::info!(run = %run.id, %error, "the gateway does not tell its chargebacks: none are compared");
            Vec::new()
        }
        Err(error) => return Err(Halt::Gateway(error)),
    };
    let page: Vec<_> = page.iter().map(|claim| gateway::chargeback(claim, run.range_from)).collect();
    let mut conn = desk.services.db.conn().await?;
    let next = store::keep_chargebacks(&mut conn, run, &page, desk.lease(desk.now()), desk.now()).await?;
    next.ok_or(Halt::Overtaken)
}

async fn compare(run: &Run, desk: &Desk) -> Result<Run, Halt> {
    let mut conn = desk.services.db.conn().await?;
    let now = desk.now();
    let Compared { run, new } = store::compare(&mut conn, run, CHUNK, desk.lease(now), now).await?;
    for found in new {
        let payment_id = found.payment_id.map(|id| id.to_string());
        let (kind, subject) = (found.kind.as_str(), &found.subject);
        if found.kind == DifferenceKind::Status {
            tracing::warn!(kind, subject, payment_id, "the gateway and our rows do not agree: it is looked up");
        } else {
            tracing::error!(
                kind,
                subject,
                payment_id,
                "the gateway and our rows do not agree: see `billing reconcile`"
            );
        }
    }
    run.ok_or(Halt::Overtaken)
}

fn tell_end(run: &Run) {
    let (from, to) = (run.range_from.to_rfc3339(), run.range_to.to_rfc3339());
    let (transactions, payments, found, settled) = (run.transactions, run.payments, run.found, run.settled);
    tracing::info!(
        run = %run.id, from, to, transactions, payments, found, settled, pages = run.pages,
        "compared with the gateway's list"
    );
    if run.is_stable == Some(false) {
        tracing::warn!(run = %run.id, "the gateway's list did not come to rest: it was compared as it was read");
    }
}

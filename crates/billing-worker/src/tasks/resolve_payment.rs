//! A payment in doubt: the gateway is asked what became of it. Charged anew it is never; the identical request is
//! repeated only while the gateway is known to remember the first (`billing::resolve`). So is one whose 3-D Secure page was
//! not answered: before it is given up, and for a while after that.
//!
//! A payment has one chain of looks, in its row (`billing::store::payments::begin_resolving`): a look that is not due does
//! nothing, whoever asked for it.

use billing::breaker::Circuit;
use billing::payment::{Outcome, PaymentState};
use billing::resolve::{self, Sent, Spread, Step, backoff};
use billing::store::circuits::Watch;
use billing::store::orphans::Orphan;
use billing::store::payments::{self, Look, PaymentView, Resend, Resolve};
use billing::tasks::{PaymentReceipt, ResolvePayment};
use celeriac::{Context, TaskError, TaskResult};
use chrono::{DateTime, TimeDelta, Utc};
use cloudpayments::{Error, ListRequest};

use super::charge::send;
use super::complete_three_ds::post;
use super::look_up::{listed, look_up, set_aside};
use super::places::moved;
use super::settle::{not_ours, receipt, settle};
use crate::desk::Desk;
use crate::gateway::{self, Heard, Looked, signals};

/// Clocks of the gateway and ours may differ by this much.
const CLOCKS_APART: TimeDelta = TimeDelta::minutes(5);

pub(crate) async fn resolve_payment(task: ResolvePayment, cx: Context<Desk>) -> TaskResult<PaymentReceipt> {
    if moved(&task, &cx).await? {
        return Err(TaskError::ignore());
    }
    let desk = cx.state();
    // Before the lease: it is not to run out while we wait for a place.
    let _place = desk.allowance.beside_payments(None).await;
    let now = desk.now();
    let begun = {
        let mut conn = desk.services.db.conn().await?;
        payments::begin_resolving(&mut conn, task.payment_id, desk.sent_before(now), now).await?
    };
    let mut look = match begun {
        Resolve::Look(look) => *look,
        Resolve::NotNow(state) => return not_ours(task.payment_id, state),
    };
    warn_of_suspect(&look);
    let found = ask(desk, &mut look).await?;
    if !matches!(found, Found::Failed { .. } | Found::Overtaken) {
        let mut conn = desk.services.db.conn().await?;
        look.succeed(&mut conn).await?;
    }
    let result = match found {
        Found::Heard(heard) => settle(look.payment.id, *heard, &cx).await,
        Found::MayBeRepeated => repeat(&look.payment, &cx).await,
        Found::NothingNew => look_after(&look, &cx).await,
        Found::Failed { why, asked } => failed(&look, &why, asked, &cx).await,
        Found::Overtaken => Err(TaskError::ignore()),
    };
    finish(result, &cx).await
}

/// Money in doubt is never given up. What seems to kill its workers is looked at ever more seldom, and told aloud.
fn warn_of_suspect(look: &Look) {
    if look.fruitless > resolve::SUSPECT_AFTER {
        tracing::error!(
            payment_id = %look.payment.id,
            looks = look.fruitless - 1,
            next = %look.leased_until,
            "looks at this payment came to nothing, one after the other: either the gateway does not answer, or the workers \
             died (why, stands in their logs). It is looked at again until its end is known"
        );
    }
}

enum Found {
    Heard(Box<Heard>),
    /// The identical request may be sent again, and only that can bring more.
    MayBeRepeated,
    /// It has come to its end, and so it stays.
    NothingNew,
    /// The gateway could not be asked.
    Failed {
        why: String,
        asked: Option<DateTime<Utc>>,
    },
    /// Another look has begun.
    Overtaken,
}

async fn ask(desk: &Desk, look: &mut Look) -> TaskResult<Found> {
    let payment = look.payment.clone();
    let is_known_by_number = !matches!(payment.state, PaymentState::AwaitingThreeDs | PaymentState::Abandoned)
        || payment.transaction_id.is_some();
    let found = if is_known_by_number {
        let Some(found) = holding(desk, look, look_up(desk, &payment)).await? else { return Ok(Found::Overtaken) };
        if let Err(error @ Error::Unauthorized) = &found {
            desk.report(Watch::UNASKED, &[(Circuit::Gateway, signals::of_gateway(Some(error)))], Some(error)).await;
        }
        found
    } else {
        Ok(None)
    };
    let now = desk.now();
    match (found, payment.state, payment.sent) {
        (Err(error), ..) => Ok(failure(&error, now)),
        (Ok(found), PaymentState::AwaitingThreeDs, _) => Ok(unanswered(desk, &payment, found, now).await),
        (Ok(found), PaymentState::Abandoned, _) => Ok(given_up(desk, &payment, found, now).await),
        (Ok(Some(looked)), _, Some(sent)) => Ok(known(desk, &payment, looked, sent, now)),
        (Ok(None), _, Some(sent)) => absent(desk, look, &payment, sent, now).await,
        // In doubt about what was never sent: a person must have written that.
        (Ok(_), _, None) => Ok(Found::Failed { why: "it was never sent".to_owned(), asked: None }),
    }
}

/// Keeps the lease while the gateway is asked, which may take several requests. `None`: it was lost, and another look has
/// begun.
async fn holding<T>(desk: &Desk, look: &mut Look, asking: impl Future<Output = T>) -> TaskResult<Option<T>> {
    tokio::pin!(asking);
    loop {
        match tokio::time::timeout(desk.half_a_lease(), &mut asking).await {
            Ok(answer) => return Ok(Some(answer)),
            Err(_) => {
                let mut conn = desk.services.db.conn().await?;
                if !look.extend(&mut conn, desk.lease(desk.now())).await? {
                    return Ok(None);
                }
            }
        }
    }
}

fn failure(error: &Error, now: DateTime<Utc>) -> Found {
    let asked = match error {
        Error::SafeToRetry { retry_after: Some(after), .. } => {
            TimeDelta::from_std(*after).ok().map(|after| now + after)
        }
        _ => None,
    };
    Found::Failed { why: format!("cannot look it up: {error}"), asked }
}

/// While the gateway waits for 3-D Secure the identical request brings back what was lost: the bank's page for the
/// customer, or the end of their answer.
fn known(desk: &Desk, payment: &PaymentView, looked: Looked, sent: Sent, now: DateTime<Utc>) -> Found {
    let transaction_id = looked.transaction.transaction_id;
    match gateway::looked_up(looked, &payment.identity(desk.terminal), times(desk, sent, now)) {
        Some(heard) => Found::Heard(Box::new(heard)),
        None if desk.resolve.step(&sent, now) == Step::LookThenResend => Found::MayBeRepeated,
        None => Found::Heard(Box::new(desk.resolve.awaiting_authentication(&sent, transaction_id, now).into())),
    }
}

async fn absent(
    desk: &Desk,
    look: &mut Look,
    payment: &PaymentView,
    sent: Sent,
    now: DateTime<Utc>,
) -> TaskResult<Found> {
    match desk.resolve.step(&sent, now) {
        Step::Look => Ok(Found::Heard(Box::new(desk.resolve.not_found(&sent, false, now).into()))),
        Step::LookThenResend => Ok(Found::MayBeRepeated),
        Step::LookEverywhere => {
            let asking = listed(desk, payment, everything_since(sent, now));
            Ok(match holding(desk, look, asking).await? {
                None => Found::Overtaken,
                Some(Ok(Some(looked))) => known(desk, payment, looked, sent, now),
                Some(Ok(None)) => Found::Heard(Box::new(desk.resolve.not_found(&sent, true, now).into())),
                Some(Err(error)) => failure(&error, desk.now()),
            })
        }
    }
}

/// All that the gateway has of the time in which the payment was made.
fn everything_since(sent: Sent, now: DateTime<Utc>) -> ListRequest {
    ListRequest::created_between(sent.first_at - CLOCKS_APART, now + CLOCKS_APART)
}

/// The page was not answered in time, and the gateway has, or has not, heard of an answer that we have not.
async fn unanswered(desk: &Desk, payment: &PaymentView, found: Option<Looked>, now: DateTime<Utc>) -> Found {
    let ours = payment.identity(desk.terminal);
    match found.and_then(|looked| gateway::looked_up(looked, &ours, at_once(desk, now))) {
        None => Found::Heard(Box::new(Outcome::Expired.into())),
        Some(Heard { outcome: Outcome::Unknown { why, .. }, orphan, .. }) => {
            keep(desk, orphan).await;
            Found::Failed { why, asked: None }
        }
        Some(heard) => Found::Heard(Box::new(heard)),
    }
}

/// The page was given up. Nothing but money can change that.
async fn given_up(desk: &Desk, payment: &PaymentView, found: Option<Looked>, now: DateTime<Utc>) -> Found {
    let ours = payment.identity(desk.terminal);
    match found.and_then(|looked| gateway::looked_up(looked, &ours, at_once(desk, now))) {
        Some(heard) if is_money(&heard.outcome) => Found::Heard(Box::new(heard)),
        heard => {
            keep(desk, heard.and_then(|heard| heard.orphan)).await;
            Found::NothingNew
        }
    }
}

const fn is_money(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Completed { .. } | Outcome::Authorized { .. } | Outcome::Refunded { .. })
}

async fn keep(desk: &Desk, orphan: Option<Orphan>) {
    if let Some(orphan) = orphan {
        set_aside(desk, orphan).await;
    }
}

async fn look_after(look: &Look, cx: &Context<Desk>) -> TaskResult<PaymentReceipt> {
    let desk = cx.state();
    let now = desk.now();
    let again_at = look.payment.finished_at.and_then(|at| resolve::look_after_the_page(at, now));
    let mut conn = desk.services.db.conn().await?;
    look.look_after(&mut conn, again_at).await?;
    Ok(receipt(look.payment.id, look.payment.state))
}

/// The look taught nothing: the next one is put off.
async fn failed(
    look: &Look,
    why: &str,
    asked: Option<DateTime<Utc>>,
    cx: &Context<Desk>,
) -> TaskResult<PaymentReceipt> {
    let desk = cx.state();
    let (payment, now) = (&look.payment, desk.now());
    let spread = Spread::of(payment.id);
    let again_at = match payment.sent.filter(|_| payment.state == PaymentState::Unknown) {
        Some(sent) => desk.resolve.after_failed_look(&sent, look.fruitless, spread, asked, now),
        None => {
            let day = desk.resolve.not_executed_after * 24;
            let at = now + backoff(desk.resolve.first_look * 4, look.fruitless, day, spread);
            asked.map_or(at, |asked| at.max(asked))
        }
    };
    tracing::warn!(payment_id = %payment.id, why, next = %again_at, "the gateway does not say what became of it");
    let mut conn = desk.services.db.conn().await?;
    look.fail(&mut conn, why, again_at).await?;
    Err(TaskError::ignore())
}

async fn repeat(payment: &PaymentView, cx: &Context<Desk>) -> TaskResult<PaymentReceipt> {
    let desk = cx.state();
    let begun = {
        let mut conn = desk.services.db.conn().await?;
        payments::begin_resend(&mut conn, payment.id, &desk.resolve, &desk.services.cipher, desk.now()).await?
    };
    match begun {
        Resend::Charge(order) => send(*order, cx).await,
        Resend::ThreeDs(order) => post(order, cx).await,
        Resend::CannotOpen(error) => {
            tracing::error!(payment_id = %payment.id, %error, "cannot be repeated, only looked up: ENCRYPTION_KEYS?");
            let why = format!("it cannot be repeated: {error}");
            let look_again_at = desk.resolve.next_look(payment.created_at, desk.now());
            settle(payment.id, Outcome::Unknown { why, look_again_at }, cx).await
        }
        Resend::CardIsGone => {
            let why = "its card was replaced or forgotten: it is not sent again, only looked up".to_owned();
            let sent_at = payment.sent.map_or(payment.created_at, |sent| sent.first_at);
            let look_again_at = desk.resolve.next_look(sent_at, desk.now());
            settle(payment.id, Outcome::Unknown { why, look_again_at }, cx).await
        }
        Resend::NotNow(state) => not_ours(payment.id, state),
    }
}

/// While the payment is in doubt no result is stored. Its end is told to those who watch it.
async fn finish(result: TaskResult<PaymentReceipt>, cx: &Context<Desk>) -> TaskResult<PaymentReceipt> {
    match result {
        Ok(receipt) if receipt.status == PaymentState::Unknown.as_str() => Err(TaskError::ignore()),
        Ok(receipt) => {
            receipt.announce(cx.app(), cx.state().now()).await;
            Ok(receipt)
        }
        Err(error) => Err(error),
    }
}

fn times(desk: &Desk, sent: Sent, now: DateTime<Utc>) -> gateway::Times {
    gateway::Times {
        now,
        three_ds_expires_at: now + desk.three_ds_ttl,
        look_again_at: desk.resolve.next_look(sent.first_at, now),
    }
}

/// For what is decided by this look.
fn at_once(desk: &Desk, now: DateTime<Utc>) -> gateway::Times {
    gateway::Times { now, three_ds_expires_at: now + desk.three_ds_ttl, look_again_at: now }
}

//! A payment in doubt: the gateway is asked what became of it. Charged anew it is never; the identical request is
//! repeated only while the gateway is known to remember the first (`billing::resolve`).

use billing::payment::Outcome;
use billing::resolve::{Sent, Step};
use billing::store::payments::{self, PaymentView, Resend, Resolve};
use billing::tasks::{PaymentReceipt, ResolvePayment};
use celeriac::{Context, TaskError, TaskResult};
use chrono::{DateTime, TimeDelta, Utc};
use cloudpayments::ListRequest;

use super::charge::send;
use super::complete_three_ds::post;
use super::look_up::{listed, look_up};
use super::settle::{not_ours, settle};
use crate::desk::Desk;
use crate::gateway::{self, Heard, Looked};

/// Clocks of the gateway and ours may differ by this much.
const CLOCKS_APART: TimeDelta = TimeDelta::minutes(5);

pub(crate) async fn resolve_payment(task: ResolvePayment, cx: Context<Desk>) -> TaskResult<PaymentReceipt> {
    let desk = cx.state();
    let now = desk.now();
    let begun = {
        let mut conn = desk.services.db.conn().await?;
        let sent_before = desk.sent_before(now);
        payments::begin_resolving(&mut conn, task.payment_id, sent_before, now).await?
    };
    let payment = match begun {
        Resolve::Look(payment) => payment,
        Resolve::NotNow(state) => return not_ours(task.payment_id, state),
    };
    let Some(sent) = payment.sent else { return not_ours(payment.id, payment.state) };
    match look(desk, &payment, sent).await {
        Found::Heard(heard) => finish(settle(payment.id, heard, &cx).await),
        Found::MayBeRepeated => finish(repeat(&payment, &cx).await),
    }
}

enum Found {
    Heard(Heard),
    /// The identical request may be sent again, and only that can bring more.
    MayBeRepeated,
}

async fn look(desk: &Desk, payment: &PaymentView, sent: Sent) -> Found {
    let found = look_up(desk, payment).await;
    let now = desk.now();
    let times = times(desk, sent, now);
    match found {
        Ok(Some(looked)) => known(desk, payment, looked, sent, times),
        Ok(None) => absent(desk, payment, sent, now).await,
        Err(error) => Found::Heard(gateway::unknown(format!("cannot look it up: {error}"), soon(desk, times)).into()),
    }
}

/// While the gateway waits for 3-D Secure the identical request brings back what was lost: the bank's page for the
/// customer, or the end of their answer.
fn known(desk: &Desk, payment: &PaymentView, looked: Looked, sent: Sent, times: gateway::Times) -> Found {
    let transaction_id = looked.transaction.transaction_id;
    match gateway::looked_up(looked, &payment.identity(desk.terminal), times) {
        Some(heard) => Found::Heard(heard),
        None if desk.resolve.step(&sent, times.now) == Step::LookThenResend => Found::MayBeRepeated,
        None => Found::Heard(desk.resolve.awaiting_authentication(&sent, transaction_id, times.now).into()),
    }
}

async fn absent(desk: &Desk, payment: &PaymentView, sent: Sent, now: DateTime<Utc>) -> Found {
    let times = times(desk, sent, now);
    match desk.resolve.step(&sent, now) {
        Step::Look => Found::Heard(desk.resolve.not_found(&sent, false, now).into()),
        Step::LookThenResend => Found::MayBeRepeated,
        Step::LookEverywhere => match listed(desk, payment, everything_since(sent, now)).await {
            Ok(Some(looked)) => known(desk, payment, looked, sent, times),
            Ok(None) => Found::Heard(desk.resolve.not_found(&sent, true, now).into()),
            Err(error) => {
                Found::Heard(gateway::unknown(format!("cannot list payments: {error}"), soon(desk, times)).into())
            }
        },
    }
}

/// A look that failed taught nothing, so the next one need not wait for its turn in the schedule.
fn soon(desk: &Desk, times: gateway::Times) -> gateway::Times {
    gateway::Times { look_again_at: times.look_again_at.min(times.now + desk.resolve.first_look * 4), ..times }
}

/// All that the gateway has of the time in which the payment was made.
fn everything_since(sent: Sent, now: DateTime<Utc>) -> ListRequest {
    ListRequest::created_between(sent.first_at - CLOCKS_APART, now + CLOCKS_APART)
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
        Resend::NotNow(state) => not_ours(payment.id, state),
    }
}

/// While the payment is in doubt no result is stored: the first stored success would silence the later, true one.
fn finish(result: TaskResult<PaymentReceipt>) -> TaskResult<PaymentReceipt> {
    let in_doubt = billing::payment::PaymentState::Unknown.as_str();
    match result {
        Ok(receipt) if receipt.status == in_doubt => Err(TaskError::ignore()),
        other => other,
    }
}

fn times(desk: &Desk, sent: Sent, now: DateTime<Utc>) -> gateway::Times {
    gateway::Times {
        now,
        three_ds_expires_at: now + desk.three_ds_ttl,
        look_again_at: desk.resolve.next_look(sent.first_at, now),
    }
}

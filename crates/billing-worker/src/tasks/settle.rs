//! After the gateway's answer: the outcome goes into the rows, and the task tells how it went.

use billing::PaymentId;
use billing::bill::BillKind;
use billing::payment::PaymentState;
use billing::store::payments::{self, Applied, Effect, PaymentView};
use billing::store::refunds;
use billing::tasks::{EndHold, PaymentReceipt, RefundPayment, ResolvePayment};
use celeriac::{Context, Failure, SendOptions, TaskError, TaskResult};
use chrono::TimeDelta;

use super::look_up::set_aside;
use crate::desk::Desk;
use crate::figures;
use crate::gateway::Heard;

/// Applies an outcome. If the database cannot be reached now the task fails, the payment stays as it was written
/// ahead, and `resolve_unknown` finds it.
pub(super) async fn settle(id: PaymentId, heard: impl Into<Heard>, cx: &Context<Desk>) -> TaskResult<PaymentReceipt> {
    let desk = cx.state();
    let payment = write_down(id, heard, desk).await?;
    match payment.state {
        PaymentState::Created | PaymentState::PostingThreeDs => Err(again(&payment, desk)),
        PaymentState::Unknown => {
            look_later(&payment, cx).await;
            Ok(receipt(id, payment.state))
        }
        PaymentState::Authorized => {
            // The timetable has it ended too, only later.
            if let Err(error) = cx.app().send(EndHold { payment_id: id }).await {
                tracing::debug!(payment_id = %id, %error, "the hold is left to the timetable");
            }
            // The card is verified: its customer need not wait until the money is let go.
            if payment.kind == BillKind::Verification {
                Ok(receipt(id, payment.state))
            } else {
                Err(TaskError::ignore())
            }
        }
        state => Ok(receipt(id, state)),
    }
}

/// Puts an outcome into the rows, and tells who must know.
pub(super) async fn write_down(id: PaymentId, heard: impl Into<Heard>, desk: &Desk) -> Result<PaymentView, TaskError> {
    let Heard { outcome, orphan, call } = heard.into();
    if let Some(orphan) = orphan {
        set_aside(desk, orphan).await;
    }
    let Applied { payment, effects } = {
        let mut conn = desk.services.db.conn().await?;
        payments::apply_answer(&mut conn, id, outcome, call.as_ref(), &desk.services.cipher, desk.now()).await?
    };
    desk.tell_news();
    effects.iter().for_each(Effect::tell);
    for effect in &effects {
        if let Effect::RefundOwed { payment_id, .. } = effect {
            give_back(*payment_id, desk).await;
        }
    }
    figures::written_down(&payment);
    Ok(payment)
}

/// Has money that nobody owed sent back. If this message is lost the timetable has it done too.
async fn give_back(payment_id: PaymentId, desk: &Desk) {
    let refund_id = refunds::automatic_id(payment_id);
    let options = SendOptions::new().task_id(RefundPayment::task_id(refund_id));
    if let Err(error) = desk.services.app.send_with(RefundPayment { refund_id }, options).await {
        tracing::warn!(%payment_id, %refund_id, %error, "the refund is left to the timetable");
    }
}

/// The answer of a task that found nothing to do. While the payment is live somebody else works on it, and their
/// result is the one to be stored.
pub(super) fn not_ours(id: PaymentId, state: PaymentState) -> TaskResult<PaymentReceipt> {
    if state.is_live() { Err(TaskError::ignore()) } else { Ok(receipt(id, state)) }
}

pub(super) fn receipt(payment_id: PaymentId, state: PaymentState) -> PaymentReceipt {
    PaymentReceipt { payment_id, status: state.as_str().to_owned() }
}

/// The gateway provably did not process it: the same task tries again, when the gateway asked us to or by its policy.
fn again(payment: &PaymentView, desk: &Desk) -> TaskError {
    let why = payment.info.clone().unwrap_or_default();
    tracing::warn!(payment_id = %payment.id, why, "not processed by the gateway, will be sent again");
    let cause = Failure::new("NotProcessed", [why]);
    let asked = payment.look_again_at.and_then(|at| (at - desk.now()).to_std().ok());
    asked.map_or_else(|| TaskError::retry(cause.clone()), |after| TaskError::retry_in(after, cause.clone()))
}

/// For looks further off than this the timetable is soon enough.
const SOON: TimeDelta = TimeDelta::minutes(2);

/// Orders the next look at the gateway, if it is due soon. If this message is lost the timetable orders it too.
async fn look_later(payment: &PaymentView, cx: &Context<Desk>) {
    let Some(at) = payment.look_again_at.filter(|at| *at - cx.state().now() <= SOON) else { return };
    let options = SendOptions::new().task_id(ResolvePayment::look_id(payment.id, at)).eta(at);
    if let Err(error) = cx.app().send_with(ResolvePayment { payment_id: payment.id }, options).await {
        tracing::warn!(payment_id = %payment.id, %error, "the look at the gateway is left to the timetable");
    }
}

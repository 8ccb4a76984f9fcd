//! What can be put right without a person: money that the gateway took for a payment believed dead is applied to it, as a
//! look-up would have it.

use billing::PaymentId;
use billing::payment::Outcome;
use billing::reconciliation::DifferenceKind;
use billing::store::payments;
use billing::store::reconciliation::{self as store, Difference, Run};
use cloudpayments::Transaction;

use super::super::calls::Calls;
use super::super::look_up::set_aside;
use super::super::settle::write_down;
use super::Halt;
use crate::desk::Desk;
use crate::gateway::{self, Looked};

/// Turns to the next difference of the run; without one the run has ended.
pub(super) async fn settle(run: &Run, desk: &Desk) -> Result<Run, Halt> {
    let next = store::to_settle(&mut *desk.services.db.conn().await?, run, 1).await?.pop();
    let Some(difference) = next else {
        return Ok(store::end(&mut *desk.services.db.conn().await?, run, desk.now()).await?);
    };
    let how = put_right(&difference, desk).await?;
    if let Some(how) = &how {
        tracing::info!(difference = %difference.id, kind = %difference.kind, how, "put right");
    }
    let mut conn = desk.services.db.conn().await?;
    let now = desk.now();
    let moved = store::settled(&mut conn, run, difference.id, how.as_deref(), desk.lease(now), now).await?;
    moved.ok_or(Halt::Overtaken)
}

/// Says how; `None`: a person must.
async fn put_right(difference: &Difference, desk: &Desk) -> Result<Option<String>, Halt> {
    match (difference.kind, difference.payment_id, difference.transaction_id) {
        (DifferenceKind::Status | DifferenceKind::Duplicate, Some(payment_id), Some(transaction_id)) => {
            take(payment_id, transaction_id, desk).await
        }
        _ => Ok(None),
    }
}

/// Applies what the gateway says of the transaction, if that is money.
async fn take(payment_id: PaymentId, transaction_id: i64, desk: &Desk) -> Result<Option<String>, Halt> {
    let payment = payments::get(&mut *desk.services.db.conn().await?, payment_id).await?;
    let Some(payment) = payment else { return Ok(None) };
    if payment.state.is_success() && payment.transaction_id == Some(transaction_id) {
        return Ok(None);
    }
    let Some(transaction) = get(payment_id, transaction_id, desk).await? else { return Ok(None) };
    let now = desk.now();
    let has_refund = store::refunds_of(&mut *desk.services.db.conn().await?, transaction_id).await?;
    let times = gateway::Times { now, three_ds_expires_at: now + desk.three_ds_ttl, look_again_at: now };
    match gateway::looked_up(Looked { transaction, has_refund }, &payment.identity(desk.terminal), times) {
        Some(heard) if is_money(&heard.outcome) => {
            let after = write_down(payment_id, heard, desk).await.map_err(Halt::Failed)?;
            let is_taken = after.transaction_id == Some(transaction_id) && after.state != payment.state;
            Ok(is_taken.then(|| format!("payment {payment_id} is {} by it", after.state)))
        }
        heard => {
            if let Some(orphan) = heard.and_then(|heard| heard.orphan) {
                set_aside(desk, orphan).await;
            }
            Ok(None)
        }
    }
}

async fn get(payment_id: PaymentId, transaction_id: i64, desk: &Desk) -> Result<Option<Transaction>, Halt> {
    let _place = desk.allowance.beside_payments(None).await;
    let calls = Calls::about(payment_id, desk);
    calls.make("/payments/get", None, calls.gateway.get(transaction_id)).await.map_err(Halt::Gateway)
}

const fn is_money(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Completed { .. } | Outcome::Authorized { .. } | Outcome::Refunded { .. })
}

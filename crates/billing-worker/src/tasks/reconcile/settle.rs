//! What can be put right without a person: money that the gateway took for a payment believed dead is applied to it, as a
//! look-up would have it.

use billing::payment::Outcome;
use billing::reconciliation::DifferenceKind;
use billing::store::payments;
use billing::store::reconciliation::{self as store, Difference, Recovered, Run};
use billing::store::refunds::{self, Chargeback, GatewayRefund, KnownFrom, Recognised};
use billing::{Kopecks, PaymentId};
use cloudpayments::{Operation, Transaction};

use super::super::calls::Calls;
use super::super::look_up::set_aside;
use super::super::settle::write_down;
use super::Halt;
use crate::desk::Desk;
use crate::gateway::{self, Looked};

/// One that cannot be put right keeps the run, and all charging after a restore, from its end only for so many tries.
const GIVEN_UP_AFTER: i32 = 4;

/// Turns to the next difference of the run; without one the run has ended.
pub(super) async fn settle(run: &Run, desk: &Desk) -> Result<Run, Halt> {
    let next = store::to_settle(&mut *desk.services.db.conn().await?, run, 1).await?.pop();
    let Some(difference) = next else {
        return Ok(store::end(&mut *desk.services.db.conn().await?, run, desk.now()).await?);
    };
    let how = match put_right(&difference, desk).await {
        Err(Halt::Failed(error)) if run.fruitless >= GIVEN_UP_AFTER => {
            let (id, subject) = (difference.id, &difference.subject);
            tracing::error!(difference = %id, subject, ?error, "it cannot be put right: a person must look");
            None
        }
        Err(Halt::Failed(error)) => {
            super::put_off(run, &format!("{}: {error:?}", difference.subject), None, desk).await?;
            return Err(Halt::Overtaken);
        }
        how => how?,
    };
    if let Some(how) = &how {
        tracing::info!(difference = %difference.id, kind = %difference.kind, how, "put right");
    }
    let mut conn = desk.services.db.conn().await?;
    let now = desk.now();
    let moved = store::settled(&mut conn, run, &difference, how.as_deref(), desk.lease(now), now).await?;
    moved.ok_or(Halt::Overtaken)
}

/// Says how; `None`: a person must.
async fn put_right(difference: &Difference, desk: &Desk) -> Result<Option<String>, Halt> {
    match (difference.kind, difference.payment_id, difference.transaction_id) {
        (DifferenceKind::Status | DifferenceKind::Duplicate, Some(payment_id), Some(transaction_id)) => {
            take(payment_id, transaction_id, desk).await
        }
        (DifferenceKind::MissingHere, _, Some(transaction_id)) => write_again(transaction_id, difference, desk).await,
        (DifferenceKind::RefundMissingHere, _, Some(transaction_id)) => recognise(transaction_id, desk).await,
        (DifferenceKind::Chargeback, Some(_), _) => charge_back(difference, desk).await,
        _ => Ok(None),
    }
}

/// Money that went back and is in no row: one of ours that was in doubt, or one by hand in the gateway's cabinet.
async fn recognise(transaction_id: i64, desk: &Desk) -> Result<Option<String>, Halt> {
    let Some(found) = get(None, transaction_id, desk).await? else { return Ok(None) };
    let Some((amount, _)) = gateway::money(&found) else { return Ok(None) };
    let told = GatewayRefund {
        gateway_tx_id: transaction_id,
        payment_tx_id: found.original_transaction_id,
        invoice_id: found.invoice_id.clone(),
        account_id: found.account_id.clone(),
        json_data: found.json_data.clone(),
        amount,
    };
    let mut conn = desk.services.db.conn().await?;
    Ok(match refunds::recognise(&mut conn, &told, KnownFrom::Reconciliation, desk.now()).await? {
        Recognised::New(row) | Recognised::Known(row) => {
            Some(format!("it is refund {} of payment {}", row.id, row.payment_id))
        }
        Recognised::Orphan { .. } => None,
    })
}

/// A bank has taken money of a payment of ours back: what that means for its subscriber is done at once. It stays open, for a
/// person may contest it.
async fn charge_back(found: &Difference, desk: &Desk) -> Result<Option<String>, Halt> {
    let Some(id) = found.subject.strip_prefix("chargeback:") else { return Ok(None) };
    let mut conn = desk.services.db.conn().await?;
    let Some(claim) = store::chargeback(&mut conn, id).await? else { return Ok(None) };
    let told = Chargeback {
        id: claim.chargeback_id,
        transaction_id: claim.transaction_id,
        amount: Kopecks::new(claim.amount.unwrap_or_default()),
        currency: claim.currency.unwrap_or_default(),
        kind: claim.kind.unwrap_or_default(),
        operation: claim.operation.unwrap_or_default(),
        at: claim.at,
    };
    refunds::recognise_chargeback(&mut conn, &told, desk.now()).await?;
    Ok(None)
}

/// Money that no row is of. What the database has lost is written down again and takes it; the rest waits for a person.
async fn write_again(transaction_id: i64, found: &Difference, desk: &Desk) -> Result<Option<String>, Halt> {
    let Some(transaction) = get(None, transaction_id, desk).await? else { return Ok(None) };
    let is_payment = matches!(transaction.operation, None | Some(Operation::Payment));
    let Some(lost) = gateway::lost(&transaction, found.at).filter(|_| is_payment) else {
        let why = "no payment of ours is of it, and it does not say enough to be one";
        set_aside(desk, gateway::stray(&transaction, why.to_owned())).await;
        return Ok(None);
    };
    let recovered = store::recover(&mut *desk.services.db.conn().await?, &lost, desk.now()).await?;
    match recovered {
        Recovered::Written => {
            Ok(take(lost.payment_id, transaction_id, desk).await?.map(|how| format!("it was lost: {how}")))
        }
        Recovered::Orphan(why) => {
            set_aside(desk, gateway::stray(&transaction, why)).await;
            Ok(None)
        }
    }
}

/// Applies what the gateway says of the transaction, if that is money.
async fn take(payment_id: PaymentId, transaction_id: i64, desk: &Desk) -> Result<Option<String>, Halt> {
    let payment = payments::get(&mut *desk.services.db.conn().await?, payment_id).await?;
    let Some(payment) = payment else { return Ok(None) };
    if payment.state.is_success() && payment.transaction_id == Some(transaction_id) {
        return Ok(None);
    }
    let Some(transaction) = get(Some(payment_id), transaction_id, desk).await? else { return Ok(None) };
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

async fn get(payment_id: Option<PaymentId>, transaction_id: i64, desk: &Desk) -> Result<Option<Transaction>, Halt> {
    let _place = desk.allowance.beside_payments(None).await;
    let calls = Calls::about(payment_id, desk);
    calls.make("/payments/get", None, calls.gateway.get(transaction_id)).await.map_err(Halt::Gateway)
}

const fn is_money(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Completed { .. } | Outcome::Authorized { .. } | Outcome::Refunded { .. })
}

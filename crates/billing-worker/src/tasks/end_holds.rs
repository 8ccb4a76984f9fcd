//! Where a charge only holds the money, on a terminal or for a tariff of two stages, the gateway lets it go after seven days. Each
//! hold is confirmed, or let go when its bill does not want it any more – what verified a card is always let go; what the
//! gateway has done meanwhile is taken note of.

use billing::payment::{Outcome, PaymentState};
use billing::store::payments::{self, Hold};
use billing::tasks::{EndHold, EndHolds};
use celeriac::{Context, TaskResult};
use cloudpayments::{Amount, Error, TransactionPart};
use secrecy::SecretString;

use super::calls::Calls;
use super::charge::request_id;
use super::look_up::look_up;
use super::resolve_unknown::room;
use super::settle::write_down;
use crate::desk::Desk;
use crate::gateway::{self, Heard};

/// At most so many a time: the rest is found by the next tick.
const LIMIT: i64 = 50;

/// Returns how many holds are to be ended.
pub(crate) async fn end_holds(_: EndHolds, cx: Context<Desk>) -> TaskResult<usize> {
    let desk = cx.state();
    let limit = room(&cx).await.min(LIMIT);
    let held = {
        let mut conn = desk.services.db.conn().await?;
        payments::holds(&mut conn, desk.now(), limit).await?
    };
    for payment_id in &held {
        cx.app().send(EndHold { payment_id: *payment_id }).await?;
    }
    Ok(held.len())
}

pub(crate) async fn end_hold(task: EndHold, cx: Context<Desk>) -> TaskResult<()> {
    let desk = cx.state();
    // Before it is ours: that time is not to run out while we wait for a place.
    let _place = desk.allowance.beside_payments(None).await;
    let now = desk.now();
    let claimed = {
        let mut conn = desk.services.db.conn().await?;
        payments::claim_hold(&mut conn, task.payment_id, desk.lease(now), now).await?
    };
    let Some(hold) = claimed else { return Ok(()) };
    let payment_id = hold.payment.id;
    let receipt = desk.receipt(payment_id).await?;
    match end(desk, &hold, receipt.as_ref()).await {
        Ok(Some(heard)) => {
            let payment = write_down(payment_id, heard, desk).await?;
            if payment.state == PaymentState::Authorized {
                tracing::warn!(%payment_id, "a hold did not end: it is tried again");
            }
        }
        Ok(None) => tracing::warn!(%payment_id, "held at the gateway, and not taken yet: it is tried again"),
        Err(error) => {
            desk.alarm(&error);
            tracing::warn!(%payment_id, %error, "a hold could not be ended: it is tried again");
        }
    }
    Ok(())
}

/// Looks first, then orders what is left to do, and looks what came of it. `None`: it is still held.
///
/// The receipt of a sale in two stages is made when the money is taken: it goes along with the charge and its confirmation.
async fn end(desk: &Desk, hold: &Hold, receipt: Option<&SecretString>) -> Result<Option<Heard>, Error> {
    if let Some(ended) = look(desk, hold).await? {
        return Ok(Some(ended));
    }
    let payment = &hold.payment;
    let Some(transaction_id) = payment.transaction_id else { return Ok(None) };
    let calls = Calls::about(payment.id, desk);
    if hold.is_wanted {
        let amount = Amount::from_minor(payment.amount.get(), payment.currency.decimals());
        let id = request_id(&format!("confirm:{}", payment.id))?;
        let part = match receipt {
            // It takes the place of what came with the charge, so all of that goes along again.
            Some(_) => gateway::part(transaction_id, amount, gateway::charge_ids(payment, hold.period_no), receipt),
            None => TransactionPart::new(transaction_id, amount),
        };
        calls.make("/payments/confirm", Some(&id), calls.gateway.confirm(&part, &id)).await?;
    } else {
        let id = request_id(&format!("void:{}", payment.id))?;
        calls.make("/payments/void", Some(&id), calls.gateway.void(transaction_id, &id)).await?;
    }
    look(desk, hold).await
}

/// What became of the hold. `None`: it is still one.
async fn look(desk: &Desk, hold: &Hold) -> Result<Option<Heard>, Error> {
    let now = desk.now();
    let times = gateway::Times { now, three_ds_expires_at: now, look_again_at: now };
    let Some(looked) = look_up(desk, &hold.payment).await? else { return Ok(None) };
    let heard = gateway::looked_up(looked, &hold.payment.identity(desk.terminal), times);
    Ok(heard.filter(|heard| {
        matches!(heard.outcome, Outcome::Completed { .. } | Outcome::Refunded { .. } | Outcome::Voided)
    }))
}

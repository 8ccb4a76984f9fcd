//! Customers who never came back from the bank's page. Before their payment is given up the gateway is asked: it may have
//! heard of an answer whose sender wrote nothing down.

use billing::payment::{Outcome, PaymentState};
use billing::store::payments::{self, Overdue};
use billing::tasks::ExpireThreeDs;
use celeriac::{Context, TaskResult};

use super::settle::write_down;
use crate::desk::Desk;
use crate::gateway;

/// At most so many a time: the rest is found by the next tick, and the gateway is not flooded.
const LIMIT: i64 = 200;

/// Answers how many payments were ended.
pub(crate) async fn expire_three_ds(_: ExpireThreeDs, cx: Context<Desk>) -> TaskResult<usize> {
    let desk = cx.state();
    let overdue = {
        let mut conn = desk.services.db.conn().await?;
        payments::overdue_three_ds(&mut conn, desk.now(), LIMIT).await?
    };
    let mut ended = 0;
    for payment in overdue {
        let Some(outcome) = last_look(desk, payment).await else { continue };
        let payment = write_down(payment.payment_id, outcome, desk).await?;
        ended += usize::from(payment.state != PaymentState::AwaitingThreeDs);
    }
    Ok(ended)
}

/// What the gateway says became of the payment; `None`: it does not say, so it is asked again by the next tick.
async fn last_look(desk: &Desk, payment: Overdue) -> Option<Outcome> {
    let Some(transaction_id) = payment.transaction_id else { return Some(Outcome::Expired) };
    let found = desk.gateway.get(transaction_id).await;
    let now = desk.now();
    let times = gateway::Times { now, three_ds_expires_at: now, look_again_at: now };
    match found {
        Ok(Some(transaction)) => match gateway::looked_up(transaction, times) {
            None => Some(Outcome::Expired),
            Some(Outcome::Unknown { why, .. }) => put_off(payment, &why),
            known => known,
        },
        Ok(None) => Some(Outcome::Expired),
        Err(error) => put_off(payment, &error.to_string()),
    }
}

fn put_off(Overdue { payment_id, .. }: Overdue, why: &str) -> Option<Outcome> {
    tracing::warn!(%payment_id, why, "its 3-D Secure page ran out, but the gateway does not say what became of it");
    None
}

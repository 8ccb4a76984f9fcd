//! Customers who never came back from the bank's page. Before their payment is given up the gateway is asked: it may have
//! heard of an answer whose sender wrote nothing down.

use billing::payment::{Outcome, PaymentState};
use billing::store::payments::{self, Overdue, PaymentView};
use billing::tasks::ExpireThreeDs;
use celeriac::{Context, TaskResult};

use super::look_up::look_up;
use super::settle::write_down;
use crate::desk::Desk;
use crate::gateway::{self, Heard};

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
    for Overdue { payment_id, .. } in overdue {
        let payment = {
            let mut conn = desk.services.db.conn().await?;
            payments::get(&mut conn, payment_id).await?
        };
        let Some(payment) = payment else { continue };
        let Some(heard) = last_look(desk, &payment).await else { continue };
        let payment = write_down(payment_id, heard, desk).await?;
        ended += usize::from(payment.state != PaymentState::AwaitingThreeDs);
    }
    Ok(ended)
}

/// What the gateway says became of the payment; `None`: it does not say, so it is asked again by the next tick.
async fn last_look(desk: &Desk, payment: &PaymentView) -> Option<Heard> {
    let found = look_up(desk, payment).await;
    let now = desk.now();
    let times = gateway::Times { now, three_ds_expires_at: now, look_again_at: now };
    match found {
        Ok(Some(looked)) => match gateway::looked_up(looked, &payment.identity(desk.terminal), times) {
            None => Some(Outcome::Expired.into()),
            Some(Heard { outcome: Outcome::Unknown { why, .. }, .. }) => put_off(payment, &why),
            known => known,
        },
        Ok(None) => Some(Outcome::Expired.into()),
        Err(error) => put_off(payment, &error.to_string()),
    }
}

fn put_off(payment: &PaymentView, why: &str) -> Option<Heard> {
    let payment_id = payment.id;
    tracing::warn!(%payment_id, why, "its 3-D Secure page ran out, but the gateway does not say what became of it");
    None
}

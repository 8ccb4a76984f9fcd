//! After the commit of what a notification made: who watches the payment is told, and workers are woken for what is to be
//! asked of the gateway. What fails here the timetable does later: the rows are the outbox.

use celeriac::{App, SendError, SendOptions};
use chrono::{DateTime, Utc};

use crate::payment::PaymentState;
use crate::store::notifications::Acted;
use crate::store::payments::Effect;
use crate::store::refunds;
use crate::tasks::{EndHold, PaymentReceipt, RefundPayment, ResolvePayment};

/// Wakes whoever waits for what has come of a notification.
pub async fn after_notification(app: &App, acted: &Acted, now: DateTime<Utc>) {
    let Some((payment_id, state)) = acted.payment else { return };
    let has_ended = !state.is_live() || state == PaymentState::Authorized;
    if has_ended && acted.has_moved() {
        let receipt = PaymentReceipt { payment_id, status: state.as_str().to_owned() };
        receipt.announce(app, now).await;
    }
    for effect in &acted.effects {
        match effect {
            Effect::Held { payment_id, .. } => note(app.send(EndHold { payment_id: *payment_id }).await.map(drop)),
            // Money that nobody owed goes back.
            Effect::RefundOwed { payment_id, .. } => {
                let refund_id = refunds::automatic_id(*payment_id);
                let options = SendOptions::new().task_id(RefundPayment::task_id(refund_id));
                note(app.send_with(RefundPayment { refund_id }, options).await.map(drop));
            }
            _ => {}
        }
    }
    if let Some(at) = acted.look_at {
        let options = SendOptions::new().task_id(ResolvePayment::look_id(payment_id, at));
        let options = if at > now { options.eta(at) } else { options };
        note(app.send_with(ResolvePayment { payment_id }, options).await.map(drop));
    }
}

fn note(sent: Result<(), SendError>) {
    if let Err(error) = sent {
        tracing::debug!(%error, "not sent; the timetable will");
    }
}

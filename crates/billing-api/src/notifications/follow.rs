//! After the commit: who watches the payment is told, and workers are woken for what is to be asked of the gateway. What
//! fails here the timetable does later.

use billing::payment::PaymentState;
use billing::store::notifications::Acted;
use billing::store::payments::Effect;
use billing::tasks::{EndHolds, PaymentReceipt, ResolvePayment};
use celeriac::{App, SendOptions};
use chrono::{DateTime, Utc};

pub(super) async fn follow(app: App, acted: Acted, now: DateTime<Utc>) {
    let Some((payment_id, state)) = acted.payment else { return };
    if !acted.effects.is_empty() || state.is_success() || state == PaymentState::Authorized {
        let receipt = PaymentReceipt { payment_id, status: state.as_str().to_owned() };
        receipt.announce(&app, now).await;
    }
    if acted.effects.iter().any(|effect| matches!(effect, Effect::Held { .. })) {
        sent(app.send(EndHolds {}).await.map(drop));
    }
    if let Some(at) = acted.look_at {
        let options = SendOptions::new().task_id(ResolvePayment::look_id(payment_id, at)).eta(at);
        sent(app.send_with(ResolvePayment { payment_id }, options).await.map(drop));
    }
}

fn sent(sending: Result<(), celeriac::SendError>) {
    if let Err(error) = sending {
        tracing::debug!(%error, "not sent; the timetable will");
    }
}

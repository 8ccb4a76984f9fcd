//! One charge: write ahead, call the gateway, write down what came of it.

use billing::PaymentId;
use billing::store::payments::{self, Begin, ChargeOrder};
use billing::tasks::PaymentReceipt;
use celeriac::{Context, TaskResult};
use cloudpayments::{Charge, Error, RequestId};

use super::settle::{not_ours, settle};
use crate::desk::Desk;
use crate::gateway::{self, ChargeRequest};

pub(super) async fn charge(payment_id: PaymentId, cx: &Context<Desk>) -> TaskResult<PaymentReceipt> {
    let desk = cx.state();
    let begun = {
        let mut conn = desk.services.db.conn().await?;
        payments::begin_sending(&mut conn, payment_id, &desk.services.cipher, desk.now()).await?
    };
    match begun {
        Begin::Send(order) => send(*order, cx).await,
        Begin::NotNow(state) => not_ours(payment_id, state),
    }
}

/// Sends an order that is committed as `sending`. No connection to the database is held meanwhile.
pub(super) async fn send(order: ChargeOrder, cx: &Context<Desk>) -> TaskResult<PaymentReceipt> {
    let desk = cx.state();
    let payment_id = order.payment_id;
    let first_sent_at = order.first_sent_at;
    let ours = order.identity(desk.terminal);
    let answer = ask(desk, order).await.inspect_err(|error| desk.alarm(error));
    let now = desk.now();
    let times = gateway::Times {
        now,
        three_ds_expires_at: now + desk.three_ds_ttl,
        look_again_at: desk.first_look(first_sent_at, now),
    };
    settle(payment_id, gateway::heard(answer, &ours, times), cx).await
}

async fn ask(desk: &Desk, order: ChargeOrder) -> Result<Charge, Error> {
    let request_id = request_id(&order.request_id)?;
    match gateway::request(order)? {
        ChargeRequest::Card(charge) => desk.gateway.charge_card(&charge, &request_id).await,
        ChargeRequest::Token(charge) => desk.gateway.charge_token(&charge, &request_id).await,
    }
}

pub(super) fn request_id(text: &str) -> Result<RequestId, Error> {
    RequestId::new(text).map_err(|error| Error::OurFault { message: error.to_string() })
}

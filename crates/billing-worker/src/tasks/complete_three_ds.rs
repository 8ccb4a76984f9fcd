//! The customer came back from the bank's page: its answer is passed on to the gateway.

use billing::store::payments::{self, Begin3ds, PostOrder};
use billing::tasks::{CompleteThreeDs, PaymentReceipt};
use celeriac::{Context, TaskResult};

use super::charge::request_id;
use super::settle::{not_ours, settle};
use crate::desk::Desk;
use crate::gateway;

pub(crate) async fn complete_three_ds(task: CompleteThreeDs, cx: Context<Desk>) -> TaskResult<PaymentReceipt> {
    let desk = cx.state();
    let begun = {
        let mut conn = desk.services.db.conn().await?;
        payments::begin_posting(&mut conn, task.payment_id, &desk.services.cipher, desk.now()).await?
    };
    match begun {
        Begin3ds::Post(order) => post(order, &cx).await,
        Begin3ds::NotNow(state) => not_ours(task.payment_id, state),
    }
}

/// Passes an answer on. No connection to the database is held meanwhile.
pub(super) async fn post(order: PostOrder, cx: &Context<Desk>) -> TaskResult<PaymentReceipt> {
    let desk = cx.state();
    let sent_at = desk.now();
    let ours = order.payment.identity(desk.terminal);
    let answer = match request_id(&order.request_id) {
        Ok(id) => desk.gateway.post_three_ds(order.transaction_id, &order.pa_res, &id).await,
        Err(error) => Err(error),
    }
    .inspect_err(|error| desk.alarm(error));
    let now = desk.now();
    let times = gateway::Times {
        now,
        three_ds_expires_at: now + desk.three_ds_ttl,
        look_again_at: desk.first_look(sent_at, now),
    };
    settle(order.payment_id, gateway::heard(answer, &ours, times), cx).await
}

//! A customer pays by a card just typed in.

use billing::tasks::{ChargePayment, PaymentReceipt};
use celeriac::{Context, TaskResult};

use super::charge::charge;
use crate::desk::Desk;

pub(crate) async fn charge_payment(task: ChargePayment, cx: Context<Desk>) -> TaskResult<PaymentReceipt> {
    let desk = cx.state();
    let account = desk.account_of(task.payment_id).await?;
    let _place = desk.allowance.for_customer(account).await;
    charge(task.payment_id, &cx).await
}

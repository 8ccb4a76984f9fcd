//! A subscription goes on: the kept token is charged. The row tells which, so the body is that of any charge.

use billing::tasks::{ChargeRenewal, PaymentReceipt};
use celeriac::{Context, TaskResult};

use super::charge::charge;
use crate::desk::Desk;

pub(crate) async fn charge_renewal(task: ChargeRenewal, cx: Context<Desk>) -> TaskResult<PaymentReceipt> {
    charge(task.payment_id, &cx).await
}

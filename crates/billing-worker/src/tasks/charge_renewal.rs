//! A subscription goes on: the kept token is charged. The row tells which, so the body is that of any charge. No customer
//! waits for it: it leaves some of the requests at once to those who do.

use billing::tasks::{ChargeRenewal, PaymentReceipt};
use celeriac::{Context, TaskError, TaskResult};

use super::charge::charge;
use super::places::moved;
use crate::desk::Desk;

pub(crate) async fn charge_renewal(task: ChargeRenewal, cx: Context<Desk>) -> TaskResult<PaymentReceipt> {
    if moved(&task, &cx).await? {
        return Err(TaskError::ignore());
    }
    let desk = cx.state();
    let account = desk.account_of(task.payment_id).await?;
    let _place = desk.allowance.beside_payments(account).await;
    charge(task.payment_id, &cx).await
}

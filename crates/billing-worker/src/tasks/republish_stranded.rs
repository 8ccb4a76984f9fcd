//! Rows are the outbox: a payment whose message was lost gets another.

use billing::store::payments::{self, Stranded, Wake};
use billing::tasks::{ChargePayment, ChargeRenewal, CompleteThreeDs, RepublishStranded};
use celeriac::{App, Context, SendError, SendOptions, TaskResult};

use super::poison::is_poison;
use crate::desk::Desk;

const CHUNK: i64 = 200;

/// Answers how many messages were sent.
pub(crate) async fn republish_stranded(_: RepublishStranded, cx: Context<Desk>) -> TaskResult<usize> {
    let desk = cx.state();
    let mut total = 0;
    loop {
        let now = desk.now();
        let stranded = {
            let mut conn = desk.services.db.conn().await?;
            payments::stranded(&mut conn, now - desk.stranded_after, now, CHUNK).await?
        };
        for payment in &stranded {
            if wake(cx.app(), *payment).await? {
                tracing::info!(payment_id = %payment.payment_id, "sent again");
                total += 1;
            }
        }
        if stranded.is_empty() {
            return Ok(total);
        }
    }
}

/// Answers whether it was sent.
async fn wake(app: &App, Stranded { payment_id, wake }: Stranded) -> Result<bool, SendError> {
    let task_id = match wake {
        Wake::ChargePayment => ChargePayment::task_id(payment_id),
        Wake::ChargeRenewal => ChargeRenewal::task_id(payment_id),
        Wake::CompleteThreeDs => CompleteThreeDs::task_id(payment_id),
    };
    if is_poison(app, &task_id).await {
        return Ok(false);
    }
    let options = SendOptions::new().task_id(task_id);
    let sent = match wake {
        Wake::ChargePayment => app.send_with(ChargePayment { payment_id }, options).await,
        Wake::ChargeRenewal => app.send_with(ChargeRenewal { payment_id }, options).await,
        Wake::CompleteThreeDs => app.send_with(CompleteThreeDs { payment_id }, options).await,
    };
    sent.map(|_| true)
}

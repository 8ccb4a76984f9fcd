//! Rows are the outbox: a payment whose message was lost gets another.

use billing::store::payments::{self, Stranded, Wake};
use billing::tasks::{ChargePayment, ChargeRenewal, CompleteThreeDs, RepublishStranded};
use celeriac::{App, Context, SendError, SendOptions, TaskResult};

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
            wake(cx.app(), *payment).await?;
            tracing::info!(payment_id = %payment.payment_id, "sent again");
        }
        total += stranded.len();
        if stranded.is_empty() {
            return Ok(total);
        }
    }
}

async fn wake(app: &App, Stranded { payment_id, wake }: Stranded) -> Result<(), SendError> {
    let options = |task_id| SendOptions::new().task_id(task_id);
    match wake {
        Wake::ChargePayment => {
            app.send_with(ChargePayment { payment_id }, options(ChargePayment::task_id(payment_id))).await.map(drop)
        }
        Wake::ChargeRenewal => {
            app.send_with(ChargeRenewal { payment_id }, options(ChargeRenewal::task_id(payment_id))).await.map(drop)
        }
        Wake::CompleteThreeDs => {
            app.send_with(CompleteThreeDs { payment_id }, options(CompleteThreeDs::task_id(payment_id))).await.map(drop)
        }
    }
}

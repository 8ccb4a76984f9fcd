//! Rows are the outbox: a payment whose message was lost gets another.

use billing::PaymentId;
use billing::store::payments::{self, Stranded, Wake};
use billing::tasks::{ChargePayment, ChargeRenewal, CompleteThreeDs, RepublishStranded};
use celeriac::{App, Context, SendError, SendOptions, TaskResult};

use super::open_renewals::room;
use crate::desk::Desk;

const CHUNK: i64 = 200;

/// Returns how many messages were sent.
pub(crate) async fn republish_stranded(_: RepublishStranded, cx: Context<Desk>) -> TaskResult<usize> {
    let desk = cx.state();
    let mut total = 0;
    // A queue that is full is not filled with copies of what it has.
    let with_renewals = room(&cx).await > 0;
    loop {
        let now = desk.now();
        let stranded = {
            let mut conn = desk.services.db.conn().await?;
            payments::stranded(&mut conn, now - desk.stranded_after, now, with_renewals, CHUNK).await?
        };
        total += send(&stranded, &cx).await?;
        if stranded.len() < CHUNK as usize {
            return Ok(total);
        }
    }
}

/// Marks as told what was sent, and only that.
async fn send(stranded: &[Stranded], cx: &Context<Desk>) -> TaskResult<usize> {
    let desk = cx.state();
    let mut told = Vec::with_capacity(stranded.len());
    let mut failed = None;
    for payment in stranded {
        if let Err(error) = wake(cx.app(), *payment).await {
            failed = Some(error);
            break;
        }
        tracing::info!(payment_id = %payment.payment_id, "sent again");
        told.push(payment.payment_id);
    }
    let mut conn = desk.services.db.conn().await?;
    payments::told(&mut conn, &told, desk.now()).await?;
    failed.map_or(Ok(told.len()), |error| Err(error.into()))
}

async fn wake(app: &App, Stranded { payment_id, wake }: Stranded) -> Result<(), SendError> {
    let task_id = match wake {
        Wake::ChargePayment => ChargePayment::task_id(payment_id),
        Wake::ChargeRenewal => ChargeRenewal::task_id(payment_id),
        Wake::CompleteThreeDs => CompleteThreeDs::task_id(payment_id),
    };
    warn_of_poison(app, payment_id, &task_id).await;
    let options = SendOptions::new().task_id(task_id);
    match wake {
        Wake::ChargePayment => app.send_with(ChargePayment { payment_id }, options).await.map(drop),
        Wake::ChargeRenewal => app.send_with(ChargeRenewal { payment_id }, options).await.map(drop),
        Wake::CompleteThreeDs => app.send_with(CompleteThreeDs { payment_id }, options).await.map(drop),
    }
}

/// Tells aloud of a payment whose message is parked because its workers died. That they did need not be its fault, and
/// money is not given up for it: it is sent again, the more seldom the older it is.
async fn warn_of_poison(app: &App, payment_id: PaymentId, task_id: &str) {
    let stored = app.result::<()>(task_id).meta().await.ok().flatten();
    let failure = stored.and_then(|meta| meta.exception_info());
    if failure.is_some_and(|failure| failure.exc_type == "WorkerLostError") {
        tracing::error!(
            %payment_id,
            task_id,
            "the workers that had this payment died (billing parked shows its message, why they died stands in their \
             logs); it is sent again"
        );
    }
}

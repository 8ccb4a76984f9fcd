//! A receipt that the cash register is asked for alone: write ahead, call the gateway, write down what came of it.

use billing::receipt::{OrderOutcome, ReceiptKind};
use billing::store::receipts::{self, BeginOrder, RegisterOrder};
use billing::tasks::SendReceipt;
use celeriac::{Context, TaskResult};
use chrono::{DateTime, TimeDelta, Utc};
use cloudpayments::{Client, Error, ReceiptOrder};

use super::charge::request_id;
use crate::desk::Desk;
use crate::gateway;

/// Before what the gateway did not process is sent again.
const PAUSE: TimeDelta = TimeDelta::seconds(30);

pub(crate) async fn send_receipt(task: SendReceipt, cx: Context<Desk>) -> TaskResult<()> {
    let desk = cx.state();
    let receipt_id = task.receipt_id;
    let Some(settings) = &desk.receipts else {
        tracing::error!(%receipt_id, "a receipt waits: RECEIPTS_TAXATION_SYSTEM is not set for this worker");
        return Ok(());
    };
    settings.of_order(receipt_id, &desk.services).await?;
    // Before it is written ahead: a request that is committed as on its way leaves at once.
    let _place = desk.allowance.beside_payments(None).await;
    let now = desk.now();
    let begun = {
        let (mut conn, cipher) = (desk.services.db.conn().await?, &desk.services.cipher);
        receipts::begin_order(&mut conn, receipt_id, cipher, &desk.resolve, desk.sent_before(now), now).await?
    };
    desk.tell_news();
    match begun {
        BeginOrder::Send(order) => send(*order, settings.inn(), desk).await,
        BeginOrder::NotNow(_) | BeginOrder::Unknown => Ok(()),
    }
}

/// Sends an order that is committed as `sending`. No connection to the database is held meanwhile.
async fn send(order: RegisterOrder, inn: &str, desk: &Desk) -> TaskResult<()> {
    let (client, record) = desk.gateway.recorded();
    let (receipt_id, call) = (order.receipt_id, order.call);
    let (first_sent_at, resend_no) = (order.first_sent_at, order.resend_no);
    let answer = ask(&client, order, inn).await.inspect_err(|error| desk.alarm(error));
    let ended = gateway::ended(call, &answer, record.take());
    let now = desk.now();
    let again_at = desk.resolve.after_no_answer(first_sent_at, resend_no, now);
    let outcome = heard_of(answer, again_at, now);
    let applied = {
        let mut conn = desk.services.db.conn().await?;
        receipts::apply_order(&mut conn, receipt_id, outcome, &ended, now).await?
    };
    desk.tell_news();
    if let Some(applied) = applied.filter(|applied| applied.needs_attention) {
        let payment_id = applied.payment_id;
        tracing::error!(%receipt_id, %payment_id, "a receipt that was ordered came to nothing: a person must look");
    }
    Ok(())
}

async fn ask(client: &Client, order: RegisterOrder, inn: &str) -> Result<String, Error> {
    let id = request_id(&order.request_id)?;
    let kind = match order.kind {
        ReceiptKind::Income => cloudpayments::ReceiptKind::Income,
        ReceiptKind::IncomeReturn => cloudpayments::ReceiptKind::IncomeReturn,
    };
    let receipt = ReceiptOrder {
        inn: inn.to_owned(),
        kind,
        invoice_id: Some(order.invoice_no.to_string()),
        account_id: Some(order.account_id.to_string()),
        content: order.content,
    };
    client.receipt(&receipt, &id).await
}

/// What the response to an order means for it.
fn heard_of(answer: Result<String, Error>, again_at: DateTime<Utc>, now: DateTime<Utc>) -> OrderOutcome {
    match answer {
        Ok(document) => OrderOutcome::Queued { document },
        Err(Error::SafeToRetry { why, retry_after }) => {
            let asked = retry_after.and_then(|after| TimeDelta::from_std(after).ok()).unwrap_or(PAUSE);
            OrderOutcome::NotSent { why: why.to_string(), again_at: now + asked.max(PAUSE) }
        }
        Err(error @ Error::Unauthorized) => OrderOutcome::NotSent { why: error.to_string(), again_at: now + PAUSE },
        Err(Error::OurFault { message }) => OrderOutcome::Rejected { why: message },
        Err(error) => OrderOutcome::Unknown { why: error.to_string(), again_at },
    }
}

//! Money goes back: write ahead, call the gateway, write down what came of it. One in doubt is looked for, and the identical
//! request is repeated only while the gateway is known to remember the first – as with a charge (`billing::resolve`).

use billing::breaker::Circuit;
use billing::refund::{RefundOutcome, RefundState, RefundWay};
use billing::resolve::{Spread, backoff};
use billing::store::circuits::Watch;
use billing::store::refunds::{self, AppliedRefund, BeginRefund, RefundOrder};
use billing::tasks::{RefundPayment, RefundReceipt};
use celeriac::{Context, SendOptions, TaskError, TaskResult};
use chrono::{DateTime, TimeDelta, Utc};
use cloudpayments::{Amount, Client, Error};
use secrecy::SecretString;

use super::charge::request_id;
use super::look_for_refund::{Found, look_for};
use crate::desk::Desk;
use crate::figures;
use crate::gateway::{self, signals};

pub(crate) async fn refund_payment(task: RefundPayment, cx: Context<Desk>) -> TaskResult<RefundReceipt> {
    let desk = cx.state();
    if let Some(receipts) = &desk.receipts {
        receipts.of_refund(task.refund_id, &desk.services).await?;
    }
    // Before it is written ahead: a request that is committed as on its way leaves at once.
    let _place = desk.allowance.beside_payments(None).await;
    let now = desk.now();
    let begun = {
        let mut conn = desk.services.db.conn().await?;
        refunds::begin(&mut conn, task.refund_id, desk.sent_before(now), now).await?
    };
    match begun {
        BeginRefund::Send(order) => send(&order, &cx).await,
        BeginRefund::Look(look) => match look_for(desk, &look).await {
            Ok(Found::Heard(outcome)) => write_down(task, outcome, &cx).await,
            Ok(Found::Nothing) => finish(task, now_is(task, desk).await?),
            Ok(Found::MayBeRepeated) => repeat(task, &cx).await,
            Err(error) => {
                let spread = Spread::of(look.payment.id);
                let again_at = now + backoff(desk.resolve.first_look * 4, look.refund.looks, LONGEST_PAUSE, spread);
                tracing::warn!(refund_id = %task.refund_id, %error, next = %again_at, "a refund cannot be looked for now");
                let mut conn = desk.services.db.conn().await?;
                refunds::put_look_off(&mut conn, task.refund_id, &error.to_string(), again_at).await?;
                Err(TaskError::ignore())
            }
        },
        BeginRefund::NotNow(state) => finish(task, state),
    }
}

/// Between looks that fail.
const LONGEST_PAUSE: TimeDelta = TimeDelta::days(1);

/// Before what the gateway did not process is sent again.
const PAUSE: TimeDelta = TimeDelta::seconds(30);

async fn repeat(task: RefundPayment, cx: &Context<Desk>) -> TaskResult<RefundReceipt> {
    let desk = cx.state();
    let begun = {
        let mut conn = desk.services.db.conn().await?;
        refunds::begin_resend(&mut conn, task.refund_id, &desk.resolve, desk.now()).await?
    };
    match begun {
        BeginRefund::Send(order) => send(&order, cx).await,
        _ => Err(TaskError::ignore()),
    }
}

/// Sends an order that is committed as `sending`. No connection to the database is held meanwhile.
async fn send(order: &RefundOrder, cx: &Context<Desk>) -> TaskResult<RefundReceipt> {
    let desk = cx.state();
    // What was sent once goes along again, also if receipts are off by now.
    let receipt =
        if desk.receipts.is_some() || order.resend_no > 1 { desk.receipt(order.refund_id).await? } else { None };
    let (gateway, record) = desk.gateway.recorded();
    let answer = ask(&gateway, order, receipt.as_ref()).await.inspect_err(|error| desk.alarm(error));
    let heard = [(Circuit::Gateway, signals::of_gateway(answer.as_ref().err()))];
    desk.report(Watch::UNASKED, &heard, answer.as_ref().err()).await;
    let ended = gateway::ended(order.call, &answer, record.take());
    let now = desk.now();
    let look_again_at = desk.resolve.after_no_answer(order.first_sent_at, order.resend_no, now);
    let outcome = heard_of(answer, look_again_at, now);
    let applied = {
        let mut conn = desk.services.db.conn().await?;
        refunds::apply(&mut conn, order.refund_id, outcome, Some(&ended), now).await?
    };
    applied_to(RefundPayment { refund_id: order.refund_id }, applied, cx).await
}

async fn ask(client: &Client, order: &RefundOrder, receipt: Option<&SecretString>) -> Result<Option<i64>, Error> {
    let id = request_id(&order.request_id)?;
    match order.way {
        RefundWay::Void => client.void(order.transaction_id, &id).await.map(|()| None),
        RefundWay::Refund => {
            let amount = Amount::from_minor(order.amount.get(), order.currency.decimals());
            let ids = serde_json::json!({
                "refund_id": order.refund_id.to_string(), "payment_id": order.payment_id.to_string()
            });
            let part = gateway::part(order.transaction_id, amount, ids, receipt);
            client.refund(&part, &id).await.map(Some)
        }
    }
}

/// What the response to an order means for it.
fn heard_of(answer: Result<Option<i64>, Error>, look_again_at: DateTime<Utc>, now: DateTime<Utc>) -> RefundOutcome {
    match answer {
        Ok(gateway_tx_id) => RefundOutcome::Done { gateway_tx_id },
        Err(Error::SafeToRetry { why, retry_after }) => {
            let asked = retry_after.and_then(|after| TimeDelta::from_std(after).ok()).unwrap_or(PAUSE);
            RefundOutcome::NotSent { why: why.to_string(), again_at: now + asked.max(PAUSE) }
        }
        Err(error @ Error::Unauthorized) => RefundOutcome::NotSent { why: error.to_string(), again_at: now + PAUSE },
        Err(Error::OurFault { message }) => RefundOutcome::Rejected { why: message },
        // In words that are not documented: that it did nothing is not proved.
        Err(error) => RefundOutcome::Unknown { why: error.to_string(), look_again_at },
    }
}

async fn write_down(task: RefundPayment, outcome: RefundOutcome, cx: &Context<Desk>) -> TaskResult<RefundReceipt> {
    let desk = cx.state();
    let applied = {
        let mut conn = desk.services.db.conn().await?;
        refunds::apply(&mut conn, task.refund_id, outcome, None, desk.now()).await?
    };
    applied_to(task, applied, cx).await
}

async fn applied_to(task: RefundPayment, applied: AppliedRefund, cx: &Context<Desk>) -> TaskResult<RefundReceipt> {
    let desk = cx.state();
    desk.tell_news();
    let AppliedRefund { refund, moved, needs_attention } = applied;
    let (refund_id, payment_id) = (refund.id, refund.payment_id);
    if moved {
        figures::refund_moved(&refund);
    }
    if needs_attention {
        let why = refund.info.clone().unwrap_or_default();
        tracing::error!(%refund_id, %payment_id, why, "a refund came to nothing: a person must look");
    } else if moved && refund.state == RefundState::Succeeded {
        tracing::info!(%refund_id, %payment_id, amount = refund.amount.get(), "the money is back");
    }
    if let (RefundState::Unknown, Some(at)) = (refund.state, refund.look_again_at) {
        look_later(task, at, cx).await;
    }
    finish(task, refund.state)
}

/// For looks further off than this the timetable is soon enough.
const SOON: TimeDelta = TimeDelta::minutes(2);

async fn look_later(task: RefundPayment, at: DateTime<Utc>, cx: &Context<Desk>) {
    if at - cx.state().now() > SOON {
        return;
    }
    let options = SendOptions::new().task_id(RefundPayment::look_id(task.refund_id, at)).eta(at);
    if let Err(error) = cx.app().send_with(task, options).await {
        tracing::warn!(refund_id = %task.refund_id, %error, "the look at the gateway is left to the timetable");
    }
}

async fn now_is(task: RefundPayment, desk: &Desk) -> TaskResult<RefundState> {
    let mut conn = desk.services.db.conn().await?;
    let row = refunds::get(&mut conn, task.refund_id).await?;
    Ok(row.map_or(RefundState::Failed, |row| row.state))
}

/// While it is not finished no result is stored: somebody else's will be.
fn finish(task: RefundPayment, state: RefundState) -> TaskResult<RefundReceipt> {
    if state.is_unfinished() {
        return Err(TaskError::ignore());
    }
    Ok(RefundReceipt { refund_id: task.refund_id, status: state.as_str().to_owned() })
}

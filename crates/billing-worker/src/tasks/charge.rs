//! One charge: write ahead, call the gateway, write down what came of it.

use billing::PaymentId;
use billing::breaker::{Circuit, Signal};
use billing::payment::Outcome;
use billing::payment::identity::Identity;
use billing::resolve::{Spread, backoff};
use billing::store::gateway_calls::Ended;
use billing::store::payments::{self, Begin, ChargeInstrument, ChargeOrder};
use billing::tasks::PaymentReceipt;
use celeriac::{Context, TaskResult};
use chrono::{DateTime, TimeDelta, Utc};
use cloudpayments::{Charge, Client, Error, RequestId};
use secrecy::SecretString;

use super::settle::{not_ours, settle};
use crate::desk::Desk;
use crate::gateway::{self, ChargeRequest, Heard, signals};

pub(super) async fn charge(payment_id: PaymentId, cx: &Context<Desk>) -> TaskResult<PaymentReceipt> {
    let desk = cx.state();
    if let Some(receipts) = &desk.receipts {
        receipts.of_charge(payment_id, &desk.services).await?;
    }
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
    let ours = order.identity(desk.terminal);
    // What was sent once goes along again, also if receipts are off by now.
    let receipt = if desk.receipts.is_some() || order.resend_no > 1 { desk.receipt(payment_id).await? } else { None };
    let sending = Sending { first_at: order.first_sent_at, no: order.resend_no };
    let (call, watch) = (order.call, order.watch);
    let is_kept = matches!(order.instrument, ChargeInstrument::Token(_));
    let (gateway, record) = desk.gateway.recorded();
    let answer = ask(&gateway, order, receipt.as_ref()).await.inspect_err(|error| desk.alarm(error));
    let kept_cards = if is_kept { signals::of_kept_cards(&answer) } else { Signal::Neither };
    let heard = [(Circuit::Gateway, signals::of_gateway(answer.as_ref().err())), (Circuit::KeptCards, kept_cards)];
    desk.report(watch, &heard, answer.as_ref().err()).await;
    let ended = gateway::ended(call, &answer, record.take());
    answered(payment_id, answer, ended, sending, &ours, cx).await
}

/// Which sending of the same request was answered.
#[derive(Clone, Copy)]
pub(super) struct Sending {
    pub(super) first_at: DateTime<Utc>,
    /// 1 for the first.
    pub(super) no: i32,
}

/// Writes down what an answer says.
pub(super) async fn answered(
    payment_id: PaymentId,
    answer: Result<Charge, Error>,
    ended: Ended,
    sending: Sending,
    ours: &Identity,
    cx: &Context<Desk>,
) -> TaskResult<PaymentReceipt> {
    let desk = cx.state();
    let now = desk.now();
    let times = gateway::Times {
        now,
        three_ds_expires_at: now + desk.three_ds_ttl,
        look_again_at: desk.resolve.after_no_answer(sending.first_at, sending.no, now),
    };
    let Heard { outcome, orphan, .. } = gateway::heard(answer, ours, times);
    let outcome = match outcome {
        // That a repetition was not processed, or not understood, says nothing about the request before it.
        Outcome::NotSent { why, retry_after } if sending.no > 1 => {
            let look_again_at = retry_after.map_or(times.look_again_at, |asked| asked.max(times.look_again_at));
            Outcome::Unknown { why, look_again_at }
        }
        Outcome::Rejected { message } if sending.no > 1 => gateway::unknown(message, times),
        Outcome::NotSent { why, retry_after } => put_off(payment_id, why, retry_after, now, desk).await?,
        outcome => outcome,
    };
    settle(payment_id, Heard { outcome, orphan, call: Some(ended) }, cx).await
}

/// When what was not processed is sent again stands in the row, so that of all who are told of it only one does so: later
/// each time, and not before the gateway wants it.
async fn put_off(
    payment_id: PaymentId,
    why: String,
    asked: Option<DateTime<Utc>>,
    now: DateTime<Utc>,
    desk: &Desk,
) -> TaskResult<Outcome> {
    let times = {
        let mut conn = desk.services.db.conn().await?;
        payments::count_unprocessed(&mut conn, payment_id).await?
    };
    let at = now + backoff(FIRST_PAUSE, times, LONGEST_PAUSE, Spread::of(payment_id));
    Ok(Outcome::NotSent { why, retry_after: Some(asked.map_or(at, |asked| asked.max(at))) })
}

const FIRST_PAUSE: TimeDelta = TimeDelta::seconds(1);
const LONGEST_PAUSE: TimeDelta = TimeDelta::minutes(10);

async fn ask(gateway: &Client, order: ChargeOrder, receipt: Option<&SecretString>) -> Result<Charge, Error> {
    let request_id = request_id(&order.request_id)?;
    match gateway::request(order, receipt)? {
        ChargeRequest::Card(charge) => gateway.charge_card(&charge, &request_id).await,
        ChargeRequest::CardHold(charge) => gateway.auth_card(&charge, &request_id).await,
        ChargeRequest::Token(charge) => gateway.charge_token(&charge, &request_id).await,
        ChargeRequest::TokenHold(charge) => gateway.auth_token(&charge, &request_id).await,
    }
}

pub(super) fn request_id(text: &str) -> Result<RequestId, Error> {
    RequestId::new(text).map_err(|error| Error::OurFault { message: error.to_string() })
}

//! The customer came back from the bank's page: its answer is passed on to the gateway.

use billing::breaker::Circuit;
use billing::payment::Outcome;
use billing::store::payments::{self, Begin3ds, PaymentView, PostOrder};
use billing::tasks::{CompleteThreeDs, PaymentReceipt};
use celeriac::{Context, TaskResult};
use chrono::{DateTime, TimeDelta, Utc};

use super::charge::{Sending, answered, request_id};
use super::look_up::look_up;
use super::settle::{not_ours, settle};
use crate::desk::Desk;
use crate::gateway::{self, Heard, signals};

pub(crate) async fn complete_three_ds(task: CompleteThreeDs, cx: Context<Desk>) -> TaskResult<PaymentReceipt> {
    let desk = cx.state();
    let account = desk.account_of(task.payment_id).await?;
    let _place = desk.allowance.for_customer(account).await;
    let begun = {
        let mut conn = desk.services.db.conn().await?;
        payments::begin_posting(&mut conn, task.payment_id, &desk.services.cipher, desk.now()).await?
    };
    match begun {
        Begin3ds::Post(order) => post(order, &cx).await,
        Begin3ds::GiveUp { payment, why } => give_up(&payment, &why, &cx).await,
        Begin3ds::NotNow(state) => not_ours(task.payment_id, state),
    }
}

/// The answer is not passed on. The gateway is asked first: it may have heard of it by a worker that wrote nothing down.
async fn give_up(payment: &PaymentView, why: &str, cx: &Context<Desk>) -> TaskResult<PaymentReceipt> {
    let desk = cx.state();
    tracing::error!(payment_id = %payment.id, why, "not passed on");
    let found = look_up(desk, payment).await;
    let now = desk.now();
    let times = gateway::Times { now, three_ds_expires_at: now, look_again_at: now };
    let ours = payment.identity(desk.terminal);
    let heard = match (found, payment.transaction_id) {
        (Err(error), _) => cannot_say(error.to_string(), now),
        (Ok(found), transaction_id) => match found.and_then(|looked| gateway::looked_up(looked, &ours, times)) {
            Some(Heard { outcome: Outcome::Unknown { why, .. }, orphan, .. }) => {
                Heard { orphan, ..cannot_say(why, now) }
            }
            Some(heard) => heard,
            None => match transaction_id {
                Some(transaction_id) => Outcome::NeverAuthenticated { transaction_id }.into(),
                None => cannot_say("it has no transaction".to_owned(), now),
            },
        },
    };
    settle(payment.id, heard, cx).await
}

/// How soon the gateway is asked again.
const PAUSE: TimeDelta = TimeDelta::minutes(1);

/// Nothing is decided: it is tried again.
fn cannot_say(why: String, now: DateTime<Utc>) -> Heard {
    Outcome::NotSent { why, retry_after: Some(now + PAUSE) }.into()
}

/// Passes an answer on. No connection to the database is held meanwhile.
pub(super) async fn post(order: PostOrder, cx: &Context<Desk>) -> TaskResult<PaymentReceipt> {
    let desk = cx.state();
    let ours = order.payment.identity(desk.terminal);
    let sending = Sending { first_at: order.first_sent_at, no: order.resend_no };
    let (gateway, record) = desk.gateway.recorded();
    let answer = match request_id(&order.request_id) {
        Ok(id) => gateway.post_three_ds(order.transaction_id, &order.pa_res, &id).await,
        Err(error) => Err(error),
    }
    .inspect_err(|error| desk.alarm(error));
    let heard = [(Circuit::Gateway, signals::of_gateway(answer.as_ref().err()))];
    desk.report(order.watch, &heard, answer.as_ref().err()).await;
    let ended = gateway::ended(order.call, &answer, record.take());
    answered(order.payment_id, answer, ended, sending, &ours, cx).await
}

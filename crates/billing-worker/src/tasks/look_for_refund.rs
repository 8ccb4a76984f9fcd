//! Looking for a refund at the gateway. Whatever refunds of the payment are met there are recognised, whosever they are.

use billing::Kopecks;
use billing::payment::Outcome;
use billing::refund::{RefundOutcome, RefundState, RefundWay};
use billing::resolve::{Sent, Step};
use billing::store::StoreError;
use billing::store::payments::PaymentView;
use billing::store::refunds::{self, GatewayRefund, KnownFrom, Recognised, RefundLook};
use chrono::{DateTime, TimeDelta, Utc};
use cloudpayments::{Error, ListRequest, Transaction, TransactionStatus};

use super::calls::Calls;
use super::look_up::is_refund;
use super::settle;
use crate::desk::Desk;
use crate::gateway::{self, Looked};

/// Clocks of the gateway and ours may differ by this much.
const CLOCKS_APART: TimeDelta = TimeDelta::minutes(5);

/// What a look taught.
pub(super) enum Found {
    Heard(RefundOutcome),
    /// What there was to learn is written down already.
    Nothing,
    /// The identical request may be sent again, and only that can bring more.
    MayBeRepeated,
}

/// Looks for a refund in doubt: by the invoice number, whose last operation it may be; by the payment, which says whether all of
/// it is back; and, once that proves something, in the list of that time.
pub(super) async fn look_for(desk: &Desk, look: &RefundLook) -> Result<Found, Error> {
    let Some((sent, transaction_id)) = look.refund.machine().sent().zip(look.payment.transaction_id) else {
        return Ok(Found::Nothing);
    };
    let calls = Calls::about(look.payment.id, desk);
    if look.refund.way == RefundWay::Void {
        let held = calls.make("/payments/get", None, calls.gateway.get(transaction_id)).await?;
        return Ok(let_go(desk, look, held, sent).await);
    }
    let invoice_no = look.payment.invoice_no.to_string();
    let last = calls.make("/v2/payments/find", None, calls.gateway.find(&invoice_no)).await?;
    if let Some(last) = last.filter(is_refund) {
        recognise(desk, &look.payment, &last).await;
    }
    let payment = calls.make("/payments/get", None, calls.gateway.get(transaction_id)).await?;
    let is_all_back = payment.and_then(|payment| payment.refunded) == Some(true);
    if let Some(found) = known(desk, look, is_all_back).await {
        return Ok(found);
    }
    let now = desk.now();
    match desk.resolve.step(&sent, now) {
        Step::Look => Ok(not_found(desk, sent, false, now)),
        Step::LookThenResend => Ok(Found::MayBeRepeated),
        Step::LookEverywhere => {
            let mut pages =
                calls.gateway.pages(ListRequest::created_between(sent.first_at - CLOCKS_APART, now + CLOCKS_APART));
            while let Some(page) = calls.make("/v2/payments/list", None, pages.next()).await? {
                for found in page.iter().filter(|found| found.original_transaction_id == Some(transaction_id)) {
                    if is_refund(found) {
                        recognise(desk, &look.payment, found).await;
                    }
                }
            }
            if let Some(found) = known(desk, look, is_all_back).await {
                return Ok(found);
            }
            // All of it is back, and not by refunds that could be found: that is no evidence of absence.
            Ok(not_found(desk, sent, !is_all_back, now))
        }
    }
}

/// What was met has said whether it was ours. Or all of the money is back, and what is known of others lacks just this one.
async fn known(desk: &Desk, look: &RefundLook, is_all_back: bool) -> Option<Found> {
    let read = async {
        let mut conn = desk.services.db.conn().await?;
        let row = refunds::get(&mut conn, look.refund.id).await?;
        Ok::<_, StoreError>((row, refunds::sum_of_payment(&mut conn, look.payment.id).await?))
    };
    let (row, back) = read.await.ok()?;
    if row.is_some_and(|row| row.state != RefundState::Unknown) {
        return Some(Found::Nothing);
    }
    let with_ours = Kopecks::new(back.get() + look.refund.amount.get());
    let is_ours = is_all_back && with_ours == look.payment.amount;
    is_ours.then_some(Found::Heard(RefundOutcome::Done { gateway_tx_id: None }))
}

fn not_found(desk: &Desk, sent: Sent, listed_nowhere: bool, now: DateTime<Utc>) -> Found {
    Found::Heard(match desk.resolve.not_found(&sent, listed_nowhere, now) {
        Outcome::NotExecuted => RefundOutcome::NotExecuted,
        Outcome::NotFound { absent, look_again_at } => RefundOutcome::NotFound { absent, look_again_at },
        _ => RefundOutcome::NotFound { absent: false, look_again_at: desk.resolve.next_look(sent.first_at, now) },
    })
}

/// What became of money that was held.
async fn let_go(desk: &Desk, look: &RefundLook, held: Option<Transaction>, sent: Sent) -> Found {
    let now = desk.now();
    match held.as_ref().and_then(|held| held.status) {
        Some(TransactionStatus::Cancelled) => Found::Heard(RefundOutcome::Done { gateway_tx_id: None }),
        Some(TransactionStatus::Completed) => {
            let times = gateway::Times { now, three_ds_expires_at: now, look_again_at: now };
            let looked = held.map(|transaction| Looked { transaction, has_refund: false });
            let ours = look.payment.identity(desk.terminal);
            if let Some(heard) = looked.and_then(|looked| gateway::looked_up(looked, &ours, times))
                && let Err(error) = settle::write_down(look.payment.id, heard, desk).await
            {
                tracing::warn!(payment_id = %look.payment.id, %error, "that it was taken could not be written down");
            }
            Found::Heard(RefundOutcome::Refuted { why: "the money was taken meanwhile".to_owned() })
        }
        _ => match desk.resolve.step(&sent, now) {
            Step::LookThenResend => Found::MayBeRepeated,
            // It is still held: the order to let it go was never executed.
            Step::LookEverywhere => not_found(desk, sent, true, now),
            Step::Look => not_found(desk, sent, false, now),
        },
    }
}

/// Writes down a refund of a payment of ours that was met at the gateway. That it cannot be written down now is no reason not to
/// look on: it is met again.
pub(super) async fn recognise(desk: &Desk, payment: &PaymentView, found: &Transaction) {
    let Some(amount) = found.amount.and_then(|amount| amount.minor(payment.currency.decimals())) else { return };
    let told = GatewayRefund {
        gateway_tx_id: found.transaction_id,
        payment_tx_id: found.original_transaction_id,
        invoice_id: found.invoice_id.clone(),
        account_id: found.account_id.clone(),
        json_data: found.json_data.clone(),
        amount: Kopecks::new(amount),
    };
    let written = async {
        let mut conn = desk.services.db.conn().await?;
        refunds::recognise(&mut conn, &told, KnownFrom::Look, desk.now()).await
    };
    let (payment_id, transaction_id) = (payment.id, found.transaction_id);
    match written.await {
        Ok(Recognised::New(row)) => {
            desk.tell_news();
            tracing::info!(%payment_id, refund_id = %row.id, source = %row.source, "money of this payment is back");
        }
        Ok(Recognised::Orphan { is_new: true }) => {
            tracing::error!(%payment_id, transaction_id, "an orphan of the gateway: a refund that fits no payment, a person must look");
        }
        Ok(_) => {}
        Err(error) => {
            tracing::warn!(%payment_id, transaction_id, %error, "a refund that was met could not be written down");
        }
    }
}

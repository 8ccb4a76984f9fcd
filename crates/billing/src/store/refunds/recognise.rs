//! What the gateway has of refunds, from wherever it is known.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl};

use super::super::orphans::{self, Orphan};
use super::super::payments::load::{Locked, lock_known};
use super::super::{StoreError, events, journal};
use super::given_back::{self, NewMoney};
use super::{apply, get, of_payment};
use crate::event::EventKind;
use crate::models::{NewRefund, RefundRow};
use crate::payment::PaymentState;
use crate::reconciliation::GATEWAY_ZONE;
use crate::refund::{AccessEffect, RefundOutcome, RefundSource, RefundState, refund_in};
use crate::schema::{payment, refund};
use crate::{Currency, Kopecks, PaymentId};

/// A refund as the gateway tells of it: in a notification, under a look, in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GatewayRefund {
    /// The refund's own number (`TransactionId`).
    pub gateway_tx_id: i64,
    /// The payment's (`PaymentTransactionId` of a notification, `OriginalTransactionId` of a transaction).
    pub payment_tx_id: Option<i64>,
    /// `InvoiceId`: that of the payment.
    pub invoice_id: Option<String>,
    /// `AccountId`
    pub account_id: Option<String>,
    /// `JsonData`, or `Data` of a notification. Our refunds are known by its `refund_id`.
    pub json_data: Option<String>,
    /// In minor units of the payment's currency ([`payment_of`] says which that is).
    pub amount: Kopecks,
}

/// From where it is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KnownFrom {
    /// The gateway told us.
    Notification,
    /// We looked for a payment or a refund in doubt, and met it. (Whoever looked at the payment writes down what it learnt.)
    Look,
    Reconciliation,
}

/// What it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Recognised {
    /// It was not known yet: one of ours that was in doubt, or one made in the gateway's cabinet.
    New(Box<RefundRow>),
    /// It is known already. Nothing has changed.
    Known(Box<RefundRow>),
    /// It fits no payment of ours, or gives back more than was taken: it is kept as an orphan. `is_new`: somebody must be told.
    Orphan { is_new: bool },
}

/// The payment that such a refund is of, and its currency: by the payment's number at the gateway, or else by ours. `None`:
/// none of ours.
///
/// # Errors
/// [`StoreError::Db`].
pub async fn payment_of(
    conn: &mut AsyncPgConnection,
    payment_tx_id: Option<i64>,
    invoice_id: Option<&str>,
) -> Result<Option<(PaymentId, Currency)>, StoreError> {
    let columns = (payment::id, payment::currency);
    if let Some(number) = payment_tx_id {
        let by_number = payment::table.filter(payment::transaction_id.eq(number)).select(columns);
        if let Some(found) = by_number.first(conn).await.optional()? {
            return Ok(Some(found));
        }
    }
    let Some(invoice_no) = invoice_id.and_then(|text| text.parse::<i64>().ok()) else { return Ok(None) };
    // One that has another number is another movement of money.
    let by_invoice = payment::table.filter(payment::invoice_no.eq(invoice_no).and(payment::transaction_id.is_null()));
    Ok(by_invoice.select(columns).first(conn).await.optional()?)
}

/// Writes down a refund that the gateway has, in one transaction with its payment, bill and account. Told of again, in
/// whatever order and from wherever, it changes nothing: it is known by its own number.
///
/// Ours is known by the `refund_id` that went along with it; any other is `external`. A payment that is still in doubt is
/// looked at at once: a refund of it proves that it was taken.
///
/// # Errors
/// [`StoreError`].
pub async fn recognise(
    conn: &mut AsyncPgConnection,
    told: &GatewayRefund,
    from: KnownFrom,
    now: DateTime<Utc>,
) -> Result<Recognised, StoreError> {
    conn.transaction(async |conn| {
        let found = payment_of(conn, told.payment_tx_id, told.invoice_id.as_deref()).await?;
        let Some((payment_id, _)) = found else {
            return orphan(conn, None, told, from, "a refund of no payment of ours", now).await;
        };
        let mut locked = lock_known(conn, payment_id).await?;
        let known = refund::table.filter(refund::gateway_tx_id.eq(told.gateway_tx_id)).select(RefundRow::as_select());
        if let Some(known) = known.first(conn).await.optional()? {
            return Ok(Recognised::Known(Box::new(known)));
        }
        if !is_named_rightly(&locked, told) {
            return orphan(conn, Some(&locked), told, from, "a refund that names another's payment as ours", now).await;
        }
        let recognised = match ours(conn, &locked, told).await? {
            Some(row) => {
                let done = RefundOutcome::Done { gateway_tx_id: Some(told.gateway_tx_id) };
                Recognised::New(Box::new(apply::settle(conn, &mut locked, row, done, now).await?.refund))
            }
            None => external(conn, &mut locked, told, from, now).await?,
        };
        if from != KnownFrom::Look {
            wake(conn, &locked, now).await?;
        }
        Ok(recognised)
    })
    .await
}

/// What comes back with it must be what went along with the payment, as far as it does come back.
fn is_named_rightly(locked: &Locked, told: &GatewayRefund) -> bool {
    let invoice_no = locked.payment.invoice_no.to_string();
    let account_id = locked.account.id.to_string();
    // The second transaction of an attempt has the attempt's invoice number, and a row with a number of its own.
    let is_second = locked.payment.request_id.starts_with("second:");
    let invoice = told.invoice_id.as_ref().is_none_or(|told| is_second || *told == invoice_no);
    invoice && told.account_id.as_ref().is_none_or(|told| told.eq_ignore_ascii_case(&account_id))
}

/// The one of ours that it is. One that has succeeded under another number is not this one.
async fn ours(
    conn: &mut AsyncPgConnection,
    locked: &Locked,
    told: &GatewayRefund,
) -> Result<Option<RefundRow>, StoreError> {
    let Some(id) = told.json_data.as_deref().and_then(refund_in) else { return Ok(None) };
    let row = get(conn, id).await?.filter(|row| row.payment_id == locked.payment.id && row.amount == told.amount);
    Ok(row.filter(|row| row.gateway_tx_id.is_none()))
}

async fn external(
    conn: &mut AsyncPgConnection,
    locked: &mut Locked,
    told: &GatewayRefund,
    from: KnownFrom,
    now: DateTime<Utc>,
) -> Result<Recognised, StoreError> {
    let before = of_payment(conn, locked.payment.id).await?;
    if let Some(row) = nameless(conn, &before, told, now).await? {
        return Ok(Recognised::New(Box::new(row)));
    }
    let back: Vec<RefundRow> = before.into_iter().filter(|refund| refund.state == RefundState::Succeeded).collect();
    let left = given_back::left(&locked.payment, &back);
    if told.amount > left || Kopecks::billable(told.amount.get()).is_err() {
        return orphan(conn, Some(locked), told, from, "a refund of more than was taken", now).await;
    }
    let effect = AccessEffect::by_default(told.amount == left, given_back::is_of_present_period(locked));
    let money = (told.amount, locked.payment.currency);
    let new = NewRefund::external(locked.payment.id, money, Some(told.gateway_tx_id), effect, now);
    let row: RefundRow =
        diesel::insert_into(refund::table).values(new).returning(RefundRow::as_returning()).get_result(conn).await?;
    events::append(conn, vec![given_back::moved(locked, &row, None)], now).await?;
    given_back::write_down(conn, locked, &row, NewMoney::Yes, now).await?;
    Ok(Recognised::New(Box::new(row)))
}

/// A movement that is counted already, without its number: that all of a payment was back is known before by which refunds.
/// It gives its number to that row, or is cut out of it. No more money went back by it.
async fn nameless(
    conn: &mut AsyncPgConnection,
    before: &[RefundRow],
    told: &GatewayRefund,
    now: DateTime<Utc>,
) -> Result<Option<RefundRow>, StoreError> {
    let counted = before.iter().find(|row| {
        let is_nameless = row.source == RefundSource::External && row.gateway_tx_id.is_none();
        is_nameless && row.state == RefundState::Succeeded && row.amount >= told.amount
    });
    let Some(row) = counted else { return Ok(None) };
    if row.amount == told.amount {
        let naming = diesel::update(refund::table.find(row.id))
            .set((refund::gateway_tx_id.eq(told.gateway_tx_id), refund::updated_at.eq(now)));
        return Ok(Some(naming.returning(RefundRow::as_returning()).get_result(conn).await?));
    }
    let rest = Kopecks::new(row.amount.get() - told.amount.get());
    diesel::update(refund::table.find(row.id))
        .set((refund::amount.eq(rest), refund::updated_at.eq(now)))
        .execute(conn)
        .await?;
    let money = (told.amount, row.currency);
    let new = NewRefund::external(row.payment_id, money, Some(told.gateway_tx_id), row.effect, now);
    let inserting = diesel::insert_into(refund::table).values(new);
    Ok(Some(inserting.returning(RefundRow::as_returning()).get_result(conn).await?))
}

/// What went back was taken: a payment in doubt is looked at now. One that is believed dead is for a person, until the
/// gateway is asked.
async fn wake(conn: &mut AsyncPgConnection, locked: &Locked, now: DateTime<Utc>) -> Result<(), StoreError> {
    let row = &locked.payment;
    match row.state {
        PaymentState::Unknown | PaymentState::Abandoned => {
            diesel::update(payment::table.find(row.id)).set(payment::look_again_at.eq(now)).execute(conn).await?;
            Ok(())
        }
        state if state.is_failure() => {
            let what = "money went back of a payment that is believed not to have been taken";
            events::append(conn, vec![given_back::about(locked, EventKind::NeedsAttention).with("what", what)], now)
                .await
        }
        _ => Ok(()),
    }
}

async fn orphan(
    conn: &mut AsyncPgConnection,
    locked: Option<&Locked>,
    told: &GatewayRefund,
    from: KnownFrom,
    what: &str,
    now: DateTime<Utc>,
) -> Result<Recognised, StoreError> {
    let kept = |text: &Option<String>| text.as_ref().map(|text| crate::refund::clip(text).chars().take(128).collect());
    let found = Orphan {
        payment_id: locked.map(|locked| locked.payment.id),
        transaction_id: told.gateway_tx_id,
        what: what.to_owned(),
        status: None,
        invoice_id: kept(&told.invoice_id),
        account_id: kept(&told.account_id),
        amount: Some(told.amount),
        currency: locked.map(|locked| locked.payment.currency.to_string()),
        test_mode: None,
    };
    let is_new = orphans::set_aside(conn, &found, now).await?;
    // The list knows in which currency, and whether money has moved at all.
    if from == KnownFrom::Reconciliation {
        journal::set_return_aside(conn, told.gateway_tx_id, GATEWAY_ZONE, now).await?;
    }
    if let Some(locked) = locked.filter(|_| is_new) {
        let attention = given_back::about(locked, EventKind::NeedsAttention);
        events::append(conn, vec![attention.with("transaction_id", told.gateway_tx_id)], now).await?;
    }
    Ok(Recognised::Orphan { is_new })
}

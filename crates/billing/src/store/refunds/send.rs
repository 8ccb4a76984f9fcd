//! Before a request about a refund leaves: what is written down so that a crash at any point is recognised.

use chrono::{DateTime, TimeDelta, Utc};
use diesel::prelude::*;
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl};

use super::super::gateway_calls::{self, CallId};
use super::super::payments::PaymentView;
use super::super::payments::load::{Locked, lock_known};
use super::super::{StoreError, circuits, events, restores};
use super::{apply, get, given_back, of_payment};
use crate::breaker::Circuit;
use crate::models::{RefundChange, RefundRow};
use crate::payment::PaymentState;
use crate::refund::{RefundOutcome, RefundState, RefundWay};
use crate::resolve::{ResolvePolicy, lease};
use crate::schema::refund;
use crate::{Currency, Kopecks, PaymentId, RefundId};

/// Everything the gateway must be told to give money back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefundOrder {
    pub refund_id: RefundId,
    pub payment_id: PaymentId,
    pub way: RefundWay,
    /// The gateway's number of the payment.
    pub transaction_id: i64,
    pub amount: Kopecks,
    pub currency: Currency,
    /// `X-Request-ID`: the same for every sending of this refund.
    pub request_id: String,
    pub first_sent_at: DateTime<Utc>,
    /// 1 for the first sending.
    pub resend_no: i32,
    /// The request that is about to leave.
    pub call: CallId,
}

/// A look at the gateway that has begun. The refund is leased: nobody else looks meanwhile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefundLook {
    pub refund: RefundRow,
    pub payment: PaymentView,
    /// What is back of the payment as far as is known here, without this refund.
    pub known_back: Kopecks,
}

/// What to do about a refund.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BeginRefund {
    /// Committed as `sending`: send, once, and [`apply`](super::apply) what comes of it.
    Send(Box<RefundOrder>),
    /// It is in doubt: ask the gateway, and [`apply`](super::apply) what it says.
    Look(Box<RefundLook>),
    /// Somebody else is at it, it is over, it waits – for a second person, for its time, for a gateway that is left alone –
    /// or its last look has ended it.
    NotNow(RefundState),
}

/// While a restore is not reconciled a refund is looked at again after this.
const HELD_FOR: TimeDelta = TimeDelta::minutes(1);

/// Begins what is due: `requested` → `sending`, after a last look at what is left of the payment; a look at one in doubt. One
/// that was sent before `sent_before` and has no answer is in doubt from now on.
///
/// # Errors
/// [`StoreError`]; [`StoreError::UnknownRefund`] if there is none.
pub async fn begin(
    conn: &mut AsyncPgConnection,
    id: RefundId,
    sent_before: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Result<BeginRefund, StoreError> {
    conn.transaction(async |conn| {
        let (mut locked, mut row) = lock_refund(conn, id).await?;
        if row.state == RefundState::Sending && row.last_sent_at.is_some_and(|at| at <= sent_before) {
            let why = "its sender wrote down no answer".to_owned();
            let doubt = RefundOutcome::Unknown { why, look_again_at: now };
            row = apply::settle(conn, &mut locked, row, doubt, now).await?.refund;
        }
        let is_due = match row.state {
            RefundState::Requested => row.machine().may_be_sent(now),
            RefundState::Unknown => row.look_again_at.is_some_and(|at| at <= now),
            _ => false,
        };
        if !is_due {
            return Ok(BeginRefund::NotNow(row.state));
        }
        if let Some(until) = circuits::get(conn, Circuit::Gateway).await?.rests_until(now) {
            diesel::update(refund::table.find(id)).set(refund::look_again_at.eq(until)).execute(conn).await?;
            return Ok(BeginRefund::NotNow(row.state));
        }
        // After a restore nothing is given back before it is known what was; looking costs nothing.
        if row.state == RefundState::Requested && restores::is_held(conn).await? {
            diesel::update(refund::table.find(id)).set(refund::look_again_at.eq(now + HELD_FOR)).execute(conn).await?;
            return Ok(BeginRefund::NotNow(row.state));
        }
        if row.state == RefundState::Unknown {
            return Ok(BeginRefund::Look(Box::new(look(conn, &locked, row, now - sent_before, now).await?)));
        }
        match checked(conn, &locked, &row).await? {
            Ok(way) => order(conn, &locked, RefundRow { way, ..row }, now).await,
            Err(why) => {
                let ended = apply::settle(conn, &mut locked, row, RefundOutcome::Withdrawn { why }, now).await?;
                Ok(BeginRefund::NotNow(ended.refund.state))
            }
        }
    })
    .await
}

/// `unknown` → `sending` if the identical request may be repeated now.
///
/// # Errors
/// [`StoreError`].
pub async fn begin_resend(
    conn: &mut AsyncPgConnection,
    id: RefundId,
    policy: &ResolvePolicy,
    now: DateTime<Utc>,
) -> Result<BeginRefund, StoreError> {
    conn.transaction(async |conn| {
        let (locked, row) = lock_refund(conn, id).await?;
        if row.machine().may_be_repeated(policy, now) && !restores::is_held(conn).await? {
            order(conn, &locked, row, now).await
        } else {
            Ok(BeginRefund::NotNow(row.state))
        }
    })
    .await
}

/// Ends a look that failed: the next one is due at `again_at`.
///
/// # Errors
/// [`StoreError`].
pub async fn put_look_off(
    conn: &mut AsyncPgConnection,
    id: RefundId,
    why: &str,
    again_at: DateTime<Utc>,
) -> Result<(), StoreError> {
    let in_doubt = refund::table.find(id).filter(refund::state.eq(RefundState::Unknown));
    let why = crate::refund::clip(why);
    diesel::update(in_doubt).set((refund::look_again_at.eq(again_at), refund::info.eq(why))).execute(conn).await?;
    Ok(())
}

/// A refund with all that it belongs to, locked in the order of the house.
pub(super) async fn lock_refund(conn: &mut AsyncPgConnection, id: RefundId) -> Result<(Locked, RefundRow), StoreError> {
    let payment_id = get(conn, id).await?.ok_or(StoreError::UnknownRefund(id))?.payment_id;
    let locked = lock_known(conn, payment_id).await?;
    let row = get(conn, id).await?.ok_or(StoreError::UnknownRefund(id))?;
    Ok((locked, row))
}

/// Whether it still fits the payment, which may have moved since it was asked for; and how it is sent. What was held may
/// have been taken, and what was asked for may be back by another's hand.
async fn checked(
    conn: &mut AsyncPgConnection,
    locked: &Locked,
    row: &RefundRow,
) -> Result<Result<RefundWay, String>, StoreError> {
    let payment = &locked.payment;
    let way = match payment.state {
        PaymentState::Succeeded | PaymentState::SucceededDuplicate => RefundWay::Refund,
        PaymentState::Authorized => RefundWay::Void,
        state => return Ok(Err(format!("the payment is {state}: there is nothing to give back"))),
    };
    if super::is_barred(conn, payment.id).await? {
        return Ok(Err("the customer's bank took the payment back".to_owned()));
    }
    let others: Vec<RefundRow> =
        of_payment(conn, payment.id).await?.into_iter().filter(|other| other.id != row.id).collect();
    let left = given_back::left(payment, &others);
    if row.amount > left || (way == RefundWay::Void && row.amount != left) {
        return Ok(Err(format!("only {} are left to give back", left.in_currency(payment.currency))));
    }
    Ok(Ok(way))
}

async fn order(
    conn: &mut AsyncPgConnection,
    locked: &Locked,
    row: RefundRow,
    now: DateTime<Utc>,
) -> Result<BeginRefund, StoreError> {
    let Some(transaction_id) = locked.payment.transaction_id else { return Ok(BeginRefund::NotNow(row.state)) };
    let before = row.state;
    let sending = row.machine().begin_sending(now);
    let row: RefundRow = diesel::update(refund::table.find(row.id).filter(refund::state.eq(before)))
        .set((RefundChange::new(&sending, now), refund::way.eq(row.way)))
        .returning(RefundRow::as_returning())
        .get_result(conn)
        .await?;
    events::append(conn, vec![given_back::moved(locked, &row, Some(before))], now).await?;
    let path = match row.way {
        RefundWay::Refund => "/payments/refund",
        RefundWay::Void => "/payments/void",
    };
    let call = gateway_calls::begin(conn, row.payment_id, path, Some(&row.request_id), now).await?;
    Ok(BeginRefund::Send(Box::new(RefundOrder {
        refund_id: row.id,
        payment_id: row.payment_id,
        way: row.way,
        transaction_id,
        amount: row.amount,
        currency: row.currency,
        request_id: row.request_id,
        first_sent_at: row.first_sent_at.unwrap_or(now),
        resend_no: row.sends,
        call,
    })))
}

async fn look(
    conn: &mut AsyncPgConnection,
    locked: &Locked,
    row: RefundRow,
    patience: chrono::TimeDelta,
    now: DateTime<Utc>,
) -> Result<RefundLook, StoreError> {
    let looks = row.looks.saturating_add(1);
    let row: RefundRow = diesel::update(refund::table.find(row.id))
        .set((refund::looks.eq(looks), refund::look_again_at.eq(now + lease(patience, looks))))
        .returning(RefundRow::as_returning())
        .get_result(conn)
        .await?;
    let known_back = super::sum_of_payment(conn, row.payment_id).await?;
    Ok(RefundLook { refund: row, payment: PaymentView::of(locked), known_back })
}

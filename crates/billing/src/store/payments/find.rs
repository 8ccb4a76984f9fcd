//! What the timetable looks for.

use chrono::{DateTime, TimeDelta, Utc};
use diesel::prelude::*;
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl};

use super::super::StoreError;
use crate::PaymentId;
use crate::payment::{Instrument, PaymentState};
use crate::schema::payment;

/// Which task a worker is to be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wake {
    ChargePayment,
    ChargeRenewal,
    CompleteThreeDs,
}

/// A payment that nobody turned to since a worker was told of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stranded {
    pub payment_id: PaymentId,
    pub wake: Wake,
}

/// Payments waiting to be sent, or to have their 3-D Secure answer passed on, since before `older_than`; marks them as
/// told now, so that a queue that is merely long is not filled with copies.
///
/// # Errors
/// [`StoreError`].
pub async fn stranded(
    conn: &mut AsyncPgConnection,
    older_than: DateTime<Utc>,
    now: DateTime<Utc>,
    limit: i64,
) -> Result<Vec<Stranded>, StoreError> {
    conn.transaction(async |conn| {
        let unanswered = payment::state.eq(PaymentState::PostingThreeDs).and(payment::posts.eq(0));
        let waiting = payment::state.eq(PaymentState::Created).or(unanswered);
        let put_off = payment::look_again_at.gt(now);
        let found: Vec<(PaymentId, PaymentState, Instrument)> = payment::table
            .filter(waiting.and(payment::woken_at.le(older_than)))
            .filter(payment::look_again_at.is_null().or(diesel::dsl::not(put_off)))
            .order(payment::woken_at)
            .limit(limit)
            .select((payment::id, payment::state, payment::instrument))
            .for_no_key_update()
            .skip_locked()
            .load(conn)
            .await?;
        let ids: Vec<PaymentId> = found.iter().map(|(id, ..)| *id).collect();
        diesel::update(payment::table.filter(payment::id.eq_any(ids)))
            .set(payment::woken_at.eq(now))
            .execute(conn)
            .await?;
        Ok(found
            .into_iter()
            .map(|(payment_id, state, instrument)| Stranded { payment_id, wake: wake(state, instrument) })
            .collect())
    })
    .await
}

const fn wake(state: PaymentState, instrument: Instrument) -> Wake {
    match (state, instrument) {
        (PaymentState::PostingThreeDs, _) => Wake::CompleteThreeDs,
        (_, Instrument::Token) => Wake::ChargeRenewal,
        (_, Instrument::Cryptogram) => Wake::ChargePayment,
    }
}

/// Whoever was told to resolve a payment has so long before another is told.
const LEASE: TimeDelta = TimeDelta::minutes(5);

/// Payments to be resolved: in doubt and due for a look, or sent before `sent_before` without an answer written down.
/// The same payment is not returned again for five minutes, unless its look-up sets another time.
///
/// # Errors
/// [`StoreError`].
pub async fn unresolved(
    conn: &mut AsyncPgConnection,
    sent_before: DateTime<Utc>,
    now: DateTime<Utc>,
    limit: i64,
) -> Result<Vec<PaymentId>, StoreError> {
    conn.transaction(async |conn| {
        let mut ids: Vec<PaymentId> = payment::table
            .filter(payment::state.eq(PaymentState::Unknown).and(payment::look_again_at.le(now)))
            .order(payment::look_again_at)
            .limit(limit)
            .select(payment::id)
            .for_no_key_update()
            .skip_locked()
            .load(conn)
            .await?;
        let on_its_way = payment::state
            .eq(PaymentState::Sending)
            .or(payment::state.eq(PaymentState::PostingThreeDs).and(payment::posts.gt(0)));
        let unanswered: Vec<PaymentId> = payment::table
            .filter(on_its_way.and(payment::last_sent_at.le(sent_before)))
            .filter(payment::look_again_at.is_null().or(payment::look_again_at.le(now)))
            .order(payment::last_sent_at)
            .limit(limit - i64::try_from(ids.len()).unwrap_or(limit))
            .select(payment::id)
            .for_no_key_update()
            .skip_locked()
            .load(conn)
            .await?;
        ids.extend(unanswered);
        diesel::update(payment::table.filter(payment::id.eq_any(&ids)))
            .set(payment::look_again_at.eq(now + LEASE))
            .execute(conn)
            .await?;
        Ok(ids)
    })
    .await
}

/// A payment whose 3-D Secure page was not answered in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Overdue {
    pub payment_id: PaymentId,
    /// The gateway's number, to ask it whether it has heard of an answer that we have not.
    pub transaction_id: Option<i64>,
}

/// At most `limit` payments whose 3-D Secure page was not answered in time, the longest overdue first. Unless the gateway
/// knows better, [`apply`](super::apply) [`Outcome::Expired`](crate::payment::Outcome::Expired): one that was answered in
/// the meantime, by the skin of its teeth, takes no notice.
///
/// # Errors
/// [`StoreError`].
pub async fn overdue_three_ds(
    conn: &mut AsyncPgConnection,
    now: DateTime<Utc>,
    limit: i64,
) -> Result<Vec<Overdue>, StoreError> {
    let overdue: Vec<(PaymentId, Option<i64>)> = payment::table
        .filter(payment::state.eq(PaymentState::AwaitingThreeDs).and(payment::three_ds_expires_at.le(now)))
        .order(payment::three_ds_expires_at)
        .limit(limit)
        .select((payment::id, payment::transaction_id))
        .load(conn)
        .await?;
    Ok(overdue.into_iter().map(|(payment_id, transaction_id)| Overdue { payment_id, transaction_id }).collect())
}

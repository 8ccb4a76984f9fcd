//! What the timetable looks for.

use chrono::{DateTime, Utc};
use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::{Bool, Timestamptz};
use diesel_async::{AsyncPgConnection, RunQueryDsl};

use super::super::{StoreError, circuits};
use crate::PaymentId;
use crate::breaker::{Circuit, CircuitState};
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

/// Payments waiting to be sent, or to have their 3-D Secure answer passed on, of which nobody was told since before
/// `older_than`, so that a queue that is merely long is not filled with copies. The longer one has waited, the more seldom
/// it is told again, at least once an hour: what seems to kill its workers is tried again, and does not kill them all.
/// Without `with_renewals` only those are found that a customer waits for.
///
/// What a [circuit](crate::breaker) keeps from the gateway is not found; when its pause is over one is, to find out.
///
/// Once a worker was told, call [`told`]. (Not before: what was not sent after all is to be found again.) Fewer than `limit`:
/// there are no more.
///
/// # Errors
/// [`StoreError`].
pub async fn stranded(
    conn: &mut AsyncPgConnection,
    older_than: DateTime<Utc>,
    now: DateTime<Utc>,
    with_renewals: bool,
    limit: i64,
) -> Result<Vec<Stranded>, StoreError> {
    let standing = circuits::all(conn).await?;
    let most = |which| {
        let breaker = standing.iter().find(|at| at.circuit == which).map(|at| at.breaker);
        match breaker {
            Some(breaker) if breaker.rests_until(now).is_some() => 0,
            Some(breaker) if breaker.state != CircuitState::Closed => 1,
            _ => limit,
        }
    };
    let renewals = if with_renewals { most(Circuit::Gateway).min(most(Circuit::KeptCards)) } else { 0 };
    let mut found = untouched(conn, Instrument::Cryptogram, older_than, now, most(Circuit::Gateway)).await?;
    let left = limit - i64::try_from(found.len()).unwrap_or(limit);
    found.extend(untouched(conn, Instrument::Token, older_than, now, renewals.min(left)).await?);
    Ok(found)
}

async fn untouched(
    conn: &mut AsyncPgConnection,
    instrument: Instrument,
    older_than: DateTime<Utc>,
    now: DateTime<Utc>,
    limit: i64,
) -> Result<Vec<Stranded>, StoreError> {
    if limit == 0 {
        return Ok(Vec::new());
    }
    let unanswered = payment::state.eq(PaymentState::PostingThreeDs).and(payment::posts.eq(0));
    let waiting = payment::state.eq(PaymentState::Created).or(unanswered);
    let patience = sql::<Bool>("payment.woken_at <= ")
        .bind::<Timestamptz, _>(now)
        .sql(" - least((")
        .bind::<Timestamptz, _>(now)
        .sql(" - payment.created_at) / 4, interval '1 hour')");
    let found: Vec<(PaymentId, PaymentState, Instrument)> = payment::table
        .filter(waiting.and(payment::woken_at.le(older_than)))
        .filter(payment::instrument.eq(instrument))
        .filter(payment::look_again_at.is_null().or(payment::look_again_at.le(now)))
        .filter(patience)
        .order(payment::woken_at)
        .limit(limit)
        .select((payment::id, payment::state, payment::instrument))
        .load(conn)
        .await?;
    let stranded = |(payment_id, state, instrument)| Stranded { payment_id, wake: wake(state, instrument) };
    Ok(found.into_iter().map(stranded).collect())
}

/// Writes down that a worker was told of these payments.
///
/// # Errors
/// [`StoreError`].
pub async fn told(conn: &mut AsyncPgConnection, ids: &[PaymentId], now: DateTime<Utc>) -> Result<(), StoreError> {
    let telling = diesel::update(payment::table.filter(payment::id.eq_any(ids))).set(payment::woken_at.eq(now));
    telling.execute(conn).await?;
    Ok(())
}

const fn wake(state: PaymentState, instrument: Instrument) -> Wake {
    match (state, instrument) {
        (PaymentState::PostingThreeDs, _) => Wake::CompleteThreeDs,
        (_, Instrument::Token) => Wake::ChargeRenewal,
        (_, Instrument::Cryptogram) => Wake::ChargePayment,
    }
}

/// A look at the gateway that a worker is to be sent for. It leases the payment only when it begins
/// ([`begin_resolving`](super::begin_resolving)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DueLook {
    pub payment_id: PaymentId,
    /// When it is due; of one payment no two looks are due at the same time.
    pub due_at: DateTime<Utc>,
}

/// A payment, and when it is due.
type Found = (PaymentId, Option<DateTime<Utc>>);

/// Looks to be ordered: at payments in doubt and due, at those sent before `sent_before` without an answer written down,
/// at pages given up that are looked after. Of each, only if nobody was told of it since it is due – or so long ago that
/// whoever was told could not be at it any more, before `sent_before`. Once somebody was, call [`told`].
///
/// # Errors
/// [`StoreError`].
pub async fn unresolved(
    conn: &mut AsyncPgConnection,
    sent_before: DateTime<Utc>,
    now: DateTime<Utc>,
    limit: i64,
) -> Result<Vec<DueLook>, StoreError> {
    let mut found = due(conn, PaymentState::Unknown, sent_before, now, limit).await?;
    found.extend(due(conn, PaymentState::Abandoned, sent_before, now, left(limit, &found)).await?);
    let on_its_way = payment::state
        .eq(PaymentState::Sending)
        .or(payment::state.eq(PaymentState::PostingThreeDs).and(payment::posts.gt(0)));
    let unanswered: Vec<Found> = payment::table
        .filter(on_its_way.and(payment::last_sent_at.le(sent_before)))
        .filter(payment::woken_at.le(sent_before))
        .order(payment::last_sent_at)
        .limit(left(limit, &found))
        .select((payment::id, payment::last_sent_at))
        .load(conn)
        .await?;
    found.extend(unanswered);
    Ok(looks(found, now))
}

/// Payments in this state that are due for a look of which nobody was told since it is due, or not lately.
async fn due(
    conn: &mut AsyncPgConnection,
    state: PaymentState,
    sent_before: DateTime<Utc>,
    now: DateTime<Utc>,
    limit: i64,
) -> Result<Vec<Found>, StoreError> {
    let untold =
        payment::woken_at.nullable().lt(payment::look_again_at).or(payment::woken_at.le(sent_before).nullable());
    Ok(payment::table
        .filter(payment::state.eq(state))
        .filter(payment::look_again_at.le(now))
        .filter(untold)
        .order(payment::look_again_at)
        .limit(limit)
        .select((payment::id, payment::look_again_at))
        .load(conn)
        .await?)
}

fn left(limit: i64, taken: &[Found]) -> i64 {
    limit.saturating_sub(i64::try_from(taken.len()).unwrap_or(i64::MAX)).max(0)
}

fn looks(found: Vec<Found>, now: DateTime<Utc>) -> Vec<DueLook> {
    found.into_iter().map(|(payment_id, at)| DueLook { payment_id, due_at: at.unwrap_or(now) }).collect()
}

/// Looks to be ordered at payments whose 3-D Secure page was not answered in time, the longest overdue first: before
/// they are given up the gateway is asked whether it has heard of an answer that we have not. As [`unresolved`].
///
/// # Errors
/// [`StoreError`].
pub async fn overdue_three_ds(
    conn: &mut AsyncPgConnection,
    sent_before: DateTime<Utc>,
    now: DateTime<Utc>,
    limit: i64,
) -> Result<Vec<DueLook>, StoreError> {
    let untold = payment::woken_at
        .nullable()
        .lt(payment::three_ds_expires_at)
        .or(payment::woken_at.nullable().lt(payment::look_again_at))
        .or(payment::woken_at.le(sent_before).nullable());
    type Overdue = (PaymentId, Option<DateTime<Utc>>, Option<DateTime<Utc>>);
    let overdue: Vec<Overdue> = payment::table
        .filter(payment::state.eq(PaymentState::AwaitingThreeDs).and(payment::three_ds_expires_at.le(now)))
        .filter(payment::look_again_at.is_null().or(payment::look_again_at.le(now)))
        .filter(untold)
        .order(payment::three_ds_expires_at)
        .limit(limit)
        .select((payment::id, payment::look_again_at, payment::three_ds_expires_at))
        .load(conn)
        .await?;
    let found = overdue.into_iter().map(|(id, look_again_at, expires_at)| (id, look_again_at.or(expires_at)));
    Ok(looks(found.collect(), now))
}

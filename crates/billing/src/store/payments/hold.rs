//! Money that is held and not taken: on a terminal of two stages a charge only does that.

use chrono::{DateTime, TimeDelta, Utc};
use diesel::dsl::{exists, not, sql};
use diesel::expression::SqlLiteral;
use diesel::prelude::*;
use diesel::sql_types::Bool;
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl};

use super::super::{StoreError, circuits, restores};
use super::PaymentView;
use super::load::{Locked, lock_known};
use crate::PaymentId;
use crate::breaker::Circuit;
use crate::payment::{Instrument, PaymentState};
use crate::schema::{payment, refund, tariff};

/// A hold to be ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hold {
    pub payment: PaymentView,
    /// The period that its bill is of.
    pub period_no: i32,
    /// Whether the money is to be taken; otherwise it is let go.
    pub is_wanted: bool,
}

/// At most `limit` holds to be ended, the longest untouched first. One that a refund is about to let go is left to it.
///
/// # Errors
/// [`StoreError`].
pub async fn holds(conn: &mut AsyncPgConnection, now: DateTime<Utc>, limit: i64) -> Result<Vec<PaymentId>, StoreError> {
    let held = payment::table
        .filter(payment::state.eq(PaymentState::Authorized))
        .filter(payment::look_again_at.is_null().or(payment::look_again_at.le(now)))
        .filter(not(exists(refund::table.filter(refund::payment_id.eq(payment::id)).filter(unfinished()))));
    Ok(held.order(payment::updated_at).limit(limit).select(payment::id).load(conn).await?)
}

/// Begins to end one hold, if it is still one and nobody else is at it: it is ours until `leased_until`. Not while the gateway
/// is left alone, a refund is about to let it go, a restore is not reconciled, or its tariff has the money taken later.
///
/// # Errors
/// [`StoreError`].
pub async fn claim_hold(
    conn: &mut AsyncPgConnection,
    id: PaymentId,
    leased_until: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Result<Option<Hold>, StoreError> {
    conn.transaction(async |conn| {
        let locked = lock_known(conn, id).await?;
        let is_due = locked.payment.state == PaymentState::Authorized && !locked.is_put_off(now);
        let under_way: bool =
            diesel::select(exists(refund::table.filter(refund::payment_id.eq(id)).filter(unfinished())))
                .get_result(conn)
                .await?;
        if !is_due || under_way || restores::is_held(conn).await? {
            return Ok(None);
        }
        let hold = hold(&locked);
        // What is not wanted any more is let go at once.
        if hold.is_wanted
            && let Some(at) = taken_from(conn, &locked).await?.filter(|at| *at > now)
        {
            diesel::update(payment::table.find(id)).set(payment::look_again_at.eq(at)).execute(conn).await?;
            return Ok(None);
        }
        let rests = circuits::get(conn, Circuit::Gateway).await?.rests_until(now);
        let until = rests.unwrap_or(leased_until);
        diesel::update(payment::table.find(id)).set(payment::look_again_at.eq(until)).execute(conn).await?;
        Ok(rests.is_none().then_some(hold))
    })
    .await
}

/// From when on its tariff has the money taken.
async fn taken_from(conn: &mut AsyncPgConnection, locked: &Locked) -> Result<Option<DateTime<Utc>>, StoreError> {
    let days: i32 = tariff::table.find(locked.bill.tariff_id).select(tariff::confirm_after).first(conn).await?;
    Ok(locked.payment.first_sent_at.map(|at| at + TimeDelta::days(days.into())))
}

/// As the index has it.
fn unfinished() -> SqlLiteral<Bool> {
    sql("refund.state in ('requested', 'sending', 'unknown')")
}

/// A renewal that was called off while its money was held is not taken, and nothing for an account that was closed.
fn hold(rows: &Locked) -> Hold {
    let account = rows.account.machine();
    let is_called_off = !account.is_running() || account.cancel_at_period_end;
    let is_wanted = rows.bill.status.is_open()
        && account.closed_at.is_none()
        && rows.bill.trial_refused.is_none()
        && !(rows.payment.instrument == Instrument::Token && is_called_off);
    Hold { payment: PaymentView::of(rows), period_no: rows.bill.period_no, is_wanted }
}

//! Money that is held and not taken: on a terminal of two stages a charge only does that.

use chrono::{DateTime, TimeDelta, Utc};
use diesel::prelude::*;
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl};

use super::super::StoreError;
use super::PaymentView;
use super::load::Locked;
use crate::models::{AccountRow, BillRow, PaymentRow};
use crate::payment::{Instrument, PaymentState};
use crate::schema::{account, bill, payment};

/// How long whoever was given a hold has to end it before another is given it.
const LEASE: TimeDelta = TimeDelta::minutes(5);

/// A hold to be ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hold {
    pub payment: PaymentView,
    /// Whether the money is to be taken; otherwise it is let go.
    pub is_wanted: bool,
}

/// At most `limit` holds to be ended, the longest untouched first. The same one is not returned again for five minutes.
///
/// # Errors
/// [`StoreError`].
pub async fn holds(conn: &mut AsyncPgConnection, now: DateTime<Utc>, limit: i64) -> Result<Vec<Hold>, StoreError> {
    conn.transaction(async |conn| {
        let ids: Vec<crate::PaymentId> = payment::table
            .filter(payment::state.eq(PaymentState::Authorized))
            .filter(payment::look_again_at.is_null().or(payment::look_again_at.le(now)))
            .order(payment::updated_at)
            .limit(limit)
            .select(payment::id)
            .for_no_key_update()
            .skip_locked()
            .load(conn)
            .await?;
        diesel::update(payment::table.filter(payment::id.eq_any(&ids)))
            .set(payment::look_again_at.eq(now + LEASE))
            .execute(conn)
            .await?;
        let rows: Vec<(AccountRow, BillRow, PaymentRow)> = account::table
            .inner_join(bill::table.inner_join(payment::table))
            .filter(payment::id.eq_any(&ids))
            .select((AccountRow::as_select(), BillRow::as_select(), PaymentRow::as_select()))
            .load(conn)
            .await?;
        Ok(rows.into_iter().map(|(account, bill, payment)| hold(&Locked { account, bill, payment })).collect())
    })
    .await
}

/// A renewal that was called off while its money was held is not taken, and nothing for an account that was closed.
fn hold(rows: &Locked) -> Hold {
    let account = rows.account.machine();
    let is_called_off = !account.is_running() || account.cancel_at_period_end;
    let is_wanted = rows.bill.status.is_open()
        && account.closed_at.is_none()
        && !(rows.payment.instrument == Instrument::Token && is_called_off);
    Hold { payment: PaymentView::of(rows), is_wanted }
}

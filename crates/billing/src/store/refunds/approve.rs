//! The second person, and second thoughts.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl};

use super::super::events;
use super::super::payments::load::lock_known;
use super::request::RefundError;
use super::{apply, get, given_back};
use crate::models::RefundRow;
use crate::refund::{RefundOutcome, RefundState};
use crate::schema::{refund, refund_limit};
use crate::{Kopecks, RefundId};

/// A second person, of a role that may approve so much, lets a refund go on. After this returns send
/// [`RefundPayment`](crate::tasks::RefundPayment) for it. Approved by the same person again it is as it is.
///
/// # Errors
/// [`RefundError`].
pub async fn approve(
    conn: &mut AsyncPgConnection,
    id: RefundId,
    who: &str,
    role: &str,
    now: DateTime<Utc>,
) -> Result<RefundRow, RefundError> {
    conn.transaction(async |conn| {
        let payment_id = get(conn, id).await?.ok_or(RefundError::UnknownRefund(id))?.payment_id;
        let locked = lock_known(conn, payment_id).await?;
        let row = get(conn, id).await?.ok_or(RefundError::UnknownRefund(id))?;
        if row.approved_by.as_deref() == Some(who) {
            return Ok(row);
        }
        if !row.waits_for_approval() {
            return Err(RefundError::NotWaiting { id, state: row.state });
        }
        if row.requested_by.as_deref() == Some(who) {
            return Err(RefundError::SamePerson);
        }
        let up_to: Option<Kopecks> =
            refund_limit::table.find(role).select(refund_limit::approves).first(conn).await.optional()?;
        let up_to = up_to.filter(|up_to| up_to.get() > 0).ok_or_else(|| RefundError::RoleMayNot(role.to_owned()))?;
        if row.amount > up_to {
            return Err(RefundError::ApprovesLess { role: role.to_owned(), up_to });
        }
        let approving = diesel::update(refund::table.find(id)).set((
            refund::approved_by.eq(who),
            refund::approved_at.eq(now),
            refund::updated_at.eq(now),
            refund::woken_at.eq(now),
        ));
        let row: RefundRow = approving.returning(RefundRow::as_returning()).get_result(conn).await?;
        let moved = given_back::moved(&locked, &row, Some(RefundState::Requested)).with("approved_by", who);
        events::append(conn, vec![moved], now).await?;
        Ok(row)
    })
    .await
}

/// Takes a refund back that was not sent yet. One that failed already stays as it is.
///
/// # Errors
/// [`RefundError`].
pub async fn withdraw(
    conn: &mut AsyncPgConnection,
    id: RefundId,
    who: &str,
    now: DateTime<Utc>,
) -> Result<RefundRow, RefundError> {
    conn.transaction(async |conn| {
        let payment_id = get(conn, id).await?.ok_or(RefundError::UnknownRefund(id))?.payment_id;
        let mut locked = lock_known(conn, payment_id).await?;
        let row = get(conn, id).await?.ok_or(RefundError::UnknownRefund(id))?;
        match row.state {
            RefundState::Failed => Ok(row),
            RefundState::Requested => {
                let why = format!("taken back by {who}");
                Ok(apply::settle(conn, &mut locked, row, RefundOutcome::Withdrawn { why }, now).await?.refund)
            }
            state => Err(RefundError::NotWithdrawable { id, state }),
        }
    })
    .await
}

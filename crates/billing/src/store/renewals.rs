//! Opening what is due.

use chrono::{DateTime, TimeDelta, Utc};
use diesel_async::AsyncPgConnection;

use super::StoreError;
use crate::PaymentId;

/// What one chunk of due accounts came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Opened {
    /// Attempts to be charged: send [`ChargeRenewal`](crate::tasks::ChargeRenewal) for each, after this returns.
    pub payments: Vec<PaymentId>,
    /// Accounts looked at. As many as the limit: there may be more, call again.
    pub accounts: usize,
}

/// Opens the renewals of at most `limit` accounts: those whose paid time ends within `lead`, and those whose refused
/// renewal is to be tried again. One short transaction; several may run at once.
///
/// # Errors
/// [`StoreError`].
pub async fn open_due(
    conn: &mut AsyncPgConnection,
    now: DateTime<Utc>,
    lead: TimeDelta,
    limit: i64,
) -> Result<Opened, StoreError> {
    let _ = (conn, now, lead, limit);
    todo!()
}

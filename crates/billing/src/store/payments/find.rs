//! What the timetable looks for.

use chrono::{DateTime, Utc};
use diesel_async::AsyncPgConnection;

use super::super::StoreError;
use crate::PaymentId;
use crate::cipher::Cipher;

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

/// Payments waiting to be sent since before `older_than`; marks them as told now, so that the next call does not
/// return them again at once.
///
/// # Errors
/// [`StoreError`].
pub async fn stranded(
    conn: &mut AsyncPgConnection,
    older_than: DateTime<Utc>,
    now: DateTime<Utc>,
    limit: i64,
) -> Result<Vec<Stranded>, StoreError> {
    let _ = (conn, older_than, now, limit);
    todo!()
}

/// Payments to be resolved: in doubt and due for a look, or sent before `sent_before` without an answer written down.
///
/// # Errors
/// [`StoreError`].
pub async fn unresolved(
    conn: &mut AsyncPgConnection,
    sent_before: DateTime<Utc>,
    now: DateTime<Utc>,
    limit: i64,
) -> Result<Vec<PaymentId>, StoreError> {
    let _ = (conn, sent_before, now, limit);
    todo!()
}

/// Ends at most `limit` payments whose 3-D Secure page was not answered in time.
///
/// # Errors
/// [`StoreError`].
pub async fn expire_three_ds(
    conn: &mut AsyncPgConnection,
    cipher: &Cipher,
    now: DateTime<Utc>,
    limit: i64,
) -> Result<Vec<PaymentId>, StoreError> {
    let _ = (conn, cipher, now, limit);
    todo!()
}

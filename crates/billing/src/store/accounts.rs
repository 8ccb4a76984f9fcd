//! Who subscribes, and whether they may watch.

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use diesel_async::AsyncPgConnection;

use super::StoreError;
use crate::AccountId;
use crate::account::{Access, Account};
use crate::db::DbError;

/// Makes an account known, inactive, with its days counted on the wall clocks of `zone`. An account that is known
/// already is left as it is. Returns whether it is new.
///
/// # Errors
/// [`DbError`].
pub async fn register(
    conn: &mut AsyncPgConnection,
    id: AccountId,
    zone: Tz,
    now: DateTime<Utc>,
) -> Result<bool, DbError> {
    let _ = (conn, id, zone, now);
    todo!()
}

/// The state of an account.
///
/// # Errors
/// [`DbError`].
pub async fn get(conn: &mut AsyncPgConnection, id: AccountId) -> Result<Option<Account>, DbError> {
    let _ = (conn, id);
    todo!()
}

/// Whether an account may watch at `now`.
///
/// # Errors
/// [`DbError`].
pub async fn access(
    conn: &mut AsyncPgConnection,
    id: AccountId,
    now: DateTime<Utc>,
) -> Result<Option<Access>, DbError> {
    Ok(get(conn, id).await?.map(|account| account.access(now)))
}

/// Ends what has run out at `now`: grace that is over, paid time of who cancelled, doubt that lasted too long. At most
/// `limit` accounts; call again while it returns that many. Accounts whose payment is under way are left alone.
///
/// # Errors
/// [`StoreError`].
pub async fn close_run_out(
    conn: &mut AsyncPgConnection,
    now: DateTime<Utc>,
    limit: i64,
) -> Result<Vec<AccountId>, StoreError> {
    let _ = (conn, now, limit);
    todo!()
}

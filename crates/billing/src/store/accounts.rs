//! Who subscribes, and whether they may watch.

use chrono::{DateTime, NaiveDate, Utc};
use chrono_tz::Tz;
use diesel::prelude::*;
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl};

use super::prepared::Prepare;
use super::{StoreError, events, payments};
use crate::AccountId;
use crate::account::{Access, Account, AccountEvent, AccountStatus};
use crate::bill::{BillEvent, BillKind, BillStatus};
use crate::db::DbError;
use crate::event::{EventKind, NewEvent};
use crate::models::{AccountChange, AccountRow, BillRow};
use crate::payment::{Instrument, PaymentState};
use crate::schema::{account, bill, payment};

/// Makes an account known, inactive, with its days counted on the wall clocks of `zone`. An account that is known
/// already is left as it is. Returns whether it is new.
///
/// # Errors
/// [`StoreError::Db`].
pub async fn register(
    conn: &mut AsyncPgConnection,
    id: AccountId,
    zone: Tz,
    now: DateTime<Utc>,
) -> Result<bool, StoreError> {
    conn.transaction(async |conn| {
        let inserted = diesel::insert_into(account::table)
            .values((
                account::id.eq(id),
                account::created_at.eq(now),
                account::updated_at.eq(now),
                account::status.eq(AccountStatus::Inactive),
                account::time_zone.eq(zone.name()),
            ))
            .on_conflict(account::id)
            .do_nothing()
            .prepared()
            .execute(conn)
            .await?;
        if inserted > 0 {
            events::append(conn, vec![NewEvent::of_account(EventKind::AccountRegistered, id)], now).await?;
        }
        Ok(inserted > 0)
    })
    .await
}

/// The state of an account.
///
/// # Errors
/// [`DbError`].
pub async fn get(conn: &mut AsyncPgConnection, id: AccountId) -> Result<Option<Account>, DbError> {
    let row = account::table.find(id).select(AccountRow::as_select()).first(conn).await.optional()?;
    Ok(row.map(|row| row.machine()))
}

/// The account's row, locked until the end of the transaction; `None`: it is not known.
///
/// # Errors
/// [`StoreError::Db`].
pub(in crate::store) async fn lock(
    conn: &mut AsyncPgConnection,
    id: AccountId,
) -> Result<Option<AccountRow>, StoreError> {
    let row = account::table.find(id).select(AccountRow::as_select()).for_no_key_update();
    Ok(row.first(conn).await.optional()?)
}

/// Writes the machine's state to the row, which the caller has locked.
///
/// # Errors
/// [`StoreError::Db`].
pub(in crate::store) async fn save(
    conn: &mut AsyncPgConnection,
    next: &Account,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    let saving = diesel::update(account::table.find(next.id)).set(AccountChange::new(next, now));
    saving.prepared().execute(conn).await?;
    Ok(())
}

/// Whether an account may watch at `now`; `None`: it is not known.
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

/// Whether these accounts may watch at `now`; those that are not known are left out.
///
/// # Errors
/// [`DbError`].
pub async fn access_of(
    conn: &mut AsyncPgConnection,
    ids: &[AccountId],
    now: DateTime<Utc>,
) -> Result<Vec<(AccountId, Access)>, DbError> {
    let rows: Vec<AccountRow> =
        account::table.filter(account::id.eq_any(ids)).select(AccountRow::as_select()).load(conn).await?;
    Ok(rows.into_iter().map(|row| (row.id, row.machine().access(now))).collect())
}

/// Whether those who ever paid may watch at `now`, in the order of their ids from behind `after` on; at most `limit`.
///
/// # Errors
/// [`DbError`].
pub async fn access_after(
    conn: &mut AsyncPgConnection,
    after: Option<AccountId>,
    now: DateTime<Utc>,
    limit: i64,
) -> Result<Vec<(AccountId, Access)>, DbError> {
    let after = after.unwrap_or_else(|| AccountId::from(uuid::Uuid::nil()));
    let rows: Vec<AccountRow> = account::table
        .filter(account::id.gt(after).and(account::status.ne(AccountStatus::Inactive)))
        .order(account::id)
        .limit(limit)
        .select(AccountRow::as_select())
        .load(conn)
        .await?;
    Ok(rows.into_iter().map(|row| (row.id, row.machine().access(now))).collect())
}

/// Moves the day on which the paid time ends, as support does by hand; all that follows from it moves along (the trigger
/// `account_expiration_moves`), and the log is told of it. Returns whether there is such an account, and it has ever paid.
///
/// # Errors
/// [`DbError`].
pub async fn move_expiration(conn: &mut AsyncPgConnection, id: AccountId, to: NaiveDate) -> Result<bool, DbError> {
    let paid = account::table.find(id).filter(account::expiration_dt.is_not_null());
    Ok(diesel::update(paid).set(account::expiration_dt.eq(to)).execute(conn).await? > 0)
}

/// Ends what has run out at `now`: grace that is over, paid time of who cancelled, doubt that lasted too long. At most
/// `limit` accounts; call again while it returns that many. Returns those that have lost their access; who is closed
/// while a payment is under way would be charged for nothing, so they wait for its end. A renewal that was never sent is
/// taken back instead.
///
/// # Errors
/// [`StoreError`].
pub async fn close_run_out(
    conn: &mut AsyncPgConnection,
    now: DateTime<Utc>,
    limit: i64,
) -> Result<Vec<AccountId>, StoreError> {
    conn.transaction(async |conn| {
        let mut closed = Vec::new();
        for row in run_out(conn, now, limit).await? {
            let account = match row.machine().apply(AccountEvent::AccessRanOut, now) {
                Ok(account) => account,
                Err(error) => {
                    tracing::error!(account = %row.id, %error, "its access is over, and it cannot be closed");
                    continue;
                }
            };
            save(conn, &account, now).await?;
            let mut story = vec![
                NewEvent::of_account(EventKind::AccountMoved, row.id)
                    .states(Some(row.status.as_str()), account.status.as_str()),
            ];
            if account.status == AccountStatus::Canceled {
                payments::withdraw_unsent_renewal(conn, row.id, now).await?;
                give_up(conn, row.id, now).await?;
                closed.push(row.id);
                story.push(NewEvent::of_account(EventKind::AccessEnded, row.id));
            }
            events::append(conn, story, now).await?;
        }
        Ok(closed)
    })
    .await
}

async fn run_out(conn: &mut AsyncPgConnection, now: DateTime<Utc>, limit: i64) -> Result<Vec<AccountRow>, StoreError> {
    use diesel::dsl::{exists, not};
    let unsent_renewal = payment::state.eq(PaymentState::Created).and(payment::instrument.eq(Instrument::Token));
    let under_way = bill::table
        .inner_join(payment::table)
        .filter(bill::account_id.eq(account::id).and(bill::status.eq(BillStatus::InWork)))
        .filter(bill::kind.ne(BillKind::Verification))
        .filter(payment::is_success.is_null().and(not(unsent_renewal)));
    // Being charged, or put off, for so long that we doubt it: overdue, but not closed.
    let in_doubt = account::status
        .eq(AccountStatus::Active)
        .and(not(account::cancel_at_period_end))
        .and(account::next_charge_at.is_null().or(account::next_charge_at.gt(now)));
    let to_close =
        account::status.eq(AccountStatus::Overdue).or(account::cancel_at_period_end).and(not(exists(under_way)));
    Ok(account::table
        .filter(account::status.eq_any([AccountStatus::Active, AccountStatus::Overdue]))
        .filter(account::access_until.le(now))
        .filter(in_doubt.or(to_close))
        .order(account::access_until)
        .limit(limit)
        .select(AccountRow::as_select())
        .for_no_key_update()
        .skip_locked()
        .load(conn)
        .await?)
}

/// The bill of a closed account is not collected any more. A late success still pays it.
pub(in crate::store) async fn give_up(
    conn: &mut AsyncPgConnection,
    id: AccountId,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    let open: Option<BillRow> = bill::table
        .filter(bill::account_id.eq(id).and(bill::status.eq(BillStatus::NotPaid)))
        .select(BillRow::as_select())
        .first(conn)
        .await
        .optional()?;
    if let Some(open) = open {
        let given_up = open.machine().apply(BillEvent::GivenUp, now)?;
        diesel::update(bill::table.find(open.id))
            .set((bill::status.eq(given_up.status), bill::updated_at.eq(now)))
            .execute(conn)
            .await?;
        let moved = NewEvent::of_account(EventKind::BillMoved, id)
            .bill(open.id)
            .states(Some(open.status.as_str()), given_up.status.as_str());
        events::append(conn, vec![moved], now).await?;
    }
    Ok(())
}

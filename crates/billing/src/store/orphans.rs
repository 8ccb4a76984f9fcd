//! Operations of the gateway that are not the attempt in whose place they were met. They pay for nothing and wait for a
//! person.

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use diesel::prelude::*;
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl};
use uuid::Uuid;

use super::payments::load::{Locked, lock_known};
use super::{StoreError, events, journal};
use crate::event::{EventKind, NewEvent};
use crate::payment::identity::{Identity, Terminal, Told};
use crate::schema::orphan;
use crate::{Kopecks, PaymentId};

/// An operation to be decided about by a person.
#[derive(Debug, Clone, PartialEq, Eq, Insertable, Queryable, Selectable)]
#[diesel(table_name = orphan, check_for_backend(diesel::pg::Pg))]
pub struct Orphan {
    /// The attempt in whose place it was met.
    pub payment_id: Option<PaymentId>,
    /// The gateway's number.
    pub transaction_id: i64,
    /// What differs, in words.
    pub what: String,
    /// Where it stands, by the gateway's name.
    pub status: Option<String>,
    pub invoice_id: Option<String>,
    pub account_id: Option<String>,
    pub amount: Option<Kopecks>,
    pub currency: Option<String>,
    pub test_mode: Option<bool>,
}

/// The longest text kept of the gateway's, in characters.
const MAX_TEXT: usize = 255;

impl Orphan {
    /// What was met in place of `ours`.
    #[must_use]
    pub fn new(
        ours: &Identity,
        transaction_id: i64,
        told: Told,
        status: Option<&str>,
        what: impl Into<String>,
    ) -> Self {
        let kept = |text: String| text.replace('\0', "").chars().take(MAX_TEXT).collect();
        Self {
            payment_id: Some(ours.payment_id),
            transaction_id,
            what: what.into().replace('\0', ""),
            status: status.map(str::to_owned),
            invoice_id: told.invoice_id.map(kept),
            account_id: told.account_id.map(kept),
            amount: told.amount,
            currency: told.currency.map(kept),
            test_mode: told.test_mode,
        }
    }
}

/// Writes it down. Returns whether it was new: only then must somebody be told.
pub(super) async fn set_aside(
    conn: &mut AsyncPgConnection,
    found: &Orphan,
    now: DateTime<Utc>,
) -> Result<bool, StoreError> {
    let row = (orphan::id.eq(Uuid::now_v7()), orphan::created_at.eq(now), found);
    let written = diesel::insert_into(orphan::table).values(row).on_conflict_do_nothing().execute(conn).await?;
    Ok(written > 0)
}

/// Likewise, enters the money that it took on this kind of terminal into the ledger, on the day of `zone`, and tells the log
/// that a person must look, under the lock of the attempt's account.
///
/// # Errors
/// [`StoreError`].
pub async fn report(
    conn: &mut AsyncPgConnection,
    found: &Orphan,
    terminal: Terminal,
    zone: Tz,
    now: DateTime<Utc>,
) -> Result<bool, StoreError> {
    conn.transaction(async |conn| {
        let locked = match found.payment_id {
            Some(payment_id) => Some(lock_known(conn, payment_id).await?),
            None => None,
        };
        report_locked(conn, found, locked.as_ref(), terminal, zone, now).await
    })
    .await
}

/// Likewise, within a transaction that holds the locks.
pub(super) async fn report_locked(
    conn: &mut AsyncPgConnection,
    found: &Orphan,
    locked: Option<&Locked>,
    terminal: Terminal,
    zone: Tz,
    now: DateTime<Utc>,
) -> Result<bool, StoreError> {
    if !set_aside(conn, found, now).await? {
        return Ok(false);
    }
    // What was made in test mode on a terminal that takes money took none.
    if terminal == Terminal::Test || found.test_mode != Some(true) {
        journal::enter_orphan(conn, found, zone, now).await?;
    }
    if let Some(locked) = locked {
        let attention = NewEvent::of_account(EventKind::NeedsAttention, locked.account.id)
            .bill(locked.bill.id)
            .payment(locked.payment.id)
            .with("transaction_id", found.transaction_id);
        events::append(conn, vec![attention], now).await?;
    }
    Ok(true)
}

/// Those that were met in place of an attempt, the oldest first.
///
/// # Errors
/// [`StoreError`].
pub async fn of_payment(conn: &mut AsyncPgConnection, id: PaymentId) -> Result<Vec<Orphan>, StoreError> {
    let met = orphan::table.filter(orphan::payment_id.eq(id)).order((orphan::created_at, orphan::id));
    Ok(met.select(Orphan::as_select()).load(conn).await?)
}

//! Opening what is due, a chunk at a time: a fixed number of statements however many accounts, and no lock outlives
//! the chunk.

mod chunk;
mod retry;

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::{Bool, Timestamptz};
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl};

use self::chunk::Chunk;
pub use self::retry::NoRetry;
pub(in crate::store) use self::retry::retry_now;
use super::{StoreError, owed, tariffs};
use crate::account::AccountStatus;
use crate::decline::CHARGES_COUNT_FOR;
use crate::models::{AccountRow, BillRow};
use crate::payment::Instrument;
use crate::schema::{account, attempt_card, bill, card, payment};
use crate::{AccountId, PaymentId};

/// What one chunk of due accounts came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Opened {
    /// Attempts to be charged: send [`ChargeRenewal`](crate::tasks::ChargeRenewal) for each, after this returns.
    pub payments: Vec<PaymentId>,
    /// Accounts looked at. As many as the limit: there may be more, call again.
    pub accounts: usize,
}

/// Opens the renewals of at most `limit` accounts whose time has come ([`renewal_at`](crate::account::renewal_at)), or that
/// of another try. One short transaction; any number may run at once, each takes other accounts.
///
/// * Whatever was done to the row by hand, nobody is charged before half of the paid period is over.
/// * A try charges the bill that is open, at the price it was opened with.
/// * Service is paid in advance, so after an outage only one period is charged: the first of which enough lies ahead
///   ([`CHARGED_SHARE`](crate::account::CHARGED_SHARE)). How many were passed over stands on its bill.
/// * A card that was charged twice within 24 hours is left alone until they are over, whatever was planned.
///
/// # Errors
/// [`StoreError`].
pub async fn open_due(conn: &mut AsyncPgConnection, now: DateTime<Utc>, limit: i64) -> Result<Opened, StoreError> {
    conn.transaction(async |conn| {
        let due = due(conn, now, limit).await?;
        let tariffs = tariffs::price_list(conn, due.iter().filter_map(|row| row.machine().next_tariff_id())).await?;
        let mut open_bills = open_bills_of(conn, &due).await?;
        let mut charges = charges_of(conn, &due, now).await?;
        let mut chunk = Chunk::at(now);
        for row in &due {
            let account = row.machine();
            let tariff = account.next_tariff_id().and_then(|id| tariffs.get(id, now));
            let open = open_bills.remove(&row.id);
            let charges = charges.remove(&row.id).unwrap_or_default();
            if let Some(until) = chunk.waits_until(&account, open.as_ref(), &charges) {
                chunk.put_off(&account, until);
            } else if let Err(error) = chunk.plan(&account, tariff.as_ref(), open, row.card_has_expired(now)) {
                chunk.set_aside(&account, &error);
            }
        }
        Ok(Opened { payments: chunk.write(conn).await?, accounts: due.len() })
    })
    .await
}

async fn due(conn: &mut AsyncPgConnection, now: DateTime<Utc>, limit: i64) -> Result<Vec<AccountRow>, StoreError> {
    let is_first = account::status.eq(AccountStatus::Active).and(account::faults.eq(0));
    let half_is_over = sql::<Bool>("renewable_from(account) <= ").bind::<Timestamptz, _>(now);
    Ok(account::table
        .filter(account::next_charge_at.le(now))
        .filter(diesel::dsl::not(is_first).or(half_is_over))
        .order(account::next_charge_at)
        .limit(limit)
        .select(AccountRow::as_select())
        .for_no_key_update()
        .skip_locked()
        .load(conn)
        .await?)
}

pub(super) async fn open_bills_of(
    conn: &mut AsyncPgConnection,
    due: &[AccountRow],
) -> Result<HashMap<AccountId, BillRow>, StoreError> {
    let rows: Vec<BillRow> = bill::table
        .filter(bill::account_id.eq_any(due.iter().map(|row| row.id)))
        .filter(owed())
        .select(BillRow::as_select())
        .load(conn)
        .await?;
    Ok(rows.into_iter().map(|bill| (bill.account_id, bill)).collect())
}

/// When the cards that these accounts keep now were charged lately, for their present and for other bills.
pub(super) async fn charges_of(
    conn: &mut AsyncPgConnection,
    due: &[AccountRow],
    now: DateTime<Utc>,
) -> Result<HashMap<AccountId, Vec<DateTime<Utc>>>, StoreError> {
    let rows: Vec<(AccountId, Option<DateTime<Utc>>)> = payment::table
        .inner_join(bill::table)
        .inner_join(attempt_card::table.inner_join(card::table))
        .filter(card::token.is_not_null())
        .filter(bill::account_id.eq_any(due.iter().map(|row| row.id)))
        .filter(payment::instrument.eq(Instrument::Token))
        .filter(payment::first_sent_at.ge(now - CHARGES_COUNT_FOR))
        .select((bill::account_id, payment::first_sent_at))
        .load(conn)
        .await?;
    let mut charges: HashMap<AccountId, Vec<DateTime<Utc>>> = HashMap::new();
    for (account, sent_at) in rows {
        charges.entry(account).or_default().extend(sent_at);
    }
    Ok(charges)
}

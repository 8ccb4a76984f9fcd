//! Closed months, and what the accounts came to.

use std::collections::BTreeMap;

use chrono::{DateTime, Datelike as _, Days, Months, NaiveDate, TimeDelta, Utc};
use chrono_tz::Tz;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Date, Text};
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl};

use super::super::StoreError;
use super::recognition::next_revenue_day;
use crate::ledger::LedgerAccount;
use crate::period::start_of_day;
use crate::schema::{closed_balance, closed_month};
use crate::{Currency, Kopecks};

/// Transactions that were begun before midnight have ended by then.
pub const AFTER_MIDNIGHT: TimeDelta = TimeDelta::hours(1);

/// Why a month was not closed. Nothing was written.
#[derive(Debug, thiserror::Error)]
pub enum CloseError {
    #[error("{month} can be closed from {} on", .from.to_rfc3339())]
    NotOver { month: NaiveDate, from: DateTime<Utc> },
    /// The task `recognize_revenue` enters it.
    #[error("the revenue of {0} is not entered yet")]
    NotRecognized(NaiveDate),
    #[error("the months up to {0} are closed already")]
    Closed(NaiveDate),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<diesel::result::Error> for CloseError {
    fn from(error: diesel::result::Error) -> Self {
        Self::Store(error.into())
    }
}

/// Closes the month that `month` is a day of, with all before it: no entry is made in it any more.
///
/// # Errors
/// [`CloseError`].
pub async fn close_month(
    conn: &mut AsyncPgConnection,
    month: NaiveDate,
    by: &str,
    zone: Tz,
    now: DateTime<Utc>,
) -> Result<(), CloseError> {
    let month = month - Days::new(u64::from(month.day0()));
    let next = month + Months::new(1);
    let from = start_of_day(next, zone).map_err(StoreError::from)? + AFTER_MIDNIGHT;
    if now < from {
        return Err(CloseError::NotOver { month, from });
    }
    conn.transaction(async |conn| {
        // Waits for the entries that are being written; those that come see the row.
        diesel::sql_query("select pg_advisory_xact_lock(7216309245050)").execute(conn).await?;
        if let Some(last) = last_closed(conn, NaiveDate::MAX).await?.filter(|last| *last >= month) {
            return Err(CloseError::Closed(last));
        }
        if let Some(open) = next_revenue_day(conn).await?.filter(|open| *open < next) {
            return Err(CloseError::NotRecognized(open));
        }
        let row = (closed_month::month.eq(month), closed_month::closed_at.eq(now), closed_month::closed_by.eq(by));
        diesel::insert_into(closed_month::table).values(row).execute(conn).await?;
        Ok(())
    })
    .await?;
    // Nothing of it changes any more, so nobody has to wait while it is added up.
    let at_its_end = balances(conn, next - Days::new(1)).await?;
    let rows: Vec<_> = at_its_end
        .into_iter()
        .map(|((account, currency), amount)| {
            (
                closed_balance::month.eq(month),
                closed_balance::account.eq(account),
                closed_balance::currency.eq(currency),
                closed_balance::amount.eq(amount),
            )
        })
        .collect();
    if !rows.is_empty() {
        diesel::insert_into(closed_balance::table).values(rows).on_conflict_do_nothing().execute(conn).await?;
    }
    Ok(())
}

/// The last closed month that has begun by then.
async fn last_closed(conn: &mut AsyncPgConnection, day: NaiveDate) -> Result<Option<NaiveDate>, StoreError> {
    let closed = closed_month::table.filter(closed_month::month.le(day));
    Ok(closed.select(diesel::dsl::max(closed_month::month)).first(conn).await?)
}

/// What the accounts come to at the end of a day: debits less credits.
///
/// # Errors
/// [`StoreError::Db`].
pub async fn balances(
    conn: &mut AsyncPgConnection,
    day: NaiveDate,
) -> Result<BTreeMap<(LedgerAccount, Currency), Kopecks>, StoreError> {
    // The last month that has ended by then and is added up.
    let ended = day + Days::new(1) - Months::new(1);
    let summed = closed_balance::table.filter(closed_balance::month.le(ended));
    let summed: Option<NaiveDate> = summed.select(diesel::dsl::max(closed_balance::month)).first(conn).await?;
    let mut balances = BTreeMap::new();
    let since = match summed {
        Some(month) => {
            let known = closed_balance::table.filter(closed_balance::month.eq(month));
            let columns = (closed_balance::account, closed_balance::currency, closed_balance::amount);
            let known: Vec<(LedgerAccount, Currency, i64)> = known.select(columns).load(conn).await?;
            balances.extend(known.into_iter().map(|(account, currency, amount)| ((account, currency), amount)));
            month + Months::new(1)
        }
        None => NaiveDate::from_ymd_opt(1900, 1, 1).expect("a day"),
    };
    let changed = diesel::sql_query(CHANGED).bind::<Date, _>(since).bind::<Date, _>(day).load::<Changed>(conn).await?;
    for Changed { account, currency, amount } in changed {
        *balances.entry((account, currency)).or_default() += amount;
    }
    Ok(balances.into_iter().map(|(of, amount)| (of, Kopecks::new(amount))).collect())
}

const CHANGED: &str = "
    select l.account, e.currency::text as currency, sum(l.amount)::bigint as amount
    from journal_entry e join journal_line l on l.entry_id = e.id
    where e.day >= $1 and e.day <= $2
    group by l.account, e.currency";

#[derive(QueryableByName)]
struct Changed {
    #[diesel(sql_type = Text)]
    account: LedgerAccount,
    #[diesel(sql_type = Text)]
    currency: Currency,
    #[diesel(sql_type = BigInt)]
    amount: i64,
}

/// What is paid for time after a day and not earned by its end, by currency.
///
/// # Errors
/// [`StoreError::Db`].
pub async fn deferred(conn: &mut AsyncPgConnection, day: NaiveDate) -> Result<BTreeMap<Currency, Kopecks>, StoreError> {
    let balances = balances(conn, day).await?.into_iter();
    let deferred = balances.filter(|((account, _), _)| *account == LedgerAccount::DeferredRevenue);
    Ok(deferred.map(|((_, currency), amount)| (currency, Kopecks::new(-amount.get()))).collect())
}

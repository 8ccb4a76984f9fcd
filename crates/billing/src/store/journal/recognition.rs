//! Revenue, day by day.

use chrono::{DateTime, Days, NaiveDate, Utc};
use chrono_tz::Tz;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Date, Text, Uuid as SqlUuid};
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl};

use super::super::StoreError;
use super::write;
use crate::ledger;
use crate::schema::{journal_entry, revenue_day};
use crate::{Currency, Kopecks, TariffId};

/// The day whose revenue is to be entered next: the one after the last that was, or the first of the ledger. `None`: no
/// money has come yet.
///
/// # Errors
/// [`StoreError::Db`].
pub async fn next_revenue_day(conn: &mut AsyncPgConnection) -> Result<Option<NaiveDate>, StoreError> {
    let last: Option<NaiveDate> = revenue_day::table.select(diesel::dsl::max(revenue_day::day)).first(conn).await?;
    match last {
        Some(last) => Ok(Some(last + Days::new(1))),
        None => Ok(journal_entry::table.select(diesel::dsl::min(journal_entry::day)).first(conn).await?),
    }
}

/// Enters what a day has earned, one entry for each tariff and currency, if the day is the next to be entered. Returns how
/// many there are; `None`: another was at it, or the day is not the next.
///
/// # Errors
/// [`StoreError::Db`].
pub async fn recognize(
    conn: &mut AsyncPgConnection,
    day: NaiveDate,
    zone: Tz,
    now: DateTime<Utc>,
) -> Result<Option<usize>, StoreError> {
    conn.transaction(async |conn| {
        if next_revenue_day(conn).await? != Some(day) {
            return Ok(None);
        }
        let row = (revenue_day::day.eq(day), revenue_day::recognized_at.eq(now));
        let is_first =
            diesel::insert_into(revenue_day::table).values(row).on_conflict_do_nothing().execute(conn).await? > 0;
        if !is_first {
            return Ok(None);
        }
        let earned: Vec<Earned> = diesel::sql_query(EARNED).bind::<Date, _>(day).load(conn).await?;
        for Earned { tariff_id, currency, amount } in &earned {
            let entry = ledger::earned(day, *tariff_id, Kopecks::new(*amount), *currency, now, zone);
            write(conn, &entry).await?;
        }
        Ok(Some(earned.len()))
    })
    .await
}

/// The function of the database is that of [`Deferral`](crate::ledger::Deferral); a test compares the two.
const EARNED: &str = "
    select tariff_id, currency::text as currency, sum(
        earned_by(amount, starts_on, ends_on, known_on, last_on, $1)
        - earned_by(amount, starts_on, ends_on, known_on, last_on, $1 - 1))::bigint as amount
    from deferral
    where last_on >= $1 and known_on <= $1 and starts_on <= $1
    group by tariff_id, currency
    order by tariff_id, currency";

#[derive(QueryableByName)]
struct Earned {
    #[diesel(sql_type = SqlUuid)]
    tariff_id: TariffId,
    #[diesel(sql_type = Text)]
    currency: Currency,
    #[diesel(sql_type = BigInt)]
    amount: i64,
}

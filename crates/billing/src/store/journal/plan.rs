//! The plan of what is earned when: one row for each period sold, or what is left of one.

use chrono::{DateTime, NaiveDate, Utc};
use chrono_tz::Tz;
use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};

use super::super::StoreError;
use super::super::payments::load::Locked;
use crate::ledger::{Deferral, day_of};
use crate::period::PeriodError;
use crate::schema::{deferral, revenue_day};
use crate::{AccountId, Currency, Kopecks, PaymentId, TariffId};

/// A row of `deferral`.
#[derive(Debug, Clone, Queryable, Selectable)]
#[diesel(table_name = deferral, check_for_backend(diesel::pg::Pg))]
pub(super) struct DeferralRow {
    pub(super) id: i64,
    pub(super) account_id: AccountId,
    pub(super) payment_id: PaymentId,
    pub(super) tariff_id: TariffId,
    pub(super) currency: Currency,
    amount: Kopecks,
    starts_on: NaiveDate,
    ends_on: NaiveDate,
    known_on: NaiveDate,
    cut_on: Option<NaiveDate>,
}

impl DeferralRow {
    pub(super) const fn plan(&self) -> Deferral {
        Deferral {
            amount: self.amount,
            starts_on: self.starts_on,
            ends_on: self.ends_on,
            known_on: self.known_on,
            cut_on: self.cut_on,
        }
    }
}

/// The days that the attempt has just bought, as its account stands after it.
pub(super) fn bought(rows: &Locked, zone: Tz) -> Result<Option<(NaiveDate, NaiveDate)>, PeriodError> {
    let account = rows.account.machine();
    let (Some(term), Some(ends), Some(_)) = (account.term, account.paid_until, rows.bill.paid_period) else {
        return Ok(None);
    };
    let begins = term.start_of(account.period_no, account.time_zone)?;
    Ok(Some((day_of(begins, zone), day_of(ends, zone))))
}

/// The first day that is not earned yet, if any day is; what changes from `now` on changes from then on at the earliest.
pub(super) async fn first_open_day(
    conn: &mut AsyncPgConnection,
    now: DateTime<Utc>,
    zone: Tz,
) -> Result<NaiveDate, StoreError> {
    let last: Option<NaiveDate> = revenue_day::table.select(diesel::dsl::max(revenue_day::day)).first(conn).await?;
    let today = day_of(now, zone);
    Ok(last.and_then(|last| last.succ_opt()).map_or(today, |open| open.max(today)))
}

/// What of a payment is still to be earned from a day on, the last first.
pub(super) async fn running_of_payment(
    conn: &mut AsyncPgConnection,
    payment_id: PaymentId,
    day: NaiveDate,
) -> Result<Vec<DeferralRow>, StoreError> {
    let running = deferral::table.filter(deferral::payment_id.eq(payment_id)).filter(deferral::cut_on.is_null());
    let running = running.filter(deferral::last_on.ge(day)).order(deferral::id.desc());
    Ok(running.select(DeferralRow::as_select()).load(conn).await?)
}

/// Cuts a row, and goes on with the rest under this tariff, if there is any.
pub(super) async fn cut(
    conn: &mut AsyncPgConnection,
    row: &DeferralRow,
    day: NaiveDate,
    rest: Option<(Deferral, TariffId)>,
) -> Result<(), StoreError> {
    diesel::update(deferral::table.find(row.id)).set(deferral::cut_on.eq(day)).execute(conn).await?;
    if let Some((rest, tariff_id)) = rest {
        let values = (
            deferral::account_id.eq(row.account_id),
            deferral::payment_id.eq(row.payment_id),
            deferral::tariff_id.eq(tariff_id),
            deferral::currency.eq(row.currency),
            deferral::amount.eq(rest.amount),
            deferral::starts_on.eq(rest.starts_on),
            deferral::ends_on.eq(rest.ends_on),
            deferral::known_on.eq(rest.known_on),
        );
        diesel::insert_into(deferral::table).values(values).execute(conn).await?;
    }
    Ok(())
}

/// A dearer tariff at once was credited with what was left of the tariff before it: that is earned over the new days.
pub(super) async fn move_to_new_tariff(
    conn: &mut AsyncPgConnection,
    rows: &Locked,
    (starts_on, ends_on): (NaiveDate, NaiveDate),
    day: NaiveDate,
) -> Result<(), StoreError> {
    let running: Vec<DeferralRow> = deferral::table
        .filter(deferral::account_id.eq(rows.account.id))
        .filter(deferral::last_on.ge(day))
        .filter(deferral::cut_on.is_null())
        .order(deferral::id)
        .select(DeferralRow::as_select())
        .load(conn)
        .await?;
    for row in running {
        let moved = row.plan().moved(day, starts_on, ends_on);
        cut(conn, &row, day, moved.map(|rest| (rest, rows.bill.tariff_id))).await?;
    }
    Ok(())
}

//! What subscribers are told beforehand: a renewal, a card that expires, another price. Each is told once, in chunks: what
//! was told is in the account's row, in the transaction of the event, and so is not found again.
//!
//! Each call takes at most `limit` accounts that nobody else has at hand, and returns how many it told; call again while
//! that is not 0.

use chrono::{DateTime, Days, Months, NaiveDate, TimeDelta, Utc};
use chrono_tz::Tz;
use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::{Bool, Date, Timestamptz, Uuid};
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl};

use super::renewals::open_bills_of;
use super::{StoreError, events, tariffs};
use crate::AccountId;
use crate::bill::BillKind;
use crate::event::{EventKind, NewEvent};
use crate::models::{AccountRow, TariffPrice};
use crate::payment::CardMask;
use crate::period::start_of_day;
use crate::schema::{account, tariff_price};

/// Tells of renewals that will be charged within `notice`, once for each period: when, and how much. Of a short period a
/// quarter passes before. Who is not charged by themselves – cancelled, without a card, with one that has expired by
/// then – is told of no renewal.
///
/// # Errors
/// [`StoreError`].
pub async fn renewals(
    conn: &mut AsyncPgConnection,
    notice: TimeDelta,
    now: DateTime<Utc>,
    limit: i64,
) -> Result<usize, StoreError> {
    conn.transaction(async |conn| {
        let rows: Vec<AccountRow> = account::table
            // Written out as the index has it.
            .filter(sql::<Bool>("told_period_no <= period_no and status = 'Active' and payment_token is not null"))
            .filter(account::next_charge_at.gt(now).and(account::next_charge_at.le(now + notice)))
            .filter(diesel::dsl::not(account::cancel_at_period_end.or(account::card_barred)))
            // What is tried again was told of before.
            .filter(account::faults.eq(0))
            .filter(
                sql::<Bool>("renewable_from(account) - (paid_until - renewable_from(account)) / 2 <= ")
                    .bind::<Timestamptz, _>(now),
            )
            .filter(sql::<Bool>(
                "coalesce(card_expires(card)::timestamp at time zone time_zone > next_charge_at, true)",
            ))
            .order(account::next_charge_at)
            .limit(limit)
            .select(AccountRow::as_select())
            .for_no_key_update()
            .skip_locked()
            .load(conn)
            .await?;
        let prices = tariffs::price_list(conn, rows.iter().filter_map(|row| row.machine().next_tariff_id())).await?;
        let open = open_bills_of(conn, &rows).await?;
        let mut story = Vec::with_capacity(rows.len());
        for row in &rows {
            let Some((at, id)) = row.next_charge_at.zip(row.machine().next_tariff_id()) else { continue };
            let owed = open.get(&row.id).filter(|bill| (bill.kind, bill.tariff_id) == (BillKind::Renewal, id));
            let owed = owed.map(|bill| (bill.amount, bill.currency));
            let price = owed.or_else(|| prices.get(id, at).map(|tariff| (tariff.amount, tariff.currency)));
            let Some((amount, currency)) = price else { continue };
            let upcoming = NewEvent::of_account(EventKind::RenewalUpcoming, row.id)
                .with("tariff_id", id.to_string())
                .with("amount", amount.get())
                .with("currency", currency.as_str())
                .with("next_charge_at", at.to_rfc3339());
            let ends_trial = row.machine().is_on_trial();
            story.push(if ends_trial { upcoming.with("ends_trial", true) } else { upcoming });
        }
        diesel::update(account::table.filter(account::id.eq_any(rows.iter().map(|row| row.id))))
            .set(account::told_period_no.eq(account::period_no + 1))
            .execute(conn)
            .await?;
        events::append(conn, story, now).await?;
        Ok(rows.len())
    })
    .await
}

/// Tells subscribers of a tariff – also those who have chosen it for the next period – that it will cost something else
/// from a time on that is at most `notice` ahead.
///
/// # Errors
/// [`StoreError`].
pub async fn prices(
    conn: &mut AsyncPgConnection,
    notice: TimeDelta,
    now: DateTime<Utc>,
    limit: i64,
) -> Result<usize, StoreError> {
    let coming: Vec<TariffPrice> = tariff_price::table
        .filter(tariff_price::effective_from.gt(now).and(tariff_price::effective_from.le(now + notice)))
        .order(tariff_price::effective_from)
        .select(TariffPrice::as_select())
        .load(conn)
        .await?;
    for price in coming {
        let told = conn.transaction(async |conn| tell_price(conn, price, now, limit).await).await?;
        if told > 0 {
            return Ok(told);
        }
    }
    Ok(0)
}

async fn tell_price(
    conn: &mut AsyncPgConnection,
    price: TariffPrice,
    now: DateTime<Utc>,
    limit: i64,
) -> Result<usize, StoreError> {
    let rows: Vec<AccountId> = account::table
        // Written out as the index has it.
        .filter(sql::<Bool>("status in ('Active', 'Overdue') and not cancel_at_period_end"))
        .filter(sql::<Bool>("coalesce(pending_tariff_id, tariff_id) = ").bind::<Uuid, _>(price.tariff_id.get()))
        .filter(account::told_price_from.lt(price.effective_from))
        .order(account::told_price_from)
        .limit(limit)
        .select(account::id)
        .for_no_key_update()
        .skip_locked()
        .load(conn)
        .await?;
    diesel::update(account::table.filter(account::id.eq_any(&rows)))
        .set(account::told_price_from.eq(price.effective_from))
        .execute(conn)
        .await?;
    let told = |id: &AccountId| {
        NewEvent::of_account(EventKind::PriceChangeUpcoming, *id)
            .with("tariff_id", price.tariff_id.to_string())
            .with("amount", price.amount.get())
            .with("currency", price.currency.as_str())
            .with("effective_from", price.effective_from.to_rfc3339())
    };
    events::append(conn, rows.iter().map(told).collect(), now).await?;
    Ok(rows.len())
}

/// Tells of kept cards that expire: a month and a week before. A card that came later than that is told of once.
///
/// # Errors
/// [`StoreError`].
pub async fn cards(conn: &mut AsyncPgConnection, now: DateTime<Utc>, limit: i64) -> Result<usize, StoreError> {
    // A day more on both sides: the days of the accounts' own zones are counted below.
    let today = now.date_naive();
    let (first, last) = (today - Days::new(1), today + Months::new(1) + Days::new(1));
    let expiry = "(card_expires(card)::timestamp at time zone time_zone)";
    let month_before = "((card_expires(card) - interval '1 month') at time zone time_zone)";
    let week_before = "((card_expires(card) - interval '7 days') at time zone time_zone)";
    conn.transaction(async |conn| {
        let rows: Vec<AccountRow> = account::table
            // Written out as the index has it.
            .filter(sql::<Bool>("payment_token is not null and told_card < 2 and status in ('Active', 'Overdue')"))
            .filter(sql::<Bool>("not cancel_at_period_end and card_expires(card) >= ").bind::<Date, _>(first))
            .filter(sql::<Bool>("card_expires(card) <= ").bind::<Date, _>(last))
            .filter(sql::<Bool>(&format!("{expiry} > ")).bind::<Timestamptz, _>(now))
            .filter(
                sql::<Bool>(&format!("(told_card = 0 and {month_before} <= "))
                    .bind::<Timestamptz, _>(now)
                    .sql(&format!(" or {week_before} <= "))
                    .bind::<Timestamptz, _>(now)
                    .sql(")"),
            )
            .limit(limit)
            .select(AccountRow::as_select())
            .for_no_key_update()
            .skip_locked()
            .load(conn)
            .await?;
        let mut story = Vec::with_capacity(rows.len());
        let (mut month, mut week) = (Vec::new(), Vec::new());
        for row in &rows {
            let Some(last_day) = row.card.as_ref().and_then(CardMask::valid_through) else { continue };
            let stage = if is_last_week(last_day, row.machine().time_zone, now) { &mut week } else { &mut month };
            stage.push(row.id);
            let expiring = NewEvent::of_account(EventKind::CardExpiring, row.id);
            story.push(expiring.with("expires_on", last_day.to_string()));
        }
        for (stage, ids) in [(1, month), (2, week)] {
            diesel::update(account::table.filter(account::id.eq_any(ids)))
                .set(account::told_card.eq(stage))
                .execute(conn)
                .await?;
        }
        events::append(conn, story, now).await?;
        Ok(rows.len())
    })
    .await
}

/// Whether at most a week is left of a card that may be charged through `last_day`.
fn is_last_week(last_day: NaiveDate, zone: Tz, now: DateTime<Utc>) -> bool {
    start_of_day(last_day - Days::new(6), zone).is_ok_and(|week_before| week_before <= now)
}

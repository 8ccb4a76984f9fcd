//! The ledger's rows. Entries are only added, each in the transaction of the change that it tells of; the database refuses
//! every other change, and holds each entry to zero.

mod export;
mod months;
mod plan;
mod rates;
mod recognition;
mod returns;

use chrono::{DateTime, Days, NaiveDate, Utc};
use chrono_tz::Tz;
use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Date, Integer, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::{AsyncPgConnection, RunQueryDsl};

pub use self::export::{Posted, postings, postings_of};
pub use self::months::{AFTER_MIDNIGHT, CloseError, balances, close_month, deferred};
pub use self::rates::{SetVatError, set_vat};
pub use self::recognition::{next_revenue_day, recognize};
pub use self::returns::enter_return;
pub(in crate::store) use self::returns::{place_return, set_return_aside};
use super::StoreError;
use super::orphans::Orphan;
use super::payments::load::Locked;
use super::prepared::Prepare;
use crate::bill::BillKind;
use crate::ledger::{self, Entry, EntryKind, PaidOut, Subject, Taken, VatRate};
use crate::payment::{PaymentState, SecondTransaction};
use crate::schema::journal_entry;
use crate::{Currency, Kopecks, PaymentId};

/// One statement, so that an entry costs one round trip. What comes late is entered in the first month that is not closed,
/// and earned from the first day that is not entered yet.
const WRITE: &str = "
    with entry as (
        insert into journal_entry (day, at, kind, key, currency, account_id, bill_id, payment_id, tariff_id, transaction_id)
        values (
            greatest($1, (select (max(month) + interval '1 month')::date from closed_month)),
            $2, $3, $4, $5, $6, $7, $8, $9, $10)
        on conflict (key) do nothing
        returning id
    ), plan as (
        insert into deferral (account_id, payment_id, tariff_id, currency, amount, starts_on, ends_on, known_on)
        select $6, $8, $9, $5, $13, $14, $15, greatest($1, (select max(day) + 1 from revenue_day))
        from entry
        where $13 is not null
    )
    insert into journal_line (entry_id, no, account, amount)
    select entry.id, line.no, line.account, line.amount
    from entry, unnest($11, $12) with ordinality as line (account, amount, no)";

/// Writes an entry down, unless what it tells of was entered before. Returns whether it is new.
///
/// # Errors
/// [`StoreError::Db`].
pub async fn write(conn: &mut AsyncPgConnection, entry: &Entry) -> Result<bool, StoreError> {
    write_with_plan(conn, entry, None).await
}

/// Likewise, with what it pays for and the days over which that is earned.
async fn write_with_plan(conn: &mut AsyncPgConnection, entry: &Entry, sold: Option<Sold>) -> Result<bool, StoreError> {
    let (accounts, amounts): (Vec<&str>, Vec<i64>) =
        entry.lines().map(|(account, amount)| (account.as_str(), amount)).unzip();
    if amounts.is_empty() {
        return Ok(false);
    }
    let Subject { account_id, bill_id, payment_id, tariff_id, transaction_id } = entry.subject;
    let lines = diesel::sql_query(WRITE)
        .bind::<Date, _>(entry.day)
        .bind::<Timestamptz, _>(entry.at)
        .bind::<Text, _>(entry.kind)
        .bind::<Text, _>(&entry.key)
        .bind::<Text, _>(entry.currency)
        .bind::<Nullable<SqlUuid>, _>(account_id)
        .bind::<Nullable<SqlUuid>, _>(bill_id)
        .bind::<Nullable<SqlUuid>, _>(payment_id)
        .bind::<Nullable<SqlUuid>, _>(tariff_id)
        .bind::<Nullable<BigInt>, _>(transaction_id)
        .bind::<Array<Text>, _>(accounts)
        .bind::<Array<BigInt>, _>(amounts)
        .bind::<Nullable<BigInt>, _>(sold.map(|sold| sold.amount))
        .bind::<Nullable<Date>, _>(sold.map(|sold| sold.starts_on))
        .bind::<Nullable<Date>, _>(sold.map(|sold| sold.ends_on))
        .prepared()
        .execute(conn)
        .await?;
    Ok(lines > 0)
}

/// What a payment pays for, without VAT.
#[derive(Debug, Clone, Copy)]
struct Sold {
    amount: Kopecks,
    starts_on: NaiveDate,
    /// Exclusive.
    ends_on: NaiveDate,
}

/// Enters the money of an attempt that has just succeeded; `is_back`: all of it is back already. The attempt, its bill and its
/// account are as they are after it.
pub(super) async fn enter_success(
    conn: &mut AsyncPgConnection,
    rows: &Locked,
    is_back: bool,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    let payment = &rows.payment;
    let zone = rows.account.machine().time_zone;
    let is_kept = payment.state == PaymentState::Succeeded && !is_back;
    let (rate, returned) = if is_kept { terms(conn, rows, now).await? } else { (None, 0) };
    let taken = Taken {
        payment_id: payment.id,
        subject: Subject { transaction_id: payment.transaction_id, ..subject(rows) },
        amount: payment.amount,
        vat: rate.map_or(Kopecks::new(0), |rate| rate.within(payment.amount)),
        returned: Kopecks::new(returned),
        currency: payment.currency,
        is_kept,
    };
    let days = if is_kept { plan::bought(rows, zone)? } else { None };
    if let Some(days) = days.filter(|_| rows.bill.kind == BillKind::Change) {
        let day = plan::first_open_day(conn, now, zone).await?;
        plan::move_to_new_tariff(conn, rows, days, day).await?;
    }
    enter_taken(conn, &taken, days, zone, now).await
}

/// The VAT of what was bought, and what of the payment went back before it was known, in one round trip.
async fn terms(
    conn: &mut AsyncPgConnection,
    rows: &Locked,
    now: DateTime<Utc>,
) -> Result<(Option<VatRate>, i64), StoreError> {
    #[derive(QueryableByName)]
    struct Terms {
        #[diesel(sql_type = Nullable<Integer>)]
        percent: Option<i32>,
        #[diesel(sql_type = BigInt)]
        returned: i64,
    }
    const TERMS: &str = "
        select
            (select percent from tariff_vat where tariff_id = $1 and effective_from <= $2 order by effective_from desc limit 1)
                as percent,
            coalesce((
                select -sum(l.amount) from journal_entry e join journal_line l on l.entry_id = e.id
                where e.payment_id = $3 and e.kind in ('refund', 'chargeback') and l.account = 'gateway_clearing'
            ), 0)::bigint as returned";
    let terms: Terms = diesel::sql_query(TERMS)
        .bind::<SqlUuid, _>(rows.bill.tariff_id)
        .bind::<Timestamptz, _>(now)
        .bind::<SqlUuid, _>(rows.payment.id)
        .prepared()
        .get_result(conn)
        .await?;
    // The database has no other rates.
    Ok((terms.percent.and_then(|percent| VatRate::percent(percent).ok()), terms.returned))
}

/// Enters what the gateway took for an attempt by a second transaction, which has become the row `payment_id`. Nobody owed
/// it.
pub(super) async fn enter_second(
    conn: &mut AsyncPgConnection,
    rows: &Locked,
    payment_id: PaymentId,
    second: SecondTransaction,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    let SecondTransaction { transaction_id, amount, currency } = second;
    let subject = Subject { transaction_id: Some(transaction_id), ..subject(rows) };
    let taken = Taken {
        payment_id,
        subject,
        amount,
        vat: Kopecks::new(0),
        returned: Kopecks::new(0),
        currency,
        is_kept: false,
    };
    enter_taken(conn, &taken, None, rows.account.machine().time_zone, now).await
}

fn subject(rows: &Locked) -> Subject {
    Subject {
        account_id: Some(rows.account.id),
        bill_id: Some(rows.bill.id),
        tariff_id: Some(rows.bill.tariff_id),
        ..Subject::default()
    }
}

/// What had been set aside as fitting nothing is taken from there.
async fn enter_taken(
    conn: &mut AsyncPgConnection,
    taken: &Taken,
    days: Option<(NaiveDate, NaiveDate)>,
    zone: Tz,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    let sold = taken.sold().zip(days).map(|(amount, (starts_on, ends_on))| {
        let ends_on = ends_on.max(starts_on + Days::new(1));
        Sold { amount, starts_on, ends_on }
    });
    let entry = ledger::taken(taken, now, zone);
    if write_with_plan(conn, &entry, sold).await? {
        return Ok(());
    }
    let entered = journal_entry::table.filter(journal_entry::key.eq(&entry.key)).select(journal_entry::kind);
    let before: EntryKind = entered.first(conn).await?;
    if before == EntryKind::Suspense {
        write_with_plan(conn, &ledger::place(taken, now, zone), sold).await?;
    }
    Ok(())
}

/// Enters an operation of the gateway that fits nothing, if it took money.
pub(super) async fn enter_orphan(
    conn: &mut AsyncPgConnection,
    found: &Orphan,
    zone: Tz,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    let is_taken = found.status.as_deref().is_some_and(|status| status.eq_ignore_ascii_case("completed"));
    let currency: Option<Currency> = found.currency.as_deref().and_then(|code| code.parse().ok());
    let money = found.amount.filter(|amount| is_taken && amount.get() > 0).zip(currency);
    if let Some((amount, currency)) = money {
        write(conn, &ledger::set_aside(found.transaction_id, amount, currency, now, zone)).await?;
    }
    Ok(())
}

/// Enters that the gateway has paid a transaction out, unless it was entered before. Returns whether it is new.
///
/// # Errors
/// [`StoreError::Db`].
pub async fn enter_payout(
    conn: &mut AsyncPgConnection,
    payout: &PaidOut,
    zone: Tz,
    now: DateTime<Utc>,
) -> Result<bool, StoreError> {
    write(conn, &ledger::paid_out(payout, now, zone)).await
}

/// What is wrong with the ledger, at most so much of it: nothing, ever. It is added up whole, which takes its time.
///
/// # Errors
/// [`StoreError::Db`].
pub async fn faults(conn: &mut AsyncPgConnection, limit: i64) -> Result<Vec<String>, StoreError> {
    #[derive(QueryableByName)]
    struct Fault {
        #[diesel(sql_type = Text)]
        fault: String,
    }
    let query = "select subject || ' ' || fault as fault from journal_fault order by 1 limit $1";
    let faults: Vec<Fault> = diesel::sql_query(query).bind::<BigInt, _>(limit).load(conn).await?;
    Ok(faults.into_iter().map(|row| row.fault).collect())
}

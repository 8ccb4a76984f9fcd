//! The ledger's rows. Entries are only added, each in the transaction of the change that it tells of; the database refuses
//! every other change, and holds each entry to zero.

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Date, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::{AsyncPgConnection, RunQueryDsl};

use super::StoreError;
use super::orphans::Orphan;
use super::payments::load::Locked;
use super::prepared::Prepare;
use crate::ledger::{self, Entry, EntryKind, Subject, Taken};
use crate::payment::{PaymentState, SecondTransaction};
use crate::schema::journal_entry;
use crate::{Currency, PaymentId};

/// One statement, so that an entry costs one round trip.
const WRITE: &str = "
    with entry as (
        insert into journal_entry (day, at, kind, key, currency, account_id, bill_id, payment_id, tariff_id, transaction_id)
        values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
        on conflict (key) do nothing
        returning id
    )
    insert into journal_line (entry_id, no, account, amount)
    select entry.id, line.no, line.account, line.amount
    from entry, unnest($11, $12) with ordinality as line (account, amount, no)";

/// Writes an entry down, unless what it tells of was entered before. Returns whether it is new.
///
/// # Errors
/// [`StoreError::Db`].
pub async fn write(conn: &mut AsyncPgConnection, entry: &Entry) -> Result<bool, StoreError> {
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
        .prepared()
        .execute(conn)
        .await?;
    Ok(lines > 0)
}

/// Enters the money of an attempt that has just succeeded. The attempt, its bill and its account are as they are after it.
pub(super) async fn enter_success(
    conn: &mut AsyncPgConnection,
    rows: &Locked,
    is_back: bool,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    let payment = &rows.payment;
    let taken = Taken {
        payment_id: payment.id,
        subject: Subject { transaction_id: payment.transaction_id, ..subject(rows) },
        amount: payment.amount,
        currency: payment.currency,
        is_kept: payment.state == PaymentState::Succeeded && !is_back,
    };
    let zone = rows.account.machine().time_zone;
    enter_taken(conn, &taken, zone, now).await?;
    if is_back {
        write(conn, &ledger::given_back(&taken, now, zone)).await?;
    }
    Ok(())
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
    let taken = Taken { payment_id, subject, amount, currency, is_kept: false };
    enter_taken(conn, &taken, rows.account.machine().time_zone, now).await
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
    zone: Tz,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    let entry = ledger::taken(taken, now, zone);
    if write(conn, &entry).await? {
        return Ok(());
    }
    let entered = journal_entry::table.filter(journal_entry::key.eq(&entry.key)).select(journal_entry::kind);
    let before: EntryKind = entered.first(conn).await?;
    if before == EntryKind::Suspense {
        write(conn, &ledger::place(taken, now, zone)).await?;
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

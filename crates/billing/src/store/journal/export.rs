//! The journal, posting by posting, for whoever keeps the books.

use chrono::NaiveDate;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Date, Integer, Nullable, Text, Uuid as SqlUuid};
use diesel_async::{AsyncPgConnection, RunQueryDsl};

use super::super::StoreError;
use crate::ledger::{EntryKind, LedgerAccount};
use crate::{AccountId, BillId, Currency, Kopecks, PaymentId, TariffId};

/// One posting of an entry.
#[derive(Debug, Clone, PartialEq, Eq, QueryableByName)]
pub struct Posted {
    #[diesel(sql_type = BigInt)]
    pub entry_id: i64,
    /// The number of its debit line.
    #[diesel(sql_type = Integer)]
    pub no: i32,
    #[diesel(sql_type = Date)]
    pub day: NaiveDate,
    #[diesel(sql_type = Text)]
    pub kind: EntryKind,
    #[diesel(sql_type = Text)]
    pub debit: LedgerAccount,
    #[diesel(sql_type = Text)]
    pub credit: LedgerAccount,
    #[diesel(sql_type = BigInt)]
    pub amount: Kopecks,
    #[diesel(sql_type = Text)]
    pub currency: Currency,
    #[diesel(sql_type = Nullable<SqlUuid>)]
    pub account_id: Option<AccountId>,
    #[diesel(sql_type = Nullable<SqlUuid>)]
    pub bill_id: Option<BillId>,
    #[diesel(sql_type = Nullable<SqlUuid>)]
    pub payment_id: Option<PaymentId>,
    #[diesel(sql_type = Nullable<SqlUuid>)]
    pub tariff_id: Option<TariffId>,
    #[diesel(sql_type = Nullable<BigInt>)]
    pub transaction_id: Option<i64>,
}

/// At most `limit` postings of these days, both included, in the order of days and entries, behind `after`.
///
/// # Errors
/// [`StoreError::Db`].
pub async fn postings(
    conn: &mut AsyncPgConnection,
    from: NaiveDate,
    to: NaiveDate,
    after: Option<&Posted>,
    limit: i64,
) -> Result<Vec<Posted>, StoreError> {
    let (day, entry_id, no) = after.map_or((from, 0, 0), |last| (last.day, last.entry_id, last.no));
    let page = diesel::sql_query(PAGE)
        .bind::<Date, _>(to)
        .bind::<Date, _>(day)
        .bind::<BigInt, _>(entry_id)
        .bind::<Integer, _>(no)
        .bind::<BigInt, _>(limit);
    Ok(page.load(conn).await?)
}

/// The entries first, and their lines by them: `offset 0` keeps the planner from turning that round. The entry of `after` may
/// have no posting left.
const PAGE: &str = "
    select e.id as entry_id, p.no, e.day, e.kind, p.debit, p.credit, p.amount, e.currency::text as currency, e.account_id,
        e.bill_id, e.payment_id, e.tariff_id, e.transaction_id
    from (
            select * from journal_entry where day <= $1 and (day, id) >= ($2, $3) order by day, id limit $5 + 1
        ) as e
        cross join lateral (
            select d.no, d.account as debit, c.account as credit, d.amount
            from journal_line d join journal_line c on c.entry_id = d.entry_id and c.no = d.no + 1
            where d.entry_id = e.id and d.no % 2 = 1
            offset 0
        ) as p
    where (e.day, e.id, p.no) > ($2, $3, $4)
    order by e.day, e.id, p.no
    limit $5";

/// All postings about a payment, in the order of their entries: a few, for a payment is entered once and goes back in parts.
///
/// # Errors
/// [`StoreError::Db`].
pub async fn postings_of(conn: &mut AsyncPgConnection, id: PaymentId) -> Result<Vec<Posted>, StoreError> {
    Ok(diesel::sql_query(OF_PAYMENT).bind::<SqlUuid, _>(id).load(conn).await?)
}

const OF_PAYMENT: &str = "
    select e.id as entry_id, d.no, e.day, e.kind, d.account as debit, c.account as credit, d.amount,
        e.currency::text as currency, e.account_id, e.bill_id, e.payment_id, e.tariff_id, e.transaction_id
    from journal_entry e
        join journal_line d on d.entry_id = e.id and d.no % 2 = 1
        join journal_line c on c.entry_id = d.entry_id and c.no = d.no + 1
    where e.payment_id = $1
    order by e.id, d.no";

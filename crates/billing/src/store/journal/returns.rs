//! Money that went back to the customer.

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Bool, Text, Uuid as SqlUuid};
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl};

use super::super::StoreError;
use super::{plan, write};
use crate::ledger::{self, LedgerAccount, Return, Standing, Subject};
use crate::schema::{gateway_transaction, journal_entry, journal_line};
use crate::{AccountId, BillId, Currency, Kopecks, PaymentId, TariffId};

/// Enters that so much of a payment went back, unless it was entered before, and ends the plan of what it would have earned.
/// It may be known before the payment is. Returns whether it is new. The account is locked already.
///
/// # Errors
/// [`StoreError`].
pub async fn enter_return(
    conn: &mut AsyncPgConnection,
    payment_id: PaymentId,
    back: &Return,
    zone: Tz,
    now: DateTime<Utc>,
) -> Result<bool, StoreError> {
    conn.transaction(async |conn| {
        let known = diesel::sql_query(STANDING).bind::<SqlUuid, _>(payment_id).get_result::<Known>(conn).await;
        let known = known.optional()?.ok_or(StoreError::UnknownPayment(payment_id))?;
        let day = plan::first_open_day(conn, now, zone).await?;
        let running = plan::running_of_payment(conn, payment_id, day).await?;
        let unearned = running.iter().map(|row| row.plan().unearned_from(day).get()).sum();
        let (entry, mut less) = ledger::returned(&known.standing(payment_id, unearned), back, now, zone);
        if !write(conn, &entry).await? {
            return Ok(false);
        }
        for row in running {
            let here = less.min(row.plan().unearned_from(day));
            less = Kopecks::new(less.get() - here.get());
            if here.get() > 0 {
                let rest = row.plan().rest(day, here).map(|rest| (rest, row.tariff_id));
                plan::cut(conn, &row, day, rest).await?;
            }
        }
        Ok(true)
    })
    .await
}

/// What the ledger has of a payment. `payable`: what had gone back before the payment was known.
const STANDING: &str = "
    select b.account_id, b.id as bill_id, b.tariff_id, p.currency::text as currency,
        coalesce(sum(l.amount) filter (where e.kind in ('payment', 'placement') and l.amount > 0), 0)::bigint as taken,
        coalesce(-sum(l.amount) filter (where e.kind in ('payment', 'placement') and l.account = 'refunds_payable'), 0)::bigint
            as payable,
        coalesce(-sum(l.amount) filter (where e.kind in ('payment', 'placement') and l.account = 'vat'), 0)::bigint as vat,
        coalesce(-sum(l.amount) filter (where e.kind in ('refund', 'chargeback') and l.account = 'gateway_clearing'), 0)::bigint
            as returned,
        coalesce(bool_or(e.kind in ('payment', 'placement') and l.account = 'deferred_revenue'), false) as is_kept
    from payment p
        join bill b on b.id = p.bill_id
        left join journal_entry e on e.payment_id = p.id
        left join journal_line l on l.entry_id = e.id
    where p.id = $1
    group by b.account_id, b.id, b.tariff_id, p.currency";

#[derive(QueryableByName)]
struct Known {
    #[diesel(sql_type = SqlUuid)]
    account_id: AccountId,
    #[diesel(sql_type = SqlUuid)]
    bill_id: BillId,
    #[diesel(sql_type = SqlUuid)]
    tariff_id: TariffId,
    #[diesel(sql_type = Text)]
    currency: Currency,
    #[diesel(sql_type = BigInt)]
    taken: i64,
    #[diesel(sql_type = BigInt)]
    payable: i64,
    #[diesel(sql_type = BigInt)]
    vat: i64,
    #[diesel(sql_type = BigInt)]
    returned: i64,
    #[diesel(sql_type = Bool)]
    is_kept: bool,
}

impl Known {
    fn standing(&self, payment_id: PaymentId, unearned: i64) -> Standing {
        let subject = Subject {
            account_id: Some(self.account_id),
            bill_id: Some(self.bill_id),
            payment_id: Some(payment_id),
            tariff_id: Some(self.tariff_id),
            transaction_id: None,
        };
        let before = if self.is_kept { self.payable } else { 0 };
        Standing {
            subject,
            currency: self.currency,
            taken: Kopecks::new(self.taken - before),
            vat: Kopecks::new(self.vat),
            returned: Kopecks::new(self.returned - before),
            is_kept: self.is_kept,
            unearned: Kopecks::new(unearned),
        }
    }
}

/// Enters that the gateway has given money back of which it is not known whose it was, as its list has it. What the list does not
/// have yet is entered when it has.
///
/// # Errors
/// [`StoreError::Db`].
pub(in crate::store) async fn set_return_aside(
    conn: &mut AsyncPgConnection,
    transaction_id: i64,
    zone: Tz,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    let listed = gateway_transaction::table
        .find(transaction_id)
        .filter(gateway_transaction::operation.eq("refund").and(gateway_transaction::status.eq("Completed")))
        .filter(gateway_transaction::on_our_terminal.eq(true))
        .select((gateway_transaction::amount, gateway_transaction::currency));
    let listed: Option<(Option<i64>, Option<String>)> = listed.first(conn).await.optional()?;
    let money = listed.and_then(|(amount, currency)| {
        let amount = amount.filter(|amount| *amount > 0)?;
        Some((Kopecks::new(amount), currency?.parse::<Currency>().ok()?))
    });
    if let Some((amount, currency)) = money {
        write(conn, &ledger::set_aside_return(transaction_id, amount, currency, now, zone)).await?;
    }
    Ok(())
}

/// A refund was entered: if it had been set aside before, it is there no more.
pub(in crate::store) async fn place_return(
    conn: &mut AsyncPgConnection,
    transaction_id: i64,
    zone: Tz,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    let set_aside = journal_line::table
        .inner_join(journal_entry::table.on(journal_entry::id.eq(journal_line::entry_id)))
        .filter(journal_entry::key.eq(ledger::key_of_return(transaction_id)))
        .filter(journal_line::account.eq(LedgerAccount::Suspense))
        .select((journal_line::amount, journal_entry::currency));
    let found: Option<(Kopecks, Currency)> = set_aside.first(conn).await.optional()?;
    if let Some((amount, currency)) = found {
        write(conn, &ledger::place_return(transaction_id, amount, currency, now, zone)).await?;
    }
    Ok(())
}

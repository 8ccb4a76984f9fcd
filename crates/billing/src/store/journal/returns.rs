//! Money that went back to the customer.

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Bool, Nullable, Text, Uuid as SqlUuid};
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl};

use super::super::StoreError;
use super::{plan, write};
use crate::ledger::{self, Return, Standing, Subject};
use crate::{AccountId, BillId, Currency, Kopecks, PaymentId, TariffId};

/// Enters that so much of a payment went back, unless it was entered before, and ends the plan of what it would have earned.
/// Returns whether it is new. The account is locked already.
///
/// # Errors
/// [`StoreError::UnknownPayment`] for money that never came.
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
        let standing = Standing {
            subject: known.subject(payment_id),
            currency: known.currency,
            taken: Kopecks::new(known.taken),
            vat: Kopecks::new(known.vat),
            returned: Kopecks::new(known.returned),
            is_kept: known.is_kept,
            unearned: Kopecks::new(unearned),
        };
        let (entry, mut less) = ledger::returned(&standing, back, now, zone);
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

/// What the ledger has of a payment.
const STANDING: &str = "
    select e.account_id, e.bill_id, e.tariff_id, e.currency::text as currency,
        coalesce(sum(l.amount) filter (where e.kind in ('payment', 'placement') and l.amount > 0), 0)::bigint as taken,
        coalesce(-sum(l.amount) filter (where e.kind in ('payment', 'placement') and l.account = 'vat'), 0)::bigint as vat,
        coalesce(-sum(l.amount) filter (where e.kind in ('refund', 'chargeback') and l.account = 'gateway_clearing'), 0)::bigint
            as returned,
        bool_or(e.kind in ('payment', 'placement') and l.account = 'deferred_revenue') as is_kept
    from journal_entry e join journal_line l on l.entry_id = e.id
    where e.payment_id = $1
    group by e.account_id, e.bill_id, e.tariff_id, e.currency
    limit 1";

#[derive(QueryableByName)]
struct Known {
    #[diesel(sql_type = Nullable<SqlUuid>)]
    account_id: Option<AccountId>,
    #[diesel(sql_type = Nullable<SqlUuid>)]
    bill_id: Option<BillId>,
    #[diesel(sql_type = Nullable<SqlUuid>)]
    tariff_id: Option<TariffId>,
    #[diesel(sql_type = Text)]
    currency: Currency,
    #[diesel(sql_type = BigInt)]
    taken: i64,
    #[diesel(sql_type = BigInt)]
    vat: i64,
    #[diesel(sql_type = BigInt)]
    returned: i64,
    #[diesel(sql_type = Bool)]
    is_kept: bool,
}

impl Known {
    fn subject(&self, payment_id: PaymentId) -> Subject {
        Subject {
            account_id: self.account_id,
            bill_id: self.bill_id,
            payment_id: Some(payment_id),
            tariff_id: self.tariff_id,
            transaction_id: None,
        }
    }
}

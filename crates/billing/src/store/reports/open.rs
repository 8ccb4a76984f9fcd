//! What is not settled at a moment, and since when: payments and refunds in doubt, differences nobody has decided about, receipts
//! nobody has made. Of the rows themselves: they are few, and an index has them.

use chrono::{DateTime, Utc};
use diesel::sql_types::{BigInt, Integer, Text, Timestamptz};
use diesel_async::{AsyncPgConnection, RunQueryDsl};

use super::super::StoreError;
use crate::macros::text_enum;
use crate::{Currency, Kopecks};

text_enum! {
    /// What is open.
    pub enum OpenKind {
        /// It is not known whether its money was taken.
        Payment = "payment",
        /// It was asked for, and is not back.
        Refund = "refund",
        /// From the gateway's list.
        Difference = "difference",
        /// Due for more than an hour.
        Receipt = "receipt",
    }
}

/// So many of one kind and age.
#[derive(Debug, Clone, PartialEq, Eq, diesel::QueryableByName)]
pub struct Open {
    #[diesel(sql_type = Text)]
    pub what: OpenKind,
    /// The state, the kind of the difference, or of the receipt.
    #[diesel(sql_type = Text)]
    pub label: String,
    /// Open for less than: 0 an hour, 1 a day, 2 a week, 3 longer.
    #[diesel(sql_type = Integer)]
    pub age: i32,
    #[diesel(sql_type = Text)]
    pub currency: Currency,
    #[diesel(sql_type = BigInt)]
    pub count: i64,
    #[diesel(sql_type = BigInt)]
    pub amount: Kopecks,
    #[diesel(sql_type = Timestamptz)]
    pub oldest: DateTime<Utc>,
}

/// All that is open at `now`, by kind, label and age.
///
/// # Errors
/// [`StoreError::Db`].
pub async fn open(conn: &mut AsyncPgConnection, now: DateTime<Utc>) -> Result<Vec<Open>, StoreError> {
    Ok(diesel::sql_query(OPEN).bind::<Timestamptz, _>(now).load(conn).await?)
}

const OPEN: &str = "
    select what, label, case
            when since > $1 - interval '1 hour' then 0
            when since > $1 - interval '1 day' then 1
            when since > $1 - interval '7 days' then 2
            else 3
        end as age,
        currency, count(*) as count, coalesce(sum(amount), 0)::bigint as amount, min(since) as oldest
    from (
        select 'payment' as what, state::text as label, coalesce(first_sent_at, created_at) as since, currency::text, amount
        from payment where state = 'unknown'
        union all
        select 'refund', state, created_at, currency::text, amount
        from refund where state in ('requested', 'sending', 'unknown')
        union all
        select 'difference', kind, at, case when their_currency ~ '^[A-Z]{3}$' then their_currency else 'RUB' end,
            coalesce(their_amount, our_amount, 0)
        from difference where state = 'open'
        union all
        select 'receipt', r.kind, r.due_at, p.currency::text, r.amount
        from receipt r join payment p on p.id = r.payment_id
        where r.due_at is not null and r.issued_at is null and r.covered_by is null and r.due_at <= $1 - interval '1 hour'
    ) as rows
    group by what, label, age, currency order by what, label, age, currency";

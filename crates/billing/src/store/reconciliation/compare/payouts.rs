//! What the gateway has paid out to the bank is entered in the ledger, by its date and its amount.

use chrono::{DateTime, NaiveDate, Utc};
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Bool, Date, Text, Timestamptz};
use diesel_async::{AsyncPgConnection, RunQueryDsl};

use super::super::super::{StoreError, journal};
use crate::ledger::PaidOut;
use crate::reconciliation::GATEWAY_ZONE;
use crate::{Currency, Kopecks};

/// What the ledger does not have yet would be paid out of nothing: it waits until that is entered, or a person has decided.
const PAID_OUT: &str = "
    select g.transaction_id, g.operation = 'refund' as is_refund, g.payout_on, g.amount, g.payout_amount, g.currency
    from gateway_transaction g
    where (g.created_at, g.transaction_id) > ($1, $2) and (g.created_at, g.transaction_id) <= ($3, $4)
        and g.on_our_terminal and g.status = 'Completed' and g.operation in ('payment', 'refund')
        and g.payout_on is not null and g.payout_amount is not null and g.amount is not null and g.currency is not null
        and exists (select from journal_entry e where e.transaction_id = g.transaction_id and e.kind <> 'payout')
        and not exists (select from journal_entry e where e.key = 'payout:' || g.transaction_id)
    order by g.created_at, g.transaction_id";

#[derive(QueryableByName)]
struct Row {
    #[diesel(sql_type = BigInt)]
    transaction_id: i64,
    #[diesel(sql_type = Bool)]
    is_refund: bool,
    #[diesel(sql_type = Date)]
    payout_on: NaiveDate,
    #[diesel(sql_type = BigInt)]
    amount: i64,
    #[diesel(sql_type = BigInt)]
    payout_amount: i64,
    #[diesel(sql_type = Text)]
    currency: String,
}

/// Enters those of a chunk that are not entered yet.
pub(super) async fn enter(
    conn: &mut AsyncPgConnection,
    (after, after_id): (DateTime<Utc>, i64),
    (until, until_id): (DateTime<Utc>, i64),
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    let rows: Vec<Row> = diesel::sql_query(PAID_OUT)
        .bind::<Timestamptz, _>(after)
        .bind::<BigInt, _>(after_id)
        .bind::<Timestamptz, _>(until)
        .bind::<BigInt, _>(until_id)
        .load(conn)
        .await?;
    for row in rows {
        let Ok(currency) = row.currency.parse::<Currency>() else { continue };
        // What went back the gateway keeps of what it pays out, however it writes that.
        let signed = |amount: i64| Kopecks::new(if row.is_refund { -amount.abs() } else { amount });
        let payout = PaidOut {
            transaction_id: row.transaction_id,
            day: row.payout_on,
            amount: signed(row.amount),
            paid_out: signed(row.payout_amount),
            currency,
        };
        journal::enter_payout(conn, &payout, GATEWAY_ZONE, now).await?;
    }
    Ok(())
}

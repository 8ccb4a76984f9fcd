//! What the gateway lists, page by page, by its own ids: however often a page is read, and however rows move from page to
//! page, each operation is one row.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::result::Error::SerializationError;
use diesel::sql_types::{BigInt, Jsonb, Timestamptz};
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl};

use super::super::StoreError;
use super::runs::Run;
use crate::reconciliation::{Listed, ListedChargeback, Phase};
use crate::schema::{gateway_chargeback, reconciliation};

const KEEP: &str = "
    insert into gateway_transaction (transaction_id, created_at, operation, status, amount, currency, invoice_id,
        invoice_no, account_id, payment_id, bill_id, original_id, refunded, test_mode, on_our_terminal, payout_on, payout_amount,
        listed_at)
    select distinct on (transaction_id) transaction_id, created_at, operation, status, amount, left(currency, 255),
        left(invoice_id, 255), case when invoice_id ~ '^[1-9][0-9]{0,17}$' then invoice_id::bigint end,
        left(account_id, 255), payment_id, bill_id, original_id, refunded, test_mode, on_our_terminal,
        payout_on, payout_amount, $2
    from jsonb_to_recordset($1) as listed (transaction_id bigint, created_at timestamptz, operation text, status text,
        amount bigint, currency text, invoice_id text, account_id text, payment_id uuid, bill_id uuid,
        original_id bigint, refunded boolean, test_mode boolean, on_our_terminal boolean, payout_on date,
        payout_amount bigint)
    order by transaction_id
    on conflict (transaction_id) do update set
        created_at = excluded.created_at, operation = excluded.operation, status = excluded.status,
        amount = excluded.amount, currency = excluded.currency, invoice_id = excluded.invoice_id,
        invoice_no = excluded.invoice_no, account_id = excluded.account_id, payment_id = excluded.payment_id,
        bill_id = excluded.bill_id, original_id = excluded.original_id, refunded = excluded.refunded,
        test_mode = excluded.test_mode, on_our_terminal = excluded.on_our_terminal,
        payout_on = excluded.payout_on, payout_amount = excluded.payout_amount, listed_at = excluded.listed_at
    where (gateway_transaction.created_at, gateway_transaction.operation, gateway_transaction.status,
           gateway_transaction.amount, gateway_transaction.currency, gateway_transaction.invoice_id,
           gateway_transaction.account_id, gateway_transaction.payment_id, gateway_transaction.original_id,
           gateway_transaction.refunded, gateway_transaction.test_mode, gateway_transaction.on_our_terminal,
           gateway_transaction.payout_on, gateway_transaction.payout_amount)
        is distinct from
          (excluded.created_at, excluded.operation, excluded.status, excluded.amount, excluded.currency,
           excluded.invoice_id, excluded.account_id, excluded.payment_id, excluded.original_id, excluded.refunded,
           excluded.test_mode, excluded.on_our_terminal, excluded.payout_on, excluded.payout_amount)";

/// Keeps a page, and that the next one is to be read. `None`: somebody else has kept it.
///
/// # Errors
/// [`StoreError::Db`].
pub async fn keep_page(
    conn: &mut AsyncPgConnection,
    run: &Run,
    page: &[Listed],
    leased_until: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Result<Option<Run>, StoreError> {
    let json = serde_json::to_value(page).map_err(|error| SerializationError(error.into()))?;
    conn.transaction(async |conn| {
        let keeping = diesel::sql_query(KEEP).bind::<Jsonb, _>(json).bind::<Timestamptz, _>(now);
        let new = keeping.execute(conn).await?;
        turn_page(conn, run, new > 0, leased_until).await
    })
    .await
}

/// Keeps a page of chargebacks, likewise; after an empty one they are all there. Chargebacks only come, so they are read
/// once.
///
/// # Errors
/// [`StoreError::Db`].
pub async fn keep_chargebacks(
    conn: &mut AsyncPgConnection,
    run: &Run,
    page: &[ListedChargeback],
    leased_until: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Result<Option<Run>, StoreError> {
    if page.is_empty() {
        let reading = reconciliation::table.find(run.id).filter(reconciliation::phase.eq(Phase::Chargebacks));
        let comparing = diesel::update(reading)
            .set((reconciliation::phase.eq(Phase::Comparing), reconciliation::leased_until.eq(leased_until)))
            .returning(Run::as_returning());
        return Ok(comparing.get_result(conn).await.optional()?);
    }
    let json = serde_json::to_value(page).map_err(|error| SerializationError(error.into()))?;
    conn.transaction(async |conn| {
        let keeping = diesel::sql_query(
            "insert into gateway_chargeback (chargeback_id, transaction_id, amount, currency, kind,
                 operation, at, listed_at)
             select distinct on (chargeback_id) left(chargeback_id, 255), transaction_id, amount, left(currency, 255), left(kind, 255), left(operation, 255), at, $2
             from jsonb_to_recordset($1) as listed (chargeback_id text, transaction_id bigint, amount bigint, currency text,
                 kind text, operation text, at timestamptz)
             order by chargeback_id
             on conflict (chargeback_id) do update set transaction_id = excluded.transaction_id, amount = excluded.amount,
                 currency = excluded.currency, at = excluded.at",
        );
        keeping.bind::<Jsonb, _>(json).bind::<Timestamptz, _>(now).execute(conn).await?;
        turn_page(conn, run, false, leased_until).await
    })
    .await
}

/// Compare-and-set on the page that was read.
async fn turn_page(
    conn: &mut AsyncPgConnection,
    run: &Run,
    taught: bool,
    leased_until: DateTime<Utc>,
) -> Result<Option<Run>, StoreError> {
    let read = reconciliation::table.find(run.id).filter(
        reconciliation::phase
            .eq(run.phase)
            .and(reconciliation::reading.eq(run.reading))
            .and(reconciliation::next_page.eq(run.next_page)),
    );
    let turning = diesel::update(read).set((
        reconciliation::next_page.eq(run.next_page + 1),
        reconciliation::taught.eq(run.taught || taught),
        reconciliation::pages.eq(run.pages + 1),
        reconciliation::leased_until.eq(leased_until),
        reconciliation::trouble.eq(None::<String>),
        reconciliation::fruitless.eq(0),
    ));
    Ok(turning.returning(Run::as_returning()).get_result(conn).await.optional()?)
}

/// A chargeback by the gateway's id.
///
/// # Errors
/// [`StoreError::Db`].
pub async fn chargeback(conn: &mut AsyncPgConnection, id: &str) -> Result<Option<ListedChargeback>, StoreError> {
    let row = gateway_chargeback::table.find(id).select((
        gateway_chargeback::chargeback_id,
        gateway_chargeback::transaction_id,
        gateway_chargeback::amount,
        gateway_chargeback::currency,
        gateway_chargeback::kind,
        gateway_chargeback::operation,
        gateway_chargeback::at,
    ));
    Ok(row.first(conn).await.optional()?)
}

/// Whether the list has a refund of this payment.
///
/// # Errors
/// [`StoreError::Db`].
pub async fn refunds_of(conn: &mut AsyncPgConnection, transaction_id: i64) -> Result<bool, StoreError> {
    #[derive(QueryableByName)]
    struct Found {
        #[diesel(sql_type = BigInt)]
        n: i64,
    }
    let query = "select count(*) as n from gateway_transaction
                 where original_id = $1 and operation = 'refund' and status = 'Completed'";
    let found: Found = diesel::sql_query(query).bind::<BigInt, _>(transaction_id).get_result(conn).await?;
    Ok(found.n > 0)
}

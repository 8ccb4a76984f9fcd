//! The comparison, in SQL, a chunk at a time: what is in the middle of it is in the database, and here only where it stands.
//!
//! What is what stands beside each condition; `crates/billing/tests/it/reconciling_properties.rs` says the same in Rust.

mod clearing;
mod payouts;
mod statements;

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Bool, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl};
use uuid::Uuid;

pub(super) use self::clearing::compare_days;
use self::statements::{CHARGEBACKS, OUR_REFUNDS, OURS, THEIRS};
use super::super::{StoreError, events};
use super::runs::Run;
use crate::event::{EventKind, NewEvent};
use crate::reconciliation::{DifferenceKind, Phase};
use crate::schema::{bill, payment, reconciliation};
use crate::{AccountId, BillId, DifferenceId, PaymentId, ReconciliationId};

/// What a chunk came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compared {
    /// The run, with its place moved on. `None`: somebody else has compared the chunk.
    pub run: Option<Run>,
    /// The differences that were not known before: to be told once.
    pub new: Vec<NewDifference>,
}

/// A difference that was not known before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewDifference {
    pub id: DifferenceId,
    pub kind: DifferenceKind,
    pub subject: String,
    pub payment_id: Option<PaymentId>,
}

/// Compares the next chunk of at most `limit` rows, and moves the run on.
///
/// # Errors
/// [`StoreError`].
pub async fn compare(
    conn: &mut AsyncPgConnection,
    run: &Run,
    limit: i64,
    leased_until: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Result<Compared, StoreError> {
    conn.transaction(async |conn| match run.phase {
        Phase::Comparing => theirs(conn, run, limit, leased_until, now).await,
        Phase::ComparingOurs => ours(conn, run, limit, leased_until, now).await,
        Phase::Listing | Phase::Chargebacks | Phase::Settling | Phase::Ended => {
            Ok(Compared { run: None, new: Vec::new() })
        }
    })
    .await
}

#[derive(QueryableByName)]
struct Found {
    #[diesel(sql_type = SqlUuid)]
    id: DifferenceId,
    #[diesel(sql_type = Text)]
    kind: DifferenceKind,
    #[diesel(sql_type = Text)]
    subject: String,
    #[diesel(sql_type = Nullable<SqlUuid>)]
    payment_id: Option<PaymentId>,
    #[diesel(sql_type = Bool)]
    is_new: bool,
}

#[derive(QueryableByName)]
struct TheirPlace {
    #[diesel(sql_type = BigInt)]
    n: i64,
    #[diesel(sql_type = Timestamptz)]
    at: DateTime<Utc>,
    #[diesel(sql_type = BigInt)]
    id: i64,
}

#[derive(QueryableByName)]
struct OurPlace {
    #[diesel(sql_type = BigInt)]
    n: i64,
    #[diesel(sql_type = Timestamptz)]
    at: DateTime<Utc>,
    #[diesel(sql_type = SqlUuid)]
    id: Uuid,
}

/// What the gateway has.
async fn theirs(
    conn: &mut AsyncPgConnection,
    run: &Run,
    limit: i64,
    leased_until: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Result<Compared, StoreError> {
    // Ids are above 0: what is made in the first moment of the range is behind this place.
    let (at, id) = (run.cursor_at.unwrap_or(run.range_from), run.cursor_id.unwrap_or(i64::MIN));
    let place = diesel::sql_query(
        "select n, created_at as at, transaction_id as id from (
             select row_number() over (order by created_at, transaction_id) as n, created_at, transaction_id
             from gateway_transaction
             where (created_at, transaction_id) > ($1, $2) and created_at < $3
             order by created_at, transaction_id limit $4
         ) as chunk order by n desc limit 1",
    );
    let place: Option<TheirPlace> = place
        .bind::<Timestamptz, _>(at)
        .bind::<BigInt, _>(id)
        .bind::<Timestamptz, _>(run.range_to)
        .bind::<BigInt, _>(limit)
        .get_result(conn)
        .await
        .optional()?;
    let Some(place) = place else {
        let chargebacks = find(CHARGEBACKS, run, (run.range_from, 0), (run.range_to, 0), now).load(conn).await?;
        let next = (
            reconciliation::phase.eq(Phase::ComparingOurs),
            reconciliation::cursor_at.eq(None::<DateTime<Utc>>),
            reconciliation::cursor_id.eq(None::<i64>),
            reconciliation::leased_until.eq(leased_until),
        );
        let run = diesel::update(at_its_place(run)).set(next).returning(Run::as_returning()).get_result(conn).await;
        return told(conn, run.optional()?, chargebacks, now).await;
    };
    payouts::enter(conn, (at, id), (place.at, place.id), now).await?;
    let found = find(&of_a_chunk(THEIRS, limit), run, (at, id), (place.at, place.id), now).load(conn).await?;
    let next = (
        reconciliation::cursor_at.eq(place.at),
        reconciliation::cursor_id.eq(place.id),
        reconciliation::transactions.eq(run.transactions + place.n),
        reconciliation::leased_until.eq(leased_until),
    );
    let run = diesel::update(at_its_place(run)).set(next).returning(Run::as_returning()).get_result(conn).await;
    told(conn, run.optional()?, found, now).await
}

/// What we have.
async fn ours(
    conn: &mut AsyncPgConnection,
    run: &Run,
    limit: i64,
    leased_until: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Result<Compared, StoreError> {
    let (at, id) = (run.cursor_at.unwrap_or(run.range_from), run.cursor_payment.unwrap_or(Uuid::nil()));
    let place = diesel::sql_query(
        "select n, first_sent_at as at, id from (
             select row_number() over (order by first_sent_at, id) as n, first_sent_at, id
             from payment
             where transaction_id is not null and (first_sent_at, id) > ($1, $2) and first_sent_at < $3
             order by first_sent_at, id limit $4
         ) as chunk order by n desc limit 1",
    );
    let place: Option<OurPlace> = place
        .bind::<Timestamptz, _>(at)
        .bind::<SqlUuid, _>(id)
        .bind::<Timestamptz, _>(run.range_to)
        .bind::<BigInt, _>(limit)
        .get_result(conn)
        .await
        .optional()?;
    let Some(place) = place else {
        let refunds = find(OUR_REFUNDS, run, (run.range_from, 0), (run.range_to, 0), now).load(conn).await?;
        let next = (
            reconciliation::phase.eq(Phase::Settling),
            reconciliation::cursor_at.eq(None::<DateTime<Utc>>),
            reconciliation::cursor_payment.eq(None::<Uuid>),
            reconciliation::leased_until.eq(leased_until),
        );
        let run = diesel::update(at_its_place(run)).set(next).returning(Run::as_returning()).get_result(conn).await;
        return told(conn, run.optional()?, refunds, now).await;
    };
    let query = diesel::sql_query(of_a_chunk(OURS, limit))
        .bind::<SqlUuid, _>(run.id.get())
        .bind::<Timestamptz, _>(at)
        .bind::<SqlUuid, _>(id)
        .bind::<Timestamptz, _>(place.at)
        .bind::<SqlUuid, _>(place.id)
        .bind::<Timestamptz, _>(now);
    let found = query.load(conn).await?;
    let next = (
        reconciliation::cursor_at.eq(place.at),
        reconciliation::cursor_payment.eq(place.id),
        reconciliation::payments.eq(run.payments + place.n),
        reconciliation::leased_until.eq(leased_until),
    );
    let run = diesel::update(at_its_place(run)).set(next).returning(Run::as_returning()).get_result(conn).await;
    told(conn, run.optional()?, found, now).await
}

/// Written into the text: a plan that is made once for all parameters would not know it.
fn of_a_chunk(sql: &str, limit: i64) -> String {
    sql.replace(":few", &limit.to_string())
}

fn find(
    sql: &str,
    run: &Run,
    (after, after_id): (DateTime<Utc>, i64),
    (until, until_id): (DateTime<Utc>, i64),
    now: DateTime<Utc>,
) -> diesel::query_builder::BoxedSqlQuery<'static, diesel::pg::Pg, diesel::query_builder::SqlQuery> {
    diesel::sql_query(sql)
        .into_boxed()
        .bind::<SqlUuid, _>(run.id.get())
        .bind::<Timestamptz, _>(after)
        .bind::<BigInt, _>(after_id)
        .bind::<Timestamptz, _>(until)
        .bind::<BigInt, _>(until_id)
        .bind::<Timestamptz, _>(now)
}

/// Compare-and-set on where the comparison stands.
#[diesel::dsl::auto_type(no_type_alias)]
fn at_its_place<'a>(run: &'a Run) -> _ {
    let id: ReconciliationId = run.id;
    let phase: Phase = run.phase;
    let at: Option<DateTime<Utc>> = run.cursor_at;
    // Each chunk adds to one of these.
    let transactions: i64 = run.transactions;
    let payments: i64 = run.payments;
    reconciliation::table.find(id).filter(
        reconciliation::phase
            .eq(phase)
            .and(reconciliation::cursor_at.is_not_distinct_from(at))
            .and(reconciliation::transactions.eq(transactions))
            .and(reconciliation::payments.eq(payments)),
    )
}

/// What is new is told to the log of events, and to whoever asked.
async fn told(
    conn: &mut AsyncPgConnection,
    run: Option<Run>,
    found: Vec<Found>,
    now: DateTime<Utc>,
) -> Result<Compared, StoreError> {
    let new: Vec<NewDifference> = found
        .into_iter()
        .filter(|found| found.is_new)
        .map(|Found { id, kind, subject, payment_id, .. }| NewDifference { id, kind, subject, payment_id })
        .collect();
    let payments: Vec<PaymentId> = new.iter().filter_map(|new| new.payment_id).collect();
    let owners: Vec<(PaymentId, BillId, AccountId)> = payment::table
        .inner_join(bill::table)
        .filter(payment::id.eq_any(payments))
        .select((payment::id, bill::id, bill::account_id))
        .load(conn)
        .await?;
    let alarms = new.iter().map(|new| {
        let owner = owners.iter().find(|(payment_id, ..)| Some(*payment_id) == new.payment_id);
        let alarm = match owner {
            Some((payment_id, bill_id, account_id)) => {
                NewEvent::of_account(EventKind::NeedsAttention, *account_id).bill(*bill_id).payment(*payment_id)
            }
            None => NewEvent::of_nobody(EventKind::NeedsAttention),
        };
        alarm.with("difference_id", new.id.to_string()).with("difference", new.kind.as_str())
    });
    events::append(conn, alarms.collect(), now).await?;
    Ok(Compared { run, new })
}

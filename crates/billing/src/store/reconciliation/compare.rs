//! The comparison, in SQL, a chunk at a time: what is in the middle of it is in the database, and here only where it stands.
//!
//! What is what stands beside each condition; `crates/billing/tests/it/reconciling_properties.rs` says the same in Rust.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Bool, Nullable, Text, Timestamptz, Uuid as SqlUuid};
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl};
use uuid::Uuid;

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

/// Whether a decision holds no longer.
macro_rules! is_again {
    () => {
        "(difference.state <> 'open' and (difference.decided_by = 'reconciliation'
                or (difference.our_amount, difference.their_amount, difference.our_currency, difference.their_currency,
                    difference.their_status)
                is distinct from (excluded.our_amount, excluded.their_amount, excluded.our_currency,
                    excluded.their_currency, excluded.their_status)))"
    };
}

/// A row that was found, on its way into `difference`.
///
/// What was decided about stays decided, unless it is other money now, or only this module had decided.
macro_rules! into_difference {
    () => {
        concat!(
            "insert into difference (id, kind, subject, created_at, found_by, seen_at, seen_by, at, transaction_id, payment_id,
            account_id, invoice_id, our_amount, their_amount, our_currency, their_currency, our_state, their_status, state)
        select gen_random_uuid(), kind, subject, $6, $1, $6, $1, at, transaction_id, payment_id, account_id, invoice_id,
            our_amount, their_amount, our_currency, their_currency, our_state, their_status, 'open'
        from found
        on conflict on constraint difference_once do update set
            seen_at = excluded.seen_at, seen_by = excluded.seen_by, payment_id = excluded.payment_id,
            our_amount = excluded.our_amount, their_amount = excluded.their_amount,
            our_currency = excluded.our_currency, their_currency = excluded.their_currency,
            our_state = excluded.our_state, their_status = excluded.their_status,
            state = case when ",
            is_again!(),
            " then 'open' else difference.state end,
            decided_at = case when ",
            is_again!(),
            " then null else difference.decided_at end,
            decided_by = case when ",
            is_again!(),
            " then null else difference.decided_by end,
            reason = case when ",
            is_again!(),
            " then null else difference.reason end
        returning id, kind, subject, payment_id, (xmax = 0) as is_new"
        )
    };
}

const THEIRS: &str = concat!(
    "with chunk as (
        select * from gateway_transaction
        where (created_at, transaction_id) > ($2, $3) and (created_at, transaction_id) <= ($4, $5) and on_our_terminal
        -- So that whoever plans it knows that these are few.
        order by created_at, transaction_id limit :few
    ), beside as (
        select c.*, coalesce(t.id, i.id) as p_id, t.id is not null as by_number, i.transaction_id as i_transaction,
            coalesce(i.state in ('succeeded', 'succeeded_duplicate'), false) as i_succeeded,
            coalesce(t.amount, i.amount) as p_amount, coalesce(t.currency, i.currency) as p_currency,
            coalesce(t.state, i.state) as p_state,
            c.status in ('Completed', 'Authorized') as is_money
        from chunk c
        left join payment t on t.transaction_id = c.transaction_id
        -- An invoice number alone proves nothing: account and payment must be ours too.
        left join lateral (
            select p.* from payment p join bill b on b.id = p.bill_id
            where p.invoice_no = c.invoice_no and b.account_id::text = lower(c.account_id)
                and coalesce(c.payment_id, p.id) = p.id
        ) i on true
        where c.operation = 'payment'
    ), judged as (
        select b.*,
            -- Of several payments of one invoice the one that our row names is the payment, or else the first.
            b.status = 'Completed' and b.invoice_no is not null and not coalesce(b.refunded, false)
                and b.transaction_id <> case when b.i_succeeded or o.has_ours then b.i_transaction else o.first end
                as is_duplicate
        from beside b
        left join lateral (
            select min(o.transaction_id) as first, bool_or(o.transaction_id = b.i_transaction) as has_ours
            from gateway_transaction o
            where o.invoice_no = b.invoice_no and o.operation = 'payment' and o.status = 'Completed'
                and o.on_our_terminal and lower(o.account_id) is not distinct from lower(b.account_id)
        ) o on b.status = 'Completed'
    ), found as (
        select k.kind, 'transaction:' || j.transaction_id as subject, j.created_at as at, j.transaction_id,
            j.p_id as payment_id, j.account_id, j.invoice_id, j.p_amount as our_amount, j.amount as their_amount,
            j.p_currency as our_currency, j.currency as their_currency, j.p_state as our_state,
            j.status as their_status
        from judged j cross join lateral (values
            ('duplicate', j.is_duplicate),
            ('missing_here', j.is_money and j.p_id is null and not coalesce(j.is_duplicate, false)),
            ('amount', j.is_money and j.p_id is not null and not coalesce(j.is_duplicate, false)
                and j.amount is distinct from j.p_amount),
            ('currency', j.is_money and j.p_id is not null and not coalesce(j.is_duplicate, false)
                and j.currency is distinct from j.p_currency),
            ('status', j.p_id is not null and not coalesce(j.is_duplicate, false) and case
                when j.status = 'Completed' then j.p_state not in ('succeeded', 'succeeded_duplicate')
                when j.status = 'Authorized' then j.p_state <> 'authorized'
                -- Of an attempt whose number is another's a refusal says nothing: it was followed by another try.
                else j.by_number and j.p_state in ('succeeded', 'succeeded_duplicate', 'authorized')
            end)
        ) as k (kind, applies)
        where k.applies
        union all
        -- Money that goes out by a payout is nobody's order: we never make one.
        select 'missing_here', 'transaction:' || c.transaction_id, c.created_at, c.transaction_id, null, c.account_id,
            c.invoice_id, null, c.amount, null, c.currency, null, c.status
        from chunk c where c.operation = 'payout' and c.status = 'Completed'
        union all
        select case when r.id is null then 'refund_missing_here' else 'refund_amount' end,
            'transaction:' || c.transaction_id, c.created_at, c.transaction_id, coalesce(r.payment_id, p.id),
            c.account_id, c.invoice_id, r.amount, c.amount, r.currency, c.currency, r.state, c.status
        from chunk c
        left join refund r on r.gateway_tx_id = c.transaction_id
        left join payment p on p.transaction_id = c.original_id
        where c.operation = 'refund' and c.status = 'Completed'
            and (r.id is null or (r.amount, r.currency::text) is distinct from (c.amount, c.currency))
    )
    ",
    into_difference!()
);

const CHARGEBACKS: &str = concat!(
    "with found as (
        select 'chargeback' as kind, 'chargeback:' || c.chargeback_id as subject, c.at, c.transaction_id,
            p.id as payment_id, p.account_id::text as account_id, p.invoice_no::text as invoice_id,
            p.amount as our_amount, c.amount as their_amount, p.currency::text as our_currency,
            c.currency as their_currency, p.state as our_state, null::text as their_status
        from gateway_chargeback c
        left join lateral (
            select p.*, b.account_id from payment p join bill b on b.id = p.bill_id
            where p.transaction_id = c.transaction_id limit 1
        ) p on true
        where c.at >= $2 and c.at < $4 and $3::bigint = 0 and $5::bigint = 0
    )
    ",
    into_difference!()
);

const OUR_REFUNDS: &str = concat!(
    "with found as (
        select 'refund_missing_there' as kind, 'refund:' || r.id as subject, r.first_sent_at as at,
            r.gateway_tx_id as transaction_id, p.id as payment_id, p.account_id::text as account_id,
            p.invoice_no::text as invoice_id, r.amount as our_amount, null::bigint as their_amount,
            r.currency::text as our_currency, null::text as their_currency, r.state as our_state,
            null::text as their_status
        from refund r join lateral (
            select p.id, p.invoice_no, b.account_id from payment p join bill b on b.id = p.bill_id
            where p.id = r.payment_id limit 1
        ) p on true
        where r.gateway_tx_id is not null and r.first_sent_at >= $2 and r.first_sent_at < $4 and r.state = 'succeeded'
            and $3::bigint = 0 and $5::bigint = 0
            and not exists (select from gateway_transaction g where g.transaction_id = r.gateway_tx_id)
    )
    ",
    into_difference!()
);

const OURS: &str = concat!(
    "with found as (
        select 'missing_there' as kind, 'payment:' || p.id as subject, p.first_sent_at as at, p.transaction_id,
            p.id as payment_id, b.account_id::text as account_id, p.invoice_no::text as invoice_id,
            p.amount as our_amount, null::bigint as their_amount, p.currency::text as our_currency,
            null::text as their_currency, p.state as our_state, null::text as their_status
        from (
            select * from payment
            where transaction_id is not null and (first_sent_at, id) > ($2, $3) and (first_sent_at, id) <= ($4, $5)
            order by first_sent_at, id limit :few
        ) p join bill b on b.id = p.bill_id
        where p.state in ('succeeded', 'succeeded_duplicate', 'authorized')
            and not exists (select from gateway_transaction g where g.transaction_id = p.transaction_id)
    )
    ",
    into_difference!()
);

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

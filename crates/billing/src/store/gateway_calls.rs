//! Each request to the gateway: begun in the transaction before it, ended in the one after it. One without an end is a
//! worker that died meanwhile, or could not write down what it heard.

use chrono::{DateTime, SubsecRound, Utc};
use diesel::prelude::*;
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl};
use uuid::Uuid;

use super::StoreError;
use super::prepared::Prepare;
use crate::PaymentId;
use crate::macros::text_enum;
use crate::schema::gateway_call;
use crate::trail;

text_enum! {
    /// What the gateway did, by its own word or by the lack of it.
    pub enum CallOutcome {
        Ok = "ok",
        Declined = "declined",
        /// It provably did nothing.
        SafeToRetry = "safe_to_retry",
        Unknown = "unknown",
        /// It understood neither the request nor who asked.
        OurFault = "our_fault",
    }
}

/// A call that has begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CallId {
    id: Uuid,
    /// Finds the month of the row.
    started_at: DateTime<Utc>,
}

/// How a call ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    pub call: CallId,
    pub outcome: CallOutcome,
    /// `None`: no response came.
    pub http_status: Option<u16>,
    /// What may be kept of the bodies, at most [`MAX_BODY`] bytes each.
    pub request: Option<String>,
    pub response: Option<String>,
}

/// The longest body kept, in bytes.
pub const MAX_BODY: usize = 4_096;

/// Writes down that a request is about to leave, with the task that the present [`trail`] names. A list
/// is about no payment.
///
/// # Errors
/// [`StoreError::Db`].
pub async fn begin(
    conn: &mut AsyncPgConnection,
    payment_id: impl Into<Option<PaymentId>>,
    path: &str,
    request_id: Option<&str>,
    now: DateTime<Utc>,
) -> Result<CallId, StoreError> {
    let trail = trail::current();
    // As the database keeps it: the end finds the row by it.
    let call = CallId { id: Uuid::now_v7(), started_at: now.trunc_subsecs(6) };
    diesel::insert_into(gateway_call::table)
        .values((
            gateway_call::id.eq(call.id),
            gateway_call::started_at.eq(call.started_at),
            gateway_call::payment_id.eq(payment_id.into()),
            gateway_call::path.eq(path),
            gateway_call::request_id.eq(request_id),
            gateway_call::task_id.eq(trail.task_id),
            gateway_call::attempt.eq(trail.attempt),
            gateway_call::worker.eq(trail.worker),
        ))
        .prepared()
        .execute(conn)
        .await?;
    Ok(call)
}

/// Writes down what came of it.
///
/// # Errors
/// [`StoreError::Db`].
pub async fn end(conn: &mut AsyncPgConnection, ended: &Ended, now: DateTime<Utc>) -> Result<(), StoreError> {
    let Ended { call, outcome, http_status, request, response } = ended;
    let row = gateway_call::table.find((call.id, call.started_at)).filter(gateway_call::ended_at.is_null());
    diesel::update(row)
        .set((
            gateway_call::ended_at.eq(now.max(call.started_at)),
            gateway_call::outcome.eq(outcome),
            gateway_call::http_status.eq(http_status.map(i32::from)),
            gateway_call::request.eq(request.as_deref().map(storable)),
            gateway_call::response.eq(response.as_deref().map(storable)),
        ))
        .prepared()
        .execute(conn)
        .await?;
    Ok(())
}

/// Nothing that the gateway says keeps its outcome from being written down.
fn storable(body: &str) -> String {
    let body = body.replace('\0', "");
    body[..body.floor_char_boundary(MAX_BODY)].to_owned()
}

/// A call as it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable)]
#[diesel(table_name = gateway_call, check_for_backend(diesel::pg::Pg))]
pub struct GatewayCall {
    pub started_at: DateTime<Utc>,
    /// `None`: it has no end.
    pub ended_at: Option<DateTime<Utc>>,
    pub path: String,
    pub request_id: Option<String>,
    pub task_id: Option<String>,
    pub attempt: i32,
    pub worker: Option<String>,
    pub http_status: Option<i32>,
    pub outcome: Option<CallOutcome>,
    pub request: Option<String>,
    pub response: Option<String>,
}

/// All calls of a payment that are kept, from the first.
///
/// # Errors
/// [`StoreError::Db`].
pub async fn of_payment(conn: &mut AsyncPgConnection, payment_id: PaymentId) -> Result<Vec<GatewayCall>, StoreError> {
    let calls = gateway_call::table.filter(gateway_call::payment_id.eq(payment_id));
    Ok(calls.order((gateway_call::started_at, gateway_call::id)).select(GatewayCall::as_select()).load(conn).await?)
}

/// Wipes the bodies of at most `limit` calls that began before `keep_from`: months are dropped as a whole, and bodies are
/// kept no longer for that. Returns how many it wiped; call again while that is `limit`.
///
/// # Errors
/// [`StoreError::Db`].
pub async fn wipe_bodies(
    conn: &mut AsyncPgConnection,
    keep_from: DateTime<Utc>,
    limit: i64,
) -> Result<usize, StoreError> {
    use diesel::sql_types::{BigInt, Timestamptz};
    // The condition as the index has it. Who wipes beside us takes others.
    const WIPE: &str = "
        with old as (
            select id, started_at from gateway_call
            where started_at < $1 and (request is not null or response is not null)
            order by started_at limit $2 for update skip locked
        )
        update gateway_call set request = null, response = null
        from old where gateway_call.id = old.id and gateway_call.started_at = old.started_at";
    let wiping = diesel::sql_query(WIPE).bind::<Timestamptz, _>(keep_from).bind::<BigInt, _>(limit);
    Ok(wiping.execute(conn).await?)
}

/// All calls of these payments that are kept, with the payment of each, from the first.
///
/// # Errors
/// [`StoreError::Db`].
pub async fn of_payments(
    conn: &mut AsyncPgConnection,
    payments: &[PaymentId],
) -> Result<Vec<(PaymentId, GatewayCall)>, StoreError> {
    let calls = gateway_call::table.filter(gateway_call::payment_id.eq_any(payments));
    let rows: Vec<(Option<PaymentId>, GatewayCall)> = calls
        .order((gateway_call::started_at, gateway_call::id))
        .select((gateway_call::payment_id, GatewayCall::as_select()))
        .load(conn)
        .await?;
    Ok(rows.into_iter().filter_map(|(of, call)| Some((of?, call))).collect())
}

/// As [`events::keep`](super::events::keep).
///
/// # Errors
/// [`StoreError::Db`].
pub async fn keep(
    conn: &mut AsyncPgConnection,
    now: DateTime<Utc>,
    keep_from: DateTime<Utc>,
) -> Result<(i32, i32), StoreError> {
    use diesel::sql_types::{Integer, Timestamptz};
    diesel::define_sql_function! { fn make_gateway_call_partitions(first: Timestamptz, months: Integer) -> Integer; }
    diesel::define_sql_function! { fn drop_gateway_call_partitions(before: Timestamptz) -> Integer; }
    conn.transaction(async |conn| {
        diesel::sql_query("set local lock_timeout = '3s'").execute(conn).await?;
        let months = super::events::MONTHS_AHEAD;
        let made = diesel::select(make_gateway_call_partitions(now, months)).get_result(conn).await?;
        let dropped = diesel::select(drop_gateway_call_partitions(keep_from)).get_result(conn).await?;
        Ok((made, dropped))
    })
    .await
}

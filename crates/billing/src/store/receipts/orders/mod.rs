//! Receipts that the cash register is asked for alone (`/kkt/receipt`): written ahead, as everything that leaves for the
//! gateway is. The register knows a repetition by its `X-Request-ID` for an hour; what has no response by then is a person's.

mod outcome;

use chrono::{DateTime, TimeDelta, Utc};
use diesel::prelude::*;
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl};
use secrecy::SecretString;

pub use self::outcome::apply_order;
use self::outcome::give_up;
use super::super::gateway_calls::{self, CallId};
use super::super::payments::load::{Locked, lock_known};
use super::super::{StoreError, circuits, restores};
use super::kept;
use crate::breaker::Circuit;
use crate::cipher::Cipher;
use crate::receipt::{OrderState, ReceiptKind, ReceiptWay};
use crate::resolve::{ResolvePolicy, Sent, Step};
use crate::schema::receipt;
use crate::{AccountId, Kopecks, PaymentId, ReceiptId, RefundId};

/// An order that is about to be written down.
pub(super) struct NewOrder {
    pub(super) payment_id: PaymentId,
    pub(super) refund_id: Option<RefundId>,
    pub(super) kind: ReceiptKind,
    pub(super) amount: Kopecks,
}

/// Everything the register must be told.
#[derive(Debug, Clone)]
pub struct RegisterOrder {
    pub receipt_id: ReceiptId,
    pub payment_id: PaymentId,
    pub kind: ReceiptKind,
    pub invoice_no: i64,
    pub account_id: AccountId,
    /// `CustomerReceipt`, with where it goes.
    pub content: SecretString,
    /// `X-Request-ID`: the same for every sending.
    pub request_id: String,
    pub first_sent_at: DateTime<Utc>,
    /// 1 for the first sending.
    pub resend_no: i32,
    /// The request that is about to leave.
    pub call: CallId,
}

/// Whether to send.
#[derive(Debug, Clone)]
pub enum BeginOrder {
    /// Committed as `sending`: send, once, and [`apply_order`] what comes of it.
    Send(Box<RegisterOrder>),
    /// Somebody else is at it, it is over, it waits, or its content is not written down yet.
    NotNow(OrderState),
    /// There is no such order.
    Unknown,
}

/// Where an order stands now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppliedOrder {
    pub payment_id: PaymentId,
    pub state: OrderState,
    /// It came to nothing: a person must look.
    pub needs_attention: bool,
}

/// An order that a worker is to turn to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Queryable)]
pub struct DueOrder {
    pub id: ReceiptId,
    /// Since when.
    pub due_at: DateTime<Utc>,
}

#[derive(Debug, Clone, Queryable, Selectable)]
#[diesel(table_name = receipt, check_for_backend(diesel::pg::Pg))]
struct OrderRow {
    id: ReceiptId,
    payment_id: PaymentId,
    kind: ReceiptKind,
    issued_at: Option<DateTime<Utc>>,
    state: Option<OrderState>,
    request_id: Option<String>,
    sends: i32,
    first_sent_at: Option<DateTime<Utc>>,
    last_sent_at: Option<DateTime<Utc>>,
    again_at: Option<DateTime<Utc>>,
}

/// Writes an order down.
pub(super) async fn order(
    conn: &mut AsyncPgConnection,
    new: &NewOrder,
    by: &str,
    now: DateTime<Utc>,
) -> Result<ReceiptId, StoreError> {
    let id = ReceiptId::new();
    let row = (
        receipt::id.eq(id),
        receipt::payment_id.eq(new.payment_id),
        receipt::refund_id.eq(new.refund_id),
        receipt::created_at.eq(now),
        receipt::way.eq(ReceiptWay::Order),
        receipt::kind.eq(new.kind),
        receipt::amount.eq(new.amount),
        receipt::due_at.eq(now),
        receipt::state.eq(OrderState::Requested),
        receipt::request_id.eq(format!("receipt:{id}")),
        receipt::requested_by.eq(by),
        receipt::again_at.eq(now),
        receipt::woken_at.eq(now),
    );
    diesel::insert_into(receipt::table).values(row).execute(conn).await?;
    Ok(id)
}

/// While a restore is not reconciled an order is looked at again after this.
const HELD_FOR: TimeDelta = TimeDelta::minutes(1);

/// Begins what is due: `requested` → `sending`, or the repetition of one without a response while the register is known to
/// remember the first. One that was sent before `sent_before` and has no response is in doubt.
///
/// # Errors
/// [`StoreError`].
pub async fn begin_order(
    conn: &mut AsyncPgConnection,
    id: ReceiptId,
    cipher: &Cipher,
    policy: &ResolvePolicy,
    sent_before: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Result<BeginOrder, StoreError> {
    conn.transaction(async |conn| {
        let Some((locked, row)) = lock_order(conn, id).await? else { return Ok(BeginOrder::Unknown) };
        let Some(state) = row.state else { return Ok(BeginOrder::Unknown) };
        let has_lost_its_sender = state == OrderState::Sending && row.last_sent_at.is_some_and(|at| at <= sent_before);
        let is_due = match state {
            OrderState::Requested | OrderState::Unknown => row.again_at.is_some_and(|at| at <= now),
            OrderState::Sending => has_lost_its_sender,
            OrderState::Queued | OrderState::Failed => false,
        };
        if !is_due || row.issued_at.is_some() {
            return Ok(BeginOrder::NotNow(state));
        }
        let rests = circuits::get(conn, Circuit::Gateway).await?.rests_until(now);
        let until = if restores::is_held(conn).await? { Some(now + HELD_FOR) } else { rests };
        if let Some(until) = until {
            diesel::update(receipt::table.find(id)).set(receipt::again_at.eq(until)).execute(conn).await?;
            return Ok(BeginOrder::NotNow(state));
        }
        if state != OrderState::Requested
            && let Some(state) = wait_or_give_up(conn, &locked, &row, policy, now).await?
        {
            return Ok(BeginOrder::NotNow(state));
        }
        let Some(content) = kept(conn, id, cipher).await? else { return Ok(BeginOrder::NotNow(state)) };
        send(conn, &locked, row, content, now).await.map(|order| BeginOrder::Send(Box::new(order)))
    })
    .await
}

/// What is done about an order in doubt before it may be repeated, or instead; `None`: it may be repeated now.
async fn wait_or_give_up(
    conn: &mut AsyncPgConnection,
    locked: &Locked,
    row: &OrderRow,
    policy: &ResolvePolicy,
    now: DateTime<Utc>,
) -> Result<Option<OrderState>, StoreError> {
    let (Some(first_at), Some(last_at)) = (row.first_sent_at, row.last_sent_at) else { return Ok(None) };
    if now - first_at >= policy.resend_until {
        give_up(conn, locked, row.id, "the register has said nothing of it", now).await?;
        return Ok(Some(OrderState::Failed));
    }
    if policy.step(&Sent { first_at, last_at, absent_at: None }, now) == Step::LookThenResend {
        return Ok(None);
    }
    let again_at = policy.next_look(first_at, now);
    diesel::update(receipt::table.find(row.id))
        .set((receipt::state.eq(OrderState::Unknown), receipt::again_at.eq(again_at)))
        .execute(conn)
        .await?;
    Ok(Some(OrderState::Unknown))
}

async fn send(
    conn: &mut AsyncPgConnection,
    locked: &Locked,
    row: OrderRow,
    content: SecretString,
    now: DateTime<Utc>,
) -> Result<RegisterOrder, StoreError> {
    let first_sent_at = row.first_sent_at.unwrap_or(now);
    let resend_no = row.sends.saturating_add(1);
    diesel::update(receipt::table.find(row.id))
        .set((
            receipt::state.eq(OrderState::Sending),
            receipt::sends.eq(resend_no),
            receipt::first_sent_at.eq(first_sent_at),
            receipt::last_sent_at.eq(now),
        ))
        .execute(conn)
        .await?;
    let request_id = row.request_id.unwrap_or_default();
    let call = gateway_calls::begin(conn, row.payment_id, "/kkt/receipt", Some(&request_id), now).await?;
    Ok(RegisterOrder {
        receipt_id: row.id,
        payment_id: row.payment_id,
        kind: row.kind,
        invoice_no: locked.payment.invoice_no,
        account_id: locked.account.id,
        content,
        request_id,
        first_sent_at,
        resend_no,
        call,
    })
}

/// An order with all that it belongs to, locked in the order of the house.
async fn lock_order(conn: &mut AsyncPgConnection, id: ReceiptId) -> Result<Option<(Locked, OrderRow)>, StoreError> {
    let found: Option<PaymentId> = receipt::table.find(id).select(receipt::payment_id).first(conn).await.optional()?;
    let Some(payment_id) = found else { return Ok(None) };
    let locked = lock_known(conn, payment_id).await?;
    let row = receipt::table.find(id).select(OrderRow::as_select()).first(conn).await?;
    Ok(Some((locked, row)))
}

/// At most `limit` orders that are due and that no worker was told of since `woken_before`.
///
/// # Errors
/// [`StoreError::Db`].
pub async fn due_orders(
    conn: &mut AsyncPgConnection,
    woken_before: DateTime<Utc>,
    now: DateTime<Utc>,
    limit: i64,
) -> Result<Vec<DueOrder>, StoreError> {
    let unfinished =
        diesel::dsl::sql::<diesel::sql_types::Bool>("receipt.state in ('requested', 'sending', 'unknown')");
    let due = receipt::table.filter(unfinished).filter(receipt::again_at.le(now));
    Ok(due
        .filter(receipt::woken_at.le(woken_before))
        .order(receipt::again_at)
        .limit(limit)
        .select((receipt::id, receipt::woken_at.assume_not_null()))
        .load(conn)
        .await?)
}

/// A worker was told of these.
///
/// # Errors
/// [`StoreError::Db`].
pub async fn orders_told(
    conn: &mut AsyncPgConnection,
    ids: &[ReceiptId],
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    if !ids.is_empty() {
        let told = receipt::table.filter(receipt::id.eq_any(ids)).filter(receipt::state.is_not_null());
        diesel::update(told).set(receipt::woken_at.eq(now)).execute(conn).await?;
    }
    Ok(())
}

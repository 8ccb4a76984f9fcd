//! What becomes of an order to the cash register.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl};

use super::super::super::gateway_calls::{self, Ended};
use super::super::super::payments::load::Locked;
use super::super::super::{StoreError, events};
use super::{AppliedOrder, HELD_FOR, OrderRow, lock_order};
use crate::ReceiptId;
use crate::event::{EventKind, NewEvent};
use crate::receipt::{OrderOutcome, OrderState, ReceiptWay};
use crate::schema::receipt;

/// Writes down what became of an order, and ends the call whose response said so.
///
/// # Errors
/// [`StoreError`].
pub async fn apply_order(
    conn: &mut AsyncPgConnection,
    id: ReceiptId,
    outcome: OrderOutcome,
    answered: &Ended,
    now: DateTime<Utc>,
) -> Result<Option<AppliedOrder>, StoreError> {
    conn.transaction(async |conn| {
        let found = lock_order(conn, id).await?;
        gateway_calls::end(conn, answered, now).await?;
        let Some((locked, row)) = found else { return Ok(None) };
        let payment_id = row.payment_id;
        // Its notification was faster, or its sender was given up.
        if row.state != Some(OrderState::Sending) {
            let state = row.state.unwrap_or(OrderState::Queued);
            return Ok(Some(AppliedOrder { payment_id, state, needs_attention: false }));
        }
        let state = outcome.leads_to(row.sends);
        match (state, outcome) {
            (OrderState::Queued, OrderOutcome::Queued { document }) => queue(conn, &row, document, now).await?,
            (OrderState::Failed, OrderOutcome::Rejected { why }) => give_up(conn, &locked, id, &why, now).await?,
            (_, OrderOutcome::NotSent { why, again_at } | OrderOutcome::Unknown { why, again_at }) => {
                wait(conn, id, state, &why, again_at).await?;
            }
            (_, OrderOutcome::Rejected { why }) => wait(conn, id, state, &why, now + HELD_FOR).await?,
            (_, OrderOutcome::Queued { .. }) => {}
        }
        Ok(Some(AppliedOrder { payment_id, state, needs_attention: state == OrderState::Failed }))
    })
    .await
}

async fn wait(
    conn: &mut AsyncPgConnection,
    id: ReceiptId,
    state: OrderState,
    why: &str,
    again_at: DateTime<Utc>,
) -> Result<(), StoreError> {
    diesel::update(receipt::table.find(id))
        .set((receipt::state.eq(state), receipt::info.eq(crate::refund::clip(why)), receipt::again_at.eq(again_at)))
        .execute(conn)
        .await?;
    Ok(())
}

/// Its notification may have come before the response, and have been taken for another's: then it is this one's.
async fn queue(
    conn: &mut AsyncPgConnection,
    row: &OrderRow,
    document: String,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    let document: String = document.chars().take(MAX_DOCUMENT).collect();
    let another = receipt::table.filter(receipt::document.eq(&document).and(receipt::id.ne(row.id)));
    let another: Option<(ReceiptId, ReceiptWay, Option<DateTime<Utc>>)> =
        another.select((receipt::id, receipt::way, receipt::issued_at)).first(conn).await.optional()?;
    let issued_at = match another {
        Some((id, ReceiptWay::Told, at)) => {
            diesel::delete(receipt::table.find(id)).execute(conn).await?;
            at
        }
        Some((id, _, at)) => {
            diesel::update(receipt::table.find(id))
                .set((receipt::document.eq(None::<String>), receipt::issued_at.eq(None::<DateTime<Utc>>)))
                .execute(conn)
                .await?;
            at
        }
        None => None,
    };
    diesel::update(receipt::table.find(row.id))
        .set((
            receipt::state.eq(OrderState::Queued),
            receipt::sealed.eq(None::<String>),
            receipt::document.eq(document),
            receipt::issued_at.eq(issued_at),
            receipt::again_at.eq(now),
        ))
        .execute(conn)
        .await?;
    Ok(())
}

const MAX_DOCUMENT: usize = 100;

pub(super) async fn give_up(
    conn: &mut AsyncPgConnection,
    locked: &Locked,
    id: ReceiptId,
    why: &str,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    diesel::update(receipt::table.find(id))
        .set((
            receipt::state.eq(OrderState::Failed),
            receipt::sealed.eq(None::<String>),
            receipt::info.eq(crate::refund::clip(why)),
            receipt::told_at.eq(now),
        ))
        .execute(conn)
        .await?;
    let event = NewEvent::of_account(EventKind::NeedsAttention, locked.account.id).bill(locked.bill.id);
    let event = event.payment(locked.payment.id).with("receipt_id", id.to_string());
    events::append(conn, vec![event.with("what", "a receipt that was ordered came to nothing")], now).await
}

//! After the response: the refund and all that depends on it move together.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl};

use super::super::gateway_calls::{self, Ended};
use super::super::payments::load::Locked;
use super::super::{StoreError, events};
use super::given_back::{self, NewMoney};
use super::send::lock_refund;
use crate::RefundId;
use crate::event::{EventKind, NewEvent};
use crate::models::{NewRefund, RefundChange, RefundRow};
use crate::refund::{AccessEffect, RefundOutcome, RefundSource, RefundState};
use crate::schema::refund;

/// Where a refund stands now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppliedRefund {
    pub refund: RefundRow,
    /// Whether this call moved it.
    pub moved: bool,
    /// It came to nothing, and not because somebody took it back: a person must look.
    pub needs_attention: bool,
}

/// Writes down what became of a refund, in one transaction with its payment, bill and account, and ends the call whose
/// response said so. News that change nothing are no error.
///
/// # Errors
/// [`StoreError`].
pub async fn apply(
    conn: &mut AsyncPgConnection,
    id: RefundId,
    outcome: RefundOutcome,
    answered: Option<&Ended>,
    now: DateTime<Utc>,
) -> Result<AppliedRefund, StoreError> {
    conn.transaction(async |conn| {
        let (mut locked, row) = lock_refund(conn, id).await?;
        if let Some(ended) = answered {
            gateway_calls::end(conn, ended, now).await?;
        }
        settle(conn, &mut locked, row, outcome, now).await
    })
    .await
}

/// [`apply`], within a transaction that holds the locks.
pub(super) async fn settle(
    conn: &mut AsyncPgConnection,
    locked: &mut Locked,
    row: RefundRow,
    outcome: RefundOutcome,
    now: DateTime<Utc>,
) -> Result<AppliedRefund, StoreError> {
    let (outcome, new_money) = match outcome {
        RefundOutcome::Done { gateway_tx_id: Some(number) } => number_of(conn, locked, &row, number, now).await?,
        outcome => (outcome, NewMoney::Yes),
    };
    let was_withdrawn = matches!(outcome, RefundOutcome::Withdrawn { .. });
    let before = row.machine();
    let after =
        before.clone().apply(outcome, now).map_err(|source| StoreError::IllegalRefund { id: row.id, source })?;
    if after == before {
        return Ok(AppliedRefund { refund: row, moved: false, needs_attention: false });
    }
    let saved: RefundRow = diesel::update(refund::table.find(row.id).filter(refund::state.eq(row.state)))
        .set(RefundChange::new(&after, now))
        .returning(RefundRow::as_returning())
        .get_result(conn)
        .await?;
    let mut story = Vec::new();
    if row.state != saved.state {
        story.push(given_back::moved(locked, &saved, Some(row.state)));
    }
    let needs_attention = !was_withdrawn && row.state != saved.state && saved.state == RefundState::Failed;
    if needs_attention {
        story.push(attention(locked, &saved));
    }
    events::append(conn, story, now).await?;
    if row.state != RefundState::Succeeded && saved.state == RefundState::Succeeded {
        given_back::write_down(conn, locked, &saved, new_money, now).await?;
    }
    Ok(AppliedRefund { refund: saved, moved: true, needs_attention })
}

fn attention(locked: &Locked, row: &RefundRow) -> NewEvent {
    let about = given_back::about(locked, EventKind::NeedsAttention).with("refund_id", row.id.to_string());
    about.with("what", "a refund did not go as it was ordered")
}

/// The number that the gateway gives may stand on another row already.
async fn number_of(
    conn: &mut AsyncPgConnection,
    locked: &mut Locked,
    row: &RefundRow,
    number: i64,
    now: DateTime<Utc>,
) -> Result<(RefundOutcome, NewMoney), StoreError> {
    let done = |gateway_tx_id| RefundOutcome::Done { gateway_tx_id };
    let other = refund::table.filter(refund::gateway_tx_id.eq(number).and(refund::id.ne(row.id)));
    let other: Option<RefundRow> = other.select(RefundRow::as_select()).first(conn).await.optional()?;
    match other {
        Some(other) if other.source == RefundSource::External && other.payment_id == row.payment_id => {
            take_over(conn, locked, row, other, now).await?;
            Ok((done(Some(number)), NewMoney::Counted))
        }
        // That of another order. It is back, under a number that we do not know.
        Some(_) => {
            events::append(conn, vec![attention(locked, row)], now).await?;
            Ok((done(None), NewMoney::Yes))
        }
        None => {
            if row.state == RefundState::Succeeded && row.gateway_tx_id.is_some_and(|known| known != number) {
                record_second(conn, locked, row, number, now).await?;
            }
            Ok((done(Some(number)), NewMoney::Yes))
        }
    }
}

/// The same movement was recognised before as another's, by a message that did not say that it is ours. It is one movement:
/// ours takes its number, and the other row says so.
async fn take_over(
    conn: &mut AsyncPgConnection,
    locked: &Locked,
    row: &RefundRow,
    other: RefundRow,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    let why = format!("it is refund {}", row.id);
    diesel::update(refund::table.find(other.id))
        .set((
            refund::state.eq(RefundState::Failed),
            refund::gateway_tx_id.eq(None::<i64>),
            refund::info.eq(why),
            refund::updated_at.eq(now),
        ))
        .execute(conn)
        .await?;
    let merged = RefundRow { state: RefundState::Failed, ..other };
    events::append(conn, vec![given_back::moved(locked, &merged, Some(RefundState::Succeeded))], now).await
}

/// The gateway gave the money back twice for one order. The second movement is a row of its own; hearing of it again adds
/// nothing.
async fn record_second(
    conn: &mut AsyncPgConnection,
    locked: &mut Locked,
    row: &RefundRow,
    number: i64,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    let money = (row.amount, row.currency);
    let second = NewRefund::external(row.payment_id, money, Some(number), AccessEffect::Keep, now);
    let written: Option<RefundRow> = diesel::insert_into(refund::table)
        .values(second)
        .on_conflict_do_nothing()
        .returning(RefundRow::as_returning())
        .get_result(conn)
        .await
        .optional()?;
    if let Some(second) = written {
        events::append(conn, vec![given_back::moved(locked, &second, None), attention(locked, &second)], now).await?;
        given_back::write_down(conn, locked, &second, NewMoney::Yes, now).await?;
    }
    Ok(())
}

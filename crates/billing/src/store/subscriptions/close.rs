//! A person asks to be forgotten: the account is closed. What is financial stays; the personal traces of it are wiped later
//! ([`closing`](crate::store::closing)).

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl};

use super::super::accounts::save;
use super::super::payments::load::save_payment;
use super::super::{StoreError, cards, events};
use super::live_payment;
use super::request::{Request, VerbError, Written, is_new_key, lock, written};
use crate::account::{Account, AccountEvent};
use crate::bill::{BillEvent, BillStatus};
use crate::event::{EventKind, NewEvent};
use crate::models::{AccountRow, BillRow};
use crate::payment::Outcome;
use crate::schema::bill;

/// Closes the account, under its lock, unless this key did it before: nothing is charged any more, the card is forgotten,
/// and what was not sent yet is withdrawn. Access goes on until the end of what is paid, or ends at once. An attempt that
/// was sent ends as the gateway says, and what money it brings is to be given back.
///
/// One that is closed already changes only where its access is now to end at once.
///
/// # Errors
/// [`VerbError`].
pub async fn close(
    conn: &mut AsyncPgConnection,
    request: &Request,
    access_ends_at_once: bool,
) -> Result<Written, VerbError> {
    conn.transaction(async |conn| {
        let row = lock(conn, request.account_id).await?;
        let digest = [u8::from(access_ends_at_once)];
        let first = is_new_key(conn, request, "close_account", Some(&digest)).await?;
        if first {
            let event = AccountEvent::Closed { access_ends_at_once };
            let after = row.machine().apply(event, request.now).map_err(StoreError::from)?;
            end(conn, &row, &after, request.now).await?;
        }
        written(conn, request, !first).await
    })
    .await
}

async fn end(
    conn: &mut AsyncPgConnection,
    row: &AccountRow,
    after: &Account,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    let before = row.machine();
    if *after == before {
        return Ok(());
    }
    let mut story = Vec::new();
    if before.closed_at.is_none() {
        story.extend(drop_open_bills(conn, row, now).await?);
        story.push(NewEvent::of_account(EventKind::AccountClosed, row.id));
    }
    // First: the database knows that a closed account has none.
    cards::forget(conn, row.id, now).await?;
    save(conn, after, now).await?;
    if before.has_token {
        story.push(NewEvent::of_account(EventKind::CardForgotten, row.id));
    }
    if before.status != after.status {
        let states = (Some(before.status.as_str()), after.status.as_str());
        story.push(NewEvent::of_account(EventKind::AccountMoved, row.id).states(states.0, states.1));
        story.push(NewEvent::of_account(EventKind::AccessEnded, row.id));
    } else if after.cancel_at_period_end && !before.cancel_at_period_end {
        let ends = NewEvent::of_account(EventKind::AccessEnds, row.id);
        story.push(match after.expires_on() {
            Some(day) => ends.with("expires_on", day.to_string()),
            None => ends,
        });
    }
    events::append(conn, story, now).await
}

/// Nothing is owed any more, for whatever it was.
async fn drop_open_bills(
    conn: &mut AsyncPgConnection,
    row: &AccountRow,
    now: DateTime<Utc>,
) -> Result<Vec<NewEvent>, StoreError> {
    let open: Vec<BillRow> = bill::table
        .filter(bill::account_id.eq(row.id))
        .filter(bill::status.eq_any([BillStatus::NotPaid, BillStatus::InWork]))
        .order(bill::id)
        .select(BillRow::as_select())
        .load(conn)
        .await?;
    let mut story = Vec::new();
    for bill in open {
        story.extend(drop_open_bill(conn, row, &bill, now).await?);
    }
    Ok(story)
}

/// An attempt that we alone can stop is withdrawn with its secrets; should its bank's page have been answered past us, the
/// gateway is asked about that for a while. Any other ends as the gateway says.
async fn drop_open_bill(
    conn: &mut AsyncPgConnection,
    row: &AccountRow,
    open: &BillRow,
    now: DateTime<Utc>,
) -> Result<Vec<NewEvent>, StoreError> {
    let mut story = Vec::new();
    let mut owed = open.machine();
    if let Some(live) = live_payment(conn, open).await? {
        if !live.state.makes_way() {
            return Ok(story);
        }
        let why = "the account was closed".to_owned();
        let withdrawn = live
            .machine(open)
            .apply(Outcome::Withdrawn { why }, now)
            .map_err(|source| StoreError::Illegal { id: live.id, source })?;
        save_payment(conn, &live, &withdrawn, now).await?;
        owed = owed.apply(BillEvent::AttemptFailed, now)?;
        let moved = NewEvent::of_account(EventKind::PaymentMoved, row.id).bill(open.id).payment(live.id);
        story.push(moved.states(Some(live.state.as_str()), withdrawn.state.as_str()));
    }
    // Some are void by the end of their attempt.
    let void = if owed.status == BillStatus::NotPaid { owed.apply(BillEvent::Voided, now)? } else { owed };
    diesel::update(bill::table.find(open.id))
        .set((
            bill::status.eq(void.status),
            bill::updated_at.eq(now),
            bill::card_cryptogram_packet.eq(None::<String>),
            bill::pa_res.eq(None::<String>),
        ))
        .execute(conn)
        .await?;
    let moved = NewEvent::of_account(EventKind::BillMoved, row.id).bill(open.id);
    story.push(moved.states(Some(open.status.as_str()), void.status.as_str()));
    Ok(story)
}

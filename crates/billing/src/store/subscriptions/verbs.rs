//! Cancel, resume, forget the card.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl};

use super::super::accounts::save;
use super::super::payments::load::save_payment;
use super::super::{StoreError, cards, events};
use super::request::{Request, VerbError, Written, is_first, lock, written};
use super::{live_payment, open_bill};
use crate::account::{Account, AccountEvent, AccountStatus};
use crate::bill::{BillEvent, BillKind};
use crate::event::{EventKind, NewEvent};
use crate::models::{AccountRow, BillRow};
use crate::payment::{Instrument, Outcome, PaymentState};
use crate::schema::bill;
use crate::{AccountId, BillId};

/// What a subscriber may ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// No further period is charged. A renewal that was not sent yet is withdrawn; a refused one is not tried again.
    Cancel,
    /// Takes a cancellation back while paid time is left.
    Resume,
    /// Wipes the card. A renewal that was not sent yet is not sent; one that was ends by its own answer, and what that
    /// brings of the card is not kept.
    ForgetCard,
}

impl Verb {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Cancel => "cancel",
            Self::Resume => "resume",
            Self::ForgetCard => "forget_card",
        }
    }
}

/// Does what the subscriber asks for, under the account's lock, unless this key did it before. What is so already changes
/// nothing.
///
/// # Errors
/// [`VerbError`].
pub async fn perform(conn: &mut AsyncPgConnection, request: &Request, verb: Verb) -> Result<Written, VerbError> {
    conn.transaction(async |conn| {
        let row = lock(conn, request.account_id).await?;
        let first = is_first(conn, &row, request, verb.as_str(), None).await?;
        if first {
            match verb {
                Verb::Cancel => cancel(conn, &row, request.now).await?,
                Verb::Resume => resume(conn, &row, request.now).await?,
                Verb::ForgetCard => forget_card(conn, &row, request.now).await?,
            }
        }
        written(conn, request, !first).await
    })
    .await
}

async fn cancel(conn: &mut AsyncPgConnection, row: &AccountRow, now: DateTime<Utc>) -> Result<(), VerbError> {
    let account = row.machine();
    match account.status {
        AccountStatus::Inactive => return Err(VerbError::NoSubscription),
        AccountStatus::Canceled => return Ok(()),
        _ if account.cancel_at_period_end => return Ok(()),
        AccountStatus::Active | AccountStatus::Overdue => {}
    }
    let mut story = withdraw_renewal(conn, row, Withdraw::Bill, now).await?;
    let after = account.apply(AccountEvent::CancelRequested, now).map_err(StoreError::from)?;
    save(conn, &after, now).await?;
    let ends = NewEvent::of_account(EventKind::AccessEnds, row.id);
    story.push(NewEvent::of_account(EventKind::CancelRequested, row.id));
    story.push(match after.expires_on() {
        Some(day) => ends.with("expires_on", day.to_string()),
        None => ends,
    });
    Ok(events::append(conn, story, now).await?)
}

async fn resume(conn: &mut AsyncPgConnection, row: &AccountRow, now: DateTime<Utc>) -> Result<(), VerbError> {
    let account = row.machine();
    match account.status {
        AccountStatus::Inactive => return Err(VerbError::NoSubscription),
        AccountStatus::Canceled => return Err(VerbError::Ended),
        _ if !account.cancel_at_period_end => return Ok(()),
        _ if account.paid_until.is_none_or(|end| end <= now) => return Err(VerbError::Ended),
        _ if !account.can_be_charged() => return Err(VerbError::NoCard),
        AccountStatus::Active | AccountStatus::Overdue => {}
    }
    let after = account.apply(AccountEvent::Resumed, now).map_err(StoreError::from)?;
    save(conn, &after, now).await?;
    let mut granted = NewEvent::of_account(EventKind::AccessGranted, row.id);
    if let Some(tariff) = after.tariff_id {
        granted = granted.with("tariff_id", tariff.to_string());
    }
    if let Some(day) = after.expires_on() {
        granted = granted.with("expires_on", day.to_string());
    }
    let story = vec![NewEvent::of_account(EventKind::Resumed, row.id), granted];
    Ok(events::append(conn, story, now).await?)
}

async fn forget_card(conn: &mut AsyncPgConnection, row: &AccountRow, now: DateTime<Utc>) -> Result<(), VerbError> {
    let account = row.machine();
    let mut story = withdraw_renewal(conn, row, Withdraw::Payment, now).await?;
    let after = account.clone().apply(AccountEvent::CardForgotten, now).map_err(StoreError::from)?;
    // What was withdrawn is due still: the timetable finds that there is no card.
    let next_charge_at = after.next_charge_at.or((!story.is_empty()).then_some(now));
    save(conn, &Account { next_charge_at, ..after }, now).await?;
    cards::forget(conn, row.id, now).await?;
    if account.has_token {
        story.push(NewEvent::of_account(EventKind::CardForgotten, row.id));
    }
    Ok(events::append(conn, story, now).await?)
}

/// What is taken back of a renewal.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Withdraw {
    /// The charge: the bill can still be paid with another card.
    Payment,
    /// The bill too: nothing more is owed.
    Bill,
}

/// Takes back a charge by the kept card that was not sent yet. What was sent ends by its own answer.
pub(super) async fn withdraw_renewal(
    conn: &mut AsyncPgConnection,
    row: &AccountRow,
    what: Withdraw,
    now: DateTime<Utc>,
) -> Result<Vec<NewEvent>, StoreError> {
    let mut story = Vec::new();
    let Some(open) = open_bill(conn, row.id).await? else { return Ok(story) };
    let mut bill = open.machine();
    if let Some(live) = live_payment(conn, &open).await? {
        if live.state != PaymentState::Created || live.instrument != Instrument::Token {
            return Ok(story);
        }
        let why = "the customer wants it not to be charged".to_owned();
        let withdrawn = live
            .machine(&open)
            .apply(Outcome::Withdrawn { why }, now)
            .map_err(|source| StoreError::Illegal { id: live.id, source })?;
        save_payment(conn, &live, &withdrawn, now).await?;
        bill = bill.apply(BillEvent::AttemptFailed, now)?;
        story.push(
            NewEvent::of_account(EventKind::PaymentMoved, row.id)
                .bill(open.id)
                .payment(live.id)
                .states(Some(live.state.as_str()), withdrawn.state.as_str()),
        );
    }
    if what == Withdraw::Bill && open.kind == BillKind::Renewal {
        bill = bill.apply(BillEvent::Voided, now)?;
    }
    if bill.status != open.status {
        save_bill(conn, open.id, bill.status, now).await?;
        story.push(moved(row.id, &open, bill.status));
    }
    Ok(story)
}

async fn save_bill(
    conn: &mut AsyncPgConnection,
    id: BillId,
    status: crate::bill::BillStatus,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    diesel::update(bill::table.find(id)).set((bill::status.eq(status), bill::updated_at.eq(now))).execute(conn).await?;
    Ok(())
}

fn moved(account_id: AccountId, open: &BillRow, to: crate::bill::BillStatus) -> NewEvent {
    NewEvent::of_account(EventKind::BillMoved, account_id).bill(open.id).states(Some(open.status.as_str()), to.as_str())
}

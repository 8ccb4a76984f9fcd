//! Cancel, resume, forget the card.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl};

use super::super::payments::load::save_payment;
use super::super::prepared::Prepare;
use super::super::{StoreError, events};
use super::{Subscription, live_payment, of, open_bill};
use crate::account::{Account, AccountEvent, AccountStatus};
use crate::bill::{BillEvent, BillKind};
use crate::event::{EventKind, NewEvent};
use crate::models::{AccountChange, AccountRow, BillRow};
use crate::payment::{Instrument, Outcome, PaymentState};
use crate::schema::{account, api_request, bill};
use crate::{AccountId, BillId};

/// Who asks, for whom, and under which key.
#[derive(Debug, Clone)]
pub struct Request {
    pub account_id: AccountId,
    /// The client's name: each has keys of its own.
    pub client: String,
    /// The same key with the same content is done once, however often it is asked for.
    pub idempotency_key: String,
    pub now: DateTime<Utc>,
}

/// The subscription behind the verb.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    pub subscription: Subscription,
    /// An earlier call with the same key did it.
    pub replayed: bool,
}

/// Why nothing was done. Nothing was written.
#[derive(Debug, thiserror::Error)]
pub enum VerbError {
    #[error("there is no account {0}")]
    UnknownAccount(AccountId),
    /// The key was used for another verb or another account.
    #[error("the idempotency key was used with other content")]
    IdempotencyConflict,
    /// Nothing was ever paid.
    #[error("the account has never had a subscription")]
    NoSubscription,
    /// What was paid is over: there is nothing to go on with.
    #[error("the subscription has ended")]
    Ended,
    /// There is no card that a renewal could be charged to.
    #[error("no card is kept that could be charged")]
    NoCard,
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<diesel::result::Error> for VerbError {
    fn from(error: diesel::result::Error) -> Self {
        Self::Store(error.into())
    }
}

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
        let replayed = !is_first(conn, request, verb).await?;
        if !replayed {
            match verb {
                Verb::Cancel => cancel(conn, &row, request.now).await?,
                Verb::Resume => resume(conn, &row, request.now).await?,
                Verb::ForgetCard => forget_card(conn, &row, request.now).await?,
            }
        }
        let row = lock(conn, request.account_id).await?;
        Ok(Written { subscription: of(conn, row).await?, replayed })
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
    let next_charge_at = if story.is_empty() { after.next_charge_at } else { Some(now) };
    save(conn, &Account { next_charge_at, ..after }, now).await?;
    diesel::update(account::table.find(row.id))
        .set((
            account::payment_token.eq(None::<String>),
            account::card.eq(None::<serde_json::Value>),
            account::card_since.eq(now),
        ))
        .execute(conn)
        .await?;
    if account.has_token {
        story.push(NewEvent::of_account(EventKind::CardForgotten, row.id));
    }
    Ok(events::append(conn, story, now).await?)
}

async fn lock(conn: &mut AsyncPgConnection, id: AccountId) -> Result<AccountRow, VerbError> {
    account::table
        .find(id)
        .select(AccountRow::as_select())
        .for_no_key_update()
        .first(conn)
        .await
        .optional()?
        .ok_or(VerbError::UnknownAccount(id))
}

/// Whether this key is new. The same key under another lock waits for the other's end.
async fn is_first(conn: &mut AsyncPgConnection, request: &Request, verb: Verb) -> Result<bool, VerbError> {
    let inserted = diesel::insert_into(api_request::table)
        .values((
            api_request::client.eq(&request.client),
            api_request::idempotency_key.eq(&request.idempotency_key),
            api_request::verb.eq(verb.as_str()),
            api_request::account_id.eq(request.account_id),
            api_request::created_at.eq(request.now),
        ))
        .on_conflict_do_nothing()
        .prepared()
        .execute(conn)
        .await?;
    if inserted > 0 {
        return Ok(true);
    }
    let (before, account_id): (String, AccountId) = api_request::table
        .find((&request.client, &request.idempotency_key))
        .select((api_request::verb, api_request::account_id))
        .first(conn)
        .await?;
    if before == verb.as_str() && account_id == request.account_id {
        Ok(false)
    } else {
        Err(VerbError::IdempotencyConflict)
    }
}

async fn save(conn: &mut AsyncPgConnection, next: &Account, now: DateTime<Utc>) -> Result<(), StoreError> {
    let saving = diesel::update(account::table.find(next.id)).set(AccountChange::new(next, now));
    saving.prepared().execute(conn).await?;
    Ok(())
}

/// What is taken back of a renewal.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Withdraw {
    /// The charge: the bill can still be paid with another card.
    Payment,
    /// The bill too: nothing more is owed.
    Bill,
}

/// Takes back a charge by the kept card that was not sent yet. What was sent ends by its own answer.
async fn withdraw_renewal(
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
        let why = "the customer wants no further charge".to_owned();
        let withdrawn = live
            .machine(true)
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

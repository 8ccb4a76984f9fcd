//! What the staff do to a subscription: shown first, then done exactly so, once.
//!
//! The preview is made by doing it and taking it back, so it cannot say anything else than what happens. What it began from
//! is in its digest: if that has changed by the time it is confirmed, nothing is done and the new preview is shown.

use chrono::{DateTime, Days, Utc};
use diesel::prelude::*;
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::{By, Entry, StoreError, audit};
use crate::account::{Account, AccountStatus};
use crate::event::Event;
use crate::macros::text_enum;
use crate::payment::PaymentState;
use crate::schema::{payment, staff_action};
use crate::staff::StaffId;
use crate::store::renewals::{self, NoRetry};
use crate::store::subscriptions::{self, Request, Subscription, Verb, VerbError};
use crate::store::{accounts, events};
use crate::{AccountId, PaymentId, TariffId};

/// The most days by which access is extended at a time.
pub const MAX_DAYS: u16 = 366;
/// The longest reason, in characters.
pub const MAX_REASON: usize = 500;

text_enum! {
    /// What may be done to a subscription.
    pub enum ActionKind {
        /// No further period is charged.
        Cancel = "cancel",
        /// The cancellation is taken back.
        Resume = "resume",
        /// The card is wiped.
        ForgetCard = "forget_card",
        /// The paid time ends later.
        Extend = "extend",
        /// The gateway is asked about the payment in doubt now, not when it is due.
        AskGateway = "ask_gateway",
        /// Another tariff is charged from the next period on.
        ChangeTariff = "change_tariff",
        /// A renewal that was refused is charged now, not when its next try is planned.
        RetryNow = "retry_now",
    }
}

/// What is to be done, and to whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Action {
    pub kind: ActionKind,
    pub account_id: AccountId,
    /// By how many days, 1 to [`MAX_DAYS`], for [`ActionKind::Extend`].
    pub days: u16,
    /// To which tariff, for [`ActionKind::ChangeTariff`].
    pub tariff_id: Option<TariffId>,
}

/// What an action would do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Preview {
    pub before: Subscription,
    pub after: Subscription,
    /// What would be written to the log of events, and so be told to others.
    pub events: Vec<Event>,
    /// Of what it began from.
    pub digest: String,
}

/// Who does what, as they saw it.
#[derive(Debug, Clone)]
pub struct Order {
    /// Of the form: the same form does it once.
    pub id: Uuid,
    pub action: Action,
    /// Of the preview that was confirmed.
    pub digest: String,
    pub reason: String,
    pub staff_id: StaffId,
    pub by: By,
}

/// What came of an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Done {
    Now,
    /// This form did it before.
    Before,
    /// Rows have changed since the preview; nothing was done.
    Changed(Box<Preview>),
}

/// Why an action is not possible.
#[derive(Debug, thiserror::Error)]
pub enum ActionError {
    #[error(transparent)]
    Verb(#[from] VerbError),
    /// Nothing was paid that could be extended.
    #[error("nothing is paid that could be extended")]
    NothingPaid,
    /// By no days, or by too many.
    #[error("from 1 to {MAX_DAYS} days")]
    Days,
    /// No tariff was chosen.
    #[error("a tariff is to be chosen")]
    NoTariff,
    /// No payment is in doubt, or it is asked about already.
    #[error("no payment of the account waits to be asked about")]
    NothingToAsk,
    /// The renewal is not charged now.
    #[error(transparent)]
    NoRetry(#[from] NoRetry),
    /// It would change nothing.
    #[error("it is so already")]
    AlreadySo,
    /// The id of the form was used for another action.
    #[error("the form was used for another action")]
    FormReused,
}

impl From<StoreError> for ActionError {
    fn from(error: StoreError) -> Self {
        Self::Verb(error.into())
    }
}

impl From<diesel::result::Error> for ActionError {
    fn from(error: diesel::result::Error) -> Self {
        Self::Verb(error.into())
    }
}

/// Ends a transaction whose work is only looked at.
enum TakenBack {
    Shown(Box<Preview>),
    Failed(ActionError),
}

impl From<diesel::result::Error> for TakenBack {
    fn from(error: diesel::result::Error) -> Self {
        Self::Failed(error.into())
    }
}

/// Shows what an action would do. Changes nothing.
///
/// # Errors
/// [`ActionError`].
pub async fn preview(
    conn: &mut AsyncPgConnection,
    action: &Action,
    now: DateTime<Utc>,
) -> Result<Preview, ActionError> {
    let tried = conn
        .transaction::<(), TakenBack, _>(async |conn| {
            Err(match attempt(conn, action, Uuid::now_v7(), now).await {
                Ok(preview) => TakenBack::Shown(Box::new(preview)),
                Err(error) => TakenBack::Failed(error),
            })
        })
        .await;
    match tried {
        Err(TakenBack::Shown(preview)) => Ok(*preview),
        Err(TakenBack::Failed(error)) => Err(error),
        Ok(()) => unreachable!("it is always taken back"),
    }
}

/// Ends a transaction in which it turned out that something else would be done than was shown.
enum Stopped {
    Changed(Box<Preview>),
    Failed(ActionError),
}

impl From<diesel::result::Error> for Stopped {
    fn from(error: diesel::result::Error) -> Self {
        Self::Failed(error.into())
    }
}

impl From<ActionError> for Stopped {
    fn from(error: ActionError) -> Self {
        Self::Failed(error)
    }
}

/// Does it, if that is what was shown: once for each form, with a line in the audit log.
///
/// # Errors
/// [`ActionError`].
pub async fn act(conn: &mut AsyncPgConnection, order: &Order, now: DateTime<Utc>) -> Result<Done, ActionError> {
    let done = conn.transaction::<Done, Stopped, _>(async |conn| carry_out(conn, order, now).await).await;
    match done {
        Ok(done) => Ok(done),
        Err(Stopped::Changed(preview)) => Ok(Done::Changed(preview)),
        Err(Stopped::Failed(error)) => Err(error),
    }
}

async fn carry_out(conn: &mut AsyncPgConnection, order: &Order, now: DateTime<Utc>) -> Result<Done, Stopped> {
    if !is_first(conn, order, now).await? {
        return Ok(Done::Before);
    }
    let preview = attempt(conn, &order.action, order.id, now).await?;
    if preview.digest != order.digest {
        return Err(Stopped::Changed(Box::new(preview)));
    }
    let (kind, account) = (order.action.kind.as_str(), order.action.account_id.to_string());
    let entry = Entry::new(kind).target("account", &account).reason(&order.reason);
    let entry = entry.before(facts(&preview.before)).after(facts(&preview.after));
    audit(conn, &order.by, &entry, now).await.map_err(ActionError::from)?;
    Ok(Done::Now)
}

/// Whether no form of this id has acted; one that is acting is waited for.
async fn is_first(conn: &mut AsyncPgConnection, order: &Order, now: DateTime<Utc>) -> Result<bool, ActionError> {
    let (kind, account) = (order.action.kind, order.action.account_id);
    let inserted = diesel::insert_into(staff_action::table)
        .values((
            staff_action::id.eq(order.id),
            staff_action::at.eq(now),
            staff_action::staff_id.eq(order.staff_id),
            staff_action::kind.eq(kind),
            staff_action::account_id.eq(account),
            staff_action::digest.eq(&order.digest),
            staff_action::reason.eq(&order.reason),
        ))
        .on_conflict_do_nothing()
        .execute(conn)
        .await?;
    if inserted > 0 {
        return Ok(true);
    }
    let of = staff_action::table.find(order.id);
    let of = of.select((staff_action::staff_id, staff_action::kind, staff_action::account_id));
    let before: (StaffId, ActionKind, AccountId) = of.first(conn).await?;
    if before == (order.staff_id, kind, account) { Ok(false) } else { Err(ActionError::FormReused) }
}

/// Does it, and tells what it did.
async fn attempt(
    conn: &mut AsyncPgConnection,
    action: &Action,
    id: Uuid,
    now: DateTime<Utc>,
) -> Result<Preview, ActionError> {
    let account_id = action.account_id;
    accounts::lock(conn, account_id).await?.ok_or(VerbError::UnknownAccount(account_id))?;
    let before = read(conn, account_id).await?;
    let last = events::story_of_account(conn, account_id, None, 1).await?;
    let last = last.iter().map(|event| event.id).max().unwrap_or_default();
    let verb = match action.kind {
        ActionKind::Cancel => Some(Verb::Cancel),
        ActionKind::Resume => Some(Verb::Resume),
        ActionKind::ForgetCard => Some(Verb::ForgetCard),
        ActionKind::Extend | ActionKind::AskGateway | ActionKind::ChangeTariff | ActionKind::RetryNow => None,
    };
    let request = Request { account_id, client: "admin panel".to_owned(), idempotency_key: id.to_string(), now };
    match action.kind {
        ActionKind::Extend => extend(conn, &before.account, action.days).await?,
        ActionKind::AskGateway => ask_gateway(conn, &before, now).await?,
        ActionKind::RetryNow => {
            renewals::retry_now(conn, account_id, now).await??;
        }
        ActionKind::ChangeTariff => {
            let tariff_id = action.tariff_id.ok_or(ActionError::NoTariff)?;
            subscriptions::change_tariff(conn, &request, tariff_id).await?;
        }
        ActionKind::Cancel | ActionKind::Resume | ActionKind::ForgetCard => {}
    }
    if let Some(verb) = verb {
        subscriptions::perform(conn, &request, verb).await?;
    }
    let after = read(conn, account_id).await?;
    if after == before {
        return Err(ActionError::AlreadySo);
    }
    let story = events::story_of_account(conn, account_id, None, 50).await?;
    let events = story.into_iter().take_while(|event| event.id > last).collect::<Vec<_>>().into_iter().rev().collect();
    let digest = digest(action, &before);
    Ok(Preview { before, after, events, digest })
}

async fn read(conn: &mut AsyncPgConnection, id: AccountId) -> Result<Subscription, ActionError> {
    Ok(subscriptions::get(conn, id).await?.ok_or(VerbError::UnknownAccount(id))?)
}

async fn extend(conn: &mut AsyncPgConnection, account: &Account, days: u16) -> Result<(), ActionError> {
    if !(1..=MAX_DAYS).contains(&days) {
        return Err(ActionError::Days);
    }
    let is_running = matches!(account.status, AccountStatus::Active | AccountStatus::Overdue);
    let ends = account.expires_on().filter(|_| is_running && account.closed_at.is_none());
    let to = ends.and_then(|day| day.checked_add_days(Days::new(days.into()))).ok_or(ActionError::NothingPaid)?;
    if accounts::move_expiration(conn, account.id, to).await.map_err(StoreError::from)? {
        Ok(())
    } else {
        Err(ActionError::NothingPaid)
    }
}

/// The timetable finds that it is due.
async fn ask_gateway(
    conn: &mut AsyncPgConnection,
    before: &Subscription,
    now: DateTime<Utc>,
) -> Result<(), ActionError> {
    let live = before.open.as_ref().and_then(|open| open.payment.as_ref());
    let id: PaymentId = live.map(|(view, _)| view.id).ok_or(ActionError::NothingToAsk)?;
    let waits = payment::table.find(id).filter(payment::state.eq(PaymentState::Unknown));
    let waits = waits.filter(payment::look_again_at.gt(now));
    let asked = diesel::update(waits).set(payment::look_again_at.eq(now)).execute(conn).await?;
    if asked > 0 { Ok(()) } else { Err(ActionError::NothingToAsk) }
}

/// All that the action depends on.
fn digest(action: &Action, before: &Subscription) -> String {
    let digest = Sha256::digest(format!("{action:?} {before:?}").as_bytes());
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What the audit log keeps of a subscription.
fn facts(subscription: &Subscription) -> Value {
    let Subscription { account, .. } = subscription;
    let next = subscription.pending.as_ref().or(subscription.tariff.as_ref());
    json!({
        "status": account.status.as_str(),
        "renews": account.renews(),
        "has_card": account.has_token,
        "next_tariff": next.map(|tariff| &tariff.name),
        "paid_until": account.paid_until,
        "access_until": account.access_until,
        "next_charge_at": account.next_charge_at,
    })
}

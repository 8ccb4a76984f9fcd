//! Going through the rows.

use chrono::{DateTime, TimeDelta, Utc};
use diesel::prelude::*;
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl};
use serde_json::json;
use uuid::Uuid;

use super::super::{Action, ActionError, ActionKind, Done, Entry, Order, act, audit, preview};
use super::{Bulk, BulkItem, BulkKind, BulkState, ItemState, Refusal, StoreError};
use crate::refund::AccessEffect;
use crate::schema::{bulk, bulk_item};
use crate::store::accounts;
use crate::store::refunds::{self, Ask, RefundError};
use crate::store::subscriptions::VerbError;
use crate::{AccountId, RefundId};

/// What one step came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BulkStep {
    /// A row has its end. `refund`: money to be sent back; send [`RefundPayment`](crate::tasks::RefundPayment) for it.
    Went { state: ItemState, refund: Option<RefundId> },
    /// Every row has its end.
    Over,
    /// Somebody has paused or stopped it.
    Halted,
}

/// Takes an action that is to be gone through and that nobody is at, until `lease` from now; `None`: there is none.
///
/// # Errors
/// [`StoreError::Db`].
pub async fn take_bulk(
    conn: &mut AsyncPgConnection,
    lease: TimeDelta,
    now: DateTime<Utc>,
) -> Result<Option<Bulk>, StoreError> {
    let free = bulk::lease_until.is_null().or(bulk::lease_until.le(now));
    let waiting = bulk::table.filter(bulk::state.eq(BulkState::Running)).filter(free).order(bulk::created_at);
    conn.transaction(async |conn| {
        let found: Option<Uuid> =
            waiting.select(bulk::id).limit(1).for_update().skip_locked().first(conn).await.optional()?;
        let Some(id) = found else { return Ok(None) };
        let taking = diesel::update(bulk::table.find(id)).set(bulk::lease_until.eq(now + lease));
        Ok(Some(taking.returning(Bulk::as_returning()).get_result(conn).await?))
    })
    .await
}

/// Why a row has not its end yet, or what it came to.
enum Failed {
    Refused(Refusal),
    /// Another worker has done it, or the action was halted meanwhile.
    Overtaken,
    Store(StoreError),
}

impl From<diesel::result::Error> for Failed {
    fn from(error: diesel::result::Error) -> Self {
        Self::Store(error.into())
    }
}

impl From<StoreError> for Failed {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// Does the next row of an action, in a transaction with what is written down of it. Whoever is at it holds it until `lease`
/// from now.
///
/// # Errors
/// [`StoreError`] that a later try may not have; then nothing was done to the row.
pub async fn bulk_step(
    conn: &mut AsyncPgConnection,
    of: &Bulk,
    lease: TimeDelta,
    now: DateTime<Utc>,
) -> Result<BulkStep, StoreError> {
    let next = bulk_item::table.filter(bulk_item::bulk_id.eq(of.id)).filter(bulk_item::state.eq(ItemState::Waiting));
    let next = next.order(bulk_item::no).select(BulkItem::as_select()).first(conn).await.optional()?;
    let Some(item): Option<BulkItem> = next else { return finish(conn, of.id, now).await };
    let done = conn
        .transaction::<Option<RefundId>, Failed, _>(async |conn| {
            // The account first, as everywhere.
            accounts::lock(conn, item.account_id).await?;
            still_runs(conn, of.id).await?;
            let refund_id = match of.kind {
                BulkKind::Extend => extend(conn, of, &item, now).await.map(|()| None)?,
                BulkKind::Refund => Some(give_back(conn, of, &item, now).await?),
            };
            let ended =
                (bulk_item::state.eq(ItemState::Done), bulk_item::refund_id.eq(refund_id), bulk_item::ended_at.eq(now));
            let waits = bulk_item::table.find((of.id, item.no)).filter(bulk_item::state.eq(ItemState::Waiting));
            if diesel::update(waits).set(ended).execute(conn).await? == 0 {
                return Err(Failed::Overtaken);
            }
            Ok(refund_id)
        })
        .await;
    let holds = bulk::table.find(of.id).filter(bulk::state.eq(BulkState::Running));
    let refusal = match done {
        Ok(refund) => {
            diesel::update(holds).set(bulk::lease_until.eq(now + lease)).execute(conn).await?;
            return Ok(BulkStep::Went { state: ItemState::Done, refund });
        }
        Err(Failed::Overtaken) => {
            let runs: bool = diesel::select(diesel::dsl::exists(holds)).get_result(conn).await?;
            return Ok(if runs {
                BulkStep::Went { state: ItemState::Waiting, refund: None }
            } else {
                BulkStep::Halted
            });
        }
        Err(Failed::Store(error)) if error.is_transient() => return Err(error),
        Err(Failed::Store(error)) => {
            tracing::error!(bulk = %of.id, row = item.no, account = %item.account_id, %error, "a row contradicts itself: a person must look");
            Refusal::Defect
        }
        Err(Failed::Refused(refusal)) => refusal,
    };
    let ended =
        (bulk_item::state.eq(ItemState::Refused), bulk_item::why.eq(Some(refusal)), bulk_item::ended_at.eq(now));
    let waits = bulk_item::table.find((of.id, item.no)).filter(bulk_item::state.eq(ItemState::Waiting));
    diesel::update(waits).set(ended).execute(conn).await?;
    diesel::update(holds).set(bulk::lease_until.eq(now + lease)).execute(conn).await?;
    Ok(BulkStep::Went { state: ItemState::Refused, refund: None })
}

/// Whoever pauses or stops it waits for the row that is being done, and no other is begun.
async fn still_runs(conn: &mut AsyncPgConnection, id: Uuid) -> Result<(), Failed> {
    let state: BulkState = bulk::table.find(id).select(bulk::state).for_share().first(conn).await?;
    if state == BulkState::Running { Ok(()) } else { Err(Failed::Overtaken) }
}

async fn finish(conn: &mut AsyncPgConnection, id: Uuid, now: DateTime<Utc>) -> Result<BulkStep, StoreError> {
    let running = bulk::table.find(id).filter(bulk::state.eq(BulkState::Running));
    let ended = diesel::update(running)
        .set((bulk::state.eq(BulkState::Done), bulk::ended_at.eq(now), bulk::lease_until.eq(None::<DateTime<Utc>>)))
        .execute(conn)
        .await?;
    if ended == 0 {
        let state: BulkState = bulk::table.find(id).select(bulk::state).first(conn).await?;
        return Ok(if state == BulkState::Done { BulkStep::Over } else { BulkStep::Halted });
    }
    Ok(BulkStep::Over)
}

fn reason(of: &Bulk) -> String {
    of.reason.clone().unwrap_or_default()
}

/// The id under which a row is done: always the same.
fn item_id(bulk: Uuid, no: i32) -> Uuid {
    Uuid::new_v5(&bulk, &no.to_be_bytes())
}

async fn extend(conn: &mut AsyncPgConnection, of: &Bulk, item: &BulkItem, now: DateTime<Utc>) -> Result<(), Failed> {
    let account_id: AccountId = item.account_id;
    let days = of.days.and_then(|days| u16::try_from(days).ok()).unwrap_or_default();
    let action = Action { kind: ActionKind::Extend, account_id, days, tariff_id: None };
    let digest = preview(conn, &action, now).await.map_err(not_extended)?.digest;
    let order = Order {
        id: item_id(of.id, item.no),
        action,
        digest,
        reason: reason(of),
        staff_id: of.staff_id,
        by: of.maker(),
    };
    match act(conn, &order, now).await.map_err(not_extended)? {
        Done::Now | Done::Before => Ok(()),
        // The account is locked since before it was looked at.
        Done::Changed(_) => Err(Failed::Overtaken),
    }
}

fn not_extended(error: ActionError) -> Failed {
    match error {
        ActionError::Verb(VerbError::Store(error)) => Failed::Store(error),
        ActionError::Verb(VerbError::Closed) => Failed::Refused(Refusal::Closed),
        _ => Failed::Refused(Refusal::NothingPaid),
    }
}

async fn give_back(
    conn: &mut AsyncPgConnection,
    of: &Bulk,
    item: &BulkItem,
    now: DateTime<Utc>,
) -> Result<RefundId, Failed> {
    let payment_id = item.payment_id.ok_or(Failed::Refused(Refusal::NotTaken))?;
    let ask = Ask {
        payment_id,
        amount: item.amount,
        effect: Some(of.effect.unwrap_or(AccessEffect::Keep)),
        reason: reason(of),
        who: of.made_by.clone(),
        role: of.made_role.clone(),
        client: "bulk".to_owned(),
        idempotency_key: item_id(of.id, item.no).to_string(),
        now,
    };
    let asked = refunds::request(conn, &ask).await.map_err(not_given_back)?;
    if asked.refund.waits_for_approval() {
        let (who, role) = of.approved_by.as_deref().zip(of.approved_role.as_deref()).unwrap_or_default();
        refunds::approve(conn, asked.refund.id, who, role, now).await.map_err(not_given_back)?;
    }
    if !asked.replayed {
        let (payment, refund) = (payment_id.to_string(), &asked.refund);
        let after = json!({
            "refund": refund.id.to_string(),
            "amount": refund.amount.get(),
            "currency": refund.currency.as_str(),
            "access": refund.effect.as_str(),
            "bulk": of.id.to_string(),
        });
        let entry = Entry::new("refund").target("payment", &payment).reason(&ask.reason).after(after);
        audit(conn, &of.maker(), &entry, now).await?;
    }
    Ok(asked.refund.id)
}

fn not_given_back(error: RefundError) -> Failed {
    Failed::Refused(match error {
        RefundError::Store(error) => return Failed::Store(error),
        RefundError::TooOld(_) => Refusal::TooOld,
        RefundError::AlreadyBeingReturned { .. } | RefundError::Unfinished { .. } => Refusal::Unfinished,
        RefundError::MoreThanLeft { .. } | RefundError::PartOfAHold => Refusal::LessLeft,
        RefundError::ChargedBack(_) => Refusal::ChargedBack,
        RefundError::RoleMayNot(_) | RefundError::ApprovesLess { .. } | RefundError::SamePerson => Refusal::OverLimit,
        _ => Refusal::NotTaken,
    })
}

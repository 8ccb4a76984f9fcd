//! What people say to an action: asked for, agreed to, paused, stopped.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl};
use serde_json::json;
use uuid::Uuid;

use super::super::{By, Entry, MAX_REASON, StoreError, audit};
use super::{Bulk, BulkError, BulkState, ItemState};
use crate::schema::{bulk, bulk_item};

/// Whoever prepared it asks a second person to let it begin.
///
/// # Errors
/// [`BulkError`].
pub async fn ask_bulk(
    conn: &mut AsyncPgConnection,
    id: Uuid,
    reason: &str,
    by: &By,
    now: DateTime<Utc>,
) -> Result<Bulk, BulkError> {
    if !(3..=MAX_REASON).contains(&reason.trim().chars().count()) {
        return Err(BulkError::Reason);
    }
    conn.transaction(async |conn| {
        let row = locked(conn, id).await?;
        if Some(row.staff_id) != by.staff_id {
            return Err(BulkError::AnothersDraft);
        }
        match row.state {
            BulkState::Draft => {}
            BulkState::Waiting => return Ok(row),
            state => return Err(BulkError::Is(state)),
        }
        let asked = (bulk::state.eq(BulkState::Waiting), bulk::asked_at.eq(now), bulk::reason.eq(reason.trim()));
        let row: Bulk =
            diesel::update(bulk::table.find(id)).set(asked).returning(Bulk::as_returning()).get_result(conn).await?;
        log(conn, "bulk_asked", &row, BulkState::Draft, by, now).await?;
        Ok(row)
    })
    .await
}

/// What may be said to an action that was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BulkWord {
    /// The second person lets it begin. After this send [`RunBulks`](crate::tasks::RunBulks).
    Approve,
    Pause,
    /// Let it go on. After this send [`RunBulks`](crate::tasks::RunBulks).
    Resume,
    /// What is not done yet is left.
    Stop,
    /// It is taken back before it begins.
    Withdraw,
}

impl BulkWord {
    const fn name(self) -> &'static str {
        match self {
            Self::Approve => "bulk_approved",
            Self::Pause => "bulk_paused",
            Self::Resume => "bulk_resumed",
            Self::Stop => "bulk_stopped",
            Self::Withdraw => "bulk_withdrawn",
        }
    }

    /// From which states, and to which. Said again it is as it is.
    const fn moves(self) -> (&'static [BulkState], BulkState) {
        match self {
            Self::Approve => (&[BulkState::Waiting], BulkState::Running),
            Self::Pause => (&[BulkState::Running], BulkState::Paused),
            Self::Resume => (&[BulkState::Paused], BulkState::Running),
            Self::Stop => (&[BulkState::Running, BulkState::Paused], BulkState::Stopped),
            Self::Withdraw => (&[BulkState::Draft, BulkState::Waiting], BulkState::Withdrawn),
        }
    }
}

/// Says it, with a line in the audit log. No row is done any more once this has returned for [`BulkWord::Pause`] or
/// [`BulkWord::Stop`].
///
/// # Errors
/// [`BulkError`].
pub async fn tell_bulk(
    conn: &mut AsyncPgConnection,
    id: Uuid,
    word: BulkWord,
    by: &By,
    now: DateTime<Utc>,
) -> Result<Bulk, BulkError> {
    conn.transaction(async |conn| {
        let row = locked(conn, id).await?;
        let (from, to) = word.moves();
        if row.state == to {
            return Ok(row);
        }
        let is_late = word == BulkWord::Approve && row.has_expired(now);
        if !from.contains(&row.state) || is_late {
            return Err(BulkError::Is(if is_late { BulkState::Withdrawn } else { row.state }));
        }
        if word == BulkWord::Approve && row.made_by == by.name {
            return Err(BulkError::SamePerson);
        }
        let before = row.state;
        let moving = (bulk::state.eq(to), bulk::lease_until.eq(None::<DateTime<Utc>>));
        let approving = (
            bulk::approved_by.eq(Some(&by.name)),
            bulk::approved_role.eq(Some(&by.role)),
            bulk::approved_at.eq(Some(now)),
        );
        let changing = diesel::update(bulk::table.find(id));
        let mut row: Bulk = if word == BulkWord::Approve {
            changing.set((moving, approving)).returning(Bulk::as_returning()).get_result(conn).await?
        } else {
            changing.set(moving).returning(Bulk::as_returning()).get_result(conn).await?
        };
        if matches!(to, BulkState::Stopped | BulkState::Withdrawn) {
            let rest =
                bulk_item::table.filter(bulk_item::bulk_id.eq(id)).filter(bulk_item::state.eq(ItemState::Waiting));
            diesel::update(rest)
                .set((bulk_item::state.eq(ItemState::Left), bulk_item::ended_at.eq(now)))
                .execute(conn)
                .await?;
            row = diesel::update(bulk::table.find(id))
                .set(bulk::ended_at.eq(now))
                .returning(Bulk::as_returning())
                .get_result(conn)
                .await?;
        }
        log(conn, word.name(), &row, before, by, now).await?;
        Ok(row)
    })
    .await
}

async fn locked(conn: &mut AsyncPgConnection, id: Uuid) -> Result<Bulk, BulkError> {
    let row = bulk::table.find(id).select(Bulk::as_select()).for_update().first(conn).await.optional()?;
    row.ok_or(BulkError::Unknown(id))
}

async fn log(
    conn: &mut AsyncPgConnection,
    action: &str,
    row: &Bulk,
    before: BulkState,
    by: &By,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    let after = json!({
        "state": row.state.as_str(),
        "kind": row.kind.as_str(),
        "days": row.days,
        "rows": row.items,
        "total": row.total.get(),
        "conditions": row.conditions,
    });
    let target = row.id.to_string();
    let entry = Entry::new(action).target("bulk", &target).before(json!({ "state": before.as_str() })).after(after);
    let entry = match &row.reason {
        Some(reason) => entry.reason(reason),
        None => entry,
    };
    audit(conn, by, &entry, now).await
}

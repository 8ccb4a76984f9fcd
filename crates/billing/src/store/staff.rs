//! The staff: who they are, their sessions, and what they did.

mod actions;
mod again;
mod audit;
mod bulk;
mod closing;
mod differences;
mod factor;
mod identities;
mod invitations;
mod refunds;
mod sessions;
mod settings;
mod sign_in;
mod views;

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl};

pub use self::actions::{Action, ActionError, ActionKind, Done, MAX_DAYS, MAX_REASON, Order, Preview, act, preview};
pub use self::again::{
    Errand, ErrandDone, ErrandKind, SeenNotification, notification_again, receipts_again, see_missing, see_notification,
};
pub use self::audit::{AuditEntry, AuditFilter, By, Entry, audit, audit_entries, audited_about};
pub use self::bulk::{
    BULK_AGREED_WITHIN, Bulk, BulkAsk, BulkError, BulkItem, BulkKind, BulkState, BulkStep, BulkWord, ItemState,
    MAX_BULK_DAYS, MAX_ITEMS, Progress, Refusal, ask_bulk, bulk_by_id, bulk_items, bulk_progress, bulk_step, bulks,
    bulks_waiting, freeze_bulk, take_bulk, tell_bulk,
};
pub use self::closing::{
    AGREED_WITHIN, AskClosing, Closing, ClosingDone, ClosingError, ClosingPreview, ClosingRules, ClosingState,
    approve_closing, ask_closing, closing, closings_of, closings_waiting, preview_closing, withdraw_closing,
};
pub use self::differences::decide_difference;
pub use self::factor::{
    Code, Factor, RECOVERY_CODES, confirm_factor, factor, offer_factor, offered_factor, remove_factor,
    renew_recovery_codes, use_code,
};
pub use self::identities::{
    BACK_WITHIN, Identity, IdentityError, accept_invitation_with, allow_password, identify, identity_owner, use_state,
};
pub use self::invitations::{INVITED_FOR, accept_invitation, invite, invite_again, invited};
pub use self::refunds::{RefundAsked, RefundPreview, approve_refund, ask_refund, preview_refund, withdraw_refund};
pub use self::sessions::{
    ByProvider, IDLE, LONGEST, Session, SessionKey, Visit, begin, begin_by_provider, end, end_all, prove, renew,
    sessions, visit,
};
pub use self::settings::{
    Setting, SettingChange, SettingDone, SettingError, SettingKind, SettingOrder, SettingPreview, preview_setting, set,
    setting_change_of, setting_changes,
};
pub use self::sign_in::{Failure, MAX_FAILURES, failed, succeeded, waits_until};
pub use self::views::{MAX_VIEW_NAME, MAX_VIEW_QUERY, MAX_VIEWS, SavedView, forget_view, save_view, saved_views};
use super::StoreError;
use crate::schema::{staff, staff_invitation};
use crate::staff::{Role, StaffId};

/// A person of the staff.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable)]
#[diesel(table_name = staff, check_for_backend(diesel::pg::Pg))]
pub struct Staff {
    pub id: StaffId,
    pub created_at: DateTime<Utc>,
    pub name: String,
    pub role: Role,
    /// Somebody else has set the password: its owner must choose another.
    pub is_one_time: bool,
    pub disabled_at: Option<DateTime<Utc>>,
    /// `en` or `ru`; `None`: as the browser asks for.
    pub language: Option<String>,
    /// They come in with a password even where everybody has to come by the company's provider.
    pub password_always: bool,
}

/// Why nothing was done.
#[derive(Debug, thiserror::Error)]
pub enum StaffError {
    #[error("there is somebody of the name {0}")]
    Known(String),
    #[error("there is nobody of the name {0}")]
    Unknown(String),
    /// Nobody could let anybody in again.
    #[error("{0} is the last administrator")]
    LastAdministrator(String),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<diesel::result::Error> for StaffError {
    fn from(error: diesel::result::Error) -> Self {
        Self::Store(error.into())
    }
}

/// Lets somebody in. `hash` is that of a one-time password.
///
/// # Errors
/// [`StaffError::Known`], [`StaffError::Store`].
pub async fn add(
    conn: &mut AsyncPgConnection,
    name: &str,
    role: Role,
    hash: &str,
    by: &By,
    now: DateTime<Utc>,
) -> Result<Staff, StaffError> {
    conn.transaction(async |conn| {
        let added = diesel::insert_into(staff::table)
            .values((
                staff::id.eq(StaffId::new()),
                staff::created_at.eq(now),
                staff::updated_at.eq(now),
                staff::name.eq(name),
                staff::role.eq(role),
                staff::password.eq(hash),
                staff::is_one_time.eq(true),
            ))
            .on_conflict(staff::name)
            .do_nothing()
            .returning(Staff::as_returning())
            .get_result(conn)
            .await
            .optional()?;
        let added = added.ok_or_else(|| StaffError::Known(name.to_owned()))?;
        let after = serde_json::json!({ "role": role.as_str() });
        audit(conn, by, &Entry::new("staff_added").target("staff", &added.name).after(after), now).await?;
        Ok(added)
    })
    .await
}

/// Gives somebody a one-time password, lets them in again if they were not, and ends their sessions. Their second factor is
/// forgotten, and so are an invitation, the account at the provider that they came with, and that a password is enough.
///
/// # Errors
/// [`StaffError::Unknown`], [`StaffError::Store`].
pub async fn reset(
    conn: &mut AsyncPgConnection,
    name: &str,
    hash: &str,
    by: &By,
    now: DateTime<Utc>,
) -> Result<(), StaffError> {
    conn.transaction(async |conn| {
        let found = locked(conn, name).await?;
        diesel::update(staff::table.find(found.id))
            .set((
                staff::password.eq(hash),
                staff::is_one_time.eq(true),
                staff::disabled_at.eq(None::<DateTime<Utc>>),
                staff::password_always.eq(false),
                staff::updated_at.eq(now),
            ))
            .execute(conn)
            .await?;
        end_all(conn, found.id, None).await?;
        factor::forget_factor(conn, found.id).await?;
        identities::forget_identities(conn, found.id).await?;
        diesel::delete(staff_invitation::table.find(found.id)).execute(conn).await?;
        audit(conn, by, &Entry::new("staff_password_reset").target("staff", name), now).await?;
        Ok(())
    })
    .await
}

/// Lets somebody in no more, at once.
///
/// # Errors
/// [`StaffError`].
pub async fn disable(conn: &mut AsyncPgConnection, name: &str, by: &By, now: DateTime<Utc>) -> Result<(), StaffError> {
    conn.transaction(async |conn| {
        let administrators = are_administrators(conn).await?;
        let found = locked(conn, name).await?;
        if administrators == [found.id] {
            return Err(StaffError::LastAdministrator(name.to_owned()));
        }
        let disabled = (staff::disabled_at.eq(now), staff::updated_at.eq(now));
        diesel::update(staff::table.find(found.id)).set(disabled).execute(conn).await?;
        end_all(conn, found.id, None).await?;
        audit(conn, by, &Entry::new("staff_disabled").target("staff", name), now).await?;
        Ok(())
    })
    .await
}

/// Gives somebody another role. Their sessions end: what is open in them is of the old one.
///
/// # Errors
/// [`StaffError`].
pub async fn change_role(
    conn: &mut AsyncPgConnection,
    name: &str,
    role: Role,
    by: &By,
    now: DateTime<Utc>,
) -> Result<(), StaffError> {
    conn.transaction(async |conn| {
        let administrators = are_administrators(conn).await?;
        let found = locked(conn, name).await?;
        if administrators == [found.id] && role != Role::Administrator {
            return Err(StaffError::LastAdministrator(name.to_owned()));
        }
        let given = (staff::role.eq(role), staff::updated_at.eq(now));
        diesel::update(staff::table.find(found.id)).set(given).execute(conn).await?;
        end_all(conn, found.id, None).await?;
        let (before, after) = (found.role.as_str(), role.as_str());
        let entry = Entry::new("staff_role").target("staff", name);
        let entry = entry.before(serde_json::json!({ "role": before })).after(serde_json::json!({ "role": after }));
        audit(conn, by, &entry, now).await?;
        Ok(())
    })
    .await
}

/// All administrators, locked in one order: two cannot put each other out at the same time.
async fn are_administrators(conn: &mut AsyncPgConnection) -> Result<Vec<StaffId>, StaffError> {
    Ok(staff::table
        .filter(staff::role.eq(Role::Administrator).and(staff::disabled_at.is_null()))
        .order(staff::id)
        .select(staff::id)
        .for_update()
        .load(conn)
        .await?)
}

async fn locked(conn: &mut AsyncPgConnection, name: &str) -> Result<Staff, StaffError> {
    let row = staff::table.filter(staff::name.eq(name)).select(Staff::as_select()).for_update();
    row.first(conn).await.optional()?.ok_or_else(|| StaffError::Unknown(name.to_owned()))
}

/// Somebody of this name, with the hash of their password.
///
/// # Errors
/// [`StoreError::Db`].
pub async fn by_name(conn: &mut AsyncPgConnection, name: &str) -> Result<Option<(Staff, String)>, StoreError> {
    let found = staff::table.filter(staff::name.eq(name)).select((Staff::as_select(), staff::password));
    Ok(found.first(conn).await.optional()?)
}

/// All of them, by name.
///
/// # Errors
/// [`StoreError::Db`].
pub async fn all(conn: &mut AsyncPgConnection) -> Result<Vec<Staff>, StoreError> {
    Ok(staff::table.order(staff::name).select(Staff::as_select()).load(conn).await?)
}

/// Somebody has chosen a password. Their other sessions end.
///
/// # Errors
/// [`StoreError::Db`].
pub async fn choose_password(
    conn: &mut AsyncPgConnection,
    id: StaffId,
    hash: &str,
    session: &SessionKey,
    by: &By,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    conn.transaction(async |conn| {
        let chosen = (staff::password.eq(hash), staff::is_one_time.eq(false), staff::updated_at.eq(now));
        diesel::update(staff::table.find(id)).set(chosen).execute(conn).await?;
        end_all(conn, id, Some(session)).await?;
        audit(conn, by, &Entry::new("password_chosen"), now).await
    })
    .await
}

/// In which language somebody wants the pages.
///
/// # Errors
/// [`StoreError::Db`].
pub async fn choose_language(conn: &mut AsyncPgConnection, id: StaffId, language: &str) -> Result<(), StoreError> {
    diesel::update(staff::table.find(id)).set(staff::language.eq(language)).execute(conn).await?;
    Ok(())
}

//! What the staff set: prices, trials, what refusals mean, limits. Shown first, then done exactly so, once; and taken back
//! by another change, which is written down like the first.
//!
//! The preview is made by doing it and taking it back. What was set before is in its digest: if that is another by the time
//! it is confirmed, nothing is done and the new preview is shown.

mod change;

use chrono::{DateTime, TimeDelta, Utc};
use diesel::prelude::*;
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl};
use serde_json::Value;
use sha2::{Digest, Sha256};
use uuid::Uuid;

pub use self::change::{Setting, SettingKind};
use super::{By, Entry, StoreError, audit};
use crate::schema::setting_change;
use crate::staff::StaffId;
use crate::store::declines;
use crate::store::tariffs::{SetPriceError, SetTrialError};

/// What a change would do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingPreview {
    pub setting: Setting,
    pub before: Value,
    pub after: Value,
    /// Of what it began from, and of what is to be set.
    pub digest: String,
}

/// Who sets what, as they saw it.
#[derive(Debug, Clone)]
pub struct SettingOrder {
    /// Of the form: the same form does it once.
    pub id: Uuid,
    pub setting: Setting,
    /// The change that this one takes back.
    pub takes_back: Option<Uuid>,
    /// Of the preview that was confirmed.
    pub digest: String,
    /// 3 to 500 characters.
    pub reason: String,
    pub staff_id: StaffId,
    pub by: By,
    /// Subscribers are told of a price so long before.
    pub notice: TimeDelta,
}

/// What came of an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SettingDone {
    Now,
    /// This form did it before.
    Before,
    /// Something else was set since the preview; nothing was done.
    Changed(Box<SettingPreview>),
}

/// Why nothing is set.
#[derive(Debug, thiserror::Error)]
pub enum SettingError {
    #[error(transparent)]
    Price(#[from] SetPriceError),
    #[error(transparent)]
    Trial(#[from] SetTrialError),
    #[error(transparent)]
    Decline(#[from] declines::ChangeError),
    /// There is nothing of this name.
    #[error("there is no {kind} of {subject}")]
    Unknown { kind: SettingKind, subject: String },
    /// The price is in force, or there is none.
    #[error("no such price is still to come")]
    NotToCome,
    #[error("money is held for 0 to {max} days", max = crate::store::tariffs::MAX_CONFIRM_AFTER)]
    HoldDays,
    #[error("a limit is 0 to {max} minor units", max = crate::Kopecks::MAX.get())]
    Limit,
    #[error("it is so already")]
    AlreadySo,
    /// It was taken back, or something else was set since.
    #[error("something else was set since: take that back first")]
    ChangedSince,
    /// The id of the form was used for another change.
    #[error("the form was used for another change")]
    FormReused,
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<diesel::result::Error> for SettingError {
    fn from(error: diesel::result::Error) -> Self {
        Self::Store(error.into())
    }
}

/// Ends a transaction whose work is not to stay.
enum Stopped {
    Shown(Box<SettingPreview>),
    Failed(SettingError),
}

impl From<diesel::result::Error> for Stopped {
    fn from(error: diesel::result::Error) -> Self {
        Self::Failed(error.into())
    }
}

impl From<SettingError> for Stopped {
    fn from(error: SettingError) -> Self {
        Self::Failed(error)
    }
}

impl From<StoreError> for Stopped {
    fn from(error: StoreError) -> Self {
        Self::Failed(error.into())
    }
}

/// Shows what a change would do. Changes nothing.
///
/// # Errors
/// [`SettingError`].
pub async fn preview_setting(
    conn: &mut AsyncPgConnection,
    setting: &Setting,
    notice: TimeDelta,
    now: DateTime<Utc>,
) -> Result<SettingPreview, SettingError> {
    let tried = conn
        .transaction::<(), Stopped, _>(async |conn| {
            Err(Stopped::Shown(Box::new(attempt(conn, setting, ("a preview", "a preview"), notice, now).await?)))
        })
        .await;
    match tried {
        Err(Stopped::Shown(preview)) => Ok(*preview),
        Err(Stopped::Failed(error)) => Err(error),
        Ok(()) => unreachable!("it is always taken back"),
    }
}

/// Does it, if that is what was shown: once for each form, with a line in the audit log.
///
/// # Errors
/// [`SettingError`].
pub async fn set(
    conn: &mut AsyncPgConnection,
    order: &SettingOrder,
    now: DateTime<Utc>,
) -> Result<SettingDone, SettingError> {
    let done = conn.transaction::<SettingDone, Stopped, _>(async |conn| carry_out(conn, order, now).await).await;
    match done {
        Ok(done) => Ok(done),
        Err(Stopped::Shown(preview)) => Ok(SettingDone::Changed(preview)),
        Err(Stopped::Failed(error)) => Err(error),
    }
}

async fn carry_out(
    conn: &mut AsyncPgConnection,
    order: &SettingOrder,
    now: DateTime<Utc>,
) -> Result<SettingDone, Stopped> {
    if let Some(before) = of_form(conn, order.id).await? {
        return if before == order.digest { Ok(SettingDone::Before) } else { Err(SettingError::FormReused.into()) };
    }
    if let Some(id) = order.takes_back {
        check_stands(conn, id).await?;
    }
    let preview = attempt(conn, &order.setting, (&order.by.name, &order.reason), order.notice, now).await?;
    if preview.digest != order.digest {
        return Err(Stopped::Shown(Box::new(preview)));
    }
    let (kind, subject) = (order.setting.kind(), order.setting.subject());
    let written = diesel::insert_into(setting_change::table)
        .values((
            setting_change::id.eq(order.id),
            setting_change::at.eq(now),
            setting_change::staff_id.eq(order.staff_id),
            setting_change::name.eq(&order.by.name),
            setting_change::kind.eq(kind),
            setting_change::subject.eq(&subject),
            setting_change::before.eq(&preview.before),
            setting_change::after.eq(&preview.after),
            setting_change::digest.eq(&order.digest),
            setting_change::reason.eq(&order.reason),
            setting_change::takes_back.eq(order.takes_back),
        ))
        .on_conflict_do_nothing()
        .execute(conn)
        .await?;
    if written == 0 {
        // The same form, or another that takes the same back, came at the same time.
        return Err(SettingError::ChangedSince.into());
    }
    let entry = Entry::new("setting").target(kind.as_str(), &subject).reason(&order.reason);
    audit(conn, &order.by, &entry.before(preview.before).after(preview.after), now).await?;
    Ok(SettingDone::Now)
}

async fn of_form(conn: &mut AsyncPgConnection, id: Uuid) -> Result<Option<String>, StoreError> {
    let digest = setting_change::table.find(id).select(setting_change::digest);
    Ok(digest.first(conn).await.optional()?)
}

/// What is taken back must be what is set.
async fn check_stands(conn: &mut AsyncPgConnection, id: Uuid) -> Result<(), SettingError> {
    let change = setting_change_of(conn, id).await?.ok_or(SettingError::ChangedSince)?;
    let standing = change::standing(conn, change.kind, &change.subject).await?;
    if change.taken_back || standing != change.after { Err(SettingError::ChangedSince) } else { Ok(()) }
}

/// Does it, and tells what it did.
async fn attempt(
    conn: &mut AsyncPgConnection,
    setting: &Setting,
    (name, reason): (&str, &str),
    notice: TimeDelta,
    now: DateTime<Utc>,
) -> Result<SettingPreview, SettingError> {
    let (kind, subject) = (setting.kind(), setting.subject());
    // One after the other: changes are made by people, seldom. Readers do not wait.
    diesel::sql_query("lock table setting_change in share row exclusive mode").execute(conn).await?;
    let before = change::standing(conn, kind, &subject).await?;
    let author = declines::Author { actor: name.to_owned(), reason: reason.to_owned(), now };
    change::write(conn, setting, &author, notice).await?;
    let after = change::standing(conn, kind, &subject).await?;
    if after == before {
        return Err(SettingError::AlreadySo);
    }
    let digest = Sha256::digest(format!("{setting:?} {before}").as_bytes());
    let digest = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(SettingPreview { setting: setting.clone(), before, after, digest })
}

/// A change that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingChange {
    pub id: Uuid,
    pub at: DateTime<Utc>,
    /// Of who made it.
    pub name: String,
    pub kind: SettingKind,
    pub subject: String,
    pub before: Value,
    pub after: Value,
    pub reason: String,
    pub takes_back: Option<Uuid>,
    /// Another has taken it back.
    pub taken_back: bool,
}

impl SettingChange {
    /// What takes it back; `None`: it cannot be.
    #[must_use]
    pub fn inverse(&self) -> Option<Setting> {
        change::inverse(self.kind, &self.subject, &self.before, &self.after)
    }
}

#[derive(Queryable, Selectable)]
#[diesel(table_name = setting_change, check_for_backend(diesel::pg::Pg))]
struct ChangeRow {
    id: Uuid,
    at: DateTime<Utc>,
    name: String,
    kind: SettingKind,
    subject: String,
    before: Value,
    after: Value,
    reason: String,
    takes_back: Option<Uuid>,
}

/// The last changes, the latest first; at most `limit`.
///
/// # Errors
/// [`StoreError::Db`].
pub async fn setting_changes(conn: &mut AsyncPgConnection, limit: i64) -> Result<Vec<SettingChange>, StoreError> {
    let latest = setting_change::table.order((setting_change::at.desc(), setting_change::id.desc())).limit(limit);
    let rows: Vec<ChangeRow> = latest.select(ChangeRow::as_select()).load(conn).await?;
    with_takers(conn, rows).await
}

/// One change; `None`: there is none.
///
/// # Errors
/// [`StoreError::Db`].
pub async fn setting_change_of(conn: &mut AsyncPgConnection, id: Uuid) -> Result<Option<SettingChange>, StoreError> {
    let row = setting_change::table.find(id).select(ChangeRow::as_select()).first(conn).await.optional()?;
    Ok(with_takers(conn, row.into_iter().collect()).await?.pop())
}

async fn with_takers(conn: &mut AsyncPgConnection, rows: Vec<ChangeRow>) -> Result<Vec<SettingChange>, StoreError> {
    let ids: Vec<Uuid> = rows.iter().map(|row| row.id).collect();
    let taken = setting_change::table.filter(setting_change::takes_back.eq_any(ids));
    let taken: Vec<Option<Uuid>> = taken.select(setting_change::takes_back).load(conn).await?;
    let change = |row: ChangeRow| SettingChange {
        taken_back: taken.contains(&Some(row.id)),
        id: row.id,
        at: row.at,
        name: row.name,
        kind: row.kind,
        subject: row.subject,
        before: row.before,
        after: row.after,
        reason: row.reason,
        takes_back: row.takes_back,
    };
    Ok(rows.into_iter().map(change).collect())
}

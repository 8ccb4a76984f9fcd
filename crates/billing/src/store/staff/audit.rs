//! What the staff did and looked at, for ever.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use serde_json::Value;

use super::{Staff, StoreError};
use crate::schema::{audit_log, staff};
use crate::staff::StaffId;
use crate::store::browse::{Order, Part, Slice};

/// Who acts, as it stands beside what they did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct By {
    /// `None`: somebody at the command line.
    pub staff_id: Option<StaffId>,
    pub name: String,
    /// The role at that time, or `command line`.
    pub role: String,
    pub address: String,
}

impl By {
    /// Somebody who is signed in, from this address.
    #[must_use]
    pub fn staff(staff: &Staff, address: &str) -> Self {
        Self {
            staff_id: Some(staff.id),
            name: staff.name.clone(),
            role: staff.role.as_str().to_owned(),
            address: address.to_owned(),
        }
    }

    /// Somebody who was not let in.
    #[must_use]
    pub fn nobody(address: &str) -> Self {
        Self { staff_id: None, name: "nobody".to_owned(), role: "none".to_owned(), address: address.to_owned() }
    }

    /// Somebody at the command line of a machine.
    #[must_use]
    pub fn command_line(name: &str) -> Self {
        Self {
            staff_id: None,
            name: name.to_owned(),
            role: "command line".to_owned(),
            address: "this machine".to_owned(),
        }
    }
}

/// What is to be written down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry<'a> {
    action: &'a str,
    target: Option<(&'a str, &'a str)>,
    reason: Option<&'a str>,
    before: Option<Value>,
    after: Option<Value>,
}

impl<'a> Entry<'a> {
    #[must_use]
    pub const fn new(action: &'a str) -> Self {
        Self { action, target: None, reason: None, before: None, after: None }
    }

    /// About what: its kind, and its id or name.
    #[must_use]
    pub fn target(self, kind: &'a str, id: &'a str) -> Self {
        Self { target: Some((kind, id)), ..self }
    }

    #[must_use]
    pub fn reason(self, reason: &'a str) -> Self {
        Self { reason: Some(reason), ..self }
    }

    #[must_use]
    pub fn before(self, before: Value) -> Self {
        Self { before: Some(before), ..self }
    }

    #[must_use]
    pub fn after(self, after: Value) -> Self {
        Self { after: Some(after), ..self }
    }
}

/// Writes it down, in the transaction of what it is about.
///
/// # Errors
/// [`StoreError::Db`].
pub async fn audit(
    conn: &mut AsyncPgConnection,
    by: &By,
    entry: &Entry<'_>,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    diesel::insert_into(audit_log::table)
        .values((
            audit_log::at.eq(now),
            audit_log::staff_id.eq(by.staff_id),
            audit_log::name.eq(&by.name),
            audit_log::role.eq(&by.role),
            audit_log::address.eq(&by.address),
            audit_log::action.eq(entry.action),
            audit_log::target_kind.eq(entry.target.map(|(kind, _)| kind)),
            audit_log::target.eq(entry.target.map(|(_, id)| id)),
            audit_log::reason.eq(entry.reason),
            audit_log::before.eq(&entry.before),
            audit_log::after.eq(&entry.after),
        ))
        .execute(conn)
        .await?;
    Ok(())
}

/// What was written down.
#[derive(Debug, Clone, PartialEq, Eq, Queryable, Selectable)]
#[diesel(table_name = audit_log, check_for_backend(diesel::pg::Pg))]
pub struct AuditEntry {
    pub id: i64,
    pub at: DateTime<Utc>,
    pub name: String,
    pub role: String,
    pub address: String,
    pub action: String,
    pub target_kind: Option<String>,
    pub target: Option<String>,
    pub reason: Option<String>,
    pub before: Option<Value>,
    pub after: Option<Value>,
}

/// Which entries, and how they are sorted: as they were written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuditFilter {
    /// The name of who did it.
    pub name: Option<String>,
    /// The id or name of what it was about.
    pub target: Option<String>,
    pub order: Order,
}

/// A part of what was written down.
///
/// # Errors
/// [`StoreError::Db`].
pub async fn audit_entries(
    conn: &mut AsyncPgConnection,
    filter: &AuditFilter,
    part: Part<i64>,
    limit: i64,
) -> Result<Slice<AuditEntry>, StoreError> {
    let mut query = audit_log::table.into_boxed();
    if let Some(name) = &filter.name {
        let id: Option<StaffId> =
            staff::table.filter(staff::name.eq(name)).select(staff::id).first(conn).await.optional()?;
        // Nobody of that name has done anything.
        query = query.filter(audit_log::staff_id.eq(id.unwrap_or_else(|| uuid::Uuid::nil().into())));
    }
    if let Some(target) = &filter.target {
        query = query.filter(audit_log::target.eq(target.clone()));
    }
    let (place, is_ascending) = part.reading(filter.order);
    if let Some(id) = place {
        query = if is_ascending { query.filter(audit_log::id.gt(*id)) } else { query.filter(audit_log::id.lt(*id)) };
    }
    query = if is_ascending { query.order(audit_log::id.asc()) } else { query.order(audit_log::id.desc()) };
    let rows = query.limit(limit + 1).select(AuditEntry::as_select()).load(conn).await?;
    Ok(Slice::new(rows, &part, limit))
}

/// What the staff did to one thing, by its id; the newest first, at most `limit`.
///
/// # Errors
/// [`StoreError::Db`].
pub async fn audited_about(
    conn: &mut AsyncPgConnection,
    target: &str,
    limit: i64,
) -> Result<Vec<AuditEntry>, StoreError> {
    let about = audit_log::table.filter(audit_log::target.eq(target)).order(audit_log::id.desc());
    Ok(about.limit(limit).select(AuditEntry::as_select()).load(conn).await?)
}

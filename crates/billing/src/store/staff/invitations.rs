//! Links by which people choose their first password: each works once, for some days.

use chrono::{DateTime, TimeDelta, Utc};
use diesel::prelude::*;
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl};
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::{By, Entry, Staff, StaffError, StoreError, add, audit, by_name, reset};
use crate::schema::{staff, staff_invitation};
use crate::staff::{Role, StaffId, password};

/// How long an invitation can be accepted.
pub const INVITED_FOR: TimeDelta = TimeDelta::days(3);

/// Lets somebody in who chooses a password by a link. Returns what stands at the end of it.
///
/// # Errors
/// [`StaffError::Known`], [`StaffError::Store`].
pub async fn invite(
    conn: &mut AsyncPgConnection,
    name: &str,
    role: Role,
    by: &By,
    now: DateTime<Utc>,
) -> Result<SecretString, StaffError> {
    conn.transaction(async |conn| {
        let added = add(conn, name, role, password::NONE, by, now).await?;
        Ok(issue(conn, added.id, now).await?)
    })
    .await
}

/// Likewise for somebody who has lost the password or the second factor: both are worth nothing any more, and their sessions
/// end.
///
/// # Errors
/// [`StaffError::Unknown`], [`StaffError::Store`].
pub async fn invite_again(
    conn: &mut AsyncPgConnection,
    name: &str,
    by: &By,
    now: DateTime<Utc>,
) -> Result<SecretString, StaffError> {
    conn.transaction(async |conn| {
        reset(conn, name, password::NONE, by, now).await?;
        let (found, _) = by_name(conn, name).await?.ok_or_else(|| StaffError::Unknown(name.to_owned()))?;
        Ok(issue(conn, found.id, now).await?)
    })
    .await
}

async fn issue(conn: &mut AsyncPgConnection, id: StaffId, now: DateTime<Utc>) -> Result<SecretString, StoreError> {
    let token: SecretString = format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple()).into();
    let issued = (
        staff_invitation::digest.eq(digest(&token)),
        staff_invitation::created_at.eq(now),
        staff_invitation::expires_at.eq(now + INVITED_FOR),
    );
    diesel::insert_into(staff_invitation::table)
        .values((staff_invitation::staff_id.eq(id), issued.clone()))
        .on_conflict(staff_invitation::staff_id)
        .do_update()
        .set(issued)
        .execute(conn)
        .await?;
    Ok(token)
}

/// Whom a link invites; `None`: it was used, it is too old, another took its place, or they are not let in.
///
/// # Errors
/// [`StoreError::Db`].
pub async fn invited(
    conn: &mut AsyncPgConnection,
    token: &SecretString,
    now: DateTime<Utc>,
) -> Result<Option<Staff>, StoreError> {
    let invited = staff_invitation::table
        .inner_join(staff::table)
        .filter(staff_invitation::digest.eq(digest(token)).and(staff_invitation::expires_at.gt(now)))
        .filter(staff::disabled_at.is_null());
    Ok(invited.select(Staff::as_select()).first(conn).await.optional()?)
}

/// They have chosen a password. The link is worth nothing any more. `None`: it was not worth anything before.
///
/// # Errors
/// [`StoreError::Db`].
pub async fn accept_invitation(
    conn: &mut AsyncPgConnection,
    token: &SecretString,
    hash: &str,
    address: &str,
    now: DateTime<Utc>,
) -> Result<Option<Staff>, StoreError> {
    conn.transaction(async |conn| {
        let Some(id) = take_invitation(conn, token, now).await? else { return Ok(None) };
        let chosen = (staff::password.eq(hash), staff::is_one_time.eq(false), staff::updated_at.eq(now));
        let invited = staff::table.find(id).filter(staff::disabled_at.is_null());
        let accepted: Option<Staff> =
            diesel::update(invited).set(chosen).returning(Staff::as_returning()).get_result(conn).await.optional()?;
        let Some(accepted) = accepted else { return Ok(None) };
        audit(conn, &By::staff(&accepted, address), &Entry::new("invitation_accepted"), now).await?;
        Ok(Some(accepted))
    })
    .await
}

/// Uses a link up; whom it has invited.
pub(super) async fn take_invitation(
    conn: &mut AsyncPgConnection,
    token: &SecretString,
    now: DateTime<Utc>,
) -> Result<Option<StaffId>, StoreError> {
    let used = staff_invitation::table
        .filter(staff_invitation::digest.eq(digest(token)).and(staff_invitation::expires_at.gt(now)));
    Ok(diesel::delete(used).returning(staff_invitation::staff_id).get_result(conn).await.optional()?)
}

fn digest(token: &SecretString) -> Vec<u8> {
    Sha256::digest(token.expose_secret().as_bytes()).to_vec()
}

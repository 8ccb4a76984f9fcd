//! Who is signed in. The table has the digest of what is in the cookie, not what is in it.

use chrono::{DateTime, TimeDelta, Utc};
use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::{Staff, StoreError};
use crate::schema::{staff, staff_session};
use crate::staff::StaffId;

/// A session that nobody uses ends after this,
pub const IDLE: TimeDelta = TimeDelta::minutes(30);
/// and any other after this.
pub const LONGEST: TimeDelta = TimeDelta::hours(12);
/// A use is written down no more often than this.
const SEEN_EVERY: TimeDelta = TimeDelta::minutes(1);
/// So much of what a browser says of itself is kept.
const MAX_AGENT: usize = 200;

/// Finds a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionKey(Vec<u8>);

impl SessionKey {
    /// Of what is in a cookie.
    #[must_use]
    pub fn of(cookie: &SecretString) -> Self {
        Self(Sha256::digest(cookie.expose_secret().as_bytes()).to_vec())
    }
}

/// A session, for its owner to recognise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    pub key: SessionKey,
    pub created_at: DateTime<Utc>,
    pub last_seen_at: DateTime<Utc>,
    pub address: String,
    pub agent: String,
}

/// Somebody who is signed in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Visit {
    pub staff: Staff,
    pub key: SessionKey,
}

/// Begins a session; returns what goes into the cookie. Sessions that are over are forgotten on the way.
///
/// # Errors
/// [`StoreError::Db`].
pub async fn begin(
    conn: &mut AsyncPgConnection,
    staff_id: StaffId,
    address: &str,
    agent: &str,
    now: DateTime<Utc>,
) -> Result<SecretString, StoreError> {
    let over = staff_session::last_seen_at.lt(now - IDLE).or(staff_session::created_at.lt(now - LONGEST));
    diesel::delete(staff_session::table.filter(over)).execute(conn).await?;
    let cookie: SecretString = format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple()).into();
    let agent: String = agent.chars().filter(|c| !c.is_control()).take(MAX_AGENT).collect();
    diesel::insert_into(staff_session::table)
        .values((
            staff_session::id.eq(SessionKey::of(&cookie).0),
            staff_session::staff_id.eq(staff_id),
            staff_session::created_at.eq(now),
            staff_session::last_seen_at.eq(now),
            staff_session::address.eq(address),
            staff_session::agent.eq(agent),
        ))
        .execute(conn)
        .await?;
    Ok(cookie)
}

/// Whose session it is, if it is one that goes on and they may come in; its use is written down.
///
/// # Errors
/// [`StoreError::Db`].
pub async fn visit(
    conn: &mut AsyncPgConnection,
    key: &SessionKey,
    now: DateTime<Utc>,
) -> Result<Option<Visit>, StoreError> {
    let found: Option<(Staff, DateTime<Utc>)> = staff_session::table
        .inner_join(staff::table)
        .filter(staff_session::id.eq(&key.0).and(staff::disabled_at.is_null()))
        .filter(staff_session::last_seen_at.ge(now - IDLE).and(staff_session::created_at.ge(now - LONGEST)))
        .select((Staff::as_select(), staff_session::last_seen_at))
        .first(conn)
        .await
        .optional()?;
    let Some((staff, seen)) = found else { return Ok(None) };
    if now - seen >= SEEN_EVERY {
        diesel::update(staff_session::table.find(&key.0))
            .set(staff_session::last_seen_at.eq(now))
            .execute(conn)
            .await?;
    }
    Ok(Some(Visit { staff, key: key.clone() }))
}

/// Ends one.
///
/// # Errors
/// [`StoreError::Db`].
pub async fn end(conn: &mut AsyncPgConnection, key: &SessionKey) -> Result<(), StoreError> {
    diesel::delete(staff_session::table.find(&key.0)).execute(conn).await?;
    Ok(())
}

/// Ends all of somebody, but for this one.
///
/// # Errors
/// [`StoreError::Db`].
pub async fn end_all(
    conn: &mut AsyncPgConnection,
    staff_id: StaffId,
    but: Option<&SessionKey>,
) -> Result<usize, StoreError> {
    let kept = but.map(|key| key.0.clone()).unwrap_or_default();
    let others = staff_session::table.filter(staff_session::staff_id.eq(staff_id).and(staff_session::id.ne(kept)));
    Ok(diesel::delete(others).execute(conn).await?)
}

/// Those of somebody that go on, the last used first.
///
/// # Errors
/// [`StoreError::Db`].
pub async fn sessions(
    conn: &mut AsyncPgConnection,
    staff_id: StaffId,
    now: DateTime<Utc>,
) -> Result<Vec<Session>, StoreError> {
    type Row = (Vec<u8>, DateTime<Utc>, DateTime<Utc>, String, String);
    let rows: Vec<Row> = staff_session::table
        .filter(staff_session::staff_id.eq(staff_id))
        .filter(staff_session::last_seen_at.ge(now - IDLE).and(staff_session::created_at.ge(now - LONGEST)))
        .order(staff_session::last_seen_at.desc())
        .select((
            staff_session::id,
            staff_session::created_at,
            staff_session::last_seen_at,
            staff_session::address,
            staff_session::agent,
        ))
        .load(conn)
        .await?;
    let session = |(id, created_at, last_seen_at, address, agent): Row| Session {
        key: SessionKey(id),
        created_at,
        last_seen_at,
        address,
        agent,
    };
    Ok(rows.into_iter().map(session).collect())
}

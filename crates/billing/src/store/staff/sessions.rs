//! Who is signed in. The table has the digest of what is in the cookie, not what is in it.

use chrono::{DateTime, TimeDelta, Utc};
use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::{Staff, StoreError};
use crate::schema::{staff, staff_factor, staff_session};
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

    /// As text, to be kept somewhere else for a while.
    #[must_use]
    pub fn to_hex(&self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Back from text; `None`: it is none.
    #[must_use]
    pub fn from_hex(text: &str) -> Option<Self> {
        let is_hex = text.len() == 64 && text.bytes().all(|b| b.is_ascii_hexdigit());
        let byte = |at: usize| u8::from_str_radix(text.get(at..at + 2)?, 16).ok();
        is_hex.then(|| (0..64).step_by(2).map(byte).collect::<Option<Vec<u8>>>())?.map(Self)
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
    /// The second factor was not shown yet: nothing but that is possible.
    pub waits_for_code: bool,
    /// They have one.
    pub has_factor: bool,
    /// By whom they came in, if not with a password here.
    pub issuer: Option<String>,
    /// They have shown a second factor there.
    pub factor_by_provider: bool,
    /// When they last showed who they are: here by typing the password, or to the provider.
    pub proved_at: DateTime<Utc>,
}

/// What the company's provider says of a sign-in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ByProvider {
    /// Who it is.
    pub issuer: String,
    /// When it last had them show who they are; `None`: it does not say, and it may have been long ago.
    pub authenticated_at: Option<DateTime<Utc>>,
    /// A second factor was among it: none is asked for here.
    pub has_shown_factor: bool,
}

/// Begins a session of somebody who has typed the password; returns what goes into the cookie. Whoever has a second factor has
/// to show it next. Sessions that are over are forgotten on the way.
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
    insert(conn, staff_id, None, address, agent, now).await
}

/// Likewise of somebody who comes from the company's provider. That they are signed in there does not mean that they sit there:
/// only when it last asked them counts as having shown who they are.
///
/// # Errors
/// [`StoreError::Db`].
pub async fn begin_by_provider(
    conn: &mut AsyncPgConnection,
    staff_id: StaffId,
    by: &ByProvider,
    address: &str,
    agent: &str,
    now: DateTime<Utc>,
) -> Result<SecretString, StoreError> {
    insert(conn, staff_id, Some(by), address, agent, now).await
}

async fn insert(
    conn: &mut AsyncPgConnection,
    staff_id: StaffId,
    by: Option<&ByProvider>,
    address: &str,
    agent: &str,
    now: DateTime<Utc>,
) -> Result<SecretString, StoreError> {
    let over = staff_session::last_seen_at.lt(now - IDLE).or(staff_session::created_at.lt(now - LONGEST));
    diesel::delete(staff_session::table.filter(over)).execute(conn).await?;
    let cookie = new_cookie();
    let agent: String = agent.chars().filter(|c| !c.is_control()).take(MAX_AGENT).collect();
    let has_factor = staff_factor::table.find(staff_id).filter(staff_factor::confirmed_at.is_not_null());
    let has_factor: bool = diesel::select(diesel::dsl::exists(has_factor)).get_result(conn).await?;
    let factor_by_provider = by.is_some_and(|by| by.has_shown_factor);
    let proved_at = by.map(|by| by.authenticated_at.unwrap_or(DateTime::UNIX_EPOCH).min(now));
    diesel::insert_into(staff_session::table)
        .values((
            staff_session::id.eq(SessionKey::of(&cookie).0),
            staff_session::staff_id.eq(staff_id),
            staff_session::created_at.eq(now),
            staff_session::last_seen_at.eq(now),
            staff_session::address.eq(address),
            staff_session::agent.eq(agent),
            staff_session::waits_for_code.eq(has_factor && !factor_by_provider),
            staff_session::proved_at.eq(proved_at),
            staff_session::issuer.eq(by.map(|by| by.issuer.as_str())),
            staff_session::factor_by_provider.eq(factor_by_provider),
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
    type Row =
        (Staff, DateTime<Utc>, DateTime<Utc>, Option<DateTime<Utc>>, bool, Option<String>, bool, Option<DateTime<Utc>>);
    let found: Option<Row> = staff_session::table
        .inner_join(staff::table.left_join(staff_factor::table))
        .filter(staff_session::id.eq(&key.0).and(staff::disabled_at.is_null()))
        .filter(staff_session::last_seen_at.ge(now - IDLE).and(staff_session::created_at.ge(now - LONGEST)))
        .select((
            Staff::as_select(),
            staff_session::last_seen_at,
            staff_session::created_at,
            staff_session::proved_at,
            staff_session::waits_for_code,
            staff_session::issuer,
            staff_session::factor_by_provider,
            staff_factor::confirmed_at.nullable(),
        ))
        .first(conn)
        .await
        .optional()?;
    let Some((staff, seen, began, proved_at, waits_for_code, issuer, factor_by_provider, confirmed)) = found else {
        return Ok(None);
    };
    if now - seen >= SEEN_EVERY {
        diesel::update(staff_session::table.find(&key.0))
            .set(staff_session::last_seen_at.eq(now))
            .execute(conn)
            .await?;
    }
    let has_factor = confirmed.is_some();
    let proved_at = proved_at.unwrap_or(began);
    Ok(Some(Visit { staff, key: key.clone(), waits_for_code, has_factor, issuer, factor_by_provider, proved_at }))
}

/// A session goes on under another name: who has seen the old one has nothing. Nothing more is asked for in it; its owner has
/// just shown who they are. Returns what goes into the cookie.
///
/// # Errors
/// [`StoreError::Db`].
pub async fn renew(
    conn: &mut AsyncPgConnection,
    key: &SessionKey,
    now: DateTime<Utc>,
) -> Result<SecretString, StoreError> {
    let cookie = new_cookie();
    let renewed = (
        staff_session::id.eq(SessionKey::of(&cookie).0),
        staff_session::waits_for_code.eq(false),
        staff_session::proved_at.eq(now),
    );
    diesel::update(staff_session::table.find(&key.0)).set(renewed).execute(conn).await?;
    Ok(cookie)
}

/// Its owner has typed the password again, or the provider has asked them again who they are.
///
/// # Errors
/// [`StoreError::Db`].
pub async fn prove(conn: &mut AsyncPgConnection, key: &SessionKey, now: DateTime<Utc>) -> Result<(), StoreError> {
    let session = staff_session::table.find(&key.0);
    diesel::update(session).set(staff_session::proved_at.eq(now)).execute(conn).await?;
    Ok(())
}

fn new_cookie() -> SecretString {
    format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple()).into()
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

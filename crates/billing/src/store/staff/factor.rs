//! The second factor: the secret that somebody's app shares, and the codes that let them in without it.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl};
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};

use super::{By, Entry, StoreError, audit};
use crate::cipher::{Cipher, Place};
use crate::schema::{staff_factor, staff_recovery_code};
use crate::staff::{StaffId, password, totp};

/// So many recovery codes are given at a time.
pub const RECOVERY_CODES: usize = 10;

/// What somebody has besides the password.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Factor {
    None,
    /// A secret was shown to them, and no code of it was typed yet: it does not count.
    Shown,
    /// It is asked for at each sign-in.
    Asked {
        since: DateTime<Utc>,
        recovery_codes_left: i64,
    },
}

/// What a code was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    OfTheApp,
    Recovery,
    /// It is none, or it was used before.
    Wrong,
}

/// What somebody has besides the password.
///
/// # Errors
/// [`StoreError::Db`].
pub async fn factor(conn: &mut AsyncPgConnection, id: StaffId) -> Result<Factor, StoreError> {
    let confirmed = staff_factor::table.find(id).select(staff_factor::confirmed_at);
    let confirmed: Option<Option<DateTime<Utc>>> = confirmed.first(conn).await.optional()?;
    let Some(confirmed) = confirmed else { return Ok(Factor::None) };
    let Some(since) = confirmed else { return Ok(Factor::Shown) };
    let left = staff_recovery_code::table
        .filter(staff_recovery_code::staff_id.eq(id).and(staff_recovery_code::used_at.is_null()));
    Ok(Factor::Asked { since, recovery_codes_left: left.count().get_result(conn).await? })
}

/// Makes a secret for somebody who has none yet; one that does not count yet gives way to it.
///
/// # Errors
/// [`StoreError::Db`].
pub async fn offer_factor(
    conn: &mut AsyncPgConnection,
    id: StaffId,
    cipher: &Cipher,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    let sealed = cipher.seal(Place::StaffFactor(id), &totp::new_secret());
    conn.transaction(async |conn| {
        let earlier = staff_factor::table.find(id).filter(staff_factor::confirmed_at.is_null());
        diesel::delete(earlier).execute(conn).await?;
        diesel::insert_into(staff_factor::table)
            .values((staff_factor::staff_id.eq(id), staff_factor::created_at.eq(now), staff_factor::sealed.eq(sealed)))
            .on_conflict_do_nothing()
            .execute(conn)
            .await?;
        Ok(())
    })
    .await
}

/// The secret that does not count yet, to be shown to its owner.
///
/// # Errors
/// [`StoreError::Cipher`], [`StoreError::Db`].
pub async fn offered_factor(
    conn: &mut AsyncPgConnection,
    id: StaffId,
    cipher: &Cipher,
) -> Result<Option<SecretString>, StoreError> {
    let sealed = staff_factor::table.find(id).filter(staff_factor::confirmed_at.is_null()).select(staff_factor::sealed);
    let sealed: Option<String> = sealed.first(conn).await.optional()?;
    Ok(sealed.map(|sealed| cipher.open(Place::StaffFactor(id), &sealed)).transpose()?)
}

/// Its owner has typed a code: from now on it is asked for. Returns the recovery codes; `None`: the code is wrong.
///
/// # Errors
/// [`StoreError::Cipher`], [`StoreError::Db`].
pub async fn confirm_factor(
    conn: &mut AsyncPgConnection,
    id: StaffId,
    code: &str,
    cipher: &Cipher,
    by: &By,
    now: DateTime<Utc>,
) -> Result<Option<Vec<SecretString>>, StoreError> {
    conn.transaction(async |conn| {
        let Some(secret) = offered_factor(conn, id, cipher).await? else { return Ok(None) };
        let Some(step) = totp::step_of(&secret, code, now) else { return Ok(None) };
        let waiting = staff_factor::table.find(id).filter(staff_factor::confirmed_at.is_null());
        let confirmed = (staff_factor::confirmed_at.eq(now), staff_factor::last_step.eq(step));
        if diesel::update(waiting).set(confirmed).execute(conn).await? == 0 {
            return Ok(None);
        }
        audit(conn, by, &Entry::new("second_factor_added").target("staff", &by.name), now).await?;
        Ok(Some(new_codes(conn, id).await?))
    })
    .await
}

/// New recovery codes; those before are worth nothing any more.
///
/// # Errors
/// [`StoreError::Db`].
pub async fn renew_recovery_codes(
    conn: &mut AsyncPgConnection,
    id: StaffId,
    by: &By,
    now: DateTime<Utc>,
) -> Result<Vec<SecretString>, StoreError> {
    conn.transaction(async |conn| {
        audit(conn, by, &Entry::new("recovery_codes_renewed").target("staff", &by.name), now).await?;
        new_codes(conn, id).await
    })
    .await
}

async fn new_codes(conn: &mut AsyncPgConnection, id: StaffId) -> Result<Vec<SecretString>, StoreError> {
    diesel::delete(staff_recovery_code::table.filter(staff_recovery_code::staff_id.eq(id))).execute(conn).await?;
    let codes: Vec<SecretString> = (0..RECOVERY_CODES).map(|_| password::one_time()).collect();
    let rows: Vec<_> = codes
        .iter()
        .map(|code| {
            (staff_recovery_code::digest.eq(digest(code.expose_secret(), id)), staff_recovery_code::staff_id.eq(id))
        })
        .collect();
    diesel::insert_into(staff_recovery_code::table).values(rows).execute(conn).await?;
    Ok(codes)
}

/// Looks what a code is, and uses it up: of the app's each is taken once, and none that is older than the last; of the
/// recovery codes each once.
///
/// # Errors
/// [`StoreError::Cipher`], [`StoreError::Db`].
pub async fn use_code(
    conn: &mut AsyncPgConnection,
    id: StaffId,
    code: &str,
    cipher: &Cipher,
    now: DateTime<Utc>,
) -> Result<Code, StoreError> {
    let sealed =
        staff_factor::table.find(id).filter(staff_factor::confirmed_at.is_not_null()).select(staff_factor::sealed);
    let Some(sealed) = sealed.first::<String>(conn).await.optional()? else { return Ok(Code::Wrong) };
    let secret = cipher.open(Place::StaffFactor(id), &sealed)?;
    if let Some(step) = totp::step_of(&secret, code, now) {
        let unused = staff_factor::table.find(id).filter(staff_factor::last_step.lt(step));
        let used = diesel::update(unused).set(staff_factor::last_step.eq(step)).execute(conn).await?;
        return Ok(if used > 0 { Code::OfTheApp } else { Code::Wrong });
    }
    let unused = staff_recovery_code::table
        .find(digest(code, id))
        .filter(staff_recovery_code::staff_id.eq(id).and(staff_recovery_code::used_at.is_null()));
    let used = diesel::update(unused).set(staff_recovery_code::used_at.eq(now)).execute(conn).await?;
    Ok(if used > 0 { Code::Recovery } else { Code::Wrong })
}

/// Nothing but the password is asked for any more.
///
/// # Errors
/// [`StoreError::Db`].
pub async fn remove_factor(
    conn: &mut AsyncPgConnection,
    id: StaffId,
    by: &By,
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    conn.transaction(async |conn| {
        if forget_factor(conn, id).await? {
            audit(conn, by, &Entry::new("second_factor_removed").target("staff", &by.name), now).await?;
        }
        Ok(())
    })
    .await
}

/// Whether there was one.
pub(super) async fn forget_factor(conn: &mut AsyncPgConnection, id: StaffId) -> Result<bool, StoreError> {
    diesel::delete(staff_recovery_code::table.filter(staff_recovery_code::staff_id.eq(id))).execute(conn).await?;
    Ok(diesel::delete(staff_factor::table.find(id)).execute(conn).await? > 0)
}

/// However it is typed: capitals, blanks and hyphens are nothing.
fn digest(code: &str, id: StaffId) -> Vec<u8> {
    let plain: String = code.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect();
    Sha256::digest([id.get().as_bytes(), plain.as_bytes()].concat()).to_vec()
}

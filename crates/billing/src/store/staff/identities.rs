//! Accounts at the company's provider of sign-in (OpenID Connect) with which the staff come in. Nobody is let in by having
//! one: it is somebody's who is of the staff already.

use chrono::{DateTime, TimeDelta, Utc};
use diesel::prelude::*;
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl};
use secrecy::SecretString;
use serde_json::json;
use sha2::{Digest, Sha256};

use super::invitations::take_invitation;
use super::{By, Entry, Staff, StoreError, audit};
use crate::schema::{staff, staff_identity, staff_invitation, staff_sign_in_state};
use crate::staff::{StaffId, name, password};

/// So long somebody may take at the provider.
pub const BACK_WITHIN: TimeDelta = TimeDelta::minutes(10);

/// An account at a provider: `iss` and `sub` of its ID tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    pub issuer: String,
    pub subject: String,
}

/// Why an account at the provider lets nobody in.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// It is nobody's here, and nobody has its verified address of e-mail as a name.
    #[error("the account is nobody's here")]
    Unknown,
    #[error("{} is let in no more", .0.name)]
    Disabled(Box<Staff>),
    /// They come with another account of this provider: who has this one now may be another person of the same address.
    #[error("{} comes with another account of this provider", .0.name)]
    OtherAccount(Box<Staff>),
    /// The account is another person's here.
    #[error("the account is not {}'s here", .0.name)]
    Taken(Box<Staff>),
    /// The link was used, or is too old.
    #[error("the invitation is worth nothing")]
    NotInvited,
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<diesel::result::Error> for IdentityError {
    fn from(error: diesel::result::Error) -> Self {
        Self::Store(error.into())
    }
}

/// Whose account it is. One that is nobody's yet becomes, from now on, that of whoever has its verified address of e-mail as a
/// name.
///
/// # Errors
/// [`IdentityError`], but for [`IdentityError::NotInvited`].
pub async fn identify(
    conn: &mut AsyncPgConnection,
    identity: &Identity,
    verified_email: Option<&str>,
    address: &str,
    now: DateTime<Utc>,
) -> Result<Staff, IdentityError> {
    conn.transaction(async |conn| {
        if let Some(owner) = identity_owner(conn, identity).await? {
            return if owner.disabled_at.is_some() { Err(IdentityError::Disabled(owner.into())) } else { Ok(owner) };
        }
        let named = verified_email.and_then(|email| name(email).ok()).ok_or(IdentityError::Unknown)?;
        let named = staff::table.filter(staff::name.eq(named)).select(Staff::as_select()).for_update();
        let found: Staff = named.first(conn).await.optional()?.ok_or(IdentityError::Unknown)?;
        link(conn, found, identity, address, now).await
    })
    .await
}

/// An invitation is accepted by signing in at the provider, instead of choosing a password: the account is theirs from now on.
///
/// # Errors
/// [`IdentityError`], but for [`IdentityError::Unknown`].
pub async fn accept_invitation_with(
    conn: &mut AsyncPgConnection,
    token: &SecretString,
    identity: &Identity,
    address: &str,
    now: DateTime<Utc>,
) -> Result<Staff, IdentityError> {
    conn.transaction(async |conn| {
        let id = take_invitation(conn, token, now).await?.ok_or(IdentityError::NotInvited)?;
        let invited: Staff = staff::table.find(id).select(Staff::as_select()).for_update().first(conn).await?;
        let accepted = link(conn, invited, identity, address, now).await?;
        audit(conn, &By::staff(&accepted, address), &Entry::new("invitation_accepted"), now).await?;
        Ok(accepted)
    })
    .await
}

/// Who comes with it. What somebody else has set for them to come in with – a one-time password, an invitation – ends.
async fn link(
    conn: &mut AsyncPgConnection,
    of: Staff,
    identity: &Identity,
    address: &str,
    now: DateTime<Utc>,
) -> Result<Staff, IdentityError> {
    if of.disabled_at.is_some() {
        return Err(IdentityError::Disabled(of.into()));
    }
    let linked = diesel::insert_into(staff_identity::table)
        .values((
            staff_identity::issuer.eq(&identity.issuer),
            staff_identity::subject.eq(&identity.subject),
            staff_identity::staff_id.eq(of.id),
            staff_identity::linked_at.eq(now),
        ))
        .on_conflict_do_nothing()
        .execute(conn)
        .await?;
    if linked == 0 {
        return match identity_owner(conn, identity).await? {
            Some(owner) if owner.id == of.id => Ok(of),
            Some(_) => Err(IdentityError::Taken(of.into())),
            None => Err(IdentityError::OtherAccount(of.into())),
        };
    }
    diesel::delete(staff_invitation::table.find(of.id)).execute(conn).await?;
    let one_time = staff::table.find(of.id).filter(staff::is_one_time);
    let none = (staff::password.eq(password::NONE), staff::is_one_time.eq(false), staff::updated_at.eq(now));
    diesel::update(one_time).set(none).execute(conn).await?;
    let of = Staff { is_one_time: false, ..of };
    let after = json!({ "issuer": identity.issuer, "subject": identity.subject });
    let entry = Entry::new("identity_linked").target("staff", &of.name).after(after);
    audit(conn, &By::staff(&of, address), &entry, now).await?;
    Ok(of)
}

/// Whose account it is, let in or not.
///
/// # Errors
/// [`StoreError::Db`].
pub async fn identity_owner(conn: &mut AsyncPgConnection, identity: &Identity) -> Result<Option<Staff>, StoreError> {
    let owner = staff_identity::table
        .inner_join(staff::table)
        .filter(staff_identity::issuer.eq(&identity.issuer).and(staff_identity::subject.eq(&identity.subject)));
    Ok(owner.select(Staff::as_select()).first(conn).await.optional()?)
}

/// Somebody has no account at any provider any more, until one is linked anew.
pub(super) async fn forget_identities(conn: &mut AsyncPgConnection, id: StaffId) -> Result<(), StoreError> {
    diesel::delete(staff_identity::table.filter(staff_identity::staff_id.eq(id))).execute(conn).await?;
    Ok(())
}

/// Takes what came back from the provider, each once; whether it is the first time.
///
/// # Errors
/// [`StoreError::Db`].
pub async fn use_state(conn: &mut AsyncPgConnection, state: &str, now: DateTime<Utc>) -> Result<bool, StoreError> {
    let over = staff_sign_in_state::table.filter(staff_sign_in_state::used_at.lt(now - BACK_WITHIN));
    diesel::delete(over).execute(conn).await?;
    let digest = Sha256::digest(state.as_bytes()).to_vec();
    let used = diesel::insert_into(staff_sign_in_state::table)
        .values((staff_sign_in_state::state.eq(digest), staff_sign_in_state::used_at.eq(now)))
        .on_conflict_do_nothing()
        .execute(conn)
        .await?;
    Ok(used > 0)
}

/// Lets somebody come in with a password even where everybody has to come by the provider.
///
/// # Errors
/// [`super::StaffError::Unknown`], [`super::StaffError::Store`].
pub async fn allow_password(
    conn: &mut AsyncPgConnection,
    of: &str,
    by: &By,
    now: DateTime<Utc>,
) -> Result<(), super::StaffError> {
    conn.transaction(async |conn| {
        let allowed = (staff::password_always.eq(true), staff::updated_at.eq(now));
        let one = staff::table.filter(staff::name.eq(of));
        if diesel::update(one).set(allowed).execute(conn).await? == 0 {
            return Err(super::StaffError::Unknown(of.to_owned()));
        }
        audit(conn, by, &Entry::new("password_allowed").target("staff", of), now).await?;
        Ok(())
    })
    .await
}

//! Secrets of the system's own: made once, by whoever needs one first, and sealed like everything else.

use aes_gcm::aead::Generate;
use aes_gcm::{Aes256Gcm, Key};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use secrecy::SecretString;

use super::StoreError;
use super::prepared::Prepare;
use crate::cipher::{Cipher, Place};
use crate::schema::secret;

/// Under which cards are hashed. It outlives the keys that seal it: those are rotated, and this is sealed anew by them.
pub(in crate::store) const CARD_KEY: &str = "card_key";

/// The names of all of them.
pub(in crate::store) const ALL: &[&str] = &[CARD_KEY];

/// The secret of this name.
///
/// # Errors
/// [`StoreError::Cipher`] when the key that sealed it is not configured; [`StoreError::Db`].
pub(in crate::store) async fn get(
    conn: &mut AsyncPgConnection,
    name: &'static str,
    cipher: &Cipher,
) -> Result<SecretString, StoreError> {
    let place = Place::Own(name);
    if let Some(sealed) = read(conn, name).await? {
        return Ok(cipher.open(place, &sealed)?);
    }
    let made = SecretString::from(STANDARD.encode(Key::<Aes256Gcm>::generate()));
    // Of two who make it at once the first is believed.
    diesel::insert_into(secret::table)
        .values((secret::name.eq(name), secret::sealed.eq(cipher.seal(place, &made))))
        .on_conflict_do_nothing()
        .prepared()
        .execute(conn)
        .await?;
    let sealed = read(conn, name).await?.ok_or(diesel::result::Error::NotFound)?;
    Ok(cipher.open(place, &sealed)?)
}

async fn read(conn: &mut AsyncPgConnection, name: &str) -> Result<Option<String>, StoreError> {
    Ok(secret::table.find(name).select(secret::sealed).first(conn).await.optional()?)
}

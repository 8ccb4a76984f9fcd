//! Encryption of what must not lie open in the database: the card token, the cryptogram, the 3-D Secure answer.
//!
//! AES-256-GCM with a random nonce. A sealed text is `<key id>.<base64(nonce ‖ ciphertext ‖ tag)>`: the key id lets keys
//! be rotated – the first key seals, every key opens. The row and column it belongs to are authenticated with it, so a
//! ciphertext copied to another row does not open there.

use std::fmt;
use std::sync::Arc;

use aes_gcm::aead::{Aead, Generate, Payload};
use aes_gcm::{Aes256Gcm, KeyInit, Nonce};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use secrecy::{ExposeSecret, SecretString};
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::staff::StaffId;
use crate::{AccountId, BillId, ReceiptId};

const NONCE: usize = 12;
const KEY: usize = 32;

/// What a key proves itself by.
const PROOF: Place = Place::Own("proof");
const PROVED: &str = "this key";

/// Where a secret is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// `account.payment_token`
    Token(AccountId),
    /// `bill.card_cryptogram_packet`
    Cryptogram(BillId),
    /// `bill.pa_res`
    PaRes(BillId),
    /// `notification.token`, of the notification with this digest of its key.
    Notification(Uuid),
    /// `receipt.sealed`
    Receipt(ReceiptId),
    /// `staff_factor.sealed`
    StaffFactor(StaffId),
    /// A cookie: what a browser has to bring back from the provider of the staff's sign-in, of the sign-in of this id.
    SignIn(Uuid),
    /// `secret.sealed`, under this name
    Own(&'static str),
}

impl Place {
    fn associated_data(self) -> Vec<u8> {
        let (column, row) = match self {
            Self::Token(id) => ("account.payment_token", id.get()),
            Self::Cryptogram(id) => ("bill.card_cryptogram_packet", id.get()),
            Self::PaRes(id) => ("bill.pa_res", id.get()),
            Self::Notification(digest) => ("notification.token", digest),
            Self::Receipt(id) => ("receipt.sealed", id.get()),
            Self::StaffFactor(id) => ("staff_factor.sealed", id.get()),
            Self::SignIn(id) => ("cookie.sign_in", id),
            Self::Own(name) => return [b"secret.sealed\0", name.as_bytes()].concat(),
        };
        [column.as_bytes(), &[0], row.as_bytes()].concat()
    }
}

/// What is wrong with the keys, or with a sealed text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CipherError {
    /// The setting cannot be read: configuration, so nothing can start.
    #[error("expected `<key id>:<32 bytes in base64>`, several separated by commas: {0}")]
    Keys(&'static str),
    /// Sealed with a key that is not configured any more: put it back, behind the current one.
    #[error("sealed with the key `{0}`, which is not configured")]
    UnknownKey(String),
    /// Not what this place holds: damaged, copied from elsewhere, or never sealed.
    #[error("a sealed secret does not open")]
    DoesNotOpen,
}

struct Key {
    id: String,
    cipher: Aes256Gcm,
}

/// The keys. Cheap to clone.
#[derive(Clone)]
pub struct Cipher(Arc<[Key]>);

impl fmt::Debug for Cipher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|key| &key.id)).finish()
    }
}

impl Cipher {
    /// Reads `id:base64[,id:base64…]`. The first key seals; all of them open.
    ///
    /// # Errors
    /// [`CipherError::Keys`] says what is wrong, without the key.
    pub fn from_keys(keys: &SecretString) -> Result<Self, CipherError> {
        let mut parsed: Vec<Key> = Vec::new();
        for part in keys.expose_secret().split(',').map(str::trim) {
            let key = parse_key(part)?;
            if parsed.iter().any(|other| other.id == key.id) {
                return Err(CipherError::Keys("two keys have the same id"));
            }
            parsed.push(key);
        }
        Ok(Self(parsed.into()))
    }

    /// Seals a secret for its place, with the first key.
    #[must_use]
    pub fn seal(&self, place: Place, secret: &SecretString) -> String {
        seal_with(self.0.first().expect("from_keys never makes an empty list"), place, secret)
    }

    /// Opens what was sealed for this place.
    ///
    /// # Errors
    /// [`CipherError::UnknownKey`] when its key was taken away, [`CipherError::DoesNotOpen`] when it is not genuine.
    pub fn open(&self, place: Place, sealed: &str) -> Result<SecretString, CipherError> {
        let (id, text) = sealed.split_once('.').ok_or(CipherError::DoesNotOpen)?;
        let key = self.0.iter().find(|key| key.id == id).ok_or_else(|| CipherError::UnknownKey(id.to_owned()))?;
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| CipherError::DoesNotOpen)?;
        let (nonce, ciphertext) = bytes.split_first_chunk::<NONCE>().ok_or(CipherError::DoesNotOpen)?;
        let payload = Payload { msg: ciphertext, aad: &place.associated_data() };
        let plain = key.cipher.decrypt(&Nonce::from(*nonce), payload).map_err(|_| CipherError::DoesNotOpen)?;
        // Sealed from a string, and authenticated since.
        String::from_utf8(plain).map(SecretString::from).map_err(|_| CipherError::DoesNotOpen)
    }

    /// The ids of the keys, the one that seals first.
    pub fn key_ids(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|key| key.id.as_str())
    }

    /// The id of the key that sealed a text.
    #[must_use]
    pub fn key_of(sealed: &str) -> &str {
        sealed.split_once('.').map_or("", |(id, _)| id)
    }

    /// The secret sealed anew with the first key; `None`: it is the one that sealed it.
    ///
    /// # Errors
    /// As [`Cipher::open`].
    pub fn reseal(&self, place: Place, sealed: &str) -> Result<Option<String>, CipherError> {
        if !self.is_stale(sealed) {
            return Ok(None);
        }
        Ok(Some(self.seal(place, &self.open(place, sealed)?)))
    }

    /// A constant sealed with each key: what another key of the same name does not open.
    pub(crate) fn proofs(&self) -> impl Iterator<Item = (&str, String)> {
        self.0.iter().map(|key| (key.id.as_str(), seal_with(key, PROOF, &PROVED.into())))
    }

    /// Whether the key that is configured under a proof's name is the one that sealed it.
    pub(crate) fn proves(&self, proof: &str) -> bool {
        self.open(PROOF, proof).is_ok_and(|proved| proved.expose_secret() == PROVED)
    }

    /// Whether a sealed text should be sealed anew, because an older key sealed it.
    #[must_use]
    pub fn is_stale(&self, sealed: &str) -> bool {
        let current = self.0.first().map(|key| key.id.as_str());
        sealed.split_once('.').map(|(id, _)| id) != current
    }
}

fn seal_with(key: &Key, place: Place, secret: &SecretString) -> String {
    let nonce = Nonce::generate();
    let payload = Payload { msg: secret.expose_secret().as_bytes(), aad: &place.associated_data() };
    let sealed = key.cipher.encrypt(&nonce, payload).expect("AES-GCM takes up to 64 GB");
    format!("{}.{}", key.id, URL_SAFE_NO_PAD.encode([nonce.as_slice(), &sealed].concat()))
}

fn parse_key(part: &str) -> Result<Key, CipherError> {
    let (id, key) = part.split_once(':').ok_or(CipherError::Keys("a key has no id"))?;
    let id_is_plain = (1..=32).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    if !id_is_plain {
        return Err(CipherError::Keys("a key id is 1 to 32 letters, digits and hyphens"));
    }
    let bytes = STANDARD.decode(key).map(Zeroizing::new).map_err(|_| CipherError::Keys("a key is not base64"))?;
    let bytes: &[u8; KEY] = bytes.as_slice().try_into().map_err(|_| CipherError::Keys("a key is not 32 bytes long"))?;
    Ok(Key { id: id.to_owned(), cipher: Aes256Gcm::new(bytes.into()) })
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &str = "old:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";
    const NEW: &str = "new:Hx4dHBsaGRgXFhUUExIREA8ODQwLCgkIBwYFBAMCAQA=";

    fn cipher(keys: &str) -> Result<Cipher, CipherError> {
        Cipher::from_keys(&SecretString::from(keys))
    }

    #[test]
    fn what_is_sealed_opens_only_in_its_place() {
        let cipher = cipher(OLD).unwrap();
        let (bill, other) = (BillId::new(), BillId::new());
        let sealed = cipher.seal(Place::Cryptogram(bill), &"01492500".into());
        assert!(!sealed.contains("01492500"));
        assert_eq!(cipher.open(Place::Cryptogram(bill), &sealed).unwrap().expose_secret(), "01492500");
        for elsewhere in [Place::Cryptogram(other), Place::PaRes(bill), Place::Token(bill.get().into())] {
            assert_eq!(cipher.open(elsewhere, &sealed).unwrap_err(), CipherError::DoesNotOpen);
        }
    }

    #[test]
    fn the_same_secret_never_looks_the_same() {
        let cipher = cipher(OLD).unwrap();
        let place = Place::Token(AccountId::new());
        assert_ne!(cipher.seal(place, &"tk".into()), cipher.seal(place, &"tk".into()));
    }

    #[test]
    fn keys_rotate_without_losing_what_older_ones_sealed() {
        let place = Place::Token(AccountId::new());
        let sealed = cipher(OLD).unwrap().seal(place, &"tk".into());
        let rotated = cipher(&format!("{NEW},{OLD}")).unwrap();
        assert_eq!(rotated.open(place, &sealed).unwrap().expose_secret(), "tk");
        assert!(rotated.is_stale(&sealed));
        assert!(!rotated.is_stale(&rotated.seal(place, &"tk".into())));
        let forgotten = cipher(NEW).unwrap();
        assert_eq!(forgotten.open(place, &sealed).unwrap_err(), CipherError::UnknownKey("old".into()));
    }

    #[test]
    fn damaged_texts_are_refused() {
        let cipher = cipher(OLD).unwrap();
        let place = Place::Token(AccountId::new());
        let sealed = cipher.seal(place, &"tk".into());
        let last = if sealed.ends_with('A') { "Q" } else { "A" };
        let flipped = format!("{}{last}", &sealed[..sealed.len() - 5]);
        for text in ["", ".", "old.", "old.AAAA", "old.!!", flipped.as_str()] {
            assert!(matches!(cipher.open(place, text), Err(CipherError::DoesNotOpen | CipherError::UnknownKey(_))));
        }
    }

    #[test]
    fn wrong_keys_are_explained_without_showing_them() {
        for (keys, what) in [
            ("", "a key has no id"),
            ("AAAA", "a key has no id"),
            (":AAAA", "a key id is 1 to 32 letters, digits and hyphens"),
            ("a.b:AAAA", "a key id is 1 to 32 letters, digits and hyphens"),
            ("a:!!", "a key is not base64"),
            ("a:AAAA", "a key is not 32 bytes long"),
            (&format!("{OLD},{OLD}"), "two keys have the same id"),
        ] {
            assert_eq!(cipher(keys).unwrap_err(), CipherError::Keys(what));
        }
    }
}

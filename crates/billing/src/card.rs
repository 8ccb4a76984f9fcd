//! What tells a card from every other, without saying which card it is. Pure.
//!
//! A card has one trial, whoever types it in. The gateway's own id of the card is the best proof that two are one; where it
//! tells none, the first six digits, the last four and the expiry must do. Neither is stored: only a hash under a key, which
//! nobody can try cards against who has the database alone.

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;

use crate::payment::CardMask;

/// A keyed hash of a card.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct CardHash([u8; 32]);

impl fmt::Debug for CardHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CardHash(…)")
    }
}

impl CardHash {
    /// `None`: the gateway did not tell enough to know the card again.
    #[must_use]
    pub fn of(card: &CardMask, key: &SecretString) -> Option<Self> {
        // Each part is preceded by its length, so that no two cards run together.
        let parts: Vec<&str> = match &card.fingerprint {
            Some(id) => vec!["id", id],
            None => vec!["mask", card.first_six.as_deref()?, card.last_four.as_deref()?, card.expires.as_deref()?],
        };
        let mut hash =
            Hmac::<Sha256>::new_from_slice(key.expose_secret().as_bytes()).expect("HMAC takes a key of any length");
        for part in parts {
            hash.update(&(part.len() as u64).to_be_bytes());
            hash.update(part.as_bytes());
        }
        Some(Self(hash.finalize().into_bytes().into()))
    }

    /// As it is stored.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mask(first_six: &str, last_four: &str, expires: &str) -> CardMask {
        CardMask {
            first_six: Some(first_six.into()),
            last_four: Some(last_four.into()),
            expires: Some(expires.into()),
            ..CardMask::default()
        }
    }

    #[test]
    fn a_card_is_known_again_and_no_other_is_taken_for_it() {
        let key = "key".into();
        let card = mask("424242", "4242", "12/30");
        assert_eq!(
            CardHash::of(&card, &key),
            CardHash::of(&CardMask { scheme: Some("Visa".into()), ..card.clone() }, &key)
        );
        for other in [mask("424243", "4242", "12/30"), mask("424242", "4243", "12/30"), mask("424242", "4242", "11/30")]
        {
            assert_ne!(CardHash::of(&card, &key), CardHash::of(&other, &key));
        }
        assert_ne!(CardHash::of(&card, &key), CardHash::of(&card, &"another".into()), "of no use without the key");
    }

    #[test]
    fn the_gateways_id_outranks_what_is_shown() {
        let key = "key".into();
        let known = |id: &str, expires: &str| {
            let fingerprint = Some(id.to_owned());
            CardHash::of(&CardMask { fingerprint, ..mask("424242", "4242", expires) }, &key)
        };
        assert_eq!(known("a", "12/30"), known("a", "12/35"), "the same card, issued anew");
        assert_ne!(known("a", "12/30"), known("b", "12/30"), "two cards that look alike");
    }

    #[test]
    fn a_card_that_is_not_told_has_no_hash() {
        assert_eq!(CardHash::of(&CardMask::default(), &"key".into()), None);
        assert_eq!(CardHash::of(&CardMask { expires: None, ..mask("424242", "4242", "") }, &"key".into()), None);
    }

    #[test]
    fn a_hash_is_not_printed() {
        let hash = CardHash::of(&mask("424242", "4242", "12/30"), &"key".into()).unwrap();
        assert_eq!(format!("{hash:?}"), "CardHash(…)");
    }
}

//! Passwords of the staff: argon2id with 19 MiB, two passes, one lane (the parameters that OWASP recommends). Each call takes
//! tens of milliseconds of one core: not for the threads that serve connections.

use std::sync::LazyLock;

use argon2::Argon2;
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use secrecy::{ExposeSecret, SecretString};
use uuid::Uuid;

/// The shortest password that somebody may choose, in characters.
pub const MIN: usize = 12;
/// The longest that is looked at, in bytes.
pub const MAX: usize = 256;
/// Stands in the place of a hash where no password was chosen yet: nothing fits it.
pub const NONE: &str = "!";

/// Why a password cannot be chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Weak {
    #[error("a password has from {MIN} characters to {MAX} bytes")]
    Length,
    /// Few different characters: `aaaaaaaaaaaa`.
    #[error("the password repeats a few characters")]
    Monotonous,
    #[error("the password contains the name")]
    Name,
}

/// Whether somebody of this name may choose it.
///
/// # Errors
/// [`Weak`].
pub fn check(password: &SecretString, name: &str) -> Result<(), Weak> {
    let text = password.expose_secret();
    if text.chars().count() < MIN || text.len() > MAX {
        return Err(Weak::Length);
    }
    let mut different: Vec<char> = text.chars().collect();
    different.sort_unstable();
    different.dedup();
    if different.len() < 5 {
        return Err(Weak::Monotonous);
    }
    if text.to_lowercase().contains(name) { Err(Weak::Name) } else { Ok(()) }
}

/// The hash to be kept.
#[must_use]
pub fn hash(password: &SecretString) -> String {
    let hashed: Result<PasswordHash, _> = Argon2::default().hash_password(password.expose_secret().as_bytes());
    hashed.expect("the defaults are sound, and passwords are shorter than 4 GB").to_string()
}

/// Whether it is the password of this hash. Without a hash as much work is done, and the result is no.
#[must_use]
pub fn verify(password: &SecretString, hash: Option<&str>) -> bool {
    static NOBODY: LazyLock<String> = LazyLock::new(|| self::hash(&one_time()));
    let hash = hash.filter(|hash| *hash != NONE);
    let text = password.expose_secret().as_bytes();
    let given = &text[..text.len().min(MAX + 1)];
    Argon2::default().verify_password(given, hash.unwrap_or(&NOBODY)).is_ok() && hash.is_some()
}

/// A new password that nobody guesses, for its owner to sign in with once: 100 random bits.
#[must_use]
pub fn one_time() -> SecretString {
    // Without what is easily mistaken for something else.
    const LETTERS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
    let bytes = [*Uuid::new_v4().as_bytes(), *Uuid::new_v4().as_bytes()].concat();
    // The bytes of a UUID that say its version are left out.
    let random = bytes.iter().enumerate().filter(|(at, _)| !matches!(at % 16, 6 | 8)).map(|(_, byte)| byte);
    let letters = random.take(20).map(|byte| char::from(LETTERS[usize::from(byte % 32)]));
    let text: Vec<char> = letters.collect();
    text.chunks(5).map(|part| part.iter().collect::<String>()).collect::<Vec<_>>().join("-").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_known_by_its_hash_alone() {
        let password = SecretString::from("correct horse battery");
        let hash = hash(&password);
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        assert_ne!(hash, super::hash(&password), "each has a salt of its own");
        assert!(verify(&password, Some(&hash)));
        assert!(!verify(&"correct horse batterY".into(), Some(&hash)));
        assert!(!verify(&password, None));
        assert!(!verify(&NONE.into(), Some(NONE)));
        assert!(!verify(&password, Some("damaged")));
    }

    #[test]
    fn weak_passwords_are_refused() {
        for (text, is) in [
            ("correct horse", Ok(())),
            ("short", Err(Weak::Length)),
            ("aaaaaaaaaaaaaaaa", Err(Weak::Monotonous)),
            ("my name is ADA, hello", Err(Weak::Name)),
        ] {
            assert_eq!(check(&text.into(), "ada"), is, "{text}");
        }
        assert_eq!(check(&"long".repeat(65).into(), "ada"), Err(Weak::Length));
    }

    #[test]
    fn one_time_passwords_may_be_chosen_and_differ() {
        let (a, b) = (one_time(), one_time());
        assert_ne!(a.expose_secret(), b.expose_secret());
        assert_eq!(a.expose_secret().len(), 23);
        assert_eq!(check(&a, "ada"), Ok(()));
    }
}

//! Codes of an app on somebody's phone (TOTP, RFC 6238): six digits, another every half minute, SHA-1, which is what every
//! such app can do.

use aes_gcm::aead::Generate;
use aes_gcm::{Aes256Gcm, Key};
use chrono::{DateTime, Utc};
use secrecy::{ExposeSecret, SecretString};
use totp_rs::{Algorithm, Secret, TOTP};
use url::form_urlencoded;

/// How long a code is shown, in seconds.
const STEP: u64 = 30;
const DIGITS: usize = 6;
/// The clock of a phone may be wrong by so many steps.
const SKEW: i64 = 1;
/// RFC 4226 recommends 160 bits.
const SECRET: usize = 20;

/// A new secret in base32, as apps take it.
#[must_use]
pub fn new_secret() -> SecretString {
    let random = Key::<Aes256Gcm>::generate();
    let secret: Vec<u8> = random.iter().copied().take(SECRET).collect();
    app(secret).map(|app| app.get_secret_base32()).unwrap_or_default().into()
}

/// What the app reads from a picture: the secret, whose it is and where.
#[must_use]
pub fn address(secret: &SecretString, issuer: &str, name: &str) -> SecretString {
    let encoded = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>().replace('+', "%20");
    let (issuer, name, secret) = (encoded(issuer), encoded(name), secret.expose_secret());
    format!("otpauth://totp/{issuer}:{name}?secret={secret}&issuer={issuer}").into()
}

/// What the app shows at a time; empty: the secret is damaged.
#[must_use]
pub fn code(secret: &SecretString, at: DateTime<Utc>) -> String {
    let seconds = u64::try_from(at.timestamp()).unwrap_or_default();
    of(secret).map(|app| app.generate(seconds)).unwrap_or_default()
}

/// The half minute whose code this is, near `now`; `None`: it is none of them, or the secret is damaged.
#[must_use]
pub fn step_of(secret: &SecretString, code: &str, now: DateTime<Utc>) -> Option<i64> {
    let code: String = code.chars().filter(|c| !c.is_whitespace()).collect();
    let app = of(secret)?;
    let present = now.timestamp() / STEP.cast_signed();
    let mut found = None;
    // All of them are compared, whichever fits: the time tells nothing.
    for step in present - SKEW..=present + SKEW {
        let shown = app.generate(u64::try_from(step).ok()? * STEP);
        if bool::from(subtle::ConstantTimeEq::ct_eq(shown.as_bytes(), code.as_bytes())) {
            found = Some(step);
        }
    }
    found
}

fn of(secret: &SecretString) -> Option<TOTP> {
    app(Secret::Encoded(secret.expose_secret().to_owned()).to_bytes().ok()?)
}

fn app(secret: Vec<u8>) -> Option<TOTP> {
    TOTP::new(Algorithm::SHA1, DIGITS, 1, STEP, secret).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The secret of RFC 6238, appendix B: `12345678901234567890`.
    const RFC: &str = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ";

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(seconds, 0).unwrap()
    }

    #[test]
    fn codes_are_those_of_the_rfc() {
        // Its codes have eight digits; the last six are ours.
        for (seconds, code) in [(59, "287082"), (1_111_111_109, "081804"), (2_000_000_000, "279037")] {
            assert_eq!(step_of(&RFC.into(), code, at(seconds)), Some(seconds / 30), "{code}");
        }
    }

    #[test]
    fn a_clock_may_be_wrong_by_half_a_minute_and_no_more() {
        let known = |seconds| step_of(&RFC.into(), "081 804", at(seconds)).is_some();
        let at_it = 1_111_111_109;
        assert_eq!([-60, -30, 0, 30, 60].map(|off| known(at_it + off)), [false, true, true, true, false]);
        assert_eq!(step_of(&RFC.into(), "", at(at_it)), None);
        assert_eq!(step_of(&"damaged!".into(), "081804", at(at_it)), None);
    }

    #[test]
    fn secrets_are_160_bits_and_differ() {
        let (a, b) = (new_secret(), new_secret());
        assert_ne!(a.expose_secret(), b.expose_secret());
        assert_eq!(a.expose_secret().len(), 32);
        let address = address(&RFC.into(), "Billing", "anna@example.com");
        assert_eq!(
            address.expose_secret(),
            format!("otpauth://totp/Billing:anna%40example.com?secret={RFC}&issuer=Billing")
        );
    }
}

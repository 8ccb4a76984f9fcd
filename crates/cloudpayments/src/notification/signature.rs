//! Who sent it: HMAC-SHA256 with the API Secret, in base64, in two headers.

use base64::{Engine, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use percent_encoding::percent_decode;
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;

/// Over the bytes as they came.
pub const CONTENT_HMAC: &str = "Content-HMAC";
/// Over the bytes after URL-decoding, of the whole body at once.
pub const X_CONTENT_HMAC: &str = "X-Content-HMAC";

/// The values of both headers.
#[derive(Clone, Copy, Debug, Default)]
pub struct Signatures<'a> {
    /// The value of [`CONTENT_HMAC`].
    pub content_hmac: Option<&'a str>,
    /// The value of [`X_CONTENT_HMAC`].
    pub x_content_hmac: Option<&'a str>,
}

/// Why nothing may be believed of a notification.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// Neither header is there.
    #[error("not signed")]
    Missing,
    /// Neither header fits the body.
    #[error("wrong signature")]
    Mismatch,
}

/// Checks the raw body of a POST, or the query of a GET, before anything is parsed. One fitting header
/// is enough: the gateway sends both and warns that `Content-HMAC` breaks where something re-encodes
/// the body on its way.
///
/// A signature has no time in it: a repeated notification is as valid as the first.
pub fn verify(api_secret: &SecretString, body: &[u8], signatures: Signatures<'_>) -> Result<(), SignatureError> {
    let Signatures { content_hmac, x_content_hmac } = signatures;
    if content_hmac.is_none() && x_content_hmac.is_none() {
        return Err(SignatureError::Missing);
    }
    // JSON is not URL-encoded: both headers are over the same bytes then. Every comparison is made,
    // and each takes the same time wherever it fails.
    let raw = fits(api_secret, body, content_hmac);
    let json = fits(api_secret, body, x_content_hmac);
    let decoded = fits(api_secret, &url_decode(body), x_content_hmac);
    if raw | json | decoded { Ok(()) } else { Err(SignatureError::Mismatch) }
}

fn fits(api_secret: &SecretString, message: &[u8], signature: Option<&str>) -> bool {
    let Some(signature) = signature.and_then(|text| STANDARD.decode(text.trim()).ok()) else {
        return false;
    };
    Hmac::<Sha256>::new_from_slice(api_secret.expose_secret().as_bytes())
        .expect("HMAC takes a key of any length")
        .chain_update(message)
        .verify_slice(&signature)
        .is_ok()
}

fn url_decode(body: &[u8]) -> Vec<u8> {
    let spaced: Vec<u8> = body.iter().map(|&byte| if byte == b'+' { b' ' } else { byte }).collect();
    percent_decode(&spaced).collect()
}

//! Who sent it: HMAC-SHA256 with the API Secret, in base64, in two headers.

use std::collections::HashSet;

use base64::{Engine, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use percent_encoding::percent_decode;
use secrecy::{ExposeSecret, SecretString};
use sha2::Sha256;

use super::is_json;

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
    /// The header that decides does not fit the body.
    #[error("wrong signature")]
    Mismatch,
    /// The decoded text fits, but it is the text of more than one form: what is acted on may not be what was signed.
    #[error("the signature fits more than one form")]
    Ambiguous,
}

/// Checks the raw body of a POST, or the query of a GET, before anything is parsed. Any of `api_secrets` will do: there
/// are two while the secret is being changed.
///
/// [`CONTENT_HMAC`] decides when it is there: it is over the very bytes that are parsed. [`X_CONTENT_HMAC`] alone is over
/// the decoded text, in which an escaped `&` or `=` looks like one that separates fields, so that a genuine signature
/// could be shown with a form that was split anew. It is believed for JSON, which is not encoded, and for a form in which
/// no `&`, `=` or `%` is escaped and no field stands twice.
///
/// A signature has no time in it: a repeated notification is as valid as the first.
pub fn verify(api_secrets: &[SecretString], body: &[u8], signatures: Signatures<'_>) -> Result<(), SignatureError> {
    let Signatures { content_hmac, x_content_hmac } = signatures;
    match (content_hmac, x_content_hmac) {
        (None, None) => Err(SignatureError::Missing),
        (Some(signature), _) => fits_any(api_secrets, body, signature),
        (None, Some(signature)) if is_json(None, body) => fits_any(api_secrets, body, signature),
        (None, Some(signature)) => {
            fits_any(api_secrets, &url_decode(body), signature)?;
            if is_split_one_way(body) { Ok(()) } else { Err(SignatureError::Ambiguous) }
        }
    }
}

/// Every secret is tried, and each comparison takes the same time wherever it fails.
fn fits_any(api_secrets: &[SecretString], message: &[u8], signature: &str) -> Result<(), SignatureError> {
    let fits = api_secrets.iter().fold(false, |fits, secret| fits | self::fits(secret, message, signature));
    if fits { Ok(()) } else { Err(SignatureError::Mismatch) }
}

/// Whether no other form has the same decoded text, as far as the form itself can tell.
fn is_split_one_way(form: &[u8]) -> bool {
    let escapes = |escape: &[u8]| form.windows(3).any(|bytes| bytes.eq_ignore_ascii_case(escape));
    let mut names = HashSet::new();
    ![b"%26", b"%3d", b"%25"].into_iter().any(|escape| escapes(escape))
        && url::form_urlencoded::parse(form).all(|(name, _)| names.insert(name))
}

fn fits(api_secret: &SecretString, message: &[u8], signature: &str) -> bool {
    let Ok(signature) = STANDARD.decode(signature.trim()) else { return false };
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

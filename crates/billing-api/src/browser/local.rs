//! A key of this machine, for who has no auth service: `billing standalone` takes its tokens, `billing token` makes them.

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use billing::AccountId;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode, get_current_timestamp};
use ring::rand::SystemRandom;
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use secrecy::SecretString;
use serde_json::json;

use super::config::BrowserConfig;

const ISSUER: &str = "billing-standalone";
const AUDIENCE: &str = "billing";
const KID: &str = "local";

/// An Ed25519 key in a file that only its owner can read.
pub struct LocalKey {
    pkcs8: Vec<u8>,
    public: Vec<u8>,
}

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub enum LocalKeyError {
    #[error(transparent)]
    File(#[from] io::Error),
    #[error("is no Ed25519 key: delete it")]
    NoKey,
    #[error("cannot sign: {0}")]
    Sign(#[from] jsonwebtoken::errors::Error),
}

impl LocalKey {
    /// The key in this file.
    ///
    /// # Errors
    /// [`LocalKeyError`].
    pub fn open(file: &Path) -> Result<Self, LocalKeyError> {
        Self::from_pkcs8(std::fs::read(file)?)
    }

    /// The key in this file, which is made if it is not there.
    ///
    /// # Errors
    /// [`LocalKeyError`].
    pub fn open_or_make(file: &Path) -> Result<Self, LocalKeyError> {
        match Self::open(file) {
            Err(LocalKeyError::File(error)) if error.kind() == io::ErrorKind::NotFound => {
                let pkcs8 = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).map_err(|_| LocalKeyError::NoKey)?;
                let mut new = OpenOptions::new().write(true).create_new(true).mode(0o600).open(file)?;
                new.write_all(pkcs8.as_ref())?;
                Self::from_pkcs8(pkcs8.as_ref().to_vec())
            }
            opened => opened,
        }
    }

    fn from_pkcs8(pkcs8: Vec<u8>) -> Result<Self, LocalKeyError> {
        let pair = Ed25519KeyPair::from_pkcs8(&pkcs8).map_err(|_| LocalKeyError::NoKey)?;
        Ok(Self { public: pair.public_key().as_ref().to_vec(), pkcs8 })
    }

    /// Lets the API take the tokens of this key, unless it was told of others.
    pub fn configure(&self, config: &mut BrowserConfig) {
        if config.jwks.is_some() {
            return;
        }
        let x = BASE64_URL_SAFE_NO_PAD.encode(&self.public);
        let jwk = json!({ "kid": KID, "kty": "OKP", "crv": "Ed25519", "x": x, "use": "sig", "alg": "EdDSA" });
        config.jwks = Some(json!({ "keys": [jwk] }).to_string());
        config.jwt_issuer = Some(ISSUER.to_owned());
        config.jwt_audience = Some(AUDIENCE.to_owned());
    }

    /// A token of this account's browser.
    ///
    /// # Errors
    /// [`LocalKeyError::Sign`].
    pub fn token(&self, account: AccountId, life: Duration) -> Result<SecretString, LocalKeyError> {
        super::crypto::install();
        let header = Header { kid: Some(KID.to_owned()), ..Header::new(Algorithm::EdDSA) };
        let now = get_current_timestamp();
        let claims = json!({
            "iss": ISSUER, "aud": AUDIENCE, "sub": account.to_string(),
            "iat": now, "nbf": now, "exp": now.saturating_add(life.as_secs()),
        });
        Ok(encode(&header, &claims, &EncodingKey::from_ed_der(&self.pkcs8))?.into())
    }
}

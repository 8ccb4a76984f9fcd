//! Tokens of browsers: short-lived JWTs of the auth service, each for one account.
//!
//! A page calls grpc-web itself, and whatever it holds its visitor can read: so it holds no client's token, but one that
//! opens its visitor's own account and nothing else.

mod config;
mod crypto;
mod fetch;
mod keys;
mod local;

use std::sync::Arc;
use std::time::Duration;

use billing::AccountId;
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Validation, decode, decode_header, get_current_timestamp};
use serde::Deserialize;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

pub use self::config::BrowserConfig;
use self::keys::Keys;
pub use self::local::{LocalKey, LocalKeyError};
use crate::scope::Scope;
use crate::start::StartError;

/// What a token of a browser opens, within its own account.
pub(crate) const SCOPES: [Scope; 4] = [Scope::Tariffs, Scope::Payments, Scope::Subscriptions, Scope::Events];

/// How far the clocks of the auth service and ours may be apart.
const LEEWAY: Duration = Duration::from_secs(30);
/// The longest life of a token: one that is good for longer is stolen for longer.
const MAX_LIFE: Duration = Duration::from_hours(24);
/// The longest token that is looked at, in bytes.
const MAX_TOKEN: usize = 4096;

/// Whose tokens are taken. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Browsers(Arc<Inner>);

struct Inner {
    keys: Keys,
    issuer: String,
    audience: String,
}

/// What a good token says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Subject {
    pub(crate) account: AccountId,
    /// When the token is not taken any more.
    pub(crate) until: Instant,
}

/// Why a token is not good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BadToken {
    Expired,
    /// What is wrong with it.
    Wrong(&'static str),
}

#[derive(Deserialize)]
struct Claims {
    sub: Uuid,
    exp: u64,
}

impl Browsers {
    /// `None`: no keys are configured, so browsers have no tokens.
    pub(crate) fn of(config: &BrowserConfig) -> Result<Option<Self>, StartError> {
        crypto::install();
        let Some(place) = &config.jwks else { return Ok(None) };
        let needed = |variable, value: &Option<String>| match value {
            Some(value) if !value.is_empty() => Ok(value.clone()),
            _ => Err(StartError::setting(variable, "is needed with API_JWKS")),
        };
        let issuer = needed("API_JWT_ISSUER", &config.jwt_issuer)?;
        let audience = needed("API_JWT_AUDIENCE", &config.jwt_audience)?;
        Ok(Some(Self(Arc::new(Inner { keys: Keys::of(place, config)?, issuer, audience }))))
    }

    /// Keeps the keys fresh until `shutdown`.
    pub(crate) async fn run(self, shutdown: CancellationToken) {
        self.0.keys.run(shutdown).await;
    }

    /// Whose token this is.
    pub(crate) async fn verify(&self, jwt: &str) -> Result<Subject, BadToken> {
        if jwt.len() > MAX_TOKEN {
            return Err(BadToken::Wrong("is too long"));
        }
        let header = decode_header(jwt).map_err(|_| BadToken::Wrong("is neither a client's nor a JWT"))?;
        let kid = header.kid.ok_or(BadToken::Wrong("names no key (`kid`)"))?;
        let key = self.0.keys.find(&kid).await.ok_or(BadToken::Wrong("is signed with a key that is not known"))?;
        let mut rules = Validation::new(key.algorithm);
        rules.leeway = LEEWAY.as_secs();
        rules.validate_nbf = true;
        rules.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        rules.set_issuer(&[&self.0.issuer]);
        rules.set_audience(&[&self.0.audience]);
        let claims = decode::<Claims>(jwt, &key.key, &rules).map_err(|error| why(error.kind()))?.claims;
        let until = claims.exp.saturating_add(LEEWAY.as_secs());
        let left = Duration::from_secs(until.saturating_sub(get_current_timestamp()));
        if left > MAX_LIFE + LEEWAY {
            return Err(BadToken::Wrong("is good for more than a day"));
        }
        if claims.sub.is_nil() {
            return Err(BadToken::Wrong("has no account's id as `sub`"));
        }
        Ok(Subject { account: claims.sub.into(), until: Instant::now() + left })
    }
}

const fn why(error: &ErrorKind) -> BadToken {
    match error {
        ErrorKind::ExpiredSignature => BadToken::Expired,
        ErrorKind::ImmatureSignature => BadToken::Wrong("is not good yet (`nbf`)"),
        ErrorKind::InvalidIssuer => BadToken::Wrong("is of another issuer (`iss`)"),
        ErrorKind::InvalidAudience => BadToken::Wrong("is for another audience (`aud`)"),
        ErrorKind::InvalidAlgorithm | ErrorKind::UnsupportedAlgorithm => {
            BadToken::Wrong("is signed by another algorithm than its key is for")
        }
        ErrorKind::InvalidSignature => BadToken::Wrong("has a wrong signature"),
        _ => BadToken::Wrong("lacks a claim, or has one of the wrong kind: `exp`, `iss`, `aud`, `sub`"),
    }
}

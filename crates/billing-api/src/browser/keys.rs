//! The keys of the auth service: a JWK Set (RFC 7517), read once or fetched again and again.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};
use parking_lot::RwLock;
use serde::Deserialize;
use tokio::sync::Mutex;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use url::Url;

use super::config::BrowserConfig;
use super::fetch::{Fetch, MAX_DOCUMENT};
use crate::outage::Outages;
use crate::start::StartError;

/// More keys than any auth service rotates among.
const MAX_KEYS: usize = 100;
/// How soon keys that could not be fetched are asked for again.
const FETCH_AGAIN_AFTER: Duration = Duration::from_secs(10);

/// Times in which the keys could not be fetched.
static UNFETCHED: Outages = Outages::new();

/// A public key, and the one algorithm it is used with: that a token names another makes it no token.
#[derive(Clone)]
pub(super) struct Key {
    pub(super) key: DecodingKey,
    pub(super) algorithm: Algorithm,
}

/// By `kid`.
type Known = HashMap<String, Key>;

/// The keys as they are known now. Those that were known stay so while the auth service cannot be reached.
pub(super) struct Keys {
    known: RwLock<Arc<Known>>,
    source: Option<Source>,
}

/// Where keys are fetched.
struct Source {
    fetch: Fetch,
    refresh: Duration,
    pause: Duration,
    /// When they were last fetched for a token whose key was not known. Held while that is done: who comes meanwhile waits
    /// for the same answer.
    asked_at: Mutex<Option<Instant>>,
}

impl Keys {
    /// Reads the keys, or finds out where they are to be fetched.
    pub(super) fn of(place: &str, config: &BrowserConfig) -> Result<Self, StartError> {
        let wrong = |problem: String| StartError::setting("API_JWKS", problem);
        if let Ok(url) = Url::parse(place)
            && matches!(url.scheme(), "http" | "https")
        {
            let fetch = Fetch::new(url, config.jwks_ca.as_deref())?;
            let source =
                Source { fetch, refresh: config.jwks_refresh, pause: config.jwks_pause, asked_at: Mutex::default() };
            return Ok(Self { known: RwLock::default(), source: Some(source) });
        }
        let document =
            if place.trim_start().starts_with('{') { place.to_owned() } else { file(place).map_err(wrong)? };
        let known = parse(document.as_bytes()).map_err(wrong)?;
        Ok(Self { known: RwLock::new(Arc::new(known)), source: None })
    }

    /// The key of this id. One that is not known is asked for at the auth service, but not too often.
    pub(super) async fn find(&self, kid: &str) -> Option<Key> {
        if let Some(key) = self.get(kid) {
            return Some(key);
        }
        let source = self.source.as_ref()?;
        let mut asked_at = source.asked_at.lock().await;
        let known = self.get(kid);
        if known.is_some() || asked_at.is_some_and(|at| at.elapsed() < source.pause) {
            return known;
        }
        *asked_at = Some(Instant::now());
        let _ = self.update(source).await;
        self.get(kid)
    }

    fn get(&self, kid: &str) -> Option<Key> {
        self.known.read().get(kid).cloned()
    }

    async fn update(&self, source: &Source) -> Result<(), ()> {
        let fetched = match source.fetch.document().await {
            Ok(document) => parse(&document),
            Err(problem) => Err(problem),
        };
        match fetched {
            Ok(known) => {
                tracing::debug!(keys = known.len(), "the keys of the auth service were fetched");
                *self.known.write() = Arc::new(known);
                Ok(())
            }
            Err(problem) => {
                tracing::debug!(problem, "the keys of the auth service were not fetched");
                if UNFETCHED.begins() {
                    tracing::warn!(problem, "API_JWKS: cannot be fetched; the keys that are known go on");
                }
                Err(())
            }
        }
    }

    /// Keeps the keys fresh until `shutdown`.
    pub(super) async fn run(&self, shutdown: CancellationToken) {
        let Some(source) = &self.source else { return };
        let keep_fresh = async {
            loop {
                let pause = match self.update(source).await {
                    Ok(()) => source.refresh,
                    Err(()) => source.refresh.min(FETCH_AGAIN_AFTER),
                };
                tokio::time::sleep(pause).await;
            }
        };
        tokio::select! {
            () = keep_fresh => {}
            () = shutdown.cancelled() => {}
        }
    }
}

fn file(path: &str) -> Result<String, String> {
    let unreadable = |error| format!("{path}: {error}");
    let length = std::fs::metadata(Path::new(path)).map_err(unreadable)?.len();
    if length > MAX_DOCUMENT as u64 {
        return Err(format!("{path} is longer than {MAX_DOCUMENT} bytes"));
    }
    std::fs::read_to_string(path).map_err(unreadable)
}

/// The keys of a set that tokens of browsers may be signed with. Others that it has – for encryption, of other algorithms,
/// of kinds that are not known yet – are none of our business; a set without a single one of ours is wrong.
fn parse(document: &[u8]) -> Result<Known, String> {
    #[derive(Deserialize)]
    struct Set {
        keys: Vec<serde_json::Value>,
    }
    let set: Set = serde_json::from_slice(document).map_err(|error| format!("is no JWK Set: {error}"))?;
    if set.keys.len() > MAX_KEYS {
        return Err(format!("has more than {MAX_KEYS} keys"));
    }
    let known: Known = set.keys.into_iter().filter_map(key).collect();
    if known.is_empty() { Err("has no key with a `kid` for RS256, ES256 or EdDSA".to_owned()) } else { Ok(known) }
}

fn key(value: serde_json::Value) -> Option<(String, Key)> {
    let jwk: Jwk = serde_json::from_value(value).ok()?;
    let kid = jwk.common.key_id.clone().filter(|kid| !kid.is_empty())?;
    if jwk.common.public_key_use.as_ref().is_some_and(|used| *used != PublicKeyUse::Signature) {
        return None;
    }
    let (algorithm, named) = match &jwk.algorithm {
        AlgorithmParameters::RSA(_) => (Algorithm::RS256, KeyAlgorithm::RS256),
        AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P256 => {
            (Algorithm::ES256, KeyAlgorithm::ES256)
        }
        AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => {
            (Algorithm::EdDSA, KeyAlgorithm::EdDSA)
        }
        _ => return None,
    };
    if jwk.common.key_algorithm.is_some_and(|said| said != named) {
        return None;
    }
    Some((kid, Key { key: DecodingKey::from_jwk(&jwk).ok()?, algorithm }))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn ids(keys: &Value) -> Result<Vec<String>, String> {
        let known = parse(json!({ "keys": keys }).to_string().as_bytes())?;
        let mut ids: Vec<_> = known.into_keys().collect();
        ids.sort();
        Ok(ids)
    }

    #[test]
    fn only_keys_of_the_three_algorithms_are_taken() {
        let x = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
        let keys = json!([
            { "kid": "ed", "kty": "OKP", "crv": "Ed25519", "x": x, "use": "sig" },
            { "kid": "rsa", "kty": "RSA", "n": "AQAB", "e": "AQAB", "alg": "RS256" },
            { "kid": "ec", "kty": "EC", "crv": "P-256", "x": x, "y": x },
            { "kid": "secret", "kty": "oct", "k": "c2VjcmV0" },
            { "kid": "other algorithm", "kty": "RSA", "n": "AQAB", "e": "AQAB", "alg": "RS512" },
            { "kid": "other curve", "kty": "EC", "crv": "P-384", "x": x, "y": x },
            { "kid": "encrypts", "kty": "RSA", "n": "AQAB", "e": "AQAB", "use": "enc" },
            { "kid": "of tomorrow", "kty": "PQ", "pub": "AQAB" },
            { "kty": "OKP", "crv": "Ed25519", "x": x },
            "nonsense",
        ]);
        assert_eq!(ids(&keys), Ok(["ec", "ed", "rsa"].map(str::to_owned).to_vec()));
    }

    #[test]
    fn a_set_that_nothing_can_be_checked_with_is_wrong() {
        for wrong in ["", "{}", "[]", "{\"keys\":[]}", "{\"keys\":[{\"kid\":\"a\",\"kty\":\"oct\",\"k\":\"c2Vj\"}]}"] {
            assert!(parse(wrong.as_bytes()).is_err(), "{wrong}");
        }
        assert!(ids(&json!(vec![json!({}); MAX_KEYS + 1])).unwrap_err().contains("more than 100"));
    }
}

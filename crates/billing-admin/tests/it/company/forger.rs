//! A provider that says what is not so: what it returns is signed by the book, or not, and says one thing that is wrong.

use std::sync::{Arc, Mutex};

use axum::extract::State;
use axum::routing::{get, post};
use axum::{Json, Router};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use ring::{digest, hmac};
use serde_json::{Value, json};
use url::Url;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lie {
    None,
    Issuer,
    Audience,
    /// For us and for somebody else.
    MoreAudiences,
    Party,
    Nonce,
    NoNonce,
    Expired,
    OfYesterday,
    FromTheFuture,
    /// Another's key under the name of the right one.
    Signature,
    UnknownKey,
    Unsigned,
    /// Signed with what the panel knows too.
    SharedSecret,
    AccessToken,
    /// It is right, but they were not asked since.
    NotAsked,
}

impl Lie {
    /// Those that nobody is let in by.
    pub(super) const ALL: &[Self] = &[
        Self::Issuer,
        Self::Audience,
        Self::MoreAudiences,
        Self::Party,
        Self::Nonce,
        Self::NoNonce,
        Self::Expired,
        Self::OfYesterday,
        Self::FromTheFuture,
        Self::Signature,
        Self::Unsigned,
        Self::SharedSecret,
        Self::AccessToken,
        Self::UnknownKey,
    ];
}

pub(super) struct Forger {
    pub(super) issuer: String,
    shared: Arc<Shared>,
}

struct Shared {
    issuer: String,
    key: Mutex<(String, EcdsaKeyPair)>,
    /// What is said next, and for which nonce.
    next: Mutex<(Lie, String)>,
    /// All ID tokens and access tokens.
    said: Mutex<Vec<String>>,
}

fn new_key() -> EcdsaKeyPair {
    let random = SystemRandom::new();
    let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).expect("a key");
    EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.as_ref(), &random).expect("the key just made")
}

fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

impl Forger {
    pub(super) async fn open() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let issuer = format!("http://{}", listener.local_addr().expect("its address"));
        let shared = Arc::new(Shared {
            issuer: issuer.clone(),
            key: Mutex::new(("first".to_owned(), new_key())),
            next: Mutex::new((Lie::None, String::new())),
            said: Mutex::default(),
        });
        let router = Router::new()
            .route("/.well-known/openid-configuration", get(metadata))
            .route("/jwks", get(keys))
            .route("/token", post(token))
            .with_state(Arc::clone(&shared));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { issuer, shared }
    }

    /// What is said to the next who comes back from this page of sign-in.
    pub(super) fn tell(&self, lie: Lie, asked: &Url) {
        *self.shared.next.lock().expect("it is whole") = (lie, of(asked, "nonce"));
    }

    /// Where the browser is sent back to.
    pub(super) fn back(&self, asked: &Url) -> String {
        format!("{}?code=a-code&state={}", of(asked, "redirect_uri"), of(asked, "state"))
    }

    pub(super) fn change_key(&self) {
        *self.shared.key.lock().expect("it is whole") = ("second".to_owned(), new_key());
    }

    /// What must stand in no log.
    pub(super) fn secrets(&self) -> Vec<String> {
        self.shared.said.lock().expect("it is whole").clone()
    }
}

fn of(asked: &Url, name: &str) -> String {
    asked.query_pairs().find(|(key, _)| key == name).expect("it is asked for").1.into_owned()
}

async fn metadata(State(shared): State<Arc<Shared>>) -> Json<Value> {
    let at = |path: &str| format!("{}{path}", shared.issuer);
    Json(json!({
        "issuer": shared.issuer,
        "authorization_endpoint": at("/authorize"),
        "token_endpoint": at("/token"),
        "jwks_uri": at("/jwks"),
        "response_types_supported": ["code"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["ES256"],
    }))
}

async fn keys(State(shared): State<Arc<Shared>>) -> Json<Value> {
    let key = shared.key.lock().expect("it is whole");
    let point = key.1.public_key().as_ref();
    let (x, y) = (encode(&point[1..33]), encode(&point[33..]));
    Json(json!({ "keys": [{ "kty": "EC", "crv": "P-256", "use": "sig", "kid": key.0, "x": x, "y": y }] }))
}

async fn token(State(shared): State<Arc<Shared>>) -> Json<Value> {
    let (lie, nonce) = shared.next.lock().expect("it is whole").clone();
    let now = billing::clock::now().timestamp();
    let access = format!("access-{}", uuid::Uuid::new_v4());
    let hashed = digest::digest(&digest::SHA256, access.as_bytes());
    let mut claims = json!({
        "iss": shared.issuer,
        "aud": "billing",
        "sub": "00u1",
        "iat": now,
        "exp": now + 300,
        "auth_time": now,
        "nonce": nonce,
        "email": super::ADA,
        "email_verified": true,
        "at_hash": encode(&hashed.as_ref()[..16]),
    });
    let (field, value) = match lie {
        Lie::Issuer => ("iss", json!("https://other.example")),
        Lie::Audience => ("aud", json!("another")),
        Lie::MoreAudiences => ("aud", json!(["billing", "another"])),
        Lie::Party => ("azp", json!("another")),
        Lie::Nonce => ("nonce", json!("another")),
        Lie::NoNonce => ("nonce", Value::Null),
        Lie::Expired => ("exp", json!(now - 1)),
        Lie::OfYesterday => ("iat", json!(now - 86_400)),
        Lie::FromTheFuture => ("iat", json!(now + 300)),
        Lie::AccessToken => ("at_hash", json!(encode([0; 16]))),
        Lie::NotAsked => ("auth_time", json!(now - 3600)),
        _ => ("name", json!("Ada")),
    };
    claims[field] = value;
    let id_token = shared.sign(lie, &claims);
    let mut said = shared.said.lock().expect("it is whole");
    said.extend([access.clone(), id_token.clone(), "a secret of a test".to_owned()]);
    drop(said);
    Json(json!({ "access_token": access, "token_type": "Bearer", "expires_in": 300, "id_token": id_token }))
}

impl Shared {
    fn sign(&self, lie: Lie, claims: &Value) -> String {
        let key = self.key.lock().expect("it is whole");
        let (algorithm, kid) = match lie {
            Lie::Unsigned => ("none", key.0.as_str()),
            Lie::SharedSecret => ("HS256", key.0.as_str()),
            Lie::UnknownKey => ("ES256", "unknown"),
            _ => ("ES256", key.0.as_str()),
        };
        let header = json!({ "alg": algorithm, "kid": kid });
        let text = format!("{}.{}", encode(header.to_string()), encode(claims.to_string()));
        let by = |key: &EcdsaKeyPair| encode(key.sign(&SystemRandom::new(), text.as_bytes()).expect("a signature"));
        let signature = match lie {
            Lie::Unsigned => String::new(),
            Lie::SharedSecret => {
                encode(hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, b"a secret of a test"), text.as_bytes()))
            }
            Lie::Signature => by(&new_key()),
            _ => by(&key.1),
        };
        format!("{text}.{signature}")
    }
}

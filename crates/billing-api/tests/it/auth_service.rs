//! The auth service, as far as browsers' tokens go: it has keys, publishes them, and signs.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64URL;
use billing::clock;
use parking_lot::Mutex;
use ring::rand::SystemRandom;
use ring::rsa::PublicKeyComponents;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair,
};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

pub(crate) const ISSUER: &str = "https://auth.cinema.example";
pub(crate) const AUDIENCE: &str = "billing";

/// A key pair with its id.
pub(crate) struct Signer {
    kid: String,
    pair: Pair,
}

enum Pair {
    Ed(Ed25519KeyPair),
    Ec(EcdsaKeyPair),
    Rsa(RsaKeyPair),
}

impl Signer {
    pub(crate) fn ed(kid: &str) -> Self {
        let pkcs8 = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).expect("a key");
        let pair = Pair::Ed(Ed25519KeyPair::from_pkcs8(pkcs8.as_ref()).expect("our key"));
        Self { kid: kid.to_owned(), pair }
    }

    pub(crate) fn ec(kid: &str) -> Self {
        let (algorithm, random) = (&ECDSA_P256_SHA256_FIXED_SIGNING, SystemRandom::new());
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(algorithm, &random).expect("a key");
        let pair = Pair::Ec(EcdsaKeyPair::from_pkcs8(algorithm, pkcs8.as_ref(), &random).expect("our key"));
        Self { kid: kid.to_owned(), pair }
    }

    /// ring makes no keys of this kind: the one for tests.
    pub(crate) fn rsa(kid: &str) -> Self {
        let pkcs8 = include_bytes!("key_of_tests_only.rsa.pk8");
        Self { kid: kid.to_owned(), pair: Pair::Rsa(RsaKeyPair::from_pkcs8(pkcs8).expect("a key")) }
    }

    pub(crate) fn algorithm(&self) -> &'static str {
        match self.pair {
            Pair::Ed(_) => "EdDSA",
            Pair::Ec(_) => "ES256",
            Pair::Rsa(_) => "RS256",
        }
    }

    /// The public half, as a JWK.
    pub(crate) fn jwk(&self) -> Value {
        let text = |bytes: &[u8]| BASE64URL.encode(bytes);
        match &self.pair {
            Pair::Ed(pair) => {
                json!({ "kid": self.kid, "kty": "OKP", "crv": "Ed25519", "x": text(pair.public_key().as_ref()) })
            }
            Pair::Ec(pair) => {
                let point = &pair.public_key().as_ref()[1..];
                json!({ "kid": self.kid, "kty": "EC", "crv": "P-256", "x": text(&point[..32]), "y": text(&point[32..]) })
            }
            Pair::Rsa(pair) => {
                let key = PublicKeyComponents::<Vec<u8>>::from(pair.public());
                let (n, e) = (text(&key.n), text(&key.e));
                json!({ "kid": self.kid, "kty": "RSA", "alg": "RS256", "use": "sig", "n": n, "e": e })
            }
        }
    }

    /// A good token of this account.
    pub(crate) fn token(&self, account_id: &str) -> String {
        self.sign(&self.header(), &claims(account_id))
    }

    pub(crate) fn header(&self) -> Value {
        json!({ "alg": self.algorithm(), "typ": "JWT", "kid": self.kid })
    }

    /// Whatever header and claims say.
    pub(crate) fn sign(&self, header: &Value, claims: &Value) -> String {
        let text = |value: &Value| BASE64URL.encode(value.to_string());
        let message = format!("{}.{}", text(header), text(claims));
        let random = SystemRandom::new();
        let signature = match &self.pair {
            Pair::Ed(pair) => pair.sign(message.as_bytes()).as_ref().to_vec(),
            Pair::Ec(pair) => pair.sign(&random, message.as_bytes()).expect("signed").as_ref().to_vec(),
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public().modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &random, message.as_bytes(), &mut signature).expect("signed");
                signature
            }
        };
        format!("{message}.{}", BASE64URL.encode(signature))
    }
}

/// What a good token says.
pub(crate) fn claims(account_id: &str) -> Value {
    let now = clock::now().timestamp();
    json!({ "iss": ISSUER, "aud": AUDIENCE, "sub": account_id, "iat": now, "nbf": now, "exp": now + 900 })
}

pub(crate) fn key_set(signers: &[&Signer]) -> String {
    json!({ "keys": signers.iter().map(|signer| signer.jwk()).collect::<Vec<_>>() }).to_string()
}

/// Publishes a key set over HTTP. Ends with this value.
pub(crate) struct KeyServer {
    pub(crate) url: String,
    /// What it responds with; `None`: it hangs up.
    document: Arc<Mutex<Option<String>>>,
    asked: Arc<AtomicUsize>,
    serving: tokio::task::JoinHandle<()>,
}

impl KeyServer {
    pub(crate) async fn start(document: Option<String>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}/jwks.json", listener.local_addr().expect("an address"));
        let (document, asked) = (Arc::new(Mutex::new(document)), Arc::new(AtomicUsize::new(0)));
        let (said, count) = (Arc::clone(&document), Arc::clone(&asked));
        let serving = tokio::spawn(async move {
            while let Ok((mut connection, _)) = listener.accept().await {
                let _ = connection.read(&mut [0; 4096]).await;
                let body = said.lock().clone();
                if let Some(body) = body {
                    let length = body.len();
                    let answer =
                        format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}");
                    let _ = connection.write_all(answer.as_bytes()).await;
                }
                count.fetch_add(1, Ordering::SeqCst);
            }
        });
        Self { url, document, asked, serving }
    }

    pub(crate) fn publish(&self, document: Option<String>) {
        *self.document.lock() = document;
    }

    /// How often it was asked.
    pub(crate) fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }
}

impl Drop for KeyServer {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

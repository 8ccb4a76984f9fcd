//! Fetching a JWK Set.

use std::path::Path;
use std::time::Duration;

use dial::tls::{self, Check, Settings};
use reqwest::{Client, redirect};
use url::{Host, Url};

use crate::start::StartError;

/// The longest JWK Set that is read, in bytes.
pub(super) const MAX_DOCUMENT: usize = 256 * 1024;

/// How long the whole response may take.
const PATIENCE: Duration = Duration::from_secs(3);

pub(super) struct Fetch {
    http: Client,
    url: Url,
}

impl Fetch {
    /// Only over TLS, for who can change the keys on their way can be everybody; but from this machine itself.
    pub(super) fn new(url: Url, authorities: Option<&Path>) -> Result<Self, StartError> {
        let is_local = match url.host() {
            Some(Host::Domain(name)) => name == "localhost",
            Some(Host::Ipv4(address)) => address.is_loopback(),
            Some(Host::Ipv6(address)) => address.is_loopback(),
            None => false,
        };
        let mut builder = Client::builder().redirect(redirect::Policy::none()).timeout(PATIENCE);
        if url.scheme() == "https" {
            let settings = Settings { check: Check::Full, roots: authorities.map(Path::to_owned), identity: None };
            let config = tls::client_config(&settings, ["API_JWKS_CA"; 3])
                .map_err(|problem| StartError::setting("API_JWKS_CA", problem))?;
            builder = builder.tls_backend_preconfigured(config);
        } else if !is_local {
            return Err(StartError::setting("API_JWKS", "is fetched over https:// only, but from this machine"));
        } else {
            // Nobody is trusted, and no process-wide provider of TLS needed.
            let config = rustls::ClientConfig::builder_with_provider(rustls::crypto::ring::default_provider().into())
                .with_safe_default_protocol_versions()
                .map_err(|error| StartError::setting("API_JWKS", error))?
                .with_root_certificates(rustls::RootCertStore::empty())
                .with_no_client_auth();
            builder = builder.tls_backend_preconfigured(config).no_proxy();
        }
        let http = builder.build().map_err(|error| StartError::setting("API_JWKS", error))?;
        Ok(Self { http, url })
    }

    pub(super) async fn document(&self) -> Result<Vec<u8>, String> {
        // An address may have a password in it.
        let failed = |error: reqwest::Error| error.without_url().to_string();
        let mut answer = self.http.get(self.url.clone()).send().await.map_err(failed)?;
        if !answer.status().is_success() {
            return Err(format!("status {}", answer.status().as_u16()));
        }
        let mut document = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(failed)? {
            if document.len() + chunk.len() > MAX_DOCUMENT {
                return Err(format!("longer than {MAX_DOCUMENT} bytes"));
            }
            document.extend_from_slice(&chunk);
        }
        Ok(document)
    }
}

//! How the provider is reached: with reqwest, which the workspace has, and rustls.

use std::path::Path;
use std::pin::Pin;
use std::time::Duration;

use dial::tls::{self, Check, Settings};
use openidconnect::{AsyncHttpClient, HttpRequest, HttpResponse};
use reqwest::{Client, redirect};
use url::Url;

use super::config::{is_safe, is_this_machine};
use crate::config::StartError;

/// How long one response may take.
const PATIENCE: Duration = Duration::from_secs(4);
/// The longest that is read, in bytes.
const MAX_RESPONSE: usize = 256 * 1024;

/// Why there is no response. It says nothing of what was sent.
#[derive(Debug, thiserror::Error)]
pub(super) enum HttpError {
    #[error("{0} is not reached over https")]
    InTheClear(String),
    #[error("a response is longer than {MAX_RESPONSE} bytes")]
    TooLong,
    #[error("{0}")]
    Request(#[from] reqwest::Error),
    #[error(transparent)]
    Response(#[from] axum::http::Error),
}

pub(super) struct Http(Client);

impl Http {
    pub(super) fn new(issuer: &Url, authorities: Option<&Path>) -> Result<Self, StartError> {
        let wrong = |name, problem| StartError::Setting { name, problem };
        // Where it says that something is, it is: a redirect could lead into our own network.
        let mut builder = Client::builder().redirect(redirect::Policy::none()).timeout(PATIENCE);
        if issuer.scheme() == "https" {
            let settings = Settings { check: Check::Full, roots: authorities.map(Path::to_owned), identity: None };
            let config = tls::client_config(&settings, ["ADMIN_OIDC_CA"; 3])
                .map_err(|problem| wrong("ADMIN_OIDC_CA", problem))?;
            builder = builder.tls_backend_preconfigured(config);
        } else {
            // Nobody is trusted, and no process-wide provider of TLS needed.
            let config = rustls::ClientConfig::builder_with_provider(rustls::crypto::ring::default_provider().into())
                .with_safe_default_protocol_versions()
                .map_err(|error| wrong("ADMIN_OIDC_ISSUER", error.to_string()))?
                .with_root_certificates(rustls::RootCertStore::empty())
                .with_no_client_auth();
            builder = builder.tls_backend_preconfigured(config);
        }
        if is_this_machine(issuer) {
            builder = builder.no_proxy();
        }
        builder.build().map(Self).map_err(|error| wrong("ADMIN_OIDC_ISSUER", error.to_string()))
    }

    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let request = reqwest::Request::try_from(request).map_err(reqwest::Error::without_url)?;
        if !is_safe(request.url()) {
            return Err(HttpError::InTheClear(request.url().host_str().unwrap_or_default().to_owned()));
        }
        let mut received = self.0.execute(request).await.map_err(reqwest::Error::without_url)?;
        let mut response = axum::http::Response::builder().status(received.status());
        if let Some(headers) = response.headers_mut() {
            headers.extend(received.headers().iter().map(|(name, value)| (name.clone(), value.clone())));
        }
        let mut body = Vec::new();
        while let Some(chunk) = received.chunk().await.map_err(reqwest::Error::without_url)? {
            if body.len() + chunk.len() > MAX_RESPONSE {
                return Err(HttpError::TooLong);
            }
            body.extend_from_slice(&chunk);
        }
        Ok(response.body(body)?)
    }
}

impl<'c> AsyncHttpClient<'c> for Http {
    type Error = HttpError;
    type Future = Pin<Box<dyn Future<Output = Result<HttpResponse, HttpError>> + Send + 'c>>;

    fn call(&'c self, request: HttpRequest) -> Self::Future {
        Box::pin(self.send(request))
    }
}

//! One request, one answer, or an error that says whether the request can have been processed.

use std::{error::Error as _, fmt, time::Duration};

use base64::{Engine, engine::general_purpose::STANDARD};
use reqwest::{
    header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER},
    redirect, retry,
};
use secrecy::{ExposeSecret, SecretString};
use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::{self, Instant},
};

use super::{ClientConfig, ConfigError, tls};
use crate::{Doubt, Error, NotProcessed, RequestId, answer::Received};

/// The largest answer that is read; a page of the longest list is far smaller.
const MAX_ANSWER: usize = 4 * 1024 * 1024;

/// The longest `Retry-After` that is believed.
const MAX_RETRY_AFTER: u64 = 60 * 60;

/// A connection unused for longer is not used again: the less likely is it to be closed by the gateway
/// at the moment of the next charge, whose outcome would then be unknown.
const IDLE_TIMEOUT: Duration = Duration::from_secs(15);

pub(super) struct Transport {
    http: reqwest::Client,
    base_url: String,
    public_id: String,
    slots: Semaphore,
    timeout: Duration,
}

impl Transport {
    pub(super) fn new(config: ClientConfig) -> Result<Self, ConfigError> {
        let base_url = config.check()?;
        let tls = if base_url.scheme() == "https" { tls::client_config() } else { tls::no_tls() };
        // Nothing may send a request a second time behind our back: no redirects, no retries.
        let mut builder = reqwest::Client::builder()
            .tls_backend_preconfigured(tls.map_err(ConfigError::Tls)?)
            .default_headers(headers(&config.public_id, &config.api_secret))
            .redirect(redirect::Policy::none())
            .retry(retry::never())
            .timeout(config.timeout)
            .connect_timeout(config.connect_timeout)
            .pool_idle_timeout(IDLE_TIMEOUT)
            .pool_max_idle_per_host(config.max_in_flight);
        if is_loopback(&base_url) {
            builder = builder.no_proxy();
        }
        Ok(Self {
            http: builder.build().map_err(ConfigError::Http)?,
            base_url: base_url.as_str().trim_end_matches('/').to_owned(),
            public_id: config.public_id,
            slots: Semaphore::new(config.max_in_flight.min(Semaphore::MAX_PERMITS)),
            timeout: config.timeout,
        })
    }

    /// Sends one request and reads the whole answer, whatever its status.
    pub(super) async fn post(
        &self,
        path: &'static str,
        body: Vec<u8>,
        request_id: Option<&RequestId>,
    ) -> Result<Received, Error> {
        let _slot = self.slot().await?;
        let started = Instant::now();
        let received = self.exchange(path, body, request_id).await;
        let elapsed = started.elapsed();
        let request_id = request_id.map(RequestId::as_str);
        match &received {
            Ok(answer) => {
                tracing::debug!(path, request_id, status = answer.status, ?elapsed, "answered");
            }
            Err(error) => tracing::debug!(path, request_id, %error, ?elapsed, "not answered"),
        }
        received
    }

    /// A free slot; held until the answer is read or given up.
    async fn slot(&self) -> Result<SemaphorePermit<'_>, Error> {
        match time::timeout(self.timeout, self.slots.acquire()).await {
            Ok(Ok(slot)) => Ok(slot),
            Ok(Err(_)) | Err(_) => Err(Error::SafeToRetry { why: NotProcessed::Busy, retry_after: None }),
        }
    }

    async fn exchange(&self, path: &str, body: Vec<u8>, request_id: Option<&RequestId>) -> Result<Received, Error> {
        let mut request = self.http.post(format!("{}{path}", self.base_url)).body(body);
        if let Some(request_id) = request_id {
            request = request.header("X-Request-ID", request_id.as_str());
        }
        let mut response = request.send().await.map_err(failure)?;
        let status = response.status().as_u16();
        let retry_after = retry_after(response.headers());
        let mut body = Vec::new();
        // The status alone can decide: then a broken body changes nothing.
        loop {
            match response.chunk().await {
                Ok(Some(chunk)) if body.len() + chunk.len() <= MAX_ANSWER => {
                    body.extend_from_slice(&chunk);
                }
                Ok(None) => break,
                _ if decides(status) => break,
                Ok(Some(_)) => return Err(Doubt::TooLarge.into()),
                Err(error) => return Err(failure(error)),
            }
        }
        Ok(Received { status, retry_after, body })
    }
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transport")
            .field("base_url", &self.base_url)
            .field("public_id", &self.public_id)
            .field("free_slots", &self.slots.available_permits())
            .finish_non_exhaustive()
    }
}

/// The statuses that mean the same whatever the body.
const fn decides(status: u16) -> bool {
    matches!(status, 401 | 429)
}

fn headers(public_id: &str, api_secret: &SecretString) -> HeaderMap {
    let credentials = STANDARD.encode(format!("{public_id}:{}", api_secret.expose_secret()));
    let mut basic = HeaderValue::from_str(&format!("Basic {credentials}")).expect("base64 is fit for a header");
    basic.set_sensitive(true);
    let json = HeaderValue::from_static("application/json");
    HeaderMap::from_iter([(AUTHORIZATION, basic), (CONTENT_TYPE, json.clone()), (ACCEPT, json)])
}

/// A proxy of the environment cannot reach this machine's own sandbox.
fn is_loopback(url: &url::Url) -> bool {
    match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost",
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

/// Only an error of the connector proves that nothing was sent: it stands before the first byte.
fn failure(error: reqwest::Error) -> Error {
    let error = error.without_url();
    if error.is_builder() {
        Error::OurFault { message: with_causes(&error) }
    } else if error.is_connect() {
        Error::SafeToRetry { why: NotProcessed::Unreachable(with_causes(&error)), retry_after: None }
    } else if error.is_timeout() {
        Doubt::Timeout.into()
    } else {
        Doubt::ConnectionLost(with_causes(&error)).into()
    }
}

fn with_causes(error: &reqwest::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds: u64 = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds.min(MAX_RETRY_AFTER)))
}

//! Posts notices, in their order, again until they are taken.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, SecondsFormat};
use reqwest::StatusCode;
use reqwest::redirect::Policy;
use rustls::crypto::ring;
use rustls::{ClientConfig, RootCertStore};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::time::sleep;
use url::Url;

use super::{Alerts, Notice};

const TIMEOUT: Duration = Duration::from_secs(10);
/// Waiting times before a notice is posted again; after the last it is given up.
const RETRIES: [u64; 9] = [1, 2, 5, 10, 30, 60, 120, 300, 600];

pub(super) struct Hook {
    url: Url,
    token: Option<SecretString>,
    title: String,
    client: Result<reqwest::Client, String>,
}

impl Hook {
    pub(super) fn new(alerts: &Alerts, title: &str) -> Self {
        Self { url: alerts.url.clone(), token: alerts.token.clone(), title: title.to_owned(), client: client() }
    }

    pub(super) async fn tell(self, mut notices: mpsc::Receiver<Notice>) {
        while let Some(notice) = notices.recv().await {
            let body = self.body(&notice);
            let mut waits = RETRIES.iter();
            while let Err(failure) = self.post(&body).await {
                let wait = waits.next().filter(|_| failure.is_passing);
                let Some(wait) = wait else {
                    tracing::error!(
                        alert = notice.alert,
                        error = failure.says,
                        "an alert was not taken by its webhook"
                    );
                    break;
                };
                tracing::warn!(alert = notice.alert, error = failure.says, "an alert is posted again");
                sleep(Duration::from_secs(*wait)).await;
            }
        }
    }

    fn body(&self, notice: &Notice) -> Value {
        let since = DateTime::from_timestamp_micros((notice.since * 1e6) as i64).unwrap_or_default();
        json!({
            "dashboard": self.title,
            "alert": notice.alert,
            "queue": notice.queue,
            "state": if notice.is_over { "recovered" } else { "firing" },
            "says": notice.says,
            "since": since.to_rfc3339_opts(SecondsFormat::Secs, true),
        })
    }

    async fn post(&self, body: &Value) -> Result<(), Failure> {
        let client = self.client.as_ref().map_err(|says| Failure { says: says.clone(), is_passing: false })?;
        let request = client.post(self.url.clone()).json(body);
        let request = match &self.token {
            Some(token) => request.bearer_auth(token.expose_secret()),
            None => request,
        };
        // An address may have a secret in its path.
        let response = request
            .send()
            .await
            .map_err(|error| Failure { says: error.without_url().to_string(), is_passing: true })?;
        let status = response.status();
        if status.is_success() {
            return Ok(());
        }
        let is_passing =
            status.is_server_error() || matches!(status, StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS);
        Err(Failure { says: format!("it answered {status}"), is_passing })
    }
}

struct Failure {
    says: String,
    is_passing: bool,
}

fn client() -> Result<reqwest::Client, String> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let tls = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let client = reqwest::Client::builder().timeout(TIMEOUT).redirect(Policy::none()).tls_backend_preconfigured(tls);
    client.build().map_err(|error| error.to_string())
}

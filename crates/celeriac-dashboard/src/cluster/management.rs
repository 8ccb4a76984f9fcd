//! `RabbitMQ`'s management API: what AMQP does not tell of queues.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use percent_encoding::percent_decode_str;
use reqwest::redirect::Policy;
use rustls::crypto::ring;
use rustls::{ClientConfig, RootCertStore};
use serde::Deserialize;
use url::Url;

use super::Depth;

const TIMEOUT: Duration = Duration::from_secs(4);
/// A response longer than this is not read, in bytes: some ten thousand queues.
const MAX_ANSWER: usize = 8 << 20;

/// Where to ask. Neither it nor its errors show the password.
pub(crate) struct Management {
    client: Result<(reqwest::Client, Url), ManagementError>,
}

/// Why it does not tell.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum ManagementError {
    #[error("the address of the management API cannot be used")]
    Address,
    #[error("the management API does not respond: {0}")]
    NoAnswer(String),
    #[error("the management API's response cannot be read: {0}")]
    Unreadable(String),
}

#[derive(Deserialize)]
struct Told {
    name: String,
    #[serde(default, rename = "type")]
    kind: Option<String>,
    #[serde(default)]
    messages_ready: u64,
    #[serde(default)]
    messages_unacknowledged: u64,
    #[serde(default)]
    consumers: u64,
    #[serde(default)]
    message_stats: Stats,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Stats {
    publish_details: Rate,
    deliver_get_details: Rate,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Rate {
    rate: f64,
}

impl From<Told> for Depth {
    fn from(told: Told) -> Self {
        let stats = &told.message_stats;
        Self {
            exists: true,
            ready: told.messages_ready,
            consumers: told.consumers,
            unacked: Some(told.messages_unacknowledged),
            rates: Some((stats.publish_details.rate, stats.deliver_get_details.rate)),
            kind: told.kind,
            ..Self::default()
        }
    }
}

impl Management {
    /// Asks for the queues of the virtual host that is in the address of the broker.
    pub(crate) fn new(api: Url, broker: &str) -> Self {
        let url = queues_url(api, broker).ok_or(ManagementError::Address);
        let client = url.and_then(|url| Ok((client(&url)?, url)));
        Self { client }
    }

    /// All queues by name.
    pub(super) async fn queues(&self) -> Result<HashMap<String, Depth>, ManagementError> {
        let (client, url) = self.client.as_ref().map_err(Clone::clone)?;
        let no_answer = |error: reqwest::Error| ManagementError::NoAnswer(error.without_url().to_string());
        let answer = client.get(url.clone()).send().await.and_then(reqwest::Response::error_for_status);
        let mut answer = answer.map_err(no_answer)?;
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(no_answer)? {
            if body.len() + chunk.len() > MAX_ANSWER {
                return Err(ManagementError::Unreadable("it is too long".to_owned()));
            }
            body.extend_from_slice(&chunk);
        }
        let told: Vec<Told> =
            serde_json::from_slice(&body).map_err(|error| ManagementError::Unreadable(error.to_string()))?;
        Ok(told.into_iter().map(|told| (told.name.clone(), told.into())).collect())
    }
}

/// Speaks TLS by itself, whatever the program has chosen for others; trusts whom the system trusts.
fn client(url: &Url) -> Result<reqwest::Client, ManagementError> {
    let unusable = |error: &dyn std::fmt::Display| ManagementError::NoAnswer(error.to_string());
    let mut roots = RootCertStore::empty();
    if url.scheme() == "https" {
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    }
    let tls =
        ClientConfig::builder_with_provider(Arc::new(ring::default_provider())).with_safe_default_protocol_versions();
    let tls = tls.map_err(|error| unusable(&error))?.with_root_certificates(roots).with_no_client_auth();
    let client = reqwest::Client::builder().tls_backend_preconfigured(tls).redirect(Policy::none()).timeout(TIMEOUT);
    client.build().map_err(|error| unusable(&error))
}

/// `…/api/queues/<virtual host>`
fn queues_url(mut api: Url, broker: &str) -> Option<Url> {
    let broker = Url::parse(broker.split(';').next()?.trim()).ok()?;
    let path = broker.path().strip_prefix('/').unwrap_or_default();
    let virtual_host = percent_decode_str(if path.is_empty() { "/" } else { path }).decode_utf8().ok()?.into_owned();
    api.path_segments_mut().ok()?.pop_if_empty().extend(["api", "queues", &virtual_host]);
    api.set_query(Some("disable_stats=false&enable_queue_totals=false"));
    Some(api)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_virtual_host_is_that_of_the_broker() {
        for (broker, expected) in [
            ("amqp://u@h:5672/shop", "/api/queues/shop"),
            ("amqp://h", "/api/queues/%2F"),
            ("amqp://h//", "/api/queues/%2F"),
            ("amqp://h/a%2Fb;amqp://other/a%2Fb", "/api/queues/a%2Fb"),
        ] {
            let url = queues_url("http://x:y@z:15672/".parse().unwrap(), broker).unwrap();
            assert_eq!(url.path(), expected, "{broker}");
        }
    }
}

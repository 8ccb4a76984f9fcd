//! How the auth service is reached: `AUTH_URL`, `AUTH_TOKEN`, `AUTH_TLS_CA`.

use std::path::Path;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use tonic::Request;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Uri};

use crate::setting::ConfigError;

pub(crate) mod proto {
    #![expect(unreachable_pub, reason = "generated")]
    tonic::include_proto!("auth.v1");
}

/// Made when it is needed. Cheap to clone; clones share one.
#[derive(Clone)]
pub(crate) struct Connection {
    pub(crate) channel: Channel,
    authorization: Option<MetadataValue<Ascii>>,
}

impl Connection {
    pub(crate) fn new(
        url: &str,
        token: Option<&SecretString>,
        ca: Option<&Path>,
        timeout: Duration,
    ) -> Result<Self, ConfigError> {
        let wrong = |variable, problem: String| ConfigError::Auth { variable, problem };
        let uri: Uri = url.parse().map_err(|_| wrong("AUTH_URL", "is no URL".to_owned()))?;
        let is_tls = match (uri.scheme_str(), uri.authority()) {
            (Some("https"), Some(_)) => true,
            (Some("http"), Some(_)) => false,
            _ => return Err(wrong("AUTH_URL", "must be http://host:port or https://host:port".to_owned())),
        };
        let mut endpoint = Endpoint::from(uri).connect_timeout(timeout).tcp_nodelay(true);
        if is_tls {
            let tls = match ca {
                Some(file) => {
                    let pem = std::fs::read(file)
                        .map_err(|error| wrong("AUTH_TLS_CA", format!("{}: {error}", file.display())))?;
                    ClientTlsConfig::new().ca_certificate(Certificate::from_pem(pem))
                }
                None => ClientTlsConfig::new().trust_anchors(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
            };
            endpoint = endpoint.tls_config(tls).map_err(|error| wrong("AUTH_TLS_CA", error.to_string()))?;
        } else if ca.is_some() {
            return Err(wrong("AUTH_TLS_CA", "is for an AUTH_URL of https".to_owned()));
        }
        let authorization = token.filter(|token| !token.expose_secret().is_empty()).map(bearer).transpose()?;
        Ok(Self { channel: endpoint.connect_lazy(), authorization })
    }

    /// A request that says who we are and how long it may take.
    pub(crate) fn request<T>(&self, message: T, timeout: Duration) -> Request<T> {
        let mut request = Request::new(message);
        request.set_timeout(timeout);
        if let Some(authorization) = &self.authorization {
            request.metadata_mut().insert("authorization", authorization.clone());
        }
        request
    }
}

fn bearer(token: &SecretString) -> Result<MetadataValue<Ascii>, ConfigError> {
    let value = MetadataValue::try_from(format!("Bearer {}", token.expose_secret()));
    let mut value = value.map_err(|_| ConfigError::Auth {
        variable: "AUTH_TOKEN",
        problem: "holds characters that no header may hold".to_owned(),
    })?;
    value.set_sensitive(true);
    Ok(value)
}

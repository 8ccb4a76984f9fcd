//! TLS and mutual TLS, when the configuration asks for them.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};

use crate::config::Config;
use crate::notifications::NotificationsConfig;
use crate::start::StartError;

/// What a client may speak in it: gRPC, and grpc-web over either.
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

type Broken = Box<dyn Error + Send + Sync>;

/// The TLS of this configuration; `None` where it asks for none. Broken files are found here, not by the first client.
pub(crate) fn server_tls(config: &Config) -> Result<Option<Arc<ServerConfig>>, StartError> {
    let authorities = given(config.tls_client_ca.as_ref());
    let (certificate, key) = match (given(config.tls_cert.as_ref()), given(config.tls_key.as_ref())) {
        (Some(certificate), Some(key)) => (certificate, key),
        (None, None) if authorities.is_none() => return Ok(None),
        (None, _) => {
            return Err(StartError::setting(
                "API_TLS_CERT",
                "must be set together with API_TLS_KEY and API_TLS_CLIENT_CA",
            ));
        }
        (Some(_), None) => return Err(StartError::setting("API_TLS_KEY", "must be set together with API_TLS_CERT")),
    };
    let certificate = read("API_TLS_CERT", certificate)?;
    let key = read("API_TLS_KEY", key)?;
    let roots = match authorities {
        Some(file) => Some(roots(&read("API_TLS_CLIENT_CA", file)?).map_err(|error| {
            StartError::setting("API_TLS_CLIENT_CA", format!("holds no certificate authority ({error})"))
        })?),
        None => None,
    };
    finished(&certificate, &key, roots, "API_TLS_CERT and API_TLS_KEY")
}

/// Likewise of the port for notifications, whose caller has no certificate: it signs what it sends.
pub(crate) fn notifications_tls(config: &NotificationsConfig) -> Result<Option<Arc<ServerConfig>>, StartError> {
    let (certificate, key) = match (given(config.tls_cert.as_ref()), given(config.tls_key.as_ref())) {
        (Some(certificate), Some(key)) => (certificate, key),
        (None, None) => return Ok(None),
        (None, _) => {
            return Err(StartError::setting(
                "NOTIFICATIONS_TLS_CERT",
                "must be set together with NOTIFICATIONS_TLS_KEY",
            ));
        }
        (Some(_), None) => {
            return Err(StartError::setting(
                "NOTIFICATIONS_TLS_KEY",
                "must be set together with NOTIFICATIONS_TLS_CERT",
            ));
        }
    };
    let certificate = read("NOTIFICATIONS_TLS_CERT", certificate)?;
    let key = read("NOTIFICATIONS_TLS_KEY", key)?;
    finished(&certificate, &key, None, "NOTIFICATIONS_TLS_CERT and NOTIFICATIONS_TLS_KEY")
}

fn finished(
    certificate: &[u8],
    key: &[u8],
    clients: Option<RootCertStore>,
    variables: &'static str,
) -> Result<Option<Arc<ServerConfig>>, StartError> {
    let mut tls = built(certificate, key, clients).map_err(|error| {
        let problem = format!("do not hold a certificate chain and its private key ({error})");
        StartError::setting(variables, problem)
    })?;
    tls.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).to_vec();
    Ok(Some(Arc::new(tls)))
}

/// The provider is named: the libraries of this process could use either of two.
fn built(certificate: &[u8], key: &[u8], clients: Option<RootCertStore>) -> Result<ServerConfig, Broken> {
    let provider = Arc::new(ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions()?;
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(roots) => {
            let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider).build()?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let chain = CertificateDer::pem_slice_iter(certificate).collect::<Result<Vec<_>, _>>()?;
    Ok(builder.with_single_cert(chain, PrivateKeyDer::from_pem_slice(key)?)?)
}

fn roots(authorities: &[u8]) -> Result<RootCertStore, Broken> {
    let mut roots = RootCertStore::empty();
    for authority in CertificateDer::pem_slice_iter(authorities) {
        roots.add(authority?)?;
    }
    if roots.is_empty() { Err("there is no certificate in it".into()) } else { Ok(roots) }
}

/// A variable that is set to nothing, as compose files do, is not set.
fn given(path: Option<&PathBuf>) -> Option<&PathBuf> {
    path.filter(|path| !path.as_os_str().is_empty())
}

fn read(variable: &'static str, path: &Path) -> Result<Vec<u8>, StartError> {
    fs::read(path).map_err(|error| StartError::setting(variable, format!("{}: {error}", path.display())))
}

//! TLS with ring.

use std::sync::Arc;

use rustls::{ClientConfig, RootCertStore, crypto::ring};

/// A configuration of our own provider, so that no process-wide one has to be installed first.
///
/// Trusted are Mozilla's authorities, built in – a slim container has no certificates – and those of
/// the machine, where `SSL_CERT_FILE` and `SSL_CERT_DIR` can name others.
pub(super) fn client_config() -> Result<ClientConfig, rustls::Error> {
    let mut roots: RootCertStore = webpki_roots::TLS_SERVER_ROOTS.iter().cloned().collect();
    let native = rustls_native_certs::load_native_certs();
    let (added, unusable) = roots.add_parsable_certificates(native.certs);
    tracing::debug!(added, unusable, errors = ?native.errors, "certificates of this machine");
    with_roots(roots)
}

/// For plain HTTP: nobody is trusted.
pub(super) fn no_tls() -> Result<ClientConfig, rustls::Error> {
    with_roots(RootCertStore::empty())
}

fn with_roots(roots: RootCertStore) -> Result<ClientConfig, rustls::Error> {
    let provider = Arc::new(ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(config)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_certificates_on_the_machine_and_no_process_wide_provider_are_needed() {
        assert!(!webpki_roots::TLS_SERVER_ROOTS.is_empty());
        assert!(client_config().is_ok() && no_tls().is_ok());
        assert!(rustls::crypto::CryptoProvider::get_default().is_none());
    }
}

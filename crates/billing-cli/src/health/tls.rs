//! Whom `billing health` trusts, and how it shows who it is.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, bail};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

use super::HealthConfig;

/// The TLS of this configuration.
pub(super) fn client(config: &HealthConfig) -> anyhow::Result<ClientConfig> {
    let provider = Arc::new(ring::default_provider());
    let own = match &config.api_tls_cert {
        Some(file) => Some(certificates(file).context("API_TLS_CERT")?.swap_remove(0)),
        None => None,
    };
    let roots = roots(config)?;
    let authorities = match roots.is_empty() {
        true => None,
        false => Some(WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider)).build()?),
    };
    let verifier = Verifier { own, authorities, provider: Arc::clone(&provider) };
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    Ok(match (&config.cert, &config.key) {
        (Some(cert), Some(key)) => {
            let key =
                PrivateKeyDer::from_pem_file(key).with_context(|| format!("HEALTH_TLS_KEY: {}", key.display()))?;
            let chain = certificates(cert).context("HEALTH_TLS_CERT")?;
            builder.with_client_auth_cert(chain, key).context("HEALTH_TLS_CERT and HEALTH_TLS_KEY")?
        }
        (None, None) => builder.with_no_client_auth(),
        _ => bail!("HEALTH_TLS_CERT and HEALTH_TLS_KEY must be set together"),
    })
}

/// The name that the server's certificate must have.
pub(super) fn server_name(config: &HealthConfig) -> anyhow::Result<ServerName<'static>> {
    let name = match &config.server_name {
        Some(name) => name.clone(),
        None => super::address(&config.url)?.0,
    };
    ServerName::try_from(name).context("HEALTH_TLS_NAME is no host name")
}

fn roots(config: &HealthConfig) -> anyhow::Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    match &config.ca {
        Some(file) => {
            for authority in certificates(file).context("HEALTH_TLS_CA")? {
                roots.add(authority).with_context(|| format!("HEALTH_TLS_CA: {}", file.display()))?;
            }
        }
        // Some of the system's may be broken: the others are good for all that.
        None => drop(roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs)),
    }
    Ok(roots)
}

/// The certificates of a file, one at least.
fn certificates(file: &Path) -> anyhow::Result<Vec<CertificateDer<'static>>> {
    let shown = file.display();
    let found = CertificateDer::pem_file_iter(file).with_context(|| format!("{shown}"))?;
    let found = found.collect::<Result<Vec<_>, _>>().with_context(|| format!("{shown} is not PEM"))?;
    if found.is_empty() {
        bail!("{shown} holds no certificate");
    }
    Ok(found)
}

/// Trusts the one certificate that the API of this environment has – the question stays on the machine, under a name like
/// 127.0.0.1 that no certificate has – and any other by its authority and name.
#[derive(Debug)]
struct Verifier {
    own: Option<CertificateDer<'static>>,
    authorities: Option<Arc<WebPkiServerVerifier>>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if self.own.as_ref().is_some_and(|own| own == end_entity) {
            return Ok(ServerCertVerified::assertion());
        }
        let Some(authorities) = &self.authorities else {
            return Err(Error::General("no certificate authority is known: set HEALTH_TLS_CA".into()));
        };
        authorities.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

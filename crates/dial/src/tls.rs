//! TLS by rustls: whom to trust, and who we are.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::client::WebPkiServerVerifier;
use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use tokio_rustls::rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
};

/// How a server is checked, and how we are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// What must be right about the server's certificate.
    pub check: Check,
    /// A file of trusted authorities in PEM; `None`: those of the system.
    pub roots: Option<PathBuf>,
    /// Our own certificate and its key, both files in PEM, for servers that ask for one.
    pub identity: Option<(PathBuf, PathBuf)>,
}

/// What must be right about a server's certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Check {
    /// It is from a trusted authority and for the name of the server.
    Full,
    /// It is from a trusted authority, whatever name it is for.
    Authority,
    /// Nothing: what is sent is encrypted, for whoever answers.
    Nothing,
}

/// Makes TLS connections in one way.
#[derive(Clone)]
pub struct Connector(TlsConnector);

impl std::fmt::Debug for Connector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connector").finish_non_exhaustive()
    }
}

impl Connector {
    /// # Errors
    /// As [`client_config`].
    pub fn new(settings: &Settings, names: [&str; 3]) -> Result<Self, String> {
        Ok(Self(TlsConnector::from(Arc::new(client_config(settings, names)?))))
    }

    /// The handshake with the server of this name.
    ///
    /// # Errors
    /// The network's, or what is wrong with a certificate: see [`is_about_trust`].
    pub async fn connect<S: AsyncRead + AsyncWrite + Unpin>(&self, host: &str, stream: S) -> io::Result<TlsStream<S>> {
        let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
        self.0.connect(name, stream).await
    }
}

/// What rustls is told. `names` are what the settings are called where they come from: of the authorities' file, of our
/// certificate's and of its key's.
///
/// # Errors
/// A file cannot be read or has nothing in it, or there is nobody to trust.
pub fn client_config(settings: &Settings, names: [&str; 3]) -> Result<ClientConfig, String> {
    let provider = Arc::new(ring::default_provider());
    let verifier = verifier(settings, names[0], &provider)?;
    let config = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let config = match &settings.identity {
        None => config.with_no_client_auth(),
        Some((certificate, key)) => {
            let chain = certificates_in(certificate, names[1])?;
            let problem = |what: String| format!("{} {}: {what}", names[2], key.display());
            let key = PrivateKeyDer::from_pem_file(key).map_err(|error| problem(error.to_string()))?;
            config.with_client_auth_cert(chain, key).map_err(|error| problem(error.to_string()))?
        }
    };
    Ok(config)
}

/// Whether a handshake has failed for good: one side does not accept the other's certificate, or speaks no TLS.
#[must_use]
pub fn is_about_trust(error: &io::Error) -> bool {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
    inner.is_some() || error.kind() == io::ErrorKind::InvalidData
}

fn verifier(settings: &Settings, name: &str, provider: &Arc<CryptoProvider>) -> Result<Arc<Lenient>, String> {
    let authorities = match (settings.check, &settings.roots) {
        (Check::Nothing, _) => None,
        (_, roots) => {
            let roots = match roots {
                Some(file) => roots_in(file, name)?,
                None => system_roots(name)?,
            };
            let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider)).build();
            Some(verifier.map_err(|error| format!("{name}: {error}"))?)
        }
    };
    Ok(Arc::new(Lenient { authorities, any_name: settings.check != Check::Full, provider: Arc::clone(provider) }))
}

fn certificates_in(file: &Path, name: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let problem = |what: String| format!("{name} {}: {what}", file.display());
    let found = CertificateDer::pem_file_iter(file).map_err(|error| problem(error.to_string()))?;
    let found = found.collect::<Result<Vec<_>, _>>().map_err(|error| problem(error.to_string()))?;
    if found.is_empty() { Err(problem("no certificates in it".to_owned())) } else { Ok(found) }
}

fn roots_in(file: &Path, name: &str) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates_in(file, name)? {
        roots.add(certificate).map_err(|error| format!("{name} {}: {error}", file.display()))?;
    }
    Ok(roots)
}

fn system_roots(name: &str) -> Result<RootCertStore, String> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    // A system may have some that nobody reads any more.
    let (usable, _) = roots.add_parsable_certificates(found.certs);
    if usable == 0 { Err(format!("the system has no trusted certificates; name a file by {name}")) } else { Ok(roots) }
}

/// Checks as far as it is asked to.
#[derive(Debug)]
struct Lenient {
    /// `None`: anybody is trusted.
    authorities: Option<Arc<WebPkiServerVerifier>>,
    any_name: bool,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Lenient {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Some(authorities) = &self.authorities else { return Ok(ServerCertVerified::assertion()) };
        match authorities.verify_server_cert(certificate, intermediates, name, ocsp, now) {
            // The name is looked at last: everything else is right.
            Err(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) if self.any_name => Ok(ServerCertVerified::assertion()),
            checked => checked,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        tokio_rustls::rustls::crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        tokio_rustls::rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

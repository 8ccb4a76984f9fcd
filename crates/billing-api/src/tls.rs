//! TLS and mutual TLS, when the configuration asks for them.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tonic::transport::{Certificate, Identity, Server, ServerTlsConfig};

use crate::config::Config;
use crate::server::StartError;

/// A client that does not finish its handshake in this time is cut off.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// The TLS of this configuration; `None` where it asks for none. Broken files are found here, not by the first client.
pub(crate) fn server_tls(config: &Config) -> Result<Option<ServerTlsConfig>, StartError> {
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
    let identity = Identity::from_pem(read("API_TLS_CERT", certificate)?, read("API_TLS_KEY", key)?);
    let tls = ServerTlsConfig::new().identity(identity).timeout(HANDSHAKE);
    check(&tls, "API_TLS_CERT and API_TLS_KEY", "do not hold a certificate chain and its private key")?;

    let Some(authorities) = authorities else { return Ok(Some(tls)) };
    let tls = tls.client_ca_root(Certificate::from_pem(read("API_TLS_CLIENT_CA", authorities)?));
    check(&tls, "API_TLS_CLIENT_CA", "holds no certificate authority")?;
    Ok(Some(tls))
}

/// A variable that is set to nothing, as compose files do, is not set.
fn given(path: Option<&PathBuf>) -> Option<&PathBuf> {
    path.filter(|path| !path.as_os_str().is_empty())
}

fn read(variable: &'static str, path: &Path) -> Result<Vec<u8>, StartError> {
    fs::read(path).map_err(|error| StartError::setting(variable, format!("{}: {error}", path.display())))
}

fn check(tls: &ServerTlsConfig, variable: &'static str, problem: &str) -> Result<(), StartError> {
    match Server::builder().tls_config(tls.clone()) {
        Ok(_) => Ok(()),
        Err(error) => {
            let cause = std::error::Error::source(&error).map(|cause| format!(" ({cause})")).unwrap_or_default();
            Err(StartError::setting(variable, format!("{problem}{cause}")))
        }
    }
}

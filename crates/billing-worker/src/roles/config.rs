//! Where the auth service is, and how it is called.

use std::path::PathBuf;
use std::time::Duration;

use billing::duration;
use clap::Args;
use secrecy::SecretString;

use super::client::Client;
use crate::auth::Connection;
use crate::setting::{ConfigError, at_least_one};

/// Options of the push of roles.
#[derive(Debug, Clone, Args)]
#[group(id = "roles")]
pub struct RolesConfig {
    /// The auth service (`auth.v1.Roles`), which is told the role of each account whose access changes, as
    /// `https://auth.example:443`. Nobody is told while it is not set. Any number of workers may have it
    #[arg(long, env = "AUTH_URL", value_name = "URL")]
    pub auth_url: Option<String>,

    /// The token that it knows us by, sent as `authorization: Bearer`
    #[arg(long, env = "AUTH_TOKEN", hide_env_values = true, value_name = "TOKEN")]
    pub auth_token: Option<SecretString>,

    /// Certificate authorities (PEM) that its certificate must be signed by, instead of the public ones
    #[arg(long, env = "AUTH_TLS_CA", value_name = "FILE")]
    pub auth_tls_ca: Option<PathBuf>,

    /// Calls to the auth service at once, from all workers together; one account has one at a most
    #[arg(long, env = "ROLES_MAX_IN_FLIGHT", default_value_t = 16, value_parser = at_least_one, value_name = "N")]
    pub roles_max_in_flight: usize,

    /// How long one call may take; then it is made again, later each time
    #[arg(long, env = "ROLES_TIMEOUT", default_value = "5s", value_parser = timeout, value_name = "DURATION")]
    pub roles_timeout: Duration,
}

fn timeout(text: &str) -> Result<Duration, String> {
    match duration::parse(text) {
        Ok(Duration::ZERO) => Err("must not be zero".to_owned()),
        Ok(timeout) if timeout > Duration::from_secs(60) => Err("must be 60s or less".to_owned()),
        Ok(timeout) => Ok(timeout),
        Err(error) => Err(error.to_string()),
    }
}

impl RolesConfig {
    /// The client of this configuration; `None` where there is none. Reaches out to nobody.
    pub(crate) fn client(&self) -> Result<Option<Client>, ConfigError> {
        Ok(self.connection()?.map(|connection| Client::new(connection, self.roles_timeout)))
    }

    /// The connection to the auth service, likewise.
    pub(crate) fn connection(&self) -> Result<Option<Connection>, ConfigError> {
        // What is set to nothing, as compose files do, is not set.
        let Some(url) = self.auth_url.as_deref().filter(|url| !url.is_empty()) else { return Ok(None) };
        let ca = self.auth_tls_ca.as_deref().filter(|path| !path.as_os_str().is_empty());
        Connection::new(url, self.auth_token.as_ref(), ca, self.roles_timeout).map(Some)
    }
}

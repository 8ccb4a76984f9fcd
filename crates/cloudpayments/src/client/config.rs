//! What a client must know.

use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use url::Url;

/// How to reach the gateway.
#[derive(Clone, Debug)]
pub struct ClientConfig {
    /// `https://api.cloudpayments.ru`, with or without a slash at the end.
    pub base_url: String,
    /// The Public ID of the terminal.
    pub public_id: String,
    /// Its API Secret.
    pub api_secret: SecretString,
    /// How long one call may take, from connecting to the last byte of the answer. The gateway may
    /// legally answer for five minutes: a call cut short here has an unknown outcome. As long may a
    /// call wait for a free slot before it.
    pub timeout: Duration,
    /// How long establishing a connection may take, TLS included. Should be shorter than `timeout`:
    /// only then is a gateway that cannot be reached known to be safe to retry.
    pub connect_timeout: Duration,
    /// How many requests may be in flight at once. The gateway refuses more than 5 on a test terminal
    /// and 30 on a live one, over all processes together.
    pub max_in_flight: usize,
}

/// Which setting is wrong.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// Not an absolute http or https URL, or with a user, a query or a fragment.
    #[error("base_url: {0}")]
    BaseUrl(String),
    /// Empty, or not fit for HTTP Basic authentication.
    #[error("public_id: must be visible ASCII without a colon")]
    PublicId,
    /// Empty.
    #[error("api_secret: must not be empty")]
    ApiSecret,
    /// Zero.
    #[error("{0}: must not be zero")]
    Zero(&'static str),
    /// The HTTP client cannot be set up.
    #[error("HTTP client: {0}")]
    Http(#[source] reqwest::Error),
    /// TLS cannot be set up.
    #[error("TLS: {0}")]
    Tls(#[source] rustls::Error),
}

impl ClientConfig {
    /// Checks every setting and gives the base URL.
    pub(super) fn check(&self) -> Result<Url, ConfigError> {
        let visible = |byte: u8| byte.is_ascii_graphic() && byte != b':';
        if self.public_id.is_empty() || !self.public_id.bytes().all(visible) {
            return Err(ConfigError::PublicId);
        }
        if self.api_secret.expose_secret().is_empty() {
            return Err(ConfigError::ApiSecret);
        }
        for (name, zero) in [
            ("timeout", self.timeout.is_zero()),
            ("connect_timeout", self.connect_timeout.is_zero()),
            ("max_in_flight", self.max_in_flight == 0),
        ] {
            if zero {
                return Err(ConfigError::Zero(name));
            }
        }
        base_url(&self.base_url)
    }
}

/// The complaints do not repeat the URL: it may hold a password.
fn base_url(text: &str) -> Result<Url, ConfigError> {
    let wrong = |why: &str| ConfigError::BaseUrl(why.to_owned());
    let url = Url::parse(text).map_err(|error| wrong(&error.to_string()))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(wrong("must begin with https:// or http://"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(wrong("must not contain a user or a password"));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(wrong("must not contain a query or a fragment"));
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> ClientConfig {
        ClientConfig {
            base_url: "https://api.cloudpayments.ru".to_owned(),
            public_id: "pk_test".to_owned(),
            api_secret: "sk_test".into(),
            timeout: Duration::from_secs(60),
            connect_timeout: Duration::from_secs(5),
            max_in_flight: 5,
        }
    }

    #[test]
    fn a_wrong_setting_is_named() {
        type Change = fn(&mut ClientConfig);
        let changes: [(&str, Change); 8] = [
            ("base_url", |config| config.base_url = "api.cloudpayments.ru".to_owned()),
            ("base_url", |config| config.base_url = "ftp://x".to_owned()),
            ("base_url", |config| config.base_url = "https://user:hunter2@x".to_owned()),
            ("public_id", |config| config.public_id = "a:b".to_owned()),
            ("api_secret", |config| config.api_secret = "".into()),
            ("timeout", |config| config.timeout = Duration::ZERO),
            ("connect_timeout", |config| config.connect_timeout = Duration::ZERO),
            ("max_in_flight", |config| config.max_in_flight = 0),
        ];
        assert!(config().check().is_ok());
        for (name, change) in changes {
            let mut config = config();
            change(&mut config);
            let complaint = config.check().unwrap_err().to_string();
            assert!(complaint.starts_with(name), "{complaint}");
            assert!(!complaint.contains("hunter2"), "{complaint}");
        }
    }
}

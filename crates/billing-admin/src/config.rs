use std::net::SocketAddr;
use std::time::Duration;

use clap::Args;
use url::Url;

use crate::oidc::OidcConfig;

/// How the panel is served.
#[derive(Args, Clone, Debug)]
#[group(id = "admin")]
pub struct Config {
    /// Where the panel is. Browsers send its cookies in the clear unless `ADMIN_HTTPS` is set: so only with it, behind a proxy
    /// that speaks TLS, can another address than a loopback one be listened on
    #[arg(long, env = "ADMIN_LISTEN", default_value = "127.0.0.1:8070", value_name = "ADDRESS:PORT")]
    pub admin_listen: SocketAddr,

    /// Browsers come by https, through a proxy that keeps Host and Origin
    #[arg(long, env = "ADMIN_HTTPS")]
    pub admin_https: bool,

    /// How many proxies stand in front, each of which adds to X-Forwarded-For: whose sign-ins fail is counted by address
    #[arg(long, env = "ADMIN_PROXIES", default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..=10), value_name = "N")]
    pub admin_proxies: u8,

    /// Everybody of the staff needs a second factor: without one no page opens but the one where it is set up. Otherwise it is
    /// asked of those who have set one up
    #[arg(long, env = "ADMIN_SECOND_FACTOR")]
    pub admin_second_factor: bool,

    /// Where the dashboard of the queue is, as the browsers of the staff reach it: the story of a payment links to its tasks there
    #[arg(long, env = "ADMIN_DASHBOARD", value_parser = web_address, value_name = "URL")]
    pub admin_dashboard: Option<Url>,

    /// Prices are set so long before they come into force, so that subscribers are told in time; as the workers' setting
    #[arg(
        id = "admin_price_change_notice",
        long = "admin-price-change-notice",
        env = "PRICE_CHANGE_NOTICE",
        default_value = "30d",
        value_parser = billing::duration::notice,
        value_name = "DURATION"
    )]
    pub price_change_notice: Duration,

    /// Serves an address that is no loopback one without https as well: for containers on a machine of one's own, whose port
    /// is published on the loopback interface only
    #[arg(long, env = "ADMIN_INSECURE")]
    pub admin_insecure: bool,

    #[command(flatten)]
    pub oidc: OidcConfig,
}

fn web_address(text: &str) -> Result<Url, String> {
    let url: Url = text.parse().map_err(|error| format!("{error}"))?;
    let is_plain = url.query().is_none() && url.fragment().is_none() && url.password().is_none();
    if matches!(url.scheme(), "http" | "https") && is_plain {
        Ok(url)
    } else {
        Err("expected an address as in https://queues.example".to_owned())
    }
}

/// Why the panel is not served.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A setting that cannot be worked with.
    #[error(
        "ADMIN_LISTEN: {0} is no loopback address, and ADMIN_HTTPS is not set: passwords would be sent in the clear"
    )]
    InTheClear(SocketAddr),
    /// Likewise, of signing in with a company's account.
    #[error("{name}: {problem}")]
    Setting { name: &'static str, problem: String },
    /// The port is taken, or not ours.
    #[error("ADMIN_LISTEN: cannot listen on {address}")]
    Listen { address: SocketAddr, source: std::io::Error },
}

impl Config {
    /// The dashboard's address, to which paths are added.
    pub(crate) fn queues(&self) -> Option<String> {
        self.admin_dashboard.as_ref().map(|url| url.as_str().trim_end_matches('/').to_owned())
    }

    pub(crate) fn price_notice(&self) -> chrono::TimeDelta {
        chrono::TimeDelta::from_std(self.price_change_notice).unwrap_or(chrono::TimeDelta::MAX)
    }

    /// # Errors
    /// [`StartError::InTheClear`].
    pub fn check(&self) -> Result<(), StartError> {
        let is_safe = self.admin_https || self.admin_insecure || self.admin_listen.ip().is_loopback();
        if is_safe { Ok(()) } else { Err(StartError::InTheClear(self.admin_listen)) }
    }
}

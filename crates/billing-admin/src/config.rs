use std::net::SocketAddr;

use clap::Args;

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

    /// Serves an address that is no loopback one without https as well: for containers on a machine of one's own, whose port
    /// is published on the loopback interface only
    #[arg(long, env = "ADMIN_INSECURE")]
    pub admin_insecure: bool,
}

/// Why the panel is not served.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A setting that cannot be worked with.
    #[error(
        "ADMIN_LISTEN: {0} is no loopback address, and ADMIN_HTTPS is not set: passwords would be sent in the clear"
    )]
    InTheClear(SocketAddr),
    /// The port is taken, or not ours.
    #[error("ADMIN_LISTEN: cannot listen on {address}")]
    Listen { address: SocketAddr, source: std::io::Error },
}

impl Config {
    /// # Errors
    /// [`StartError::InTheClear`].
    pub fn check(&self) -> Result<(), StartError> {
        let is_safe = self.admin_https || self.admin_insecure || self.admin_listen.ip().is_loopback();
        if is_safe { Ok(()) } else { Err(StartError::InTheClear(self.admin_listen)) }
    }
}

//! Why the API does not start.

use std::fmt::Display;
use std::io;
use std::net::SocketAddr;

/// Why the API could not start. Nothing was served.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A setting is wrong: correct it.
    #[error("{variable}: {problem}")]
    Setting { variable: &'static str, problem: String },
    /// The address cannot be had, for example because another process has it.
    #[error("{variable}: cannot listen on {address}: {source}")]
    Listen { variable: &'static str, address: SocketAddr, source: io::Error },
}

impl StartError {
    pub(crate) fn setting(variable: &'static str, problem: impl Display) -> Self {
        Self::Setting { variable, problem: problem.to_string() }
    }
}

//! How the process ends, told by its exit status (`sysexits.h`).

use std::process::ExitCode;

/// Everything went as asked.
pub const OK: u8 = 0;
/// The command ran and its answer is no: the demo saw something that should not be. Or a worker has dropped tasks before
/// their end, as Celery's ends after a cold shutdown.
pub const FAILED: u8 = 1;
/// The command line of one of Celery's verbs is wrong, as Celery says it.
pub const CELERY_USAGE: u8 = 2;
/// `EX_USAGE`: an option or an environment variable is wrong. The message names it.
pub const CONFIGURATION: u8 = 64;
/// `EX_UNAVAILABLE`: a server that this role cannot do without was not reached in time.
pub const UNAVAILABLE: u8 = 69;
/// `EX_SOFTWARE`: the role ended by an error of its own.
pub const SOFTWARE: u8 = 70;
/// A signal came before what was asked for was done, as shells tell of SIGINT.
pub const INTERRUPTED: u8 = 130;

/// `EX_TEMPFAIL`: nothing is wrong; a supervisor should start us again.
pub const AGAIN: u8 = 75;

/// An error together with the status that the process ends with.
#[derive(Debug)]
pub struct Exit {
    pub status: u8,
    pub error: anyhow::Error,
}

impl Exit {
    /// Wrong configuration: trying again changes nothing.
    pub fn configuration(error: impl Into<anyhow::Error>) -> Self {
        Self { status: CONFIGURATION, error: error.into() }
    }

    /// A server is out of reach: a supervisor should start us again.
    pub fn unavailable(error: impl Into<anyhow::Error>) -> Self {
        Self { status: UNAVAILABLE, error: error.into() }
    }

    /// The error with what caused it, each said once: many errors say their cause themselves.
    #[must_use]
    pub fn told(&self) -> String {
        told(&self.error)
    }

    pub fn code(&self) -> ExitCode {
        ExitCode::from(self.status)
    }
}

/// An error with everything that caused it, on one line. What the line says already is left out.
#[must_use]
pub fn told(error: &anyhow::Error) -> String {
    error.chain().map(ToString::to_string).fold(String::new(), |said, cause| match said.as_str() {
        "" => cause,
        said if said.contains(&cause) => said.to_owned(),
        said => format!("{said}: {cause}"),
    })
}

impl<E: Into<anyhow::Error>> From<E> for Exit {
    fn from(error: E) -> Self {
        Self { status: SOFTWARE, error: error.into() }
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("API_LISTEN: cannot listen: {source}")]
    struct Listen {
        source: io::Error,
    }

    #[test]
    fn a_cause_is_said_once_though_the_error_says_it_too() {
        let in_use = || io::Error::new(io::ErrorKind::AddrInUse, "address in use");
        let listen = || Listen { source: in_use() };
        assert_eq!(Exit::unavailable(listen()).told(), "API_LISTEN: cannot listen: address in use");
        let started = anyhow::Error::from(listen()).context("the API does not start");
        assert_eq!(told(&started), "the API does not start: API_LISTEN: cannot listen: address in use");
        let plain = anyhow::Error::from(in_use()).context("the ledger");
        assert_eq!(told(&plain), "the ledger: address in use");
    }
}

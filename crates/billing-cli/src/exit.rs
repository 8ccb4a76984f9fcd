//! How the process ends, told by its exit status (`sysexits.h`).

use std::process::ExitCode;

/// Everything went as asked.
pub const OK: u8 = 0;
/// The command ran and its answer is no: the demo saw something that should not be.
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

    pub fn code(&self) -> ExitCode {
        ExitCode::from(self.status)
    }
}

impl<E: Into<anyhow::Error>> From<E> for Exit {
    fn from(error: E) -> Self {
        Self { status: SOFTWARE, error: error.into() }
    }
}

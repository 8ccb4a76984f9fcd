//! Why a verb ends without doing what it was asked, and with which exit status: those of Celery's command line.

use std::fmt::Display;

use celeriac::broker::BrokerError;

/// The command line is wrong (`click.UsageError`).
const USAGE: u8 = 2;
/// An exception that nobody caught.
const ERROR: u8 = 1;
/// `EX_UNAVAILABLE`: no broker, or nobody who answers.
const UNAVAILABLE: u8 = 69;

/// Why a verb ends early.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) status: u8,
    /// What is said on standard error; nothing where it would only be in the way.
    pub(super) message: Option<String>,
}

impl Failure {
    /// The command line is wrong in a way that only this verb knows.
    pub(super) fn usage(verb: &str, arguments: &str, message: impl Display) -> Self {
        let message = format!(
            "Usage: billing {verb} [OPTIONS] {arguments}\nTry 'billing {verb} --help' for help.\n\nError: {message}"
        );
        Self { status: USAGE, message: Some(message) }
    }

    pub(super) fn error(message: impl Display) -> Self {
        Self { status: ERROR, message: Some(format!("Error: {message}")) }
    }

    /// What Python would show as the last line of a traceback.
    pub(super) fn exception(message: impl Display) -> Self {
        Self { status: ERROR, message: Some(message.to_string()) }
    }

    pub(super) fn unavailable(message: impl Display) -> Self {
        Self { status: UNAVAILABLE, message: Some(format!("Error: {message}")) }
    }

    /// Nobody has answered a command.
    pub(super) fn nobody() -> Self {
        Self::unavailable("No nodes replied within time constraint")
    }

    /// Interrupted, or the answer to a question was no.
    pub(super) fn aborted() -> Self {
        Self { status: ERROR, message: Some("Aborted!".to_owned()) }
    }

    /// The broker is not there for a command of remote control.
    pub(super) fn remote(verb: &str, error: &BrokerError) -> Self {
        match error {
            BrokerError::Timeout { .. } => Self::unavailable(unreachable(error)),
            _ => Self::unavailable(format!("Unable to run the `{verb}` command. Reason: {error}")),
        }
    }
}

/// The broker is not there for any other verb.
impl From<BrokerError> for Failure {
    fn from(error: BrokerError) -> Self {
        match error {
            BrokerError::Timeout { .. } => Self::error(unreachable(&error)),
            _ => Self::error(error),
        }
    }
}

fn unreachable(error: &BrokerError) -> String {
    format!(
        "Could not connect to the message broker. Please make sure your broker (e.g., RabbitMQ or Redis) is running \
         and the connection settings are correct. Reason: {error}"
    )
}

/// Standard output is closed: who reads it has read enough.
impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        let is_gone = error.kind() == std::io::ErrorKind::BrokenPipe;
        Self { status: ERROR, message: (!is_gone).then(|| format!("Error: {error}")) }
    }
}

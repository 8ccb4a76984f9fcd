//! What PostgreSQL's errors mean, by their SQLSTATE: the texts are in the language of the server.

use std::error::Error as _;
use std::io;

use tokio_postgres::Error;
use tokio_postgres::error::SqlState;

/// Why there is no connection, by what to do about it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConnectError {
    /// It may pass: try again.
    #[error("{0}")]
    Unavailable(String),
    /// It will not: the address, the user, the password, the database or a certificate is wrong.
    #[error("{0}")]
    Refused(String),
}

impl ConnectError {
    pub(super) fn from_postgres(error: &Error) -> Self {
        let hopeless = match error.code() {
            Some(code) => is_hopeless(code),
            // The kind of an error that is not the server's is only in its text, which the driver writes.
            None => {
                let text = error.to_string();
                !is_network(error) && ["configuration", "authentication"].iter().any(|kind| text.contains(kind))
            }
        };
        if hopeless { Self::Refused(describe(error)) } else { Self::Unavailable(describe(error)) }
    }

    /// The words, whatever is to be done.
    #[must_use]
    pub fn into_reason(self) -> String {
        let (Self::Unavailable(reason) | Self::Refused(reason)) = self;
        reason
    }
}

fn class(code: &SqlState) -> &str {
    code.code().get(..2).unwrap_or_default()
}

/// Whether a connection cannot be had by trying again: no access, no such database, no such setting.
#[must_use]
pub fn is_hopeless(code: &SqlState) -> bool {
    ["28", "3D", "3F", "42", "0A", "22"].contains(&class(code))
}

/// Whether a statement may succeed later though nothing of it changes: the connection or the server was at fault, or
/// another transaction.
///
/// | class | what |
/// |---|---|
/// | 08 | the connection |
/// | 25006 | the server has become a standby |
/// | 25P03 | a transaction was idle for too long |
/// | 40 | rolled back: deadlock, serialization |
/// | 53 | resources: connections, disk, memory |
/// | 55P03 | a lock was not to be had |
/// | 57 | cancelled, shutting down, starting up |
/// | 58 | the machine around the server |
#[must_use]
pub fn is_passing(code: &SqlState) -> bool {
    ["08", "40", "53", "57", "58"].contains(&class(code)) || ["25006", "25P03", "55P03"].contains(&code.code())
}

/// Whether the network was at fault, and not what came over it.
#[must_use]
pub fn is_network(error: &Error) -> bool {
    let io = error.source().and_then(|source| source.downcast_ref::<io::Error>());
    error.is_closed()
        || io.is_some_and(|error| !matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::Other))
}

/// What the server or the network said, without the detail lines, which may quote values.
#[must_use]
pub fn describe(error: &Error) -> String {
    match (error.as_db_error(), error.source()) {
        (Some(error), _) => format!("{} ({})", super::codes::without_code(error.message()), error.code().code()),
        (None, Some(source)) => format!("{error}: {source}"),
        (None, None) => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_known_by_their_codes_in_any_language() {
        let of = |code: &str| SqlState::from_code(code);
        for hopeless in ["28P01", "28000", "3D000", "42501", "22023"] {
            assert!(is_hopeless(&of(hopeless)) && !is_passing(&of(hopeless)), "{hopeless}");
        }
        for passing in [
            "08006", "25006", "25P03", "40001", "40P01", "53100", "53200", "53300", "55P03", "57014", "57P01", "57P02",
            "57P03", "57P05", "58030",
        ] {
            assert!(is_passing(&of(passing)) && !is_hopeless(&of(passing)), "{passing}");
        }
        for ours in ["23505", "XX000", "25P02", "21000"] {
            assert!(!is_passing(&of(ours)) && !is_hopeless(&of(ours)), "{ours}");
        }
    }
}

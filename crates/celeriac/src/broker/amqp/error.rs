//! What lapin's errors mean for who called.

use lapin::protocol::{AMQPErrorKind, AMQPHardError, AMQPSoftError};
use lapin::{Error, ErrorKind};

/// The error in words, without lapin's layers: `NOT_FOUND - no queue 'x' in vhost '/'`, `Connection refused`.
pub(super) fn reason(error: &Error) -> String {
    match error.kind() {
        ErrorKind::ProtocolError(error) => error.get_message().to_string(),
        ErrorKind::IOError(error) => error.to_string(),
        _ => error.to_string(),
    }
}

/// The answer of a broker that will not change its mind, with what to do about it; `None` for everything that may
/// pass by itself.
pub(super) fn refusal(error: &Error) -> Option<String> {
    let ErrorKind::ProtocolError(protocol) = error.kind() else { return None };
    let advice = match protocol.kind() {
        AMQPErrorKind::Soft(AMQPSoftError::PRECONDITIONFAILED) => {
            "it exists with other arguments: declare it with those, or delete it first"
        }
        AMQPErrorKind::Soft(AMQPSoftError::ACCESSREFUSED) => "check the user, the password and the permissions",
        AMQPErrorKind::Soft(AMQPSoftError::NOTFOUND) => "declare it first",
        AMQPErrorKind::Soft(AMQPSoftError::RESOURCELOCKED) => "another connection has it to itself",
        AMQPErrorKind::Soft(AMQPSoftError::CONTENTTOOLARGE) => "make the message smaller",
        AMQPErrorKind::Hard(AMQPHardError::NOTALLOWED) => "check the virtual host in the address and who may use it",
        AMQPErrorKind::Hard(AMQPHardError::NOTIMPLEMENTED) => "this broker does not offer it",
        _ => return None,
    };
    Some(format!("{} ({advice})", protocol.get_message()))
}

/// Whether the broker answered that the queue, or the exchange, does not exist.
pub(super) fn is_not_found(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::ProtocolError(protocol)
        if *protocol.kind() == AMQPErrorKind::Soft(AMQPSoftError::NOTFOUND))
}

#[cfg(test)]
mod tests {
    use super::*;
    use lapin::protocol::AMQPError;

    fn protocol(kind: impl Into<AMQPErrorKind>, text: &str) -> Error {
        ErrorKind::ProtocolError(AMQPError::new(kind.into(), text.into())).into()
    }

    #[test]
    fn a_refusal_says_what_to_do() {
        let error = protocol(AMQPSoftError::PRECONDITIONFAILED, "PRECONDITION_FAILED - inequivalent arg 'durable'");
        assert_eq!(
            refusal(&error).as_deref(),
            Some(
                "PRECONDITION_FAILED - inequivalent arg 'durable' \
                 (it exists with other arguments: declare it with those, or delete it first)"
            )
        );
        assert!(refusal(&protocol(AMQPHardError::NOTALLOWED, "vhost x not found")).is_some());
    }

    #[test]
    fn what_may_pass_is_no_refusal() {
        assert_eq!(refusal(&protocol(AMQPHardError::CONNECTIONFORCED, "shutdown")), None);
        assert_eq!(refusal(&ErrorKind::MissingHeartbeatError.into()), None);
        assert_eq!(refusal(&std::io::Error::from(std::io::ErrorKind::ConnectionRefused).into()), None);
    }
}

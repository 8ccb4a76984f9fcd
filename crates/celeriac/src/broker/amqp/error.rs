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
        AMQPErrorKind::Soft(AMQPSoftError::PRECONDITIONFAILED) => precondition(protocol.get_message().as_str()),
        AMQPErrorKind::Soft(AMQPSoftError::ACCESSREFUSED) => "check the user, the password and the permissions",
        AMQPErrorKind::Soft(AMQPSoftError::NOTFOUND) => "declare it first",
        AMQPErrorKind::Soft(AMQPSoftError::RESOURCELOCKED) => "another connection has it to itself",
        AMQPErrorKind::Soft(AMQPSoftError::CONTENTTOOLARGE) => "make the message smaller",
        // The channel is closed for this alone: whatever it is, it would be again.
        AMQPErrorKind::Soft(_) => "the broker does not take it",
        AMQPErrorKind::Hard(AMQPHardError::NOTALLOWED) => "check the virtual host in the address and who may use it",
        AMQPErrorKind::Hard(AMQPHardError::NOTIMPLEMENTED) => "this broker does not offer it",
        _ => return None,
    };
    Some(format!("{} ({advice})", protocol.get_message()))
}

/// What the broker said when it closed the whole connection over something that was sent on it; `None` where it had reasons
/// of its own: it stops, an operator wants it, its virtual host is gone.
pub(super) fn offence(error: &Error) -> Option<String> {
    let ErrorKind::ProtocolError(protocol) = error.kind() else { return None };
    let AMQPErrorKind::Hard(
        AMQPHardError::FRAMEERROR
        | AMQPHardError::SYNTAXERROR
        | AMQPHardError::COMMANDINVALID
        | AMQPHardError::UNEXPECTEDFRAME
        | AMQPHardError::NOTIMPLEMENTED
        | AMQPHardError::INTERNALERROR,
    ) = protocol.kind()
    else {
        return None;
    };
    Some(format!("{} (the broker closes the connection over it)", protocol.get_message()))
}

/// What to do about one of the many things that `RabbitMQ` calls a precondition.
fn precondition(message: &str) -> &'static str {
    const ADVICE: [(&str, &str); 4] = [
        ("inequivalent arg", "it exists with other arguments: declare it with those, or delete it first"),
        ("message size", "make the message smaller, or raise max_message_size of the broker"),
        ("timed out", "the delivery was not acknowledged within consumer_timeout of the broker"),
        ("user_id", "only the user who is logged in may be named"),
    ];
    let known = ADVICE.into_iter().find(|(part, _)| message.contains(part));
    known.map_or("the broker does not take it", |(_, advice)| advice)
}

/// Whether the broker answered that the queue, or the exchange, does not exist.
pub(super) fn is_not_found(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::ProtocolError(protocol)
        if *protocol.kind() == AMQPErrorKind::Soft(AMQPSoftError::NOTFOUND))
}

/// Whether the broker answered that this user may not do that.
pub(super) fn is_forbidden(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::ProtocolError(protocol)
        if *protocol.kind() == AMQPErrorKind::Soft(AMQPSoftError::ACCESSREFUSED))
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
    fn other_arguments_are_named_only_where_arguments_differ() {
        for (message, advice) in [
            (
                "PRECONDITION_FAILED - message size 200 is larger than configured max size 100",
                "make the message smaller",
            ),
            ("PRECONDITION_FAILED - delivery acknowledgement on channel 1 timed out", "consumer_timeout"),
            ("PRECONDITION_FAILED - invalid expiration", "does not take it"),
        ] {
            let refusal = refusal(&protocol(AMQPSoftError::PRECONDITIONFAILED, message)).unwrap();
            assert!(refusal.contains(advice) && !refusal.contains("other arguments"), "{refusal}");
        }
    }

    #[test]
    fn a_connection_is_closed_over_a_message_or_for_reasons_of_the_broker() {
        for code in [501, 502, 503, 505, 540, 541] {
            assert!(offence(&protocol(AMQPHardError::from_id(code).unwrap(), "INTERNAL_ERROR")).is_some(), "{code}");
        }
        for code in [320, 402, 504, 506, 530] {
            assert_eq!(offence(&protocol(AMQPHardError::from_id(code).unwrap(), "CONNECTION_FORCED")), None, "{code}");
        }
        assert_eq!(offence(&protocol(AMQPSoftError::PRECONDITIONFAILED, "of one channel")), None);
        assert_eq!(offence(&std::io::Error::from(std::io::ErrorKind::ConnectionReset).into()), None);
    }

    #[test]
    fn what_may_pass_is_no_refusal() {
        assert_eq!(refusal(&protocol(AMQPHardError::CONNECTIONFORCED, "shutdown")), None);
        assert_eq!(refusal(&ErrorKind::MissingHeartbeatError.into()), None);
        assert_eq!(refusal(&std::io::Error::from(std::io::ErrorKind::ConnectionRefused).into()), None);
    }
}

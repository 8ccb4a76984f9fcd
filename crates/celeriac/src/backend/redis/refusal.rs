//! Which errors of Redis are about what was asked, and not about the server.

use redis::RedisError;

/// The answers of a server that is there and does not do this, for as long as nobody changes the key, its permissions or
/// its room: the caller must not try for ever.
const CODES: [&str; 3] = ["OOM", "NOPERM", "WRONGTYPE"];

/// What older servers, and scripts, say in words behind the code `ERR`.
const WORDS: [&str; 9] = [
    "OOM command not allowed",
    "NOPERM",
    "ACL failure in script",
    "No permissions to access",
    "WRONGTYPE",
    "value is too large",
    "exceeds maximum allowed size",
    "invalid bulk length",
    "unknown command",
];

/// Whether the server has refused what was asked.
pub(super) fn is_refusal(error: &RedisError) -> bool {
    match error.code() {
        Some("ERR") | None => is_worded(&error.to_string()),
        Some(code) => CODES.contains(&code),
    }
}

fn is_worded(text: &str) -> bool {
    WORDS.iter().any(|words| text.contains(words))
}

#[cfg(test)]
mod tests {
    use redis::ErrorKind;

    use super::*;

    fn server(code: &str, detail: &str) -> RedisError {
        redis::make_extension_error(code.to_owned(), Some(detail.to_owned()))
    }

    #[test]
    fn what_is_about_the_key_is_refused_and_what_is_about_the_server_is_not() {
        for (code, detail) in [
            ("OOM", "command not allowed when used memory > 'maxmemory'."),
            ("NOPERM", "No permissions to access a key"),
            ("WRONGTYPE", "Operation against a key holding the wrong kind of value"),
            ("ERR", "Error running script (call to f_1): @user_script:26: -OOM command not allowed when used memory"),
            ("ERR", "string exceeds maximum allowed size (proto-max-bulk-len)"),
        ] {
            assert!(is_refusal(&server(code, detail)), "{code} {detail}");
        }
        for (code, detail) in [
            ("READONLY", "You can't write against a read only replica."),
            ("LOADING", "Redis is loading the dataset in memory"),
            ("MASTERDOWN", "Link with MASTER is down"),
            ("CLUSTERDOWN", "The cluster is down"),
            ("NOAUTH", "Authentication required."),
            ("MISCONF", "Redis is configured to save RDB snapshots"),
            ("NOREPLICAS", "Not enough good replicas to write."),
            ("ERR", "max number of clients reached"),
            ("ERR", "Error running script (call to f_1): -READONLY You can't write against a read only replica."),
        ] {
            assert!(!is_refusal(&server(code, detail)), "{code} {detail}");
        }
        let lost: RedisError = std::io::Error::from(std::io::ErrorKind::ConnectionReset).into();
        assert!(!is_refusal(&lost));
        assert!(!is_refusal(&(ErrorKind::Io, "no answer").into()));
    }
}

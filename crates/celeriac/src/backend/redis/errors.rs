//! What Redis's errors mean for who called.

use redis::{ErrorKind, RedisError, Value};

/// Replies of a server that is not, or not yet, or no longer the one to ask: after a failover, while it starts, when the
/// password was changed. Each of them was given before anything was done. With the names that the driver gives to some.
const ELSEWHERE: [&str; 18] = [
    "READONLY",
    "ReadOnly",
    "LOADING",
    "BusyLoading",
    "MASTERDOWN",
    "MasterDown",
    "CLUSTERDOWN",
    "ClusterDown",
    "TRYAGAIN",
    "TryAgain",
    "NOREPLICAS",
    "MISCONF",
    "NOAUTH",
    "WRONGPASS",
    "NOPERM",
    "NoPerm",
    "UNBLOCKED",
    "UNKILLABLE",
];

/// Replies of a node of a cluster.
const CLUSTER: [&str; 5] = ["MOVED", "Moved", "ASK", "CROSSSLOT", "CrossSlot"];

pub(super) const IS_A_CLUSTER: &str = "this is a node of a Redis Cluster, which keeps keys in different places: celeriac, \
    like Celery, needs a single server (or one behind sentinels, sentinel://)";

/// Whether another connection, to wherever the address leads now, may do better.
pub(super) fn is_elsewhere(error: &RedisError) -> bool {
    has_code(error, &ELSEWHERE)
}

/// Whether the connection is of no use any more.
pub(super) fn is_lost(error: &RedisError) -> bool {
    error.is_io_error() || error.is_unrecoverable_error() || matches!(error.kind(), ErrorKind::Parse)
}

pub(super) fn is_of_a_cluster(error: &RedisError) -> bool {
    has_code(error, &CLUSTER)
}

/// The first error among the answers of a pipeline.
pub(super) fn error_in(answers: &[Value]) -> Option<RedisError> {
    answers.iter().find_map(|answer| match answer {
        Value::ServerError(error) => Some(error.clone().into()),
        _ => None,
    })
}

/// Whether the server means the login, at the start.
pub(super) fn is_hopeless(error: &RedisError) -> bool {
    matches!(error.kind(), ErrorKind::AuthenticationFailed | ErrorKind::InvalidClientConfig)
        || has_code(error, &["NOAUTH", "WRONGPASS", "NOPERM"])
}

/// The code of an error, or one that stands in its words: what a script or a transaction met is told inside (`ERR Error
/// running script …: -READONLY You can't write against a read only replica`).
fn has_code(error: &RedisError, codes: &[&str]) -> bool {
    if error.is_io_error() {
        return false;
    }
    let text = error.to_string();
    let mut words = text.split(|c: char| !c.is_ascii_alphanumeric());
    error.code().is_some_and(|code| codes.contains(&code)) || words.any(|word| codes.contains(&word))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(reply: &str) -> RedisError {
        let value = redis::parse_redis_value(format!("-{reply}\r\n").as_bytes()).unwrap();
        error_in(&[Value::Okay, value]).unwrap()
    }

    #[test]
    fn a_server_that_is_not_the_one_to_ask_is_left() {
        for reply in [
            "READONLY You can't write against a read only replica.",
            "READONLY You can't write against a read only replica. script: c0ffee, on @user_script:21.",
            "ERR Error running script (call to f_c0ffee): @user_script:21: -READONLY You can't write against a read only replica.",
            "LOADING Redis is loading the dataset in memory",
            "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
            "CLUSTERDOWN The cluster is down",
            "TRYAGAIN Multiple keys request during rehashing of slot",
            "NOREPLICAS Not enough good replicas to write.",
            "MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk.",
            "NOAUTH Authentication required.",
            "WRONGPASS invalid username-password pair or user is disabled.",
            "NOPERM this user has no permissions to run the 'set' command",
            "UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)",
            "UNKILLABLE Sorry the script already executed write commands against the dataset.",
        ] {
            assert!(is_elsewhere(&said(reply)), "{reply}");
            assert!(!is_of_a_cluster(&said(reply)), "{reply}");
        }
    }

    #[test]
    fn what_the_command_is_to_blame_for_leaves_the_connection_as_it_is() {
        for reply in [
            "WRONGTYPE Operation against a key holding the wrong kind of value",
            "ERR syntax error",
            "NOSCRIPT No matching script.",
        ] {
            assert!(!is_elsewhere(&said(reply)) && !is_lost(&said(reply)), "{reply}");
        }
        for reply in ["MOVED 866 127.0.0.1:7001", "CROSSSLOT Keys in request don't hash to the same slot"] {
            assert!(is_of_a_cluster(&said(reply)), "{reply}");
        }
    }
}

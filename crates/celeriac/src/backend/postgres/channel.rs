//! What NOTIFY carries: on a channel per task the new metadata, as Celery publishes it to the key's name in Redis.

use uuid::Uuid;

/// Celery's prefix of keys and channels in Redis.
const PREFIX: &str = "celery-task-meta-";
/// `NAMEDATALEN`: a longer name would be cut.
const MAX_NAME: usize = 63;
/// PostgreSQL takes less than 8,000 bytes; the version in front has ten and a space.
const MAX_PAYLOAD: usize = 7_900;

/// The channel of a task. An id that is too long for a name stands there as its hash.
pub(super) fn name(task_id: &str) -> String {
    if PREFIX.len() + task_id.len() <= MAX_NAME {
        format!("{PREFIX}{task_id}")
    } else {
        format!("{PREFIX}{}", Uuid::new_v5(&Uuid::NAMESPACE_OID, task_id.as_bytes()))
    }
}

/// The channel as LISTEN and UNLISTEN take it.
pub(super) fn quoted(task_id: &str) -> String {
    format!("\"{}\"", name(task_id).replace('"', "\"\""))
}

/// The metadata if it fits; otherwise nothing, and whoever waits reads the row.
pub(super) fn payload(meta: &str) -> &str {
    if meta.len() <= MAX_PAYLOAD && !meta.contains('\0') { meta } else { "" }
}

/// The version of the row (see [`versions`](super::session::versions)) and its metadata, if it is there.
///
/// `None`: not ours, for instance of a trigger somebody has written.
pub(super) fn read(payload: &str) -> Option<(i64, Option<&str>)> {
    let (version, meta) = payload.split_once(' ')?;
    Some((version.parse().ok()?, Some(meta).filter(|meta| !meta.is_empty())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_channel_is_the_key_in_redis_and_short_enough_for_a_name() {
        let id = "5f0c7c1e-5a4b-4a57-9d2c-6d9a0f2f7f2a";
        assert_eq!(name(id), format!("celery-task-meta-{id}"));
        let long = [&"a".repeat(155), &"b".repeat(155)].map(|id| name(id));
        assert!(long.iter().all(|name| name.len() <= MAX_NAME && name.starts_with(PREFIX)));
        assert_ne!(long[0], long[1]);
        assert_eq!(quoted("a\"; DROP TABLE x"), "\"celery-task-meta-a\"\"; DROP TABLE x\"");
    }

    #[test]
    fn a_payload_has_the_version_and_what_fits() {
        assert_eq!(read(&format!("4294967295 {}", payload("{\"a\": 1}"))), Some((4_294_967_295, Some("{\"a\": 1}"))));
        for left_out in ["x".repeat(MAX_PAYLOAD + 1), "\0".to_owned()] {
            assert_eq!(read(&format!("7 {}", payload(&left_out))), Some((7, None)));
        }
        for foreign in ["", "hello", "hello world"] {
            assert_eq!(read(foreign), None);
        }
    }
}

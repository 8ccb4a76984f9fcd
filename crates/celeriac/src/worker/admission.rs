//! Whether a task may run now. Pure; asked when its message arrives and again before its body begins.

use chrono::{DateTime, Utc};

use crate::protocol::{Revocation, TaskMessage};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Admission {
    Run,
    /// Not before this time.
    Hold(DateTime<Utc>),
    Drop(Revocation),
}

/// Expiry counts before revocation, and both before the ETA (`celery/worker/strategy.py`; `Request.revoked`).
pub(crate) fn admit(message: &TaskMessage, is_revoked: bool, now: DateTime<Utc>) -> Admission {
    if message.expires.is_some_and(|expires| now > expires) {
        return Admission::Drop(Revocation::Expired);
    }
    if is_revoked {
        return Admission::Drop(Revocation::Revoked);
    }
    match message.eta {
        Some(eta) if eta > now => Admission::Hold(eta.to_utc()),
        _ => Admission::Run,
    }
}

/// Tells of a task that is not run. Many that expire mean a worker that is too slow, or a clock that is wrong: that must not
/// pass unnoticed.
pub(crate) fn tell_dropped(message: &TaskMessage, why: Revocation, now: DateTime<Utc>) {
    let (task, id) = (&message.task, &message.id);
    match message.expires.filter(|_| why == Revocation::Expired) {
        Some(expires) => {
            let late = now - expires.to_utc();
            tracing::warn!(
                task,
                id,
                %expires,
                late_by_seconds = late.num_seconds(),
                "task dropped: by the clock of this worker it has expired; if it was sent just now, one of the clocks is wrong"
            );
        }
        None => tracing::info!(task, id, ?why, "task dropped"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::RawJson;

    const PAST: &str = "2026-01-01T11:59:59+00:00";
    const NOW: &str = "2026-01-01T12:00:00+00:00";
    const FUTURE: &str = "2026-01-01T15:00:01+03:00";

    #[test]
    fn the_table_of_admission() {
        let hold = Admission::Hold("2026-01-01T12:00:01Z".parse().unwrap());
        let (expired, revoked) = (Admission::Drop(Revocation::Expired), Admission::Drop(Revocation::Revoked));
        for (eta, expires, is_revoked, expected) in [
            (None, None, false, Admission::Run),
            (Some(PAST), None, false, Admission::Run),
            (Some(NOW), None, false, Admission::Run),
            (Some(FUTURE), None, false, hold),
            (None, Some(FUTURE), false, Admission::Run),
            (None, Some(NOW), false, Admission::Run),
            (None, Some(PAST), true, expired),
            (Some(FUTURE), Some(PAST), false, expired),
            (None, None, true, revoked),
            (Some(FUTURE), None, true, revoked),
            (Some(FUTURE), Some(FUTURE), false, hold),
        ] {
            let mut message = TaskMessage::new("t", "id", RawJson::EMPTY_LIST, RawJson::EMPTY_OBJECT);
            message.eta = eta.map(|text| text.parse().unwrap());
            message.expires = expires.map(|text| text.parse().unwrap());
            let admission = admit(&message, is_revoked, NOW.parse().unwrap());
            assert_eq!(admission, expected, "eta {eta:?} expires {expires:?} revoked {is_revoked}");
        }
    }
}

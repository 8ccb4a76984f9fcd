//! What comes of notifications, counted: `billing.notifications`, by kind and verdict. Workers count under the same name what has
//! its effect later.

use metrics::counter;

use super::request::Refused;

const NOTIFICATIONS: &str = "billing.notifications";

/// A notification, or a request that calls itself one, had this verdict.
pub(super) fn count(kind: &'static str, verdict: &'static str) {
    counter!(NOTIFICATIONS, "kind" => kind, "verdict" => verdict).increment(1);
}

/// A counter that is not there until it counts looks like one that nobody keeps.
pub(super) fn begin() {
    counter!(NOTIFICATIONS, "kind" => "pay", "verdict" => "applied").increment(0);
    counter!(NOTIFICATIONS, "kind" => "pay", "verdict" => "orphan").increment(0);
}

/// The verdict of what is refused. No label is of the sender's choosing.
pub(super) const fn refusal(refused: &Refused) -> &'static str {
    match refused {
        Refused::UnknownPath | Refused::Method => "unknown",
        Refused::Sender => "forbidden",
        Refused::TooLarge => "too_large",
        Refused::Late | Refused::Lost => "lost",
        Refused::Signature(_) => "forged",
        Refused::Unreadable(_) => "unreadable",
        Refused::Busy => "busy",
        Refused::Unavailable => "unavailable",
    }
}

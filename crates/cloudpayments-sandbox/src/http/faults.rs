//! Faults to order: what the network and a gateway in trouble do to a client.

use std::time::Duration;

use chrono::TimeDelta;
use serde::{Deserialize, Serialize};

use super::dice::Dice;
use crate::notification::Kind;

/// Faults waiting at a time.
const MAX_FAULTS: usize = 1000;
/// Longest delay, in milliseconds: the gateway itself may take five minutes to answer.
const MAX_DELAY_MS: u64 = 600_000;
/// Latest notification: a week.
const MAX_LATE_MS: u64 = 7 * 24 * 3600 * 1000;
/// A year.
const MAX_SKEW_MS: u64 = 365 * 24 * 3600 * 1000;

/// What goes wrong. "Before": the request is never processed. "After": it is, and its result is remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum FaultKind {
    /// Processed at once, answered late.
    Delay,
    /// Processed late, answered then: all the while the payment cannot be found.
    DelayBefore,
    /// The connection is closed without an answer.
    DropBefore,
    DropAfter,
    /// HTTP 500.
    #[serde(rename = "error_500_before")]
    Error500Before,
    #[serde(rename = "error_500_after")]
    Error500After,
    /// "Too many requests", certainly not processed.
    #[serde(rename = "http_429")]
    Http429,
    /// "Our credentials are wrong", certainly not processed.
    #[serde(rename = "http_401")]
    Http401,
    /// HTTP 200 with a body that is not the gateway's.
    GarbageAfter,
    /// `Success: false` and no `Model`, as of a request that was refused: `Internal error`.
    RefusalAfter,
    /// Likewise, never processed, and in the documented words: `Token is required`.
    InvalidBefore,
    /// HTTP 502 and a page, as a proxy in between makes it.
    HtmlBefore,
    HtmlAfter,
    /// Processed as if the gateway's clock were `skew_ms` ahead, or behind.
    ClockSkew,
    /// Never sent by itself.
    NotificationLost,
    /// Sent `delay_ms` later.
    NotificationLate,
    /// Sent twice.
    NotificationDuplicate,
    /// Sent, and replied to, before the request that caused it is answered.
    NotificationEarly,
    /// Sent after the next one; if none comes within `delay_ms`, then.
    NotificationReordered,
}

impl FaultKind {
    /// It happens to a notification, not to a request.
    const fn is_of_notifications(self) -> bool {
        matches!(
            self,
            Self::NotificationLost
                | Self::NotificationLate
                | Self::NotificationDuplicate
                | Self::NotificationEarly
                | Self::NotificationReordered
        )
    }
}

/// Which requests a fault waits for; what is not said matches any.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Matcher {
    /// A method of the gateway, like `/payments/tokens/charge`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) path: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) account_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) invoice_id: Option<String>,
    /// A kind of notification, for the faults of these.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) notification: Option<Kind>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Fault {
    #[serde(default, rename = "match")]
    pub(crate) matcher: Matcher,
    #[serde(rename = "fault")]
    pub(crate) kind: FaultKind,
    /// Milliseconds to wait first; any fault may have it, the delays must. Of notifications, on the sandbox's clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) delay_ms: Option<u64>,
    /// Milliseconds the clock is ahead; negative, behind.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) skew_ms: Option<i64>,
    /// The part of matching requests it hits, up to 1; all, if none is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) rate: Option<f64>,
    /// Requests it still hits: 1 if none is given, and with a rate any number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) times: Option<u32>,
}

impl Fault {
    /// What is wrong with an order.
    pub(crate) fn check(&self, known_paths: impl IntoIterator<Item = &'static str>) -> Result<(), String> {
        if let Some(path) = &self.matcher.path
            && !known_paths.into_iter().any(|known| known == path)
        {
            return Err("match.path must be a method of the gateway, like /payments/cards/charge".to_owned());
        }
        let of_notifications = self.kind.is_of_notifications();
        if of_notifications && self.matcher.path.is_some() {
            return Err("match.path does not go with a fault of notifications".to_owned());
        }
        if !of_notifications && self.matcher.notification.is_some() {
            return Err("match.notification goes with a fault of notifications only".to_owned());
        }
        if self.kind == FaultKind::ClockSkew && self.skew_ms.is_none_or(|skew| skew.unsigned_abs() > MAX_SKEW_MS) {
            return Err(format!("skew_ms is required for this fault, at most {MAX_SKEW_MS} either way"));
        }
        if self.rate.is_some_and(|rate| !(rate > 0.0 && rate <= 1.0)) {
            return Err("rate must be above 0 and at most 1".to_owned());
        }
        let must_wait = matches!(self.kind, FaultKind::Delay | FaultKind::DelayBefore | FaultKind::NotificationLate);
        if must_wait && self.delay_ms.is_none() {
            return Err("delay_ms is required for this fault".to_owned());
        }
        let longest = if of_notifications { MAX_LATE_MS } else { MAX_DELAY_MS };
        if self.delay_ms.is_some_and(|delay| delay > longest) {
            return Err(format!("delay_ms must be at most {longest}"));
        }
        if self.times == Some(0) {
            return Err("times must be at least 1".to_owned());
        }
        Ok(())
    }

    pub(crate) fn delay(&self) -> Duration {
        Duration::from_millis(self.delay_ms.unwrap_or_default())
    }

    pub(crate) fn skew(&self) -> TimeDelta {
        TimeDelta::milliseconds(self.skew_ms.unwrap_or_default())
    }
}

/// What a fault can be matched against.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Target<'a> {
    pub(crate) path: &'a str,
    pub(crate) account_id: Option<&'a str>,
    pub(crate) invoice_id: Option<&'a str>,
    /// `None`: a request.
    pub(crate) notification: Option<Kind>,
}

impl Matcher {
    fn matches(&self, target: Target<'_>) -> bool {
        let same = |wanted: &Option<String>, given: Option<&str>| wanted.is_none() || wanted.as_deref() == given;
        (target.notification.is_some() || same(&self.path, Some(target.path)))
            && (self.notification.is_none() || self.notification == target.notification)
            && same(&self.account_id, target.account_id)
            && same(&self.invoice_id, target.invoice_id)
    }
}

/// The faults ordered and not yet used up, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    waiting: Vec<Fault>,
    dice: Dice,
}

impl Faults {
    /// `Err`: there are too many already.
    pub(crate) fn add(&mut self, mut fault: Fault) -> Result<(), String> {
        if self.waiting.len() >= MAX_FAULTS {
            return Err(format!("{MAX_FAULTS} faults are waiting already"));
        }
        if fault.rate.is_none() {
            fault.times.get_or_insert(1);
        }
        self.waiting.push(fault);
        Ok(())
    }

    /// The oldest fault that waits for such a request, or notification, and hits it; used up by one.
    pub(crate) fn take(&mut self, target: Target<'_>) -> Option<Fault> {
        let Self { waiting, dice } = self;
        let index = waiting.iter().position(|fault| {
            fault.kind.is_of_notifications() == target.notification.is_some()
                && fault.matcher.matches(target)
                && fault.rate.is_none_or(|rate| dice.roll() < rate)
        })?;
        let fault = &mut waiting[index];
        fault.times = fault.times.map(|times| times.saturating_sub(1));
        if fault.times == Some(0) { Some(waiting.remove(index)) } else { Some(fault.clone()) }
    }

    pub(crate) fn waiting(&self) -> &[Fault] {
        &self.waiting
    }

    pub(crate) fn clear(&mut self) {
        self.waiting.clear();
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(json: &str) -> Fault {
        serde_json::from_str(json).unwrap()
    }

    const CHARGE: Target<'_> =
        Target { path: "/payments/cards/charge", account_id: Some("a"), invoice_id: Some("1"), notification: None };

    #[test]
    fn a_fault_hits_matching_requests_so_many_times() {
        let mut faults = Faults::default();
        faults.add(order(r#"{"match":{"account_id":"a"},"fault":"drop_after","times":2}"#)).unwrap();
        assert!(faults.take(Target { account_id: Some("b"), ..CHARGE }).is_none());
        assert!(faults.take(Target { account_id: None, ..CHARGE }).is_none());
        assert_eq!(faults.take(CHARGE).unwrap().kind, FaultKind::DropAfter);
        assert_eq!(faults.waiting()[0].times, Some(1));
        assert!(faults.take(CHARGE).is_some());
        assert!(faults.take(CHARGE).is_none());
        assert!(faults.is_empty());
    }

    #[test]
    fn a_rate_hits_its_part_of_the_requests_for_ever_and_the_same_ones_each_time() {
        let hits = || {
            let mut faults = Faults::default();
            faults.add(order(r#"{"fault":"http_429","rate":0.2}"#)).unwrap();
            (0..10_000).map(|_| faults.take(CHARGE).is_some()).collect::<Vec<_>>()
        };
        let first = hits();
        let count = first.iter().filter(|hit| **hit).count();
        assert!((1900..2100).contains(&count), "{count}");
        assert_eq!(first, hits());
    }

    #[test]
    fn faults_of_notifications_leave_requests_alone() {
        let mut faults = Faults::default();
        faults.add(order(r#"{"match":{"notification":"pay"},"fault":"notification_lost"}"#)).unwrap();
        assert!(faults.take(CHARGE).is_none());
        assert!(faults.take(Target { notification: Some(Kind::Fail), ..CHARGE }).is_none());
        assert!(faults.take(Target { notification: Some(Kind::Pay), ..CHARGE }).is_some());
    }

    #[test]
    fn an_order_that_could_never_be_carried_out_is_refused() {
        for (json, what) in [
            (r#"{"match":{"path":"/nowhere"},"fault":"drop_after"}"#, "match.path"),
            (r#"{"fault":"delay"}"#, "delay_ms"),
            (r#"{"fault":"delay","delay_ms":600001}"#, "delay_ms"),
            (r#"{"fault":"http_429","times":0}"#, "times"),
            (r#"{"fault":"http_429","rate":0}"#, "rate"),
            (r#"{"fault":"http_429","rate":1.5}"#, "rate"),
            (r#"{"fault":"clock_skew"}"#, "skew_ms"),
            (r#"{"fault":"notification_late"}"#, "delay_ms"),
            (r#"{"fault":"http_429","match":{"notification":"pay"}}"#, "match.notification"),
            (r#"{"fault":"notification_lost","match":{"path":"/payments/cards/charge"}}"#, "match.path"),
        ] {
            assert!(order(json).check(["/payments/cards/charge"]).unwrap_err().contains(what), "{json}");
        }
        for unreadable in [r#"{"fault":"explode"}"#, r#"{"fault":"http_429","match":{"acount_id":"a"}}"#, "{}"] {
            assert!(serde_json::from_str::<Fault>(unreadable).is_err(), "{unreadable}");
        }
    }
}

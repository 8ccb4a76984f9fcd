//! Faults to order: what the network and a gateway in trouble do to a client.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Faults waiting at a time.
const MAX_FAULTS: usize = 1000;
/// Longest delay, in milliseconds: the gateway itself may take five minutes to answer.
const MAX_DELAY_MS: u64 = 600_000;

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
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Fault {
    #[serde(default, rename = "match")]
    pub(crate) matcher: Matcher,
    #[serde(rename = "fault")]
    pub(crate) kind: FaultKind,
    /// Milliseconds to wait first; any fault may have it, the two delays must.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) delay_ms: Option<u64>,
    /// Requests it still hits.
    #[serde(default = "once")]
    pub(crate) times: u32,
}

const fn once() -> u32 {
    1
}

impl Fault {
    /// What is wrong with an order.
    pub(crate) fn check(&self, known_paths: impl IntoIterator<Item = &'static str>) -> Result<(), String> {
        if let Some(path) = &self.matcher.path
            && !known_paths.into_iter().any(|known| known == path)
        {
            return Err("match.path must be a method of the gateway, like /payments/cards/charge".to_owned());
        }
        if matches!(self.kind, FaultKind::Delay | FaultKind::DelayBefore) && self.delay_ms.is_none() {
            return Err("delay_ms is required for this fault".to_owned());
        }
        if self.delay_ms.is_some_and(|delay| delay > MAX_DELAY_MS) {
            return Err(format!("delay_ms must be at most {MAX_DELAY_MS}"));
        }
        if self.times == 0 {
            return Err("times must be at least 1".to_owned());
        }
        Ok(())
    }

    pub(crate) fn delay(&self) -> Duration {
        Duration::from_millis(self.delay_ms.unwrap_or_default())
    }
}

/// What a fault can be matched against.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Target<'a> {
    pub(crate) path: &'a str,
    pub(crate) account_id: Option<&'a str>,
    pub(crate) invoice_id: Option<&'a str>,
}

impl Matcher {
    fn matches(&self, target: Target<'_>) -> bool {
        let same = |wanted: &Option<String>, given: Option<&str>| wanted.is_none() || wanted.as_deref() == given;
        same(&self.path, Some(target.path))
            && same(&self.account_id, target.account_id)
            && same(&self.invoice_id, target.invoice_id)
    }
}

/// The faults ordered and not yet used up, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Faults(Vec<Fault>);

impl Faults {
    /// `Err`: there are too many already.
    pub(crate) fn add(&mut self, fault: Fault) -> Result<(), String> {
        if self.0.len() >= MAX_FAULTS {
            return Err(format!("{MAX_FAULTS} faults are waiting already"));
        }
        self.0.push(fault);
        Ok(())
    }

    /// The oldest fault that waits for such a request; used up by one.
    pub(crate) fn take(&mut self, target: Target<'_>) -> Option<Fault> {
        let index = self.0.iter().position(|fault| fault.matcher.matches(target))?;
        self.0[index].times -= 1;
        if self.0[index].times > 0 { Some(self.0[index].clone()) } else { Some(self.0.remove(index)) }
    }

    pub(crate) fn waiting(&self) -> &[Fault] {
        &self.0
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(json: &str) -> Fault {
        serde_json::from_str(json).unwrap()
    }

    const CHARGE: Target<'_> = Target { path: "/payments/cards/charge", account_id: Some("a"), invoice_id: Some("1") };

    #[test]
    fn a_fault_hits_matching_requests_so_many_times() {
        let mut faults = Faults::default();
        faults.add(order(r#"{"match":{"account_id":"a"},"fault":"drop_after","times":2}"#)).unwrap();
        assert!(faults.take(Target { account_id: Some("b"), ..CHARGE }).is_none());
        assert!(faults.take(Target { account_id: None, ..CHARGE }).is_none());
        assert_eq!(faults.take(CHARGE).unwrap().kind, FaultKind::DropAfter);
        assert_eq!(faults.waiting()[0].times, 1);
        assert!(faults.take(CHARGE).is_some());
        assert!(faults.take(CHARGE).is_none());
        assert!(faults.is_empty());
    }

    #[test]
    fn an_order_that_could_never_be_carried_out_is_refused() {
        for (json, what) in [
            (r#"{"match":{"path":"/nowhere"},"fault":"drop_after"}"#, "match.path"),
            (r#"{"fault":"delay"}"#, "delay_ms"),
            (r#"{"fault":"delay","delay_ms":600001}"#, "delay_ms"),
            (r#"{"fault":"http_429","times":0}"#, "times"),
        ] {
            assert!(order(json).check(["/payments/cards/charge"]).unwrap_err().contains(what), "{json}");
        }
        for unreadable in [r#"{"fault":"explode"}"#, r#"{"fault":"http_429","match":{"acount_id":"a"}}"#, "{}"] {
            assert!(serde_json::from_str::<Fault>(unreadable).is_err(), "{unreadable}");
        }
    }
}

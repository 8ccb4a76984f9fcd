//! When the gateway is left alone for a while, so that payments wait instead of being tried in vain. Pure.
//!
//! Two [circuits](Circuit), each a row that all workers share. A circuit opens when what it watches fails several times in
//! a row, or too large a share of the last requests, or once and for all; nothing passes until a pause is over. Then one request at a time passes, the probe: if it
//! comes back well the circuit is closed, else it opens again for twice as long.

use chrono::{DateTime, TimeDelta, Utc};

use crate::macros::text_enum;

text_enum! {
    /// What is left alone.
    pub enum Circuit {
        /// Every request: the gateway is down, or does not accept our credentials.
        Gateway = "gateway",
        /// Charges of kept cards: the gateway takes them for wrong, whosever card it is. Customers who type their card in
        /// can still pay.
        KeptCards = "kept_cards",
    }
}

text_enum! {
    /// How a circuit stands.
    pub enum CircuitState {
        /// Everything passes.
        Closed = "closed",
        /// Nothing passes before the pause is over.
        Open = "open",
        /// One request is on its way to find out; nothing else passes.
        HalfOpen = "half_open",
    }
}

/// What a response says about a circuit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// It works.
    Well,
    /// It failed, as may happen.
    Failed,
    /// It will fail until somebody mends it: our credentials are refused.
    Refused,
    /// Nothing either way, as a request that was one too many.
    Neither,
}

/// Whether a request may be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    Pass,
    /// It is the one that finds out. The circuit as it is written down before it leaves.
    Probe(Breaker),
    /// Not before then.
    Wait(DateTime<Utc>),
}

/// When a circuit opens, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BreakerPolicy {
    /// So many failures in a row open it.
    pub failures: i32,
    /// Of so many requests, counted from a failure on and within [`WINDOW`](Self::WINDOW),
    pub calls: i32,
    /// so many in a hundred that fail open it, though others in between go well.
    pub share: i32,
    /// The first pause. Each one after a probe in vain is twice as long, up to [`LONGEST`](Self::LONGEST) times this.
    pub pause: TimeDelta,
}

impl Default for BreakerPolicy {
    fn default() -> Self {
        Self { failures: 5, calls: 20, share: 50, pause: TimeDelta::seconds(30) }
    }
}

impl BreakerPolicy {
    /// The longest pause, in first pauses: with 30 seconds it is 16 minutes.
    pub const LONGEST: i32 = 32;

    /// What failed longer ago says nothing of the gateway as it is.
    pub const WINDOW: TimeDelta = TimeDelta::minutes(5);

    fn pause_after(&self, trips: i32) -> TimeDelta {
        let doubled = 1_i32.checked_shl(trips.clamp(0, 30).unsigned_abs()).unwrap_or(Self::LONGEST);
        self.pause * doubled.min(Self::LONGEST)
    }
}

/// Where a circuit stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Breaker {
    pub state: CircuitState,
    /// Since when it is closed, or not.
    pub since: DateTime<Utc>,
    /// In a row.
    pub failures: i32,
    /// Requests since `counted_since`, that which failed then included. While nothing has failed they are not counted.
    pub calls: i32,
    /// So many of them have failed.
    pub failed: i32,
    pub counted_since: Option<DateTime<Utc>>,
    /// Probes in vain, in a row.
    pub trips: i32,
    /// Open: when the pause is over. Half open: until when the probe may be on its way.
    pub until: Option<DateTime<Utc>>,
}

/// What operators are told of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    Opened,
    Closed,
}

/// A probe of which nothing was heard for so long has died with its worker. (By default a request has two minutes.)
const PROBE_WITHIN: TimeDelta = TimeDelta::minutes(3);

/// While a probe is on its way others look again this soon: it may have closed the circuit.
pub const PROBE_TAKES: TimeDelta = TimeDelta::seconds(5);

impl Breaker {
    /// A circuit nothing was heard of.
    #[must_use]
    pub const fn closed(since: DateTime<Utc>) -> Self {
        Self {
            state: CircuitState::Closed,
            since,
            failures: 0,
            calls: 0,
            failed: 0,
            counted_since: None,
            trips: 0,
            until: None,
        }
    }

    /// Whether nothing is known against it: then what works need not be written down.
    #[must_use]
    pub const fn is_sound(&self) -> bool {
        matches!(self.state, CircuitState::Closed) && self.failures == 0 && self.counted_since.is_none()
    }

    /// Whether a request may be sent at `now`.
    #[must_use]
    pub fn admit(&self, now: DateTime<Utc>) -> Admission {
        match (self.state, self.until) {
            (CircuitState::Closed, _) => Admission::Pass,
            (CircuitState::Open, Some(until)) if now < until => Admission::Wait(until),
            (CircuitState::HalfOpen, Some(until)) if now < until => Admission::Wait(until.min(now + PROBE_TAKES)),
            _ => Admission::Probe(Self { state: CircuitState::HalfOpen, until: Some(now + PROBE_WITHIN), ..*self }),
        }
    }

    /// Until when nothing passes at all; `None`: a request would be sent, or is finding out.
    #[must_use]
    pub fn rests_until(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        self.until.filter(|until| self.state == CircuitState::Open && now < *until)
    }

    /// Takes what a response says. `probe`: it is that to the probe; what was sent before the circuit opened says
    /// nothing new.
    #[must_use]
    pub fn heard(
        self,
        signal: Signal,
        probe: bool,
        policy: &BreakerPolicy,
        now: DateTime<Utc>,
    ) -> (Self, Option<Turn>) {
        match (self.state, signal) {
            (CircuitState::Closed, Signal::Neither) => (self, None),
            (CircuitState::Closed, Signal::Well) => (Self { failures: 0, ..self.counting(false, policy, now) }, None),
            (CircuitState::Closed, Signal::Failed | Signal::Refused) => {
                let failures = self.failures.saturating_add(1);
                let failed = Self { failures, ..self.counting(true, policy, now) };
                if signal == Signal::Failed && failures < policy.failures && !failed.fails_too_often(policy) {
                    return (failed, None);
                }
                let until = Some(now + policy.pause_after(0));
                let open = Self { state: CircuitState::Open, failures, until, ..Self::closed(now) };
                (open, Some(Turn::Opened))
            }
            (CircuitState::HalfOpen, Signal::Well) if probe => (Self::closed(now), Some(Turn::Closed)),
            // It was not asked after all: the next one is.
            (CircuitState::HalfOpen, Signal::Neither) if probe => (Self { until: Some(now), ..self }, None),
            (CircuitState::HalfOpen, _) if probe => {
                let trips = self.trips.saturating_add(1);
                let until = Some(now + policy.pause_after(trips));
                (Self { state: CircuitState::Open, trips, until, ..self }, None)
            }
            (CircuitState::Open | CircuitState::HalfOpen, _) => (self, None),
        }
    }

    /// With one more request, if there is something to count: a count begins with a failure, and ends after so many requests
    /// or so much time.
    fn counting(self, failed: bool, policy: &BreakerPolicy, now: DateTime<Utc>) -> Self {
        let is_over =
            self.calls >= policy.calls || self.counted_since.is_some_and(|since| now - since > BreakerPolicy::WINDOW);
        let count = if is_over { Self { calls: 0, failed: 0, counted_since: None, ..self } } else { self };
        if count.counted_since.is_none() && !failed {
            return count;
        }
        Self {
            calls: count.calls.saturating_add(1),
            failed: count.failed.saturating_add(i32::from(failed)),
            counted_since: count.counted_since.or(Some(now)),
            ..count
        }
    }

    /// Whether the share is reached, however the rest of the requests may go.
    fn fails_too_often(&self, policy: &BreakerPolicy) -> bool {
        i64::from(self.failed) * 100 >= i64::from(policy.calls) * i64::from(policy.share)
    }
}

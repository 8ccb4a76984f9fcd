//! When the gateway is left alone for a while, so that payments wait instead of being tried in vain. Pure.
//!
//! Two [circuits](Circuit), each a row that all workers share. A circuit opens when what it watches fails several times in
//! a row, or once and for all; nothing passes until a pause is over. Then one request at a time passes, the probe: if it
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
    /// The first pause. Each one after a probe in vain is twice as long, up to [`LONGEST`](Self::LONGEST) times this.
    pub pause: TimeDelta,
}

impl Default for BreakerPolicy {
    fn default() -> Self {
        Self { failures: 5, pause: TimeDelta::seconds(30) }
    }
}

impl BreakerPolicy {
    /// The longest pause, in first pauses: with 30 seconds it is 16 minutes.
    pub const LONGEST: i32 = 32;

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
        Self { state: CircuitState::Closed, since, failures: 0, trips: 0, until: None }
    }

    /// Whether nothing is known against it: then what works need not be written down.
    #[must_use]
    pub const fn is_sound(&self) -> bool {
        matches!(self.state, CircuitState::Closed) && self.failures == 0
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
            (CircuitState::Closed, Signal::Well) => (Self { failures: 0, ..self }, None),
            (CircuitState::Closed, Signal::Failed) if self.failures.saturating_add(1) < policy.failures => {
                (Self { failures: self.failures + 1, ..self }, None)
            }
            (CircuitState::Closed, Signal::Failed | Signal::Refused) => {
                let until = Some(now + policy.pause_after(0));
                let failures = self.failures.saturating_add(1);
                (Self { state: CircuitState::Open, since: now, failures, trips: 0, until }, Some(Turn::Opened))
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
}

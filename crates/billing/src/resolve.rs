//! How an attempt in doubt is resolved: when the gateway is asked, when the identical request may be repeated, and
//! what "not found" proves. Pure.
//!
//! The gateway answers for up to five minutes and keeps the result of a request id for one hour. So: for the first
//! minutes only look; then look, and repeat the identical request; before the hour is over stop repeating, for then
//! the same id would be a second charge; afterwards only look.

use chrono::{DateTime, TimeDelta, Utc};

use crate::payment::Outcome;

/// The times of resolving, all counted from the first time the request was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResolvePolicy {
    /// The first look. (Then at 4 and at 8 times that.)
    pub first_look: TimeDelta,
    /// Until then nothing is repeated: the gateway may still be working on the first request.
    pub look_only: TimeDelta,
    /// From then on nothing is repeated any more.
    pub resend_until: TimeDelta,
    /// After this long without an answer – counted from the LAST time it was sent – "not found" is evidence.
    pub not_executed_after: TimeDelta,
    /// How far apart two pieces of that evidence must be.
    pub not_found_gap: TimeDelta,
}

impl Default for ResolvePolicy {
    fn default() -> Self {
        Self {
            first_look: TimeDelta::seconds(15),
            look_only: TimeDelta::minutes(6),
            resend_until: TimeDelta::minutes(50),
            not_executed_after: TimeDelta::minutes(60),
            not_found_gap: TimeDelta::minutes(10),
        }
    }
}

/// The times contradict each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("resolving must go first_look <= look_only <= resend_until < not_executed_after, all above zero")]
pub struct ContradictoryPolicy;

/// What an attempt in doubt has behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sent {
    pub first_at: DateTime<Utc>,
    pub last_at: DateTime<Utc>,
    /// When both searches first showed nothing of it.
    pub absent_at: Option<DateTime<Utc>>,
}

/// What may be done about an attempt in doubt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Ask the gateway; if it knows nothing, ask again later.
    Look,
    /// Ask the gateway; if it knows nothing, repeat the identical request.
    LookThenResend,
    /// Ask the gateway, by the reference and in the list of the day: "not found" is evidence now.
    LookEverywhere,
}

impl ResolvePolicy {
    /// # Errors
    /// [`ContradictoryPolicy`] when the times are out of order: a wrong order could charge twice.
    pub fn checked(self) -> Result<Self, ContradictoryPolicy> {
        let in_order = TimeDelta::zero() < self.first_look
            && self.first_look <= self.look_only
            && self.look_only <= self.resend_until
            && self.resend_until < self.not_executed_after
            && TimeDelta::zero() < self.not_found_gap;
        if in_order { Ok(self) } else { Err(ContradictoryPolicy) }
    }

    /// What may be done at `now`.
    #[must_use]
    pub fn step(&self, sent: &Sent, now: DateTime<Utc>) -> Step {
        let age = now - sent.first_at;
        if age < self.look_only {
            Step::Look
        } else if age < self.resend_until {
            Step::LookThenResend
        } else if now - sent.last_at > self.not_executed_after {
            Step::LookEverywhere
        } else {
            Step::Look
        }
    }

    /// When to look again: often at first, then hourly for a day, then daily. Always after `now`.
    #[must_use]
    pub fn next_look(&self, first_sent_at: DateTime<Utc>, now: DateTime<Utc>) -> DateTime<Utc> {
        let age = now - first_sent_at;
        let hour = self.not_executed_after;
        let early = [
            self.first_look,
            self.first_look * 4,
            self.first_look * 8,
            self.look_only,
            self.resend_until * 3 / 10,
            self.resend_until * 6 / 10,
            self.resend_until * 9 / 10,
        ];
        let next = early.into_iter().filter(|at| *at > age).min();
        let later = if age < hour * 24 { hour } else { hour * 24 };
        next.map_or(now + later, |at| first_sent_at + at)
    }

    /// What it means that the gateway does not know the attempt. `listed_nowhere`: the list of the day does not have it
    /// either (asked at [`Step::LookEverywhere`]).
    #[must_use]
    pub fn not_found(&self, sent: &Sent, listed_nowhere: bool, now: DateTime<Utc>) -> Outcome {
        let absent = listed_nowhere && self.step(sent, now) == Step::LookEverywhere;
        match sent.absent_at {
            Some(first) if absent && now - first >= self.not_found_gap => Outcome::NotExecuted,
            Some(first) if absent => Outcome::NotFound { absent, look_again_at: first + self.not_found_gap },
            None if absent => Outcome::NotFound { absent, look_again_at: now + self.not_found_gap },
            _ => Outcome::NotFound { absent, look_again_at: self.next_look(sent.first_at, now) },
        }
    }

    /// What it means that the gateway still waits for 3-D Secure: it may yet come by a repeated request, or never.
    #[must_use]
    pub fn awaiting_authentication(&self, sent: &Sent, transaction_id: i64, now: DateTime<Utc>) -> Outcome {
        if now - sent.first_at < self.resend_until {
            Outcome::AwaitingAuthentication { transaction_id, look_again_at: self.next_look(sent.first_at, now) }
        } else {
            Outcome::NeverAuthenticated { transaction_id }
        }
    }
}

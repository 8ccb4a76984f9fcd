//! How an attempt in doubt is resolved: when the gateway is asked, when the identical request may be repeated, and
//! what "not found" proves. Pure.
//!
//! The gateway answers for up to five minutes and keeps the result of a request id for one hour. So: for the first
//! minutes only look; then look, and repeat the identical request; before the hour is over stop repeating, for then
//! the same id would be a second charge; afterwards only look.
//!
//! With the defaults: looks after 15 seconds, 1 and 2 minutes; looks that may end in a repetition after 6, 15, 30 and 45
//! minutes; then looks every hour for a day, and every day for as long as it takes.

use chrono::{DateTime, TimeDelta, Utc};

use crate::payment::Outcome;
use crate::{AccountId, PaymentId};

/// The times of resolving, all counted from the first time the request was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResolvePolicy {
    /// The first look. (Then at 4 and at 8 times that.)
    pub first_look: TimeDelta,
    /// Until then nothing is repeated: the gateway may still be working on the first request. (Then at 2.5, at 5 and at
    /// 7.5 times that, and at twice the time before, until [`resend_until`](Self::resend_until).)
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

/// How far a wait is spread, in thousandths of a quarter of it, so that payments that fell into doubt together are not
/// looked at together for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spread(u16);

impl Spread {
    /// Always the same for one payment.
    #[must_use]
    pub fn of(payment_id: PaymentId) -> Self {
        Self::of_id(payment_id.get())
    }

    /// Always the same for one account.
    #[must_use]
    pub fn of_account(account_id: AccountId) -> Self {
        Self::of_id(account_id.get())
    }

    fn of_id(id: uuid::Uuid) -> Self {
        Self(u16::try_from(id.as_u128() % 1_000).unwrap_or_default())
    }
}

/// How long to wait after the `fruitless`-th try in a row that taught nothing: `first`, and each time twice as long, up to
/// `most`, and up to a quarter more.
#[must_use]
pub fn backoff(first: TimeDelta, fruitless: i32, most: TimeDelta, spread: Spread) -> TimeDelta {
    let doublings = u32::try_from(fruitless.saturating_sub(1)).unwrap_or_default().min(30);
    let wait = first.checked_mul(1 << doublings).unwrap_or(most).min(most);
    wait + wait / 4_000 * i32::from(spread.0)
}

/// After so many tries in a row in which its worker died, a payment is suspected of killing its workers.
pub const SUSPECT_AFTER: i32 = 5;

/// How long whoever looks has before another look may begin. `patience` is how long one may take; what seems to kill its
/// workers is tried ever more seldom, but never given up.
#[must_use]
pub fn lease(patience: TimeDelta, fruitless: i32) -> TimeDelta {
    let most = patience.max(TimeDelta::hours(1));
    let doublings = u32::try_from(fruitless.saturating_sub(SUSPECT_AFTER)).unwrap_or_default().min(30);
    patience.checked_mul(1 << doublings).unwrap_or(most).min(most)
}

/// When a page that was given up is looked after: its money may come all the same, by an answer that we did not pass on.
/// Counted from when it was given up.
const AFTER_THE_PAGE: [TimeDelta; 2] = [TimeDelta::seconds(15), TimeDelta::hours(1)];

/// The next time to look after a page that was given up; `None`: it was looked after for long enough.
#[must_use]
pub fn look_after_the_page(given_up_at: DateTime<Utc>, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    AFTER_THE_PAGE.into_iter().map(|after| given_up_at + after).find(|at| *at > now)
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

    /// What may be done at `now`. Each time of the plan is good for one repetition, however often it is looked.
    #[must_use]
    pub fn step(&self, sent: &Sent, now: DateTime<Utc>) -> Step {
        let age = now - sent.first_at;
        if age < self.look_only {
            Step::Look
        } else if age < self.resend_until {
            let planned = self.resends().take_while(|at| *at <= age).last();
            let is_repeated = planned.is_none_or(|at| sent.last_at >= sent.first_at + at);
            if is_repeated { Step::Look } else { Step::LookThenResend }
        } else if now - sent.last_at > self.not_executed_after {
            Step::LookEverywhere
        } else {
            Step::Look
        }
    }

    /// When the identical request may be repeated, after it was first sent.
    fn resends(&self) -> impl Iterator<Item = TimeDelta> {
        let halves = [2, 5, 10, 15].into_iter();
        let later = std::iter::successors(Some(30_i32), |halves| halves.checked_mul(2));
        let (unit, until) = (self.look_only, self.resend_until);
        halves
            .chain(later)
            .map_while(move |halves| unit.checked_mul(halves))
            .map(|at| at / 2)
            .take_while(move |at| *at < until)
    }

    /// When to look again: often at first, then hourly for a day, then daily. Always after `now`.
    #[must_use]
    pub fn next_look(&self, first_sent_at: DateTime<Utc>, now: DateTime<Utc>) -> DateTime<Utc> {
        let age = now - first_sent_at;
        let hour = self.not_executed_after;
        let looks = [self.first_look, self.first_look * 4, self.first_look * 8];
        let next = looks.into_iter().chain(self.resends()).filter(|at| *at > age).min();
        let later = if age < hour * 24 { hour } else { hour * 24 };
        next.map_or(now + later, |at| first_sent_at + at)
    }

    /// When to look at an attempt whose request was not answered: soon after the first time, however long its sender
    /// waited, and as planned after a repetition.
    #[must_use]
    pub fn after_no_answer(&self, first_sent_at: DateTime<Utc>, sends: i32, now: DateTime<Utc>) -> DateTime<Utc> {
        let planned = self.next_look(first_sent_at, now);
        if sends <= 1 { planned.min(now + self.first_look) } else { planned }
    }

    /// When to look again after a look that failed, the `fruitless`-th try in a row: it taught nothing, so that need not
    /// wait for its turn in the plan, but it backs off. Not before the time that the gateway `asked` for, if it did.
    #[must_use]
    pub fn after_failed_look(
        &self,
        sent: &Sent,
        fruitless: i32,
        spread: Spread,
        asked: Option<DateTime<Utc>>,
        now: DateTime<Utc>,
    ) -> DateTime<Utc> {
        let planned = self.next_look(sent.first_at, now);
        let age = now - sent.first_at;
        let next = if age < self.look_only || age >= self.resend_until {
            planned.min(now + backoff(self.first_look * 4, fruitless, self.not_executed_after * 24, spread))
        } else {
            planned
        };
        asked.map_or(next, |asked| next.max(asked))
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

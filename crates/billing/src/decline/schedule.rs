//! When a refused renewal is tried again.

use chrono::{DateTime, TimeDelta, Utc};

use super::{CHARGES_COUNT_FOR, DeclineGroup, GRACE, MOST_CHARGES};

/// The most tries after the first refusal.
pub const MAX_TRIES: usize = 8;

/// Hours after the first refusal at which a try may follow, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Schedule {
    hours: [i32; MAX_TRIES],
    tries: usize,
}

/// A schedule that must not be. Says which rule it breaks.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadSchedule {
    #[error("at most {MAX_TRIES} tries")]
    TooMany,
    #[error("each try must be later than the one before it, and the first at least an hour after the refusal")]
    NotInOrder,
    #[error("a try at +{0} h is not within the grace of {grace} h", grace = GRACE.num_hours())]
    AfterTheGrace(i32),
    #[error("up to +{0} h a card would be charged more than {MOST_CHARGES} times within {hours} h", hours = CHARGES_COUNT_FOR.num_hours())]
    TooOften(i32),
    #[error("after a refusal of the group {0} a card is not charged again")]
    CardIsBarred(DeclineGroup),
}

impl Schedule {
    /// No try at all.
    pub const NEVER: Self = Self { hours: [0; MAX_TRIES], tries: 0 };

    /// A schedule that is written in the program.
    pub(super) const fn of<const N: usize>(tries: [i32; N]) -> Self {
        let mut hours = [0; MAX_TRIES];
        let mut n = 0;
        while n < N {
            hours[n] = tries[n];
            n += 1;
        }
        Self { hours, tries: N }
    }

    /// The schedule a new database begins with. `+29 h` is the next day at another hour of it; the last soft try comes a few
    /// hours before the week of grace is over, so that it is known what became of it when access ends.
    #[must_use]
    pub const fn seeded(group: DeclineGroup) -> Self {
        match group {
            DeclineGroup::Hard | DeclineGroup::CustomerAction => Self::NEVER,
            DeclineGroup::Soft => Self::of([29, 72, 120, 164]),
            DeclineGroup::Technical => Self::of([2, 26]),
            // An operator mends it meanwhile; the customer is not at fault.
            DeclineGroup::Conditional | DeclineGroup::Configuration => Self::of([29]),
        }
    }

    /// A schedule for a group, if it keeps the rules that hold whatever the staff decides: nothing after the grace, at most
    /// two charges in 24 hours, none of a card that is barred.
    ///
    /// # Errors
    /// [`BadSchedule`].
    pub fn new(group: DeclineGroup, tries: &[i32]) -> Result<Self, BadSchedule> {
        if tries.len() > MAX_TRIES {
            return Err(BadSchedule::TooMany);
        }
        if group.bars_the_card() && !tries.is_empty() {
            return Err(BadSchedule::CardIsBarred(group));
        }
        let charges: Vec<i32> = std::iter::once(0).chain(tries.iter().copied()).collect();
        if charges.windows(2).any(|two| two[0] >= two[1]) {
            return Err(BadSchedule::NotInOrder);
        }
        if let Some(late) = tries.iter().find(|hours| i64::from(**hours) >= GRACE.num_hours()) {
            return Err(BadSchedule::AfterTheGrace(*late));
        }
        let is_crowded = |run: &&[i32]| i64::from(run[MOST_CHARGES] - run[0]) <= CHARGES_COUNT_FOR.num_hours();
        if let Some(crowded) = charges.windows(MOST_CHARGES + 1).find(is_crowded) {
            return Err(BadSchedule::TooOften(crowded[MOST_CHARGES]));
        }
        let mut hours = [0; MAX_TRIES];
        hours[..tries.len()].copy_from_slice(tries);
        Ok(Self { hours, tries: tries.len() })
    }

    /// The hours after the first refusal.
    #[must_use]
    pub fn hours(&self) -> &[i32] {
        &self.hours[..self.tries]
    }

    /// The first `tries` of it.
    #[must_use]
    pub fn at_most(self, tries: usize) -> Self {
        Self { tries: self.tries.min(tries), ..self }
    }

    /// When a renewal refused at `now` may be tried again; `None`: not by itself, the customer must pay anew.
    ///
    /// `first` is the time of the bill's first refusal, `refusals` counts them with this one, `retry_after` is the
    /// gateway's own word and only ever moves the try later.
    #[must_use]
    pub fn retry_at(
        &self,
        first: DateTime<Utc>,
        refusals: u32,
        retry_after: Option<DateTime<Utc>>,
        now: DateTime<Utc>,
    ) -> Option<DateTime<Utc>> {
        let step = usize::try_from(refusals.max(1) - 1).ok()?;
        let hours = i64::from(*self.hours().get(step)?);
        // A try that came late must not make the next one follow at its heels.
        let least = if step == 0 { hours } else { CHARGES_COUNT_FOR.num_hours() };
        let planned = (first + TimeDelta::hours(hours)).max(now + TimeDelta::hours(least));
        Some(retry_after.map_or(planned, |at| at.max(planned)))
    }
}

//! Where the periods of a subscription begin and end.

use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::Tz;

use crate::period::{Period, PeriodError};

/// The arithmetic of a running subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Term {
    pub anchor_at: DateTime<Utc>,
    /// Periods paid before the anchor: the first period after it has the next number.
    pub anchor_period_no: i32,
    pub period: Period,
}

/// A period is charged while at least this share of it – numerator and denominator – lies ahead: two thirds. What is left
/// of one that has passed further, as after an outage, is a present, and the next one is charged.
///
/// A renewal is charged before its period begins, in the last half of the one before, so a period that was charged late
/// and the next one are never charged at each other's heels: a sixth of a period lies between.
pub const CHARGED_SHARE: (i32, i32) = (2, 3);

impl Term {
    /// When period `no` ends; its access is exclusive of that instant.
    ///
    /// # Errors
    /// [`PeriodError::OutsideCalendar`] for a number that is absurd.
    pub fn end_of(&self, no: i32, zone: Tz) -> Result<DateTime<Utc>, PeriodError> {
        let n = no
            .checked_sub(self.anchor_period_no)
            .and_then(|n| u32::try_from(n).ok())
            .ok_or(PeriodError::OutsideCalendar)?;
        self.period.nth_instant(self.anchor_at, n, zone)
    }

    /// When period `no` begins. That before the anchor, which belongs to an earlier term or was moved by hand, is taken
    /// to be as long as those after it.
    ///
    /// # Errors
    /// As [`Term::end_of`].
    pub fn start_of(&self, no: i32, zone: Tz) -> Result<DateTime<Utc>, PeriodError> {
        if no <= self.anchor_period_no {
            return self.period.instant_before(self.anchor_at, zone);
        }
        self.end_of(no - 1, zone)
    }
}

/// Whether enough of a period lies ahead to be charged for: see [`CHARGED_SHARE`].
pub(super) fn is_worth_its_price(begins: DateTime<Utc>, ends: DateTime<Utc>, now: DateTime<Utc>) -> bool {
    let (share, of) = CHARGED_SHARE;
    let (ahead, whole): (TimeDelta, TimeDelta) = (ends - now, ends - begins);
    ahead * of >= whole * share
}

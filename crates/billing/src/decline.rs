//! What a declined charge means for the next try.
//!
//! The gateway's own rule for recurring charges: after an unconditional refusal never again with this card; otherwise
//! at most two attempts in 24 hours (gateway documentation, error codes). The codes the gateway leaves ungrouped are
//! placed here by us. Raw code, reason and message are always kept on the payment, whatever these rules say.
//!
//! What a code means and when a group is tried again are rows that the staff can change ([`Rule`], [`Schedule`]; see
//! [`store::declines`](crate::store::declines)). What is written here is what a new database begins with, and what holds for
//! a code that has no row. The bounds hold whatever the rows say.

mod rule;
mod schedule;
mod seed;

use chrono::{DateTime, TimeDelta, Utc};

pub use self::rule::{BadRule, CustomerAction, MAX_MESSAGE, RetryTerms, Rule, Ruling};
pub use self::schedule::{BadSchedule, MAX_TRIES, Schedule};
pub use self::seed::rules as seed;
use crate::macros::text_enum;

text_enum! {
    /// What kind of refusal a reason code is.
    pub enum DeclineGroup {
        /// Lost, stolen, forbidden: no further charge of this card. The customer pays anew.
        Hard = "hard",
        /// Not enough money, or a limit: worth trying again over the following days.
        Soft = "soft",
        /// Issuer or network out of order: worth trying again the same day, once.
        Technical = "technical",
        /// Wrong data or a suspicion: one more try a day later, no more.
        Conditional = "conditional",
        /// The customer must act (new card data, 3-D Secure): repeating by itself is pointless.
        CustomerAction = "customer_action",
        /// Our terminal or our settings are wrong: an operator must act.
        Configuration = "configuration",
    }
}

/// Until when a charge that came to nothing through our own fault – the gateway did not understand it, it was never
/// executed, its card could not be read – pauses: three charges in two days, so that operators can mend it meanwhile.
/// After the last one the renewal is as good as refused.
const OUR_FAULT: &[TimeDelta] = &[TimeDelta::hours(1), TimeDelta::hours(47)];

/// No more charges than [`MOST_CHARGES`] are started for a card within this time.
pub const CHARGES_COUNT_FOR: TimeDelta = TimeDelta::hours(24);
/// The gateway's rule for charges without the customer, whatever the schedules say.
pub const MOST_CHARGES: usize = 2;

/// How long after a card was replaced a renewal that was refused to the card before it is tried with the new one.
pub const WITH_ANOTHER_CARD: TimeDelta = TimeDelta::hours(24);

/// When a renewal whose charge failed `faults` times through our own fault, the last time at `now`, is tried again;
/// `None`: not any more.
#[must_use]
pub fn retry_after_fault(faults: u32, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let step = usize::try_from(faults.max(1) - 1).ok()?;
    OUR_FAULT.get(step).map(|pause| now + *pause)
}

/// Until when a card is left alone that was charged at these times: `None` if it may be charged at `now`.
#[must_use]
pub fn left_alone_until(charges: &[DateTime<Utc>], now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let mut latest: Vec<_> = charges.iter().filter(|at| now - **at <= CHARGES_COUNT_FOR).collect();
    latest.sort_unstable_by(|a, b| b.cmp(a));
    latest.get(MOST_CHARGES - 1).map(|at| **at + CHARGES_COUNT_FOR + TimeDelta::seconds(1))
}

/// How long an account keeps its access while its renewal is refused.
pub const GRACE: TimeDelta = TimeDelta::days(7);

impl DeclineGroup {
    /// The group of a gateway reason code in a new database. A code nobody has told us about gets one more try a day later.
    #[must_use]
    pub const fn of(code: i32) -> Self {
        match code {
            5001 | 5003 | 5004 | 5005 | 5007 | 5012 | 5015 | 5017 | 5031 | 5033 | 5034 | 5036 | 5041 | 5043 | 5057
            | 5062 | 5082 | 5113 => Self::Hard,
            5051 | 5061 | 5065 | 5303 => Self::Soft,
            5091 | 5092 | 5096 => Self::Technical,
            5014 | 5054 | 5206 | 5207 | 5761..=5763 => Self::CustomerAction,
            3000..=3999 | 6000..=6999 => Self::Configuration,
            _ => Self::Conditional,
        }
    }

    /// Whether this card must not be charged again without the customer: they pay anew, with it or another.
    #[must_use]
    pub const fn bars_the_card(self) -> bool {
        matches!(self, Self::Hard | Self::CustomerAction)
    }
}

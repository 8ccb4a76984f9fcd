//! Subscriptions of the gateway itself ("Подписки на рекуррентные платежи"): it charges a token by a schedule, tries a
//! failed charge again the next day, and gives up after the third failure in a row. Pure; time is passed in.

#[cfg(test)]
mod tests;

use chrono::{DateTime, Months, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use super::transaction::Token;
use crate::money::{Amount, Currency};

/// Failures in a row after which a subscription is rejected.
const MAX_FAILURES: u32 = 3;
/// A failed charge is tried again so much later.
const RETRY: TimeDelta = TimeDelta::days(1);

/// `sc_` and 29 hex digits.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct SubscriptionId(pub(crate) String);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Interval {
    Day,
    Week,
    Month,
}

impl Interval {
    pub(crate) fn parse(name: &str) -> Option<Self> {
        [Self::Day, Self::Week, Self::Month].into_iter().find(|interval| interval.name().eq_ignore_ascii_case(name))
    }

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Day => "Day",
            Self::Week => "Week",
            Self::Month => "Month",
        }
    }

    /// `IntervalCode`: the documentation's examples have 2 for days; the others go on from there by length.
    pub(crate) const fn code(self) -> u8 {
        match self {
            Self::Month => 0,
            Self::Week => 1,
            Self::Day => 2,
        }
    }
}

/// Statuses of the gateway's handbook.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Status {
    Active,
    /// The last charge failed, or the last two.
    PastDue,
    Cancelled,
    /// Three charges in a row failed.
    Rejected,
    /// It has had its periods.
    Expired,
}

impl Status {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Active => "Active",
            Self::PastDue => "PastDue",
            Self::Cancelled => "Cancelled",
            Self::Rejected => "Rejected",
            Self::Expired => "Expired",
        }
    }

    pub(crate) const fn code(self) -> u8 {
        match self {
            Self::Active => 0,
            Self::PastDue => 1,
            Self::Cancelled => 2,
            Self::Rejected => 3,
            Self::Expired => 4,
        }
    }

    const fn is_live(self) -> bool {
        matches!(self, Self::Active | Self::PastDue)
    }
}

/// What the merchant asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Terms {
    pub(crate) token: Token,
    pub(crate) account_id: String,
    pub(crate) description: String,
    pub(crate) email: Option<String>,
    pub(crate) amount: Amount,
    pub(crate) currency: Currency,
    /// `RequireConfirmation`: every charge is an authorization.
    pub(crate) two_stage: bool,
    pub(crate) start: DateTime<Utc>,
    pub(crate) interval: Interval,
    pub(crate) period: u32,
    /// Payments after which it ends by itself.
    pub(crate) max_periods: Option<u32>,
    pub(crate) culture: String,
    /// `CustomerReceipt`, JSON: every charge has it.
    pub(crate) receipt: Option<String>,
}

impl Terms {
    /// The n-th date of the schedule, counted from the start so that the 31st comes back after February.
    fn scheduled(&self, n: u32) -> Option<DateTime<Utc>> {
        let steps = self.period.checked_mul(n)?;
        match self.interval {
            Interval::Day => self.start.checked_add_signed(TimeDelta::days(steps.into())),
            Interval::Week => self.start.checked_add_signed(TimeDelta::weeks(steps.into())),
            Interval::Month => self.start.checked_add_months(Months::new(steps)),
        }
    }

    /// The first date of the schedule after `moment`.
    fn next_after(&self, moment: DateTime<Utc>) -> Option<DateTime<Utc>> {
        if moment < self.start {
            return Some(self.start);
        }
        let shortest = match self.interval {
            Interval::Day => 1,
            Interval::Week => 7,
            Interval::Month => 31,
        } * i64::from(self.period);
        // No date before this one can be meant; from here it is a step or two.
        let skipped = u32::try_from((moment - self.start).num_days() / shortest).ok()?;
        (skipped..).map_while(|n| self.scheduled(n)).find(|date| *date > moment)
    }
}

/// The changes of an update; what is not named stays.
#[derive(Clone, Debug, Default)]
pub(crate) struct Patch {
    pub(crate) description: Option<String>,
    pub(crate) amount: Option<Amount>,
    pub(crate) currency: Option<Currency>,
    pub(crate) two_stage: Option<bool>,
    pub(crate) start: Option<DateTime<Utc>>,
    pub(crate) interval: Option<Interval>,
    pub(crate) period: Option<u32>,
    pub(crate) max_periods: Option<u32>,
    pub(crate) culture: Option<String>,
    pub(crate) receipt: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Subscription {
    pub(crate) id: SubscriptionId,
    pub(crate) terms: Terms,
    pub(crate) status: Status,
    pub(crate) successful: u32,
    pub(crate) failed: u32,
    failures_in_row: u32,
    pub(crate) last_at: Option<DateTime<Utc>>,
    /// When it is charged next.
    pub(crate) next_at: Option<DateTime<Utc>>,
}

impl Subscription {
    pub(crate) fn new(id: SubscriptionId, terms: Terms) -> Self {
        let next_at = Some(terms.start);
        Self { id, terms, status: Status::Active, successful: 0, failed: 0, failures_in_row: 0, last_at: None, next_at }
    }

    /// A charge at `at` has ended.
    pub(crate) fn charged(&mut self, approved: bool, at: DateTime<Utc>) {
        self.last_at = Some(at);
        if approved {
            self.successful += 1;
            self.failures_in_row = 0;
            let is_over = self.terms.max_periods.is_some_and(|max| self.successful >= max);
            self.status = if is_over { Status::Expired } else { Status::Active };
            self.next_at = self.terms.next_after(at).filter(|_| !is_over);
        } else {
            self.failed += 1;
            self.failures_in_row += 1;
            let is_over = self.failures_in_row >= MAX_FAILURES;
            self.status = if is_over { Status::Rejected } else { Status::PastDue };
            self.next_at = Some(at + RETRY).filter(|_| !is_over);
        }
    }

    pub(crate) fn cancel(&mut self) {
        self.status = Status::Cancelled;
        self.next_at = None;
    }

    /// Also brings a subscription that has ended back to life ("повторная активация").
    pub(crate) fn update(&mut self, patch: &Patch, now: DateTime<Utc>) {
        fn set<T: Clone>(field: &mut T, value: Option<&T>) {
            if let Some(value) = value {
                field.clone_from(value);
            }
        }
        let terms = &mut self.terms;
        let moved = patch.start.is_some() || patch.interval.is_some() || patch.period.is_some();
        set(&mut terms.description, patch.description.as_ref());
        set(&mut terms.amount, patch.amount.as_ref());
        set(&mut terms.currency, patch.currency.as_ref());
        set(&mut terms.two_stage, patch.two_stage.as_ref());
        set(&mut terms.start, patch.start.as_ref());
        set(&mut terms.interval, patch.interval.as_ref());
        set(&mut terms.period, patch.period.as_ref());
        set(&mut terms.culture, patch.culture.as_ref());
        terms.max_periods = patch.max_periods.or(terms.max_periods);
        terms.receipt = patch.receipt.clone().or_else(|| terms.receipt.take());
        if !self.status.is_live() {
            self.status = Status::Active;
            self.failures_in_row = 0;
            self.next_at = self.terms.next_after(now);
        } else if moved {
            self.next_at = self.terms.next_after(now);
        }
    }
}

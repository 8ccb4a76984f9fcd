//! How a subscription moves.

use chrono::{DateTime, TimeDelta, Utc};

use super::{Account, AccountError, AccountEvent, AccountStatus, DOUBT, NextPeriod, Term};
use crate::bill::BillKind;
use crate::decline::{DeclineGroup, GRACE};
use crate::period::{Period, start_of_day};

/// When a renewal that failed through no fault of the customer is tried again.
const OUR_FAULT_PAUSE: TimeDelta = TimeDelta::hours(1);

impl Account {
    /// The period a renewal under `period` would pay at `now`: the first unpaid one that is not over.
    ///
    /// A tariff whose length was changed starts a new term where the paid time ends.
    ///
    /// # Errors
    /// [`AccountError::Illegal`] for an account that has never paid.
    pub fn next_period(&self, period: Period, now: DateTime<Utc>) -> Result<NextPeriod, AccountError> {
        let term = self.term_under(period)?;
        let first = self.period_no.saturating_add(1);
        let mut no = first;
        loop {
            let ends_at = term.end_of(no, self.time_zone)?;
            if ends_at > now {
                return Ok(NextPeriod { no, ends_at, skipped: no - first });
            }
            no = no.saturating_add(1);
        }
    }

    fn term_under(&self, period: Period) -> Result<Term, AccountError> {
        match (self.term, self.paid_until) {
            (Some(term), _) if term.period == period => Ok(term),
            (Some(_), Some(end)) => Ok(Term { anchor_at: end, anchor_period_no: self.period_no, period }),
            _ => Err(self.illegal("a renewal")),
        }
    }

    fn illegal(&self, event: &'static str) -> AccountError {
        AccountError::Illegal { status: self.status, event }
    }

    /// Takes what happened and returns where the subscription stands now.
    ///
    /// # Errors
    /// [`AccountError`] when this cannot happen to an account in its state.
    pub fn apply(self, event: AccountEvent, now: DateTime<Utc>) -> Result<Self, AccountError> {
        use {AccountEvent as E, AccountStatus as S};
        let running = self.is_running();
        match event {
            E::Paid { kind, tariff_id, period, period_no, token } => self
                .paid(kind, period, period_no, now)
                .map(|paid| Self { tariff_id: Some(tariff_id), has_token: paid.has_token || token, ..paid }),
            E::RenewalOpened if running => {
                let doubt_ends = (self.status == S::Active).then(|| self.end_or(now) + DOUBT);
                Ok(Self { next_charge_at: None, access_until: self.access_until.max(doubt_ends), ..self })
            }
            E::RenewalRefused { period_no, group, retry_after } if self.awaits(period_no) => {
                Ok(self.refused(group, retry_after, now))
            }
            E::RenewalNotCharged { period_no } if self.awaits(period_no) => {
                Ok(Self { next_charge_at: Some(now + OUR_FAULT_PAUSE), ..self })
            }
            E::RenewalRefused { .. } | E::RenewalNotCharged { .. } => Ok(self),
            E::NoCard if running => Ok(self.overdue(None, now)),
            E::CancelRequested if running => {
                Ok(Self { cancel_at_period_end: true, next_charge_at: None, access_until: self.paid_until, ..self })
            }
            E::Resumed if running && self.cancel_at_period_end => {
                let resumed = Self { cancel_at_period_end: false, ..self };
                let end = resumed.end_or(now);
                Ok(Self { next_charge_at: resumed.due_at()?, access_until: Some(end + DOUBT), ..resumed })
            }
            E::CardForgotten => Ok(Self { has_token: false, ..self }),
            E::AccessRanOut => self.ran_out(now),
            E::RenewalOpened => Err(self.illegal("the opening of a renewal")),
            E::NoCard => Err(self.illegal("a renewal without a card")),
            E::CancelRequested => Err(self.illegal("a cancellation")),
            E::Resumed => Err(self.illegal("a resumption")),
        }
    }

    fn paid(self, kind: BillKind, period: Period, bill_no: i32, now: DateTime<Utc>) -> Result<Self, AccountError> {
        use AccountStatus as S;
        let running = self.is_running();
        let (term, period_no) = if running && kind == BillKind::Renewal {
            // A late success for a period that was paid otherwise buys one more.
            (self.term_under(period)?, bill_no.max(self.period_no.saturating_add(1)))
        } else {
            // What is already paid for is never taken away: a new term begins behind it.
            let anchor_at = if running { self.end_or(now) } else { now };
            let before = self.period_no.max(bill_no.saturating_sub(1));
            (Term { anchor_at, anchor_period_no: before, period }, before.saturating_add(1))
        };
        let end = term.end_of(period_no, self.time_zone)?;
        let keeps_cancellation = running && kind == BillKind::Renewal && self.cancel_at_period_end;
        let paid = Self {
            status: S::Active,
            term: Some(term),
            period_no,
            paid_until: Some(end),
            access_until: Some(if keeps_cancellation { end } else { end + DOUBT }),
            cancel_at_period_end: keeps_cancellation,
            declines: 0,
            first_declined_at: None,
            ..self
        };
        Ok(Self { next_charge_at: paid.due_at()?, ..paid })
    }

    /// When the next period falls due: when the day begins on which the paid time ends. (Charging begins a lead before
    /// that.) A short period is left at least half of its time, so that who buys a day in the evening is not charged
    /// for the next one within the hour.
    fn due_at(&self) -> Result<Option<DateTime<Utc>>, AccountError> {
        let (Some(term), Some(end), Some(day)) = (self.term, self.paid_until, self.expires_on()) else {
            return Ok(None);
        };
        if self.cancel_at_period_end {
            return Ok(None);
        }
        let start = term.end_of(self.period_no.saturating_sub(1), self.time_zone)?;
        let half = (end - start) / 2;
        Ok(Some(start_of_day(day, self.time_zone)?.max(end - half.min(TimeDelta::days(1)))))
    }

    fn end_or(&self, now: DateTime<Utc>) -> DateTime<Utc> {
        self.paid_until.map_or(now, |end| end.max(now))
    }

    /// Whether the period is still to be paid. While it was being charged it may have been called off or paid
    /// otherwise, or the account closed.
    fn awaits(&self, period_no: i32) -> bool {
        self.is_running() && !self.cancel_at_period_end && period_no > self.period_no
    }

    fn refused(self, group: DeclineGroup, retry_after: Option<DateTime<Utc>>, now: DateTime<Utc>) -> Self {
        let first = self.first_declined_at.unwrap_or(now);
        let declines = self.declines.saturating_add(1);
        let retry_at = group.retry_at(first, declines.unsigned_abs(), retry_after, now);
        Self { declines, ..self.overdue(retry_at, now) }
    }

    /// The week of grace begins with the first refusal, or with the end of the paid time if that comes later.
    fn overdue(self, retry_at: Option<DateTime<Utc>>, now: DateTime<Utc>) -> Self {
        let first_time = self.first_declined_at.is_none();
        let access_until = if first_time { Some(self.end_or(now) + GRACE) } else { self.access_until };
        Self {
            status: AccountStatus::Overdue,
            first_declined_at: self.first_declined_at.or(Some(now)),
            access_until,
            next_charge_at: retry_at,
            ..self
        }
    }

    fn ran_out(self, now: DateTime<Utc>) -> Result<Self, AccountError> {
        use AccountStatus as S;
        let is_over = self.access_until.is_none_or(|end| now >= end);
        match self.status {
            S::Active if is_over && self.cancel_at_period_end => Ok(self.canceled()),
            // Nobody has tried to charge it yet, as when the timetable was down: that comes first.
            S::Active if is_over && self.next_charge_at.is_none() => {
                Ok(Self { status: S::Overdue, access_until: Some(self.end_or(now) + (GRACE - DOUBT)), ..self })
            }
            S::Overdue if is_over => Ok(self.canceled()),
            _ => Err(self.illegal("the end of its access")),
        }
    }

    fn canceled(self) -> Self {
        Self {
            status: AccountStatus::Canceled,
            next_charge_at: None,
            cancel_at_period_end: false,
            declines: 0,
            first_declined_at: None,
            ..self
        }
    }
}

//! How a subscription moves.

use chrono::{DateTime, TimeDelta, Utc};

use super::term::is_worth_its_price;
use super::window::renewal_at;
use super::{Account, AccountError, AccountEvent, AccountStatus, DOUBT, KeptCard, NextPeriod, SkippedPeriod, Term};
use crate::bill::BillKind;
use crate::decline::{GRACE, RetryTerms, WITH_ANOTHER_CARD, retry_after_fault};
use crate::period::Period;

impl Account {
    /// The period a renewal under `period` would pay at `now`: the first unpaid one of which enough lies ahead
    /// ([`CHARGED_SHARE`](super::CHARGED_SHARE)).
    ///
    /// A tariff whose length was changed starts a new term where the paid time ends.
    ///
    /// # Errors
    /// [`AccountError::Illegal`] for an account that has never paid.
    pub fn next_period(&self, period: Period, now: DateTime<Utc>) -> Result<NextPeriod, AccountError> {
        let term = self.term_under(period)?;
        let first = self.period_no.saturating_add(1);
        let (mut no, mut begins_at) = (first, term.end_of(self.period_no, self.time_zone)?);
        loop {
            let ends_at = term.end_of(no, self.time_zone)?;
            if is_worth_its_price(begins_at, ends_at, now) {
                return Ok(NextPeriod { no, ends_at, skipped: no - first });
            }
            (no, begins_at) = (no.saturating_add(1), ends_at);
        }
    }

    /// The periods that are passed over when `no` is charged next.
    ///
    /// # Errors
    /// As [`next_period`](Self::next_period).
    pub fn skipped(&self, period: Period, no: i32) -> Result<Vec<SkippedPeriod>, AccountError> {
        let term = self.term_under(period)?;
        let period = |no| {
            let (begins_at, ends_at) = (term.end_of(no - 1, self.time_zone)?, term.end_of(no, self.time_zone)?);
            Ok(SkippedPeriod { no, begins_at, ends_at })
        };
        (self.period_no.saturating_add(1)..no).map(period).collect()
    }

    /// Whether the period of an open bill is still to be charged for at `now`, and not the one after it.
    #[must_use]
    pub fn still_owes(&self, period_no: i32, period: Period, now: DateTime<Utc>) -> bool {
        self.next_period(period, now).is_ok_and(|next| next.no <= period_no)
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
        use AccountEvent as E;
        let running = self.is_running();
        match event {
            E::Paid { kind, tariff_id, period, period_no, card } => {
                let paid = self.paid(kind, period, period_no, now)?;
                // A renewal that was under way when another tariff was chosen is not the choice.
                let pending = paid.pending_tariff_id.filter(|chosen| kind == BillKind::Renewal && *chosen != tariff_id);
                Ok(Self { tariff_id: Some(tariff_id), pending_tariff_id: pending, ..paid.with_card(card) })
            }
            E::TrialBegun { tariff_id, period, period_no, card } => {
                let begun = self.paid(BillKind::Primary, period, period_no, now)?;
                let trial_period_no = Some(begun.period_no);
                let tariff_id = Some(tariff_id);
                Ok(Self { tariff_id, pending_tariff_id: None, trial_period_no, ..begun.with_card(card) })
            }
            E::RenewalOpened if running => {
                Ok(Self { next_charge_at: None, access_until: self.access_while_charged(now), ..self })
            }
            E::RenewalRefused { period_no, terms, retry_after } if self.awaits(period_no) => {
                Ok(self.refused(terms, retry_after, now))
            }
            E::RenewalNotCharged { period_no } if self.awaits(period_no) => Ok(self.not_charged(now)),
            E::ReplacedCardRefused { period_no } if self.awaits(period_no) => Ok(self.refused_with_another_card(now)),
            E::RenewalRefused { .. } | E::RenewalNotCharged { .. } | E::ReplacedCardRefused { .. } => Ok(self),
            E::NoCard if running => Ok(self.overdue(None, now)),
            E::CancelRequested if running => {
                Ok(Self { cancel_at_period_end: true, next_charge_at: None, access_until: self.paid_until, ..self })
            }
            E::Resumed if running && self.cancel_at_period_end && self.closed_at.is_none() => self.resumed(),
            E::TariffChosen(tariff) if running && !self.cancel_at_period_end => {
                Ok(Self { pending_tariff_id: Some(tariff).filter(|_| self.tariff_id != Some(tariff)), ..self })
            }
            E::CardForgotten => Ok(self.with_card(KeptCard::None)),
            E::Closed { access_ends_at_once } => Ok(self.closed(access_ends_at_once, now)),
            E::CardReplaced { card, debt_waits } => Ok(self.with_card(card).tried_again_with_it(debt_waits, now)),
            E::AccessTakenBack if running => Ok(self.taken_back(now)),
            E::PaidTimeShortened { days } if running => self.shortened(days, now),
            E::AccessTakenBack | E::PaidTimeShortened { .. } => Ok(self),
            E::AccessRanOut => self.ran_out(now),
            E::RenewalOpened => Err(self.illegal("the opening of a renewal")),
            E::NoCard => Err(self.illegal("a renewal without a card")),
            E::CancelRequested => Err(self.illegal("a cancellation")),
            E::Resumed => Err(self.illegal("a resumption")),
            E::TariffChosen(_) => Err(self.illegal("the choice of a tariff")),
        }
    }

    fn paid(self, kind: BillKind, period: Period, bill_no: i32, now: DateTime<Utc>) -> Result<Self, AccountError> {
        use AccountStatus as S;
        let running = self.is_running();
        let (term, period_no) = if running && kind == BillKind::Renewal {
            // A late success for a period that was paid otherwise buys one more.
            (self.term_under(period)?, bill_no.max(self.period_no.saturating_add(1)))
        } else {
            // What is already paid for is never taken away: a new term begins behind it. A change at once was credited with
            // it: its term begins now.
            let anchor_at = if running && kind != BillKind::Change { self.end_or(now) } else { now };
            let before = self.period_no.max(bill_no.saturating_sub(1));
            (Term { anchor_at, anchor_period_no: before, period }, before.saturating_add(1))
        };
        let end = term.end_of(period_no, self.time_zone)?;
        let keeps_cancellation = running && kind != BillKind::Primary && self.cancel_at_period_end;
        let paid = Self {
            status: S::Active,
            term: Some(term),
            period_no,
            paid_until: Some(end),
            access_until: Some(if keeps_cancellation { end } else { end + DOUBT }),
            cancel_at_period_end: keeps_cancellation,
            declines: 0,
            first_declined_at: None,
            faults: 0,
            ..self
        };
        Ok(Self { next_charge_at: paid.due_at()?, ..paid })
    }

    fn with_card(self, card: KeptCard) -> Self {
        match card {
            KeptCard::Same => self,
            KeptCard::New => Self { has_token: true, card_barred: false, ..self },
            KeptCard::None => Self { has_token: false, card_barred: false, ..self },
        }
    }

    /// When the next period is charged.
    fn due_at(&self) -> Result<Option<DateTime<Utc>>, AccountError> {
        match (self.term, self.paid_until) {
            (Some(term), Some(end)) if !self.cancel_at_period_end => {
                Ok(Some(renewal_at(self.id, term.start_of(self.period_no, self.time_zone)?, end)))
            }
            _ => Ok(None),
        }
    }

    fn end_or(&self, now: DateTime<Utc>) -> DateTime<Utc> {
        self.paid_until.map_or(now, |end| end.max(now))
    }

    /// The doubt about the period behind the paid one was granted with that, and opening its renewal, once or again, adds
    /// nothing. If that period has passed – nobody could be charged, as in an outage – the one that is charged now has a
    /// doubt of its own, once.
    fn access_while_charged(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let skips = |term: Term| self.next_period(term.period, now).is_ok_and(|next| next.skipped > 0);
        let first_try = self.status == AccountStatus::Active && self.faults == 0;
        if first_try && self.term.is_some_and(skips) {
            return self.access_until.max(Some(now + DOUBT));
        }
        self.access_until
    }

    /// Whether the period is still to be paid. While it was being charged it may have been called off or paid
    /// otherwise, or the account closed.
    fn awaits(&self, period_no: i32) -> bool {
        self.is_running() && !self.cancel_at_period_end && period_no > self.period_no
    }

    fn refused(self, terms: RetryTerms, retry_after: Option<DateTime<Utc>>, now: DateTime<Utc>) -> Self {
        let refused = Self { card_barred: self.card_barred || terms.bars_the_card, ..self };
        if refused.was_put_off() {
            return refused;
        }
        let first = refused.first_declined_at.unwrap_or(now);
        let declines = refused.declines.saturating_add(1);
        let retry_at = terms.schedule.retry_at(first, declines.unsigned_abs(), retry_after, now);
        Self { declines, ..refused.overdue(retry_at, now) }
    }

    /// The next try of what was refused comes no sooner than this; if access is over by then, never by itself.
    #[must_use]
    pub fn not_before(self, until: DateTime<Utc>) -> Self {
        let waits = self.status == AccountStatus::Overdue && self.next_charge_at.is_some_and(|at| at < until);
        let is_in_time = self.access_until.is_none_or(|end| until < end);
        if waits { Self { next_charge_at: is_in_time.then_some(until), ..self } } else { self }
    }

    /// What was refused to another card says nothing of the one that is kept now.
    fn refused_with_another_card(self, now: DateTime<Utc>) -> Self {
        if self.was_put_off() {
            return self;
        }
        let declines = self.declines.saturating_add(1);
        let retry_at = self.can_be_charged().then_some(now + WITH_ANOTHER_CARD);
        Self { declines, ..self.overdue(retry_at, now) }
    }

    /// A debt that was not to be tried again, because its card was refused for good or there was none, is tried with the
    /// card that is kept now. A try that is planned stays where it is.
    fn tried_again_with_it(self, debt_waits: bool, now: DateTime<Utc>) -> Self {
        let is_given_up = debt_waits && self.status == AccountStatus::Overdue && self.next_charge_at.is_none();
        if !is_given_up || self.cancel_at_period_end || !self.can_be_charged() {
            return self;
        }
        let at = Some(now + WITH_ANOTHER_CARD);
        Self { next_charge_at: at.filter(|at| self.access_until.is_some_and(|end| *at < end)), ..self }
    }

    fn not_charged(self, now: DateTime<Utc>) -> Self {
        if self.was_put_off() {
            return self;
        }
        let failed = Self { faults: self.faults.saturating_add(1), ..self };
        match retry_after_fault(failed.faults.unsigned_abs(), now) {
            Some(at) if failed.status == AccountStatus::Active => Self { next_charge_at: Some(at), ..failed },
            retry_at => failed.overdue(retry_at, now),
        }
    }

    /// While its renewal was being charged the account was given another date by hand. What came of that charge is of no
    /// consequence then: the next one is planned.
    const fn was_put_off(&self) -> bool {
        self.next_charge_at.is_some()
    }

    /// The week of grace begins with the first refusal, or with the end of the paid time if that comes later. It is
    /// granted once, and nothing is tried after it.
    fn overdue(self, retry_at: Option<DateTime<Utc>>, now: DateTime<Utc>) -> Self {
        let first_time = self.status != AccountStatus::Overdue;
        let access_until = if first_time { Some(self.end_or(now) + GRACE) } else { self.access_until };
        Self {
            status: AccountStatus::Overdue,
            first_declined_at: self.first_declined_at.or(Some(now)),
            access_until,
            next_charge_at: retry_at.filter(|at| access_until.is_some_and(|end| *at < end)),
            ..self
        }
    }

    /// As if it had never been called off – but a renewal that was refused is not tried again for that.
    fn resumed(self) -> Result<Self, AccountError> {
        let resumed = Self { cancel_at_period_end: false, ..self };
        let (next_charge_at, behind) = match resumed.status {
            AccountStatus::Overdue => (None, GRACE),
            _ => (resumed.due_at()?, DOUBT),
        };
        let refused_at = resumed.first_declined_at.filter(|_| resumed.status == AccountStatus::Overdue);
        let access_until = resumed.paid_until.max(refused_at).map(|end| end + behind);
        Ok(Self { next_charge_at, access_until, ..resumed })
    }

    /// As if called off for good, and without a card. What is paid stays paid, unless the person waives it.
    fn closed(self, access_ends_at_once: bool, now: DateTime<Utc>) -> Self {
        let closed_at = self.closed_at.or(Some(now));
        let closed = Self { closed_at, pending_tariff_id: None, ..self.with_card(KeptCard::None) };
        if !closed.is_running() {
            return closed;
        }
        if access_ends_at_once {
            return Self { access_until: closed.access_until.min(Some(now)), ..closed.canceled() };
        }
        Self { cancel_at_period_end: true, next_charge_at: None, access_until: closed.paid_until, ..closed }
    }

    fn taken_back(self, now: DateTime<Utc>) -> Self {
        Self { access_until: self.access_until.min(Some(now)), ..self.canceled() }
    }

    /// What was granted behind the paid time stays behind it, and later periods count from where it ends now. A time that
    /// has passed by then is over.
    fn shortened(self, days: i64, now: DateTime<Utc>) -> Result<Self, AccountError> {
        let (Some(term), Some(end)) = (self.term, self.paid_until) else { return Ok(self) };
        let ends_at = end - TimeDelta::days(days);
        if ends_at <= now {
            return Ok(self.taken_back(now));
        }
        let term = Term { anchor_at: ends_at, anchor_period_no: self.period_no, ..term };
        let access_until = self.access_until.map(|until| ends_at + (until - end));
        let shortened = Self { term: Some(term), paid_until: Some(ends_at), access_until, ..self };
        let is_planned = shortened.status == AccountStatus::Active && shortened.next_charge_at.is_some();
        Ok(if is_planned { Self { next_charge_at: shortened.due_at()?, ..shortened } } else { shortened })
    }

    fn ran_out(self, now: DateTime<Utc>) -> Result<Self, AccountError> {
        use AccountStatus as S;
        let is_over = self.access_until.is_none_or(|end| now >= end);
        // Nobody has tried to charge it yet, as when the timetable was down: that comes first.
        let is_due = self.next_charge_at.is_some_and(|at| at <= now);
        match self.status {
            S::Active if is_over && self.cancel_at_period_end => Ok(self.canceled()),
            S::Active if is_over && !is_due => {
                Ok(Self { status: S::Overdue, access_until: Some(self.end_or(now) + (GRACE - DOUBT)), ..self })
            }
            S::Overdue if is_over => Ok(self.canceled()),
            _ => Err(self.illegal("the end of its access")),
        }
    }

    fn canceled(self) -> Self {
        Self {
            status: AccountStatus::Canceled,
            pending_tariff_id: None,
            next_charge_at: None,
            cancel_at_period_end: false,
            declines: 0,
            first_declined_at: None,
            faults: 0,
            ..self
        }
    }
}

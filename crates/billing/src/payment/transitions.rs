//! What each step of an attempt writes down.

use chrono::{DateTime, Datelike as _, TimeDelta, Utc};

use super::table::{Step, step};
use super::{CardMask, Decline, Instrument, Outcome, Payment, PaymentState, ThreeDs, clip, storable};
use crate::decline::DeclineGroup;
use crate::{Currency, Kopecks};

/// What the machine was told cannot have happened to an attempt in this state: a bug of the caller. Nothing changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an attempt that is {state} cannot take {event}")]
pub struct IllegalTransition {
    /// The state it was in, and still is.
    pub state: PaymentState,
    /// What was tried.
    pub event: &'static str,
}

/// A transaction of the gateway that took money for an attempt which another had paid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SecondTransaction {
    /// The gateway's number.
    pub transaction_id: i64,
    /// What the gateway says it took.
    pub amount: Kopecks,
    pub currency: Currency,
}

/// Whether a moment is one that a calendar, and PostgreSQL, knows: what a gateway says at the ends of time must not keep
/// the rest of its answer from being written down.
fn is_of_the_calendar(at: &DateTime<Utc>) -> bool {
    (1900..=9999).contains(&at.year())
}

/// When to look again after a request that taught nothing.
const PAUSE: TimeDelta = TimeDelta::minutes(1);

impl Payment {
    /// Takes what became of the attempt and returns where it stands now.
    ///
    /// Late, repeated and weaker news change nothing and are no error: every delivery may come more than once.
    ///
    /// # Errors
    /// [`IllegalTransition`] when this cannot have happened to an attempt in its state.
    pub fn apply(self, outcome: Outcome, now: DateTime<Utc>) -> Result<Self, IllegalTransition> {
        let event = outcome.kind().name();
        match step(self.state, outcome.kind()) {
            Step::Ignore => Ok(self),
            Step::Illegal => Err(self.illegal(event)),
            Step::Conclude if self.absent_at.is_none_or(|first| first >= now) => Err(self.illegal(event)),
            Step::Conclude => Ok(self.learn(outcome, now).end(PaymentState::NotExecuted, now)),
            Step::Note => Ok(self.learn(outcome, now)),
            Step::Take => Ok(self.take(outcome, now)),
            Step::GiveBack => Ok(self.give_back(outcome, now)),
            // A hold that was let go does not come back, however late its beginning is told.
            Step::Hold if self.state == PaymentState::Voided && self.transaction_id == outcome.transaction_id() => {
                Ok(self)
            }
            Step::Hold => Ok(self.hold(outcome, now)),
            Step::Release if self.verifies => Ok(self.learn(outcome, now).end(PaymentState::Verified, now)),
            Step::Release => Ok(self.learn(outcome, now).end(PaymentState::Voided, now)),
            Step::Dispute => Ok(self.learn(outcome, now).wait_for_a_person()),
            Step::Ask => Ok(self.ask(outcome, now)),
            Step::GiveUp if self.posts > 0 => Err(self.illegal(event)),
            Step::GiveUp => Ok(self.learn(outcome, now).end(PaymentState::Abandoned, now)),
            Step::To(state) => Ok(self.learn(outcome, now).enter(state, now)),
            Step::Undo(state) => Ok(self.undo(state, outcome, now)),
        }
    }

    /// `created` → `sending`. To be committed before the request leaves.
    ///
    /// # Errors
    /// [`IllegalTransition`] from any other state: somebody else sends it, or has sent it.
    pub fn begin_sending(self, now: DateTime<Utc>) -> Result<Self, IllegalTransition> {
        match self.state {
            PaymentState::Created => Ok(self.sent(now)),
            _ => Err(self.illegal("begin_sending")),
        }
    }

    /// `unknown` → the state it fell into doubt from, to repeat the identical request.
    ///
    /// # Errors
    /// [`IllegalTransition`] unless the attempt is in doubt.
    pub fn begin_resend(self, now: DateTime<Utc>) -> Result<Self, IllegalTransition> {
        match self.state {
            PaymentState::Unknown if self.posts > 0 => Ok(self.posted(now)),
            PaymentState::Unknown => Ok(self.sent(now)),
            _ => Err(self.illegal("begin_resend")),
        }
    }

    /// `awaiting_3ds` → `posting_3ds`: the customer's answer is here. Only the first one counts.
    ///
    /// # Errors
    /// [`IllegalTransition`] unless the page is unanswered.
    pub fn answer_three_ds(self) -> Result<Self, IllegalTransition> {
        match self.state {
            PaymentState::AwaitingThreeDs => Ok(Self { state: PaymentState::PostingThreeDs, ..self }),
            _ => Err(self.illegal("answer_three_ds")),
        }
    }

    /// Marks the answer as being passed on. To be committed before the request leaves.
    ///
    /// # Errors
    /// [`IllegalTransition`] unless there is an answer that nobody is passing on.
    pub fn begin_posting(self, now: DateTime<Utc>) -> Result<Self, IllegalTransition> {
        match self.state {
            PaymentState::PostingThreeDs if self.posts == 0 => Ok(self.posted(now)),
            _ => Err(self.illegal("begin_posting")),
        }
    }

    fn illegal(&self, event: &'static str) -> IllegalTransition {
        IllegalTransition { state: self.state, event }
    }

    fn sent(self, now: DateTime<Utc>) -> Self {
        Self {
            state: PaymentState::Sending,
            sends: self.sends.saturating_add(1),
            first_sent_at: self.first_sent_at.or(Some(now)),
            last_sent_at: Some(now),
            absent_at: None,
            look_again_at: None,
            ..self
        }
    }

    fn posted(self, now: DateTime<Utc>) -> Self {
        Self {
            state: PaymentState::PostingThreeDs,
            posts: self.posts.saturating_add(1),
            first_sent_at: self.first_sent_at.filter(|_| self.posts > 0).or(Some(now)),
            last_sent_at: Some(now),
            look_again_at: None,
            ..self
        }
    }

    fn take(self, outcome: Outcome, now: DateTime<Utc>) -> Self {
        if let Some(remark) = self.mismatch(&outcome) {
            // Money of another amount moved. No rule can tell what it paid for: a person must.
            return Self { info: Some(remark), ..self.learn(outcome, now).wait_for_a_person() };
        }
        let state =
            if self.owed && !self.verifies { PaymentState::Succeeded } else { PaymentState::SucceededDuplicate };
        self.learn(outcome, now).end(state, now)
    }

    /// What was given back in whole pays for nothing: it is written down as the success it was, and an attempt that had
    /// been given up leaves its bill to be paid by another.
    fn give_back(self, outcome: Outcome, now: DateTime<Utc>) -> Self {
        let whole = matches!(outcome, Outcome::Refunded { whole: true, .. });
        let owed = self.owed && (self.state.is_live() || !whole);
        let what = if whole { "taken, and given back" } else { "taken, and given back in part" };
        let taken = Self { owed, ..self }.take(outcome, now);
        if taken.state.is_success() { Self { info: Some(what.to_owned()), ..taken } } else { taken }
    }

    /// In doubt, and not looked at again: the gateway has said what it knows.
    fn wait_for_a_person(self) -> Self {
        let state = if self.state.is_live() { PaymentState::Unknown } else { self.state };
        Self { state, look_again_at: None, three_ds: None, ..self }
    }

    fn hold(self, outcome: Outcome, now: DateTime<Utc>) -> Self {
        if let Some(remark) = self.mismatch(&outcome) {
            return Self { info: Some(remark), ..self.learn(outcome, now).wait_for_a_person() };
        }
        // What a verification holds is let go by us, however late it is known.
        if self.owed || self.verifies {
            Self { look_again_at: None, ..self.learn(outcome, now).enter(PaymentState::Authorized, now) }
        } else {
            // A hold nobody wants any more runs out by itself, or is released by hand.
            self.learn(outcome, now)
        }
    }

    fn ask(self, outcome: Outcome, now: DateTime<Utc>) -> Self {
        match self.instrument {
            Instrument::Cryptogram => self.learn(outcome, now).enter(PaymentState::AwaitingThreeDs, now),
            Instrument::Token => Self {
                info: Some("the bank asks for 3-D Secure, which a charge without the customer cannot answer".into()),
                ..self.end(PaymentState::Abandoned, now)
            },
        }
    }

    /// The last request was not executed. If it was the only one, it never was; if an identical one went before it
    /// whose fate is unknown, this one's says nothing about that.
    fn undo(self, state: PaymentState, outcome: Outcome, now: DateTime<Utc>) -> Self {
        let posting = self.state == PaymentState::PostingThreeDs;
        let tries = if posting { self.posts } else { self.sends };
        let learnt = self.learn(outcome, now);
        if tries > 1 {
            return Self { look_again_at: Some(now + PAUSE), ..learnt.enter(PaymentState::Unknown, now) };
        }
        match state {
            PaymentState::PostingThreeDs => Self { posts: 0, ..learnt },
            PaymentState::Created => {
                Self { sends: 0, first_sent_at: None, last_sent_at: None, ..learnt }.enter(PaymentState::Created, now)
            }
            other => learnt.enter(other, now),
        }
    }

    fn enter(self, state: PaymentState, now: DateTime<Utc>) -> Self {
        if state.is_live() { Self { state, finished_at: None, ..self } } else { self.end(state, now) }
    }

    fn end(self, state: PaymentState, now: DateTime<Utc>) -> Self {
        Self { state, three_ds: None, look_again_at: None, finished_at: Some(now), ..self }
    }

    /// Writes down what the outcome tells, whatever state follows from it.
    fn learn(self, outcome: Outcome, now: DateTime<Utc>) -> Self {
        match outcome {
            Outcome::Completed { transaction_id, card, .. } | Outcome::Refunded { transaction_id, card, .. } => Self {
                transaction_id: Some(transaction_id),
                card: card.map(CardMask::storable).or(self.card),
                info: None,
                ..self
            },
            Outcome::Authorized { transaction_id, card, .. } => {
                Self { transaction_id: Some(transaction_id), card: card.map(CardMask::storable).or(self.card), ..self }
            }
            Outcome::NeverAuthenticated { transaction_id } => Self { transaction_id: Some(transaction_id), ..self },
            Outcome::ThreeDsRequired { transaction_id, acs_url, pa_req, expires_at } => Self {
                transaction_id: Some(transaction_id),
                three_ds: Some(ThreeDs { acs_url: storable(&acs_url), pa_req: storable(&pa_req), expires_at }),
                look_again_at: None,
                ..self
            },
            Outcome::Declined { transaction_id, code, reason, cardholder_message, retry_after } => Self {
                transaction_id: transaction_id.or(self.transaction_id),
                info: Some(clip(&reason)),
                decline: Some(Decline {
                    code,
                    group: DeclineGroup::of(code),
                    reason: clip(&reason),
                    message: clip(&cardholder_message),
                    retry_after: retry_after.filter(is_of_the_calendar),
                }),
                ..self
            },
            Outcome::OnlyTest { transaction_id } => Self {
                transaction_id: Some(transaction_id),
                info: Some("executed in test mode on a live terminal: no money was taken".to_owned()),
                ..self
            },
            Outcome::Disputed { why } => Self { info: Some(clip(&why)), ..self },
            Outcome::Rejected { message } => Self {
                info: Some(clip(&message)),
                look_again_at: self.look_again_at.map(|at| at.max(now + PAUSE)),
                ..self
            },
            Outcome::NotSent { why, retry_after } => {
                let doubted = self.look_again_at.map(|at| at.max(now + PAUSE));
                let asked = retry_after.filter(is_of_the_calendar);
                Self { info: Some(clip(&why)), look_again_at: asked.or(doubted), ..self }
            }
            Outcome::Unknown { why, look_again_at } => {
                Self { info: Some(clip(&why)), look_again_at: Some(look_again_at), ..self }
            }
            Outcome::NotFound { absent, look_again_at } => Self {
                absent_at: if absent { self.absent_at.or(Some(now)) } else { None },
                look_again_at: Some(look_again_at),
                ..self
            },
            Outcome::AwaitingAuthentication { transaction_id, look_again_at } => Self {
                transaction_id: Some(transaction_id),
                absent_at: None,
                look_again_at: Some(look_again_at),
                ..self
            },
            Outcome::Withdrawn { why } | Outcome::FoundNowhere { why } => Self { info: Some(clip(&why)), ..self },
            Outcome::Expired | Outcome::NotExecuted | Outcome::Voided => self,
        }
    }

    /// The remark for an operator when the gateway speaks of other money than the bill.
    pub(crate) fn mismatch(&self, outcome: &Outcome) -> Option<String> {
        let (amount, currency) = outcome.money()?;
        ((amount, currency) != (self.amount, self.currency)).then(|| {
            format!(
                "the gateway speaks of {}, the bill of {}: a person must decide",
                amount.in_currency(currency),
                self.amount.in_currency(self.currency)
            )
        })
    }

    /// Another transaction of the gateway that also took money for this attempt. It cannot be written on this row,
    /// which holds the first; the store keeps it as a row of its own, to be refunded.
    #[must_use]
    pub fn second_transaction(&self, outcome: &Outcome) -> Option<SecondTransaction> {
        match *outcome {
            Outcome::Completed { transaction_id, amount, currency, .. }
                if self.state.is_success() && self.transaction_id != Some(transaction_id) =>
            {
                Some(SecondTransaction { transaction_id, amount, currency })
            }
            _ => None,
        }
    }
}

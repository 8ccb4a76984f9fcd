//! What each step of an attempt writes down.

use chrono::{DateTime, TimeDelta, Utc};

use super::table::{Step, step};
use super::{CardMask, Decline, Instrument, Outcome, Payment, PaymentState, ThreeDs, clip, storable};
use crate::decline::DeclineGroup;

/// What the machine was told cannot have happened to an attempt in this state: a bug of the caller. Nothing changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an attempt that is {state} cannot take {event}")]
pub struct IllegalTransition {
    /// The state it was in, and still is.
    pub state: PaymentState,
    /// What was tried.
    pub event: &'static str,
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
            Step::Hold => Ok(self.hold(outcome, now)),
            Step::Ask => Ok(self.ask(outcome, now)),
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
            let state = if self.state.is_live() { PaymentState::Unknown } else { self.state };
            return Self { state, info: Some(remark), look_again_at: None, ..self.learn(outcome, now) };
        }
        let state = if self.owed { PaymentState::Succeeded } else { PaymentState::SucceededDuplicate };
        self.learn(outcome, now).end(state, now)
    }

    fn hold(self, outcome: Outcome, now: DateTime<Utc>) -> Self {
        if let Some(remark) = self.mismatch(&outcome) {
            let state = if self.state.is_live() { PaymentState::Unknown } else { self.state };
            return Self { state, info: Some(remark), look_again_at: None, ..self.learn(outcome, now) };
        }
        if self.owed {
            self.learn(outcome, now).enter(PaymentState::Authorized, now)
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
            Outcome::Completed { transaction_id, card, .. } => Self {
                transaction_id: Some(transaction_id),
                card: card.map(CardMask::storable).or(self.card),
                info: None,
                ..self
            },
            Outcome::Authorized { transaction_id, .. } | Outcome::NeverAuthenticated { transaction_id } => {
                Self { transaction_id: Some(transaction_id), ..self }
            }
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
                    retry_after,
                }),
                ..self
            },
            Outcome::Rejected { message } => Self {
                info: Some(clip(&message)),
                look_again_at: self.look_again_at.map(|at| at.max(now + PAUSE)),
                ..self
            },
            Outcome::NotSent { why, retry_after } => {
                let doubted = self.look_again_at.map(|at| at.max(now + PAUSE));
                Self { info: Some(clip(&why)), look_again_at: retry_after.or(doubted), ..self }
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
            Outcome::Withdrawn { why } => Self { info: Some(clip(&why)), ..self },
            Outcome::Expired | Outcome::NotExecuted | Outcome::Voided => self,
        }
    }

    /// The remark for an operator when the gateway speaks of other money than the bill.
    pub(crate) fn mismatch(&self, outcome: &Outcome) -> Option<String> {
        match outcome {
            Outcome::Completed { amount, currency, .. } | Outcome::Authorized { amount, currency, .. }
                if (*amount, *currency) != (self.amount, self.currency) =>
            {
                Some(format!(
                    "the gateway speaks of {amount} {currency}, the bill of {} {}: a person must decide",
                    self.amount, self.currency
                ))
            }
            _ => None,
        }
    }

    /// Another transaction of the gateway that also took money for this attempt. It cannot be written on this row,
    /// which holds the first; the store keeps it as a row of its own, to be refunded.
    #[must_use]
    pub fn second_transaction(&self, outcome: &Outcome) -> Option<i64> {
        match outcome {
            Outcome::Completed { transaction_id, .. }
                if self.state.is_success() && self.transaction_id != Some(*transaction_id) =>
            {
                Some(*transaction_id)
            }
            _ => None,
        }
    }
}

//! What a person found of an attempt in doubt in the gateway's own cabinet: the only ground on which it is closed by hand.

use chrono::{DateTime, Days, NaiveDate, TimeDelta, Utc};
use chrono_tz::Tz;

use super::{Outcome, Payment, PaymentState};
use crate::macros::text_enum;
use crate::{Currency, Kopecks};

text_enum! {
    /// How an attempt in doubt may be closed by hand.
    pub enum Ending {
        /// The cabinet shows that the money was taken.
        Taken = "taken",
        /// It shows a refusal.
        Declined = "declined",
        /// It shows nothing, neither by number nor in the list of the day.
        NotTaken = "not_taken",
    }
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evidence {
    pub ending: Ending,
    /// The gateway's number, of what it shows.
    pub transaction_id: Option<i64>,
    /// The day that stands beside it.
    pub happened_on: Option<NaiveDate>,
    /// The money that stands beside it, where some was taken.
    pub amount: Option<Kopecks>,
    /// The reason code of a refusal.
    pub reason_code: Option<i32>,
    /// Where it was looked for, and what was there: for whoever reads it in a year.
    pub said: String,
}

/// Evidence that is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadEvidence {
    #[error("transaction: the gateway's number, of what it shows")]
    Transaction,
    #[error("day: from the day before the payment was made until today")]
    Day,
    #[error("amount: what the gateway shows")]
    Amount,
    #[error("code: the reason code of the refusal")]
    Code,
    #[error("said: {} to {} characters", Evidence::SAID.start(), Evidence::SAID.end())]
    Said,
}

/// Why an attempt is not closed by hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotByHand {
    #[error("it is {0}: its outcome is known, or it is not sent yet")]
    NotInDoubt(PaymentState),
    /// Until then the gateway may still execute it.
    #[error("that nothing is shown proves nothing before {0}")]
    TooEarly(DateTime<Utc>),
    /// For a verification nothing is taken.
    #[error("it only verifies a card: no money is taken for it")]
    OnlyVerifies,
    #[error(transparent)]
    Evidence(#[from] BadEvidence),
}

impl Evidence {
    /// How long the account of what was found is, in characters.
    pub const SAID: std::ops::RangeInclusive<usize> = 10..=1000;

    /// What an attempt comes to by it, at `now`. `not_executed_after`: how long after the last request one that is shown
    /// nowhere was not executed.
    ///
    /// # Errors
    /// [`NotByHand`].
    pub fn outcome(
        &self,
        attempt: &Payment,
        made_at: DateTime<Utc>,
        not_executed_after: TimeDelta,
        zone: Tz,
        now: DateTime<Utc>,
    ) -> Result<Outcome, NotByHand> {
        if attempt.state != PaymentState::Unknown {
            return Err(NotByHand::NotInDoubt(attempt.state));
        }
        if !Self::SAID.contains(&self.said.trim().chars().count()) {
            return Err(BadEvidence::Said.into());
        }
        match self.ending {
            Ending::NotTaken => {
                let until = attempt.last_sent_at.map(|at| at + not_executed_after);
                match until.filter(|until| *until > now) {
                    Some(until) => Err(NotByHand::TooEarly(until)),
                    None => Ok(Outcome::FoundNowhere { why: "found nowhere in the gateway's cabinet".to_owned() }),
                }
            }
            Ending::Taken if attempt.verifies => Err(NotByHand::OnlyVerifies),
            Ending::Taken => {
                let transaction_id = self.shown(made_at, zone, now)?;
                let amount = self.amount.filter(|amount| amount.get() > 0).ok_or(BadEvidence::Amount)?;
                let currency: Currency = attempt.currency;
                Ok(Outcome::Completed { transaction_id, token: None, amount, currency, card: None })
            }
            Ending::Declined => {
                let transaction_id = Some(self.shown(made_at, zone, now)?);
                let code = self.reason_code.filter(|code| (1..=99_999).contains(code)).ok_or(BadEvidence::Code)?;
                let reason = "seen in the gateway's cabinet".to_owned();
                Ok(Outcome::Declined {
                    transaction_id,
                    code,
                    reason,
                    cardholder_message: String::new(),
                    retry_after: None,
                })
            }
        }
    }

    /// The number of what the gateway shows, on a day on which it can have happened.
    fn shown(&self, made_at: DateTime<Utc>, zone: Tz, now: DateTime<Utc>) -> Result<i64, BadEvidence> {
        let number = self.transaction_id.filter(|id| *id > 0).ok_or(BadEvidence::Transaction)?;
        let day = |at: DateTime<Utc>| at.with_timezone(&zone).date_naive();
        let made = day(made_at);
        let first = made.checked_sub_days(Days::new(1)).unwrap_or(made);
        self.happened_on.filter(|on| (first..=day(now)).contains(on)).ok_or(BadEvidence::Day)?;
        Ok(number)
    }
}

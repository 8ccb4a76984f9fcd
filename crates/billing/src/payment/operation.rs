//! An operation as the gateway tells of it – in a response, a look-up, a list or a notification – and what it means for the
//! attempt it should be of. Pure.

use chrono::{DateTime, Utc};
use secrecy::SecretString;

use super::identity::{Identity, Told, Verdict};
use super::{CardMask, Outcome};
use crate::Currency;
use crate::macros::text_enum;

text_enum! {
    /// Where an operation stands. The texts are the gateway's.
    pub enum OperationStatus {
        /// The customer is on the bank's page.
        AwaitingAuthentication = "AwaitingAuthentication",
        /// The money is held.
        Authorized = "Authorized",
        /// The money was taken.
        Completed = "Completed",
        /// What was held was let go: by hand, or by the gateway after seven days.
        Cancelled = "Cancelled",
        Declined = "Declined",
    }
}

/// How much of the money that was taken is known to be back with the customer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Returned {
    #[default]
    Nothing,
    Part,
    All,
}

/// Why an operation was refused.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Refusal {
    /// The gateway's reason code.
    pub code: i32,
    /// Its name of the reason.
    pub reason: Option<String>,
    /// Its words for the card holder.
    pub cardholder_message: Option<String>,
    /// When it allows another try.
    pub retry_after: Option<DateTime<Utc>>,
}

/// What the gateway says of an operation.
#[derive(Debug, Clone)]
pub struct Operation {
    /// The gateway's number.
    pub transaction_id: i64,
    pub told: Told,
    /// `None`: it says nothing that we know, or contradicts itself.
    pub status: Option<OperationStatus>,
    /// For later charges without the customer.
    pub token: Option<SecretString>,
    pub card: Option<CardMask>,
    /// Of one that was declined.
    pub refusal: Refusal,
    pub returned: Returned,
}

/// What an operation means for the attempt it should be of.
#[derive(Debug, Clone)]
pub enum Meaning {
    /// It is ours, and this became of it.
    Of(Outcome),
    /// It is ours, and the gateway waits for 3-D Secure.
    Waits,
    /// It is ours, and does not say what became of it.
    Silent(&'static str),
    /// It is not the attempt as it was sent: to be kept for a person.
    Strange {
        /// What differs.
        what: String,
        /// What it means for the attempt nevertheless. `None`: nothing, not even that the gateway does not know it.
        outcome: Option<Outcome>,
        /// The same, as a remark on the attempt.
        why: String,
    },
}

impl Operation {
    /// Compares it with what was sent. Only one that is ours says something of our attempt.
    #[must_use]
    pub fn means(self, ours: &Identity) -> Meaning {
        let transaction_id = self.transaction_id;
        let strange = |what: String, outcome, why: String| Meaning::Strange {
            what,
            outcome,
            why: format!("transaction {transaction_id}: {why}"),
        };
        match ours.compare(&self.told) {
            Verdict::Ours | Verdict::OtherMoney(_) => self.stands(),
            Verdict::OnlyTest => {
                let what = "executed in test mode on a live terminal (CLOUDPAYMENTS_TERMINAL)";
                strange(what.to_owned(), Some(Outcome::OnlyTest { transaction_id }), what.to_owned())
            }
            Verdict::RealMoney => {
                let what = "executed with real money on a test terminal (CLOUDPAYMENTS_TERMINAL)";
                let why = format!("transaction {transaction_id}: {what}: a person must decide");
                strange(what.to_owned(), Some(Outcome::Disputed { why }), what.to_owned())
            }
            Verdict::Anothers(differences) => {
                strange(differences.to_string(), None, format!("another's: {differences}"))
            }
            Verdict::Unproved(differences) => {
                strange(differences.to_string(), None, format!("not proved to be ours: {differences}"))
            }
        }
    }

    fn stands(self) -> Meaning {
        match self.status {
            Some(OperationStatus::Completed) => self.completed(),
            Some(OperationStatus::Authorized) => self.authorized(),
            Some(OperationStatus::Declined) => Meaning::Of(self.declined()),
            Some(OperationStatus::AwaitingAuthentication) => Meaning::Waits,
            Some(OperationStatus::Cancelled) => Meaning::Of(Outcome::Voided),
            None => Meaning::Silent("the gateway does not say where it stands"),
        }
    }

    fn completed(self) -> Meaning {
        let Self { transaction_id, token, card, returned, ref told, .. } = self;
        let Some((amount, currency)) = money(told) else {
            return Meaning::Silent("the gateway does not say how much it took");
        };
        Meaning::Of(match returned {
            Returned::Nothing => Outcome::Completed { transaction_id, token, amount, currency, card },
            Returned::Part | Returned::All => {
                let whole = returned == Returned::All;
                Outcome::Refunded { transaction_id, token, amount, currency, card, whole }
            }
        })
    }

    fn authorized(self) -> Meaning {
        let Self { transaction_id, token, card, ref told, .. } = self;
        let Some((amount, currency)) = money(told) else {
            return Meaning::Silent("the gateway does not say how much it holds");
        };
        Meaning::Of(Outcome::Authorized { transaction_id, token, amount, currency, card })
    }

    fn declined(self) -> Outcome {
        let Refusal { code, reason, cardholder_message, retry_after } = self.refusal;
        Outcome::Declined {
            transaction_id: Some(self.transaction_id),
            code,
            reason: reason.unwrap_or_default(),
            cardholder_message: cardholder_message.unwrap_or_default(),
            retry_after,
        }
    }
}

fn money(told: &Told) -> Option<(crate::Kopecks, Currency)> {
    Some((told.amount?, told.currency.as_deref()?.parse().ok()?))
}

//! What each event of money is in the ledger.

use chrono::{DateTime, Utc};
use chrono_tz::Tz;

use super::{Entry, EntryKind, LedgerAccount as Account, Subject};
use crate::{Currency, Kopecks, PaymentId};

/// Money that the gateway took for an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Taken {
    pub payment_id: PaymentId,
    pub subject: Subject,
    pub amount: Kopecks,
    pub currency: Currency,
    /// Whether it pays a bill. What pays nothing must go back, or is back already.
    pub is_kept: bool,
}

impl Taken {
    fn subject(&self) -> Subject {
        Subject { payment_id: Some(self.payment_id), ..self.subject }
    }

    /// By the gateway's number: one transaction is entered once, whoever speaks of it.
    fn key(&self) -> String {
        match self.subject.transaction_id {
            Some(transaction_id) => key_of(transaction_id),
            None => format!("payment:{}", self.payment_id),
        }
    }

    const fn purpose(&self) -> Account {
        if self.is_kept { Account::DeferredRevenue } else { Account::RefundsPayable }
    }
}

fn key_of(transaction_id: i64) -> String {
    format!("taken:{transaction_id}")
}

/// The gateway took money.
#[must_use]
pub fn taken(taken: &Taken, at: DateTime<Utc>, zone: Tz) -> Entry {
    Entry::new(EntryKind::Payment, taken.key(), taken.currency, taken.subject(), at, zone).post(
        Account::GatewayClearing,
        taken.purpose(),
        taken.amount,
    )
}

/// It had been set aside as money that fits nothing, and is an attempt's.
#[must_use]
pub fn place(taken: &Taken, at: DateTime<Utc>, zone: Tz) -> Entry {
    let key = format!("placed:{}", taken.payment_id);
    Entry::new(EntryKind::Placement, key, taken.currency, taken.subject(), at, zone).post(
        Account::Suspense,
        taken.purpose(),
        taken.amount,
    )
}

/// It went back before anybody here knew that it had come.
#[must_use]
pub fn given_back(taken: &Taken, at: DateTime<Utc>, zone: Tz) -> Entry {
    let key = format!("given_back:{}", taken.payment_id);
    Entry::new(EntryKind::Refund, key, taken.currency, taken.subject(), at, zone).post(
        Account::RefundsPayable,
        Account::GatewayClearing,
        taken.amount,
    )
}

/// The gateway has taken money that fits nothing of ours.
#[must_use]
pub fn set_aside(transaction_id: i64, amount: Kopecks, currency: Currency, at: DateTime<Utc>, zone: Tz) -> Entry {
    let subject = Subject { transaction_id: Some(transaction_id), ..Subject::default() };
    Entry::new(EntryKind::Suspense, key_of(transaction_id), currency, subject, at, zone).post(
        Account::GatewayClearing,
        Account::Suspense,
        amount,
    )
}

//! After the answer: attempt, bill and account move together.

use chrono::{DateTime, NaiveDate, Utc};
use diesel_async::AsyncPgConnection;

use super::super::StoreError;
use super::PaymentView;
use crate::cipher::Cipher;
use crate::payment::Outcome;
use crate::{AccountId, PaymentId, TariffId};

/// Where the payment stands now, and what others are to be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    pub payment: PaymentView,
    pub effects: Vec<Effect>,
}

/// What follows outside these tables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// The account may watch under this tariff until this day.
    AccessGranted { account_id: AccountId, tariff_id: TariffId, expires_on: NaiveDate },
    /// The renewal was refused; access goes on for the time of grace.
    RenewalRefused { account_id: AccountId, retry_at: Option<DateTime<Utc>> },
    /// Money was taken that nobody owes: it must go back.
    RefundOwed { payment_id: PaymentId, transaction_id: i64 },
    /// A person must look: our request was wrong, or the gateway speaks of other money.
    NeedsAttention { payment_id: PaymentId, what: String },
}

/// Writes down what became of an attempt, in one transaction with its bill and account, and wipes the secrets it no
/// longer needs. News that change nothing are no error.
///
/// # Errors
/// [`StoreError`].
pub async fn apply(
    conn: &mut AsyncPgConnection,
    id: PaymentId,
    outcome: Outcome,
    cipher: &Cipher,
    now: DateTime<Utc>,
) -> Result<Applied, StoreError> {
    let _ = (conn, id, outcome, cipher, now);
    todo!()
}

//! Money that is back with the customer before it is known to be taken, and money that must go back.

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};

use super::super::{StoreError, refunds};
use super::effect::Effect;
use super::load::Locked;
use crate::payment::{Outcome, Payment};
use crate::schema::payment;

/// How much of the money is back with the customer already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum GivenBack {
    Nothing,
    Part,
    All,
}

impl GivenBack {
    pub(super) const fn by(outcome: &Outcome) -> Self {
        match outcome {
            Outcome::Refunded { whole: true, .. } => Self::All,
            Outcome::Refunded { whole: false, .. } => Self::Part,
            _ => Self::Nothing,
        }
    }
}

/// Refunds may be known before what they are of: a payment that is found to be taken then is given back as far as they say.
pub(super) async fn with_what_is_back(
    conn: &mut AsyncPgConnection,
    attempt: &Payment,
    outcome: Outcome,
) -> Result<Outcome, StoreError> {
    let is_known_to_be_whole = matches!(outcome, Outcome::Refunded { whole: true, .. });
    if attempt.state.is_success() || !is_taken(&outcome) || is_known_to_be_whole {
        return Ok(outcome);
    }
    let back = refunds::sum_of_payment(conn, attempt.id).await?;
    Ok(match outcome {
        Outcome::Completed { transaction_id, token, amount, currency, card } if back.get() > 0 => {
            Outcome::Refunded { transaction_id, token, amount, currency, card, whole: back >= amount }
        }
        Outcome::Refunded { transaction_id, token, amount, currency, card, .. } => {
            Outcome::Refunded { transaction_id, token, amount, currency, card, whole: back >= amount }
        }
        outcome => outcome,
    })
}

/// Money that nobody owes goes back by itself.
pub(super) async fn owe_refunds(
    conn: &mut AsyncPgConnection,
    locked: &Locked,
    effects: &[Effect],
    now: DateTime<Utc>,
) -> Result<(), StoreError> {
    for effect in effects {
        let Effect::RefundOwed { payment_id, .. } = effect else { continue };
        let owed = payment::table.find(*payment_id).select((payment::id, payment::amount, payment::currency));
        let owed = owed.first(conn).await?;
        refunds::owe(conn, locked, owed, now).await?;
    }
    Ok(())
}

/// Whether the outcome is of money that was taken, and not given back in whole.
pub(super) const fn is_taken(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Completed { .. } | Outcome::Refunded { whole: false, .. })
}

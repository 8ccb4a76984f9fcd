//! Charges that were decided before the sandbox was there: their bank's answer is given, not found.

use chrono::{DateTime, Utc};

use super::{
    Decision, Ledger,
    decide::{Decided, refuse},
    transaction::{Purpose, Token},
};
use crate::{cards::CardMask, reason::Reason};

/// What was charged.
pub(crate) enum PastInstrument {
    /// Saved, if the charge was paid.
    Card(CardMask),
    Token(Token),
}

impl Ledger {
    /// A charge that the bank answered so at `at`.
    pub(crate) fn charge_past(
        &self,
        instrument: &PastInstrument,
        purpose: Purpose,
        reason: Reason,
        at: DateTime<Utc>,
    ) -> Decided<Decision> {
        let mut payment = self.operation(purpose, None, at);
        match instrument {
            PastInstrument::Card(mask) => {
                payment.card = Some(mask.clone());
                payment.save_card = true;
            }
            PastInstrument::Token(token) => {
                let Some(issued) = self.tokens.get(token) else { return refuse("Token not found") };
                payment.token = Some(token.clone());
                payment.card = Some(issued.card.clone());
                payment.initiator = Some(0);
            }
        }
        let mut decision = self.settle(payment, reason, at);
        self.queue_receipts(&mut decision.changes, at);
        Ok(decision)
    }
}

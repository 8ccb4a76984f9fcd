//! What people do by hand in the gateway's cabinet, and banks behind it: the merchant's API is told nothing.

use super::Gateway;
use crate::{
    ledger::{
        Verdict,
        command::Command,
        transaction::{Kind, TransactionId},
    },
    money::Amount,
};

impl Gateway {
    /// Gives money back: `amount`, or all that is left. Returns the refund's id.
    ///
    /// # Errors
    ///
    /// The payment's state does not allow it; said as to a merchant.
    pub(super) fn refund_by_hand(&self, id: TransactionId, amount: Option<Amount>) -> Result<TransactionId, String> {
        let left = {
            let books = self.books.lock();
            let payment = books.ledger.get(id).filter(|payment| payment.kind == Kind::Payment);
            payment.ok_or("There is no such payment")?.refundable()
        };
        let command = Command::Refund { id, amount: amount.unwrap_or(left), json_data: None };
        match self.command_by_hand(&command)? {
            Verdict::Refunded(refund) => Ok(refund),
            _ => Err("The refund was not made".to_owned()),
        }
    }

    /// Does what a person orders, if it can be done.
    ///
    /// # Errors
    ///
    /// Why it cannot.
    pub(super) fn command_by_hand(&self, command: &Command) -> Result<Verdict, String> {
        let mut books = self.books.lock();
        let decision = books.ledger.decide(command, None, self.clock.now());
        if let Verdict::Refused(message) = decision.verdict {
            return Err(message);
        }
        match self.record(&mut books, decision.changes) {
            Ok(_) => Ok(decision.verdict),
            Err(error) => {
                tracing::error!(%error, "cannot write the ledger file");
                Err("The ledger file cannot be written".to_owned())
            }
        }
    }
}

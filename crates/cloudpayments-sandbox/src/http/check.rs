//! The check of a payment: the shop is asked before the bank is.

use std::io;

use chrono::{DateTime, Utc};

use super::Gateway;
use crate::ledger::{
    Change, Verdict,
    command::{Checked, Command},
    transaction::RequestId,
};

impl Gateway {
    /// Asks the shop whether it wants the payment a command would make, and notes in the command what it said. Does
    /// nothing for other commands, without an address for checks, or if the request would be refused or replayed.
    pub(super) async fn ask_shop(
        &self,
        command: &mut Command,
        request_id: Option<&RequestId>,
        as_of: Option<DateTime<Utc>>,
    ) -> io::Result<()> {
        let (id, notice) = {
            let mut books = self.books.lock();
            let now = as_of.unwrap_or_else(|| self.clock.now());
            if command.checked_mut().is_none() || request_id.is_some_and(|id| books.ledger.replay(id, now).is_some()) {
                return Ok(());
            }
            let decision = books.ledger.decide(command, request_id, now);
            let (Verdict::Transaction(proposed) | Verdict::ThreeDs(proposed)) = decision.verdict else {
                return Ok(());
            };
            let payment = decision.changes.iter().find_map(|change| match change {
                Change::Transaction(transaction) if transaction.id == proposed => Some(&**transaction),
                _ => None,
            });
            let Some(notice) = payment.and_then(|payment| books.ledger.check_of(payment, now)) else {
                return Ok(());
            };
            // The id that was proposed, so that no other payment gets it meanwhile.
            let id = books.ledger.keep_id();
            books.record(vec![Change::Notice(Box::new(notice.clone()))])?;
            (id, notice)
        };
        let taken = self.books.lock().ledger.outbox_mut().take(notice.id);
        let outcome = self.deliver(taken.as_deref().unwrap_or(&notice)).await;
        if let Some(checked) = command.checked_mut() {
            *checked = Some(Checked { id, refusal: outcome.declines() });
        }
        Ok(())
    }
}

//! What the gateway does by itself when its time comes.

use super::Gateway;
use crate::ledger::{Task, Verdict, command::Command};

impl Gateway {
    /// Does everything that is due, in its order and as of its own time: a clock that jumps misses no charge of a
    /// subscription. `false`: the ledger file could not be written, and something is still due.
    pub(super) async fn keep_time(&self) -> bool {
        loop {
            let due = {
                let books = self.books.lock();
                books.ledger.next_task().filter(|(at, _)| *at <= self.clock.now()).cloned()
            };
            let Some((at, task)) = due else { return true };
            let mut command = match task.clone() {
                Task::CancelAuthorization(id) => Command::CancelAuthorization { id },
                Task::ChargeSubscription(id) => Command::ChargeSubscription { id, checked: None },
                Task::IssueReceipt(id) => Command::IssueReceipt { id },
            };
            let done = match self.ask_shop(&mut command, None, Some(at)).await {
                Ok(()) => {
                    let mut books = self.books.lock();
                    let decision = books.ledger.decide(&command, None, at);
                    if let Verdict::Refused(why) = &decision.verdict {
                        tracing::warn!(?task, why, "what was due cannot be done");
                        books.ledger.drop_task(task);
                    }
                    self.record(&mut books, decision.changes).map(|_| ())
                }
                Err(error) => Err(error),
            };
            if let Err(error) = done {
                // Not written, so not done: it is due again at the next ring.
                tracing::error!(%error, "cannot write the ledger file");
                return false;
            }
        }
    }
}

//! What was decided becomes true: written, applied, and told – or not told, if a fault was ordered for that.

use std::io;

use super::{
    Books, Gateway,
    faults::{Fault, FaultKind, Target},
};
use crate::{
    ledger::Change,
    notification::outbox::{Notice, NoticeId, Plan},
};

/// How long a reordered notification waits for another, unless the fault says.
const REORDERED_MS: u64 = 60_000;

impl Books {
    /// Writes changes to the file and makes them true, or neither.
    pub(crate) fn record(&mut self, changes: Vec<Change>) -> io::Result<()> {
        if let Some(journal) = &mut self.journal
            && !changes.is_empty()
        {
            journal.append(&changes)?;
        }
        changes.into_iter().for_each(|change| self.ledger.apply(change));
        Ok(())
    }
}

impl Gateway {
    /// Records a decision. Returns the notifications that are to be told before the answer is given.
    pub(super) fn record(&self, books: &mut Books, mut changes: Vec<Change>) -> io::Result<Vec<NoticeId>> {
        let early = self.disturb(&mut changes);
        books.record(changes)?;
        self.clock.ring();
        Ok(early)
    }

    /// Lets the faults of notifications happen.
    fn disturb(&self, changes: &mut Vec<Change>) -> Vec<NoticeId> {
        let mut faults = self.faults.lock();
        if faults.is_empty() {
            return Vec::new();
        }
        let ids = changes.iter().filter_map(|change| match change {
            Change::Notice(notice) => Some(notice.id.0),
            _ => None,
        });
        let mut next_id = ids.max().map_or(0, |id| id + 1);
        let (mut early, mut twice) = (Vec::new(), Vec::new());
        for change in &mut *changes {
            let Change::Notice(notice) = change else { continue };
            let Some(fault) = faults.take(target(notice)) else { continue };
            match fault.kind {
                FaultKind::NotificationLost => notice.plan = Plan::ByHand,
                FaultKind::NotificationLate => notice.plan = Plan::At(notice.created_at + fault.delay()),
                FaultKind::NotificationReordered => notice.plan = held(notice, &fault),
                FaultKind::NotificationEarly => early.push(notice.id),
                _ => {
                    twice.push(Change::Notice(Box::new(Notice { id: NoticeId(next_id), ..(**notice).clone() })));
                    next_id += 1;
                }
            }
        }
        changes.extend(twice);
        early
    }
}

fn target(notice: &Notice) -> Target<'_> {
    Target {
        path: "",
        account_id: notice.account_id.as_deref(),
        invoice_id: notice.invoice_id.as_deref(),
        notification: Some(notice.kind),
    }
}

fn held(notice: &Notice, fault: &Fault) -> Plan {
    let wait = std::time::Duration::from_millis(fault.delay_ms.unwrap_or(REORDERED_MS));
    Plan::AfterAnother(notice.created_at + wait)
}

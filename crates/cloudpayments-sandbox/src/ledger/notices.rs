//! Which notifications the books give rise to.

use std::collections::HashMap;

use chrono::{DateTime, Utc};

use super::{Change, Ledger, transaction::Transaction};
use crate::notification::{
    Kind, content,
    content::Field,
    outbox::{Notice, NoticeId, Plan},
    settings::Settings,
};

/// The settings of every kind.
#[derive(Clone, Debug, Default)]
pub(crate) struct Site(HashMap<Kind, Settings>);

impl Site {
    pub(crate) fn of(settings: impl IntoIterator<Item = (Kind, Settings)>) -> Self {
        Self(settings.into_iter().collect())
    }

    pub(crate) fn get(&self, kind: Kind) -> &Settings {
        self.0.get(&kind).unwrap_or(const { &Settings::OFF })
    }

    pub(super) fn set(&mut self, kind: Kind, settings: Settings) {
        self.0.insert(kind, settings);
    }
}

impl Ledger {
    /// Adds the notifications that changes give rise to, where the shop wants to hear of them.
    pub(super) fn notify(&self, changes: &mut Vec<Change>, now: DateTime<Utc>) {
        let mut next = self.outbox.next_id();
        let mut notices = Vec::new();
        for change in &*changes {
            let Change::Transaction(after) = change else { continue };
            let before = self.get(after.id).map(|transaction| &**transaction);
            let Some(kind) = content::kind_of(before, after) else { continue };
            if self.site.get(kind).target().is_none() {
                continue;
            }
            let fields = content::of_transaction(kind, after, now);
            notices.push(Change::Notice(Box::new(about(next, kind, after, fields, Plan::At(now), now))));
            next = NoticeId(next.0 + 1);
        }
        changes.extend(notices);
    }

    /// The check of a payment that is about to be made; `None` if the shop has no check.
    pub(crate) fn check_of(&self, payment: &Transaction, now: DateTime<Utc>) -> Option<Notice> {
        self.site.get(Kind::Check).target()?;
        let fields = content::of_transaction(Kind::Check, payment, now);
        Some(about(self.outbox.next_id(), Kind::Check, payment, fields, Plan::ByHand, now))
    }
}

fn about(
    id: NoticeId,
    kind: Kind,
    transaction: &Transaction,
    fields: Vec<Field>,
    plan: Plan,
    now: DateTime<Utc>,
) -> Notice {
    Notice {
        id,
        kind,
        transaction_id: Some(transaction.id),
        account_id: transaction.purpose.account_id.clone(),
        invoice_id: transaction.purpose.invoice_id.clone(),
        fields,
        created_at: now,
        plan,
    }
}

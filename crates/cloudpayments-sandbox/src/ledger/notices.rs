//! Which notifications the books give rise to.

use std::collections::HashMap;

use chrono::{DateTime, Utc};

use super::{Change, Ledger, receipt::Receipt, subscription::Subscription, transaction::Transaction};
use crate::notification::{
    Kind, content,
    content::Field,
    outbox::{Notice, NoticeId, Plan},
    settings::Settings,
};

/// The settings of every kind.
#[derive(Clone, Debug, Default)]
pub(crate) struct Site {
    settings: HashMap<Kind, Settings>,
    /// Where browsers reach the sandbox; receipts have links there.
    base_url: String,
}

impl Site {
    pub(crate) fn new(base_url: String, settings: impl IntoIterator<Item = (Kind, Settings)>) -> Self {
        Self { settings: settings.into_iter().collect(), base_url }
    }

    pub(crate) fn get(&self, kind: Kind) -> &Settings {
        self.settings.get(&kind).unwrap_or(const { &Settings::OFF })
    }

    pub(super) fn set(&mut self, kind: Kind, settings: Settings) {
        self.settings.insert(kind, settings);
    }
}

impl Ledger {
    /// Adds the notifications that changes give rise to, where the shop wants to hear of them.
    pub(super) fn notify(&self, changes: &mut Vec<Change>, of_subscriptions: bool, now: DateTime<Utc>) {
        let mut next = self.outbox.next_id();
        let mut notices = Vec::new();
        for change in &*changes {
            let notice = match change {
                Change::Transaction(after) => self.transaction_notice(next, after, now),
                Change::Subscription(after) if of_subscriptions => self.subscription_notice(next, after, now),
                Change::Receipt(after) => self.receipt_notice(next, after, now),
                _ => None,
            };
            let wanted = notice.filter(|notice| self.site.get(notice.kind).target().is_some());
            if let Some(notice) = wanted {
                notices.push(Change::Notice(Box::new(notice)));
                next = NoticeId(next.0 + 1);
            }
        }
        changes.extend(notices);
    }

    fn transaction_notice(&self, id: NoticeId, after: &Transaction, now: DateTime<Utc>) -> Option<Notice> {
        let before = self.get(after.id).map(|transaction| &**transaction);
        let kind = content::kind_of(before, after)?;
        Some(about(id, kind, after, content::of_transaction(kind, after, now), Plan::At(now), now))
    }

    /// Another status than before; to begin is no change.
    fn subscription_notice(&self, id: NoticeId, after: &Subscription, now: DateTime<Utc>) -> Option<Notice> {
        let before = self.subscriptions.get(&after.id)?;
        (before.status != after.status).then(|| Notice {
            id,
            kind: Kind::Recurrent,
            transaction_id: None,
            account_id: Some(after.terms.account_id.clone()),
            invoice_id: None,
            fields: content::of_subscription(after),
            created_at: now,
            plan: Plan::At(now),
        })
    }

    fn receipt_notice(&self, id: NoticeId, after: &Receipt, now: DateTime<Utc>) -> Option<Notice> {
        after.issued_at?;
        Some(Notice {
            id,
            kind: Kind::Receipt,
            transaction_id: after.order.transaction_id,
            account_id: after.order.account_id.clone(),
            invoice_id: after.order.invoice_id.clone(),
            fields: content::of_receipt(after, &self.site.base_url),
            created_at: now,
            plan: Plan::At(now),
        })
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

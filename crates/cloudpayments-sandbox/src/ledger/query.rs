//! Looking things up.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;

use super::{
    Answer, Chargeback, IssuedToken, Ledger,
    command::{FindScope, ListQuery, Query},
    order::{Order, OrderId},
    receipt::{Receipt, ReceiptId},
    transaction::{Kind, Transaction, TransactionId},
};

impl Ledger {
    /// Answers a query at `now`.
    pub(crate) fn query(&self, query: &Query, now: DateTime<Utc>) -> Answer {
        match query {
            Query::Get { id } => found(self.get(*id)),
            Query::Find { invoice_id, scope } => found(self.last_of(invoice_id, *scope)),
            Query::List(list) => Answer::Transactions(self.list(list, now)),
            Query::Subscription { id } => match self.subscriptions.get(id) {
                Some(subscription) => Answer::Subscription(Arc::clone(subscription)),
                None => Answer::Refused("Subscription not found".to_owned()),
            },
            Query::Subscriptions { account_id } => {
                let of_account = self.subscriptions.values().filter(|it| it.terms.account_id == *account_id);
                let mut list: Vec<_> = of_account.cloned().collect();
                list.sort_by_key(|it| it.terms.start);
                Answer::Subscriptions(list)
            }
            Query::Receipt { id } => match self.receipts.get(id) {
                Some(receipt) => Answer::Receipt(Arc::clone(receipt)),
                None => Answer::Refused("Receipt not found".to_owned()),
            },
            Query::Chargebacks { period, page } => {
                let in_period = self.chargebacks.iter().filter(|it| period.contains(it.at));
                Answer::Chargebacks(page.of(in_period.cloned()))
            }
            Query::Notifications { kind } => Answer::Notifications(self.site.get(*kind).clone()),
            Query::ApplePay { domain } => {
                let nonce = self.secret.nonce(&format!("{domain} {now}"));
                Answer::ApplePay(json!({
                    "epochTimestamp": now.timestamp_millis(),
                    "expiresAt": (now + TimeDelta::minutes(5)).timestamp_millis(),
                    "merchantSessionIdentifier": format!("SSH{nonce}"),
                    "nonce": nonce,
                    "merchantIdentifier": format!("sandbox.{domain}"),
                    "domainName": domain,
                    "displayName": "CloudPayments sandbox",
                    "signature": self.secret.nonce(&nonce),
                }))
            }
            Query::Tokens { page } => Answer::Tokens(page.of(self.issued_tokens())),
        }
    }

    pub(crate) fn order(&self, id: &OrderId) -> Option<&Arc<Order>> {
        self.orders.get(id)
    }

    pub(crate) fn refunds_of(&self, payment: TransactionId) -> Vec<Arc<Transaction>> {
        let later = self.transactions.range(payment..).map(|(_, it)| it);
        later.filter(|it| it.original_id == Some(payment)).cloned().collect()
    }

    pub(crate) fn receipt(&self, id: &ReceiptId) -> Option<&Arc<Receipt>> {
        self.receipts.get(id)
    }

    pub(crate) fn chargebacks(&self) -> &[Chargeback] {
        &self.chargebacks
    }

    /// The account and invoice of a transaction, which requests about it leave unsaid.
    pub(crate) fn owner(&self, id: TransactionId) -> Option<(Option<&str>, Option<&str>)> {
        let purpose = &self.get(id)?.purpose;
        Some((purpose.account_id.as_deref(), purpose.invoice_id.as_deref()))
    }

    /// The last payment with this invoice id.
    pub(crate) fn last_payment_of(&self, invoice_id: &str) -> Option<&Arc<Transaction>> {
        self.last_of(invoice_id, FindScope::Payments)
    }

    /// Of several operations with one invoice id only the last is found.
    fn last_of(&self, invoice_id: &str, scope: FindScope) -> Option<&Arc<Transaction>> {
        let operations = self.by_invoice.get(invoice_id)?.iter().rev().filter_map(|id| self.get(*id));
        match scope {
            FindScope::Payments => operations.into_iter().find(|operation| operation.kind == Kind::Payment),
            FindScope::AllOperations => operations.into_iter().next(),
        }
    }

    fn list(&self, query: &ListQuery, now: DateTime<Utc>) -> Vec<Arc<Transaction>> {
        let matching = self
            .transactions()
            .filter(|transaction| query.period.contains(transaction.created_at))
            .filter(|transaction| query.statuses.is_empty() || query.statuses.contains(&transaction.status(now)))
            .cloned();
        match query.page {
            Some(page) => page.of(matching),
            None => matching.collect(),
        }
    }

    fn issued_tokens(&self) -> impl Iterator<Item = Arc<IssuedToken>> {
        self.issued.iter().filter_map(|token| self.tokens.get(token)).cloned()
    }
}

fn found(transaction: Option<&Arc<Transaction>>) -> Answer {
    match transaction {
        Some(transaction) => Answer::Transaction(Arc::clone(transaction)),
        None => Answer::Refused("Not found".to_owned()),
    }
}

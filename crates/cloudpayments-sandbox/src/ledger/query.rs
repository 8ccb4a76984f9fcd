//! Looking things up.

use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::{
    Answer, IssuedToken, Ledger,
    command::{FindScope, ListQuery, Query},
    transaction::{Kind, Transaction, TransactionId},
};

impl Ledger {
    /// Answers a query at `now`.
    pub(crate) fn query(&self, query: &Query, now: DateTime<Utc>) -> Answer {
        match query {
            Query::Get { id } => found(self.get(*id)),
            Query::Find { invoice_id, scope } => found(self.last_of(invoice_id, *scope)),
            Query::List(list) => Answer::Transactions(self.list(list, now)),
            Query::Tokens { page } => Answer::Tokens(page.of(self.issued_tokens())),
        }
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

//! What commands about subscriptions would do.

use chrono::{DateTime, Utc};
use serde_json::json;

use super::{
    Change, Decision, Ledger, Verdict,
    command::Checked,
    decide::{Decided, refuse},
    subscription::{Patch, Subscription, SubscriptionId, Terms},
    transaction::{Purpose, Status},
};

impl Ledger {
    pub(super) fn create_subscription(&self, terms: &Terms, now: DateTime<Utc>) -> Decided {
        if terms.start <= now {
            return refuse("StartDate must be in the future");
        }
        self.owned_token(terms)?;
        let id = self.secret.subscription_id(self.subscriptions.len());
        Ok(subscribed(Subscription::new(id, terms.clone())))
    }

    /// A token is charged for its own account only.
    fn owned_token(&self, terms: &Terms) -> Decided<()> {
        match self.tokens.get(&terms.token) {
            Some(issued) if issued.account_id == terms.account_id => Ok(()),
            Some(_) => refuse("Token does not belong to this AccountId"),
            None => refuse("Token not found"),
        }
    }

    pub(super) fn update_subscription(&self, id: &SubscriptionId, patch: &Patch, now: DateTime<Utc>) -> Decided {
        if patch.start.is_some_and(|start| start <= now) {
            return refuse("StartDate must be in the future");
        }
        let mut subscription = self.find_subscription(id)?.clone();
        subscription.update(patch, now);
        Ok(subscribed(subscription))
    }

    pub(super) fn cancel_subscription(&self, id: &SubscriptionId) -> Decided {
        let mut subscription = self.find_subscription(id)?.clone();
        if subscription.next_at.is_none() {
            return refuse(format!("Subscription cannot be cancelled: it is {}", subscription.status.name()));
        }
        subscription.cancel();
        Ok(Decision { verdict: Verdict::Done, ..subscribed(subscription) })
    }

    /// The charge that is due at `at`.
    pub(super) fn charge_subscription(
        &self,
        id: &SubscriptionId,
        checked: Option<Checked>,
        at: DateTime<Utc>,
    ) -> Decided {
        let mut subscription = self.find_subscription(id)?.clone();
        if subscription.next_at.is_none_or(|next| next > at) {
            return refuse("Subscription is not due");
        }
        let terms = &subscription.terms;
        let receipt = terms.receipt.as_deref().and_then(|text| serde_json::from_str::<serde_json::Value>(text).ok());
        let purpose = Purpose {
            amount: terms.amount,
            currency: terms.currency,
            invoice_id: None,
            account_id: Some(terms.account_id.clone()),
            email: terms.email.clone(),
            description: Some(terms.description.clone()),
            json_data: receipt.map(|receipt| json!({ "CloudPayments": { "CustomerReceipt": receipt } }).to_string()),
            ip_address: None,
            culture: terms.culture.clone(),
            two_stage: terms.two_stage,
        };
        let mut payment = self.payment(purpose, checked, None, at);
        payment.initiator = Some(0);
        payment.subscription_id = Some(id.0.clone());
        let mut decision = self.charge_issued(payment, &subscription.terms.token, checked, at)?;
        let approved = decision.changes.iter().any(|change| match change {
            Change::Transaction(payment) => payment.recorded_status != Status::Declined,
            _ => false,
        });
        subscription.charged(approved, at);
        decision.changes.push(Change::Subscription(Box::new(subscription)));
        Ok(decision)
    }

    pub(super) fn find_subscription(&self, id: &SubscriptionId) -> Decided<&Subscription> {
        self.subscriptions.get(id).map_or_else(|| refuse("Subscription not found"), |found| Ok(&**found))
    }
}

fn subscribed(subscription: Subscription) -> Decision {
    let verdict = Verdict::Subscription(subscription.id.clone());
    Decision { changes: vec![Change::Subscription(Box::new(subscription))], verdict }
}

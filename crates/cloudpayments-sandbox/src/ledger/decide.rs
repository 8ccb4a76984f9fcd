//! What each command would do. Nothing here changes the books.

use chrono::{DateTime, Utc};

use super::{
    Change, Decision, Ledger, TokenRule, Verdict,
    command::{Checked, Command},
    transaction::{Kind, Purpose, RequestId, Status, Transaction, TransactionId},
};
use crate::{money::Amount, reason::Reason};

/// An action the transaction's state does not allow, as the merchant is told of it.
#[derive(Debug)]
pub(crate) struct Refusal(pub(crate) String);

pub(super) type Decided<T = Decision> = Result<T, Refusal>;

pub(super) fn refuse<T>(message: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal(message.into()))
}

impl Ledger {
    /// Decides a command at `now`. What is processed, also if the bank declines it, is remembered by its request id.
    pub(crate) fn decide(&self, command: &Command, request_id: Option<&RequestId>, now: DateTime<Utc>) -> Decision {
        let decided = match command {
            Command::Ping(id) => Ok(Decision { changes: Vec::new(), verdict: Verdict::Pong(*id) }),
            Command::ChargeCard(charge) => self.charge_card(charge, request_id, now),
            Command::ChargeToken(charge) => self.charge_token(charge, request_id, now),
            Command::PostThreeDs { id, pa_res } => self.post_three_ds(*id, pa_res, now),
            Command::Confirm { id, amount, json_data } => self.confirm(*id, *amount, json_data.as_ref(), now),
            Command::Void { id } => self.void(*id, now),
            Command::Refund { id, amount, json_data } => self.refund(*id, *amount, json_data.as_ref(), request_id, now),
            Command::PayOut(payout) => self.pay_out(payout, request_id, now),
            Command::CreateSubscription(terms) => self.create_subscription(terms, now),
            Command::UpdateSubscription { id, patch } => self.update_subscription(id, patch, now),
            Command::CancelSubscription { id } => self.cancel_subscription(id),
            Command::CreateOrder(offer) => self.create_order(offer, now),
            Command::CancelOrder { id } => self.cancel_order(id),
            Command::QueueReceipt(order) => self.queue_receipt(order, now),
            Command::SetNotifications { kind, settings } => {
                let set = Change::Site { kind: *kind, settings: settings.clone() };
                Ok(Decision { changes: vec![set], verdict: Verdict::Done })
            }
            Command::ChargeBack { id, amount } => self.charge_back(*id, *amount, now),
            Command::SpoilToken(rule) => self.spoil_token(rule),
            Command::CancelAuthorization { id } => self.cancel_authorization(*id),
            Command::ChargeSubscription { id, checked } => self.charge_subscription(id, *checked, now),
            Command::IssueReceipt { id } => self.issue_receipt(id, now),
        };
        match decided {
            Ok(mut decision) => {
                self.follow_up(command, &mut decision.changes, now);
                if let Some(request_id) = request_id.cloned() {
                    let verdict = decision.verdict.clone();
                    decision.changes.push(Change::Reply { request_id, at: now, verdict });
                }
                decision
            }
            // Nothing was processed, so the request id is still free.
            Err(Refusal(message)) => Decision { changes: Vec::new(), verdict: Verdict::Refused(message) },
        }
    }

    /// What comes of the changes by itself: an order is paid, receipts are queued, the shop is told.
    fn follow_up(&self, command: &Command, changes: &mut Vec<Change>, now: DateTime<Utc>) {
        let orders: Vec<_> = changes
            .iter()
            .flat_map(|change| match change {
                Change::Transaction(payment) => self.settle_order(payment, now),
                _ => Vec::new(),
            })
            .collect();
        changes.extend(orders);
        self.queue_receipts(changes, now);
        // "Recurrent" is not sent for an update.
        let updates = matches!(command, Command::UpdateSubscription { .. });
        self.notify(changes, !updates, now);
    }

    fn confirm(&self, id: TransactionId, amount: Amount, json_data: Option<&String>, now: DateTime<Utc>) -> Decided {
        let mut payment = self.find_payment(id)?.clone();
        if payment.status(now) != Status::Authorized {
            return refuse(format!("Transaction cannot be confirmed: it is {}", payment.status(now).name()));
        }
        if amount > payment.purpose.amount {
            return refuse("Amount is larger than the amount authorized");
        }
        if let Some(json_data) = json_data {
            payment.purpose.json_data = Some(json_data.clone());
        }
        payment.confirm(amount, now);
        Ok(Decision { changes: vec![Change::Transaction(Box::new(payment))], verdict: Verdict::Done })
    }

    /// Nobody has confirmed it in time.
    fn cancel_authorization(&self, id: TransactionId) -> Decided {
        let mut payment = self.find_payment(id)?.clone();
        if payment.recorded_status != Status::Authorized {
            return refuse("Transaction is not authorized");
        }
        payment.recorded_status = Status::Cancelled;
        Ok(Decision { changes: vec![Change::Transaction(Box::new(payment))], verdict: Verdict::Done })
    }

    fn spoil_token(&self, rule: &TokenRule) -> Decided {
        if !self.tokens.contains_key(&rule.token) {
            return refuse("Token not found");
        }
        Ok(Decision { changes: vec![Change::TokenRule(rule.clone())], verdict: Verdict::Done })
    }

    fn void(&self, id: TransactionId, now: DateTime<Utc>) -> Decided {
        let mut payment = self.find_payment(id)?.clone();
        if payment.status(now) != Status::Authorized {
            return refuse(format!("Transaction cannot be voided: it is {}", payment.status(now).name()));
        }
        payment.recorded_status = Status::Cancelled;
        Ok(Decision { changes: vec![Change::Transaction(Box::new(payment))], verdict: Verdict::Done })
    }

    fn refund(
        &self,
        id: TransactionId,
        amount: Amount,
        json_data: Option<&String>,
        request_id: Option<&RequestId>,
        now: DateTime<Utc>,
    ) -> Decided {
        let mut payment = self.find_payment(id)?.clone();
        if payment.status(now) != Status::Completed {
            return refuse(format!("Transaction cannot be refunded: it is {}", payment.status(now).name()));
        }
        if payment.too_old_to_refund(now) {
            return refuse("Transaction cannot be refunded: it is older than a year");
        }
        if amount > payment.refundable() {
            return refuse("Amount is larger than what is left to refund");
        }

        let mut refund = self.operation(payment.purpose.clone(), request_id, now);
        refund.kind = Kind::Refund;
        refund.purpose.amount = amount;
        refund.purpose.json_data = json_data.cloned();
        refund.purpose.two_stage = false;
        refund.original_id = Some(id);
        refund.card.clone_from(&payment.card);
        refund.holder_name.clone_from(&payment.holder_name);
        refund.decide(Reason::APPROVED, now);

        payment.refunded = payment.refunded.plus(amount);
        let verdict = Verdict::Refunded(refund.id);
        let changes = vec![Change::Transaction(Box::new(refund)), Change::Transaction(Box::new(payment))];
        Ok(Decision { changes, verdict })
    }

    /// A new payment, under the id its check has named.
    pub(super) fn payment(
        &self,
        purpose: Purpose,
        checked: Option<Checked>,
        request_id: Option<&RequestId>,
        now: DateTime<Utc>,
    ) -> Transaction {
        let payment = self.operation(purpose, request_id, now);
        let id = checked.map_or(payment.id, |checked| checked.id);
        Transaction { id, ..payment }
    }

    /// A new operation about which the bank has not been asked yet.
    pub(super) fn operation(
        &self,
        purpose: Purpose,
        request_id: Option<&RequestId>,
        now: DateTime<Utc>,
    ) -> Transaction {
        Transaction {
            id: TransactionId(self.next_id),
            kind: Kind::Payment,
            recorded_status: Status::AwaitingAuthentication,
            reason: None,
            purpose,
            holder_name: None,
            card: None,
            save_card: false,
            token: None,
            initiator: None,
            created_at: now,
            authorized_at: None,
            confirmed_at: None,
            original_id: None,
            refunded: Amount::ZERO,
            request_id: request_id.cloned(),
            packet: None,
            subscription_id: None,
            order_id: None,
            receiver: None,
        }
    }

    pub(super) fn find_payment(&self, id: TransactionId) -> Result<&Transaction, Refusal> {
        match self.get(id) {
            Some(transaction) if transaction.kind == Kind::Payment => Ok(transaction),
            _ => refuse("Transaction not found"),
        }
    }
}

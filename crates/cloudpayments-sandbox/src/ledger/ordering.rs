//! What commands about orders, receipts, payouts and chargebacks would do.

use chrono::{DateTime, Months, TimeDelta, Utc};

use super::{
    Change, Chargeback, Decision, IssuedToken, Ledger, Verdict,
    command::{Payout, PayoutTo},
    decide::{Decided, refuse},
    order::{Offer, Order, OrderId, Status as OrderStatus},
    receipt::{self, Receipt, ReceiptId, ReceiptKind},
    subscription::{Interval, Subscription, Terms},
    transaction::{Kind, RequestId, Status, Transaction, TransactionId},
};
use crate::{cards::CardMask, money::Amount, reason::Reason};

impl Ledger {
    pub(super) fn create_order(&self, offer: &Offer, now: DateTime<Utc>) -> Decided {
        let number = self.orders.len();
        let order = Order {
            id: self.secret.order_id(number),
            number: number as u64 + 1,
            offer: offer.clone(),
            status: OrderStatus::Created,
            created_at: now,
            paid_at: None,
            payment: None,
        };
        let verdict = Verdict::Order(order.id.clone());
        Ok(Decision { changes: vec![Change::Order(Box::new(order))], verdict })
    }

    pub(super) fn cancel_order(&self, id: &OrderId) -> Decided {
        let mut order = self.open_order(id)?.clone();
        order.status = OrderStatus::Cancelled;
        Ok(Decision { changes: vec![Change::Order(Box::new(order))], verdict: Verdict::Done })
    }

    pub(crate) fn open_order(&self, id: &OrderId) -> Decided<&Order> {
        match self.orders.get(id) {
            Some(order) if order.status == OrderStatus::Created => Ok(order),
            Some(order) => refuse(format!("Order is {}", order.status.name())),
            None => refuse("Order not found"),
        }
    }

    /// The order a payment pays, as the payment leaves it: the first that succeeds pays it.
    pub(super) fn settle_order(&self, payment: &Transaction, now: DateTime<Utc>) -> Vec<Change> {
        let order = payment.order_id.as_ref().and_then(|id| self.open_order(id).ok());
        let Some(mut order) = order.cloned() else { return Vec::new() };
        let mut changes = Vec::new();
        order.payment = Some(payment.id);
        if matches!(payment.recorded_status, Status::Authorized | Status::Completed) {
            order.status = OrderStatus::Paid;
            order.paid_at = Some(now);
            let subscription = self.subscription_of(&order, payment, now);
            changes.extend(subscription.map(|subscription| Change::Subscription(Box::new(subscription))));
        }
        changes.push(Change::Order(Box::new(order)));
        changes
    }

    /// The subscription a paid order begins, if it is to and the card can be charged again.
    fn subscription_of(&self, order: &Order, payment: &Transaction, now: DateTime<Utc>) -> Option<Subscription> {
        let interval = order.offer.subscribes?;
        let offer = &order.offer;
        let start = match interval {
            Interval::Month => now.checked_add_months(Months::new(1))?,
            Interval::Week | Interval::Day => now + TimeDelta::weeks(1),
        };
        let terms = Terms {
            token: payment.token.clone()?,
            account_id: offer.account_id.clone()?,
            description: offer.description.clone(),
            email: offer.email.clone(),
            amount: offer.amount,
            currency: offer.currency,
            two_stage: offer.two_stage,
            start,
            interval,
            period: 1,
            max_periods: None,
            culture: offer.culture.clone(),
            receipt: None,
        };
        Some(Subscription::new(self.secret.subscription_id(self.subscriptions.len()), terms))
    }

    pub(super) fn queue_receipt(&self, order: &receipt::Order, now: DateTime<Utc>) -> Decided {
        let receipt = self.new_receipt(order.clone(), 0, now);
        let verdict = Verdict::Receipt(receipt.id.clone());
        Ok(Decision { changes: vec![Change::Receipt(Box::new(receipt))], verdict })
    }

    /// `after` receipts of the same decision.
    fn new_receipt(&self, order: receipt::Order, after: usize, now: DateTime<Utc>) -> Receipt {
        let number = self.receipts.len() + after;
        let id = self.secret.receipt_id(number);
        Receipt { id, order, number: number as u64 + 1, queued_at: now, issued_at: None }
    }

    pub(super) fn issue_receipt(&self, id: &ReceiptId, now: DateTime<Utc>) -> Decided {
        let Some(receipt) = self.receipts.get(id).filter(|receipt| receipt.issued_at.is_none()) else {
            return refuse("Receipt not found");
        };
        let receipt = Receipt { issued_at: Some(now), ..(**receipt).clone() };
        Ok(Decision { changes: vec![Change::Receipt(Box::new(receipt))], verdict: Verdict::Done })
    }

    /// Queues the receipts that completed payments and refunds ask for in their `JsonData`. One that cannot be printed
    /// does not undo the payment.
    pub(super) fn queue_receipts(&self, changes: &mut Vec<Change>, now: DateTime<Utc>) {
        let mut queued = Vec::new();
        for change in &*changes {
            let Change::Transaction(after) = change else { continue };
            let was = self.get(after.id).map(|before| before.recorded_status);
            if after.recorded_status != Status::Completed || was == Some(Status::Completed) {
                continue;
            }
            let kind = match after.kind {
                Kind::Payment => ReceiptKind::Income,
                Kind::Refund => ReceiptKind::IncomeReturn,
                Kind::CardPayout => continue,
            };
            let asked = after.purpose.json_data.as_deref().and_then(receipt::of_json_data);
            let Some(Ok((content, amount))) = asked.map(|asked| receipt::read(&asked)) else { continue };
            let order = receipt::Order {
                inn: receipt::SHOP_INN.to_owned(),
                kind,
                invoice_id: after.purpose.invoice_id.clone(),
                account_id: after.purpose.account_id.clone(),
                transaction_id: Some(after.id),
                content,
                amount,
            };
            queued.push(self.new_receipt(order, queued.len(), now));
        }
        changes.extend(queued.into_iter().map(|receipt| Change::Receipt(Box::new(receipt))));
    }

    pub(super) fn pay_out(&self, payout: &Payout, request_id: Option<&RequestId>, now: DateTime<Utc>) -> Decided {
        let mut transaction = self.operation(payout.purpose.clone(), request_id, now);
        transaction.kind = Kind::CardPayout;
        transaction.holder_name.clone_from(&payout.holder_name);
        transaction.receiver.clone_from(&payout.receiver);
        let reason = match &payout.to {
            PayoutTo::Phone => Reason::APPROVED,
            PayoutTo::Card(packet) => {
                transaction.card = Some(packet.mask.clone());
                payable(&packet.mask, now)
            }
            PayoutTo::Token(token) => {
                let Some(IssuedToken { card, account_id, .. }) = self.tokens.get(token).map(|issued| &**issued) else {
                    return refuse("Token not found");
                };
                if transaction.purpose.account_id.as_ref() != Some(account_id) {
                    return refuse("Token does not belong to this AccountId");
                }
                transaction.card = Some(card.clone());
                transaction.token = Some(token.clone());
                payable(card, now)
            }
        };
        transaction.decide(reason, now);
        let verdict = Verdict::Transaction(transaction.id);
        Ok(Decision { changes: vec![Change::Transaction(Box::new(transaction))], verdict })
    }

    /// The bank takes a payment back, all of it or a part.
    pub(super) fn charge_back(&self, id: TransactionId, amount: Option<Amount>, now: DateTime<Utc>) -> Decided {
        let payment = self.find_payment(id)?;
        if payment.status(now) != Status::Completed {
            return refuse(format!("Transaction cannot be charged back: it is {}", payment.status(now).name()));
        }
        let taken = self.chargebacks.iter().filter(|it| it.transaction_id == id);
        let taken = taken.fold(Amount::ZERO, |sum, it| sum.plus(it.amount));
        let left = payment.purpose.amount.minus(taken);
        let amount = amount.unwrap_or(left);
        if amount > left || amount == Amount::ZERO {
            return refuse("Amount is larger than what is left to charge back");
        }
        let chargeback = Chargeback {
            id: self.secret.chargeback_id(self.chargebacks.len()),
            transaction_id: id,
            amount,
            currency: payment.purpose.currency,
            card: payment.card.as_ref().map(CardMask::masked).unwrap_or_default(),
            at: now,
        };
        Ok(Decision { changes: vec![Change::Chargeback(chargeback)], verdict: Verdict::Done })
    }
}

/// Money goes to any test card that is not past its date.
fn payable(card: &CardMask, now: DateTime<Utc>) -> Reason {
    match card.test_card() {
        _ if card.expiry.is_past(now) => Reason::EXPIRED_CARD,
        Some(_) => Reason::APPROVED,
        None => Reason::INVALID_CARD_NUMBER,
    }
}

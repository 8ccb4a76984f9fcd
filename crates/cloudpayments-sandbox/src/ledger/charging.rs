//! What charges of cards and tokens would do.

use chrono::{DateTime, Utc};

use super::{
    Change, Decision, IssuedToken, Ledger, TokenRule, Verdict,
    command::{CardCharge, Checked, PaRes, TokenCharge},
    decide::{Decided, refuse},
    secret::PayerAnswer,
    transaction::{RequestId, Status, Token, Transaction, TransactionId},
};
use crate::{
    cards::{BankAnswer, CardMask},
    reason::Reason,
};

impl Ledger {
    pub(super) fn charge_card(
        &self,
        charge: &CardCharge,
        request_id: Option<&RequestId>,
        now: DateTime<Utc>,
    ) -> Decided {
        if charge.packet.digest.as_ref().is_some_and(|digest| self.used_packets.contains(digest)) {
            return refuse("CardCryptogramPacket has already been used");
        }
        let mut payment = self.payment(charge.purpose.clone(), charge.checked, request_id, now);
        payment.card = Some(charge.packet.mask.clone());
        payment.packet.clone_from(&charge.packet.digest);
        payment.holder_name.clone_from(&charge.holder_name);
        payment.save_card = charge.save_card;
        payment.order_id.clone_from(&charge.order_id);
        if let Some(order) = &charge.order_id {
            self.open_order(order)?;
        }

        if let Some(refusal) = charge.checked.and_then(|checked| checked.refusal) {
            return Ok(self.settle(payment, refusal, now));
        }
        let reason = match charge.packet.card {
            None => Reason::INVALID_CARD_NUMBER,
            Some(_) if charge.packet.mask.expiry.is_past(now) => Reason::EXPIRED_CARD,
            Some(card) if card.three_ds => {
                let verdict = Verdict::ThreeDs(payment.id);
                return Ok(Decision { changes: vec![Change::Transaction(Box::new(payment))], verdict });
            }
            Some(card) => reason_of(card.charge),
        };
        Ok(self.settle(payment, reason, now))
    }

    pub(super) fn charge_token(
        &self,
        charge: &TokenCharge,
        request_id: Option<&RequestId>,
        now: DateTime<Utc>,
    ) -> Decided {
        let mut payment = self.payment(charge.purpose.clone(), charge.checked, request_id, now);
        payment.initiator = charge.initiator;
        self.charge_issued(payment, &charge.token, charge.checked, now)
    }

    /// Charges a token, whoever wants it.
    pub(super) fn charge_issued(
        &self,
        mut payment: Transaction,
        token: &Token,
        checked: Option<Checked>,
        now: DateTime<Utc>,
    ) -> Decided {
        payment.token = Some(token.clone());
        let Some(issued) = self.tokens.get(token) else {
            return Ok(self.settle(payment, Reason::CROSS_TERMINAL_TOKEN_RESTRICTION, now));
        };
        if payment.purpose.account_id.as_ref() != Some(&issued.account_id) {
            return refuse("Token does not belong to this AccountId");
        }
        payment.card = Some(issued.card.clone());
        payment.holder_name.clone_from(&issued.holder_name);
        if let Some(refusal) = checked.and_then(|checked| checked.refusal) {
            return Ok(self.settle(payment, refusal, now));
        }
        if let Some(rule) = self.token_rules.get(token) {
            if rule.after == 0 {
                return Ok(self.settle(payment, rule.reason, now));
            }
            let rule = TokenRule { after: rule.after - 1, ..rule.clone() };
            let mut decision = self.settle(payment, Reason::APPROVED, now);
            decision.changes.push(Change::TokenRule(rule));
            return Ok(decision);
        }
        let reason = match issued.card.test_card().and_then(|card| card.token_charge) {
            _ if issued.card.expiry.is_past(now) => Reason::EXPIRED_CARD,
            Some(answer) => reason_of(answer),
            None => Reason::INVALID_CARD_NUMBER,
        };
        Ok(self.settle(payment, reason, now))
    }

    pub(super) fn post_three_ds(&self, id: TransactionId, pa_res: &PaRes, now: DateTime<Utc>) -> Decided {
        let payment = self.find_payment(id)?;
        if payment.status(now) != Status::AwaitingAuthentication {
            return refuse("Transaction is not awaiting authentication");
        }
        let reason = match self.secret.payer_answer(id, &pa_res.0) {
            Some(PayerAnswer::Confirmed) => {
                let card = payment.card.as_ref().and_then(CardMask::test_card);
                card.map_or(Reason::INVALID_CARD_NUMBER, |card| reason_of(card.charge))
            }
            Some(PayerAnswer::Rejected) | None => Reason::AUTHENTICATION_FAILED,
        };
        Ok(self.settle(payment.clone(), reason, now))
    }

    /// The bank has answered. A card that pays leaves a token, if the merchant said whose it is and saves cards.
    pub(super) fn settle(&self, mut payment: Transaction, reason: Reason, now: DateTime<Utc>) -> Decision {
        payment.decide(reason, now);
        let verdict = Verdict::Transaction(payment.id);
        let mut changes = Vec::new();
        if reason == Reason::APPROVED
            && payment.save_card
            && let (Some(account_id), Some(card)) = (&payment.purpose.account_id, &payment.card)
        {
            let token = self.secret.token(account_id, card);
            if !self.tokens.contains_key(&token) {
                changes.push(Change::Token(IssuedToken {
                    token: token.clone(),
                    account_id: account_id.clone(),
                    card: card.clone(),
                    holder_name: payment.holder_name.clone(),
                }));
            }
            payment.token = Some(token);
        }
        changes.push(Change::Transaction(Box::new(payment)));
        Decision { changes, verdict }
    }
}

fn reason_of(answer: BankAnswer) -> Reason {
    match answer {
        BankAnswer::Success => Reason::APPROVED,
        BankAnswer::InsufficientFunds => Reason::INSUFFICIENT_FUNDS,
    }
}

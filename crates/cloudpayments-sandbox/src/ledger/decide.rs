//! What each command would do. Nothing here changes the books.

use chrono::{DateTime, Utc};

use super::{
    Change, Decision, IssuedToken, Ledger, Verdict,
    command::{CardCharge, Checked, Command, PaRes, TokenCharge},
    secret::PayerAnswer,
    transaction::{Kind, Purpose, RequestId, Status, Transaction, TransactionId},
};
use crate::{
    cards::{BankAnswer, CardMask},
    money::Amount,
    reason::Reason,
};

/// An action the transaction's state does not allow, as the merchant is told of it.
struct Refusal(String);

type Decided = Result<Decision, Refusal>;

fn refuse<T>(message: impl Into<String>) -> Result<T, Refusal> {
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
            Command::Confirm { id, amount } => self.confirm(*id, *amount, now),
            Command::Void { id } => self.void(*id, now),
            Command::Refund { id, amount, json_data } => self.refund(*id, *amount, json_data.as_ref(), request_id, now),
        };
        match decided {
            Ok(mut decision) => {
                self.notify(&mut decision.changes, now);
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

    fn charge_card(&self, charge: &CardCharge, request_id: Option<&RequestId>, now: DateTime<Utc>) -> Decided {
        if charge.packet.digest.as_ref().is_some_and(|digest| self.used_packets.contains(digest)) {
            return refuse("CardCryptogramPacket has already been used");
        }
        let mut payment = self.payment(charge.purpose.clone(), charge.checked, request_id, now);
        payment.card = Some(charge.packet.mask.clone());
        payment.packet.clone_from(&charge.packet.digest);
        payment.holder_name.clone_from(&charge.holder_name);
        payment.save_card = charge.save_card;

        if let Some(refusal) = charge.checked.and_then(|checked| checked.refusal) {
            return Ok(self.settle(payment, refusal, now));
        }
        let reason = match charge.packet.card {
            None => Reason::InvalidCardNumber,
            Some(_) if charge.packet.mask.expiry.is_past(now) => Reason::ExpiredCard,
            Some(card) if card.three_ds => {
                let verdict = Verdict::ThreeDs(payment.id);
                return Ok(Decision { changes: vec![Change::Transaction(Box::new(payment))], verdict });
            }
            Some(card) => reason_of(card.charge),
        };
        Ok(self.settle(payment, reason, now))
    }

    fn charge_token(&self, charge: &TokenCharge, request_id: Option<&RequestId>, now: DateTime<Utc>) -> Decided {
        let mut payment = self.payment(charge.purpose.clone(), charge.checked, request_id, now);
        payment.initiator = charge.initiator;
        payment.token = Some(charge.token.clone());

        let Some(issued) = self.tokens.get(&charge.token) else {
            return Ok(self.settle(payment, Reason::CrossTerminalTokenRestriction, now));
        };
        if payment.purpose.account_id.as_ref() != Some(&issued.account_id) {
            return refuse("Token does not belong to this AccountId");
        }
        payment.card = Some(issued.card.clone());
        payment.holder_name.clone_from(&issued.holder_name);
        if let Some(refusal) = charge.checked.and_then(|checked| checked.refusal) {
            return Ok(self.settle(payment, refusal, now));
        }
        let reason = match issued.card.test_card().and_then(|card| card.token_charge) {
            _ if issued.card.expiry.is_past(now) => Reason::ExpiredCard,
            Some(answer) => reason_of(answer),
            None => Reason::InvalidCardNumber,
        };
        Ok(self.settle(payment, reason, now))
    }

    fn post_three_ds(&self, id: TransactionId, pa_res: &PaRes, now: DateTime<Utc>) -> Decided {
        let payment = self.find_payment(id)?;
        if payment.status(now) != Status::AwaitingAuthentication {
            return refuse("Transaction is not awaiting authentication");
        }
        let reason = match self.secret.payer_answer(id, &pa_res.0) {
            Some(PayerAnswer::Confirmed) => {
                let card = payment.card.as_ref().and_then(CardMask::test_card);
                card.map_or(Reason::InvalidCardNumber, |card| reason_of(card.charge))
            }
            Some(PayerAnswer::Rejected) | None => Reason::AuthenticationFailed,
        };
        Ok(self.settle(payment.clone(), reason, now))
    }

    fn confirm(&self, id: TransactionId, amount: Amount, now: DateTime<Utc>) -> Decided {
        let mut payment = self.find_payment(id)?.clone();
        if payment.status(now) != Status::Authorized {
            return refuse(format!("Transaction cannot be confirmed: it is {}", payment.status(now).name()));
        }
        if amount > payment.purpose.amount {
            return refuse("Amount is larger than the amount authorized");
        }
        payment.confirm(amount, now);
        Ok(Decision { changes: vec![Change::Transaction(Box::new(payment))], verdict: Verdict::Done })
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
        refund.decide(Reason::Approved, now);

        payment.refunded = payment.refunded.plus(amount);
        let verdict = Verdict::Refunded(refund.id);
        let changes = vec![Change::Transaction(Box::new(refund)), Change::Transaction(Box::new(payment))];
        Ok(Decision { changes, verdict })
    }

    /// The bank has answered. A card that pays leaves a token, if the merchant said whose it is and saves cards.
    fn settle(&self, mut payment: Transaction, reason: Reason, now: DateTime<Utc>) -> Decision {
        payment.decide(reason, now);
        let verdict = Verdict::Transaction(payment.id);
        let mut changes = Vec::new();
        if reason == Reason::Approved
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

    /// A new payment, under the id its check has named.
    fn payment(
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
    fn operation(&self, purpose: Purpose, request_id: Option<&RequestId>, now: DateTime<Utc>) -> Transaction {
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
        }
    }

    fn find_payment(&self, id: TransactionId) -> Result<&Transaction, Refusal> {
        match self.get(id) {
            Some(transaction) if transaction.kind == Kind::Payment => Ok(transaction),
            _ => refuse("Transaction not found"),
        }
    }
}

fn reason_of(answer: BankAnswer) -> Reason {
    match answer {
        BankAnswer::Success => Reason::Approved,
        BankAnswer::InsufficientFunds => Reason::InsufficientFunds,
    }
}

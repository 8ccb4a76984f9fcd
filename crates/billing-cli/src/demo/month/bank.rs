//! The other side of each call: what the gateway's sandbox keeps of it, and what comes of it here.

use billing::payment::{CardMask, Instrument, Outcome};
use billing::store::gateway_calls::{self, CallId, CallOutcome, Ended};
use billing::store::payments::{self, Begin, ChargeInstrument, ChargeOrder};
use billing::{Kopecks, PaymentId};
use chrono::{DateTime, TimeDelta, Utc};
use cloudpayments_sandbox::{ChargedBy, PastAnswer, PastCharge};
use diesel_async::AsyncPgConnection;
use secrecy::ExposeSecret as _;
use serde_json::json;

use super::Play;
use super::cast::noise;

/// What the bank does with a charge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bank {
    /// Pays, or refuses by this code.
    Answers(u16),
    /// Pays, and nobody hears of it until a look a minute later.
    IsNotHeard,
    /// Pays a rouble more than was asked for.
    TakesAnother,
}

impl Play<'_> {
    /// Sends a written attempt, if it is still to be sent. Returns the gateway's number of it, if money was taken or held.
    pub(super) async fn charge(
        &self,
        conn: &mut AsyncPgConnection,
        id: PaymentId,
        card: (&str, &str),
        bank: impl FnOnce(&ChargeOrder) -> Bank,
        at: DateTime<Utc>,
    ) -> anyhow::Result<Option<i64>> {
        let Begin::Send(order) = payments::begin_sending(conn, id, self.cipher, at).await? else { return Ok(None) };
        let bank = bank(&order);
        let answered_at =
            at + TimeDelta::milliseconds(180 + i64::try_from(noise(order.invoice_no.unsigned_abs()) % 1_400)?);
        let answer = self.kept_by_the_gateway(&order, card, bank, answered_at)?;
        let outcome = outcome(&order, &answer, bank, answered_at);
        let ended = ended(order.call, &answer, bank);
        payments::apply_answer(conn, id, outcome, Some(&ended), self.cipher, answered_at).await?;
        match bank {
            Bank::Answers(0) => {}
            Bank::Answers(_) => return Ok(None),
            Bank::IsNotHeard => self.look(conn, &order, &answer, answered_at + TimeDelta::minutes(1)).await?,
            Bank::TakesAnother => return Ok(None),
        }
        if matches!(order.instrument, ChargeInstrument::Verification(_)) {
            self.let_go(conn, id, answer.transaction_id, answered_at + TimeDelta::seconds(9)).await?;
        }
        Ok(Some(answer.transaction_id))
    }

    fn kept_by_the_gateway(
        &self,
        order: &ChargeOrder,
        (number, expires): (&str, &str),
        bank: Bank,
        at: DateTime<Utc>,
    ) -> anyhow::Result<PastAnswer> {
        let (account_id, invoice_id) = (order.account_id.to_string(), order.invoice_no.to_string());
        let by = match &order.instrument {
            ChargeInstrument::Token(token) => ChargedBy::Token(token.expose_secret()),
            ChargeInstrument::Cryptogram(_) | ChargeInstrument::Verification(_) => ChargedBy::Card { number, expires },
        };
        let (reason_code, more) = match bank {
            Bank::Answers(code) => (code, 0),
            Bank::IsNotHeard => (0, 0),
            Bank::TakesAnother => (0, 100),
        };
        Ok(self.gateway.charged(&PastCharge {
            by,
            account_id: &account_id,
            invoice_id: &invoice_id,
            description: &order.description,
            json_data: ids(order),
            kopecks: order.amount.get() + more,
            holds: order.holds || matches!(order.instrument, ChargeInstrument::Verification(_)),
            reason_code,
            at,
        })?)
    }

    /// A look at the gateway finds what was not heard.
    async fn look(
        &self,
        conn: &mut AsyncPgConnection,
        order: &ChargeOrder,
        answer: &PastAnswer,
        at: DateTime<Utc>,
    ) -> anyhow::Result<()> {
        let call = gateway_calls::begin(conn, order.payment_id, "/v2/payments/find", None, at).await?;
        let ended = ended(call, answer, Bank::Answers(0));
        let found_at = at + TimeDelta::milliseconds(240);
        let found = outcome(order, answer, Bank::Answers(0), found_at);
        payments::apply_answer(conn, order.payment_id, found, Some(&ended), self.cipher, found_at).await?;
        Ok(())
    }

    /// The card is kept: the rouble that was held on it is let go.
    async fn let_go(
        &self,
        conn: &mut AsyncPgConnection,
        id: PaymentId,
        transaction_id: i64,
        at: DateTime<Utc>,
    ) -> anyhow::Result<()> {
        let Some(_hold) = payments::claim_hold(conn, id, at + TimeDelta::minutes(1), at).await? else { return Ok(()) };
        let call = gateway_calls::begin(conn, id, "/payments/void", None, at).await?;
        let done_at = at + TimeDelta::milliseconds(310);
        self.gateway.let_go(transaction_id, done_at)?;
        let ended = done(call, transaction_id);
        payments::apply_answer(conn, id, Outcome::Voided, Some(&ended), self.cipher, done_at).await?;
        Ok(())
    }
}

/// As the worker sends them.
fn ids(order: &ChargeOrder) -> String {
    let instrument = match order.instrument {
        ChargeInstrument::Cryptogram(_) | ChargeInstrument::Verification(_) => Instrument::Cryptogram,
        ChargeInstrument::Token(_) => Instrument::Token,
    };
    let ids = json!({
        "bill_id": order.bill_id.to_string(),
        "payment_id": order.payment_id.to_string(),
        "tariff_id": order.tariff_id.to_string(),
        "kind": order.kind.as_str(),
        "period_no": order.period_no,
        "instrument": instrument.as_str(),
    });
    ids.to_string()
}

fn outcome(order: &ChargeOrder, answer: &PastAnswer, bank: Bank, now: DateTime<Utc>) -> Outcome {
    let (amount, currency) = (order.amount, order.currency);
    let card = Some(CardMask {
        first_six: Some(answer.first_six.clone()),
        last_four: Some(answer.last_four.clone()),
        expires: Some(answer.expires.clone()),
        scheme: answer.card_type.map(str::to_owned),
        fingerprint: None,
    });
    let token = answer.token.clone().map(Into::into);
    let transaction_id = answer.transaction_id;
    match bank {
        Bank::Answers(0) if matches!(order.instrument, ChargeInstrument::Verification(_)) => {
            Outcome::Authorized { transaction_id, token, amount, currency, card }
        }
        Bank::Answers(0) => Outcome::Completed { transaction_id, token, amount, currency, card },
        Bank::Answers(code) => Outcome::Declined {
            transaction_id: Some(transaction_id),
            code: code.into(),
            reason: answer.reason.to_owned(),
            cardholder_message: answer.cardholder_message.to_owned(),
            retry_after: None,
        },
        Bank::IsNotHeard => {
            Outcome::Unknown { why: "no response in time".to_owned(), look_again_at: now + TimeDelta::minutes(1) }
        }
        Bank::TakesAnother => Outcome::Disputed {
            why: format!(
                "transaction {transaction_id} is of {}, not of {}",
                Kopecks::new(amount.get() + 100).in_currency(currency),
                amount.in_currency(currency)
            ),
        },
    }
}

fn ended(call: CallId, answer: &PastAnswer, bank: Bank) -> Ended {
    let (outcome, code) = match bank {
        Bank::Answers(0) | Bank::TakesAnother => (CallOutcome::Ok, 0),
        Bank::Answers(code) => (CallOutcome::Declined, code),
        Bank::IsNotHeard => {
            return Ended { call, outcome: CallOutcome::Unknown, http_status: None, request: None, response: None };
        }
    };
    let model = json!({ "TransactionId": answer.transaction_id, "ReasonCode": code, "Reason": answer.reason,
        "CardHolderMessage": answer.cardholder_message });
    Ended {
        call,
        outcome,
        http_status: Some(200),
        request: None,
        response: Some(json!({ "Success": code == 0, "Model": model }).to_string()),
    }
}

/// The gateway did as it was asked.
pub(super) fn done(call: CallId, transaction_id: i64) -> Ended {
    Ended {
        call,
        outcome: CallOutcome::Ok,
        http_status: Some(200),
        request: None,
        response: Some(json!({ "Success": true, "Model": { "TransactionId": transaction_id } }).to_string()),
    }
}

//! Between billing's words and the gateway's. Pure.

use billing::payment::{CardMask, Outcome};
use billing::store::payments::{ChargeInstrument, ChargeOrder};
use billing::{Currency, Kopecks};
use chrono::{DateTime, TimeDelta, Utc};
use cloudpayments::{
    Amount, CardCharge, Charge, Error, Initiator, Operation, TokenCharge, Transaction, TransactionStatus,
};
use serde_json::value::RawValue;

/// What is asked of the gateway.
pub(crate) enum ChargeRequest {
    Card(Box<CardCharge>),
    Token(Box<TokenCharge>),
}

/// The clocks that an outcome is written with.
#[derive(Clone, Copy)]
pub(crate) struct Times {
    pub(crate) now: DateTime<Utc>,
    pub(crate) three_ds_expires_at: DateTime<Utc>,
    /// When to look again if the outcome is unknown.
    pub(crate) look_again_at: DateTime<Utc>,
}

/// The request of an order. The bill goes along, so that accounting finds it at the gateway too.
pub(crate) fn request(order: ChargeOrder) -> ChargeRequest {
    let amount = Amount::from_kopecks(order.amount.get());
    let invoice_id = Some(order.invoice_no.to_string());
    let account_id = order.account_id.to_string();
    let json_data = json_data(&order);
    match order.instrument {
        ChargeInstrument::Cryptogram(cryptogram) => ChargeRequest::Card(Box::new(CardCharge {
            invoice_id,
            account_id: Some(account_id),
            description: Some(order.description),
            json_data,
            save_card: Some(true),
            ..CardCharge::new(amount, order.currency.as_str(), order.ip_address.unwrap_or_default(), cryptogram)
        })),
        ChargeInstrument::Token(token) => ChargeRequest::Token(Box::new(TokenCharge {
            invoice_id,
            description: Some(order.description),
            json_data,
            ..TokenCharge::new(amount, order.currency.as_str(), account_id, token, Initiator::Schedule)
        })),
    }
}

fn json_data(order: &ChargeOrder) -> Option<Box<RawValue>> {
    let ids = serde_json::json!({ "bill_id": order.bill_id.to_string(), "payment_id": order.payment_id.to_string() });
    serde_json::value::to_raw_value(&ids).ok()
}

/// What the answer to a charge, or to a 3-D Secure answer passed on, means for the payment.
pub(crate) fn outcome(answer: Result<Charge, Error>, times: Times) -> Outcome {
    match answer {
        Ok(Charge::Completed(transaction)) => completed(*transaction, times),
        Ok(Charge::Authorized(transaction)) => authorized(&transaction, times),
        Ok(Charge::ThreeDsRequired(three_ds)) => Outcome::ThreeDsRequired {
            transaction_id: three_ds.transaction_id,
            acs_url: three_ds.acs_url,
            pa_req: three_ds.pa_req,
            expires_at: times.three_ds_expires_at,
        },
        Err(Error::Declined(decline)) => Outcome::Declined {
            transaction_id: decline.transaction_id(),
            code: decline.code,
            reason: decline.reason.unwrap_or_default(),
            cardholder_message: decline.cardholder_message.unwrap_or_default(),
            retry_after: decline.retry_after,
        },
        Err(Error::SafeToRetry { why, retry_after }) => Outcome::NotSent {
            why: why.to_string(),
            retry_after: retry_after.and_then(|after| TimeDelta::from_std(after).ok()).map(|after| times.now + after),
        },
        Err(error @ Error::Unauthorized) => Outcome::NotSent { why: error.to_string(), retry_after: None },
        Err(Error::OutcomeUnknown { why }) => unknown(why.to_string(), times),
        Err(Error::OurFault { message }) => Outcome::Rejected { message },
    }
}

/// What a transaction that was looked up means for the payment; `None` if the gateway still waits for 3-D Secure.
pub(crate) fn looked_up(transaction: Transaction, times: Times) -> Option<Outcome> {
    if !matches!(transaction.operation, None | Some(Operation::Payment)) {
        // A refund of this invoice: the payment it belongs to was made, but this is not its transaction.
        return Some(unknown("the gateway answers with another kind of operation".to_owned(), times));
    }
    Some(match transaction.status {
        Some(TransactionStatus::Completed) => completed(transaction, times),
        Some(TransactionStatus::Authorized) => authorized(&transaction, times),
        Some(TransactionStatus::Declined) => Outcome::Declined {
            transaction_id: Some(transaction.transaction_id),
            code: transaction.reason_code.unwrap_or_default(),
            reason: transaction.reason.unwrap_or_default(),
            cardholder_message: transaction.cardholder_message.unwrap_or_default(),
            retry_after: transaction.retry_after,
        },
        Some(TransactionStatus::AwaitingAuthentication) => return None,
        Some(TransactionStatus::Cancelled) => unknown("the gateway says it was cancelled".to_owned(), times),
        None => unknown("the gateway does not say where it stands".to_owned(), times),
    })
}

fn completed(transaction: Transaction, times: Times) -> Outcome {
    match money(&transaction) {
        Some((amount, currency)) => Outcome::Completed {
            transaction_id: transaction.transaction_id,
            token: transaction.token,
            amount,
            currency,
            card: Some(CardMask {
                first_six: transaction.card.first_six,
                last_four: transaction.card.last_four,
                expires: transaction.card.expires,
                scheme: transaction.card.brand,
            }),
        },
        None => unknown("the gateway does not say how much it took".to_owned(), times),
    }
}

fn authorized(transaction: &Transaction, times: Times) -> Outcome {
    match money(transaction) {
        Some((amount, currency)) => {
            Outcome::Authorized { transaction_id: transaction.transaction_id, amount, currency }
        }
        None => unknown("the gateway does not say how much it holds".to_owned(), times),
    }
}

fn money(transaction: &Transaction) -> Option<(Kopecks, Currency)> {
    let amount = transaction.amount?;
    let currency = transaction.currency.as_deref()?.parse().ok()?;
    Some((Kopecks::new(amount.kopecks()), currency))
}

pub(crate) fn unknown(why: String, times: Times) -> Outcome {
    Outcome::Unknown { why, look_again_at: times.look_again_at }
}

//! The sandbox's own controls, under `/sandbox`: JSON, and open to everybody who reaches them. Only for a sandbox.

use std::sync::Arc;

use axum::{
    Json,
    extract::{Query, State, rejection::JsonRejection},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{Gateway, faults::Fault};
use crate::{
    cards::{CardMask, TEST_CARDS, TestCard},
    cryptogram::cryptogram as make_cryptogram,
    ledger::{
        TokenRule,
        command::Command,
        transaction::{Kind, Token, Transaction, TransactionId},
    },
    money::{Amount, Roubles},
    reason::Reason,
    wire::request::Endpoint,
};

/// `GET /sandbox/cards`
pub(crate) async fn cards() -> Json<&'static [TestCard]> {
    const { Json(&TEST_CARDS) }
}

#[derive(Deserialize)]
pub(crate) struct CardDetails {
    card_number: String,
    exp: String,
    cvv: String,
}

/// `POST /sandbox/cryptogram`
pub(crate) async fn cryptogram(details: Result<Json<CardDetails>, JsonRejection>) -> Response {
    let details = match details {
        Ok(Json(details)) => details,
        Err(rejection) => return bad_request(None, &rejection.body_text()),
    };
    match make_cryptogram(&details.card_number, &details.exp, &details.cvv) {
        Ok(cryptogram) => Json(json!({ "cryptogram": cryptogram })).into_response(),
        Err(error) => bad_request(Some(error.field()), &error.to_string()),
    }
}

#[derive(Deserialize)]
pub(crate) struct LedgerFilter {
    account_id: Option<String>,
    invoice_id: Option<String>,
    /// Only the last so many.
    limit: Option<usize>,
}

/// One operation as `GET /sandbox/ledger` shows it. Amounts are numbers in currency units.
#[derive(Serialize)]
struct Entry<'a> {
    id: TransactionId,
    #[serde(rename = "type")]
    kind: Kind,
    status: &'static str,
    reason_code: Option<u16>,
    amount: Roubles,
    currency: &'static str,
    refunded: Roubles,
    invoice_id: Option<&'a str>,
    account_id: Option<&'a str>,
    description: Option<&'a str>,
    json_data: Option<&'a str>,
    card: Option<String>,
    original_id: Option<TransactionId>,
    request_id: Option<&'a str>,
    created_at: String,
}

impl<'a> Entry<'a> {
    fn new(transaction: &'a Transaction, now: DateTime<Utc>) -> Self {
        let purpose = &transaction.purpose;
        Self {
            id: transaction.id,
            kind: transaction.kind,
            status: transaction.status(now).name(),
            reason_code: transaction.reason.map(Reason::code),
            amount: Roubles(purpose.amount),
            currency: purpose.currency.as_str(),
            refunded: Roubles(transaction.refunded),
            invoice_id: purpose.invoice_id.as_deref(),
            account_id: purpose.account_id.as_deref(),
            description: purpose.description.as_deref(),
            json_data: purpose.json_data.as_deref(),
            card: transaction.card.as_ref().map(CardMask::masked),
            original_id: transaction.original_id,
            request_id: transaction.request_id.as_ref().map(|id| id.0.as_str()),
            created_at: transaction.created_at.to_rfc3339_opts(SecondsFormat::Millis, true),
        }
    }
}

/// `GET /sandbox/ledger`: every operation, oldest first.
pub(crate) async fn ledger(State(gateway): State<Arc<Gateway>>, Query(filter): Query<LedgerFilter>) -> Response {
    let now = gateway.clock.now();
    let same = |wanted: &Option<String>, given: &Option<String>| wanted.is_none() || wanted == given;
    let mut chosen: Vec<_> = {
        let books = gateway.books.lock();
        let matching = books.ledger.transactions().rev().filter(|transaction| {
            let purpose = &transaction.purpose;
            same(&filter.account_id, &purpose.account_id) && same(&filter.invoice_id, &purpose.invoice_id)
        });
        matching.take(filter.limit.unwrap_or(usize::MAX)).cloned().collect()
    };
    chosen.reverse();
    let entries: Vec<_> = chosen.iter().map(|transaction| Entry::new(transaction, now)).collect();
    Json(entries).into_response()
}

/// `GET /sandbox/load`: the most requests that were handled at a time.
pub(crate) async fn load(State(gateway): State<Arc<Gateway>>) -> Response {
    Json(json!({ "most_at_once": gateway.load.most_at_once() })).into_response()
}

/// A payment and how much of it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PaymentOrder {
    transaction_id: Option<i64>,
    /// Instead of `transaction_id`: the last payment of this invoice.
    invoice_id: Option<String>,
    /// In currency units; without it, all that is left.
    amount: Option<serde_json::Number>,
}

impl PaymentOrder {
    fn read(self, gateway: &Gateway) -> Result<(TransactionId, Option<Amount>), Box<Response>> {
        let books = gateway.books.lock();
        let payment = match (self.transaction_id, &self.invoice_id) {
            (Some(id), None) => books.ledger.get(TransactionId(id)),
            (None, Some(invoice_id)) => books.ledger.last_payment_of(invoice_id),
            _ => return Err(Box::new(bad_request(None, "either transaction_id or invoice_id is required"))),
        };
        let Some(id) = payment.map(|payment| payment.id) else {
            return Err(Box::new(bad_request(None, "there is no such payment")));
        };
        let amount = self.amount.map(|amount| Amount::parse(&amount.to_string())).transpose();
        let amount = amount.map_err(|error| Box::new(bad_request(Some("amount"), &format!("amount {error}"))))?;
        Ok((id, amount))
    }
}

/// `POST /sandbox/refunds`: money goes back as by hand in the gateway's cabinet.
pub(crate) async fn refund(
    State(gateway): State<Arc<Gateway>>,
    order: Result<Json<PaymentOrder>, JsonRejection>,
) -> Response {
    let order = order.map_err(|rejection| Box::new(bad_request(None, &rejection.body_text())));
    match order.and_then(|Json(order)| order.read(&gateway)) {
        Err(response) => *response,
        Ok((id, amount)) => match gateway.refund_by_hand(id, amount) {
            Ok(refund) => (StatusCode::CREATED, Json(json!({ "id": refund, "original_id": id }))).into_response(),
            Err(message) => bad_request(None, &message),
        },
    }
}

/// `POST /sandbox/chargebacks`: the payer's bank takes a payment back.
pub(crate) async fn charge_back(
    State(gateway): State<Arc<Gateway>>,
    order: Result<Json<PaymentOrder>, JsonRejection>,
) -> Response {
    let order = order.map_err(|rejection| Box::new(bad_request(None, &rejection.body_text())));
    match order.and_then(|Json(order)| order.read(&gateway)) {
        Err(response) => *response,
        Ok((id, amount)) => match gateway.command_by_hand(&Command::ChargeBack { id, amount }) {
            Ok(_) => (StatusCode::CREATED, Json(json!({ "transaction_id": id }))).into_response(),
            Err(message) => bad_request(None, &message),
        },
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TokenOrder {
    token: String,
    reason_code: u16,
    /// Charges that still succeed.
    #[serde(default)]
    after: u32,
}

/// `POST /sandbox/tokens`: a token that will be declined.
pub(crate) async fn spoil_token(
    State(gateway): State<Arc<Gateway>>,
    order: Result<Json<TokenOrder>, JsonRejection>,
) -> Response {
    let order = match order {
        Ok(Json(order)) => order,
        Err(rejection) => return bad_request(None, &rejection.body_text()),
    };
    let reason = match Reason::try_from(order.reason_code) {
        Ok(reason) if reason != Reason::APPROVED => reason,
        _ => return bad_request(Some("reason_code"), "reason_code must be one of the handbook's"),
    };
    let rule = TokenRule { token: Token(order.token), after: order.after, reason };
    match gateway.command_by_hand(&Command::SpoilToken(rule)) {
        Ok(_) => StatusCode::CREATED.into_response(),
        Err(message) => bad_request(Some("token"), &message),
    }
}

/// `POST /sandbox/faults`
pub(crate) async fn add_fault(
    State(gateway): State<Arc<Gateway>>,
    fault: Result<Json<Fault>, JsonRejection>,
) -> Response {
    let fault = match fault {
        Ok(Json(fault)) => fault,
        Err(rejection) => return bad_request(None, &rejection.body_text()),
    };
    let added = fault
        .check(Endpoint::ALL.iter().map(|(path, _)| *path))
        .and_then(|()| gateway.faults.lock().add(fault.clone()));
    match added {
        Ok(()) => (StatusCode::CREATED, Json(fault)).into_response(),
        Err(error) => bad_request(None, &error),
    }
}

/// `GET /sandbox/faults`: those not yet used up.
pub(crate) async fn list_faults(State(gateway): State<Arc<Gateway>>) -> Json<Vec<Fault>> {
    Json(gateway.faults.lock().waiting().to_vec())
}

/// `DELETE /sandbox/faults`
pub(crate) async fn clear_faults(State(gateway): State<Arc<Gateway>>) -> StatusCode {
    gateway.faults.lock().clear();
    StatusCode::NO_CONTENT
}

pub(super) fn bad_request(field: Option<&str>, error: &str) -> Response {
    (StatusCode::BAD_REQUEST, Json(json!({ "error": error, "field": field }))).into_response()
}

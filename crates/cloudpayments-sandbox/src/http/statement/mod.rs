//! The statement: a page where a person sees every transaction, sends a notification again, gives money back as in the
//! gateway's cabinet, and plays the bank that takes a payment back. Made on the server; the browser asks nobody else.

mod page;

use std::sync::Arc;

use axum::{
    Form, Router,
    extract::{Path, Query, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{Html, IntoResponse, Redirect, Response},
    routing::{get, post},
};
use serde::Deserialize;

use super::Gateway;
use crate::{
    ledger::{command::Command, transaction::TransactionId},
    money::Amount,
    notification::outbox::NoticeId,
};

/// Nothing comes from elsewhere, nothing runs, and no other site frames the page or is posted to.
const POLICY: &str =
    "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";
/// Transactions on a page.
const PAGE: usize = 50;

pub(super) fn routes() -> Router<Arc<Gateway>> {
    Router::new()
        .route("/statement", get(list))
        .route("/statement/style.css", get(style))
        .route("/statement/{id}", get(one))
        .route("/statement/{id}/refund", post(refund))
        .route("/statement/{id}/chargeback", post(charge_back))
        .route("/statement/{id}/notifications/{notice}", post(send_again))
}

/// A page under [`POLICY`].
pub(super) fn html(body: String) -> Response {
    html_under(POLICY, body)
}

pub(super) fn html_under(policy: &'static str, body: String) -> Response {
    let headers = [
        (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(policy)),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
        (header::REFERRER_POLICY, HeaderValue::from_static("same-origin")),
        (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    ];
    (headers, Html(body)).into_response()
}

async fn style() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/css")], include_str!("../../pages/statement.css"))
}

#[derive(Default, Deserialize)]
struct Filter {
    /// A transaction id, an invoice or an account.
    #[serde(default)]
    q: String,
    #[serde(default)]
    page: usize,
}

async fn list(State(gateway): State<Arc<Gateway>>, Query(filter): Query<Filter>) -> Response {
    let now = gateway.clock.now();
    let wanted = filter.q.trim();
    let (rows, more) = {
        let books = gateway.books.lock();
        let matching = books.ledger.transactions().rev().filter(|transaction| {
            let purpose = &transaction.purpose;
            wanted.is_empty()
                || transaction.id.to_string() == wanted
                || purpose.invoice_id.as_deref() == Some(wanted)
                || purpose.account_id.as_deref() == Some(wanted)
        });
        let mut rows: Vec<_> = matching.skip(filter.page.saturating_mul(PAGE)).take(PAGE + 1).cloned().collect();
        let more = rows.len() > PAGE;
        rows.truncate(PAGE);
        (rows, more)
    };
    html(page::list(&rows, wanted, filter.page, more, now))
}

#[derive(Default, Deserialize)]
struct Said {
    #[serde(default)]
    said: String,
}

async fn one(State(gateway): State<Arc<Gateway>>, Path(id): Path<i64>, Query(said): Query<Said>) -> Response {
    let shown = {
        let books = gateway.books.lock();
        let ledger = &books.ledger;
        ledger.get(TransactionId(id)).map(|transaction| page::Details {
            transaction: Arc::clone(transaction),
            refunds: ledger.refunds_of(transaction.id),
            chargebacks: ledger
                .chargebacks()
                .iter()
                .filter(|it| it.transaction_id == transaction.id)
                .cloned()
                .collect(),
            deliveries: ledger.outbox().about(transaction.id),
        })
    };
    match shown {
        Some(details) => html(page::one(&details, &said.said, gateway.clock.now())),
        None => (StatusCode::NOT_FOUND, html(page::nothing())).into_response(),
    }
}

#[derive(Deserialize)]
struct HowMuch {
    /// Empty: all that is left.
    #[serde(default)]
    amount: String,
}

async fn refund(
    State(gateway): State<Arc<Gateway>>,
    Path(id): Path<i64>,
    headers: HeaderMap,
    Form(how_much): Form<HowMuch>,
) -> Response {
    act(id, &headers, || {
        let refund = gateway.refund_by_hand(TransactionId(id), amount(&how_much)?)?;
        Ok(format!("Refund {refund} was made."))
    })
}

async fn charge_back(
    State(gateway): State<Arc<Gateway>>,
    Path(id): Path<i64>,
    headers: HeaderMap,
    Form(how_much): Form<HowMuch>,
) -> Response {
    act(id, &headers, || {
        let command = Command::ChargeBack { id: TransactionId(id), amount: amount(&how_much)? };
        gateway.command_by_hand(&command)?;
        Ok("The bank took the payment back.".to_owned())
    })
}

async fn send_again(
    State(gateway): State<Arc<Gateway>>,
    Path((id, notice)): Path<(i64, u64)>,
    headers: HeaderMap,
) -> Response {
    if is_foreign(&headers) {
        return StatusCode::FORBIDDEN.into_response();
    }
    let said = match gateway.send_again(NoticeId(notice)).await {
        Some(outcome) => format!("Sent again: {}.", outcome.describe()),
        None => "It is being sent right now.".to_owned(),
    };
    back(id, &said)
}

fn act(id: i64, headers: &HeaderMap, action: impl FnOnce() -> Result<String, String>) -> Response {
    if is_foreign(headers) {
        return StatusCode::FORBIDDEN.into_response();
    }
    back(id, &action().unwrap_or_else(|problem| format!("{problem}.")))
}

fn amount(how_much: &HowMuch) -> Result<Option<Amount>, String> {
    match how_much.amount.trim() {
        "" => Ok(None),
        text => Amount::parse(text).map(Some).map_err(|error| format!("Amount {error}")),
    }
}

fn back(id: i64, said: &str) -> Response {
    let said: String = url::form_urlencoded::byte_serialize(said.as_bytes()).collect();
    Redirect::to(&format!("/statement/{id}?said={said}")).into_response()
}

/// A form on somebody else's page.
fn is_foreign(headers: &HeaderMap) -> bool {
    headers.get("sec-fetch-site").is_some_and(|site| !matches!(site.as_bytes(), b"same-origin" | b"none"))
}

//! The bank's 3-D Secure page. The shop's page posts `PaReq`, `MD` and `TermUrl` here; the payer confirms or rejects; the
//! answer, `MD` and `PaRes`, goes back to `TermUrl` by a form that posts itself.

use std::sync::Arc;

use axum::{
    Form, Json,
    extract::{Query, State},
    http::{HeaderMap, StatusCode, header},
    response::{Html, IntoResponse, Response},
};
use serde::{Deserialize, Serialize};
use url::Url;

use super::{Gateway, html};
use crate::ledger::{
    secret::PayerAnswer,
    transaction::{Status, TransactionId},
};

const ASK: &str = include_str!("../pages/acs.html");
const RETURN: &str = include_str!("../pages/acs_return.html");
const PROBLEM: &str = include_str!("../pages/acs_problem.html");

/// Longest `TermUrl`, in bytes.
const MAX_TERM_URL: usize = 2048;

/// The fields of the documentation; their names are case-sensitive.
#[derive(Deserialize)]
pub(crate) struct Challenge {
    #[serde(rename = "PaReq", default)]
    pa_req: String,
    #[serde(rename = "MD", default)]
    md: String,
    #[serde(rename = "TermUrl", default)]
    term_url: String,
}

#[derive(Deserialize)]
pub(crate) struct Answered {
    #[serde(flatten)]
    challenge: Challenge,
    answer: Button,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Button {
    Confirm,
    Reject,
}

/// What is posted to `TermUrl`; `/acs/answer` also gives it as JSON to programs that play the payer.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Return<'a> {
    #[serde(rename = "MD")]
    md: &'a str,
    pa_res: String,
    term_url: &'a str,
}

/// A challenge that belongs to a payment.
struct Checked {
    id: TransactionId,
    amount: String,
    card: String,
    pending: bool,
}

/// `POST /acs`
pub(crate) async fn show(State(gateway): State<Arc<Gateway>>, Form(challenge): Form<Challenge>) -> Response {
    ask(&gateway, &challenge)
}

/// `GET /acs?PaReq=…&MD=…&TermUrl=…`
pub(crate) async fn show_from_link(
    State(gateway): State<Arc<Gateway>>,
    Query(challenge): Query<Challenge>,
) -> Response {
    ask(&gateway, &challenge)
}

fn ask(gateway: &Gateway, challenge: &Challenge) -> Response {
    let payment = match gateway.check(challenge) {
        Ok(payment) if payment.pending => payment,
        Ok(_) => return problem("This payment has been answered already."),
        Err(what) => return problem(what),
    };
    page(
        ASK,
        &[
            ("amount", &payment.amount),
            ("card", &payment.card),
            ("PaReq", &challenge.pa_req),
            ("MD", &challenge.md),
            ("TermUrl", &challenge.term_url),
        ],
    )
}

/// `POST /acs/answer`: the fields of the challenge and `answer`, `confirm` or `reject`.
pub(crate) async fn answer(
    State(gateway): State<Arc<Gateway>>,
    headers: HeaderMap,
    Form(answered): Form<Answered>,
) -> Response {
    let challenge = &answered.challenge;
    let id = match gateway.check(challenge) {
        Ok(payment) => payment.id,
        Err(what) => return problem(what),
    };
    let payer = match answered.answer {
        Button::Confirm => PayerAnswer::Confirmed,
        Button::Reject => PayerAnswer::Rejected,
    };
    let pa_res = gateway.books.lock().ledger.secret().pa_res(id, payer);
    let wants_json =
        headers.get(header::ACCEPT).is_some_and(|accept| accept.as_bytes().starts_with(b"application/json"));
    if wants_json {
        return Json(Return { md: &challenge.md, pa_res, term_url: &challenge.term_url }).into_response();
    }
    page(RETURN, &[("TermUrl", &challenge.term_url), ("MD", &challenge.md), ("PaRes", &pa_res)])
}

impl Gateway {
    fn check(&self, challenge: &Challenge) -> Result<Checked, &'static str> {
        let url = Url::parse(&challenge.term_url).map_err(|_| "TermUrl must be an absolute URL.")?;
        if !matches!(url.scheme(), "http" | "https") || challenge.term_url.len() > MAX_TERM_URL {
            return Err("TermUrl must be an http or https URL.");
        }
        let id = TransactionId(challenge.md.trim().parse().map_err(|_| "MD must be the TransactionId.")?);
        let books = self.books.lock();
        let payment = books.ledger.get(id).ok_or("There is no such payment.")?;
        // A form that lost its pluses is still the same request.
        if !books.ledger.secret().is_pa_req(&challenge.pa_req.replace(' ', "+"), payment) {
            return Err("PaReq is not of this payment.");
        }
        Ok(Checked {
            id,
            amount: format!("{} {}", payment.purpose.amount, payment.purpose.currency.as_str()),
            card: payment.card.as_ref().map(crate::cards::CardMask::masked).unwrap_or_default(),
            pending: payment.status(self.clock.now()) == Status::AwaitingAuthentication,
        })
    }
}

fn page(template: &str, values: &[(&str, &str)]) -> Response {
    ([(header::CACHE_CONTROL, "no-store")], Html(html::fill(template, values))).into_response()
}

fn problem(what: &str) -> Response {
    (StatusCode::BAD_REQUEST, page(PROBLEM, &[("problem", what)])).into_response()
}

//! The page an order's link leads to, where the payer picks a test card; and the page of a printed receipt.

use std::{fmt::Write as _, sync::Arc};

use axum::{
    Form, Router,
    extract::{Path, State},
    http::StatusCode,
    response::{IntoResponse, Redirect, Response},
    routing::{get, post},
};
use serde::Deserialize;

use super::{Gateway, html, statement};
use crate::{
    cards::TEST_CARDS,
    cryptogram::{Packet, cryptogram},
    ledger::{
        Verdict,
        command::{CardCharge, Command, PaRes},
        order::{Order, OrderId, Status},
        receipt::ReceiptId,
        transaction::{Purpose, TransactionId},
    },
    money::TwoDigits,
};

const TO_THE_BANK: &str = include_str!("../pages/order_3ds.html");

/// The form may end at the shop's own address.
const POLICY: &str =
    "default-src 'none'; style-src 'self'; form-action 'self' http: https:; base-uri 'none'; frame-ancestors 'none'";

pub(super) fn routes() -> Router<Arc<Gateway>> {
    Router::new()
        .route("/d/{id}", get(show).post(pay))
        .route("/d/{id}/return", post(come_back))
        .route("/receipts/{id}", get(receipt))
}

fn page(title: &str, content: &str) -> Response {
    let body = format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n<title>{title}</title>\n\
         <link rel=\"stylesheet\" href=\"/statement/style.css\">\n<body><main>\n{content}</main>\n"
    );
    statement::html_under(POLICY, body)
}

fn nothing() -> Response {
    (StatusCode::NOT_FOUND, page("Nothing here", "<h1>There is nothing here</h1>\n")).into_response()
}

async fn show(State(gateway): State<Arc<Gateway>>, Path(id): Path<String>) -> Response {
    let order = gateway.books.lock().ledger.order(&OrderId(id)).cloned();
    order.map_or_else(nothing, |order| page("Order", &about(&order)))
}

fn about(order: &Order) -> String {
    let offer = &order.offer;
    let mut out = format!(
        "<h1>{}</h1>\n<dl>\n<dt>Amount<dd>{} {}\n<dt>Order<dd>{}\n<dt>Status<dd>{}\n</dl>\n",
        html::escaped(&offer.description),
        TwoDigits(offer.amount),
        offer.currency.as_str(),
        order.number,
        order.status.name(),
    );
    if order.status != Status::Created {
        return out;
    }
    if order.payment.is_some() {
        out.push_str("<p class=\"said\" role=\"status\">The last payment was not made. Try another card.</p>\n");
    }
    let _ = writeln!(
        out,
        "<form class=\"pay\" method=\"post\" action=\"/d/{}\"><h2>Pay with a test card</h2>\n<ul>",
        order.id.0
    );
    for (n, card) in TEST_CARDS.iter().enumerate() {
        let checked = if n == 0 { " checked" } else { "" };
        let three_ds = if card.three_ds { ", 3-D Secure" } else { "" };
        let _ = writeln!(
            out,
            "<li><label><input type=\"radio\" name=\"card\" value=\"{number}\"{checked}>{number} – {brand}{three_ds}</label>",
            number = card.number,
            brand = card.brand.name(),
        );
    }
    out.push_str("</ul>\n<button>Pay</button></form>\n");
    out
}

#[derive(Deserialize)]
struct Picked {
    card: String,
}

async fn pay(State(gateway): State<Arc<Gateway>>, Path(id): Path<String>, Form(picked): Form<Picked>) -> Response {
    let Some(order) = gateway.books.lock().ledger.order(&OrderId(id)).cloned() else { return nothing() };
    let packet = cryptogram(&picked.card, "12/49", "123").ok().and_then(|packet| Packet::parse(&packet).ok());
    let Some(packet) = packet else {
        return (StatusCode::BAD_REQUEST, page("Order", "<h1>That is not a card</h1>\n")).into_response();
    };
    let mut command = Command::ChargeCard(CardCharge {
        purpose: purpose(&order, gateway.two_stage),
        packet,
        holder_name: None,
        save_card: true,
        checked: None,
        order_id: Some(order.id.clone()),
    });
    if let Err(error) = gateway.ask_shop(&mut command, None, None).await {
        tracing::error!(%error, "cannot write the ledger file");
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    }
    match gateway.command_by_hand(&command) {
        Ok(Verdict::ThreeDs(payment)) => to_the_bank(&gateway, &order, payment),
        _ => ended(&gateway, &order),
    }
}

fn purpose(order: &Order, two_stage: bool) -> Purpose {
    let offer = &order.offer;
    Purpose {
        amount: offer.amount,
        currency: offer.currency,
        invoice_id: offer.invoice_id.clone().or_else(|| Some(order.number.to_string())),
        account_id: offer.account_id.clone(),
        email: offer.email.clone(),
        description: Some(offer.description.clone()),
        json_data: offer.json_data.clone(),
        ip_address: None,
        culture: offer.culture.clone(),
        two_stage: offer.two_stage || two_stage,
    }
}

fn to_the_bank(gateway: &Gateway, order: &Order, payment: TransactionId) -> Response {
    let pa_req = {
        let books = gateway.books.lock();
        books.ledger.get(payment).map(|payment| books.ledger.secret().pa_req(payment)).unwrap_or_default()
    };
    let term_url = format!("{}/d/{}/return", gateway.terminal.base_url, order.id.0);
    let page = html::fill(TO_THE_BANK, &[("PaReq", &pa_req), ("MD", &payment.to_string()), ("TermUrl", &term_url)]);
    statement::html_under(POLICY, page)
}

#[derive(Deserialize)]
struct Returned {
    #[serde(rename = "MD")]
    md: i64,
    #[serde(rename = "PaRes")]
    pa_res: String,
}

/// The bank's page sends the payer back with its answer.
async fn come_back(
    State(gateway): State<Arc<Gateway>>,
    Path(id): Path<String>,
    Form(returned): Form<Returned>,
) -> Response {
    let id = OrderId(id);
    let payment = TransactionId(returned.md);
    let order = {
        let books = gateway.books.lock();
        let own = books.ledger.get(payment).is_some_and(|payment| payment.order_id.as_ref() == Some(&id));
        books.ledger.order(&id).filter(|_| own).cloned()
    };
    let Some(order) = order else { return nothing() };
    // Answered already, or not: the page shows what became of it.
    let _ = gateway.command_by_hand(&Command::PostThreeDs { id: payment, pa_res: PaRes(returned.pa_res) });
    ended(&gateway, &order)
}

/// On to where the shop wants the payer, or back to the order.
fn ended(gateway: &Gateway, order: &Order) -> Response {
    let paid = gateway.books.lock().ledger.order(&order.id).is_some_and(|order| order.status == Status::Paid);
    let shop = if paid { &order.offer.success_url } else { &order.offer.fail_url };
    let own = format!("/d/{}", order.id.0);
    Redirect::to(shop.as_deref().unwrap_or(&own)).into_response()
}

async fn receipt(State(gateway): State<Arc<Gateway>>, Path(id): Path<String>) -> Response {
    let receipt = gateway.books.lock().ledger.receipt(&ReceiptId(id)).cloned();
    let Some(receipt) = receipt else { return nothing() };
    let mut out = format!("<h1>{} receipt {}</h1>\n<dl>\n", receipt.order.kind.name(), receipt.number);
    for field in receipt.fiscal(&gateway.terminal.base_url) {
        let _ = writeln!(out, "<dt>{}<dd>{}", field.name, html::escaped(&field.value));
    }
    out.push_str("</dl>\n<ul>\n");
    for item in receipt.order.content["Items"].as_array().into_iter().flatten() {
        let label = item["Label"].as_str().unwrap_or_default();
        let _ = writeln!(out, "<li>{}: {}", html::escaped(label), html::escaped(&item["Amount"].to_string()));
    }
    out.push_str("</ul>\n");
    page("Receipt", &out)
}

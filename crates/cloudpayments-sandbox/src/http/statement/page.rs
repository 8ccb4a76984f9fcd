//! How the statement looks.

use std::{fmt::Write as _, sync::Arc};

use chrono::{DateTime, Utc};

use crate::{
    cards::CardMask,
    http::html::escaped,
    ledger::{
        Chargeback,
        transaction::{Kind, Status, Transaction},
    },
    money::{Amount, TwoDigits},
    notification::outbox::{Delivery, State},
};

/// One transaction with everything that belongs to it.
pub(super) struct Details {
    pub(super) transaction: Arc<Transaction>,
    pub(super) refunds: Vec<Arc<Transaction>>,
    pub(super) chargebacks: Vec<Chargeback>,
    pub(super) deliveries: Vec<Delivery>,
}

fn frame(title: &str, content: &str) -> String {
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n<title>{title} – CloudPayments sandbox</title>\n\
         <link rel=\"stylesheet\" href=\"/statement/style.css\">\n<body>\n\
         <header><a href=\"/statement\">Statement</a> <a href=\"/\">Cards and cryptograms</a>\
         <span>No real card works here and no real money moves</span></header>\n<main>\n{content}</main>\n",
        title = escaped(title),
    )
}

pub(super) fn nothing() -> String {
    frame(
        "Nothing here",
        "<h1>There is no such transaction</h1>\n<p><a href=\"/statement\">Back to the statement</a></p>\n",
    )
}

pub(super) fn list(rows: &[Arc<Transaction>], wanted: &str, page: usize, more: bool, now: DateTime<Utc>) -> String {
    let mut out = format!(
        "<h1>Statement</h1>\n<form class=\"find\" action=\"/statement\" role=\"search\">\
         <label>Transaction, invoice or account <input name=\"q\" value=\"{}\"></label> <button>Find</button></form>\n",
        escaped(wanted)
    );
    if rows.is_empty() {
        out.push_str("<p class=\"empty\">No transactions.</p>\n");
    } else {
        out.push_str(
            "<div class=\"wide\"><table>\n<thead><tr><th scope=\"col\">Transaction<th scope=\"col\">Status\
             <th scope=\"col\" class=\"amount\">Amount<th scope=\"col\" class=\"amount\">Refunded\
             <th scope=\"col\">Type<th scope=\"col\">Time (UTC)<th scope=\"col\">Card<th scope=\"col\">Account\
             <th scope=\"col\">Invoice</thead>\n<tbody>\n",
        );
        for transaction in rows {
            row(&mut out, transaction, now);
        }
        out.push_str("</tbody></table></div>\n");
    }
    let link = |page: usize, label: &str| {
        let q: String = url::form_urlencoded::byte_serialize(wanted.as_bytes()).collect();
        format!("<a href=\"/statement?q={q}&amp;page={page}\">{label}</a>")
    };
    let newer = page.checked_sub(1).map(|page| link(page, "Newer")).unwrap_or_default();
    let older = if more { link(page.saturating_add(1), "Older") } else { String::new() };
    let _ = writeln!(out, "<nav aria-label=\"Pages\">{newer} {older}</nav>");
    frame("Statement", &out)
}

fn row(out: &mut String, it: &Transaction, now: DateTime<Utc>) {
    let purpose = &it.purpose;
    let refunded = if it.refunded == Amount::ZERO { String::new() } else { money(it.refunded) };
    let _ = writeln!(
        out,
        "<tr><td><a href=\"/statement/{id}\">{id}</a><td>{status}<td class=\"amount\">{amount} {currency}\
         <td class=\"amount\">{refunded}<td>{kind}<td>{time}<td class=\"digits\">{card}<td class=\"id\">{account}\
         <td class=\"id\">{invoice}",
        time = it.created_at.format("%Y-%m-%d %H:%M:%S"),
        id = it.id,
        kind = it.kind.name(),
        status = status(it, now),
        amount = money(purpose.amount),
        currency = purpose.currency.as_str(),
        card = it.card.as_ref().map_or_else(String::new, CardMask::masked),
        account = escaped(purpose.account_id.as_deref().unwrap_or_default()),
        invoice = escaped(purpose.invoice_id.as_deref().unwrap_or_default()),
    );
}

fn status(it: &Transaction, now: DateTime<Utc>) -> String {
    let status = it.status(now);
    let tone = match status {
        Status::Completed => "good",
        Status::Declined => "bad",
        _ => "soft",
    };
    let reason = it.reason.filter(|reason| reason.code() != 0);
    let reason = reason.map(|reason| format!(" {} {}", reason.code(), reason.name())).unwrap_or_default();
    format!("<span class=\"{tone}\">{}</span>{reason}", status.name())
}

fn money(amount: Amount) -> String {
    TwoDigits(amount).to_string()
}

pub(super) fn one(details: &Details, said: &str, now: DateTime<Utc>) -> String {
    let it = &details.transaction;
    let mut out = format!("<h1>{} {}</h1>\n", it.kind.name(), it.id);
    if !said.is_empty() {
        let _ = writeln!(out, "<p class=\"said\" role=\"status\">{}</p>", escaped(said));
    }
    facts(&mut out, it, now);
    if it.kind == Kind::Payment && it.status(now) == Status::Completed {
        actions(&mut out, it);
    }
    belongings(&mut out, details, now);
    notifications(&mut out, details, now);
    frame(&format!("{} {}", it.kind.name(), it.id), &out)
}

fn facts(out: &mut String, it: &Transaction, now: DateTime<Utc>) {
    let purpose = &it.purpose;
    let text = |value: &Option<String>| escaped(value.as_deref().unwrap_or_default());
    let when = |moment: Option<DateTime<Utc>>| {
        moment.map(|moment| moment.format("%Y-%m-%d %H:%M:%S UTC").to_string()).unwrap_or_default()
    };
    out.push_str("<dl>\n");
    let original = it.original_id.map(|id| format!("<a href=\"/statement/{id}\">{id}</a>")).unwrap_or_default();
    for (name, value) in [
        ("Status", status(it, now)),
        ("Amount", format!("{} {}", money(purpose.amount), purpose.currency.as_str())),
        ("Card", it.card.as_ref().map_or_else(String::new, CardMask::masked)),
        ("Account", text(&purpose.account_id)),
        ("Invoice", text(&purpose.invoice_id)),
        ("Description", text(&purpose.description)),
        ("Data", text(&purpose.json_data)),
        ("Subscription", text(&it.subscription_id)),
        ("Refund of", original),
        ("Created", when(Some(it.created_at))),
        ("Authorized", when(it.authorized_at)),
        ("Confirmed", when(it.confirmed_at)),
    ] {
        if !value.is_empty() {
            let _ = writeln!(out, "<dt>{name}<dd>{value}");
        }
    }
    out.push_str("</dl>\n");
}

fn actions(out: &mut String, it: &Transaction) {
    let left = money(it.refundable());
    out.push_str("<section class=\"actions\">\n");
    if it.refundable() != Amount::ZERO {
        let _ = writeln!(
            out,
            "<form method=\"post\" action=\"/statement/{id}/refund\"><h2>Refund from the cabinet</h2>\
             <p>Money goes back and the API is told nothing; a notification is sent.</p>\
             <label>Amount <input name=\"amount\" inputmode=\"decimal\" value=\"{left}\"></label>\
             <button>Refund</button></form>",
            id = it.id
        );
    }
    let _ = writeln!(
        out,
        "<form method=\"post\" action=\"/statement/{id}/chargeback\"><h2>Chargeback</h2>\
         <p>The payer's bank takes the payment back. It is seen in /chargebacks/list.</p>\
         <label>Amount <input name=\"amount\" inputmode=\"decimal\" value=\"{all}\"></label>\
         <button class=\"danger\">Charge back</button></form>\n</section>",
        id = it.id,
        all = money(it.purpose.amount),
    );
}

fn belongings(out: &mut String, details: &Details, now: DateTime<Utc>) {
    if details.refunds.is_empty() && details.chargebacks.is_empty() {
        return;
    }
    out.push_str("<h2>Refunds and chargebacks</h2>\n<ul>\n");
    for refund in &details.refunds {
        let _ = writeln!(
            out,
            "<li>Refund <a href=\"/statement/{id}\">{id}</a>: {amount}, {status}",
            id = refund.id,
            amount = money(refund.purpose.amount),
            status = status(refund, now),
        );
    }
    for chargeback in &details.chargebacks {
        let at = chargeback.at.format("%Y-%m-%d %H:%M:%S");
        let _ = writeln!(out, "<li>Chargeback {}: {}, {at} UTC", chargeback.id, money(chargeback.amount));
    }
    out.push_str("</ul>\n");
}

fn notifications(out: &mut String, details: &Details, now: DateTime<Utc>) {
    out.push_str("<h2>Notifications</h2>\n");
    if details.deliveries.is_empty() {
        out.push_str("<p class=\"empty\">None: no address is set for them.</p>\n");
        return;
    }
    out.push_str(
        "<div class=\"wide\"><table>\n<thead><tr><th scope=\"col\">Kind<th scope=\"col\">State\
         <th scope=\"col\" class=\"amount\">Tries<th scope=\"col\">Last reply<th scope=\"col\">\
         <span class=\"hidden\">Action</span></thead>\n<tbody>\n",
    );
    for delivery in &details.deliveries {
        let state = match delivery.state {
            State::Waiting(at) => {
                let wait = (at - now).num_seconds().max(0);
                format!("again in {} min {} s", wait / 60, wait % 60)
            }
            state => state.name().replace('_', " "),
        };
        let last = delivery.last.as_ref().map(|tried| tried.outcome.describe()).unwrap_or_default();
        let _ = writeln!(
            out,
            "<tr><td>{kind}<td>{state}<td class=\"amount\">{tries}<td>{last}<td>\
             <form method=\"post\" action=\"/statement/{id}/notifications/{notice}\">\
             <button aria-label=\"Send again the {kind} notification\">Send again</button></form>",
            kind = delivery.notice.kind.name(),
            tries = delivery.tries,
            last = escaped(&last),
            id = details.transaction.id,
            notice = delivery.notice.id,
        );
    }
    out.push_str("</tbody></table></div>\n");
}

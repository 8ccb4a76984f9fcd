//! What happened, as one line of time: events, and the calls to the gateway between them.

use billing::event::{Event, EventKind};
use billing::explain::{Explanation, Next, When as Due, Whom};
use billing::store::gateway_calls::GatewayCall;
use billing::store::notifications::Kept;
use billing::store::staff::AuditEntry;
use billing::{Currency, Kopecks, PaymentId};
use chrono::{DateTime, NaiveDate, Utc};
use serde_json::Value;

use crate::lang::Lang;
use crate::page::Shell;
use crate::show::{self, Pill, When};
use crate::words;

/// Something that happened, or that is to come.
pub(crate) struct Line {
    pub(crate) order: DateTime<Utc>,
    pub(crate) at: When,
    pub(crate) lane: &'static str,
    pub(crate) what: String,
    pub(crate) pill: Option<Pill>,
    /// A page that tells more.
    pub(crate) link: Option<(String, String)>,
    /// What the customer was told, in their words.
    pub(crate) told: String,
    /// What the bank said, in its own words.
    pub(crate) bank: String,
    pub(crate) facts: Vec<(&'static str, String)>,
    /// The task that did it, with its page in the dashboard of the queue, where there is one.
    pub(crate) task: Option<(Option<String>, String)>,
    /// Bodies of a request and its response, as far as they may be kept.
    pub(crate) bodies: Vec<(&'static str, String)>,
}

/// Why something is as it is, and what comes next.
pub(crate) struct Why {
    pub(crate) why: String,
    pub(crate) next: String,
    pub(crate) at: Option<(When, String)>,
    /// Nothing happens by itself.
    pub(crate) waits_for: Option<&'static str>,
}

impl Why {
    pub(crate) fn new(explanation: &Explanation, shell: &Shell) -> Self {
        let lang = shell.lang();
        let (next, at, waits_for) = match &explanation.next {
            Next::Step { at: Due::At(at), what } => {
                (lang.text(what), Some((shell.exactly(at), shell.distance(at))), None)
            }
            Next::Step { at: Due::Soon, what } => (lang.text(what), None, None),
            Next::WaitsFor { whom: Whom::Customer, what } => {
                (lang.text(what), None, Some(lang.of("Waits for the customer", "Ждёт абонента")))
            }
            Next::WaitsFor { whom: Whom::Staff, what } => {
                (lang.text(what), None, Some(lang.of("Waits for us", "Ждёт нас")))
            }
            Next::Nothing => (String::new(), None, None),
        };
        Self { why: lang.text(&explanation.why), next, at, waits_for }
    }
}

/// An event; of which payment it is is said where the page is about more than one.
pub(crate) fn event(event: &Event, names_payment: bool, shell: &Shell) -> Line {
    let lang = shell.lang();
    let link = match (event.payment_id.filter(|_| names_payment), event.bill_id, event.kind) {
        (_, Some(bill), EventKind::BillMoved) => Some((format!("/bills/{bill}"), show::short(bill))),
        (Some(payment), ..) => Some((format!("/payments/{payment}"), show::short(payment))),
        _ => None,
    };
    let mut facts = detail(&event.detail, lang);
    if let Some(trace) = &event.trace_id {
        facts.push((lang.of("Trace", "Трасса"), trace.clone()));
    }
    Line {
        order: event.at,
        at: shell.exactly(&event.at),
        lane: words::source(event.source, lang),
        what: words::event(event.kind, lang).to_owned(),
        pill: state(event, lang),
        link,
        told: told(&event.detail, lang),
        bank: String::new(),
        facts,
        task: event.task_id.clone().map(|id| (shell.task_page(&id), id)),
        bodies: Vec::new(),
    }
}

/// The state that something came to.
fn state(event: &Event, lang: Lang) -> Option<Pill> {
    let to = event.to_state.as_deref()?;
    match event.kind {
        EventKind::PaymentMoved => Some(words::payment(to.parse().ok()?, lang)),
        EventKind::BillMoved => Some(words::bill(to.parse().ok()?, lang)),
        EventKind::RefundMoved => Some(words::refund(to.parse().ok()?, lang)),
        EventKind::AccountMoved => Some(words::account(to.parse().ok()?, lang)),
        _ => None,
    }
}

fn told(detail: &Value, lang: Lang) -> String {
    detail.get(lang.of("message_en", "message_ru")).and_then(Value::as_str).unwrap_or_default().to_owned()
}

/// Of the values beside an event those that people read.
fn detail(detail: &Value, lang: Lang) -> Vec<(&'static str, String)> {
    let text = |name: &str| detail.get(name).and_then(Value::as_str);
    let day = |name: &str| {
        let day: NaiveDate = text(name)?.parse().ok()?;
        Some(day.format(lang.of("%-d %b %Y", "%d.%m.%Y")).to_string())
    };
    let currency = text("currency").and_then(|code| code.parse().ok()).unwrap_or(Currency::RUB);
    let amount = detail.get("amount").and_then(Value::as_i64);
    let code = detail.get("reason_code").and_then(Value::as_i64);
    let facts = [
        (lang.of("Amount", "Сумма"), amount.map(|amount| show::money(Kopecks::new(amount), currency, lang))),
        (lang.of("Reason code", "Код причины"), code.map(|code| code.to_string())),
        (lang.of("Paid until", "Оплачено до"), day("expires_on")),
    ];
    facts.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
}

/// A request to the gateway.
pub(crate) fn call(call: &GatewayCall, of: Option<PaymentId>, shell: &Shell) -> Line {
    let lang = shell.lang();
    let took = call.ended_at.map(|ended| show::took(ended - call.started_at, lang));
    let facts = [
        (lang.of("Took", "Длилось"), took),
        ("X-Request-ID", call.request_id.clone()),
        ("HTTP", call.http_status.map(|status| status.to_string())),
        (lang.of("Worker", "Обработчик"), call.worker.clone()),
        (lang.of("Attempt", "Попытка"), (call.attempt > 0).then(|| call.attempt.to_string())),
    ];
    let bodies =
        [(lang.of("Request", "Запрос"), call.request.clone()), (lang.of("Response", "Ответ"), call.response.clone())];
    Line {
        order: call.started_at,
        at: shell.exactly(&call.started_at),
        lane: lang.of("Gateway", "Шлюз"),
        what: format!("POST {}", call.path),
        pill: Some(words::call(call.outcome, lang)),
        link: of.map(|payment| (format!("/payments/{payment}"), show::short(payment))),
        told: String::new(),
        bank: String::new(),
        facts: facts.into_iter().filter_map(|(name, value)| Some((name, value?))).collect(),
        task: call.task_id.clone().map(|id| (shell.task_page(&id), id)),
        bodies: bodies.into_iter().filter_map(|(name, body)| Some((name, body?))).collect(),
    }
}

/// What somebody of the staff did, and why.
pub(crate) fn done(entry: &AuditEntry, shell: &Shell) -> Line {
    let lang = shell.lang();
    let fact = |name, value: Option<&String>| Some((name, value?.clone()));
    Line {
        order: entry.at,
        at: shell.exactly(&entry.at),
        lane: lang.of("Staff", "Сотрудник"),
        what: format!("{}: {}", entry.name, words::audited(&entry.action, lang)),
        pill: None,
        link: None,
        told: String::new(),
        bank: String::new(),
        facts: fact(lang.of("Why", "Причина"), entry.reason.as_ref()).into_iter().collect(),
        task: None,
        bodies: Vec::new(),
    }
}

/// What the gateway has told by itself; of which payment it is is said where the page is about more than one.
pub(crate) fn notice(kept: &Kept, names_payment: bool, shell: &Shell) -> Line {
    let lang = shell.lang();
    let payment = kept.payment_id.filter(|_| names_payment);
    let facts = [
        (lang.of("Transaction", "Транзакция"), kept.notice.transaction_id.map(|id| id.to_string())),
        (lang.of("Status at the gateway", "Статус у шлюза"), kept.notice.status.clone()),
        (lang.of("Reason code", "Код причины"), kept.notice.reason_code.map(|code| code.to_string())),
    ];
    Line {
        order: kept.received_at,
        at: shell.exactly(&kept.received_at),
        lane: lang.of("Gateway", "Шлюз"),
        what: format!("{}: {}", lang.of("Notification", "Уведомление"), words::notice(kept.kind, lang)),
        pill: Some(words::notice_effect(kept.effect, lang)),
        link: payment.map(|payment| (format!("/payments/{payment}"), show::short(payment))),
        told: String::new(),
        bank: kept.notice.provider_message.clone().unwrap_or_default(),
        facts: facts.into_iter().filter_map(|(name, value)| Some((name, value?))).collect(),
        task: None,
        bodies: Vec::new(),
    }
}

//! What may be done once more without doing anything twice: a notification has its effect again, the register is asked for
//! receipts that are missing.

use askama::Template;
use axum::Extension;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Redirect};
use billing::PaymentId;
use billing::staff::Right;
use billing::store::browse;
use billing::store::notifications::{NoticeKey, name};
use billing::store::staff::{
    Errand, ErrandDone, MAX_REASON, notification_again, receipts_again, see_missing, see_notification,
};
use billing::tasks::{SendReceipt, SettleNotifications};
use celeriac::SendOptions;
use uuid::Uuid;

use super::{Answer, Shared};
use crate::Core;
use crate::lang::Lang;
use crate::page::{Problem, Section, Shell, Status, Viewer, html};
use crate::params::{Asked, Params};
use crate::show::{self, When};
use crate::words;

/// The shortest reason that says anything, in characters.
const MIN_REASON: usize = 3;

#[derive(Template)]
#[template(path = "notification.html")]
struct Notification {
    shell: Shell,
    href: String,
    title: &'static str,
    effect: Status,
    received: When,
    payment: Option<(String, String, Status)>,
    facts: Vec<(&'static str, String)>,
    id: Uuid,
    digest: String,
    reason: String,
    may_act: bool,
    is_done: bool,
    wrong: String,
}

/// Where the page of a notification is.
pub(super) fn notification_page(key: &NoticeKey) -> String {
    let name: String = url::form_urlencoded::byte_serialize(name(key).as_bytes()).collect();
    format!("/notifications/{}", name.replace('+', "%20"))
}

/// A form that is shown again: the reason as it was typed, and what is wrong.
#[derive(Default)]
struct Again {
    reason: String,
    wrong: Option<(StatusCode, &'static str)>,
    is_done: bool,
}

pub(crate) async fn notification(
    State(core): Shared,
    viewer: Viewer,
    Path(id): Path<String>,
    Asked(query): Asked,
) -> Answer {
    let key = NoticeKey::named(&id).ok_or(Problem::NotFound)?;
    show_notification(&core, &viewer, &key, Again { is_done: !query.get("done").is_empty(), ..Again::default() }).await
}

async fn show_notification(core: &Core, viewer: &Viewer, key: &NoticeKey, again: Again) -> Answer {
    let seen = see_notification(&mut *core.services.db.conn().await?, key).await?.ok_or(Problem::NotFound)?;
    let shell = Shell::new(core, Section::Notifications, viewer);
    let (lang, notice) = (shell.lang(), &seen.kept.notice);
    let currency = notice.currency.as_deref().and_then(|code| code.parse().ok());
    let amount = notice.amount.zip(currency).map(|(amount, of)| show::money(billing::Kopecks::new(amount), of, lang));
    let facts = [
        (lang.of("Amount", "Сумма"), amount),
        (lang.of("Transaction", "Транзакция"), notice.transaction_id.map(|id| id.to_string())),
        (lang.of("Invoice no.", "Номер"), notice.invoice_id.clone()),
        (lang.of("Account", "Абонент"), notice.account_id.clone()),
        (lang.of("Status at the gateway", "Статус у шлюза"), notice.status.clone()),
        (lang.of("Reason code", "Код причины"), notice.reason_code.map(|code| code.to_string())),
    ];
    let (status, wrong) = again.wrong.unwrap_or((StatusCode::OK, ""));
    let payment = seen.kept.payment_id.zip(seen.payment);
    let page = Notification {
        href: notification_page(key),
        title: words::notice(key.kind, lang),
        effect: words::notice_effect(seen.kept.effect, lang),
        received: shell.exactly(&seen.kept.received_at),
        payment: payment.map(|(id, state)| (id.to_string(), show::short(id), words::payment(state, lang))),
        facts: facts.into_iter().filter_map(|(name, value)| Some((name, value?))).collect(),
        id: Uuid::now_v7(),
        digest: seen.digest,
        reason: again.reason,
        may_act: viewer.visitor()?.has(Right::MendSubscriptions),
        is_done: again.is_done,
        wrong: wrong.to_owned(),
        shell,
    };
    Ok((status, html(&page)).into_response())
}

fn errand(viewer: &Viewer, form: &Params) -> Result<Errand, Problem> {
    let visitor = viewer.visitor()?;
    Ok(Errand {
        id: form.get("id").parse().map_err(|_| Problem::Stale)?,
        digest: form.get("digest").to_owned(),
        reason: form.get("reason").chars().filter(|c| !c.is_control() || *c == '\n').collect(),
        staff_id: visitor.staff.id,
        by: visitor.by(&viewer.address),
    })
}

fn says_nothing(errand: &Errand) -> bool {
    !(MIN_REASON..=MAX_REASON).contains(&errand.reason.trim().chars().count())
}

const fn no_reason(lang: Lang) -> (StatusCode, &'static str) {
    let why = lang.of(
        "Say why, in 3 to 500 characters; it stands in the log.",
        "Укажите причину, от 3 до 500 символов; она остаётся в журнале.",
    );
    (StatusCode::UNPROCESSABLE_ENTITY, why)
}

const fn changed(lang: Lang) -> (StatusCode, &'static str) {
    let why = lang.of(
        "Something has changed since you looked. Nothing was done; this is how it is now.",
        "С тех пор, как вы смотрели, что-то изменилось. Ничего не сделано; вот как обстоит дело теперь.",
    );
    (StatusCode::CONFLICT, why)
}

pub(crate) async fn take_again(
    State(core): Shared,
    viewer: Viewer,
    Path(id): Path<String>,
    Extension(form): Extension<Params>,
) -> Answer {
    let key = NoticeKey::named(&id).ok_or(Problem::NotFound)?;
    let (db, errand) = (&core.services.db, errand(&viewer, &form)?);
    let reason = errand.reason.clone();
    if says_nothing(&errand) {
        let again = Again { reason, wrong: Some(no_reason(viewer.lang)), is_done: false };
        return show_notification(&core, &viewer, &key, again).await;
    }
    let done = notification_again(&mut *db.conn().await?, &key, &errand, db.now()).await?;
    match done.ok_or(Problem::NotFound)? {
        ErrandDone::Changed => {
            let again = Again { reason, wrong: Some(changed(viewer.lang)), is_done: false };
            show_notification(&core, &viewer, &key, again).await
        }
        ErrandDone::Now(()) | ErrandDone::Before => {
            // One message for one form, however often it is sent.
            let options = SendOptions::new().task_id(errand.id.to_string());
            if let Err(error) = core.services.app.send_with(SettleNotifications {}, options).await {
                tracing::warn!(notification = %key, %error, "not told to the workers; the timetable will");
            }
            Ok(Redirect::to(&format!("{}?done=yes", notification_page(&key))).into_response())
        }
    }
}

/// A receipt of a payment.
struct Receipt {
    kind: &'static str,
    amount: String,
    due: Option<When>,
}

#[derive(Template)]
#[template(path = "receipts_again.html")]
struct Receipts {
    shell: Shell,
    payment: PaymentId,
    invoice_no: i64,
    /// What was sold.
    what: String,
    missing: Vec<Receipt>,
    id: Uuid,
    digest: String,
    reason: String,
    may_act: bool,
    is_done: bool,
    wrong: String,
}

pub(crate) async fn receipts(
    State(core): Shared,
    viewer: Viewer,
    Path(id): Path<String>,
    Asked(query): Asked,
) -> Answer {
    let id: PaymentId = id.parse().map_err(|_| Problem::NotFound)?;
    show_receipts(&core, &viewer, id, Again { is_done: !query.get("done").is_empty(), ..Again::default() }).await
}

async fn show_receipts(core: &Core, viewer: &Viewer, id: PaymentId, again: Again) -> Answer {
    let shell = Shell::new(core, Section::Receipts, viewer);
    let (found, missing, digest) = {
        let mut conn = core.services.db.conn().await?;
        let found = browse::payment(&mut conn, id).await?.ok_or(Problem::NotFound)?;
        let (missing, digest) = see_missing(&mut conn, id, shell.now).await?;
        (found, missing, digest)
    };
    let lang = shell.lang();
    let receipt = |known: &billing::receipt::Known| Receipt {
        kind: words::receipt(known.kind, lang),
        amount: show::money(known.amount, found.view.currency, lang),
        due: known.due_at.map(|at| shell.when(&at)),
    };
    let (status, wrong) = again.wrong.unwrap_or((StatusCode::OK, ""));
    let page = Receipts {
        payment: id,
        invoice_no: found.view.invoice_no,
        what: found.bill.description.clone(),
        missing: missing.iter().map(receipt).collect(),
        id: Uuid::now_v7(),
        digest,
        reason: again.reason,
        may_act: viewer.visitor()?.has(Right::MendSubscriptions),
        is_done: again.is_done,
        wrong: wrong.to_owned(),
        shell,
    };
    Ok((status, html(&page)).into_response())
}

pub(crate) async fn send_receipts(
    State(core): Shared,
    viewer: Viewer,
    Path(id): Path<String>,
    Extension(form): Extension<Params>,
) -> Answer {
    let id: PaymentId = id.parse().map_err(|_| Problem::NotFound)?;
    let (db, errand) = (&core.services.db, errand(&viewer, &form)?);
    let reason = errand.reason.clone();
    if says_nothing(&errand) {
        let again = Again { reason, wrong: Some(no_reason(viewer.lang)), is_done: false };
        return show_receipts(&core, &viewer, id, again).await;
    }
    let done = receipts_again(&mut *db.conn().await?, id, &errand, db.now()).await?;
    let ordered = match done {
        ErrandDone::Changed => {
            let again = Again { reason, wrong: Some(changed(viewer.lang)), is_done: false };
            return show_receipts(&core, &viewer, id, again).await;
        }
        ErrandDone::Now(ordered) => ordered,
        ErrandDone::Before => Vec::new(),
    };
    for receipt_id in ordered {
        let options = SendOptions::new().task_id(SendReceipt::task_id(receipt_id));
        if let Err(error) = core.services.app.send_with(SendReceipt { receipt_id }, options).await {
            tracing::warn!(%receipt_id, %error, "not told to the workers; the timetable will");
        }
    }
    Ok(Redirect::to(&format!("/payments/{id}/receipts?done=yes")).into_response())
}

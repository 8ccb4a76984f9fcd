//! Money that goes back: what would happen, then exactly that; the list; the second person.

use askama::Template;
use axum::Extension;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Redirect, Response};
use billing::models::RefundRow;
use billing::refund::AccessEffect;
use billing::staff::Right;
use billing::store::refunds::{self, Ask, RefundError};
use billing::store::staff::{RefundAsked, RefundPreview, approve_refund, ask_refund, preview_refund, withdraw_refund};
use billing::tasks::RefundPayment;
use billing::{Kopecks, PaymentId, RefundId, trail};
use celeriac::SendOptions;
use uuid::Uuid;

use super::{Answer, Shared};
use crate::Core;
use crate::page::{Choice, Problem, Section, Shell, Status, Viewer, html};
use crate::params::{Asked, Params};
use crate::show::{self, When};
use crate::words;

/// The shortest reason that says anything, in characters.
const MIN_REASON: usize = 3;

#[derive(Template)]
#[template(path = "refund.html")]
struct Page {
    shell: Shell,
    payment: PaymentId,
    short: String,
    id: Uuid,
    digest: String,
    amount: String,
    typed: String,
    before: String,
    after: String,
    effect: AccessEffect,
    effects: Vec<Choice>,
    effect_says: &'static str,
    needs_second_person: bool,
    reason: String,
    wrong: String,
}

#[derive(Template)]
#[template(path = "refund_refused.html")]
struct Refused {
    shell: Shell,
    payment: PaymentId,
    short: String,
    typed: String,
    why: String,
}

fn ask(core: &Core, viewer: &Viewer, payment_id: PaymentId, form: &Params, key: Uuid) -> Result<Ask, Problem> {
    let visitor = viewer.visitor()?;
    let reason: String = form.get("reason").chars().filter(|c| !c.is_control() || *c == '\n').collect();
    Ok(Ask {
        payment_id,
        amount: show::parsed_amount(form.get("amount")).filter(|_| !form.get("amount").is_empty()),
        effect: form.get("effect").parse().ok(),
        // What is only looked at needs no reason yet.
        reason: if reason.is_empty() { "-".to_owned() } else { reason },
        who: visitor.staff.name.clone(),
        role: visitor.staff.role.as_str().to_owned(),
        client: "admin panel".to_owned(),
        idempotency_key: key.to_string(),
        now: core.services.db.now(),
    })
}

/// An amount was typed that is none.
fn is_unreadable(form: &Params) -> bool {
    !form.get("amount").is_empty() && show::parsed_amount(form.get("amount")).is_none()
}

pub(crate) async fn preview(
    State(core): Shared,
    viewer: Viewer,
    Path(id): Path<String>,
    Asked(query): Asked,
) -> Answer {
    let payment: PaymentId = id.parse().map_err(|_| Problem::NotFound)?;
    let form_id = Uuid::now_v7();
    let shell = Shell::new(&core, Section::Refunds, &viewer);
    if is_unreadable(&query) {
        return Ok(unreadable(shell, payment, &query));
    }
    let ask = ask(&core, &viewer, payment, &query, form_id)?;
    let shown = preview_refund(&mut *core.services.db.conn().await?, &ask).await;
    match shown {
        Ok(shown) => Ok(html(&page(shell, form_id, &shown, "", String::new()))),
        Err(error) => refused(shell, payment, &query, error),
    }
}

pub(crate) async fn confirm(
    State(core): Shared,
    viewer: Viewer,
    Path(id): Path<String>,
    Extension(form): Extension<Params>,
) -> Answer {
    let payment: PaymentId = id.parse().map_err(|_| Problem::NotFound)?;
    let form_id: Uuid = form.get("id").parse().map_err(|_| Problem::Stale)?;
    let lang = viewer.lang;
    let shell = Shell::new(&core, Section::Refunds, &viewer);
    if is_unreadable(&form) {
        return Ok(unreadable(shell, payment, &form));
    }
    let ask = ask(&core, &viewer, payment, &form, form_id)?;
    let mut conn = core.services.db.conn().await?;
    if !(MIN_REASON..=Ask::MAX_REASON).contains(&ask.reason.chars().count()) {
        let wrong = lang.of(
            "Say why, in 3 to 500 characters; it stands in the log.",
            "Укажите причину, от 3 до 500 символов; она остаётся в журнале.",
        );
        return match preview_refund(&mut conn, &ask).await {
            Ok(shown) => {
                let page = page(shell, form_id, &shown, wrong, form.get("reason").to_owned());
                Ok((StatusCode::UNPROCESSABLE_ENTITY, html(&page)).into_response())
            }
            Err(error) => refused(shell, payment, &form, error),
        };
    }
    let by = viewer.visitor()?.by(&viewer.address);
    let asked = ask_refund(&mut conn, &ask, form.get("digest"), &by).await;
    drop(conn);
    match asked {
        Ok(RefundAsked::Now(row) | RefundAsked::Before(row)) => {
            wake(&core, &row).await;
            Ok(Redirect::to(&format!("/refunds/{}", row.id)).into_response())
        }
        Ok(RefundAsked::Changed(shown)) => {
            let wrong = lang.of(
                "Something has changed since you looked. Nothing was done; this is what would happen now.",
                "С тех пор, как вы смотрели, что-то изменилось. Ничего не сделано; вот что произойдёт теперь.",
            );
            let page = page(shell, Uuid::now_v7(), &shown, wrong, ask.reason);
            Ok((StatusCode::CONFLICT, html(&page)).into_response())
        }
        Err(error) => refused(shell, payment, &form, error),
    }
}

/// Tells the workers; should that fail, the timetable finds it.
async fn wake(core: &Core, row: &RefundRow) {
    if trail::take_news() {
        core.services.bell.ring();
    }
    if row.waits_for_approval() {
        return;
    }
    let task_id = RefundPayment::task_id(row.id);
    let options = SendOptions::new().task_id(task_id.as_str());
    if let Err(error) = core.services.app.send_with(RefundPayment { refund_id: row.id }, options).await {
        tracing::warn!(refund_id = %row.id, %error, "not told to the workers; the timetable will");
    }
}

fn page(shell: Shell, id: Uuid, shown: &RefundPreview, wrong: &str, reason: String) -> Page {
    let lang = shell.lang();
    let RefundPreview { refund, given_back, digest } = shown;
    let money = |amount: Kopecks| show::money(amount, refund.currency, lang);
    let choice = |effect: &AccessEffect| Choice {
        value: effect.as_str(),
        word: words::effect(*effect, lang).to_owned(),
        is_on: refund.effect == *effect,
    };
    Page {
        payment: refund.payment_id,
        short: show::short(refund.payment_id),
        id,
        digest: digest.clone(),
        amount: money(refund.amount),
        typed: show::typed_amount(refund.amount, refund.currency),
        before: money(*given_back),
        after: money(Kopecks::new(given_back.get() + refund.amount.get())),
        effect: refund.effect,
        effects: AccessEffect::ALL.iter().map(choice).collect(),
        effect_says: words::effect(refund.effect, lang),
        needs_second_person: refund.needs_approval,
        reason,
        wrong: wrong.to_owned(),
        shell,
    }
}

fn unreadable(shell: Shell, payment: PaymentId, form: &Params) -> Response {
    let why = shell.t(
        "This is no amount: write it as in 200 or 200,00; a third decimal is none.",
        "Это не сумма: напишите, например, 200 или 200,00; третьего знака не бывает.",
    );
    let (why, typed) = (why.to_owned(), form.get("amount").to_owned());
    let page = Refused { payment, short: show::short(payment), typed, why, shell };
    (StatusCode::UNPROCESSABLE_ENTITY, html(&page)).into_response()
}

fn refused(shell: Shell, payment: PaymentId, form: &Params, error: RefundError) -> Answer {
    let lang = shell.lang();
    let why = match error {
        RefundError::UnknownPayment(_) | RefundError::UnknownRefund(_) => return Err(Problem::NotFound),
        RefundError::Store(error) => return Err(error.into()),
        RefundError::InDoubt(_) => {
            lang.of("It is not known yet whether the money was taken.", "Ещё неизвестно, взяты ли деньги.")
        }
        RefundError::NotTaken { .. } => lang.of("No money was taken.", "Деньги не были взяты."),
        RefundError::TooOld(_) => lang.of("The payment is older than a year.", "Платёж старше года."),
        RefundError::AlreadyBeingReturned { .. } => {
            lang.of("The money goes back by itself already.", "Деньги уже возвращаются сами.")
        }
        RefundError::Unfinished { .. } => {
            lang.of("Another refund of this payment is not finished.", "Другой возврат этого платежа не завершён.")
        }
        RefundError::MoreThanLeft { left } => {
            let left = show::money(left, billing::Currency::RUB, lang);
            let why = format!("{} {left}.", lang.of("There is less left to give back:", "Осталось вернуть меньше:"));
            return Ok(cannot(shell, payment, form, why));
        }
        RefundError::PartOfAHold => lang
            .of("The money is only held: it is let go as a whole.", "Деньги лишь удержаны: отпустить можно всё сразу."),
        RefundError::ChargedBack(_) => {
            lang.of("The customer's bank has taken the money back.", "Банк абонента уже отозвал эти деньги.")
        }
        RefundError::RoleMayNot(_) | RefundError::ApprovesLess { .. } => {
            lang.of("Your role may not give back so much.", "Ваша роль не может вернуть столько.")
        }
        RefundError::SamePerson => lang.of("The second person must be another.", "Второе лицо должно быть другим."),
        RefundError::NotWaiting { .. } | RefundError::NotWithdrawable { .. } => {
            lang.of("It has gone on meanwhile.", "Он тем временем продвинулся дальше.")
        }
        RefundError::IdempotencyConflict => lang.of(
            "This form was used for something else. Open the refund again.",
            "Эта форма уже использована для другого. Откройте возврат заново.",
        ),
    };
    let why = why.to_owned();
    Ok(cannot(shell, payment, form, why))
}

fn cannot(shell: Shell, payment: PaymentId, form: &Params, why: String) -> Response {
    let page = Refused { payment, short: show::short(payment), typed: form.get("amount").to_owned(), why, shell };
    (StatusCode::CONFLICT, html(&page)).into_response()
}

/// A refund in a list.
pub(super) struct Row {
    pub(super) id: RefundId,
    pub(super) short: String,
    pub(super) made: When,
    pub(super) payment: PaymentId,
    pub(super) payment_short: String,
    pub(super) amount: String,
    pub(super) state: Status,
    pub(super) waits: bool,
    pub(super) source: &'static str,
    pub(super) who: String,
    pub(super) reason: String,
}

pub(super) fn row(shell: &Shell, refund: &RefundRow) -> Row {
    let lang = shell.lang();
    Row {
        id: refund.id,
        short: show::short(refund.id),
        made: shell.when(&refund.created_at),
        payment: refund.payment_id,
        payment_short: show::short(refund.payment_id),
        amount: show::money(refund.amount, refund.currency, lang),
        state: words::refund(refund.state, lang),
        waits: refund.waits_for_approval(),
        source: words::refund_source(refund.source, lang),
        who: refund.requested_by.clone().unwrap_or_default(),
        reason: refund.reason.clone(),
    }
}

#[derive(Template)]
#[template(path = "refund_one.html")]
struct One {
    shell: Shell,
    row: Row,
    effect: &'static str,
    approved_by: String,
    sends: i32,
    transaction: String,
    info: String,
    may_speak: bool,
    is_own: bool,
    wrong: String,
}

pub(crate) async fn one(State(core): Shared, viewer: Viewer, Path(id): Path<String>) -> Answer {
    let id: RefundId = id.parse().map_err(|_| Problem::NotFound)?;
    show_one(&core, &viewer, id, String::new()).await
}

async fn show_one(core: &Core, viewer: &Viewer, id: RefundId, wrong: String) -> Answer {
    let found = refunds::get(&mut *core.services.db.conn().await?, id).await?.ok_or(Problem::NotFound)?;
    let shell = Shell::new(core, Section::Refunds, viewer);
    let visitor = viewer.visitor()?;
    let status = if wrong.is_empty() { StatusCode::OK } else { StatusCode::CONFLICT };
    let page = One {
        row: row(&shell, &found),
        effect: words::effect(found.effect, viewer.lang),
        approved_by: found.approved_by.clone().unwrap_or_default(),
        sends: found.sends,
        transaction: found.gateway_tx_id.map(|id| id.to_string()).unwrap_or_default(),
        info: found.info.clone().unwrap_or_default(),
        may_speak: visitor.has(Right::GiveBack),
        is_own: found.requested_by.as_deref() == Some(visitor.staff.name.as_str()),
        wrong,
        shell,
    };
    Ok((status, html(&page)).into_response())
}

pub(crate) async fn approve(State(core): Shared, viewer: Viewer, Path(id): Path<String>) -> Answer {
    let id: RefundId = id.parse().map_err(|_| Problem::NotFound)?;
    let (db, by) = (&core.services.db, viewer.visitor()?.by(&viewer.address));
    let approved = approve_refund(&mut *db.conn().await?, id, &by, db.now()).await;
    match approved {
        Ok(row) => {
            wake(&core, &row).await;
            Ok(Redirect::to(&format!("/refunds/{id}")).into_response())
        }
        Err(error) => not_spoken(&core, &viewer, id, error).await,
    }
}

pub(crate) async fn withdraw(State(core): Shared, viewer: Viewer, Path(id): Path<String>) -> Answer {
    let id: RefundId = id.parse().map_err(|_| Problem::NotFound)?;
    let (db, by) = (&core.services.db, viewer.visitor()?.by(&viewer.address));
    let withdrawn = withdraw_refund(&mut *db.conn().await?, id, &by, db.now()).await;
    match withdrawn {
        Ok(_) => Ok(Redirect::to(&format!("/refunds/{id}")).into_response()),
        Err(error) => not_spoken(&core, &viewer, id, error).await,
    }
}

async fn not_spoken(core: &Core, viewer: &Viewer, id: RefundId, error: RefundError) -> Answer {
    let lang = viewer.lang;
    let wrong = match error {
        RefundError::UnknownPayment(_) | RefundError::UnknownRefund(_) => return Err(Problem::NotFound),
        RefundError::Store(error) => return Err(error.into()),
        RefundError::SamePerson => {
            lang.of("The second person must be another than the one who asked.", "Второе лицо – не тот, кто запросил.")
        }
        RefundError::RoleMayNot(_) | RefundError::ApprovesLess { .. } => {
            lang.of("Your role may not approve so much.", "Ваша роль не может согласовать столько.")
        }
        _ => lang.of("It has gone on meanwhile: see below.", "Он тем временем продвинулся дальше: смотрите ниже."),
    };
    show_one(core, viewer, id, wrong.to_owned()).await
}

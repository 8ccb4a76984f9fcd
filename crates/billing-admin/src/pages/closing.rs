//! A payment in doubt, closed by two people by what the gateway's cabinet shows of it.

use askama::Template;
use axum::Extension;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Redirect, Response};
use billing::PaymentId;
use billing::payment::evidence::{BadEvidence, Ending, Evidence, NotByHand};
use billing::staff::Right;
use billing::store::browse;
use billing::store::staff::{
    self, AskClosing, Closing, ClosingDone, ClosingError, ClosingPreview, ClosingRules, ClosingState, approve_closing,
    ask_closing, preview_closing, withdraw_closing,
};
use billing::trail;
use uuid::Uuid;

use super::act::{Row, rows};
use super::{Answer, Shared};
use crate::Core;
use crate::page::{Choice, Problem, Section, Shell, Status, Viewer, html};
use crate::params::{Asked, Params};
use crate::show::{self, When};
use crate::words;

/// What is seen before anything is done.
struct Shown {
    rows: Vec<Row>,
    told: Vec<&'static str>,
    also: Vec<&'static str>,
    /// Debit, credit, amount.
    entries: Vec<(&'static str, &'static str, String)>,
    digest: String,
}

/// The evidence as it was typed.
#[derive(Clone, Default)]
struct Typed {
    ending: String,
    transaction: String,
    on: String,
    amount: String,
    code: String,
    said: String,
}

#[derive(Template)]
#[template(path = "close.html")]
struct Page {
    shell: Shell,
    payment: PaymentId,
    invoice_no: i64,
    state: Status,
    amount: String,
    endings: Vec<Choice>,
    typed: Typed,
    id: Uuid,
    shown: Option<Shown>,
    wrong: String,
    /// It is not possible at all, whatever the evidence.
    cannot: String,
}

fn typed(form: &Params) -> Typed {
    let text = |name| form.get(name).to_owned();
    let said = form.get("said").chars().filter(|c| !c.is_control() || *c == '\n').collect();
    Typed {
        ending: text("ending"),
        transaction: text("transaction"),
        on: text("on"),
        amount: text("amount"),
        code: text("code"),
        said,
    }
}

/// Fields that an ending has no use for say nothing.
fn evidence(typed: &Typed) -> Option<Evidence> {
    let ending: Ending = typed.ending.parse().ok()?;
    let is_shown = ending != Ending::NotTaken;
    Some(Evidence {
        ending,
        transaction_id: typed.transaction.parse().ok().filter(|_| is_shown),
        happened_on: typed.on.parse().ok().filter(|_| is_shown),
        amount: show::parsed_amount(&typed.amount).filter(|_| ending == Ending::Taken),
        reason_code: typed.code.parse().ok().filter(|_| ending == Ending::Declined),
        said: typed.said.clone(),
    })
}

fn rules(core: &Core) -> ClosingRules<'_> {
    let services = &core.services;
    ClosingRules {
        not_executed_after: services.times.resolve.not_executed_after,
        zone: services.time_zone,
        cipher: &services.cipher,
    }
}

fn shown(preview: &ClosingPreview, shell: &Shell) -> Shown {
    let lang = shell.lang();
    let (from, to) = preview.payment;
    let payment = Row {
        name: lang.of("The payment", "Платёж"),
        before: words::payment(from, lang).word.to_owned(),
        after: words::payment(to, lang).word.to_owned(),
    };
    let about = rows(&preview.before, &preview.after, shell);
    let told = preview.events.iter().filter(|event| event.kind.is_public());
    let also = preview.events.iter().filter(|event| !event.kind.is_public() && event.to_state.is_none());
    let entry = |posted: &billing::store::journal::Posted| {
        let amount = show::money(posted.amount, posted.currency, lang);
        (words::ledger(posted.debit, lang), words::ledger(posted.credit, lang), amount)
    };
    Shown {
        rows: std::iter::once(payment).chain(about).collect(),
        told: told.map(|event| words::event(event.kind, lang)).collect(),
        also: also.map(|event| words::event(event.kind, lang)).collect(),
        entries: preview.entries.iter().map(entry).collect(),
        digest: preview.digest.clone(),
    }
}

pub(crate) async fn preview(
    State(core): Shared,
    viewer: Viewer,
    Path(id): Path<String>,
    Asked(query): Asked,
) -> Answer {
    let id: PaymentId = id.parse().map_err(|_| Problem::NotFound)?;
    let typed = typed(&query);
    let shown = match evidence(&typed) {
        Some(evidence) => {
            let mut conn = core.services.db.conn().await?;
            // What is only looked at needs no account of it yet.
            let said = "-".repeat(*Evidence::SAID.start());
            let evidence = Evidence { said, ..evidence };
            Some(preview_closing(&mut conn, id, &evidence, rules(&core), core.services.db.now()).await)
        }
        None => None,
    };
    make(&core, &viewer, id, Made { typed, form: Uuid::now_v7(), shown, wrong: None }).await
}

/// What a page is made of.
struct Made {
    typed: Typed,
    form: Uuid,
    shown: Option<Result<ClosingPreview, ClosingError>>,
    wrong: Option<(StatusCode, String)>,
}

async fn make(core: &Core, viewer: &Viewer, id: PaymentId, made: Made) -> Answer {
    let found = browse::payment(&mut *core.services.db.conn().await?, id).await?.ok_or(Problem::NotFound)?;
    let shell = Shell::new(core, Section::Payments, viewer);
    let lang = shell.lang();
    let Made { typed, form, shown: preview, wrong } = made;
    let (mut status, mut wrong) = wrong.unwrap_or((StatusCode::OK, String::new()));
    let is_in_doubt = found.view.state == billing::payment::PaymentState::Unknown;
    let cannot = if is_in_doubt {
        String::new()
    } else {
        status = StatusCode::CONFLICT;
        lang.of("Its outcome is known, or it is not sent yet.", "Его исход известен, или он ещё не отправлен.")
            .to_owned()
    };
    let shown = match preview {
        Some(Ok(preview)) => Some(shown(&preview, &shell)),
        Some(Err(error)) if is_in_doubt && wrong.is_empty() => {
            (status, wrong) = (StatusCode::UNPROCESSABLE_ENTITY, why_not(error, &shell)?);
            None
        }
        _ => None,
    };
    let ending = |ending: &Ending| Choice {
        value: ending.as_str(),
        word: words::ending(*ending, lang).to_owned(),
        is_on: typed.ending == ending.as_str(),
    };
    let page = Page {
        payment: id,
        invoice_no: found.view.invoice_no,
        state: words::payment(found.view.state, lang),
        amount: show::money(found.view.amount, found.view.currency, lang),
        endings: Ending::ALL.iter().map(ending).collect(),
        typed,
        id: form,
        shown,
        wrong,
        cannot,
        shell,
    };
    Ok((status, html(&page)).into_response())
}

pub(crate) async fn ask(
    State(core): Shared,
    viewer: Viewer,
    Path(id): Path<String>,
    Extension(form): Extension<Params>,
) -> Answer {
    let payment_id: PaymentId = id.parse().map_err(|_| Problem::NotFound)?;
    let form_id: Uuid = form.get("id").parse().map_err(|_| Problem::Stale)?;
    let typed = typed(&form);
    let evidence = evidence(&typed).ok_or(Problem::Stale)?;
    let (db, by, lang) = (&core.services.db, viewer.visitor()?.by(&viewer.address), viewer.lang);
    let ask = AskClosing { id: form_id, payment_id, evidence };
    let asked = ask_closing(&mut *db.conn().await?, &ask, form.get("digest"), rules(&core), &by, db.now()).await;
    let made = match asked {
        Ok(ClosingDone::Now | ClosingDone::Before) => {
            return Ok(Redirect::to(&format!("/closings/{form_id}")).into_response());
        }
        Ok(ClosingDone::Changed(shown)) => {
            let wrong = lang.of(
                "Something has changed since you looked. Nothing was done; this is what would happen now.",
                "С тех пор, как вы смотрели, что-то изменилось. Ничего не сделано; вот что произойдёт теперь.",
            );
            let wrong = Some((StatusCode::CONFLICT, wrong.to_owned()));
            Made { typed, form: Uuid::now_v7(), shown: Some(Ok(*shown)), wrong }
        }
        Err(ClosingError::AskedAlready(other)) => {
            return Ok(Redirect::to(&format!("/closings/{other}")).into_response());
        }
        Err(error) => {
            let shell = Shell::new(&core, Section::Payments, &viewer);
            let wrong = Some((StatusCode::UNPROCESSABLE_ENTITY, why_not(error, &shell)?));
            let said = "-".repeat(*Evidence::SAID.start());
            let evidence = Evidence { said, ..ask.evidence };
            let shown = preview_closing(&mut *db.conn().await?, payment_id, &evidence, rules(&core), db.now()).await;
            Made { typed, form: form_id, shown: shown.ok().map(Ok), wrong }
        }
    };
    make(&core, &viewer, payment_id, made).await
}

fn why_not(error: ClosingError, shell: &Shell) -> Result<String, Problem> {
    let lang = shell.lang();
    Ok(match error {
        ClosingError::UnknownPayment(_) | ClosingError::Unknown(_) => return Err(Problem::NotFound),
        ClosingError::Store(error) => return Err(error.into()),
        ClosingError::NotByHand(NotByHand::NotInDoubt(_)) => {
            lang.of("Its outcome is known by now.", "Его исход уже известен.").to_owned()
        }
        ClosingError::NotByHand(NotByHand::TooEarly(at)) => {
            let local = at.with_timezone(&shell.zone).format(lang.of("%-d %b %Y, %H:%M", "%d.%m.%Y %H:%M"));
            let why = lang.of(
                "That the gateway shows nothing proves nothing yet: it may still execute the request. Look again after",
                "То, что шлюз ничего не показывает, ещё ничего не доказывает: он может ещё исполнить запрос. Посмотрите после",
            );
            format!("{why} {local}.")
        }
        ClosingError::NotByHand(NotByHand::OnlyVerifies) => lang
            .of(
                "It only verifies a card: no money is taken for it. Have the gateway asked.",
                "Это лишь проверка карты: деньги за неё не берут. Спросите шлюз.",
            )
            .to_owned(),
        ClosingError::NotByHand(NotByHand::Evidence(bad)) => bad_evidence(bad, shell).to_owned(),
        ClosingError::NotProved(why) => {
            let what = lang.of(
                "This evidence does not fit the payment, which would stay in doubt:",
                "Это доказательство не подходит к платежу, он остался бы неизвестным:",
            );
            format!("{what} {why}.")
        }
        ClosingError::AskedAlready(_) => {
            lang.of("Another closing of it waits already.", "Другое закрытие уже ждёт согласования.").to_owned()
        }
        ClosingError::SamePerson => lang
            .of("The second person must be another than the one who asked.", "Второе лицо – не тот, кто запросил.")
            .to_owned(),
        ClosingError::NotWaiting(_) => {
            lang.of("It has gone on meanwhile: see below.", "Оно тем временем продвинулось: смотрите ниже.").to_owned()
        }
        ClosingError::FormReused => lang
            .of(
                "This form was used for something else. Open the action again.",
                "Эта форма уже использована для другого. Откройте действие заново.",
            )
            .to_owned(),
    })
}

const fn bad_evidence(bad: BadEvidence, shell: &Shell) -> &'static str {
    let lang = shell.viewer.lang;
    match bad {
        BadEvidence::Transaction => lang.of(
            "The number of the transaction, as the gateway shows it.",
            "Укажите номер транзакции из кабинета шлюза.",
        ),
        BadEvidence::Day => lang.of(
            "The day on which the gateway shows it: not before the payment was made, and not to come.",
            "Укажите день операции из кабинета шлюза: не раньше создания платежа и не в будущем.",
        ),
        BadEvidence::Amount => lang.of("The amount that the gateway shows.", "Укажите сумму из кабинета шлюза."),
        BadEvidence::Code => lang.of("The reason code of the refusal.", "Укажите код причины отказа."),
        BadEvidence::Said => lang.of(
            "Say where you looked and what you found, in 10 to 1000 characters; it stands in the log.",
            "Опишите, где смотрели и что нашли, от 10 до 1000 символов; это остаётся в журнале.",
        ),
    }
}

#[derive(Template)]
#[template(path = "closing.html")]
struct One {
    shell: Shell,
    closing: Closing,
    ending: &'static str,
    on: String,
    amount: String,
    asked: When,
    state: &'static str,
    ended: Option<(When, String)>,
    waits: bool,
    is_own: bool,
    may_agree: bool,
    shown: Option<Shown>,
    wrong: String,
}

pub(crate) async fn one(State(core): Shared, viewer: Viewer, Path(id): Path<String>) -> Answer {
    show_one(&core, &viewer, id.parse().map_err(|_| Problem::NotFound)?, (StatusCode::OK, String::new())).await
}

async fn show_one(core: &Core, viewer: &Viewer, id: Uuid, wrong: (StatusCode, String)) -> Answer {
    let (db, shell) = (&core.services.db, Shell::new(core, Section::Payments, viewer));
    let mut conn = db.conn().await?;
    let closing = staff::closing(&mut conn, id).await?.ok_or(Problem::NotFound)?;
    let (lang, (mut status, mut wrong), state) = (shell.lang(), wrong, closing.state_at(shell.now));
    let waits = state == ClosingState::Waiting;
    let shown = if waits {
        match preview_closing(&mut conn, closing.payment_id, &closing.evidence(), rules(core), shell.now).await {
            Ok(preview) => Some(shown(&preview, &shell)),
            Err(error) => {
                if wrong.is_empty() {
                    (status, wrong) = (StatusCode::OK, why_not(error, &shell)?);
                }
                None
            }
        }
    } else {
        None
    };
    drop(conn);
    let visitor = viewer.visitor()?;
    let page = One {
        ending: words::ending(closing.ending, lang),
        on: closing.happened_on.map(|on| on.format(lang.of("%-d %b %Y", "%d.%m.%Y")).to_string()).unwrap_or_default(),
        amount: closing.amount.map(|of| show::money(of, billing::Currency::RUB, lang)).unwrap_or_default(),
        asked: shell.exactly(&closing.asked_at),
        state: words::closing(state, lang),
        ended: closing.ended_at.map(|at| (shell.exactly(&at), closing.ended_by.clone().unwrap_or_default())),
        waits,
        is_own: closing.asked_by == visitor.staff.name,
        may_agree: visitor.has(Right::Agree),
        shown,
        wrong,
        closing,
        shell,
    };
    Ok((status, html(&page)).into_response())
}

pub(crate) async fn approve(
    State(core): Shared,
    viewer: Viewer,
    Path(id): Path<String>,
    Extension(form): Extension<Params>,
) -> Answer {
    let id: Uuid = id.parse().map_err(|_| Problem::NotFound)?;
    let (db, by) = (&core.services.db, viewer.visitor()?.by(&viewer.address));
    let approved = approve_closing(&mut *db.conn().await?, id, form.get("digest"), rules(&core), &by, db.now()).await;
    let is_done = matches!(approved, Ok(ClosingDone::Now));
    if trail::take_news() && is_done {
        core.services.bell.ring();
    }
    match approved {
        Ok(ClosingDone::Now | ClosingDone::Before) => Ok(back(id)),
        Ok(ClosingDone::Changed(_)) => {
            let wrong = viewer.lang.of(
                "Something has changed since you looked. Nothing was done; this is what would happen now.",
                "С тех пор, как вы смотрели, что-то изменилось. Ничего не сделано; вот что произойдёт теперь.",
            );
            show_one(&core, &viewer, id, (StatusCode::CONFLICT, wrong.to_owned())).await
        }
        Err(error) => {
            let why = why_not(error, &Shell::new(&core, Section::Payments, &viewer))?;
            show_one(&core, &viewer, id, (StatusCode::CONFLICT, why)).await
        }
    }
}

pub(crate) async fn withdraw(State(core): Shared, viewer: Viewer, Path(id): Path<String>) -> Answer {
    let id: Uuid = id.parse().map_err(|_| Problem::NotFound)?;
    let (db, by) = (&core.services.db, viewer.visitor()?.by(&viewer.address));
    let withdrawn = withdraw_closing(&mut *db.conn().await?, id, &by, db.now()).await;
    match withdrawn {
        Ok(()) => Ok(back(id)),
        Err(error) => {
            let why = why_not(error, &Shell::new(&core, Section::Payments, &viewer))?;
            show_one(&core, &viewer, id, (StatusCode::CONFLICT, why)).await
        }
    }
}

fn back(id: Uuid) -> Response {
    Redirect::to(&format!("/closings/{id}")).into_response()
}

//! An action on a subscription: what it would do, and then exactly that.

use askama::Template;
use axum::Extension;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Redirect, Response};
use billing::models::Tariff;
use billing::payment::PaymentState;
use billing::store::renewals::NoRetry;
use billing::store::staff::{Action, ActionError, ActionKind, Done, MAX_REASON, Order, Preview, act, preview};
use billing::store::subscriptions::{self, Subscription, VerbError};
use billing::store::tariffs;
use billing::tasks::{ChargeRenewal, ResolveUnknown};
use billing::{AccountId, TariffId, trail};
use celeriac::SendOptions;
use chrono::{DateTime, Utc};
use diesel_async::AsyncPgConnection;
use uuid::Uuid;

use super::{Answer, Shared};
use crate::Core;
use crate::page::{Problem, Section, Shell, Viewer, html};
use crate::params::{Asked, Params};
use crate::{show, words};

/// What is offered first.
const DAYS: u16 = 3;
/// The shortest reason that says anything, in characters.
const MIN_REASON: usize = 3;

#[derive(Template)]
#[template(path = "act.html")]
struct Page {
    shell: Shell,
    account: AccountId,
    short: String,
    kind: ActionKind,
    title: &'static str,
    button: String,
    days: u16,
    tariffs: Vec<Offer>,
    id: Uuid,
    digest: String,
    reason: String,
    /// Why it is shown again.
    wrong: String,
    rows: Vec<Row>,
    told: Vec<&'static str>,
    also: Vec<&'static str>,
}

/// A tariff to choose.
struct Offer {
    id: TariffId,
    name: String,
    is_on: bool,
}

/// A fact before and after.
pub(super) struct Row {
    pub(super) name: &'static str,
    pub(super) before: String,
    pub(super) after: String,
}

#[derive(Template)]
#[template(path = "refused.html")]
struct Refused {
    shell: Shell,
    account: AccountId,
    short: String,
    title: &'static str,
    why: String,
    kind: ActionKind,
    days: u16,
    tariffs: Vec<Offer>,
}

fn days(params: &Params) -> u16 {
    let text = params.get("days");
    if text.is_empty() { DAYS } else { text.parse().unwrap_or_default() }
}

pub(crate) async fn preview_of(
    kind: ActionKind,
    State(core): Shared,
    viewer: Viewer,
    Path(id): Path<String>,
    Asked(query): Asked,
) -> Answer {
    let account_id = id.parse().map_err(|_| Problem::NotFound)?;
    let action = Action { kind, account_id, days: days(&query), tariff_id: query.get("tariff").parse().ok() };
    let mut conn = core.services.db.conn().await?;
    let shown = preview(&mut conn, &action, core.services.db.now()).await;
    let shell = Shell::new(&core, Section::Accounts, &viewer);
    let offers = offers(&mut conn, &action, &shell).await?;
    drop(conn);
    match shown {
        Ok(shown) => Ok(html(&page(shell, &action, offers, Uuid::now_v7(), &shown, "", String::new()))),
        Err(error) => refused(shell, &action, offers, error),
    }
}

pub(crate) async fn confirm(
    kind: ActionKind,
    State(core): Shared,
    viewer: Viewer,
    Path(id): Path<String>,
    Extension(form): Extension<Params>,
) -> Answer {
    let visitor = viewer.visitor()?;
    let account_id: AccountId = id.parse().map_err(|_| Problem::NotFound)?;
    let action = Action { kind, account_id, days: days(&form), tariff_id: form.get("tariff").parse().ok() };
    let form_id: Uuid = form.get("id").parse().map_err(|_| Problem::Stale)?;
    let reason: String = form.get("reason").chars().filter(|c| !c.is_control() || *c == '\n').collect();
    let (db, lang) = (&core.services.db, viewer.lang);
    let mut conn = db.conn().await?;
    let shell = Shell::new(&core, Section::Accounts, &viewer);
    let offers = offers(&mut conn, &action, &shell).await?;
    if !(MIN_REASON..=MAX_REASON).contains(&reason.chars().count()) {
        let shown = preview(&mut conn, &action, db.now()).await;
        let wrong = lang.of(
            "Say why, in 3 to 500 characters; it stands in the log.",
            "Укажите причину, от 3 до 500 символов; она остаётся в журнале.",
        );
        return match shown {
            Ok(shown) => {
                let page = page(shell, &action, offers, form_id, &shown, wrong, reason);
                Ok((StatusCode::UNPROCESSABLE_ENTITY, html(&page)).into_response())
            }
            Err(error) => refused(shell, &action, offers, error),
        };
    }
    let order = Order {
        id: form_id,
        action,
        digest: form.get("digest").to_owned(),
        reason: reason.clone(),
        staff_id: visitor.staff.id,
        by: visitor.by(&viewer.address),
    };
    let done = act(&mut conn, &order, db.now()).await;
    drop(conn);
    if trail::take_news() {
        core.services.bell.ring();
    }
    match done {
        Ok(Done::Now | Done::Before) => {
            match kind {
                ActionKind::RetryNow => charge(&core, account_id).await?,
                ActionKind::AskGateway => look(&core, form_id).await,
                _ => {}
            }
            Ok(Redirect::to(&format!("/accounts/{account_id}?done={kind}")).into_response())
        }
        Ok(Done::Changed(shown)) => {
            let wrong = lang.of(
                "Something has changed since you looked. Nothing was done; this is what would happen now.",
                "С тех пор, как вы смотрели, что-то изменилось. Ничего не сделано; вот что произойдёт теперь.",
            );
            let page = page(shell, &action, offers, Uuid::now_v7(), &shown, wrong, reason);
            Ok((StatusCode::CONFLICT, html(&page)).into_response())
        }
        Err(error) => refused(shell, &action, offers, error),
    }
}

/// Tells the workers of the charge that was opened; should that fail, the timetable finds it.
async fn charge(core: &Core, account_id: AccountId) -> Result<(), Problem> {
    let found = subscriptions::get(&mut *core.services.db.conn().await?, account_id).await?;
    let open = found.and_then(|subscription| subscription.open?.payment);
    let Some((payment, _)) = open.filter(|(payment, _)| payment.state == PaymentState::Created) else { return Ok(()) };
    let options = SendOptions::new().task_id(ChargeRenewal::task_id(payment.id));
    if let Err(error) = core.services.app.send_with(ChargeRenewal { payment_id: payment.id }, options).await {
        tracing::warn!(payment_id = %payment.id, %error, "not told to the workers; the timetable will");
    }
    Ok(())
}

/// Has the gateway asked about what is due, without waiting for the timetable: one message for one form.
async fn look(core: &Core, form_id: Uuid) {
    let options = SendOptions::new().task_id(form_id.to_string());
    if let Err(error) = core.services.app.send_with(ResolveUnknown {}, options).await {
        tracing::warn!(%error, "not told to the workers; the timetable will");
    }
}

/// What may be chosen, where something is to be chosen.
async fn offers(conn: &mut AsyncPgConnection, action: &Action, shell: &Shell) -> Result<Vec<Offer>, Problem> {
    if action.kind != ActionKind::ChangeTariff {
        return Ok(Vec::new());
    }
    let offer = |tariff: Tariff| Offer {
        id: tariff.id,
        name: format!("{}, {}", tariff.name, show::money(tariff.amount, tariff.currency, shell.lang())),
        is_on: action.tariff_id == Some(tariff.id),
    };
    Ok(tariffs::list(conn, shell.now).await?.into_iter().map(offer).collect())
}

fn page(
    shell: Shell,
    action: &Action,
    tariffs: Vec<Offer>,
    id: Uuid,
    shown: &Preview,
    wrong: &str,
    reason: String,
) -> Page {
    let lang = shell.lang();
    let told = shown.events.iter().filter(|event| event.kind.is_public());
    let also = shown.events.iter().filter(|event| !event.kind.is_public() && event.to_state.is_none());
    Page {
        account: action.account_id,
        short: show::short(action.account_id),
        kind: action.kind,
        title: words::action(action.kind, lang),
        button: button(action, &shell),
        days: action.days,
        tariffs,
        id,
        digest: shown.digest.clone(),
        reason,
        wrong: wrong.to_owned(),
        rows: rows(&shown.before, &shown.after, &shell),
        told: told.map(|event| words::event(event.kind, lang)).collect(),
        also: also.map(|event| words::event(event.kind, lang)).collect(),
        shell,
    }
}

/// The effect, by its name.
fn button(action: &Action, shell: &Shell) -> String {
    let days = u64::from(action.days);
    match action.kind {
        ActionKind::Extend => {
            let unit = shell.lang().counted(days, ["day", "days"], ["день", "дня", "дней"]);
            format!("{} {days} {unit}", shell.t("Extend by", "Продлить на"))
        }
        kind => words::action(kind, shell.lang()).to_owned(),
    }
}

pub(super) fn rows(before: &Subscription, after: &Subscription, shell: &Shell) -> Vec<Row> {
    let lang = shell.lang();
    let when = |at: Option<chrono::DateTime<chrono::Utc>>| {
        let local = at.map(|at| at.with_timezone(&shell.zone));
        let format = lang.of("%-d %b %Y, %H:%M", "%d.%m.%Y %H:%M");
        local.map_or_else(|| "—".to_owned(), |local| local.format(format).to_string())
    };
    let charge = |of: &Subscription| {
        of.next_charge().map_or_else(
            || "—".to_owned(),
            |(at, amount, currency)| format!("{}, {}", show::money(amount, currency, lang), when(Some(at))),
        )
    };
    let card = |of: &Subscription| match (&of.card, of.account.has_token) {
        (Some(mask), _) => show::card(mask),
        (None, true) => lang.of("kept", "сохранена").to_owned(),
        (None, false) => "—".to_owned(),
    };
    let payment = |of: &Subscription| {
        let live = of.open.as_ref().and_then(|open| open.payment.as_ref());
        live.map_or_else(|| "—".to_owned(), |(view, _)| words::payment(view.state, lang).word.to_owned())
    };
    let asked = |of: &Subscription| {
        when(of.open.as_ref().and_then(|open| open.payment.as_ref()).and_then(|(view, _)| view.look_again_at))
    };
    type Fact<'a> = &'a dyn Fn(&Subscription) -> String;
    let tariff = |of: &Subscription| {
        let next = of.pending.as_ref().or(of.tariff.as_ref());
        next.map_or_else(|| "—".to_owned(), |tariff| tariff.name.clone())
    };
    let facts: [(&'static str, Fact<'_>); 8] = [
        (lang.of("Status", "Состояние"), &|of| words::account(of.account.status, lang).word.to_owned()),
        (lang.of("Paid until", "Оплачено до"), &|of| when(of.account.paid_until)),
        (lang.of("Access until", "Доступ до"), &|of| when(of.account.access_until)),
        (lang.of("Next charge", "Следующее списание"), &charge),
        (lang.of("Tariff from then on", "Тариф с этого списания"), &tariff),
        (lang.of("Card", "Карта"), &card),
        (lang.of("Payment under way", "Идущий платёж"), &payment),
        (lang.of("The gateway is asked", "Шлюз спросят"), &asked),
    ];
    facts.iter().map(|(name, of)| Row { name, before: of(before), after: of(after) }).collect()
}

fn refused(shell: Shell, action: &Action, tariffs: Vec<Offer>, error: ActionError) -> Answer {
    let lang = shell.lang();
    let why = match &error {
        ActionError::Verb(VerbError::UnknownAccount(_)) => return Err(Problem::NotFound),
        ActionError::Verb(VerbError::NoSubscription) | ActionError::NothingPaid => {
            lang.of("Nothing is paid.", "Ничего не оплачено.")
        }
        ActionError::Verb(VerbError::Ended) => lang.of("The subscription has ended.", "Подписка закончилась."),
        ActionError::Verb(VerbError::NoCard) => {
            lang.of("No card is kept that could be charged.", "Нет сохранённой карты для списания.")
        }
        ActionError::Verb(VerbError::Closed) => lang.of("The account is closed.", "Аккаунт закрыт."),
        ActionError::Verb(VerbError::PaymentInProgress { .. }) => {
            lang.of("A payment must end first.", "Сначала должен завершиться платёж.")
        }
        ActionError::NoTariff => lang.of("Choose the tariff first.", "Сначала выберите тариф."),
        ActionError::Verb(VerbError::UnknownTariff(_)) => lang.of("This is not sold.", "Это не продаётся."),
        ActionError::Verb(VerbError::Cancelled) => {
            lang.of("It is cancelled: there is no next period.", "Подписка отменена: следующего периода не будет.")
        }
        ActionError::AlreadySo => lang.of("It is so already.", "Это уже так."),
        ActionError::NothingToAsk => lang.of(
            "No payment is in doubt, or the gateway is being asked already.",
            "Неизвестных платежей нет, или шлюз уже спрашивают.",
        ),
        ActionError::NoRetry(refused) => {
            let why = no_retry(*refused, &shell);
            return Ok(cannot(shell, action, tariffs, why));
        }
        ActionError::Days => lang.of("From 1 to 366 days.", "От 1 до 366 дней."),
        ActionError::FormReused => lang.of(
            "This form was used for something else. Open the action again.",
            "Эта форма уже использована для другого. Откройте действие заново.",
        ),
        ActionError::Verb(VerbError::Store(_)) => {
            return Err(match error {
                ActionError::Verb(VerbError::Store(error)) => error.into(),
                _ => Problem::Defect,
            });
        }
        ActionError::Verb(_) => lang.of("Something else is under way.", "Сейчас выполняется другое действие."),
    };
    let why = why.to_owned();
    Ok(cannot(shell, action, tariffs, why))
}

/// Why a renewal is not charged again now.
fn no_retry(refused: NoRetry, shell: &Shell) -> String {
    let lang = shell.lang();
    let until = |why: &str, at: DateTime<Utc>| {
        let local = at.with_timezone(&shell.zone).format(lang.of("%-d %b %Y, %H:%M", "%d.%m.%Y %H:%M"));
        format!("{why} {local}.")
    };
    match refused {
        NoRetry::NotPlanned => lang
            .of(
                "No further charge of a refused renewal is planned.",
                "Повторное списание отклонённого продления не запланировано.",
            )
            .to_owned(),
        NoRetry::NoCard => {
            lang.of("No card is kept that could be charged.", "Нет сохранённой карты для списания.").to_owned()
        }
        NoRetry::InWork => lang.of("A payment must end first.", "Сначала должен завершиться платёж.").to_owned(),
        NoRetry::CardRests(at) => until(
            lang.of(
                "The card was charged twice within 24 hours; the next charge is allowed from",
                "С карты уже списывали дважды за 24 часа; следующее списание разрешено с",
            ),
            at,
        ),
        NoRetry::GatewayForbids(at) => until(
            lang.of("With the refusal the gateway has said: not before", "Вместе с отказом шлюз сообщил: не раньше"),
            at,
        ),
        NoRetry::GatewayRests(at) => until(
            lang.of(
                "The gateway is left alone now, or this account has money there that is not explained; not before",
                "Шлюз сейчас не тревожат, или у абонента там есть необъяснённые деньги; не раньше",
            ),
            at,
        ),
    }
}

fn cannot(shell: Shell, action: &Action, tariffs: Vec<Offer>, why: String) -> Response {
    let lang = shell.lang();
    let page = Refused {
        account: action.account_id,
        short: show::short(action.account_id),
        title: words::action(action.kind, lang),
        why,
        kind: action.kind,
        days: action.days,
        tariffs,
        shell,
    };
    (StatusCode::CONFLICT, html(&page)).into_response()
}

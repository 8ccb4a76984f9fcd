//! One action on all rows of a list: looked at, agreed to by a second person, gone through by workers, reported.

use askama::Template;
use axum::Extension;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Redirect, Response};
use billing::Currency;
use billing::refund::AccessEffect;
use billing::staff::Right;
use billing::store::StoreError;
use billing::store::browse::{Order, Part, Slice};
use billing::store::staff::{
    self, Bulk, BulkAsk, BulkError, BulkItem, BulkKind, BulkState, BulkWord, ItemState, MAX_ITEMS, Progress, ask_bulk,
    freeze_bulk, tell_bulk,
};
use billing::tasks::RunBulks;
use celeriac::SendOptions;
use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use diesel_async::AsyncPgConnection;
use futures_util::future::BoxFuture;
use uuid::Uuid;

use super::accounts::Accounts;
use super::payments::Payments;
use super::{Answer, Shared, briefly};
use crate::Core;
use crate::lang::Lang;
use crate::list::export::Value;
use crate::list::head::{self, order};
use crate::list::{Cell, Field, Head, List, Listed};
use crate::page::{Choice, Problem, Section, Shell, Status, Viewer, html};
use crate::params::{Asked, Params};
use crate::show::{self, When};
use crate::words;

/// Rows that are shown before anything is done, and on a page of the report.
const FIRST: i64 = 10;
const ROWS: i64 = 50;
/// What is offered first.
const DAYS: u16 = 3;

#[derive(Template)]
#[template(path = "bulk_new.html")]
struct New {
    shell: Shell,
    id: Uuid,
    is_refund: bool,
    /// Of the list whose rows are taken.
    path: &'static str,
    chips: Vec<String>,
    conditions: String,
    days: u16,
    effects: Vec<Choice>,
    wrong: String,
}

/// The conditions of a list as somebody reads them.
fn says(kind: BulkKind, query: &Params, shell: &Shell) -> Vec<String> {
    let lang = shell.lang();
    let mut says: Vec<String> = Vec::new();
    match kind {
        BulkKind::Extend => {
            let filter = Accounts::filter(query, shell.zone);
            says.extend(filter.status.map(|status| words::account(status, lang).word.to_owned()));
            says.extend(head::chip::<Accounts>(query, lang).map(|chip| chip.says));
        }
        BulkKind::Refund => {
            let filter = Payments::filter(query, shell.zone);
            says.extend(super::day_chips(shell, query, filter.made).into_iter().map(|chip| chip.says));
            says.extend(filter.state.map(|state| words::payment(state, lang).word.to_owned()));
            says.extend(filter.reason_code.map(|code| format!("{} {code}", lang.of("code", "код"))));
            says.extend(head::chip::<Payments>(query, lang).map(|chip| chip.says));
        }
    }
    says
}

fn new_page(kind: BulkKind, viewer: &Viewer, core: &Core, query: &Params, wrong: &str) -> Response {
    let section = if kind == BulkKind::Refund { Section::Payments } else { Section::Accounts };
    let shell = Shell::new(core, section, viewer);
    let chosen: AccessEffect = query.get("effect").parse().unwrap_or(AccessEffect::Keep);
    let effect = |effect: &AccessEffect| Choice {
        value: effect.as_str(),
        word: words::effect(*effect, viewer.lang).to_owned(),
        is_on: *effect == chosen,
    };
    let page = New {
        id: Uuid::now_v7(),
        is_refund: kind == BulkKind::Refund,
        path: if kind == BulkKind::Refund { "payments" } else { "accounts" },
        chips: says(kind, query, &shell),
        conditions: conditions(query),
        days: query.get("days").parse().unwrap_or(DAYS),
        effects: AccessEffect::ALL.iter().map(effect).collect(),
        wrong: wrong.to_owned(),
        shell,
    };
    let status = if wrong.is_empty() { StatusCode::OK } else { StatusCode::CONFLICT };
    (status, html(&page)).into_response()
}

/// Of the address of the list what says which rows: sorted by what not all of them have, it does so too.
fn conditions(query: &Params) -> String {
    let names = ["state", "status", "code", "from", "to", "sort"];
    let mut written = url::form_urlencoded::Serializer::new(String::new());
    for name in names.iter().filter(|name| !query.get(name).is_empty()) {
        written.append_pair(name, query.get(name));
    }
    written.finish()
}

pub(crate) async fn extend(State(core): Shared, viewer: Viewer, Asked(query): Asked) -> Answer {
    Ok(new_page(BulkKind::Extend, &viewer, &core, &query, ""))
}

pub(crate) async fn refund(State(core): Shared, viewer: Viewer, Asked(query): Asked) -> Answer {
    Ok(new_page(BulkKind::Refund, &viewer, &core, &query, ""))
}

pub(crate) async fn freeze_extension(core: Shared, viewer: Viewer, form: Extension<Params>) -> Answer {
    freeze(BulkKind::Extend, core, viewer, form).await
}

pub(crate) async fn freeze_refund(core: Shared, viewer: Viewer, form: Extension<Params>) -> Answer {
    freeze(BulkKind::Refund, core, viewer, form).await
}

async fn freeze(kind: BulkKind, State(core): Shared, viewer: Viewer, Extension(form): Extension<Params>) -> Answer {
    let id: Uuid = form.get("id").parse().map_err(|_| Problem::Stale)?;
    let (db, by, lang) = (&core.services.db, viewer.visitor()?.by(&viewer.address), viewer.lang);
    // The conditions, and what is typed beside them.
    let query = Params::read(form.get("conditions").as_bytes());
    let zone = core.services.time_zone;
    let ask = match kind {
        BulkKind::Extend => {
            BulkAsk::Extend { days: form.get("days").parse().unwrap_or_default(), of: Accounts::filter(&query, zone) }
        }
        BulkKind::Refund => BulkAsk::Refund {
            effect: form.get("effect").parse().unwrap_or(AccessEffect::Keep),
            of: Payments::filter(&query, zone),
        },
    };
    let frozen = freeze_bulk(&mut *db.conn().await?, id, ask, &conditions(&query), &by, db.now()).await;
    match frozen {
        Ok(made) => Ok(Redirect::to(&format!("/bulk/{}", made.id)).into_response()),
        Err(error) => Ok(new_page(kind, &viewer, &core, &query, &why_not(error, lang)?)),
    }
}

fn why_not(error: BulkError, lang: Lang) -> Result<String, Problem> {
    Ok(match error {
        BulkError::Unknown(_) => return Err(Problem::NotFound),
        BulkError::Store(error) => return Err(error.into()),
        BulkError::TooMany => format!(
            "{} {MAX_ITEMS}. {}",
            lang.of(
                "More rows fit the conditions than may be done at once:",
                "Под условия подходит больше строк, чем можно за раз:"
            ),
            lang.of("Narrow them, as by days.", "Сузьте их, например по дням.")
        ),
        BulkError::Nothing => lang
            .of(
                "No row that fits the conditions can take it.",
                "Среди подходящих строк нет ни одной, к которой это применимо.",
            )
            .to_owned(),
        BulkError::Currencies => {
            lang.of("The payments are of several currencies.", "Платежи в разных валютах.").to_owned()
        }
        BulkError::Days => lang.of("From 1 to 31 days.", "От 1 до 31 дня.").to_owned(),
        BulkError::Reason => lang
            .of(
                "Say why, in 3 to 500 characters; it stands in the log.",
                "Укажите причину, от 3 до 500 символов; она остаётся в журнале.",
            )
            .to_owned(),
        BulkError::SamePerson => lang
            .of("The second person must be another than the one who asked.", "Второе лицо – не тот, кто запросил.")
            .to_owned(),
        BulkError::AnothersDraft => {
            lang.of("Somebody else has prepared it.", "Это подготовил другой сотрудник.").to_owned()
        }
        BulkError::Is(_) => {
            lang.of("It has gone on meanwhile: see below.", "Оно тем временем продвинулось: смотрите ниже.").to_owned()
        }
    })
}

struct Line {
    no: i32,
    account: String,
    account_short: String,
    payment: Option<(String, String)>,
    amount: String,
    state: Status,
    why: &'static str,
}

#[derive(Template)]
#[template(path = "bulk_one.html")]
struct One {
    shell: Shell,
    row: Bulk,
    title: String,
    state: Status,
    total: String,
    moved: String,
    effect: &'static str,
    chips: Vec<String>,
    path: &'static str,
    made: When,
    asked: Option<When>,
    approved: Option<(When, String)>,
    ended: Option<When>,
    progress: Progress,
    ended_share: i64,
    lines: Vec<Line>,
    states: Vec<Choice>,
    older: Option<String>,
    is_first: bool,
    is_draft: bool,
    waits: bool,
    runs: bool,
    paused: bool,
    is_own: bool,
    may_agree: bool,
    may_work: bool,
    reason: String,
    wrong: String,
}

pub(crate) async fn one(State(core): Shared, viewer: Viewer, Path(id): Path<String>, Asked(query): Asked) -> Answer {
    let id: Uuid = id.parse().map_err(|_| Problem::NotFound)?;
    show_one(&core, &viewer, id, &query, (StatusCode::OK, String::new())).await
}

async fn show_one(
    core: &Core,
    viewer: &Viewer,
    id: Uuid,
    query: &Params,
    (status, wrong): (StatusCode, String),
) -> Answer {
    let (only, behind) = (query.get("only").parse::<ItemState>().ok(), query.get("behind").parse::<i32>().ok());
    let part = behind.map_or(Part::First, Part::Behind);
    let mut conn = core.services.db.conn().await?;
    let read = conn
        .build_transaction()
        .read_only()
        .run(async |conn: &mut AsyncPgConnection| {
            briefly(conn).await?;
            let Some(row) = staff::bulk_by_id(conn, id).await? else { return Ok(None) };
            let limit = if row.state == BulkState::Draft { FIRST } else { ROWS };
            let progress = staff::bulk_progress(conn, id).await?;
            let items = staff::bulk_items(conn, id, only, part, limit).await?;
            Ok::<_, StoreError>(Some((row, progress, items)))
        })
        .await?;
    drop(conn);
    let (row, progress, items) = read.ok_or(Problem::NotFound)?;
    let section = if row.kind == BulkKind::Refund { Section::Payments } else { Section::Accounts };
    let (shell, visitor) = (Shell::new(core, section, viewer), viewer.visitor()?);
    let (lang, currency) = (shell.lang(), row.currency.unwrap_or(Currency::RUB));
    let is_draft = row.state == BulkState::Draft;
    let waits = row.state == BulkState::Waiting && !row.has_expired(shell.now);
    let runs = row.state == BulkState::Running;
    let conditions = Params::read(row.conditions.as_bytes());
    let choice = |state: &ItemState| Choice {
        value: state.as_str(),
        word: words::bulk_item(*state, lang).word.to_owned(),
        is_on: only == Some(*state),
    };
    let last = items.rows.last().filter(|_| items.has_behind && !is_draft);
    let ended = i64::from(row.items) - progress.waiting;
    let page = One {
        title: title(&row, lang),
        state: words::bulk(if row.has_expired(shell.now) { BulkState::Withdrawn } else { row.state }, lang),
        total: show::money(row.total, currency, lang),
        moved: show::money(progress.moved, currency, lang),
        effect: row.effect.map(|effect| words::effect(effect, lang)).unwrap_or_default(),
        chips: says(row.kind, &conditions, &shell),
        path: if row.kind == BulkKind::Refund { "payments" } else { "accounts" },
        made: shell.exactly(&row.created_at),
        asked: row.asked_at.map(|at| shell.exactly(&at)),
        approved: row.approved_at.map(|at| (shell.exactly(&at), row.approved_by.clone().unwrap_or_default())),
        ended: row.ended_at.map(|at| shell.exactly(&at)),
        ended_share: ended * 100 / i64::from(row.items.max(1)),
        progress,
        lines: items.rows.iter().map(|item| line(item, currency, lang)).collect(),
        states: ItemState::ALL.iter().map(choice).collect(),
        older: last.map(|item| query.with("behind", &item.no.to_string())),
        is_first: behind.is_none(),
        is_draft,
        waits,
        runs,
        paused: row.state == BulkState::Paused,
        is_own: row.made_by == visitor.staff.name,
        may_agree: visitor.has(Right::Agree),
        may_work: visitor.has(Right::GiveBack),
        reason: row.reason.clone().unwrap_or_default(),
        wrong,
        row,
        shell,
    };
    Ok((status, html(&page)).into_response())
}

pub(super) fn title(row: &Bulk, lang: Lang) -> String {
    let days = u64::try_from(row.days.unwrap_or_default()).unwrap_or_default();
    match row.kind {
        BulkKind::Refund => lang.of("Give everybody their money back", "Вернуть деньги всем").to_owned(),
        BulkKind::Extend => {
            let unit = lang.counted(days, ["day", "days"], ["день", "дня", "дней"]);
            format!("{} {days} {unit}", lang.of("Extend everybody by", "Продлить всем на"))
        }
    }
}

fn line(item: &BulkItem, currency: Currency, lang: Lang) -> Line {
    Line {
        no: item.no,
        account: item.account_id.to_string(),
        account_short: show::short(item.account_id),
        payment: item.payment_id.map(|id| (id.to_string(), show::short(id))),
        amount: item.amount.map(|amount| show::money(amount, currency, lang)).unwrap_or_default(),
        state: words::bulk_item(item.state, lang),
        why: item.why.map(|why| words::bulk_refusal(why, lang)).unwrap_or_default(),
    }
}

pub(crate) async fn ask(
    State(core): Shared,
    viewer: Viewer,
    Path(id): Path<String>,
    Extension(form): Extension<Params>,
) -> Answer {
    let id: Uuid = id.parse().map_err(|_| Problem::NotFound)?;
    let (db, by) = (&core.services.db, viewer.visitor()?.by(&viewer.address));
    let reason: String = form.get("reason").chars().filter(|c| !c.is_control() || *c == '\n').collect();
    let asked = ask_bulk(&mut *db.conn().await?, id, &reason, &by, db.now()).await;
    answer(&core, &viewer, id, asked).await
}

/// What is said to an action, by the last part of the address.
async fn tell(core: &Core, viewer: &Viewer, id: &str, word: BulkWord) -> Answer {
    let id: Uuid = id.parse().map_err(|_| Problem::NotFound)?;
    let (db, by) = (&core.services.db, viewer.visitor()?.by(&viewer.address));
    let told = tell_bulk(&mut *db.conn().await?, id, word, &by, db.now()).await;
    if told.as_ref().is_ok_and(|row| row.state == BulkState::Running) {
        // Each word begins a task of its own; should it be lost, the timetable sends another.
        let options = SendOptions::new().task_id(Uuid::now_v7().to_string());
        if let Err(error) = core.services.app.send_with(RunBulks {}, options).await {
            tracing::warn!(bulk = %id, %error, "not told to the workers; the timetable will");
        }
    }
    answer(core, viewer, id, told).await
}

pub(crate) async fn approve(State(core): Shared, viewer: Viewer, Path(id): Path<String>) -> Answer {
    tell(&core, &viewer, &id, BulkWord::Approve).await
}

pub(crate) async fn pause(State(core): Shared, viewer: Viewer, Path(id): Path<String>) -> Answer {
    tell(&core, &viewer, &id, BulkWord::Pause).await
}

pub(crate) async fn resume(State(core): Shared, viewer: Viewer, Path(id): Path<String>) -> Answer {
    tell(&core, &viewer, &id, BulkWord::Resume).await
}

pub(crate) async fn stop(State(core): Shared, viewer: Viewer, Path(id): Path<String>) -> Answer {
    tell(&core, &viewer, &id, BulkWord::Stop).await
}

pub(crate) async fn withdraw(State(core): Shared, viewer: Viewer, Path(id): Path<String>) -> Answer {
    tell(&core, &viewer, &id, BulkWord::Withdraw).await
}

async fn answer(core: &Core, viewer: &Viewer, id: Uuid, done: Result<Bulk, BulkError>) -> Answer {
    match done {
        Ok(_) => Ok(Redirect::to(&format!("/bulk/{id}")).into_response()),
        Err(error) => {
            let status = if matches!(error, BulkError::Reason) {
                StatusCode::UNPROCESSABLE_ENTITY
            } else {
                StatusCode::CONFLICT
            };
            let why = why_not(error, viewer.lang)?;
            show_one(core, viewer, id, &Params::default(), (status, why)).await
        }
    }
}

/// All of them, as a list.
pub(crate) struct Bulks;

impl List for Bulks {
    type Filter = (Option<BulkState>, Order);
    type Row = Bulk;
    type Cursor = (DateTime<Utc>, Uuid);

    const NAME: &'static str = "bulk";
    const COLUMNS: &'static [&'static str] = &[
        "id",
        "created_at",
        "kind",
        "days",
        "state",
        "rows",
        "left_out",
        "total",
        "currency",
        "made_by",
        "approved_by",
        "ended_at",
        "reason",
    ];

    fn filter(query: &Params, _: Tz) -> (Option<BulkState>, Order) {
        (query.get("state").parse().ok(), order(query, "created"))
    }

    fn read<'a>(
        conn: &'a mut AsyncPgConnection,
        (state, order): &'a (Option<BulkState>, Order),
        part: Part<(DateTime<Utc>, Uuid)>,
        limit: i64,
    ) -> BoxFuture<'a, Result<Slice<Bulk>, StoreError>> {
        Box::pin(staff::bulks(conn, *state, *order, part, limit))
    }

    fn cursor(row: &Bulk, _: &Self::Filter) -> (DateTime<Utc>, Uuid) {
        (row.created_at, row.id)
    }

    fn values(row: &Bulk) -> Vec<Value> {
        vec![
            Value::Text(row.id.to_string()),
            Value::At(row.created_at),
            Value::Text(row.kind.to_string()),
            Value::number(row.days.map(i64::from)),
            Value::Text(row.state.to_string()),
            Value::Number(row.items.into()),
            Value::Number(row.left_out.into()),
            row.currency.map_or(Value::Nothing, |currency| Value::Amount(row.total, currency)),
            Value::text(row.currency),
            Value::Text(row.made_by.clone()),
            Value::text(row.approved_by.as_ref()),
            Value::at(row.ended_at),
            Value::text(row.reason.as_ref()),
        ]
    }
}

impl Listed for Bulks {
    const SECTION: Section = Section::Bulk;
    const SORTED: &'static str = "-created";

    fn title(lang: Lang) -> &'static str {
        lang.of("Actions on many", "Массовые действия")
    }

    fn nothing(lang: Lang) -> &'static str {
        lang.of(
            "None yet: they begin at the lists of accounts and of payments.",
            "Их ещё не было: они начинаются в списках абонентов и платежей.",
        )
    }

    fn fields(query: &Params, shell: &Shell) -> Vec<Field> {
        let lang = shell.lang();
        let word = |state| words::bulk(state, lang).word;
        vec![Field::choice(query, "state", lang.of("State", "Состояние"), BulkState::ALL, BulkState::as_str, word)]
    }

    fn heads(lang: Lang) -> Vec<Head> {
        vec![
            Head::text(lang.of("Action", "Действие")),
            Head::text(lang.of("What", "Что")),
            Head::text(lang.of("Prepared", "Подготовлено")).by("-created"),
            Head::text(lang.of("State", "Состояние")),
            Head::number(lang.of("Rows", "Строк")),
            Head::number(lang.of("Money", "Сумма")),
            Head::text(lang.of("By", "Кем")),
            Head::text(lang.of("Why", "Причина")),
        ]
    }

    fn cells(row: &Bulk, shell: &Shell) -> Vec<Cell> {
        let lang = shell.lang();
        let total = row.currency.map(|currency| show::money(row.total, currency, lang));
        vec![
            Cell::link("bulk", Some(row.id)),
            Cell::Text(title(row, lang)),
            Cell::When(shell.exactly(&row.created_at)),
            Cell::State(words::bulk(row.state, lang)),
            Cell::Text(row.items.to_string()),
            Cell::Text(total.unwrap_or_default()),
            Cell::Text(row.made_by.clone()),
            Cell::Words(row.reason.clone().unwrap_or_default()),
        ]
    }

    fn read_cursor(text: &str) -> Option<(DateTime<Utc>, Uuid)> {
        let (at, id) = text.split_once('~')?;
        Some((DateTime::from_timestamp_micros(at.parse().ok()?)?, id.parse().ok()?))
    }

    fn write_cursor((at, id): &(DateTime<Utc>, Uuid)) -> String {
        format!("{}~{id}", at.timestamp_micros())
    }
}

/// The rows of one, for its report as a table.
pub(crate) struct BulkRows;

impl List for BulkRows {
    type Filter = (Uuid, Option<ItemState>);
    type Row = BulkItem;
    type Cursor = i32;

    const NAME: &'static str = "bulk-rows";
    const COLUMNS: &'static [&'static str] =
        &["no", "account", "payment", "amount", "state", "why", "refund", "ended_at"];

    fn filter(query: &Params, _: Tz) -> (Uuid, Option<ItemState>) {
        // No such action has rows.
        (query.get("of").parse().unwrap_or_default(), query.get("only").parse().ok())
    }

    fn read<'a>(
        conn: &'a mut AsyncPgConnection,
        (id, only): &'a (Uuid, Option<ItemState>),
        part: Part<i32>,
        limit: i64,
    ) -> BoxFuture<'a, Result<Slice<BulkItem>, StoreError>> {
        Box::pin(staff::bulk_items(conn, *id, *only, part, limit))
    }

    fn cursor(row: &BulkItem, _: &Self::Filter) -> i32 {
        row.no
    }

    fn values(row: &BulkItem) -> Vec<Value> {
        vec![
            Value::Number(row.no.into()),
            Value::Text(row.account_id.to_string()),
            Value::text(row.payment_id),
            row.amount.map_or(Value::Nothing, |amount| Value::Amount(amount, Currency::RUB)),
            Value::Text(row.state.to_string()),
            Value::text(row.why),
            Value::text(row.refund_id),
            Value::at(row.ended_at),
        ]
    }
}

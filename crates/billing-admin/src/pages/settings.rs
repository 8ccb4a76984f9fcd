//! What can be set: tariffs, when refused charges are tried again, who may give back how much; and what was set, by whom, which
//! can be taken back.

pub(crate) mod form;

use askama::Template;
use axum::Extension;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Redirect};
use billing::decline::DeclineGroup;
use billing::staff::Right;
use billing::store::reports::{self, Figure, Span};
use billing::store::staff::{
    MAX_REASON, Setting, SettingChange, SettingDone, SettingError, SettingKind, SettingOrder, SettingPreview,
    preview_setting, set, setting_change_of, setting_changes,
};
use billing::store::{StoreError, browse, declines, refunds, tariffs};
use billing::{Currency, TariffId};
use diesel_async::AsyncPgConnection;
use serde_json::Value;
use uuid::Uuid;

use self::form::Typed;
use super::{Answer, Shared, briefly};
use crate::Core;
use crate::page::{Problem, Section, Shell, Viewer, html};
use crate::params::{Asked, Params};
use crate::show::{self, When};
use crate::words;

/// Changes that are shown, the latest first.
const CHANGES: i64 = 30;
/// The shortest reason that says anything, in characters.
const MIN_REASON: usize = 3;

#[derive(Template)]
#[template(path = "settings.html")]
struct Page {
    shell: Shell,
    may_set: bool,
    is_done: bool,
    tariffs: Vec<TariffRow>,
    schedules: Vec<Row>,
    limits: Vec<LimitRow>,
    changes: Vec<Changed>,
}

struct TariffRow {
    id: TariffId,
    name: String,
    price: String,
    coming: String,
    trial: String,
    is_active: bool,
    two_stages: bool,
}

struct Row {
    subject: &'static str,
    name: &'static str,
    says: String,
}

struct LimitRow {
    role: String,
    name: String,
    alone: String,
    approves: String,
}

struct Changed {
    at: When,
    who: String,
    what: String,
    before: String,
    after: String,
    reason: String,
    /// The address at which it is taken back.
    take_back: String,
    state: &'static str,
}

pub(crate) async fn page(State(core): Shared, viewer: Viewer, Asked(query): Asked) -> Answer {
    let shell = Shell::new(&core, Section::Settings, &viewer);
    let lang = shell.lang();
    let mut conn = core.services.db.conn().await?;
    let (lines, schedules, limits, changes) = conn
        .build_transaction()
        .read_only()
        .run(async |conn: &mut AsyncPgConnection| {
            briefly(conn).await?;
            Ok::<_, StoreError>((
                browse::tariffs(conn, shell.now).await?,
                declines::all(conn).await?.1,
                refunds::limits(conn).await?,
                setting_changes(conn, CHANGES).await?,
            ))
        })
        .await?;
    drop(conn);
    let names: Vec<(TariffId, String)> = lines.iter().map(|line| (line.tariff.id, line.tariff.name.clone())).collect();
    let tariffs = lines.into_iter().map(|line| tariff_row(line, &shell)).collect();
    let schedules = schedules.iter().map(|(group, schedule)| Row {
        subject: group.as_str(),
        name: words::group(*group, lang),
        says: form::hours(schedule.hours(), lang),
    });
    let money = |amount| show::money(amount, Currency::RUB, lang);
    let limits = limits.into_iter().map(|limit| LimitRow {
        name: form::role(&limit.role, lang),
        alone: money(limit.alone),
        approves: money(limit.approves),
        role: limit.role,
    });
    Ok(html(&Page {
        may_set: viewer.visitor()?.has(Right::ChangeRules),
        is_done: query.get("done") == "yes",
        tariffs,
        schedules: schedules.collect(),
        limits: limits.collect(),
        changes: changes.into_iter().map(|change| changed(change, &names, &shell)).collect(),
        shell,
    }))
}

fn tariff_row(line: browse::TariffLine, shell: &Shell) -> TariffRow {
    let (tariff, lang) = (line.tariff, shell.lang());
    let next = line.next.map(|next| {
        let from = next.effective_from.with_timezone(&shell.zone).format(lang.of("%-d %b %Y", "%d.%m.%Y"));
        format!("{} {} {from}", show::money(next.amount, next.currency, lang), lang.of("from", "с"))
    });
    let trial = tariff.trial().map(|trial| {
        let days = u64::from(trial.days.unsigned_abs());
        let unit = lang.counted(days, ["day", "days"], ["день", "дня", "дней"]);
        format!("{days} {unit}, {}", show::money(trial.amount, trial.currency, lang))
    });
    TariffRow {
        id: tariff.id,
        price: show::money(tariff.amount, tariff.currency, lang),
        coming: next.unwrap_or_default(),
        trial: trial.unwrap_or_default(),
        is_active: tariff.is_active,
        two_stages: tariff.two_stages,
        name: tariff.name,
    }
}

fn changed(change: SettingChange, names: &[(TariffId, String)], shell: &Shell) -> Changed {
    let lang = shell.lang();
    let subject = form::subject(change.kind, &change.subject, names, lang);
    let says = |value: &Value| form::says(change.kind, value, shell);
    let state = match (&change.takes_back, change.taken_back) {
        (_, true) => lang.of("taken back", "отменено"),
        (Some(_), _) => lang.of("takes another back", "отменяет другое"),
        (None, _) => "",
    };
    let can = !change.taken_back && change.inverse().is_some();
    Changed {
        at: shell.when(&change.at),
        what: format!("{}: {subject}", form::kind(change.kind, lang)),
        before: says(&change.before),
        after: says(&change.after),
        take_back: if can { format!("/settings/changes/{}", change.id) } else { String::new() },
        who: change.name,
        reason: change.reason,
        state,
    }
}

#[derive(Template)]
#[template(path = "setting.html")]
struct One {
    shell: Shell,
    title: String,
    subject: String,
    /// Where the form goes.
    path: String,
    fields: Vec<form::Field>,
    may_set: bool,
    wrong: String,
    preview: Option<Shown>,
    reason: String,
    is_taken_back: bool,
}

/// What would happen.
struct Shown {
    id: Uuid,
    digest: String,
    before: String,
    after: String,
    notes: Vec<String>,
    /// When a refusal of this moment would be tried again: as it is, and as it would be.
    tries: Option<(Vec<When>, Vec<When>)>,
    /// What is sent with the confirmation.
    hidden: Vec<(&'static str, String)>,
}

/// What a page is of.
struct Subject {
    kind: SettingKind,
    id: String,
    name: String,
}

async fn subject(core: &Core, shell: &Shell, kind: &str, id: &str) -> Result<Subject, Problem> {
    let kind: SettingKind = kind.parse().map_err(|_| Problem::NotFound)?;
    let lang = shell.lang();
    let name = match kind {
        SettingKind::Price | SettingKind::Trial | SettingKind::Stages | SettingKind::Sale => {
            let id: TariffId = id.parse().map_err(|_| Problem::NotFound)?;
            let tariff = tariffs::get(&mut *core.services.db.conn().await?, id, shell.now).await?;
            tariff.ok_or(Problem::NotFound)?.name
        }
        SettingKind::Schedule => {
            let group: DeclineGroup = id.parse().map_err(|_| Problem::NotFound)?;
            words::group(group, lang).to_owned()
        }
        SettingKind::Rule => id.parse::<i32>().map_err(|_| Problem::NotFound)?.to_string(),
        SettingKind::Limit => {
            let known = refunds::limits(&mut *core.services.db.conn().await?).await?;
            let known = known.iter().any(|limit| limit.role == id);
            if known { form::role(id, lang) } else { return Err(Problem::NotFound) }
        }
    };
    Ok(Subject { kind, id: id.to_owned(), name })
}

pub(crate) async fn one(
    State(core): Shared,
    viewer: Viewer,
    Path((kind, id)): Path<(String, String)>,
    Asked(query): Asked,
) -> Answer {
    let shell = Shell::new(&core, Section::Settings, &viewer);
    let subject = subject(&core, &shell, &kind, &id).await?;
    let typed = form::read(subject.kind, &subject.id, &query, &shell);
    make(&core, shell, &subject, typed, &query, (Uuid::now_v7(), String::new(), "")).await
}

async fn make(
    core: &Core,
    shell: Shell,
    subject: &Subject,
    typed: Typed,
    query: &Params,
    (id, reason, wrong): (Uuid, String, &str),
) -> Answer {
    let lang = shell.lang();
    let mut wrong = wrong.to_owned();
    let mut conn = core.services.db.conn().await?;
    let preview = match typed {
        Typed::Nothing => None,
        Typed::Wrong(why) => {
            wrong = why.to_owned();
            None
        }
        Typed::Setting(setting) => match preview_setting(&mut conn, &setting, core.price_notice, shell.now).await {
            Ok(preview) => Some(shown(&mut conn, preview, id, query, &shell, core).await?),
            Err(error) => {
                wrong = form::refused(error, &shell)?;
                None
            }
        },
    };
    let fields = form::fields(&mut conn, subject.kind, &subject.id, query, &shell).await?;
    drop(conn);
    let status = if wrong.is_empty() { StatusCode::OK } else { StatusCode::UNPROCESSABLE_ENTITY };
    let page = One {
        title: form::kind(subject.kind, lang).to_owned(),
        subject: subject.name.clone(),
        path: format!("/settings/{}/{}", subject.kind, subject.id),
        fields,
        may_set: shell.viewer.visitor()?.has(Right::ChangeRules),
        wrong,
        preview,
        reason,
        is_taken_back: false,
        shell,
    };
    Ok((status, html(&page)).into_response())
}

async fn shown(
    conn: &mut AsyncPgConnection,
    preview: SettingPreview,
    id: Uuid,
    query: &Params,
    shell: &Shell,
    core: &Core,
) -> Result<Shown, Problem> {
    let kind = preview.setting.kind();
    let tries = match &preview.setting {
        Setting::Schedule { group, hours } => form::tries(*group, &preview.before, hours, shell),
        Setting::Rule(rule) => Some(form::tries_of_rule(conn, rule, shell).await?),
        _ => None,
    };
    Ok(Shown {
        id,
        digest: preview.digest,
        before: form::says(kind, &preview.before, shell),
        after: form::says(kind, &preview.after, shell),
        notes: notes(conn, &preview.setting, shell, core).await?,
        tries,
        hidden: form::names(kind).iter().map(|name| (*name, query.get(name).to_owned())).collect(),
    })
}

/// What changes for whom, and when.
async fn notes(
    conn: &mut AsyncPgConnection,
    setting: &Setting,
    shell: &Shell,
    core: &Core,
) -> Result<Vec<String>, Problem> {
    let lang = shell.lang();
    let mut notes = form::notes(setting, core.price_notice, shell);
    let Some(last) = reports::last_day(conn).await? else { return Ok(notes) };
    let day = last.format(lang.of("%-d %b %Y", "%d.%m.%Y"));
    match setting {
        Setting::Price(billing::models::TariffPrice { tariff_id, .. }) | Setting::NoPrice { tariff_id, .. } => {
            let sums = reports::totals(conn, Span { from: last, to: last }, &[Figure::Paying]).await?;
            let count: i64 = sums.iter().filter(|sum| sum.tariff_id == Some(*tariff_id)).map(|sum| sum.count).sum();
            notes.push(match lang.of("en", "ru") {
                "en" => format!("{count} subscribers were paying for this tariff on {day}."),
                _ => format!("Платящих за этот тариф на {day}: {count}."),
            });
        }
        Setting::Schedule { group, .. } => {
            let sums = reports::totals(conn, Span::ending(last, 30), &[Figure::Attempt]).await?;
            let label = format!("token:{group}");
            let count: i64 = sums.iter().filter(|sum| sum.label == label).map(|sum| sum.count).sum();
            notes.push(match lang.of("en", "ru") {
                "en" => format!("{count} charges of kept cards were refused so in the 30 days until {day}."),
                _ => format!("За 30 дней до {day} таких отказов по сохранённым картам: {count}."),
            });
        }
        _ => {}
    }
    Ok(notes)
}

pub(crate) async fn confirm(
    State(core): Shared,
    viewer: Viewer,
    Path((kind, id)): Path<(String, String)>,
    Extension(sent): Extension<Params>,
) -> Answer {
    let shell = Shell::new(&core, Section::Settings, &viewer);
    let subject = subject(&core, &shell, &kind, &id).await?;
    let Typed::Setting(setting) = form::read(subject.kind, &subject.id, &sent, &shell) else {
        return Err(Problem::Stale);
    };
    match order(&core, &shell, setting.clone(), None, &sent).await? {
        Ordered::Done => Ok(Redirect::to("/settings?done=yes").into_response()),
        Ordered::Again { id, reason, wrong } => {
            make(&core, shell, &subject, Typed::Setting(setting), &sent, (id, reason, &wrong)).await
        }
    }
}

enum Ordered {
    Done,
    /// The form is shown again, with what is wrong.
    Again {
        id: Uuid,
        reason: String,
        wrong: String,
    },
}

async fn order(
    core: &Core,
    shell: &Shell,
    setting: Setting,
    takes_back: Option<Uuid>,
    sent: &Params,
) -> Result<Ordered, Problem> {
    let (visitor, lang) = (shell.viewer.visitor()?, shell.lang());
    let id: Uuid = sent.get("id").parse().map_err(|_| Problem::Stale)?;
    let reason: String = sent.get("reason").chars().filter(|c| !c.is_control() || *c == '\n').collect();
    if !(MIN_REASON..=MAX_REASON).contains(&reason.chars().count()) {
        let wrong = lang.of(
            "Say why, in 3 to 500 characters; it stands in the log.",
            "Укажите причину, от 3 до 500 символов; она остаётся в журнале.",
        );
        return Ok(Ordered::Again { id, reason, wrong: wrong.to_owned() });
    }
    let order = SettingOrder {
        id,
        setting,
        takes_back,
        digest: sent.get("digest").to_owned(),
        reason: reason.clone(),
        staff_id: visitor.staff.id,
        by: visitor.by(&shell.viewer.address),
        notice: core.price_notice,
    };
    let done = set(&mut *core.services.db.conn().await?, &order, shell.now).await;
    if billing::trail::take_news() {
        core.services.bell.ring();
    }
    match done {
        Ok(SettingDone::Now | SettingDone::Before) => Ok(Ordered::Done),
        Ok(SettingDone::Changed(_)) => {
            let wrong = lang.of(
                "Something else was set since you looked. Nothing was done; this is what would happen now.",
                "С тех пор, как вы смотрели, настройку изменили. Ничего не сделано; вот что произойдёт теперь.",
            );
            Ok(Ordered::Again { id, reason, wrong: wrong.to_owned() })
        }
        Err(SettingError::FormReused) => Err(Problem::Stale),
        Err(error) => Ok(Ordered::Again { id, reason, wrong: form::refused(error, shell)? }),
    }
}

/// Taking a change back: another change, to what was set before.
pub(crate) async fn take_back(State(core): Shared, viewer: Viewer, Path(id): Path<String>) -> Answer {
    let shell = Shell::new(&core, Section::Settings, &viewer);
    back(&core, shell, &id, (Uuid::now_v7(), String::new(), String::new())).await
}

async fn change(core: &Core, id: &str) -> Result<(SettingChange, Setting), Problem> {
    let id: Uuid = id.parse().map_err(|_| Problem::NotFound)?;
    let change = setting_change_of(&mut *core.services.db.conn().await?, id).await?.ok_or(Problem::NotFound)?;
    let inverse = change.inverse().ok_or(Problem::NotFound)?;
    Ok((change, inverse))
}

async fn back(core: &Core, shell: Shell, id: &str, (form, reason, wrong): (Uuid, String, String)) -> Answer {
    let (change, inverse) = change(core, id).await?;
    let lang = shell.lang();
    let names = match change.subject.parse::<TariffId>() {
        Ok(tariff) => {
            let tariff = tariffs::get(&mut *core.services.db.conn().await?, tariff, shell.now).await?;
            tariff.map(|tariff| (tariff.id, tariff.name)).into_iter().collect()
        }
        Err(_) => Vec::new(),
    };
    let mut conn = core.services.db.conn().await?;
    let mut wrong = wrong;
    let tried = match change.taken_back {
        true => Err(SettingError::ChangedSince),
        false => preview_setting(&mut conn, &inverse, core.price_notice, shell.now).await,
    };
    let preview = match tried {
        Ok(preview) => Some(shown(&mut conn, preview, form, &Params::default(), &shell, core).await?),
        Err(error) => {
            wrong = form::refused(error, &shell)?;
            None
        }
    };
    drop(conn);
    let status = if wrong.is_empty() { StatusCode::OK } else { StatusCode::UNPROCESSABLE_ENTITY };
    let page = One {
        title: lang.of("Take a change back", "Отменить изменение").to_owned(),
        subject: format!(
            "{}: {}",
            form::kind(change.kind, lang),
            form::subject(change.kind, &change.subject, &names, lang)
        ),
        path: format!("/settings/changes/{}", change.id),
        fields: Vec::new(),
        may_set: shell.viewer.visitor()?.has(Right::ChangeRules) && !change.taken_back,
        wrong,
        preview,
        reason,
        is_taken_back: true,
        shell,
    };
    Ok((status, html(&page)).into_response())
}

pub(crate) async fn confirm_back(
    State(core): Shared,
    viewer: Viewer,
    Path(id): Path<String>,
    Extension(sent): Extension<Params>,
) -> Answer {
    let shell = Shell::new(&core, Section::Settings, &viewer);
    let (change, inverse) = change(&core, &id).await?;
    match order(&core, &shell, inverse, Some(change.id), &sent).await? {
        Ordered::Done => Ok(Redirect::to("/settings?done=yes").into_response()),
        Ordered::Again { id: form, reason, wrong } => back(&core, shell, &id, (form, reason, wrong)).await,
    }
}

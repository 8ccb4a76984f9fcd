//! What refusals mean: when they are tried again, and what customers are told of them.

use askama::Template;
use axum::Extension;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Redirect};
use billing::decline::{BadRule, CustomerAction, DeclineGroup, Rule, Schedule};
use billing::staff::Right;
use billing::store::declines::{self, Author, Change, ChangeError};
use billing::store::staff::{RuleChanged, change_rule, seen_rule};
use billing::text::Text;
use chrono::TimeDelta;
use serde_json::Value;

use super::{Answer, Shared};
use crate::Core;
use crate::lang::Lang;
use crate::page::{Choice, Problem, Section, Shell, Viewer, html};
use crate::params::Params;
use crate::show::When;
use crate::words;

/// Changes that are shown, the latest first.
const CHANGES: i64 = 20;
/// The shortest reason that says anything, in characters.
const MIN_REASON: usize = 3;

#[derive(Template)]
#[template(path = "rules.html")]
struct Page {
    shell: Shell,
    groups: Vec<Group>,
    changes: Vec<Changed>,
}

struct Group {
    name: &'static str,
    hours: String,
    rules: Vec<Row>,
}

struct Row {
    code: i32,
    tries: i32,
    message: String,
    action: String,
}

struct Changed {
    version: i64,
    at: When,
    who: String,
    subject: String,
    reason: String,
    before: String,
    after: String,
}

pub(crate) async fn page(State(core): Shared, viewer: Viewer) -> Answer {
    let shell = Shell::new(&core, Section::Rules, &viewer);
    let lang = shell.lang();
    let (rules, schedules, changes) = {
        let mut conn = core.services.db.conn().await?;
        let (rules, schedules) = declines::all(&mut conn).await?;
        (rules, schedules, declines::changes(&mut conn, CHANGES).await?)
    };
    let group = |group: &DeclineGroup| {
        let schedule = schedules.iter().find(|(of, _)| of == group);
        let of_group = rules.iter().filter(|rule| rule.group == *group);
        Group {
            name: words::group(*group, lang),
            hours: schedule.map(|(_, schedule)| hours(schedule, lang)).unwrap_or_default(),
            rules: of_group.map(|rule| row(rule, lang)).collect(),
        }
    };
    let groups = DeclineGroup::ALL.iter().map(group).filter(|group| !group.rules.is_empty()).collect();
    let changes = changes.into_iter().map(|change| changed(change, &shell)).collect();
    Ok(html(&Page { shell, groups, changes }))
}

fn row(rule: &Rule, lang: Lang) -> Row {
    Row {
        code: rule.code,
        tries: rule.max_retries,
        message: lang.text(&rule.message),
        action: lang.text(&rule.action.text()),
    }
}

fn changed(change: Change, shell: &Shell) -> Changed {
    let json = |value: Option<Value>| value.map(|value| value.to_string()).unwrap_or_default();
    Changed {
        version: change.version,
        at: shell.when(&change.at),
        who: change.actor,
        subject: change.subject,
        reason: change.reason,
        before: json(change.before),
        after: json(change.after),
    }
}

/// `29 h, 72 h`.
fn hours(schedule: &Schedule, lang: Lang) -> String {
    let hours: Vec<String> = schedule.hours().iter().map(|hours| format!("{hours} {}", lang.of("h", "ч"))).collect();
    if hours.is_empty() { lang.of("never", "никогда").to_owned() } else { hours.join(", ") }
}

#[derive(Template)]
#[template(path = "rule.html")]
struct One {
    shell: Shell,
    code: i32,
    groups: Vec<Choice>,
    actions: Vec<Choice>,
    tries: String,
    en: String,
    ru: String,
    reason: String,
    seen: String,
    wrong: &'static str,
    may_change: bool,
    /// When a refusal of this moment would be tried again.
    again: Vec<When>,
}

/// The rule as somebody types it.
struct Typed {
    rule: Rule,
    tries: String,
    reason: String,
}

pub(crate) async fn one(State(core): Shared, viewer: Viewer, Path(code): Path<String>) -> Answer {
    let code: i32 = code.parse().map_err(|_| Problem::NotFound)?;
    let rule = declines::ruling(&mut *core.services.db.conn().await?, code).await?.rule;
    let tries = rule.max_retries.to_string();
    make(&core, &viewer, Typed { rule, tries, reason: String::new() }, "").await
}

async fn make(core: &Core, viewer: &Viewer, typed: Typed, wrong: &'static str) -> Answer {
    let Typed { rule, tries, reason } = typed;
    let ruling = declines::ruling(&mut *core.services.db.conn().await?, rule.code).await?;
    let shell = Shell::new(core, Section::Rules, viewer);
    let lang = shell.lang();
    let group = |group: &DeclineGroup| Choice {
        value: group.as_str(),
        word: words::group(*group, lang).to_owned(),
        is_on: rule.group == *group,
    };
    let action = |action: &CustomerAction| {
        let text = lang.text(&action.text());
        let word = if text.is_empty() {
            lang.of("Nothing: it may pass", "Ничего: может пройти").to_owned()
        } else {
            text
        };
        Choice { value: action.as_str(), word, is_on: rule.action == *action }
    };
    let schedule = ruling.terms().schedule;
    let again = schedule.hours().iter().map(|hours| shell.when(&(shell.now + TimeDelta::hours(i64::from(*hours)))));
    let again = again.collect();
    let status = if wrong.is_empty() { StatusCode::OK } else { StatusCode::UNPROCESSABLE_ENTITY };
    let page = One {
        code: rule.code,
        groups: DeclineGroup::ALL.iter().map(group).collect(),
        actions: CustomerAction::ALL.iter().map(action).collect(),
        tries,
        en: rule.message.en,
        ru: rule.message.ru,
        reason,
        seen: seen_rule(&ruling.rule),
        wrong,
        may_change: viewer.visitor()?.has(Right::ChangeRules),
        again,
        shell,
    };
    Ok((status, html(&page)).into_response())
}

pub(crate) async fn change(
    State(core): Shared,
    viewer: Viewer,
    Path(code): Path<String>,
    Extension(form): Extension<Params>,
) -> Answer {
    let code: i32 = code.parse().map_err(|_| Problem::NotFound)?;
    let (visitor, lang, db) = (viewer.visitor()?, viewer.lang, &core.services.db);
    let (Ok(group), Ok(action)) = (form.get("group").parse(), form.get("action").parse()) else {
        return Err(Problem::NotFound);
    };
    let (tries, reason) = (form.get("tries").to_owned(), form.get("reason").to_owned());
    let rule = Rule {
        code,
        group,
        max_retries: tries.parse().unwrap_or(-1),
        action,
        message: Text::new(form.get("en"), form.get("ru")),
    };
    let typed = |rule: &Rule| Typed { rule: rule.clone(), tries: tries.clone(), reason: reason.clone() };
    if reason.chars().count() < MIN_REASON {
        let wrong = lang.of("Say why: it is kept with the change.", "Укажите причину: она остаётся с изменением.");
        return make(&core, &viewer, typed(&rule), wrong).await;
    }
    let now = db.now();
    let author = Author { actor: visitor.staff.name.clone(), reason: reason.clone(), now };
    let (by, seen) = (visitor.by(&viewer.address), form.get("seen"));
    let changed = change_rule(&mut *db.conn().await?, &rule, seen, &author, &by).await;
    let wrong = match changed {
        Ok(RuleChanged::Now(_)) => return Ok(Redirect::to("/rules").into_response()),
        Ok(RuleChanged::Meanwhile) => lang.of(
            "Somebody has changed this rule since you looked. Nothing was done; look at it again.",
            "С тех пор, как вы смотрели, правило изменили. Ничего не сделано; посмотрите ещё раз.",
        ),
        Err(ChangeError::Rule(BadRule::Retries)) => lang.of("From 0 to 8 tries.", "Попыток может быть от 0 до 8."),
        Err(ChangeError::Rule(BadRule::CardIsBarred(_))) => lang.of(
            "After a refusal of this group the card is not charged again: no tries.",
            "После отказа этой группы карта больше не списывается: попыток быть не может.",
        ),
        Err(ChangeError::Rule(BadRule::Message(_))) => {
            lang.of("Both messages need 1 to 300 characters.", "Оба текста должны быть от 1 до 300 символов.")
        }
        Err(ChangeError::NoChange) => lang.of("It is so already.", "Это уже так."),
        Err(ChangeError::Store(error)) => return Err(error.into()),
        Err(_) => lang.of("This cannot be changed so.", "Так изменить нельзя."),
    };
    make(&core, &viewer, typed(&rule), wrong).await
}

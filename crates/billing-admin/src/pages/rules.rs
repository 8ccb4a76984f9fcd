//! What refusals mean: when they are tried again, and what customers are told of them. A rule is changed among the settings.

use askama::Template;
use axum::extract::State;
use billing::decline::{DeclineGroup, Rule, Schedule};
use billing::store::declines::{self, Change};
use serde_json::Value;

use super::{Answer, Shared};
use crate::lang::Lang;
use crate::page::{Section, Shell, Viewer, html};
use crate::show::When;
use crate::words;

/// Changes that are shown, the latest first.
const CHANGES: i64 = 20;

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

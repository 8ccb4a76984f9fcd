//! What operators did.

use askama::Template;
use axum::extract::{Path, State};
use axum::response::Response;
use chrono_tz::Tz;

use super::Shared;
use crate::log::{Answer, Done};
use crate::page::{Problem, Section, Shell, Viewer, html, problem_page};
use crate::show::{Pill, When};

#[derive(Template)]
#[template(path = "log.html")]
struct Page {
    shell: Shell,
    rows: Vec<Row>,
}

#[derive(Template)]
#[template(path = "done.html")]
struct One {
    shell: Shell,
    row: Row,
    answers: Vec<Answer>,
}

struct Row {
    number: u64,
    at: When,
    who: String,
    what: String,
    why: String,
    outcome: Pill,
}

pub(crate) async fn page(State(core): Shared, viewer: Viewer) -> Response {
    let rows = core.log.all().iter().map(|done| row(done, core.zone)).collect();
    html(&Page { shell: Shell::new(&core, Section::Log, &viewer), rows })
}

pub(crate) async fn one(State(core): Shared, Path(number): Path<String>, viewer: Viewer) -> Response {
    let Some(done) = number.parse().ok().and_then(|number| core.log.get(number)) else {
        return problem_page(&core, &viewer, Problem::NotFound);
    };
    let row = row(&done, core.zone);
    html(&One { shell: Shell::new(&core, Section::Log, &viewer), row, answers: done.answers.unwrap_or_default() })
}

fn row(done: &Done, zone: Tz) -> Row {
    let refused = done.answers.iter().flatten().filter(|answer| answer.is_refusal).count();
    let outcome = match &done.answers {
        None => Pill::new("run", "▶", "under way"),
        Some(_) if refused == 0 => Pill::new("ok", "✓", "done"),
        Some(answers) if refused < answers.len() => Pill::new("doubt", "!", "refused by some"),
        Some(_) => Pill::new("bad", "✕", "not done"),
    };
    Row {
        number: done.number,
        at: When::full(done.at, zone),
        who: done.who.clone(),
        what: done.what.clone(),
        why: done.why.clone(),
        outcome,
    }
}

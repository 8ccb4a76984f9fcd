//! The schedule: what is sent when, and who sends it.

use askama::Template;
use axum::extract::State;
use axum::response::Response;

use super::Shared;
use crate::Core;
use crate::cluster::{Planned, in_words};
use crate::guard::Asked;
use crate::page::{Problem, Section, Shell, Viewer, html, problem_page};
use crate::show::{Pill, When, duration, encoded};

#[derive(Template)]
#[template(path = "schedule.html", blocks = ["live"])]
struct Page {
    shell: Shell,
    leader: Leader,
    lag: Option<String>,
    rows: Vec<Row>,
    is_asked: bool,
}

enum Leader {
    Unknown(String),
    Nobody,
    Beat { name: String, term: u64 },
}

struct Row {
    name: String,
    href: String,
    task: String,
    rule: String,
    state: Pill,
    last: Option<When>,
    next: Option<When>,
}

pub(crate) async fn page(State(core): Shared, viewer: Viewer, Asked(query): Asked) -> Response {
    if core.timetable.is_none() {
        return problem_page(&core, &viewer, Problem::NotFound);
    }
    let shell = Shell::new(&core, Section::Schedule, &viewer).live("/schedule", &query);
    html(&made(&core, shell))
}

pub(crate) fn live(core: &Core, viewer: &Viewer) -> Option<String> {
    core.timetable.as_ref()?;
    made(core, Shell::new(core, Section::Schedule, viewer)).as_live().render().ok()
}

fn made(core: &Core, shell: Shell) -> Page {
    let cluster = core.cluster.read();
    let Some(schedule) = &cluster.schedule else {
        return Page { shell, leader: Leader::Nobody, lag: None, rows: Vec::new(), is_asked: false };
    };
    let leader = match &schedule.leader {
        Err(error) => Leader::Unknown(error.clone()),
        Ok(None) => Leader::Nobody,
        Ok(Some(lease)) => Leader::Beat { name: lease.beat.clone(), term: lease.term },
    };
    let lag = schedule.lag().as_secs_f64();
    let row = |entry: &Planned| Row {
        name: entry.name.clone(),
        href: format!("{}/schedule/{}", shell.base, encoded(&entry.name)),
        task: entry.task.clone().unwrap_or_else(|| "in the code of a beat".to_owned()),
        rule: entry.rule.as_ref().map_or_else(|| "–".to_owned(), in_words),
        state: if !entry.enabled {
            Pill::new("idle", "–", "off")
        } else if entry.next.is_some_and(|next| next < schedule.at) {
            Pill::new("doubt", "◷", "due")
        } else {
            Pill::new("ok", "●", "on")
        },
        last: entry.last.map(|at| When::to_the_second(at, core.zone)),
        next: entry.next.map(|at| When::to_the_second(at, core.zone)),
    };
    let rows = schedule.entries.iter().map(row).collect();
    Page { leader, lag: (lag >= 1.0).then(|| duration(lag)), rows, is_asked: true, shell }
}

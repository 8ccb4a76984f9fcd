//! One entry of the schedule, and what can be done to it.

use askama::Template;
use axum::extract::{Path, State};
use axum::response::{IntoResponse as _, Response};

use super::Shared;
use crate::page::{Problem, Section, Shell, Viewer, html, problem_page};
use crate::show::encoded;

#[derive(Template)]
#[template(path = "entry.html")]
struct Page {
    shell: Shell,
    name: String,
    task: String,
    task_query: String,
    rule: String,
    enabled: bool,
    is_stored: bool,
}

pub(crate) async fn page(State(core): Shared, Path(name): Path<String>, viewer: Viewer) -> Response {
    let Some(timetable) = &core.timetable else { return problem_page(&core, &viewer, Problem::NotFound) };
    let planned = {
        let cluster = core.cluster.read();
        cluster.schedule.as_ref().and_then(|schedule| schedule.entries.iter().find(|entry| entry.name == name).cloned())
    };
    let Some(planned) = planned else { return problem_page(&core, &viewer, Problem::NotFound) };
    let found = timetable.entry(&name).await.ok().flatten();
    let page = Page {
        shell: Shell::new(&core, Section::Schedule, &viewer),
        task: planned.task.clone().unwrap_or_else(|| "in the code of a beat".to_owned()),
        task_query: encoded(planned.task.as_deref().unwrap_or_default()),
        rule: found.as_ref().and_then(|found| found.rule.clone()).unwrap_or_else(|| "–".to_owned()),
        enabled: planned.enabled,
        is_stored: found.is_some_and(|found| found.is_stored),
        name,
    };
    html(&page).into_response()
}

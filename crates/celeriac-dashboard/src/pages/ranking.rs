//! Which tasks fail, and which are slow, hour by hour.

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use celeriac::protocol::State as TaskState;

use super::Shared;
use crate::Core;
use crate::guard::Asked;
use crate::history::Ranked;
use crate::memory::{Filter, Picture};
use crate::page::{Section, Shell, Viewer, html};
use crate::show::{When, duration, encoded, number};

const HOUR: f64 = 3_600.0;
/// Names of one ranking.
const MOST: usize = 50;

#[derive(Template)]
#[template(path = "ranking.html")]
struct Page {
    shell: Shell,
    from: When,
    to: When,
    by_failures: bool,
    rows: Vec<Row>,
    earlier: String,
    later: Option<String>,
    other_order: String,
    trouble: Option<String>,
}

struct Row {
    name: String,
    href: String,
    heard: String,
    failed: String,
    retried: String,
    p95: String,
    longest: String,
}

pub(crate) async fn page(State(core): Shared, viewer: Viewer, Asked(query): Asked) -> Response {
    let shell = Shell::new(&core, Section::Tasks, &viewer);
    let this_hour = (shell.now / HOUR) as i64;
    let hour = query.get("hour").parse::<i64>().unwrap_or(this_hour).clamp(0, this_hour);
    let by_failures = query.get("by") != "time";
    let (from, to) = (hour as f64 * HOUR, (hour + 1) as f64 * HOUR);
    let (ranked, trouble) = ranked(&core, from, to, by_failures).await;
    let address = |hour: i64, by_failures: bool| {
        let by = if by_failures { "failures" } else { "time" };
        format!("{}/ranking?hour={hour}&by={by}", shell.base)
    };
    html(&Page {
        from: When::short(from, shell.now, core.zone),
        to: When::short(to, shell.now, core.zone),
        rows: ranked.into_iter().map(|ranked| row(&core, ranked, by_failures)).collect(),
        earlier: address((hour - 1).max(0), by_failures),
        later: (hour < this_hour).then(|| address(hour + 1, by_failures)),
        other_order: address(hour, !by_failures),
        by_failures,
        trouble,
        shell,
    })
}

async fn ranked(core: &Core, from: f64, to: f64, by_failures: bool) -> (Vec<Ranked>, Option<String>) {
    let trouble = match &core.history {
        None => None,
        Some(history) => match history.ranking(from, to, by_failures, MOST).await {
            Ok(ranked) => return (ranked, None),
            Err(trouble) => Some(trouble.to_string()),
        },
    };
    (of_memory(&core.picture.read(), from, to, by_failures), trouble)
}

fn of_memory(picture: &Picture, from: f64, to: f64, by_failures: bool) -> Vec<Ranked> {
    let hour = Filter { from: Some(from), to: Some(to), ..Filter::default() };
    let mut names: Vec<(Ranked, Vec<f64>)> = Vec::new();
    let mut places = std::collections::HashMap::new();
    for kept in picture.tasks.all(&hour) {
        let name = kept.task.name.clone().unwrap_or_default();
        let place = *places.entry(name.clone()).or_insert_with(|| {
            names.push((Ranked { name, ..Ranked::default() }, Vec::new()));
            names.len() - 1
        });
        let (ranked, ran) = &mut names[place];
        ranked.heard += 1;
        ranked.failed += u64::from(kept.task.state == TaskState::Failure);
        ranked.retried += u64::from(kept.task.state == TaskState::Retry);
        ran.extend(kept.ran());
    }
    let ranked = names.into_iter().map(|(ranked, mut ran)| {
        ran.sort_by(f64::total_cmp);
        let at = (ran.len() * 95).div_ceil(100).checked_sub(1);
        Ranked { p95: at.and_then(|at| ran.get(at).copied()), longest: ran.last().copied(), ..ranked }
    });
    let mut ranked: Vec<Ranked> = ranked.collect();
    ranked.sort_by(|a, b| {
        let first = if by_failures {
            b.failed.cmp(&a.failed).then(b.retried.cmp(&a.retried))
        } else {
            b.p95.unwrap_or(-1.0).total_cmp(&a.p95.unwrap_or(-1.0))
        };
        first.then_with(|| a.name.cmp(&b.name))
    });
    ranked.truncate(MOST);
    ranked
}

fn row(core: &Core, ranked: Ranked, by_failures: bool) -> Row {
    let told = |seconds: Option<f64>| seconds.map_or_else(|| "–".to_owned(), duration);
    let state = if by_failures && ranked.failed > 0 { "&state=FAILURE" } else { "" };
    Row {
        href: format!("{}/tasks?name={}{state}", core.base, encoded(&ranked.name)),
        heard: number(ranked.heard),
        failed: number(ranked.failed),
        retried: number(ranked.retried),
        p95: told(ranked.p95),
        longest: told(ranked.longest),
        name: if ranked.name.is_empty() { "name not heard".to_owned() } else { ranked.name },
    }
}

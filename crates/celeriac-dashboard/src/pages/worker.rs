//! One worker: what was heard of it, and what it replies when it is asked.

use askama::Template;
use axum::extract::{Path, State};
use axum::response::Response;
use celeriac::clock::unix_seconds;
use celeriac::control::Command;
use serde_json::Value;

use super::Shared;
use super::workers::{Row, row};
use crate::Core;
use crate::cluster::PATIENCE;
use crate::guard::Asked;
use crate::hiding::HIDDEN;
use crate::page::{Problem, Section, Shell, Viewer, html, problem_page};
use crate::show::{When, duration, encoded, shortened};

/// Tasks of one kind that are listed.
const MAX_TASKS: usize = 100;
/// The longest text of settings or of a reply, in characters.
const MAX_TEXT: usize = 20_000;

#[derive(Template)]
#[template(path = "worker.html", blocks = ["live"])]
struct Page {
    shell: Shell,
    name: String,
    row: Row,
    /// `None`: nothing was asked.
    answers: Option<Answers>,
}

/// What it says to each question; `None`: no reply in time.
struct Answers {
    active: Option<Tasks>,
    reserved: Option<Tasks>,
    scheduled: Option<Tasks>,
    queues: Option<Vec<String>>,
    registered: Option<Vec<String>>,
    stats: Option<String>,
    conf: Option<String>,
    patience: u64,
    is_silent: bool,
}

struct Tasks {
    rows: Vec<Task>,
    left_out: usize,
}

struct Task {
    id: String,
    short: String,
    href: String,
    name: String,
    arguments: String,
    began: Option<When>,
    age: String,
}

pub(crate) async fn page(
    State(core): Shared,
    Path(name): Path<String>,
    viewer: Viewer,
    Asked(query): Asked,
) -> Response {
    let is_known = core.picture.read().workers.get(&name).is_some() || core.cluster.read().workers.contains_key(&name);
    if !is_known {
        return problem_page(&core, &viewer, Problem::NotFound);
    }
    let shell = Shell::new(&core, Section::Workers, &viewer).live(&format!("/worker/{}", encoded(&name)), &query);
    let answers = ask(&core, &viewer, &name).await;
    html(&Page { answers: Some(answers), ..made(&core, shell, name) })
}

/// Only what was heard: nobody is asked for an open page.
pub(crate) fn live(core: &Core, viewer: &Viewer, name: &str) -> Option<String> {
    made(core, Shell::new(core, Section::Workers, viewer), name.to_owned()).as_live().render().ok()
}

fn made(core: &Core, shell: Shell, name: String) -> Page {
    let (picture, cluster) = (core.picture.read(), core.cluster.read());
    let row = row(&shell.base, &name, picture.workers.get(&name), cluster.workers.get(&name), unix_seconds());
    Page { shell, name, row, answers: None }
}

async fn ask(core: &Core, viewer: &Viewer, node: &str) -> Answers {
    let one = async |command: Command| -> Option<Value> {
        let reply = core.control.call(command.to([node]), PATIENCE).await.ok()?.next().await?;
        serde_json::from_slice(reply.value.as_bytes()).ok()
    };
    let (active, reserved, scheduled, queues, registered, stats, conf) = tokio::join!(
        one(Command::active(true)),
        one(Command::reserved()),
        one(Command::scheduled()),
        one(Command::active_queues()),
        one(Command::registered([])),
        one(Command::stats()),
        one(Command::conf(false)),
    );
    let names = |said: &Value| {
        let texts = said.as_array().into_iter().flatten().filter_map(Value::as_str);
        texts.map(str::to_owned).collect::<Vec<_>>()
    };
    let is_silent = active.is_none() && stats.is_none() && queues.is_none();
    Answers {
        active: active.map(|said| tasks(core, viewer, &said)),
        reserved: reserved.map(|said| tasks(core, viewer, &said)),
        scheduled: scheduled.map(|said| tasks(core, viewer, &said)),
        queues: queues.map(|said| crate::cluster::queue_names_of(&said)),
        registered: registered.map(|said| names(&said)),
        stats: stats.map(|said| pretty(&said)),
        conf: conf.map(|said| pretty(&said)),
        patience: PATIENCE.as_secs(),
        is_silent,
    }
}

fn pretty(said: &Value) -> String {
    let text = serde_json::to_string_pretty(said).unwrap_or_default();
    text.chars().take(MAX_TEXT).collect()
}

/// The tasks in a reply. Those that wait for their time stand in a `request`.
fn tasks(core: &Core, viewer: &Viewer, said: &Value) -> Tasks {
    let all: Vec<&Value> = said.as_array().into_iter().flatten().collect();
    let left_out = all.len().saturating_sub(MAX_TASKS);
    let now = unix_seconds();
    let task = |said: &&Value| {
        let request = said.get("request").unwrap_or(said);
        let text = |name: &str| request.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let shown = |name: &str| match request.get(name) {
            None | Some(Value::Null) => String::new(),
            Some(Value::String(text)) => text.clone(),
            Some(other) => other.to_string(),
        };
        let id = text("id");
        let began = request.get("time_start").and_then(Value::as_f64);
        let arguments: String = format!("{} {}", shown("args"), shown("kwargs")).chars().take(300).collect();
        let due = said.get("eta").and_then(Value::as_str);
        Task {
            short: shortened(&id),
            href: format!("{}/tasks/{}", core.base, encoded(&id)),
            arguments: if core.hiding.shows_to(viewer) && !core.hiding.hides(Some(&text("name"))) {
                arguments
            } else {
                HIDDEN.to_owned()
            },
            name: text("name"),
            began: began.map(|at| When::short(at, now, core.zone)),
            age: match (began, due) {
                (_, Some(due)) => format!("due {due}"),
                (Some(at), None) => duration(now - at),
                (None, None) => "–".to_owned(),
            },
            id,
        }
    };
    Tasks { rows: all.iter().take(MAX_TASKS).map(task).collect(), left_out }
}

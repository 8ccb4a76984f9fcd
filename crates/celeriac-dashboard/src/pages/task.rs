//! One task: what happened to it, step by step, and what it belongs to.

use askama::Template;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use celeriac::clock::unix_seconds;
use celeriac::protocol::{ResultMeta, State as TaskState};

use super::Shared;
use super::canvas::{self, Workflow};
use crate::find;
use crate::guard::Asked;
use crate::hiding::HIDDEN;
use crate::memory::{Kept, Picture, Text};
use crate::page::{Section, Shell, Viewer, html};
use crate::show::{Pill, When, duration, encoded, number};
use crate::{Core, Link};

/// The longest text from the result backend, in characters.
const MAX_TEXT: usize = 1_000;

#[derive(Template)]
#[template(path = "task.html", blocks = ["live"])]
struct Page {
    shell: Shell,
    id: String,
    heard: Option<Heard>,
    /// What the result backend has, where nothing was heard.
    stored: Option<Stored>,
    /// Why the result backend does not say.
    no_result: Option<String>,
    link: Option<Link>,
}

struct Heard {
    name: String,
    state: Pill,
    is_ended: bool,
    facts: Vec<(&'static str, String)>,
    eta: Option<String>,
    expires: Option<String>,
    waited: Option<String>,
    ran: Option<String>,
    steps: Vec<StepRow>,
    left_out: usize,
    arguments: Vec<(&'static str, Clipped)>,
    result: Option<Clipped>,
    error: Option<Clipped>,
    traceback: Option<Clipped>,
    workflow: Workflow,
}

struct StepRow {
    what: String,
    at: When,
    by: String,
    by_href: Option<String>,
    after: Option<String>,
    error: Option<String>,
}

/// A text that may have been cut.
struct Clipped {
    text: String,
    was: Option<String>,
}

struct Stored {
    state: Pill,
    result: String,
    traceback: Option<String>,
    ended: Option<When>,
}

pub(crate) async fn page(State(core): Shared, Path(id): Path<String>, viewer: Viewer, Asked(query): Asked) -> Response {
    let shell = Shell::new(&core, Section::Tasks, &viewer).live(&format!("/task/{}", encoded(&id)), &query);
    let mut page = made(&core, &viewer, shell, id).await;
    if page.heard.is_none() {
        page.shell.live = None;
        match core.app.result::<()>(page.id.as_str()).meta().await {
            Ok(meta) => page.stored = meta.map(|meta| stored(&core, &viewer, &meta)),
            Err(error) => page.no_result = Some(error.to_string()),
        }
    }
    let is_known = page.heard.is_some() || page.stored.is_some();
    (if is_known { StatusCode::OK } else { StatusCode::NOT_FOUND }, html(&page)).into_response()
}

pub(crate) async fn live(core: &Core, viewer: &Viewer, id: &str) -> Option<String> {
    let page = made(core, viewer, Shell::new(core, Section::Tasks, viewer), id.to_owned()).await;
    page.heard.as_ref()?;
    page.as_live().render().ok()
}

async fn made(core: &Core, viewer: &Viewer, shell: Shell, id: String) -> Page {
    let kept = find::task(core, &id).await;
    let shows = core.hiding.shows_to(viewer);
    let workflow = match &kept {
        Some(kept) => Some(canvas::workflow(core, kept.task.root_id.as_deref().unwrap_or(&id), &id).await),
        None => None,
    };
    let heard = kept
        .as_ref()
        .zip(workflow)
        .map(|(kept, workflow)| heard(core, &core.picture.read(), &kept.shown(shows), workflow));
    let link = kept.as_ref().and_then(|kept| {
        let (name, kwargs) = (kept.task.name.as_deref()?, kept.task.kwargs.as_deref().unwrap_or("{}"));
        core.linker.as_ref()?(name, kwargs)
    });
    let link = link.filter(|link| {
        (link.href.starts_with('/') && !link.href.starts_with("//")) || link.href.starts_with("https://")
    });
    Page { shell, id, heard, stored: None, no_result: None, link }
}

fn stored(core: &Core, viewer: &Viewer, meta: &ResultMeta) -> Stored {
    // Whose result it is nobody says: where some are hidden, it is too.
    let is_hidden = !core.hiding.shows_to(viewer) || core.hiding.hides(None);
    Stored {
        state: Pill::of(&meta.state),
        result: if is_hidden { HIDDEN.to_owned() } else { meta.result.as_str().chars().take(MAX_TEXT).collect() },
        traceback: meta.traceback.as_ref().map(|text| text.chars().take(MAX_TEXT * 4).collect()),
        ended: meta.date_done.map(|at| When::to_the_second(at, core.zone)),
    }
}

fn heard(core: &Core, picture: &Picture, kept: &Kept, workflow: Workflow) -> Heard {
    let task = &kept.task;
    let now = unix_seconds();
    let clipped = |which: Text, text: &Option<String>| {
        let text = text.as_ref().filter(|text| !text.is_empty())?;
        let was = kept.cuts.iter().find(|(cut, _)| *cut == which).map(|(_, was)| *was as u64);
        let has = text.chars().count() as u64;
        let was = was.map(|was| format!("{} of {} characters", number(has), number(was)));
        Some(Clipped { text: text.clone(), was })
    };
    let runs = task.state == TaskState::Started;
    let ran = kept.ran().or_else(|| task.started.filter(|_| runs).map(|began| now - began));
    let facts = [
        ("Queue", &task.queue),
        ("Routing key", &task.routing_key),
        ("Worker", &task.worker),
        ("Sent by", &task.client),
    ];
    let mut facts: Vec<_> = facts
        .into_iter()
        .filter_map(|(name, value)| Some((name, value.clone().filter(|text| !text.is_empty())?)))
        .collect();
    if let Some(retries) = task.retries {
        facts.push(("Tried before", retries.to_string()));
    }
    let failed = matches!(task.state, TaskState::Failure | TaskState::Retry | TaskState::Revoked | TaskState::Rejected);
    Heard {
        name: task.name.clone().unwrap_or_else(|| "name not heard".to_owned()),
        state: Pill::of(&task.state),
        is_ended: matches!(
            task.state,
            TaskState::Success | TaskState::Failure | TaskState::Revoked | TaskState::Ignored | TaskState::Rejected
        ),
        facts,
        eta: task.eta.clone(),
        expires: task.expires.clone(),
        waited: kept.waited().map(duration),
        ran: ran.map(duration),
        steps: steps(core, picture, kept, now),
        left_out: kept.left_out,
        arguments: [("args", Text::Args, &task.args), ("kwargs", Text::Kwargs, &task.kwargs)]
            .into_iter()
            .filter_map(|(name, which, text)| Some((name, clipped(which, text)?)))
            .collect(),
        result: clipped(Text::Result, &task.result),
        error: clipped(Text::Exception, &task.exception).filter(|_| failed),
        traceback: clipped(Text::Traceback, &task.traceback).filter(|_| failed),
        workflow,
    }
}

fn steps(core: &Core, picture: &Picture, kept: &Kept, now: f64) -> Vec<StepRow> {
    let mut before = None;
    let mut rows = Vec::with_capacity(kept.steps.len());
    for step in &kept.steps {
        // Clocks of machines differ: what seems to have happened earlier than what was before it took no time that we know of.
        let after = before
            .map(|at| step.at - at)
            .map(|seconds: f64| if seconds < -0.001 { "≈ 0 (clocks differ)".to_owned() } else { duration(seconds) });
        before = Some(step.at);
        let is_worker = picture.workers.get(&step.by).is_some();
        rows.push(StepRow {
            what: step.what.clone(),
            at: When::short(step.at, now, core.zone),
            by: step.by.clone(),
            by_href: is_worker.then(|| format!("{}/workers/{}", core.base, encoded(&step.by))),
            after,
            error: step.error.clone(),
        });
    }
    rows
}

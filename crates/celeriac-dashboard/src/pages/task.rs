//! One task: what happened to it, step by step, and what it belongs to.

use askama::Template;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use celeriac::clock::unix_seconds;
use celeriac::protocol::{ResultMeta, State as TaskState};

use super::Shared;
use crate::guard::Asked;
use crate::memory::{Kept, Picture, Text};
use crate::page::{Section, Shell, Viewer, html};
use crate::show::{Pill, When, duration, encoded, number, shortened};
use crate::{Core, Link};

/// Tasks of a workflow that are drawn.
const MAX_TREE: usize = 200;
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
    tree: Vec<Branch>,
    not_drawn: usize,
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

struct Branch {
    depth: usize,
    name: String,
    short: String,
    id: String,
    href: Option<String>,
    state: Option<Pill>,
}

struct Stored {
    state: Pill,
    result: String,
    traceback: Option<String>,
    ended: Option<When>,
}

pub(crate) async fn page(State(core): Shared, Path(id): Path<String>, viewer: Viewer, Asked(query): Asked) -> Response {
    let shell = Shell::new(&core, Section::Tasks, &viewer).live(&format!("/task/{}", encoded(&id)), &query);
    let mut page = made(&core, shell, id);
    if page.heard.is_none() {
        page.shell.live = None;
        match core.app.result::<()>(page.id.as_str()).meta().await {
            Ok(meta) => page.stored = meta.map(|meta| stored(&core, &meta)),
            Err(error) => page.no_result = Some(error.to_string()),
        }
    }
    let is_known = page.heard.is_some() || page.stored.is_some();
    (if is_known { StatusCode::OK } else { StatusCode::NOT_FOUND }, html(&page)).into_response()
}

pub(crate) fn live(core: &Core, viewer: &Viewer, id: &str) -> Option<String> {
    let page = made(core, Shell::new(core, Section::Tasks, viewer), id.to_owned());
    page.heard.as_ref()?;
    page.as_live().render().ok()
}

fn made(core: &Core, shell: Shell, id: String) -> Page {
    let picture = core.picture.read();
    let kept = picture.tasks.get(&id);
    let heard = kept.map(|kept| heard(core, &picture, kept));
    let link = kept.and_then(|kept| {
        let (name, kwargs) = (kept.task.name.as_deref()?, kept.task.kwargs.as_deref().unwrap_or("{}"));
        core.linker.as_ref()?(name, kwargs)
    });
    let link = link.filter(|link| {
        (link.href.starts_with('/') && !link.href.starts_with("//")) || link.href.starts_with("https://")
    });
    drop(picture);
    Page { shell, id, heard, stored: None, no_result: None, link }
}

fn stored(core: &Core, meta: &ResultMeta) -> Stored {
    Stored {
        state: Pill::of(&meta.state),
        result: meta.result.as_str().chars().take(MAX_TEXT).collect(),
        traceback: meta.traceback.as_ref().map(|text| text.chars().take(MAX_TEXT * 4).collect()),
        ended: meta.date_done.map(|at| When::to_the_second(at, core.zone)),
    }
}

fn heard(core: &Core, picture: &Picture, kept: &Kept) -> Heard {
    let task = &kept.task;
    let now = unix_seconds();
    let clipped = |which: Text, text: &Option<String>| {
        let text = text.as_ref()?;
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
    let root = task.root_id.as_deref().unwrap_or(&task.uuid);
    let (tree, not_drawn) = tree(core, picture, root, &task.uuid);
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
        tree,
        not_drawn,
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

/// The tasks of a workflow, each below the one that sent it; and how many are not drawn. Nothing is drawn of a task that is
/// alone.
fn tree(core: &Core, picture: &Picture, root: &str, here: &str) -> (Vec<Branch>, usize) {
    let (all, count) = picture.tasks.of_workflow(root, MAX_TREE);
    let mut branches = Vec::with_capacity(all.len());
    let known = |id: &str| all.iter().find(|kept| kept.task.uuid == id).copied();
    let branch = |id: &str, depth| {
        let kept = known(id);
        Branch {
            depth,
            name: kept
                .and_then(|kept| kept.task.name.clone())
                .unwrap_or_else(|| "not heard of, or forgotten".to_owned()),
            short: shortened(id),
            id: id.to_owned(),
            href: kept.filter(|_| id != here).map(|_| format!("{}/tasks/{}", core.base, encoded(id))),
            state: kept.map(|kept| Pill::of(&kept.task.state)),
        }
    };
    let mut drawn = std::collections::HashSet::new();
    let mut waiting: Vec<(&str, usize)> = vec![(root, 0)];
    // Whoever's sender is not there hangs on the root.
    let is_orphan =
        |kept: &&Kept| kept.task.uuid != root && kept.task.parent_id.as_deref().is_none_or(|id| known(id).is_none());
    let orphans: Vec<&Kept> = all.iter().copied().filter(is_orphan).collect();
    while let Some((id, depth)) = waiting.pop() {
        if !drawn.insert(id) {
            continue;
        }
        branches.push(branch(id, depth));
        let children = all.iter().filter(|kept| kept.task.parent_id.as_deref() == Some(id) && kept.task.uuid != id);
        let children = children.map(|kept| kept.task.uuid.as_str());
        let orphans = orphans.iter().filter(|_| depth == 0).map(|kept| kept.task.uuid.as_str());
        let below: Vec<_> = children.chain(orphans).map(|id| (id, depth + 1)).collect();
        waiting.extend(below.into_iter().rev());
    }
    if branches.len() < 2 {
        return (Vec::new(), 0);
    }
    (branches, count.saturating_sub(all.len()))
}

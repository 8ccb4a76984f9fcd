//! One queue: who takes from it, and what can be done to it.

use askama::Template;
use axum::extract::{Path, State};
use axum::response::Response;

use super::Shared;
use crate::Core;
use crate::page::{Problem, Section, Shell, Viewer, html, problem_page};
use crate::pauses::Pause;
use crate::show::{When, number};

/// A worker that has not spoken for longer is not told anything, in seconds.
const HERE: f64 = 60.0;

#[derive(Template)]
#[template(path = "queue.html")]
struct Page {
    shell: Shell,
    name: String,
    ready: String,
    consumers: String,
    /// Workers that take from it.
    takers: Vec<String>,
    /// Workers that do not, and whether they did before somebody paused it here.
    others: Vec<(String, bool)>,
    /// Since when it is paused, if there is somebody whom that has stopped.
    paused: Option<When>,
}

pub(crate) async fn page(State(core): Shared, Path(name): Path<String>, viewer: Viewer) -> Response {
    let shell = Shell::new(&core, Section::Queues, &viewer);
    match made(&core, shell, name) {
        Some(page) => html(&page),
        None => problem_page(&core, &viewer, Problem::NotFound),
    }
}

fn made(core: &Core, shell: Shell, name: String) -> Option<Page> {
    let cluster = core.cluster.read();
    let depth = cluster.queues.get(&name)?;
    let pause = core.pauses.get(&name);
    let here = cluster.workers.iter().filter(|(_, facts)| shell.now - facts.at < HERE);
    let (mut takers, mut others) = (Vec::new(), Vec::new());
    for (node, facts) in here {
        if facts.queues.contains(&name) {
            takers.push(node.clone());
        } else {
            others.push((node.clone(), pause.iter().any(|pause| pause.nodes.contains(node))));
        }
    }
    takers.sort();
    others.sort();
    let (ready, consumers) = (number(depth.ready), number(depth.consumers));
    // A worker that was started again takes from it, whatever it was told before.
    let holds = |pause: &Pause| pause.nodes.iter().any(|node| !takers.contains(node));
    let paused = pause.filter(holds).map(|pause| When::short(pause.at, shell.now, shell.zone));
    Some(Page { ready, consumers, takers, others, paused, name, shell })
}

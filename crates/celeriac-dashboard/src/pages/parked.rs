//! Parked messages. To look at them is to hold them for a moment, so it is done on a button only.

use askama::Template;
use axum::extract::{Path, State};
use axum::response::Response;
use celeriac::parking::ParkedMessage;

use super::Shared;
use crate::action::MAX_SELECTED;
use crate::guard::Asked;
use crate::hiding::HIDDEN;
use crate::page::{Problem, Section, Shell, Viewer, html, problem_page};
use crate::show::{When, counted, encoded, number};

#[derive(Template)]
#[template(path = "parked.html")]
struct Overview {
    shell: Shell,
    rows: Vec<(String, String, String, bool)>,
    total: u64,
}

#[derive(Template)]
#[template(path = "parked_queue.html")]
struct Queue {
    shell: Shell,
    queue: String,
    count: String,
    most: usize,
    messages: Option<Result<Vec<Message>, String>>,
}

struct Message {
    id: Option<String>,
    href: Option<String>,
    task: String,
    arguments: String,
    reason: String,
    /// How often it was sent back and has come again, if it was.
    came_back: Option<String>,
    error: String,
    since: Option<When>,
    worker: String,
}

pub(crate) async fn overview(State(core): Shared, viewer: Viewer) -> Response {
    let shell = Shell::new(&core, Section::Parked, &viewer);
    let cluster = core.cluster.read();
    let row = |(name, depth): (&String, &crate::cluster::Depth)| {
        let count = depth.parked.map_or_else(|| "–".to_owned(), number);
        (name.clone(), format!("{}/parked/{}", core.base, encoded(name)), count, depth.parked.is_some_and(|n| n > 0))
    };
    let page = Overview { rows: cluster.queues.iter().map(row).collect(), total: cluster.parked(), shell };
    drop(cluster);
    html(&page)
}

pub(crate) async fn queue(
    State(core): Shared,
    Path(queue): Path<String>,
    viewer: Viewer,
    Asked(query): Asked,
) -> Response {
    let parked = core.cluster.read().queues.get(&queue).map(|depth| depth.parked);
    let Some(parked) = parked else { return problem_page(&core, &viewer, Problem::NotFound) };
    let messages = if query.get("look") == "yes" {
        let most = u16::try_from(MAX_SELECTED).unwrap_or(u16::MAX);
        let listed = core.app.parking(queue.as_str()).list(most).await;
        let shown =
            |messages: Vec<ParkedMessage>| messages.into_iter().map(|message| told(&core, &viewer, message)).collect();
        Some(listed.map(shown).map_err(|error| error.to_string()))
    } else {
        None
    };
    let shell = Shell::new(&core, Section::Parked, &viewer);
    let count = parked.map_or_else(|| "–".to_owned(), number);
    html(&Queue { shell, queue, count, most: MAX_SELECTED, messages })
}

fn told(core: &crate::Core, viewer: &Viewer, message: ParkedMessage) -> Message {
    let shows = core.hiding.shows_to(viewer) && !core.hiding.hides(message.task.as_deref());
    let (args, kwargs) = (message.argsrepr.unwrap_or_default(), message.kwargsrepr.unwrap_or_default());
    Message {
        href: message.id.as_ref().map(|id| format!("{}/tasks/{}", core.base, encoded(id))),
        id: message.id,
        task: message.task.unwrap_or_else(|| "cannot be read".to_owned()),
        arguments: if shows { format!("{args} {kwargs}").chars().take(300).collect() } else { HIDDEN.to_owned() },
        reason: message.reason.to_string(),
        came_back: (message.returned > 0).then(|| counted(message.returned, "time", "times")),
        error: message.error,
        since: message.since.map(|at| When::to_the_second(at, core.zone)),
        worker: message.worker.unwrap_or_else(|| "–".to_owned()),
    }
}

//! Tasks: found by what stands in the address, a page at a time, the newest first.

use askama::Template;
use axum::extract::State;
use axum::response::{IntoResponse as _, Redirect, Response};
use celeriac::clock::unix_seconds;
use chrono::{NaiveDateTime, TimeZone as _};
use chrono_tz::Tz;

use super::Shared;
use crate::find::{self, Found};
use crate::guard::{Asked, Params};
use crate::history::MOST_COUNTED;
use crate::memory::{self, Cursor, Direction, Filter, Kept, Picture, Toward};
use crate::page::{Section, Shell, Viewer, html};
use crate::show::{Pill, When, counted, duration, encoded, number, shortened};
use crate::{Core, health};

const PER_PAGE: usize = 50;
const STATES: [&str; 8] = ["PENDING", "RECEIVED", "STARTED", "SUCCESS", "FAILURE", "RETRY", "REVOKED", "REJECTED"];

/// The conditions, as the address and the form call them.
const CONDITIONS: [(&str, &str); 9] = [
    ("name", "Name"),
    ("state", "State"),
    ("worker", "Worker"),
    ("queue", "Queue"),
    ("id", "Id"),
    ("error", "Error"),
    ("text", "Text"),
    ("from", "From"),
    ("to", "To"),
];

#[derive(Template)]
#[template(path = "tasks.html", blocks = ["live"])]
struct Page {
    shell: Shell,
    query: Params,
    chips: Vec<Chip>,
    wrong: Vec<String>,
    list: List,
    remembered: String,
    silence: Option<&'static str>,
    /// Why these are only those that memory has.
    trouble: Option<String>,
}

/// A condition that can be taken away.
struct Chip {
    says: String,
    without: String,
}

#[derive(Default)]
struct List {
    rows: Vec<Row>,
    /// From which to which of how many.
    counted: String,
    newer_page: Option<String>,
    older_page: Option<String>,
    /// How many have come since the page was opened, and where they are.
    news: Option<(String, String)>,
    /// The page is empty, and there are others.
    first_page: Option<String>,
}

struct Row {
    name: String,
    href: String,
    id: String,
    short: String,
    state: Pill,
    worker: String,
    at: When,
    waited: String,
    ran: String,
    retries: String,
}

impl Page {
    fn value(&self, name: &str) -> &str {
        self.query.get(name)
    }

    fn states(&self) -> Vec<(&'static str, bool)> {
        STATES.into_iter().map(|state| (state, self.query.get("state") == state)).collect()
    }
}

pub(crate) async fn page(State(core): Shared, viewer: Viewer, Asked(query): Asked) -> Response {
    let wanted = query.get("find");
    if !wanted.is_empty() {
        return Redirect::to(&format!("{}/tasks/{}", core.base, encoded(wanted))).into_response();
    }
    let (filter, wrong) = allowed(&core, &viewer, read_filter(&query, core.zone));
    let found = find::page(&core, &filter, &direction(&query), PER_PAGE).await;
    // What is shown stays where it is; what is new is only told of.
    let first = found.page.rows.first().map(|first| Cursor(first.key.clone()));
    let mut live = query.without(&["live", "find", "before", "after", "top"]);
    live.0.push(("top".to_owned(), first.map_or_else(|| "0-".to_owned(), |key| key.to_string())));
    let shell = Shell::new(&core, Section::Tasks, &viewer).live(&format!("/tasks?{}", live.written()), &query);
    html(&made(&core, shell, query, found, wrong))
}

pub(crate) async fn live(core: &Core, viewer: &Viewer, query: &Params) -> Option<String> {
    let (filter, wrong) = allowed(core, viewer, read_filter(query, core.zone));
    let found = find::page(core, &filter, &direction(query), PER_PAGE).await;
    let shell = Shell::new(core, Section::Tasks, viewer);
    made(core, shell, query.clone(), found, wrong).as_live().render().ok()
}

fn made(core: &Core, shell: Shell, query: Params, found: Found, wrong: Vec<String>) -> Page {
    let list = list(core, &found.page, &query);
    let picture = core.picture.read();
    let connected = core.app.broker().health().connected;
    let silence = health::silence(&picture, &core.cluster.read(), connected, shell.now);
    let silence = silence.filter(|_| list.rows.is_empty());
    let remembered = remembered(core, &picture, &shell);
    drop(picture);
    let chip = |(name, label): &(&'static str, &'static str)| {
        let value = query.get(name);
        let without = query.without(&[name, "before", "after", "top"]).written();
        (!value.is_empty()).then(|| Chip { says: format!("{label}: {value}"), without: format!("?{without}") })
    };
    let chips = CONDITIONS.iter().filter_map(chip).collect();
    Page { shell, chips, wrong, list, remembered, silence, trouble: found.trouble, query }
}

/// How far back the list goes.
fn remembered(core: &Core, picture: &Picture, shell: &Shell) -> String {
    let moment = |at: f64| When::short(at, shell.now, shell.zone).render().unwrap_or_default();
    if let Some(history) = &core.history {
        let since = history.status().since.map(|micros| format!(", those since {}", moment(micros as f64 / 1e6)));
        let days = u64::from(history.retention().days);
        return format!("Kept for {}{}.", counted(days, "day", "days"), since.unwrap_or_default());
    }
    let oldest = picture.tasks.oldest().map(moment);
    format!(
        "{} remembered, at most {}{}.",
        number(picture.tasks.len() as u64),
        number(core.bounds.tasks as u64),
        oldest.map_or_else(String::new, |oldest| format!("; the oldest was heard of at {oldest}"))
    )
}

fn list(core: &Core, page: &memory::Page, query: &Params) -> List {
    let now = unix_seconds();
    let base_query = query.without(&["before", "after", "top", "live", "find"]);
    let with = |name: &str, value: &str| {
        let mut query = base_query.clone();
        if !name.is_empty() {
            query.0.push((name.to_owned(), value.to_owned()));
        }
        format!("{}/tasks?{}", core.base, query.written())
    };
    let cursor = |kept: &Kept| Cursor(kept.key.clone()).to_string();
    let total = page.newer + page.rows.len() + page.older;
    let is_at_top = query.get("before").is_empty() && query.get("after").is_empty();
    let range = match page.rows.len() {
        0 => String::new(),
        rows if page.newer > MOST_COUNTED => format!("{rows} of {}", many(total)),
        rows => format!("{}–{} of {}", number(page.newer as u64 + 1), number((page.newer + rows) as u64), many(total)),
    };
    List {
        counted: range,
        newer_page: page.rows.first().filter(|_| page.newer > 0).map(|first| with("after", &cursor(first))),
        older_page: page.rows.last().filter(|_| page.older > 0).map(|last| with("before", &cursor(last))),
        // Only a page that was opened at the top is told what has come above it.
        news: (is_at_top && !query.get("top").is_empty() && page.newer > 0).then(|| (many(page.newer), with("", ""))),
        first_page: (page.rows.is_empty() && total > 0).then(|| with("", "")),
        rows: page.rows.iter().map(|kept| row(core, kept, now)).collect(),
    }
}

fn row(core: &Core, kept: &Kept, now: f64) -> Row {
    let task = &kept.task;
    let told = |seconds: Option<f64>| seconds.map_or_else(|| "–".to_owned(), duration);
    let ran = kept.ran().or_else(|| {
        let runs = task.state == celeriac::protocol::State::Started;
        task.started.filter(|_| runs).map(|began| now - began)
    });
    Row {
        name: task.name.clone().unwrap_or_else(|| "name not heard".to_owned()),
        href: format!("{}/tasks/{}", core.base, encoded(&task.uuid)),
        short: shortened(&task.uuid),
        id: task.uuid.clone(),
        state: Pill::of(&task.state),
        worker: task.worker.clone().unwrap_or_else(|| "–".to_owned()),
        at: When::short(task.received.or(task.sent).unwrap_or(kept.key.0 as f64 / 1e6), now, core.zone),
        waited: told(kept.waited()),
        ran: told(ran),
        retries: task.retries.map_or_else(|| "–".to_owned(), |retries| retries.to_string()),
    }
}

fn direction(query: &Params) -> Direction {
    let at = |name| query.get(name).parse::<Cursor>().ok().map(|Cursor(key)| key);
    if let Some(key) = at("before") {
        Direction::From(key, Toward::Older)
    } else if let Some(key) = at("after") {
        Direction::From(key, Toward::Newer)
    } else {
        at("top").map_or(Direction::Top, Direction::At)
    }
}

/// Nobody reads larger numbers, and the history does not count further.
fn many(count: usize) -> String {
    if count > MOST_COUNTED { format!("more than {}", number(MOST_COUNTED as u64)) } else { number(count as u64) }
}

/// Who may not see arguments does not find out about them by searching.
fn allowed(core: &Core, viewer: &Viewer, (mut filter, mut wrong): (Filter, Vec<String>)) -> (Filter, Vec<String>) {
    if !filter.text.is_empty() && !core.hiding.shows_to(viewer) {
        filter.text.clear();
        wrong.push("text: arguments are not shown to you".to_owned());
    }
    (filter, wrong)
}

/// Reads the conditions; what is wrong with them is told, and does not count.
fn read_filter(query: &Params, zone: Tz) -> (Filter, Vec<String>) {
    let mut wrong = Vec::new();
    let mut time = |name: &str| {
        let text = query.get(name);
        let read = ["%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S"].iter().find_map(|format| {
            let local = NaiveDateTime::parse_from_str(text, format).ok()?;
            let at = zone.from_local_datetime(&local).earliest()?;
            Some(at.timestamp_micros() as f64 / 1e6)
        });
        if read.is_none() && !text.is_empty() {
            wrong.push(format!("{name}: expected a day and a time, as 2026-01-31T12:00"));
        }
        read
    };
    let (from, to) = (time("from"), time("to"));
    let text = |name: &str| query.get(name).chars().take(300).collect::<String>();
    let filter = Filter {
        name: text("name"),
        state: text("state"),
        worker: text("worker"),
        queue: text("queue"),
        id: text("id"),
        error: text("error"),
        text: text("text").to_lowercase(),
        from,
        to,
    };
    (filter, wrong)
}

//! All workers: who is there, who is late, who has gone.

use std::collections::BTreeSet;

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use celeriac::clock::unix_seconds;

use super::Shared;
use crate::Core;
use crate::cluster::Facts;
use crate::guard::Asked;
use crate::memory::{Known, Presence};
use crate::page::{Section, Shell, Viewer, html};
use crate::show::{self, Pill, age, bytes, duration, number};

#[derive(Template)]
#[template(path = "workers.html", blocks = ["live"])]
struct Page {
    shell: Shell,
    rows: Vec<Row>,
    folded: Vec<Row>,
    connected: bool,
}

pub(super) struct Row {
    pub(super) name: String,
    pub(super) href: String,
    pub(super) presence: Pill,
    pub(super) since: String,
    pub(super) software: String,
    pub(super) running: String,
    pub(super) pool: String,
    pub(super) prefetch: String,
    pub(super) processed: String,
    pub(super) failed: String,
    /// What it has announced of tasks, and since when that is counted.
    pub(super) announced: String,
    pub(super) load: String,
    pub(super) memory: String,
    pub(super) queues: String,
}

pub(crate) async fn page(State(core): Shared, viewer: Viewer, Asked(query): Asked) -> Response {
    let shell = Shell::new(&core, Section::Workers, &viewer).live("/workers", &query);
    html(&made(&core, shell))
}

pub(crate) fn live(core: &Core, viewer: &Viewer) -> Option<String> {
    made(core, Shell::new(core, Section::Workers, viewer)).as_live().render().ok()
}

fn made(core: &Core, shell: Shell) -> Page {
    let now = unix_seconds();
    let (picture, cluster) = (core.picture.read(), core.cluster.read());
    let heard = picture.workers.all();
    let names: BTreeSet<&str> = heard
        .iter()
        .map(|known| known.told.hostname.as_str())
        .chain(cluster.workers.keys().map(String::as_str))
        .collect();
    let (mut rows, mut folded) = (Vec::new(), Vec::new());
    for name in names {
        let known = picture.workers.get(name);
        let is_folded = known.is_some_and(|known| known.presence(now).is_folded(now));
        let row = row(&shell.base, name, known, cluster.workers.get(name), now);
        if is_folded { folded.push(row) } else { rows.push(row) }
    }
    Page { shell, rows, folded, connected: core.app.broker().health().connected }
}

/// What is known of a worker by its events, and by its own replies.
pub(super) fn row(base: &str, name: &str, known: Option<&Known>, facts: Option<&Facts>, now: f64) -> Row {
    let unknown = || "–".to_owned();
    let told = |value: Option<u64>| value.map_or_else(unknown, number);
    let (presence, since) = match known.map(|known| (known.presence(now), known)) {
        None => {
            let at = facts.map_or(now, |facts| facts.at);
            (Pill::new("doubt", "?", "announces nothing"), format!("answered {}", age(now - at)))
        }
        Some((presence, known)) => {
            let silence = now - known.told.heartbeat.unwrap_or(known.first_heard);
            match presence {
                Presence::Here => (Pill::new("ok", "●", "here"), format!("heartbeat {}", age(silence))),
                Presence::Late(_) => (Pill::new("doubt", "◷", "late"), format!("heartbeat {}", age(silence))),
                Presence::Stopped(at) => (Pill::new("idle", "–", "stopped"), age(now - at)),
                Presence::Vanished(at) => (Pill::new("bad", "✕", "vanished"), age(now - at)),
            }
        }
    };
    let worker = known.map(|known| &known.told);
    let software = worker.map(|told| format!("{} {}", told.sw_ident, told.sw_ver)).filter(|text| text.trim() != "");
    let load = worker.and_then(|told| told.loadavg);
    Row {
        name: name.to_owned(),
        href: format!("{base}/workers/{}", show::encoded(name)),
        presence,
        since,
        software: software.unwrap_or_else(unknown),
        running: told(worker.and_then(|told| told.active)),
        pool: told(facts.and_then(Facts::pool_size)),
        prefetch: told(facts.and_then(Facts::prefetch)),
        processed: told(worker.and_then(|told| told.processed)),
        failed: told(known.map(|known| known.failed)),
        announced: known.map_or_else(unknown, |known| announced(known, now)),
        load: load.map_or_else(unknown, |[one, five, fifteen]| format!("{one:.2} {five:.2} {fifteen:.2}")),
        memory: facts.and_then(Facts::memory).map_or_else(unknown, |kilobytes| bytes(kilobytes * 1024)),
        queues: facts.map_or_else(unknown, |facts| facts.queues.join(", ")),
    }
}

fn announced(known: &Known, now: f64) -> String {
    let more = &known.more;
    format!(
        "{} received, {} started, {} succeeded, {} failed, {} retried, {} revoked; counted for {}",
        number(more.received),
        number(more.started),
        number(known.succeeded),
        number(known.failed),
        number(more.retried),
        number(more.revoked),
        duration(now - known.first_heard)
    )
}

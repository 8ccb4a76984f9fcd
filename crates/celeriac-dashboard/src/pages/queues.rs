//! Queues: how full they are and who takes from them. Nobody looks into them: every look at a message is a delivery.

use askama::Template;
use axum::extract::State;
use axum::response::Response;

use super::Shared;
use crate::cluster::Depth;
use crate::guard::Asked;
use crate::page::{Section, Shell, Viewer, html};
use crate::show::{age, encoded, number};
use crate::{Core, chart};

#[derive(Template)]
#[template(path = "queues.html", blocks = ["live"])]
struct Page {
    shell: Shell,
    rows: Vec<Row>,
    asked: String,
    error: Option<String>,
    management_error: Option<String>,
    has_management: bool,
}

struct Row {
    name: String,
    href: String,
    kind: String,
    exists: bool,
    ready: String,
    unacked: String,
    consumers: String,
    is_stuck: bool,
    rate_in: String,
    rate_out: String,
    trend: String,
    parked: String,
    parked_href: Option<String>,
}

pub(crate) async fn page(State(core): Shared, viewer: Viewer, Asked(query): Asked) -> Response {
    let shell = Shell::new(&core, Section::Queues, &viewer).live("/queues", &query);
    html(&made(&core, shell))
}

pub(crate) fn live(core: &Core, viewer: &Viewer) -> Option<String> {
    made(core, Shell::new(core, Section::Queues, viewer)).as_live().render().ok()
}

fn made(core: &Core, shell: Shell) -> Page {
    let cluster = core.cluster.read();
    Page {
        rows: cluster.queues.iter().map(|(name, depth)| row(&shell.base, name, depth)).collect(),
        asked: cluster
            .queues_at
            .map_or_else(|| "Not asked for yet".to_owned(), |at| format!("Asked for {}", age(shell.now - at))),
        error: cluster.queues_error.clone(),
        management_error: cluster.management_error.clone(),
        has_management: core.management.is_some(),
        shell,
    }
}

fn row(base: &str, name: &str, depth: &Depth) -> Row {
    let unknown = || "–".to_owned();
    let rate = |rate: Option<f64>| rate.map_or_else(unknown, |rate| format!("{rate:.1}/s"));
    let depths: Vec<u64> = depth.trend.iter().map(|(_, ready)| *ready).collect();
    Row {
        name: name.to_owned(),
        href: format!("{base}/queues/{}", encoded(name)),
        kind: depth.kind.clone().unwrap_or_else(unknown),
        exists: depth.exists,
        ready: number(depth.ready),
        unacked: depth.unacked.map_or_else(unknown, number),
        consumers: number(depth.consumers),
        is_stuck: depth.ready > 0 && depth.consumers == 0,
        rate_in: rate(depth.rates.map(|(rate, _)| rate)),
        rate_out: rate(depth.rates.map(|(_, rate)| rate)),
        trend: chart::trend(&depths),
        parked: depth.parked.map_or_else(unknown, number),
        parked_href: depth.parked.filter(|parked| *parked > 0).map(|_| format!("{base}/parked/{}", encoded(name))),
    }
}

//! Whether all is well, on one screen.

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use celeriac::clock::unix_seconds;
use celeriac::protocol::State as TaskState;
use chrono::{DateTime, Utc};

use super::Shared;
use crate::guard::Asked;
use crate::health::{self, Concern};
use crate::memory::{Minute, Percentiles, Presence};
use crate::page::{Section, Shell, Viewer, html};
use crate::show::{self, counted, duration, number};
use crate::{Core, chart};

#[derive(Template)]
#[template(path = "overview.html", blocks = ["live"])]
struct Page {
    shell: Shell,
    concerns: Vec<Concern>,
    healthy: String,
    rows: Vec<Row>,
    silence: Option<&'static str>,
    chart: String,
    latency: Vec<Latency>,
    minutes: Vec<MinuteRow>,
    gaps: Vec<String>,
    heard: String,
}

/// One line of the overview.
struct Row {
    name: &'static str,
    page: &'static str,
    says: String,
    is_well: bool,
}

struct Latency {
    what: &'static str,
    told: [(&'static str, String); 3],
}

struct MinuteRow {
    clock: String,
    received: String,
    succeeded: String,
    failed: String,
    retried: String,
    waited: String,
    ran: String,
}

pub(crate) async fn page(State(core): Shared, viewer: Viewer, Asked(query): Asked) -> Response {
    let shell = Shell::new(&core, Section::Overview, &viewer).live("/overview", &query);
    html(&made(&core, shell))
}

pub(crate) fn live(core: &Core, viewer: &Viewer) -> Option<String> {
    made(core, Shell::new(core, Section::Overview, viewer)).as_live().render().ok()
}

fn made(core: &Core, shell: Shell) -> Page {
    let now = unix_seconds();
    let connected = core.app.broker().health().connected;
    let (picture, cluster) = (core.picture.read(), core.cluster.read());
    let mut concerns = health::concerns(&picture, &cluster, connected, now);
    if let Some(history) = &core.history {
        concerns.extend(health::of_history(&history.status(), picture.lost()));
    }
    let is_well = |page: &str| !concerns.iter().any(|concern| concern.page.starts_with(page));

    let workers = picture.workers.all();
    let count = |is: fn(Presence) -> bool| workers.iter().filter(|worker| is(worker.presence(now))).count() as u64;
    let (here, late) = (count(|p| p == Presence::Here), count(|p| matches!(p, Presence::Late(_))));
    let gone = workers.iter().filter(|worker| {
        let presence = worker.presence(now);
        presence.gone_since().is_some() && !presence.is_folded(now)
    });
    let running: u64 = workers.iter().filter_map(|worker| worker.told.active).sum();
    let places: u64 = cluster.workers.values().filter_map(crate::cluster::Facts::pool_size).sum();

    let minutes = picture.minutes.hour(now);
    let sum = |of: fn(&Minute) -> u64| minutes.iter().map(of).sum::<u64>();
    let (succeeded, failed, retried) = (sum(|m| m.succeeded), sum(|m| m.failed), sum(|m| m.retried));
    let in_flight = picture.tasks.count(&[TaskState::Received, TaskState::Started, TaskState::Retry]) as u64;

    let ready: u64 = cluster.queues.values().map(|depth| depth.ready).sum();
    let longest = cluster.queues.iter().max_by_key(|(_, depth)| depth.ready).filter(|(_, depth)| depth.ready > 0);
    let mut rows = vec![
        Row {
            name: "Workers",
            page: "/workers",
            says: format!(
                "{here} here, {late} late, {} gone since yesterday; {} running{}",
                gone.count(),
                counted(running, "task", "tasks"),
                if places > 0 { format!(" in {} places", number(places)) } else { String::new() }
            ),
            is_well: is_well("/workers"),
        },
        Row {
            name: "Tasks",
            page: "/tasks",
            says: format!(
                "{} done and {} failed in the last hour, {} tried again; {} in the hands of workers",
                number(succeeded),
                number(failed),
                number(retried),
                number(in_flight)
            ),
            is_well: is_well("/tasks"),
        },
        Row {
            name: "Queues",
            page: "/queues",
            says: match (cluster.queues_at, longest) {
                (None, _) => "not asked for yet".to_owned(),
                (_, None) => format!("nothing waits in {}", counted(cluster.queues.len() as u64, "queue", "queues")),
                (_, Some((name, depth))) => {
                    let waiting = counted(ready, "task waits", "tasks wait");
                    format!("{waiting}, {} of them in {name}", number(depth.ready))
                }
            },
            is_well: is_well("/queues"),
        },
        Row {
            name: "Parked",
            page: "/parked",
            says: match cluster.parked() {
                0 => "nothing".to_owned(),
                parked => format!("{} for a person to look at", counted(parked, "message waits", "messages wait")),
            },
            is_well: is_well("/parked"),
        },
    ];
    if core.timetable.is_some() {
        let says = match &cluster.schedule {
            None => "not asked for yet".to_owned(),
            Some(schedule) => match &schedule.leader {
                Err(error) => format!("not known: {error}"),
                Ok(None) => format!("nobody leads; {}", counted(schedule.entries.len() as u64, "entry", "entries")),
                Ok(Some(lease)) => {
                    let entries = counted(schedule.entries.len() as u64, "entry", "entries");
                    let lag = schedule.lag().as_secs_f64();
                    let lag =
                        if lag < 1.0 { "nothing is late".to_owned() } else { format!("late by {}", duration(lag)) };
                    format!("{} leads {entries}, {lag}", lease.beat)
                }
            },
        };
        rows.push(Row { name: "Schedule", page: "/schedule", says, is_well: is_well("/schedule") });
    }

    let healthy =
        format!("Healthy: {} here, {} in the last hour.", counted(here, "worker", "workers"), tasks_done(succeeded));
    let zone = core.zone;
    let clock = |number: i64| {
        let at = DateTime::<Utc>::from_timestamp(number * 60, 0).unwrap_or_default();
        at.with_timezone(&zone).format("%H:%M").to_string()
    };
    let gap = |(from, to): &(f64, Option<f64>)| {
        let time = |at: f64| {
            let at = DateTime::<Utc>::from_timestamp_micros((at * 1e6) as i64).unwrap_or_default();
            at.with_timezone(&zone).format("%H:%M:%S").to_string()
        };
        format!("{}–{}", time(*from), to.map_or_else(|| "now".to_owned(), time))
    };
    Page {
        healthy,
        rows,
        silence: health::silence(&picture, &cluster, connected, now),
        chart: chart::hour(&minutes, clock),
        latency: vec![
            Latency { what: "Waiting, from send to start", told: told(picture.minutes.waited(now)) },
            Latency { what: "Running", told: told(picture.minutes.ran(now)) },
        ],
        minutes: minutes.iter().rev().filter(|minute| !minute.is_empty()).map(|m| minute_row(m, &clock)).collect(),
        gaps: picture.gaps.iter().map(gap).collect(),
        heard: heard(core, &picture, shell.now),
        concerns,
        shell,
    }
}

fn tasks_done(count: u64) -> String {
    if count == 0 { "no task done".to_owned() } else { format!("{} done", counted(count, "task", "tasks")) }
}

fn told(percentiles: Option<Percentiles>) -> [(&'static str, String); 3] {
    let told = |of: fn(Percentiles) -> f64| percentiles.map_or_else(|| "–".to_owned(), |p| duration(of(p)));
    [("Half, at most", told(|p| p.p50)), ("95 %", told(|p| p.p95)), ("99 %", told(|p| p.p99))]
}

fn minute_row(minute: &Minute, clock: &impl Fn(i64) -> String) -> MinuteRow {
    let p95 = |percentiles: Option<Percentiles>| percentiles.map_or_else(|| "–".to_owned(), |p| duration(p.p95));
    MinuteRow {
        clock: clock(minute.number),
        received: number(minute.received),
        succeeded: number(minute.succeeded),
        failed: number(minute.failed),
        retried: number(minute.retried),
        waited: p95(minute.waited()),
        ran: p95(minute.ran()),
    }
}

/// How much was heard, and what was lost of it.
fn heard(core: &Core, picture: &crate::memory::Picture, now: f64) -> String {
    let mut says = format!(
        "Listening for {}: {} heard",
        duration(now - picture.since),
        counted(picture.events, "event", "events")
    );
    if picture.dropped > 0 {
        says.push_str(&format!(", {} came too fast and were dropped", number(picture.dropped)));
    }
    says.push_str(&format!(
        "; {} remembered ({})",
        counted(picture.tasks.len() as u64, "task", "tasks"),
        show::bytes(picture.tasks.bytes() as u64)
    ));
    if picture.tasks.forgotten > 0 {
        says.push_str(&format!(", {} older ones forgotten", number(picture.tasks.forgotten)));
    }
    if let Some(history) = &core.history {
        let (status, retention) = (history.status(), history.retention());
        says.push_str(&format!(
            ". The history takes {} of {}, and goes back {} at most; {} lost to it",
            show::bytes(status.bytes),
            show::bytes(retention.bytes),
            counted(u64::from(retention.days), "day", "days"),
            counted(picture.lost(), "task was", "tasks were")
        ));
    }
    says.push('.');
    says
}

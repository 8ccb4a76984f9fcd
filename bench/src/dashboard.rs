//! The dashboard with many open pages beside a worker that executes thousands of tasks a second: what it takes of memory, that
//! it hears all of them or says how many it did not, and that the worker is no slower for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};

use crate::contest::Contest;
use crate::job::{Kind, Worker};
use crate::payments::system::{answers, free_address, role};
use crate::process::resident_megabytes;
use crate::renewals::stop;

/// Pages that stay open.
const OPEN: usize = 50;
const PAGES: [&str; 4] = ["overview", "workers", "tasks", "queues"];
/// Tasks a second.
const RATE: f64 = 2_000.0;
/// A worker announces of each that it was received, started and has succeeded.
const EVENTS: u64 = 3;
/// What the dashboard may remember of tasks, in megabytes: `DASHBOARD_MAX_MEMORY` as it is by default.
const REMEMBERED: f64 = 64.0;
/// What it takes may be this many times as much, as maps and the allocator need room, and each open page some more.
const TIMES: f64 = 2.0;
const A_PAGE: f64 = 0.5;
const HEARS_WITHIN: Duration = Duration::from_secs(30);

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Shown {
    /// Tasks that were executed.
    pub tasks: u64,
    /// Milliseconds from sending a task to its start, of 99 of 100: without the dashboard, and beside it.
    pub p99_alone: f64,
    pub p99_beside: f64,
    /// Megabytes that the dashboard has resident before the first task, half-way, and at the end.
    pub memory_at_first: f64,
    pub memory_in_the_middle: f64,
    pub memory_at_the_end: f64,
    /// Events that it has taken in, and those that it says it dropped.
    pub heard: u64,
    pub dropped: u64,
}

/// Tasks for so many seconds, at [`RATE`].
pub async fn show(contest: &mut Contest, seconds: u64) -> Result<Shown> {
    let worker = Worker::Celeriac { events: true };
    let alone = contest.lateness(worker, Kind::Quorum, RATE, seconds.min(10)).await?;
    let address = free_address()?;
    let servers = contest.servers.clone();
    let settings = [
        ("BROKER_URL", servers.amqp.as_str()),
        // Every key of the other is a result, and counted.
        ("RESULT_BACKEND", "memory://"),
        ("DASHBOARD_LISTEN", address.as_str()),
        ("LOG", "error"),
    ];
    let mut dashboard = role(&settings, &["dashboard"])?;
    answers(&address).await?;
    let pid = dashboard.id().context("it runs")?;
    let told: Arc<Vec<AtomicU64>> = Arc::new((0..OPEN).map(|_| AtomicU64::new(0)).collect());
    let mut pages = JoinSet::new();
    for n in 0..OPEN {
        let (address, told) = (address.clone(), Arc::clone(&told));
        pages.spawn(async move { stay(&address, PAGES[n % PAGES.len()], &told[n]).await });
    }
    let deadline = Instant::now() + HEARS_WITHIN;
    while told.iter().any(|told| told.load(Ordering::Relaxed) == 0) {
        ensure!(Instant::now() < deadline, "an open page is told nothing");
        sleep(Duration::from_millis(20)).await;
    }
    let memory_at_first = resident_megabytes(&[pid])?;
    let (before, began) = (heard(&address).await?, Instant::now());
    let half = async {
        sleep_until(began + Duration::from_secs(seconds) / 2).await;
        resident_megabytes(&[pid])
    };
    let (beside, memory_in_the_middle) = tokio::join!(contest.lateness(worker, Kind::Quorum, RATE, seconds), half);
    let (beside, memory_in_the_middle) = (beside?, memory_in_the_middle?);
    let tasks = (RATE * seconds as f64) as u64;
    let deadline = Instant::now() + HEARS_WITHIN;
    let (heard, dropped) = loop {
        let (events, dropped) = heard(&address).await?;
        let events = events - before.0;
        // Heartbeats are heard, too.
        if events + dropped >= tasks * EVENTS {
            break (events, dropped);
        }
        ensure!(Instant::now() < deadline, "{events} events heard and {dropped} dropped of {tasks} tasks");
        sleep(Duration::from_millis(100)).await;
    };
    let memory_at_the_end = resident_megabytes(&[pid])?;
    let bound = memory_at_first + REMEMBERED * TIMES + OPEN as f64 * A_PAGE;
    ensure!(memory_at_the_end <= bound, "the dashboard takes {memory_at_the_end:.0} MB, more than {bound:.0}");
    let parts: Vec<u64> = told.iter().map(|told| told.load(Ordering::Relaxed)).collect();
    ensure!(parts.iter().all(|parts| *parts > 1), "an open page was told nothing more: {parts:?}");
    pages.shutdown().await;
    stop(&mut dashboard).await?;
    Ok(Shown {
        tasks,
        p99_alone: alone.p99 / 1e3,
        p99_beside: beside.p99 / 1e3,
        memory_at_first,
        memory_in_the_middle,
        memory_at_the_end,
        heard,
        dropped,
    })
}

/// An open page: counts the parts that it is told.
async fn stay(address: &str, page: &str, told: &AtomicU64) -> Result<()> {
    let mut connection = ask(address, &format!("/live/{page}"), "keep-alive").await?;
    let mut piece = vec![0_u8; 65_536];
    loop {
        let read = connection.read(&mut piece).await?;
        ensure!(read > 0, "the page was closed");
        if String::from_utf8_lossy(&piece[..read]).contains("event: part") {
            told.fetch_add(1, Ordering::Relaxed);
        }
    }
}

async fn ask(address: &str, path: &str, connection: &str) -> Result<TcpStream> {
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: {connection}\r\n\r\n");
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(request.as_bytes()).await?;
    Ok(stream)
}

/// Events heard and dropped, as its overview tells.
async fn heard(address: &str) -> Result<(u64, u64)> {
    let mut page = String::new();
    ask(address, "/", "close").await?.read_to_string(&mut page).await?;
    let (_, told) = page.split_once("Listening for ").context("the overview does not say what was heard")?;
    let before = |text: &str| -> Option<u64> {
        let number = told.split_once(text)?.0;
        number.rsplit([' ', ';']).next()?.replace(',', "").parse().ok()
    };
    let heard = before(" events heard").or_else(|| before(" event heard")).context("no number of events")?;
    Ok((heard, before(" came too fast").unwrap_or(0)))
}

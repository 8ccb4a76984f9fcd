//! The dashboard as a process of its own, with many open pages, while workers announce more than anybody can read: what it takes
//! of memory is bounded by what is configured, nothing is lost without being told, and it still ends when it is asked to.
//! `make bench` does the same for a minute, with a worker that executes the tasks.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use celeriac::App;
use celeriac::broker::Publication;
use celeriac::protocol::event::{EVENT_EXCHANGE, Event, EventBatch, EventBody, TaskReceived, TaskSent};
use regex_lite::Regex;
use testkit::{Process, Signal};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use crate::system::listening;

const PAGES: [&str; 5] = ["overview", "workers", "tasks", "queues", "worker/w%40many"];
const OPEN: usize = 50;
const A_SECOND: usize = 2_000;
const SECONDS: usize = 12;
/// Events of one task: sent, received, started, succeeded.
const EVENTS: u64 = 4;
/// What may be remembered of tasks, in megabytes.
const MEMORY: u64 = 8;
const PATIENCE: Duration = Duration::from_secs(60);
/// What is remembered takes more than its texts do: the allocator rounds up, maps have room to grow, a page that is being made
/// has a copy of its rows.
const TIMES: u64 = 3;
/// What all open pages together may take besides, in bytes: a buffer and the last part that was sent, each.
const PAGES_TAKE: u64 = OPEN as u64 * 500_000;
/// Once memory is full it may still move by this much, in bytes.
const MOVES: u64 = 6_000_000;

/// What the overview says of what was heard.
#[derive(Clone, Copy, Debug, Default)]
struct Heard {
    events: u64,
    dropped: u64,
    remembered: u64,
    forgotten: u64,
}

async fn heard(address: SocketAddr) -> Result<Heard, String> {
    let page = get(address, "/").await.text().await.map_err(|error| error.to_string())?;
    let told = Regex::new(
        r"Listening for [^:]*: ([\d,]+) events? heard(?:, ([\d,]+) came too fast and were dropped)?; ([\d,]+) tasks? remembered \([^)]*\)(?:, ([\d,]+) older ones forgotten)?",
    );
    let told = told.expect("an expression").captures(&page).map(|told| {
        let number = |n: usize| told.get(n).map_or(0, |text| text.as_str().replace(',', "").parse().expect("a number"));
        Heard { events: number(1), dropped: number(2), remembered: number(3), forgotten: number(4) }
    });
    told.ok_or(page)
}

async fn get(address: SocketAddr, path: &str) -> reqwest::Response {
    let client = reqwest::Client::builder().no_proxy().build().expect("a client");
    client.get(format!("http://{address}{path}")).send().await.expect("it listens")
}

/// What a process has in memory, in bytes.
fn resident(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("the kernel tells");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") * 1_024
}

async fn publish(app: &App, batch: &mut EventBatch) {
    let message = batch.take("w@many").expect("there are some");
    let publication = Publication {
        exchange: EVENT_EXCHANGE.to_owned(),
        routing_key: EventBatch::ROUTING_KEY.to_owned(),
        mandatory: false,
        message,
    };
    // The exchange is there as soon as somebody listens; a message is refused until then.
    testkit::eventually(PATIENCE, || app.broker().publish(publication.clone())).await;
}

fn task_id(number: usize) -> String {
    format!("00000000-0000-4000-8000-{number:012}")
}

/// Tells of tasks from their sending to their end.
async fn announce(app: &App, tasks: std::ops::Range<usize>) {
    let timestamp = celeriac::clock::unix_seconds();
    let mut batch = EventBatch::default();
    for number in tasks {
        let uuid = task_id(number);
        let id = || uuid.clone().into();
        let sent = TaskSent { uuid: id(), name: "many.task".into(), queue: Some("many".into()), ..TaskSent::default() };
        let kwargs = format!("{{'payment_id': '{uuid}'}}").into();
        let received = TaskReceived { uuid: id(), name: "many.task".into(), kwargs, ..TaskReceived::default() };
        let bodies = [
            EventBody::TaskSent(Box::new(sent)),
            EventBody::TaskReceived(Box::new(received)),
            EventBody::TaskStarted { uuid: id() },
            EventBody::TaskSucceeded { uuid: id(), result: "None".into(), runtime: 0.004 },
        ];
        for (clock, body) in (1..).zip(bodies) {
            batch.push(&Event {
                hostname: "w@many".into(),
                utcoffset: 0.0,
                pid: 1,
                clock: Some(clock),
                timestamp,
                body,
            });
        }
        if batch.len() >= 200 {
            publish(app, &mut batch).await;
        }
    }
    if !batch.is_empty() {
        publish(app, &mut batch).await;
    }
}

/// An open page: how often it is told something.
async fn stay(address: SocketAddr, page: &str, told: Arc<AtomicUsize>) {
    let mut stream = get(address, &format!("/live/{page}")).await;
    assert_eq!(stream.status(), 200, "{page}");
    while let Ok(Some(chunk)) = stream.chunk().await {
        if String::from_utf8_lossy(&chunk).contains("event: part") {
            told.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_open_pages_and_two_thousand_tasks_a_second_take_bounded_memory_and_lose_nothing_untold() {
    let vhost = testkit::rabbitmq().await;
    let mut dashboard = Process::billing(&["dashboard"], |command| {
        command.env("BROKER_URL", vhost.amqp_url()).env("RESULT_BACKEND", "memory://");
        command.env("DASHBOARD_LISTEN", "127.0.0.1:0").env("DASHBOARD_MAX_MEMORY", MEMORY.to_string());
        command.env("DASHBOARD_MAX_TASKS", "1000000");
    })
    .await;
    let address = listening(&mut dashboard).await;
    let app = App::builder().broker(vhost.amqp_url()).backend("memory://").build().await.unwrap();
    // From now on it hears: nothing tells when its queue is there.
    let first = AtomicUsize::new(0);
    testkit::eventually(PATIENCE, async || {
        let first = first.fetch_add(1, Ordering::Relaxed);
        announce(&app, first..first + 1).await;
        let heard = heard(address).await?;
        if heard.events > 0 { Ok(()) } else { Err(format!("{heard:?}")) }
    })
    .await;
    let told: Vec<Arc<AtomicUsize>> = (0..OPEN).map(|_| Arc::default()).collect();
    let mut pages = JoinSet::new();
    for (number, told) in told.iter().enumerate() {
        pages.spawn(stay(address, PAGES[number % PAGES.len()], Arc::clone(told)));
    }
    let all_told = async |times: usize| {
        testkit::eventually(PATIENCE, async || {
            let counts: Vec<usize> = told.iter().map(|told| told.load(Ordering::Relaxed)).collect();
            if counts.iter().all(|count| *count >= times) { Ok(()) } else { Err(format!("{counts:?}")) }
        })
        .await;
    };
    all_told(1).await;
    // What was announced by then is heard by now, or was before it listened.
    let before = heard(address).await.unwrap();
    let at_first = resident(dashboard.pid());

    let began = Instant::now();
    let mut ticks = interval(Duration::from_millis(50));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let (step, mut in_the_middle) = (A_SECOND / 20, 0);
    for batch in 0..SECONDS * 20 {
        ticks.tick().await;
        let next = 1_000_000 + batch * step;
        announce(&app, next..next + step).await;
        if batch == SECONDS * 20 * 3 / 4 {
            in_the_middle = resident(dashboard.pid());
        }
    }
    let took = began.elapsed();
    // Nobody who announces waits for who listens.
    assert!(took < Duration::from_secs(SECONDS as u64 + 2), "announcing took {took:?}");
    let sent = (A_SECOND * SECONDS) as u64;
    let heard = testkit::eventually(PATIENCE, async || {
        let heard = heard(address).await?;
        let arrived = heard.events + heard.dropped - before.events;
        if arrived == sent * EVENTS { Ok(heard) } else { Err(format!("{arrived} of {}: {heard:?}", sent * EVENTS)) }
    })
    .await;
    let at_the_end = resident(dashboard.pid());
    if heard.dropped == 0 {
        assert_eq!(heard.remembered + heard.forgotten, before.remembered + sent, "{heard:?}");
    }
    assert!(heard.forgotten > 0, "memory was never full, and its bound was not tried: {heard:?}");
    let bound = MEMORY * 1_000_000 * TIMES + PAGES_TAKE;
    let grown = at_the_end.saturating_sub(at_first);
    assert!(grown <= bound, "{grown} bytes more than at first, at most {bound} were expected");
    let moved = at_the_end.saturating_sub(in_the_middle);
    assert!(moved <= MOVES, "with full memory it went on to grow, by {moved} bytes");
    // All pages have been told what is new.
    all_told(2).await;

    dashboard.signal(Signal::Terminate);
    let ended = timeout(Duration::from_secs(4), dashboard.wait(PATIENCE)).await.expect("open pages do not hold it");
    assert!(ended.success(), "{}", dashboard.output());
}

/// Pitfall: history is gone at a restart, or saved and empty. Of what was announced nothing is missing but what came while nobody
/// listened, and in the moments before the kill.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dashboard_that_is_killed_in_mid_load_has_lost_no_more_than_what_it_tells() {
    const BATCH: usize = 100;
    /// Tasks are written in the order in which they were heard of, by the thousand: among so many there may be gaps.
    const AT_ONCE: usize = 1_000;
    let (vhost, postgres) = tokio::join!(testkit::rabbitmq(), testkit::postgres());
    let start = async || {
        let mut dashboard = Process::billing(&["dashboard"], |command| {
            command.env("BROKER_URL", vhost.amqp_url()).env("RESULT_BACKEND", "memory://");
            command.env("DASHBOARD_LISTEN", "127.0.0.1:0").env("DASHBOARD_HISTORY_URL", postgres.url());
        })
        .await;
        let address = listening(&mut dashboard).await;
        (dashboard, address)
    };
    let hears = async |address: SocketAddr, least: u64| {
        testkit::eventually(PATIENCE, async || {
            let heard = heard(address).await?;
            if heard.events >= least { Ok(()) } else { Err(format!("{heard:?}")) }
        })
        .await;
    };
    let (client, connection) = tokio_postgres::connect(postgres.url(), tokio_postgres::NoTls).await.unwrap();
    tokio::spawn(connection);
    let app = App::builder().broker(vhost.amqp_url()).backend("memory://").build().await.unwrap();
    let (killed, address) = start().await;
    // Announces until it is told to stop; when each batch was.
    let (enough, mut is_enough) = tokio::sync::watch::channel(false);
    let announcing = tokio::spawn(async move {
        let mut ticks = interval(Duration::from_secs(1) / (A_SECOND / BATCH) as u32);
        let mut times = Vec::new();
        while !*is_enough.borrow_and_update() {
            ticks.tick().await;
            times.push(Instant::now());
            announce(&app, (times.len() - 1) * BATCH..times.len() * BATCH).await;
        }
        times
    });
    hears(address, 1).await;
    let first_heard = Instant::now();
    testkit::eventually(PATIENCE, async || {
        let count = "SELECT count(*) FROM celeriac_dashboard.task WHERE state = 'SUCCESS'";
        let count = client.query_one(count, &[]).await.map_err(|error| error.to_string())?.get::<_, i64>(0);
        if count > 6 * A_SECOND as i64 { Ok(()) } else { Err(format!("{count} are written")) }
    })
    .await;
    killed.signal(Signal::Kill);
    let last = "SELECT max(id) FROM celeriac_dashboard.task WHERE state = 'SUCCESS'";
    let last: String = client.query_one(last, &[]).await.unwrap().get(0);
    let written = (0..).find(|number| task_id(*number) == last).unwrap();
    let (mut again, address) = start().await;
    hears(address, EVENTS * A_SECOND as u64).await;
    let heard_again = Instant::now();
    enough.send(true).unwrap();
    let times = announcing.await.unwrap();

    // Up to the last that was written before the kill, and after the new one listened: all of it.
    let before =
        (0..times.len()).filter(|batch| times[*batch] > first_heard && (batch + 1) * BATCH + AT_ONCE < written);
    let after = (0..times.len()).filter(|batch| times[*batch] > heard_again - Duration::from_millis(500));
    let (before, after): (Vec<usize>, Vec<usize>) = (before.collect(), after.collect());
    assert!(!before.is_empty() && !after.is_empty(), "{before:?} before the kill, {after:?} after it");
    let expected = [&before[..], &after].concat();
    testkit::eventually(PATIENCE, async || {
        let ids = client.query("SELECT id FROM celeriac_dashboard.task WHERE state = 'SUCCESS'", &[]).await;
        let ids: std::collections::HashSet<String> =
            ids.map_err(|error| error.to_string())?.iter().map(|row| row.get(0)).collect();
        let tasks = expected.iter().flat_map(|batch| batch * BATCH..(batch + 1) * BATCH);
        let missing: Vec<usize> = tasks.filter(|number| !ids.contains(&task_id(*number))).collect();
        if missing.is_empty() {
            Ok(())
        } else {
            Err(format!("{} are missing: {:?}…", missing.len(), missing.first()))
        }
    })
    .await;
    // And they stand on a page.
    let of_before = task_id(expected[0] * BATCH);
    let page = get(address, &format!("/tasks/{of_before}")).await.text().await.unwrap();
    assert!(page.contains("SUCCESS") && page.contains("w@many"), "{page}");
    again.signal(Signal::Terminate);
    assert!(again.wait(PATIENCE).await.success(), "{}", again.output());
}

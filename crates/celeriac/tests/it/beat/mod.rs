//! The scheduler with real brokers and real stores.

mod django;
mod stores;
mod succession;

use std::collections::HashSet;
use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use celeriac::beat::store::Progress;
use celeriac::beat::{CatchUp, Crontab, MemoryScheduleStore, Schedule};
use celeriac::broker::Delivery;
use celeriac::protocol::{RawJson, Value};
use celeriac::{Beat, Entry, QueueDefinition, SendOptions, Task};
use chrono::DateTime;
use serde::{Deserialize, Serialize};
use testkit::FaultProxy;
use tokio_util::sync::CancellationToken;

use crate::worker::on_every_broker;
use crate::worker::setup::{SOON, Setup, drain};

on_every_broker!(
    a_tick_sends_its_task_with_the_header_of_beats,
    two_beats_send_the_same_ids,
    missed_ticks_are_caught_up_as_the_entry_says,
    a_task_of_a_beat_is_executed_once_by_its_id,
);

#[derive(Task, Serialize, Deserialize)]
#[task(name = "tick", queue = "ticks")]
struct Tick {
    number: u32,
}

const EVERY: Duration = Duration::from_millis(100);

fn id(delivery: &Delivery) -> String {
    delivery.message.properties.correlation_id.clone().unwrap()
}

async fn a_tick_sends_its_task_with_the_header_of_beats(setup: Setup) {
    let app = setup.app().await;
    app.declare_queue("ticks").await.unwrap();
    let stop = CancellationToken::new();
    let entry = Entry::every("ticking", EVERY, Tick { number: 7 }).options(SendOptions::new().header("from", "test"));
    let beat = tokio::spawn(Beat::builder(app.clone()).entry(entry).build().run(stop.clone()));
    let ticks = drain(&app, "ticks", 3).await;
    stop.cancel();
    tokio::time::timeout(SOON, beat).await.unwrap().unwrap();
    assert_eq!(ticks.iter().map(id).collect::<HashSet<_>>().len(), 3, "every tick has an id of its own");
    for tick in &ticks {
        let headers = &tick.message.headers;
        assert_eq!(headers.get("celery_beat_task"), Some(&Value::Bool(true)));
        assert_eq!(headers.get("from"), Some(&Value::from("test")));
        assert_eq!(headers.get("task"), Some(&Value::from("tick")));
        let body: serde_json::Value = serde_json::from_slice(&tick.message.body).unwrap();
        assert_eq!(body[1]["number"], 7);
    }
}

/// What the real `celery beat` has sent for the same entry, but for ids, times and names of machines.
#[tokio::test]
async fn a_tick_is_the_message_that_celerys_beat_sends() {
    let captured = include_str!("../../fixtures/task/beat_interval.json");
    let captured: serde_json::Value = serde_json::from_str(captured).unwrap();
    let captured = &captured["messages"][0];
    let setup = Setup::memory().await;
    let app = setup.app().await;
    app.declare_queue("payments").await.unwrap();
    let json = |text: &'static str| RawJson::parse(text).unwrap();
    let (args, kwargs) = (json("[7, 99.9]"), json(r#"{"currency": "RUB"}"#));
    let options = SendOptions::new().queue("payments").priority(4).expires(Duration::from_secs(30));
    let entry = Entry::named("charge", Schedule::Every(EVERY), "billing.charge", args, kwargs);
    let stop = CancellationToken::new();
    let entry = entry.options(options.header("x-source", "beat"));
    let beat = tokio::spawn(Beat::builder(app.clone()).entry(entry).build().run(stop.clone()));
    let tick = drain(&app, "payments", 1).await.remove(0).message;
    stop.cancel();
    tokio::time::timeout(SOON, beat).await.unwrap().unwrap();

    let expected = captured["headers"].as_object().unwrap();
    let names: HashSet<_> = tick.headers.iter().map(|(name, _)| name).collect();
    assert_eq!(names, expected.keys().map(String::as_str).collect());
    for (name, value) in &tick.headers.iter().collect::<std::collections::HashMap<_, _>>() {
        let expected = &expected[*name];
        match value {
            Value::Null => assert!(expected.is_null(), "{name}"),
            Value::Bool(value) => assert_eq!(Some(*value), expected.as_bool(), "{name}"),
            Value::Int(value) => assert_eq!(Some(*value), expected.as_i64(), "{name}"),
            Value::List(values) => assert!(values.iter().all(|value| *value == Value::Null) && expected.is_array()),
            Value::Str(_) if ["id", "root_id", "expires", "origin"].contains(name) => assert!(expected.is_string()),
            Value::Str(value) => assert_eq!(Some(value.as_str()), expected.as_str(), "{name}"),
            other => assert_eq!((name, expected.is_object()), (&"stamps", true), "{other:?}"),
        }
    }
    let properties = &captured["properties"];
    assert_eq!(tick.properties.priority.map(u64::from), properties["priority"].as_u64());
    assert_eq!(
        tick.properties.expiration.map(|millis| millis.to_string()).as_deref(),
        properties["expiration"].as_str()
    );
    assert_eq!(tick.properties.content_type.as_deref(), properties["content_type"].as_str());
    assert_eq!(tick.properties.correlation_id.as_deref(), tick.headers.get("id").and_then(Value::as_str));
    let body: serde_json::Value = serde_json::from_slice(&tick.body).unwrap();
    assert_eq!(body, captured["body_json"]);
}

async fn two_beats_send_the_same_ids(setup: Setup) {
    let app = setup.app().await;
    app.declare_queue("ticks").await.unwrap();
    let stop = CancellationToken::new();
    let beat = || {
        let entry = Entry::every("ticking", EVERY, Tick { number: 1 });
        tokio::spawn(Beat::builder(app.clone()).entry(entry).build().run(stop.clone()))
    };
    let beats = [beat(), beat()];
    let ticks = drain(&app, "ticks", 10).await;
    stop.cancel();
    for beat in beats {
        tokio::time::timeout(SOON, beat).await.unwrap().unwrap();
    }
    let ids: HashSet<_> = ticks.iter().map(id).collect();
    assert!(ids.len() <= 6, "ten messages of two beats are five ticks, or six at the edges: {ids:?}");
}

async fn missed_ticks_are_caught_up_as_the_entry_says(setup: Setup) {
    let app = setup.app().await;
    app.declare_queue("ticks").await.unwrap();
    let (hour, now) = (Duration::from_secs(3600), celeriac::clock::now());
    let store = Arc::new(MemoryScheduleStore::default());
    let mut beat = Beat::builder(app.clone()).store(store.clone());
    let policies = [CatchUp::Skip, CatchUp::Once, CatchUp::UpTo(2), CatchUp::All];
    for (number, catch_up) in (0..).zip(policies) {
        let name = catch_up.to_string();
        store.set_progress(&name, Progress { handled: Some(now - hour * 5), sending: None });
        beat = beat.entry(Entry::every(name, hour, Tick { number }).catch_up(catch_up));
    }
    let stop = CancellationToken::new();
    let beat = tokio::spawn(beat.build().run(stop.clone()));
    let mut sent = [0; 4];
    for tick in drain(&app, "ticks", 8).await {
        let body: serde_json::Value = serde_json::from_slice(&tick.message.body).unwrap();
        sent[usize::try_from(body[1]["number"].as_u64().unwrap()).unwrap()] += 1;
    }
    assert_eq!(sent, [0, 1, 2, 5]);
    stop.cancel();
    tokio::time::timeout(SOON, beat).await.unwrap().unwrap();
    assert_eq!(app.broker().queue_depth("ticks").await.unwrap().unwrap().messages, 0);
}

async fn a_task_of_a_beat_is_executed_once_by_its_id(setup: Setup) {
    let worker = setup.serve(|worker| worker).await;
    let stop = CancellationToken::new();
    let entry = Entry::every("nothing", EVERY, crate::worker::tasks::Nothing);
    let beat = tokio::spawn(Beat::builder(worker.app.clone()).entry(entry).build().run(stop.clone()));
    worker.log.begun_count(3).await;
    stop.cancel();
    tokio::time::timeout(SOON, beat).await.unwrap().unwrap();
    worker.settled("celery").await;
    let begun = worker.log.begun();
    assert_eq!(begun.iter().collect::<HashSet<_>>().len(), begun.len());
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_was_away_gets_what_was_missed() {
    let setup = Setup::classic().await;
    let proxy = FaultProxy::start(&setup.broker).await;
    let builder = setup.builder().broker(proxy.url(&setup.broker)).publish_timeout(Duration::from_millis(300));
    let (app, direct) = (builder.build().await.unwrap(), setup.app().await);
    direct.declare_queue("ticks").await.unwrap();
    let stop = CancellationToken::new();
    let entry = Entry::every("ticking", EVERY, Tick { number: 1 }).catch_up(CatchUp::All);
    let beat = tokio::spawn(Beat::builder(app).entry(entry).build().run(stop.clone()));
    let before = drain(&direct, "ticks", 2).await;
    proxy.refuse().await;
    proxy.cut();
    let sent = async || direct.broker().queue_depth("ticks").await.unwrap().unwrap().messages;
    // Nothing comes through any more: the queue keeps what had.
    let left = sent().await;
    proxy.accept().await;
    testkit::eventually(SOON, async || sent().await > left + 10).await;
    stop.cancel();
    tokio::time::timeout(SOON, beat).await.unwrap().unwrap();
    let after = drain(&direct, "ticks", usize::try_from(sent().await).unwrap()).await;
    // A tick whose confirmation was lost is sent again with the same id; none is left out.
    let ids: HashSet<_> = before.iter().chain(&after).map(id).collect();
    assert!(ids.len() >= 10, "{}", ids.len());
}

#[tokio::test]
async fn an_entry_that_cannot_be_published_holds_no_other_up_and_each_failure_names_it() {
    let setup = Setup::classic().await;
    let logs = testkit::Logs::of_this_thread("celeriac=warn");
    let full = QueueDefinition::new("full").argument("x-max-length", 0_i64).argument("x-overflow", "reject-publish");
    let app = setup.builder().queue(full).publish_timeout(Duration::from_secs(5)).build().await.unwrap();
    app.declare_queue("ticks").await.unwrap();
    let entry = |name: &str| Entry::every(name, EVERY, Tick { number: 1 });
    let beat = Beat::builder(app.clone())
        .entry(entry("good"))
        .entry(entry("full").options(SendOptions::new().queue("full")))
        .entry(entry("nowhere").options(SendOptions::new().exchange("no.such.exchange", "x")));
    let stop = CancellationToken::new();
    let (beat, began) = (tokio::spawn(beat.build().run(stop.clone())), tokio::time::Instant::now());
    drain(&app, "ticks", 30).await;
    let took = began.elapsed();
    assert!(took < Duration::from_secs(10), "30 ticks of 0.1 s took {took:?}");
    for name in ["full", "nowhere"] {
        testkit::eventually(SOON, async || !logs.with(&format!("entry=\"{name}\"")).is_empty()).await;
    }
    assert!(logs.with("entry=\"good\"").is_empty(), "{:#?}", logs.lines());
    stop.cancel();
    tokio::time::timeout(SOON, beat).await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_beat_stops_at_once_even_while_its_broker_is_away() {
    let setup = Setup::classic().await;
    let proxy = FaultProxy::start(&setup.broker).await;
    let app = setup.builder().broker(proxy.url(&setup.broker)).build().await.unwrap();
    let stop = CancellationToken::new();
    let entry = Entry::every("ticking", EVERY, Tick { number: 1 });
    let beat = tokio::spawn(Beat::builder(app).entry(entry).build().run(stop.clone()));
    let direct = setup.app().await;
    direct.declare_queue("ticks").await.unwrap();
    drain(&direct, "ticks", 1).await;
    proxy.refuse().await;
    proxy.cut();
    stop.cancel();
    tokio::time::timeout(Duration::from_secs(6), beat).await.unwrap().unwrap();
}

/// A field of a crontab, drawn at random: some that are no field at all.
fn random_field(random: &mut fastrand::Rng, min: u32, max: u32, names: &[&str]) -> String {
    let number = |random: &mut fastrand::Rng| random.u32(min..=max);
    let part = |random: &mut fastrand::Rng| match random.u32(0..12) {
        0..=2 => "*".to_owned(),
        3 | 4 => number(random).to_string(),
        5 => format!("*/{}", random.u32(1..=20)),
        6 => format!("{}-{}", number(random), number(random)),
        7 => format!("{}-{}/{}", number(random), number(random), random.u32(1..=5)),
        8 if !names.is_empty() => names[random.usize(0..names.len())].to_owned(),
        9 if !names.is_empty() => {
            format!("{}-{}", names[random.usize(0..names.len())], names[random.usize(0..names.len())])
        }
        10 if random.u32(0..20) == 0 => (max + 1).to_string(),
        _ => format!("{},{}", number(random), number(random)),
    };
    if random.bool() { "*".to_owned() } else { part(random) }
}

/// The judge is Celery itself.
#[tokio::test]
async fn a_thousand_crontabs_come_next_when_celery_says() {
    let mut random = fastrand::Rng::with_seed(20_261_122);
    let (months, days) = (["jan", "feb", "march", "Jun", "dec"], ["mon", "tuesday", "Sat", "sun"]);
    let mut cases = Vec::new();
    for _ in 0..1000 {
        let fields = [
            random_field(&mut random, 0, 59, &[]),
            random_field(&mut random, 0, 23, &[]),
            random_field(&mut random, 1, 31, &[]),
            random_field(&mut random, 1, 12, &months),
            random_field(&mut random, 0, 6, &days),
        ];
        let after = DateTime::from_timestamp(random.i64(1_700_000_000..1_900_000_000), 0).unwrap();
        cases.push((fields.join(" "), after));
    }
    let mut file = tempfile::NamedTempFile::new().unwrap();
    for (fields, after) in &cases {
        writeln!(file, "{fields}|{}", after.to_rfc3339()).unwrap();
    }
    let script = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/beat/crontab.py");
    let printed = testkit::run_python(script, [file.path()]).await;
    let expected: Vec<_> = printed.lines().collect();
    assert_eq!(expected.len(), cases.len());
    let mut refused = 0;
    for ((fields, after), expected) in cases.iter().zip(expected) {
        match fields.parse::<Crontab>() {
            Ok(crontab) => {
                let next = crontab.next_after(*after, chrono_tz::Tz::UTC).map(|next| next.to_rfc3339());
                assert_eq!(next.as_deref(), Some(expected), "{fields} after {after}");
            }
            Err(error) => {
                refused += 1;
                assert_eq!(expected, "error", "{fields}: {error}");
            }
        }
    }
    assert!((1..200).contains(&refused), "{refused}");
}

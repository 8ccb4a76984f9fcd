//! Entries that Django writes and reads, with the real django-celery-beat.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use celeriac::beat::PostgresScheduleStore;
use celeriac::protocol::Value;
use celeriac::{Beat, Entry, SendOptions};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::worker::setup::{SOON, Setup, drain};

async fn django(url: &str, command: &str) -> String {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/beat/django_entries.py");
    testkit::run_python(script, [url, command]).await
}

async fn connect(url: &str) -> PostgresScheduleStore {
    PostgresScheduleStore::connect(url, Duration::from_secs(5)).await.unwrap()
}

#[tokio::test]
async fn what_django_writes_is_run_and_what_is_run_django_reads() {
    let database = testkit::postgres().await;
    let url = database.url();
    django(url, "migrate").await;
    let setup = Setup::memory().await;
    let app = setup.app().await;
    for queue in ["ticks", "once"] {
        app.declare_queue(queue).await.unwrap();
    }
    let stop = CancellationToken::new();
    let beat = Beat::builder(app.clone()).store(Arc::new(connect(url).await)).build();
    let beat = tokio::spawn(beat.run(stop.clone()));
    django(url, "create").await;

    let tick = &drain(&app, "ticks", 2).await[1].message;
    let header = |name: &str| tick.headers.get(name).cloned();
    assert_eq!(header("task"), Some(Value::from("shop.often")));
    assert_eq!(header("periodic_task_name"), Some(Value::from("often")));
    assert_eq!(header("celery_beat_task"), Some(Value::Bool(true)));
    assert_eq!(header("from"), Some(Value::from("django")));
    assert_eq!((tick.properties.priority, tick.properties.expiration), (Some(7), Some(60_000)));
    let body: serde_json::Value = serde_json::from_slice(&tick.body).unwrap();
    assert_eq!((&body[0], &body[1]), (&json!([1, "zwei"]), &json!({"b": 1.5, "a": null})));
    assert_eq!(drain(&app, "once", 1).await[0].message.headers.get("task"), Some(&Value::from("shop.once")));

    let seen = testkit::eventually(SOON, async || {
        let shown = django(url, "show").await;
        shown.contains("once False 0 False").then_some(shown)
    })
    .await;
    let often: Vec<_> = seen.lines().find(|line| line.starts_with("often")).unwrap().split(' ').collect();
    assert!(often[1] == "True" && often[2].parse::<u32>().unwrap() >= 2 && often[3] == "True", "{seen}");
    assert!(seen.contains("nightly True 0 False"), "{seen}");

    django(url, "disable").await;
    let depth = async || app.broker().queue_depth("ticks").await.unwrap().unwrap().messages;
    // Within 5 seconds nothing comes any more: two looks, a while apart, find the same.
    testkit::eventually(SOON, async || {
        let before = depth().await;
        tokio::time::sleep(Duration::from_millis(700)).await;
        depth().await == before
    })
    .await;
    stop.cancel();
    tokio::time::timeout(SOON, beat).await.unwrap().unwrap();
}

#[tokio::test]
async fn tables_that_the_beat_has_made_are_those_of_django() {
    let database = testkit::postgres().await;
    let url = database.url();
    let store = connect(url).await;
    django(url, "fake").await;
    assert_eq!(django(url, "create").await.lines().count(), 3);
    let entries = celeriac::beat::ScheduleStore::entries(&store, None).await.unwrap().unwrap().entries;
    assert_eq!(entries.len(), 3);
    assert!(entries.iter().all(|entry| entry.enabled));
}

/// Runs our beat on the tables until it has sent ticks of its own entry.
async fn lead_for_a_while(app: &celeriac::App, url: &str) {
    let alive = Entry::every("alive", Duration::from_millis(100), super::Tick { number: 1 });
    let alive = alive.options(SendOptions::new().queue("alive"));
    let stop = CancellationToken::new();
    let beat = Beat::builder(app.clone()).store(Arc::new(connect(url).await)).entry(alive).build();
    let beat = tokio::spawn(beat.run(stop.clone()));
    drain(app, "alive", 3).await;
    stop.cancel();
    tokio::time::timeout(SOON, beat).await.unwrap().unwrap();
}

#[tokio::test]
async fn what_a_python_beat_has_sent_between_two_of_ours_is_not_sent_again() {
    let database = testkit::postgres().await;
    let url = database.url();
    django(url, "migrate").await;
    let app = Setup::memory().await.app().await;
    for queue in ["ticks", "alive"] {
        app.declare_queue(queue).await.unwrap();
    }
    django(url, "hourly").await;
    lead_for_a_while(&app, url).await;
    // Five ticks are missed, and all are to be caught up.
    django(url, "rewind").await;
    let by_python = django(url, "beat").await;
    assert_eq!(by_python.lines().collect::<Vec<_>>(), ["hourly True 1 True", "single True 1 True"]);

    lead_for_a_while(&app, url).await;
    let ticks = app.broker().queue_depth("ticks").await.unwrap().unwrap().messages;
    assert_eq!(ticks, 0, "Python had sent all that was due");
    let by_us = django(url, "show").await;
    assert_eq!(by_us.lines().collect::<Vec<_>>(), ["hourly True 1 True", "single False 0 False"]);

    // Without a Python beat in between all five are caught up.
    django(url, "rewind").await;
    lead_for_a_while(&app, url).await;
    let ticks = app.broker().queue_depth("ticks").await.unwrap().unwrap().messages;
    assert_eq!(ticks, 5);
    assert!(django(url, "show").await.starts_with("hourly True 6 True"));
}

//! Entries that Django writes and reads, with the real django-celery-beat.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use celeriac::Beat;
use celeriac::beat::PostgresScheduleStore;
use celeriac::protocol::Value;
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

//! The scheduler with real brokers.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use celeriac::beat::{CatchUp, MemoryScheduleStore, ScheduleStore};
use celeriac::broker::Delivery;
use celeriac::protocol::Value;
use celeriac::{Beat, Entry, SendOptions, Task};
use chrono::TimeDelta;
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
    let now = celeriac::clock::now();
    for (name, catch_up, sent) in [("all", CatchUp::All, 5), ("once", CatchUp::Once, 1), ("skip", CatchUp::Skip, 0)] {
        let store = Arc::new(MemoryScheduleStore::default());
        let hour = TimeDelta::hours(1);
        store.set_handled(name, now - hour * 5).await.unwrap();
        let entry = Entry::every(name, Duration::from_secs(3600), Tick { number: 0 }).catch_up(catch_up);
        let stop = CancellationToken::new();
        let beat = Beat::builder(app.clone()).entry(entry).store(store.clone()).build();
        let beat = tokio::spawn(beat.run(stop.clone()));
        // The store tells when the entry is up to date.
        testkit::eventually(SOON, async || store.handled(name).await.unwrap().is_some_and(|tick| tick > now - hour))
            .await;
        stop.cancel();
        tokio::time::timeout(SOON, beat).await.unwrap().unwrap();
        assert_eq!(drain(&app, "ticks", sent).await.len(), sent, "{name}");
        let depth = app.broker().queue_depth("ticks").await.unwrap().unwrap();
        assert_eq!(depth.messages, 0, "{name}");
    }
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
    tokio::time::timeout(Duration::from_secs(5), beat).await.unwrap().unwrap();
}

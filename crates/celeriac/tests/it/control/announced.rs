//! What our worker announces: in which order, at which logical time, in how many messages.

use celeriac::clock::LamportClock;
use celeriac::control::{Client, Command};
use celeriac::events::Receiver;
use celeriac::protocol::event::Event;
use celeriac::{SendOptions, protocol};
use tokio_util::sync::CancellationToken;

use super::remote::Remote;
use crate::worker::setup::{SOON, Setup};
use crate::worker::tasks::{Nothing, Wait, WaitEarly};

/// The events until one of this kind, in their order.
async fn until(receiver: &mut Receiver, kind: &str) -> Vec<Event<'static>> {
    let mut all: Vec<Event<'static>> = Vec::new();
    while all.last().is_none_or(|last| last.kind() != kind) {
        let events = tokio::time::timeout(SOON, receiver.events()).await;
        let events = events.unwrap_or_else(|_| panic!("no {kind}: {all:?}"));
        all.extend(events.expect("the broker is there"));
    }
    all
}

fn kinds(events: &[Event<'static>]) -> Vec<String> {
    let kinds = events.iter().map(|event| event.kind().to_owned());
    kinds.filter(|kind| kind != "worker-heartbeat").collect()
}

#[tokio::test]
async fn a_cold_shutdown_tells_that_the_worker_goes_and_then_what_it_has_cancelled() {
    let (setup, cold) = (Setup::memory().await, CancellationToken::new());
    let listener = setup.app().await;
    let mut receiver = Receiver::all(listener.broker()).await.unwrap();
    let worker = setup.serve(|worker| worker.events(true).cold(cold.clone())).await;
    until(&mut receiver, "worker-online").await;
    for send in [worker.app.send_with(Wait, SendOptions::new().task_id("late")).await, worker.app.send(WaitEarly).await]
    {
        send.unwrap();
    }
    worker.log.begun_count(2).await;
    worker.begin_to_stop();
    let mut told = until(&mut receiver, "worker-offline").await;
    // It was told that it goes while both still ran.
    cold.cancel();
    worker.ended().await;
    while told.iter().filter(|event| event.kind() == "task-cancelled").count() < 2 {
        told.extend(until(&mut receiver, "task-cancelled").await);
    }
    let mut kinds = kinds(&told);
    kinds.sort_unstable();
    let both = |kind: &str| [kind.to_owned(), kind.to_owned()];
    let expected = ["task-cancelled", "task-received", "task-started"].map(both).concat();
    assert_eq!(kinds, [expected, vec!["worker-offline".to_owned()]].concat());
}

#[tokio::test]
async fn the_logical_clock_of_events_goes_on_from_what_was_heard() {
    const AHEAD: u64 = 1_000_000;
    let setup = Setup::memory().await;
    let listener = setup.app().await;
    let mut receiver = Receiver::all(listener.broker()).await.unwrap();
    let worker = setup.serve(|worker| worker.events(true)).await;
    Remote::of(&worker.app, &["w@test"]).await;
    let clock = LamportClock::default();
    clock.adjust(AHEAD);
    let ahead = Client::with_clock(worker.app.broker().clone(), clock);
    assert_eq!(ahead.call(Command::ping().to(["w@test"]), SOON).await.unwrap().collect().await.len(), 1);
    for _ in 0..20 {
        worker.app.send(Nothing).await.unwrap();
    }
    worker.log.begun_count(20).await;
    worker.settled("celery").await;
    worker.stop().await;
    let mut events = Vec::new();
    while events.iter().filter(|event: &&Event<'static>| event.kind() == "task-succeeded").count() < 20 {
        events.extend(tokio::time::timeout(SOON, receiver.events()).await.unwrap().unwrap());
    }
    let clocks = |kind: &str| -> Vec<u64> {
        let of_kind = events.iter().filter(|event| event.kind().starts_with(kind));
        of_kind.map(|event| event.clock.unwrap()).collect()
    };
    let clocks = clocks("task-");
    assert!(clocks.is_sorted() && clocks[0] > AHEAD, "{clocks:?}");
    let mut once = clocks.clone();
    once.dedup();
    assert_eq!(once, clocks);
}

/// Many events that happen together make few messages; a quiet worker tells each at once.
#[tokio::test]
async fn events_of_tasks_go_together_in_lists() {
    let setup = Setup::memory().await;
    let listener = setup.app().await;
    let mut receiver = Receiver::all(listener.broker()).await.unwrap();
    let worker = setup.serve(|worker| worker.events(true)).await;
    for _ in 0..200 {
        worker.app.send(Nothing).await.unwrap();
    }
    worker.log.begun_count(200).await;
    worker.settled("celery").await;
    worker.stop().await;
    let (mut events, mut messages) = (0, 0);
    while events < 600 {
        let message = tokio::time::timeout(SOON, receiver.message()).await.unwrap().unwrap();
        let told = Event::decode(&message).unwrap();
        if told.iter().all(|event| event.kind().starts_with("task-")) {
            let body: serde_json::Value = serde_json::from_slice(&message.body).unwrap();
            assert!(body.is_array(), "{body}");
            assert_eq!(message.properties.delivery_mode, protocol::DeliveryMode::Transient);
            events += told.len();
            messages += 1;
        }
    }
    assert_eq!(events, 600);
    assert!(messages < 600, "{messages} messages");
}

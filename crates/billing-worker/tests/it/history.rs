//! What a worker leaves in the log of events.

use billing::bell::Ear;
use billing::event::{EventKind, Source};
use billing::payment::PaymentState;
use billing::store::events;
use billing::tasks::{ChargePayment, KeepHistory};
use celeriac::SendOptions;
use serde_json::json;

use crate::world::{MONTH, PAYS, SOON, World};

#[tokio::test(flavor = "multi_thread")]
async fn what_a_task_writes_says_which_task_it_was_and_whose_trace() {
    let world = World::start().await;
    let payment = world.created(PAYS, MONTH).await;
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let options = SendOptions::new().task_id(ChargePayment::task_id(payment.id)).header("traceparent", trace);
    world.services.app.send_with(ChargePayment { payment_id: payment.id }, options).await.unwrap();
    world.ends_as(payment.id, PaymentState::Succeeded).await;
    let mut conn = world.services.db.conn().await.unwrap();
    let story = events::story_of_payment(&mut conn, payment.id).await.unwrap();
    let by_the_task: Vec<_> = story.iter().filter(|event| event.task_id.is_some()).collect();
    assert!(by_the_task.iter().any(|event| event.kind == EventKind::PaymentSucceeded), "{story:#?}");
    for event in by_the_task {
        assert_eq!(event.source, Source::Worker);
        assert_eq!(event.task_id.as_deref(), Some(&*payment.id.to_string()));
        assert_eq!(event.trace_id.as_deref(), Some("4bf92f3577b34da6a3ce929d0e0e4736"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_follows_the_log_is_woken_when_a_worker_has_written_public_events() {
    let world = World::start().await;
    let mut ear = Ear::new(&world.services.app);
    // It listens from now on.
    ear.rung().await;
    let payment = world.pays(PAYS).await;
    tokio::time::timeout(SOON, ear.rung()).await.expect("a ring");
    world.ends_as(payment.id, PaymentState::Succeeded).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_timetable_makes_the_months_to_come_and_drops_what_is_kept_no_longer() {
    let world = World::with(&["--events-kept-for", "90d"]).await;
    world.sql("select make_event_partitions('2020-01-01', 2)").await;
    assert_eq!(world.tick(KeepHistory {}).await, json!([0, 2]), "three months were made at the start");
    assert_eq!(world.tick(KeepHistory {}).await, json!([0, 0]));
}

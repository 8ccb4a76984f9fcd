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

/// Whole months are dropped long after: what was said to the gateway is kept so many days and no longer.
#[tokio::test(flavor = "multi_thread")]
async fn bodies_of_calls_are_wiped_in_their_time_within_a_month_that_is_kept() {
    let world = World::with(&["--gateway-calls-kept-for", "90d"]).await;
    let write = |age: &str, n: u32| {
        format!(
            "insert into gateway_call (id, started_at, ended_at, path, attempt, outcome, request, response)
             select gen_random_uuid(), now() - interval '{age}', now(), '/payments/find', 1, 'ok', '{{}}', '{{}}'
             from generate_series(1, {n})"
        )
    };
    // More than one transaction takes.
    world.sql(&write("90 days 1 minute", 1_500)).await;
    world.sql(&write("89 days 23 hours", 7)).await;
    world.tick(KeepHistory {}).await;
    assert_eq!(world.count("gateway_call where request is not null and response is not null").await, 7);
    let wiped = "gateway_call where request is null and response is null and outcome = 'ok'";
    assert_eq!(world.count(wiped).await, 1_500, "what was called, and how it ended, stays until its month is over");
}

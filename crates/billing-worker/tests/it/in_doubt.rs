//! Defect 3 of the original: a lost answer was a failure, and the next day charged again. Here it is a doubt.

use billing::clock;
use billing::payment::PaymentState;
use billing::store::payments::{Begin, begin_sending};
use billing::tasks::ResolveUnknown;
use chrono::TimeDelta;
use serde_json::{Value, json};

use crate::world::{MONTH, PAYS, World};

/// The timetable goes on asking until the payment is paid.
async fn ends_paid_once(fault: Value) {
    let world = World::start().await;
    let payment = world.created(PAYS, MONTH).await;
    world.fault(payment.account_id, fault.clone()).await;
    world.charge(payment.id).await;
    testkit::eventually(crate::world::SOON, || async {
        world.tick(ResolveUnknown {}).await;
        let payment = world.payment(payment.id).await;
        if payment.state == PaymentState::Succeeded { Ok(()) } else { Err(payment) }
    })
    .await;
    world.assert_charged(payment.account_id, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn charged_and_the_connection_dropped_ends_paid_once() {
    ends_paid_once(json!({ "fault": "drop_after" })).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn charged_and_answered_with_500_ends_paid_once() {
    ends_paid_once(json!({ "fault": "error_500_after" })).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn charged_and_answered_with_garbage_ends_paid_once() {
    ends_paid_once(json!({ "fault": "garbage_after" })).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn charged_and_answered_with_a_refusal_that_nobody_documents_ends_paid_once() {
    ends_paid_once(json!({ "fault": "refusal_after" })).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn charged_and_answered_after_we_gave_up_waiting_ends_paid_once() {
    ends_paid_once(json!({ "fault": "delay", "delay_ms": 3_000 })).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dropped_before_it_was_charged_is_sent_again_under_the_same_id_and_ends_paid_once() {
    ends_paid_once(json!({ "fault": "drop_before" })).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn answered_with_500_before_it_was_charged_ends_paid_once() {
    ends_paid_once(json!({ "fault": "error_500_before" })).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn charged_late_while_we_ask_and_repeat_ends_paid_once() {
    ends_paid_once(json!({ "fault": "delay_before", "delay_ms": 3_000 })).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sender_that_died_before_the_gateway_heard_of_it_is_found_by_the_timetable() {
    let world = World::start().await;
    let payment = world.created(PAYS, MONTH).await;
    let long_ago = clock::now() - TimeDelta::minutes(2);
    let mut conn = world.services.db.conn().await.unwrap();
    let begun = begin_sending(&mut conn, payment.id, &world.services.cipher, long_ago).await.unwrap();
    drop(conn);
    assert!(matches!(begun, Begin::Send(_)));
    // The broker delivers its message again: whether it was sent is not known, so it is not sent.
    world.charge(payment.id).await;
    testkit::eventually(crate::world::SOON, || async {
        world.tick(ResolveUnknown {}).await;
        let payment = world.payment(payment.id).await;
        if payment.state == PaymentState::Succeeded { Ok(()) } else { Err(payment) }
    })
    .await;
    world.assert_charged(payment.account_id, 1).await;
}

//! One chain of looks per payment, and few requests to a gateway in trouble.

use std::time::Duration;

use billing::payment::PaymentState;
use billing::tasks::{ChargePayment, RepublishStranded, ResolvePayment, ResolveUnknown};
use celeriac::SendOptions;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::world::{MONTH, PAYS, SOON, World};

const FIND: &str = "/v2/payments/find";
const CHARGE: &str = "/payments/cards/charge";
/// More than anybody asks.
const MANY: u64 = 10_000;
/// For this long everybody is told of the payment again and again.
const A_WHILE: Duration = Duration::from_secs(8);
/// Looks after 0.5, 2 and 4 seconds, and then as each that fails says.
const PLAN: [&str; 4] = ["--resolve-first-look", "500ms", "--resolve-look-only", "30m"];

impl World {
    async fn every(&self, path: &str, fault: &str, delay_ms: u64) {
        let order = json!({ "match": { "path": path }, "fault": fault, "delay_ms": delay_ms, "times": MANY });
        self.order(order).await;
    }

    /// How many requests have met the fault that is ordered for this path.
    async fn met(&self, path: &str) -> u64 {
        let faults = self.faults().await;
        let left = faults.iter().find(|fault| fault["match"]["path"] == path).expect("more than anybody asks");
        MANY - left["times"].as_u64().unwrap()
    }
}

/// The looks that are made while the timetable ticks, messages are delivered again, and every one of them is in vain.
async fn looks_in_vain(fault: &str, delay_ms: u64) -> u64 {
    let world = World::with(&PLAN).await;
    let payment = world.created(PAYS, MONTH).await;
    world.every(FIND, fault, delay_ms).await;
    world.fault(payment.account_id, json!({ "fault": "drop_after" })).await;
    world.charge(payment.id).await;
    world.ends_as(payment.id, PaymentState::Unknown).await;
    let started = Instant::now();
    while started.elapsed() < A_WHILE {
        world.tick(ResolveUnknown {}).await;
        for _ in 0..3 {
            world.services.app.send(ResolvePayment { payment_id: payment.id }).await.unwrap();
        }
    }
    assert_eq!(world.payment(payment.id).await.state, PaymentState::Unknown);
    world.met(FIND).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_hangs_is_asked_about_a_payment_by_one_chain_of_looks() {
    let looks = looks_in_vain("delay", 600_000).await;
    assert!((1..=4).contains(&looks), "{looks} looks");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_is_asked_too_much_is_asked_less() {
    let looks = looks_in_vain("http_429", 0).await;
    assert!((2..=4).contains(&looks), "{looks} looks");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_charge_that_the_gateway_puts_off_is_sent_again_by_one_chain_that_backs_off() {
    let world = World::start().await;
    let payment = world.created(PAYS, MONTH).await;
    world.every(CHARGE, "http_429", 0).await;
    let started = Instant::now();
    while started.elapsed() < A_WHILE {
        world.tick(RepublishStranded {}).await;
        for _ in 0..3 {
            world.services.app.send(ChargePayment { payment_id: payment.id }).await.unwrap();
        }
    }
    // At once, and after 1, 2 and 4 seconds.
    let sent = world.met(CHARGE).await;
    assert!((2..=5).contains(&sent), "sent {sent} times");
    assert_eq!(world.payment(payment.id).await.state, PaymentState::Created);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repetition_whose_answer_is_lost_or_put_off_waits_for_the_next_time_of_the_plan() {
    for fault in ["drop_before", "http_429"] {
        // Repeated after 2, 5, 10, 15 and 30 seconds.
        let world = World::with(&["--resolve-first-look", "200ms", "--resolve-look-only", "2s"]).await;
        let payment = world.created(PAYS, MONTH).await;
        world.fault(payment.account_id, json!({ "fault": "drop_before" })).await;
        world.charge(payment.id).await;
        world.ends_as(payment.id, PaymentState::Unknown).await;
        world.every(CHARGE, fault, 0).await;
        let started = Instant::now();
        while started.elapsed() < A_WHILE {
            world.tick(ResolveUnknown {}).await;
        }
        let repeated = world.met(CHARGE).await;
        assert!((1..=2).contains(&repeated), "{fault}: repeated {repeated} times");
    }
}

/// The result of a task whose workers have died is no word about the payment.
#[tokio::test(flavor = "multi_thread")]
async fn looks_go_on_whatever_became_of_the_workers_of_earlier_ones() {
    let world = World::start().await;
    let payment = world.created(PAYS, MONTH).await;
    world.fault(payment.account_id, json!({ "fault": "drop_after" })).await;
    world.is_poison(ResolvePayment::task_id(payment.id)).await;
    world.charge(payment.id).await;
    testkit::eventually(SOON, async || {
        let look_again_at = world.payment(payment.id).await.look_again_at;
        if let Some(due_at) = look_again_at {
            world.is_poison(ResolvePayment::look_id(payment.id, due_at)).await;
        }
        world.tick(ResolveUnknown {}).await;
        let payment = world.payment(payment.id).await;
        if payment.state == PaymentState::Succeeded { Ok(()) } else { Err(payment) }
    })
    .await;
    world.assert_charged(payment.account_id, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_of_a_time_when_all_were_in_one_queue_are_still_executed() {
    for queues in ["payments,renewals,lookups,billing", "payments,billing"] {
        let world = World::with(&["--worker-queues", queues]).await;
        let payment = world.created(PAYS, MONTH).await;
        world.fault(payment.account_id, json!({ "fault": "drop_after" })).await;
        world.charge(payment.id).await;
        testkit::eventually(SOON, async || {
            let options = SendOptions::new().queue("payments").task_id(ResolvePayment::task_id(payment.id));
            world.services.app.send_with(ResolvePayment { payment_id: payment.id }, options).await.unwrap();
            let payment = world.payment(payment.id).await;
            if payment.state == PaymentState::Succeeded { Ok(()) } else { Err(payment) }
        })
        .await;
        world.assert_charged(payment.account_id, 1).await;
    }
}

/// Told when the look of a payment that is watched ends the doubt.
#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_a_payment_in_doubt_is_told_to_those_who_watch_it() {
    let world = World::start().await;
    let payment = world.created(PAYS, MONTH).await;
    world.fault(payment.account_id, json!({ "fault": "drop_after" })).await;
    world.charge(payment.id).await;
    let told = world.services.app.result::<Value>(ResolvePayment::task_id(payment.id));
    testkit::eventually(SOON, async || {
        world.tick(ResolveUnknown {}).await;
        let payment = world.payment(payment.id).await;
        if payment.state == PaymentState::Succeeded { Ok(()) } else { Err(payment) }
    })
    .await;
    assert_eq!(told.get(SOON).await.unwrap()["status"], "succeeded");
}

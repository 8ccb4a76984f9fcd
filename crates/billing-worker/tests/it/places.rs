//! Slow work keeps no customer waiting.

use std::time::Duration;

use billing::payment::PaymentState;
use billing::store::renewals;
use billing::tasks::{ChargeRenewal, ExpireThreeDs, ResolveUnknown};
use billing::{PaymentId, clock};
use chrono::TimeDelta;
use serde_json::json;

use crate::world::{ASKS_THREE_DS, DAY, MONTH, PAYS, World};

/// Far less than what hangs takes.
const PROMPTLY: Duration = Duration::from_secs(20);

/// A worker with few places, and a gateway that takes its time.
async fn few_places(more: &[&str]) -> World {
    let few = ["--worker-concurrency", "2", "--gateway-max-in-flight", "5", "--gateway-timeout", "5m"];
    World::with(&[&few, more].concat()).await
}

async fn pays_promptly(world: &World) {
    let payment = world.pays(PAYS).await;
    testkit::eventually(PROMPTLY, async || {
        let payment = world.payment(payment.id).await;
        if payment.state == PaymentState::Succeeded { Ok(()) } else { Err(payment) }
    })
    .await;
}

async fn hangs(world: &World, path: &str) {
    world.order(json!({ "match": { "path": path }, "fault": "delay", "delay_ms": 300_000, "times": 1_000 })).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn unanswered_pages_and_a_gateway_that_does_not_say_what_became_of_them_keep_no_customer_waiting() {
    let world = few_places(&["--three-ds-ttl", "1ms"]).await;
    let mut left = Vec::new();
    for _ in 0..20 {
        left.push(world.pays(ASKS_THREE_DS).await.id);
    }
    for id in left {
        world.ends_as(id, PaymentState::AwaitingThreeDs).await;
    }
    hangs(&world, "/payments/get").await;
    for _ in 0..5 {
        world.tick(ExpireThreeDs {}).await;
    }
    pays_promptly(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn payments_in_doubt_and_a_gateway_that_hangs_keep_no_customer_waiting() {
    let world = few_places(&[]).await;
    hangs(&world, "/v2/payments/find").await;
    for _ in 0..10 {
        let payment = world.created(PAYS, MONTH).await;
        world.fault(payment.account_id, json!({ "fault": "drop_after" })).await;
        world.charge(payment.id).await;
        world.ends_as(payment.id, PaymentState::Unknown).await;
    }
    for _ in 0..5 {
        world.tick(ResolveUnknown {}).await;
    }
    pays_promptly(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn renewals_that_take_their_time_keep_no_customer_waiting() {
    let world = few_places(&[]).await;
    let renewals = renewals_of(&world, 10).await;
    hangs(&world, "/payments/tokens/charge").await;
    for payment_id in &renewals {
        world.services.app.send(ChargeRenewal { payment_id: *payment_id }).await.unwrap();
    }
    // As many as may be at the gateway at once, are.
    testkit::eventually(PROMPTLY, async || {
        let mut sending = 0;
        for id in &renewals {
            sending += usize::from(world.payment(*id).await.state == PaymentState::Sending);
        }
        if sending == 2 { Ok(()) } else { Err(sending) }
    })
    .await;
    pays_promptly(&world).await;
}

/// Open renewals of so many subscribers, of which no worker was told.
pub(crate) async fn renewals_of(world: &World, subscribers: usize) -> Vec<PaymentId> {
    let mut bought = Vec::with_capacity(subscribers);
    for _ in 0..subscribers {
        let first = world.created(PAYS, DAY).await;
        world.charge(first.id).await;
        bought.push(first.id);
    }
    for id in bought {
        world.ends_as(id, PaymentState::Succeeded).await;
    }
    let mut conn = world.services.db.conn().await.unwrap();
    let later = clock::now() + TimeDelta::hours(24);
    let opened = renewals::open_due(&mut conn, later, 100).await.unwrap();
    assert_eq!(opened.payments.len(), subscribers);
    opened.payments
}

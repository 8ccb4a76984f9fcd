//! All workers together have no more requests at the gateway than it takes, and some of them are for customers who wait.

use std::time::Duration;

use billing::PaymentId;
use billing::payment::PaymentState;
use billing::tasks::ChargeRenewal;
use serde_json::json;
use testkit::FaultProxy;

use crate::places::renewals_of;
use crate::world::{PAYS, SOON, World};

const RENEWALS: usize = 40;
const CUSTOMERS: usize = 12;
const AT_ONCE: u64 = 5;

/// A gateway that would take any number, and takes its time.
async fn world(backend: &[&str]) -> World {
    let gateway = cloudpayments_sandbox::Config { max_concurrent: 100, ..World::sandbox() };
    let settings = ["--gateway-timeout", "60s", "--stranded-after", "10m"];
    World::beside(gateway, &[&settings, backend].concat()).await
}

async fn takes(world: &World, path: &str, milliseconds: u64) {
    let slow = json!({ "match": { "path": path }, "fault": "delay", "delay_ms": milliseconds, "times": 1_000 });
    world.order(slow).await;
}

async fn order(world: &World, renewals: &[PaymentId]) {
    for &payment_id in renewals {
        world.services.app.send(ChargeRenewal { payment_id }).await.unwrap();
    }
}

async fn done(world: &World, renewals: &[PaymentId]) -> usize {
    let mut done = 0;
    for id in renewals {
        done += usize::from(world.payment(*id).await.state == PaymentState::Succeeded);
    }
    done
}

async fn three_workers_share_it(world: World) {
    for _ in 0..2 {
        world.is_joined_by_another().await;
    }
    let renewals = renewals_of(&world, RENEWALS).await;
    takes(&world, "/payments/tokens/charge", 250).await;
    takes(&world, "/payments/cards/charge", 100).await;
    order(&world, &renewals).await;
    let mut customers = Vec::new();
    for _ in 0..CUSTOMERS {
        customers.push(world.pays(PAYS).await.id);
    }
    for id in customers {
        world.ends_as(id, PaymentState::Succeeded).await;
    }
    let so_far = done(&world, &renewals).await;
    assert!(so_far < RENEWALS, "customers were served before the renewals were over");
    testkit::eventually(SOON, async || {
        let done = done(&world, &renewals).await;
        if done == RENEWALS { Ok(()) } else { Err(done) }
    })
    .await;
    let most = world.most_at_the_gateway().await;
    assert_eq!(most, AT_ONCE, "as many as it takes, and no more");
}

#[tokio::test(flavor = "multi_thread")]
async fn three_workers_have_no_more_requests_at_the_gateway_than_it_takes_by_redis() {
    let redis = testkit::redis().await;
    three_workers_share_it(world(&["--result-backend", redis.url()]).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn three_workers_have_no_more_requests_at_the_gateway_than_it_takes_by_memory() {
    three_workers_share_it(world(&[]).await).await;
}

/// Nobody can say then how many requests there are: who waits is served, what can wait does.
#[tokio::test(flavor = "multi_thread")]
async fn while_redis_is_away_first_payments_go_on_and_renewals_wait() {
    let redis = testkit::redis().await;
    let proxy = FaultProxy::start(redis.url()).await;
    let world = world(&["--result-backend", &proxy.url(redis.url())]).await;
    let renewals = renewals_of(&world, 3).await;
    proxy.refuse().await;
    proxy.cut();
    order(&world, &renewals).await;
    let mut customers = Vec::new();
    for _ in 0..CUSTOMERS {
        customers.push(world.pays(PAYS).await.id);
    }
    for id in customers {
        world.ends_as(id, PaymentState::Succeeded).await;
    }
    assert_eq!(done(&world, &renewals).await, 0, "they wait");
    proxy.accept().await;
    testkit::eventually(Duration::from_secs(60), async || {
        let done = done(&world, &renewals).await;
        if done == renewals.len() { Ok(()) } else { Err(done) }
    })
    .await;
    for id in renewals {
        world.assert_charged(world.payment(id).await.account_id, 2).await;
    }
}

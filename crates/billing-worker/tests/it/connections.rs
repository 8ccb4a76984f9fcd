//! No connection to the database is held while the gateway thinks: a pool of one serves everybody meanwhile, as it must
//! on the embedded PostgreSQL.

use std::time::Duration;

use billing::payment::PaymentState;
use billing::store::payments::PaymentView;
use billing::tasks::{CompleteThreeDs, ExpireThreeDs, OpenRenewals};
use serde_json::{Value, json};

use crate::three_ds::come_back;
use crate::world::{ASKS_THREE_DS, DAY, MONTH, PAYS, SOON, World};

/// Longer than anybody here waits.
const THINKS: u64 = 60_000;

/// The gateway thinks about the next such request for longer than this test lasts.
async fn thinks_about(world: &World, path: &str, payment: &PaymentView) {
    let invoice_id = payment.invoice_no.to_string();
    let matcher = match path {
        "/v2/payments/find" | "/payments/get" | "/payments/cards/post3ds" => {
            json!({ "path": path, "invoice_id": invoice_id })
        }
        _ => json!({ "path": path, "account_id": payment.account_id.to_string() }),
    };
    world.order(json!({ "match": matcher, "fault": "delay", "delay_ms": THINKS })).await;
}

/// The gateway has the request, and the only connection is free.
async fn assert_free(world: &World, what: &str) {
    testkit::eventually(SOON, || async {
        let waiting: Vec<Value> = world.faults().await;
        if waiting.is_empty() { Ok(()) } else { Err(waiting) }
    })
    .await;
    let conn = tokio::time::timeout(Duration::from_secs(10), world.services.db.conn()).await;
    assert!(matches!(conn, Ok(Ok(_))), "held by {what} during its call");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_connection_is_held_across_a_call_to_the_gateway() {
    let world = World::with(&["--database-pool-size", "1", "--gateway-timeout", "120s"]).await;

    let charge = world.created(PAYS, MONTH).await;
    thinks_about(&world, "/payments/cards/charge", &charge).await;
    world.charge(charge.id).await;
    assert_free(&world, "charge_payment").await;
    assert_eq!(world.payment(charge.id).await.state, PaymentState::Sending);

    let answer = world.pays(ASKS_THREE_DS).await;
    let asked = world.ends_as(answer.id, PaymentState::AwaitingThreeDs).await;
    come_back(&world, &asked, "confirm").await;
    thinks_about(&world, "/payments/cards/post3ds", &asked).await;
    world.services.app.send(CompleteThreeDs { payment_id: answer.id }).await.unwrap();
    assert_free(&world, "complete_three_ds").await;

    let renews = world.created(PAYS, DAY).await;
    thinks_about(&world, "/payments/tokens/charge", &renews).await;
    world.charge(renews.id).await;
    world.ends_as(renews.id, PaymentState::Succeeded).await;
    world.ends_today(renews.account_id).await;
    world.tick(OpenRenewals {}).await;
    assert_free(&world, "charge_renewal").await;

    let doubted = world.created(PAYS, MONTH).await;
    thinks_about(&world, "/v2/payments/find", &doubted).await;
    world.fault(doubted.account_id, json!({ "fault": "drop_after" })).await;
    world.charge(doubted.id).await;
    assert_free(&world, "resolve_payment").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_connection_is_held_while_the_gateway_is_asked_about_pages_that_ran_out() {
    let world = World::with(&["--database-pool-size", "1", "--gateway-timeout", "120s", "--three-ds-ttl", "1ms"]).await;
    let payment = world.pays(ASKS_THREE_DS).await;
    let asked = world.ends_as(payment.id, PaymentState::AwaitingThreeDs).await;
    thinks_about(&world, "/payments/get", &asked).await;
    world.services.app.send(ExpireThreeDs {}).await.unwrap();
    assert_free(&world, "expire_three_ds").await;
}

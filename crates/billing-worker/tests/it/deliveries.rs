//! The rows are the truth: whatever becomes of the messages – lost, or delivered three times – every payment ends, and
//! nobody is charged twice.

use billing::payment::PaymentState;
use billing::store::renewals;
use billing::tasks::{ChargeRenewal, CompleteThreeDs, RepublishStranded, ResolvePayment, ResolveUnknown};
use billing::{PaymentId, clock};
use celeriac::Task;
use serde_json::json;

use crate::three_ds::come_back;
use crate::world::{ASKS_THREE_DS, DAY, MONTH, PAYS, SOON, World};

/// A renewal that is open, and no worker told of it.
async fn renewal(world: &World) -> PaymentId {
    let first = world.created(PAYS, DAY).await;
    world.charge(first.id).await;
    world.ends_as(first.id, PaymentState::Succeeded).await;
    world.ends_today(first.account_id).await;
    let mut conn = world.services.db.conn().await.unwrap();
    let opened = renewals::open_due(&mut conn, clock::now(), 10).await.unwrap();
    assert_eq!(opened.payments.len(), 1);
    opened.payments[0]
}

async fn three_times<T: Task + Clone>(world: &World, task: T) {
    for _ in 0..3 {
        world.services.app.send(task.clone()).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_message_lost_loses_no_payment() {
    let world = World::start().await;
    let (charge, answer) = (world.created(PAYS, MONTH).await, world.pays(ASKS_THREE_DS).await);
    let renewal = renewal(&world).await;
    let asked = world.ends_as(answer.id, PaymentState::AwaitingThreeDs).await;
    come_back(&world, &asked, "confirm").await;
    world.tick(RepublishStranded {}).await;
    for payment_id in [charge.id, answer.id, renewal] {
        let paid = world.ends_as(payment_id, PaymentState::Succeeded).await;
        world.assert_charged(paid.account_id, if payment_id == renewal { 2 } else { 1 }).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_message_delivered_three_times_charges_nobody_twice() {
    let world = World::start().await;
    let charge = world.created(PAYS, MONTH).await;
    for _ in 0..3 {
        world.charge(charge.id).await;
    }
    let answer = world.pays(ASKS_THREE_DS).await;
    let asked = world.ends_as(answer.id, PaymentState::AwaitingThreeDs).await;
    come_back(&world, &asked, "confirm").await;
    three_times(&world, CompleteThreeDs { payment_id: answer.id }).await;
    let renewal = renewal(&world).await;
    three_times(&world, ChargeRenewal { payment_id: renewal }).await;

    // Two that are in doubt: one was charged, the other the gateway has never heard of.
    let [charged, unheard] = [world.created(PAYS, MONTH).await, world.created(PAYS, MONTH).await];
    world.fault(charged.account_id, json!({ "fault": "drop_after" })).await;
    world.fault(unheard.account_id, json!({ "fault": "drop_before" })).await;
    for payment in [&charged, &unheard] {
        world.charge(payment.id).await;
    }
    testkit::eventually(SOON, || async {
        world.tick(ResolveUnknown {}).await;
        let mut states = Vec::new();
        for payment_id in [charged.id, unheard.id] {
            three_times(&world, ResolvePayment { payment_id }).await;
            states.push(world.payment(payment_id).await.state);
        }
        if states == [PaymentState::Succeeded; 2] { Ok(()) } else { Err(states) }
    })
    .await;

    for payment_id in [charge.id, answer.id, renewal, charged.id, unheard.id] {
        let paid = world.ends_as(payment_id, PaymentState::Succeeded).await;
        world.assert_charged(paid.account_id, if payment_id == renewal { 2 } else { 1 }).await;
    }
}

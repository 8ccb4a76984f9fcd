//! Rows are the outbox.

use billing::payment::PaymentState;
use billing::tasks::{ChargePayment, RepublishStranded};

use crate::world::{MONTH, PAYS, SOON, World};

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_whose_message_was_lost_is_sent_again_and_charged_once() {
    let world = World::start().await;
    let payment = world.created(PAYS, MONTH).await;
    tokio::join!(world.tick(RepublishStranded {}), world.tick(RepublishStranded {}));
    world.ends_as(payment.id, PaymentState::Succeeded).await;
    world.assert_charged(payment.account_id, 1).await;
}

/// That its workers died need not be its fault, and money is not given up for it.
#[tokio::test(flavor = "multi_thread")]
async fn a_payment_whose_message_is_parked_because_its_workers_died_is_sent_again_and_charged_once() {
    let world = World::start().await;
    let payment = world.created(PAYS, MONTH).await;
    world.is_poison(ChargePayment::task_id(payment.id)).await;
    testkit::eventually(SOON, async || {
        world.tick(RepublishStranded {}).await;
        let payment = world.payment(payment.id).await;
        if payment.state == PaymentState::Succeeded { Ok(()) } else { Err(payment) }
    })
    .await;
    world.assert_charged(payment.account_id, 1).await;
}

//! Rows are the outbox.

use billing::payment::PaymentState;
use billing::tasks::RepublishStranded;

use crate::world::{MONTH, PAYS, World};

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_whose_message_was_lost_is_sent_again_and_charged_once() {
    let world = World::start().await;
    let payment = world.created(PAYS, MONTH).await;
    tokio::join!(world.tick(RepublishStranded {}), world.tick(RepublishStranded {}));
    world.ends_as(payment.id, PaymentState::Succeeded).await;
    world.assert_charged(payment.account_id, 1).await;
}

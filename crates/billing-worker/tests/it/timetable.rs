//! Rows are the outbox.

use billing::payment::PaymentState;
use billing::tasks::{ChargePayment, RepublishStranded};
use celeriac::Failure;
use celeriac::backend::StoredResult;
use celeriac::protocol::ResultMeta;

use crate::world::{MONTH, PAYS, SOON, World};

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_whose_message_was_lost_is_sent_again_and_charged_once() {
    let world = World::start().await;
    let payment = world.created(PAYS, MONTH).await;
    tokio::join!(world.tick(RepublishStranded {}), world.tick(RepublishStranded {}));
    world.ends_as(payment.id, PaymentState::Succeeded).await;
    world.assert_charged(payment.account_id, 1).await;
}

/// Its workers would die again, and its copies fill the parking queue.
#[tokio::test(flavor = "multi_thread")]
async fn a_payment_whose_message_is_parked_as_poison_is_not_sent_again_until_that_is_forgotten() {
    let world = World::with(&["--stranded-after", "1s"]).await;
    let a_while_ago = billing::clock::now() - chrono::TimeDelta::seconds(5);
    let payment = world.created_at(a_while_ago, PAYS, MONTH).await;
    let task_id = ChargePayment::task_id(payment.id);
    let failure = Failure::new("WorkerLostError", ["delivered 5 times"]).with_module("billiard.exceptions");
    let meta = ResultMeta::failure(task_id.clone(), &failure, billing::clock::now()).to_json();
    let backend = world.services.app.backend();
    backend.store(&[StoredResult { task_id: task_id.clone(), meta, is_final: true }]).await.unwrap();
    assert_eq!(world.tick(RepublishStranded {}).await, 0);
    assert_eq!(world.payment(payment.id).await.state, PaymentState::Created);
    world.assert_charged(payment.account_id, 0).await;

    backend.forget(&task_id).await.unwrap();
    testkit::eventually(SOON, async || {
        world.tick(RepublishStranded {}).await;
        let payment = world.payment(payment.id).await;
        if payment.state == PaymentState::Succeeded { Ok(()) } else { Err(payment) }
    })
    .await;
    world.assert_charged(payment.account_id, 1).await;
}

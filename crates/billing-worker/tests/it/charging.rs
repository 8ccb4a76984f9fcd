//! A charge, when the gateway answers.

use billing::payment::PaymentState;
use billing::tasks::{PaymentReceipt, ResolvePayment};
use serde_json::json;

use crate::world::{HAS_NO_FUNDS, PAYS, SOON, World};

#[tokio::test(flavor = "multi_thread")]
async fn a_card_pays_and_the_result_of_the_task_says_so() {
    let world = World::start().await;
    let payment = world.pays(PAYS).await;
    let receipt: PaymentReceipt = world.services.app.result(payment.id.to_string()).get(SOON).await.unwrap();
    assert_eq!(receipt.status, "succeeded");
    let paid = world.ends_as(payment.id, PaymentState::Succeeded).await;
    assert!(paid.expires_on.is_some() && paid.transaction_id.is_some());
    world.assert_charged(payment.account_id, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_delivered_many_times_charges_once() {
    let world = World::start().await;
    let payment = world.created(PAYS, crate::world::MONTH).await;
    for _ in 0..5 {
        world.charge(payment.id).await;
    }
    world.ends_as(payment.id, PaymentState::Succeeded).await;
    for _ in 0..3 {
        world.charge(payment.id).await;
        world.tick(ResolvePayment { payment_id: payment.id }).await;
    }
    world.assert_charged(payment.account_id, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_card_without_funds_is_declined_with_the_gateways_words_and_gives_no_access() {
    let world = World::start().await;
    let payment = world.pays(HAS_NO_FUNDS).await;
    let declined = world.ends_as(payment.id, PaymentState::Declined).await;
    let decline = declined.decline.unwrap();
    assert_eq!((decline.code, decline.reason.as_str()), (5051, "InsufficientFunds"));
    assert!(!decline.message.is_empty());
    assert_eq!(declined.expires_on, None);
    world.assert_charged(payment.account_id, 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_gateway_did_not_process_is_sent_again() {
    let world = World::start().await;
    let payment = world.created(PAYS, crate::world::MONTH).await;
    world.fault(payment.account_id, json!({ "fault": "http_429" })).await;
    world.charge(payment.id).await;
    world.ends_as(payment.id, PaymentState::Succeeded).await;
    world.assert_charged(payment.account_id, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_api_secret_charges_nobody_and_loses_nothing() {
    let world = World::with(&["--cloudpayments-api-secret", "wrong"]).await;
    let payment = world.pays(PAYS).await;
    let waiting = testkit::eventually(SOON, || async {
        let payment = world.payment(payment.id).await;
        if payment.info.is_some() { Ok(payment) } else { Err(payment) }
    })
    .await;
    assert_eq!(waiting.state, PaymentState::Created);
    world.assert_charged(payment.account_id, 0).await;
}

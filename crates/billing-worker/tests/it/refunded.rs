//! Money that was given back by hand in the gateway's cabinet before anybody here knew that it was taken.

use billing::bill::BillStatus;
use billing::payment::PaymentState;
use billing::store::payments::PaymentView;
use serde_json::{Value, json};

use crate::world::{MONTH, PAYS, World};

/// Charged, the answer lost, given back, and only then looked up.
async fn lost_and_given_back(world: &World, amounts: &[Option<f64>]) -> PaymentView {
    let payment = world.created(PAYS, MONTH).await;
    world.fault(payment.account_id, json!({ "fault": "drop_after" })).await;
    world.charge(payment.id).await;
    testkit::eventually(crate::world::SOON, || async {
        let charged = world.ledger(payment.invoice_no).await;
        if charged.is_empty() { Err("not charged yet") } else { Ok(()) }
    })
    .await;
    for amount in amounts {
        let mut order = json!({ "invoice_id": payment.invoice_no.to_string() });
        if let Some(amount) = amount {
            order["amount"] = Value::from(*amount);
        }
        world.refund(order).await;
    }
    payment
}

/// A look that comes only when it is asked for.
const PATIENT: [&str; 2] = ["--resolve-first-look", "350ms"];

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_payment_that_was_given_back_ends_and_gives_no_access() {
    let world = World::with(&PATIENT).await;
    let payment = lost_and_given_back(&world, &[None]).await;
    let ended = world.is_resolved_as(payment.id, PaymentState::Succeeded).await;
    assert_eq!(ended.bill_status, BillStatus::Refunded);
    let payments: Vec<_> = world.ledger(payment.invoice_no).await;
    assert_eq!(ended.transaction_id, payments[0]["id"].as_i64(), "the payment's number, not the refund's");
    assert!(!world.has_access(payment.account_id).await);
    world.assert_charged(payment.account_id, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_payment_that_was_given_back_in_two_parts_gives_no_access() {
    let world = World::with(&PATIENT).await;
    let payment = lost_and_given_back(&world, &[Some(100.0), Some(299.0)]).await;
    let ended = world.is_resolved_as(payment.id, PaymentState::Succeeded).await;
    assert_eq!(ended.bill_status, BillStatus::Refunded);
    assert!(!world.has_access(payment.account_id).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_payment_that_was_given_back_in_part_is_paid() {
    let world = World::with(&PATIENT).await;
    let payment = lost_and_given_back(&world, &[Some(100.0)]).await;
    let ended = world.is_resolved_as(payment.id, PaymentState::Succeeded).await;
    assert_eq!(ended.bill_status, BillStatus::PartiallyRefunded);
    assert!(world.has_access(payment.account_id).await);
}

//! A terminal of two stages: a charge only holds the money.

use std::time::Duration;

use billing::bill::BillStatus;
use billing::payment::PaymentState;
use billing::tasks::EndHolds;
use serde_json::json;

use crate::world::{DAY, MONTH, PAYS, SOON, World};

async fn world() -> World {
    World::beside(cloudpayments_sandbox::Config { two_stage: true, ..World::sandbox() }, &[]).await
}

#[tokio::test(flavor = "multi_thread")]
async fn money_that_is_only_held_is_taken_and_pays() {
    let world = world().await;
    let payment = world.pays(PAYS).await;
    let paid = world.ends_as(payment.id, PaymentState::Succeeded).await;
    assert_eq!(paid.bill_status, BillStatus::Paid);
    assert!(world.has_access(payment.account_id).await);
    world.assert_charged(payment.account_id, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_confirmation_whose_answer_is_lost_takes_the_money_once() {
    let world = world().await;
    let payment = world.created(PAYS, MONTH).await;
    let invoice = payment.invoice_no.to_string();
    world
        .order(json!({ "match": { "path": "/payments/confirm", "invoice_id": invoice }, "fault": "drop_after" }))
        .await;
    world.charge(payment.id).await;
    testkit::eventually(SOON, || async {
        world.sql("update payment set look_again_at = null where state = 'authorized'").await;
        world.tick(EndHolds {}).await;
        let payment = world.payment(payment.id).await;
        if payment.state == PaymentState::Succeeded { Ok(()) } else { Err(payment) }
    })
    .await;
    world.assert_charged(payment.account_id, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hold_that_the_gateway_let_go_after_seven_days_ends_and_makes_room() {
    let world = world().await;
    let payment = world.created(PAYS, MONTH).await;
    let invoice = payment.invoice_no.to_string();
    let fault = json!({
        "match": { "path": "/payments/confirm", "invoice_id": invoice }, "fault": "error_500_before", "times": 1000
    });
    world.order(fault).await;
    world.charge(payment.id).await;
    world.ends_as(payment.id, PaymentState::Authorized).await;
    world.sandbox.advance(Duration::from_secs(8 * 24 * 60 * 60));
    testkit::eventually(SOON, || async {
        world.sql("update payment set look_again_at = null where state = 'authorized'").await;
        world.tick(EndHolds {}).await;
        let payment = world.payment(payment.id).await;
        if payment.state == PaymentState::Voided { Ok(()) } else { Err(payment) }
    })
    .await;
    assert_eq!(world.payment(payment.id).await.bill_status, BillStatus::NotPaid);
    assert!(!world.has_access(payment.account_id).await);
}

/// Two stages as an option of a tariff, on a terminal of one: first payments and renewals are held, then taken.
#[tokio::test(flavor = "multi_thread")]
async fn a_tariff_of_two_stages_holds_first_and_takes_what_is_still_wanted() {
    let world = World::start().await;
    world.sql("update tariff set two_stages = true").await;
    let payment = world.created(PAYS, DAY).await;
    // The bill keeps what it was opened with: every sending is the same request.
    world.sql("update tariff set two_stages = false").await;
    world.fault(payment.account_id, json!({ "fault": "drop_before" })).await;
    world.charge(payment.id).await;
    world.ends_as(payment.id, PaymentState::Unknown).await;
    let paid = world.is_resolved_as(payment.id, PaymentState::Succeeded).await;
    assert_eq!(paid.bill_status, BillStatus::Paid);
    let auth = format!("gateway_call where payment_id = '{}' and path = '/payments/cards/auth'", payment.id);
    assert_eq!(world.count(&auth).await, 2, "sent, and repeated");
    let confirm = format!("gateway_call where payment_id = '{}' and path = '/payments/confirm'", payment.id);
    assert_eq!(world.count(&confirm).await, 1);

    world.sql("update tariff set two_stages = true").await;
    world.ends_today(payment.account_id).await;
    world.tick(billing::tasks::OpenRenewals {}).await;
    testkit::eventually(SOON, || async {
        let paid = world.count("bill where kind = 'renewal' and status = 'Paid'").await;
        if paid == 1 { Ok(()) } else { Err(paid) }
    })
    .await;
    assert_eq!(world.count("gateway_call where path = '/payments/tokens/auth'").await, 1);
    world.assert_charged(payment.account_id, 2).await;
}

/// A tariff may have the money taken some days after it was held; what is not wanted any more does not wait for that.
#[tokio::test(flavor = "multi_thread")]
async fn money_that_is_taken_later_is_held_until_then_and_let_go_at_once_if_nobody_wants_it() {
    let world = World::start().await;
    world.sql("update tariff set two_stages = true, confirm_after = 3").await;
    let (kept, closed) = (world.pays(PAYS).await, world.pays(PAYS).await);
    for payment in [&kept, &closed] {
        world.ends_as(payment.id, PaymentState::Authorized).await;
    }
    let waits = "payment where state = 'authorized' and look_again_at = first_sent_at + interval '3 days'";
    testkit::eventually(SOON, || async {
        let waiting = world.count(waits).await;
        if waiting == 2 { Ok(()) } else { Err(waiting) }
    })
    .await;
    assert_eq!(world.tick(EndHolds {}).await, json!(0), "not before");
    assert_eq!(world.count("gateway_call where path = '/payments/confirm'").await, 0);
    assert!(!world.has_access(kept.account_id).await);

    world.sql(&format!("update account set closed_at = now() where id = '{}'", closed.account_id)).await;
    let soon = "update payment set look_again_at = null where state = 'authorized'";
    world.sql(soon).await;
    world.tick(EndHolds {}).await;
    world.ends_as(closed.id, PaymentState::Voided).await;
    assert_eq!(world.payment(kept.id).await.state, PaymentState::Authorized);

    world.sql("update payment set first_sent_at = first_sent_at - interval '3 days' where state = 'authorized'").await;
    world.sql(soon).await;
    world.tick(EndHolds {}).await;
    world.ends_as(kept.id, PaymentState::Succeeded).await;
    assert!(world.has_access(kept.account_id).await);
}

//! The customer at the bank's page.

use billing::clock;
use billing::payment::PaymentState;
use billing::store::payments::{PaymentView, submit_pa_res};
use billing::tasks::{CompleteThreeDs, ExpireThreeDs, ResolveUnknown};
use chrono::TimeDelta;
use serde_json::json;

use crate::world::{ASKS_THREE_DS, SOON, World};

/// Returns the bank's answer.
pub(crate) async fn come_back(world: &World, payment: &PaymentView, answer: &str) -> String {
    let pa_res = world.answer_bank(payment, answer).await;
    let md = payment.three_ds.as_ref().unwrap().md;
    let mut conn = world.services.db.conn().await.unwrap();
    let (cipher, now) = (&world.services.cipher, clock::now());
    submit_pa_res(&mut conn, payment.id, md, pa_res.clone().into(), cipher, now).await.unwrap();
    pa_res
}

async fn complete(world: &World, payment: &PaymentView) {
    world.services.app.send(CompleteThreeDs { payment_id: payment.id }).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_confirms_pays_once_however_often_it_is_passed_on() {
    let world = World::start().await;
    let payment = world.pays(ASKS_THREE_DS).await;
    let asked = world.ends_as(payment.id, PaymentState::AwaitingThreeDs).await;
    come_back(&world, &asked, "confirm").await;
    for _ in 0..3 {
        complete(&world, &asked).await;
    }
    world.ends_as(payment.id, PaymentState::Succeeded).await;
    world.assert_charged(payment.account_id, 1).await;
}

/// The customer answered so long ago, and nobody has passed the answer on.
async fn come_back_long_ago(world: &World, payment: &PaymentView) {
    let long_ago = clock::now() - chrono::TimeDelta::days(3);
    let pa_res = world.answer_bank(payment, "confirm").await;
    let md = payment.three_ds.as_ref().unwrap().md;
    let mut conn = world.services.db.conn().await.unwrap();
    submit_pa_res(&mut conn, payment.id, md, pa_res.into(), &world.services.cipher, long_ago).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_of_three_days_ago_is_not_passed_on_and_makes_room() {
    let world = World::start().await;
    let payment = world.pays(ASKS_THREE_DS).await;
    let asked = world.ends_as(payment.id, PaymentState::AwaitingThreeDs).await;
    come_back_long_ago(&world, &asked).await;
    complete(&world, &asked).await;
    let given_up = world.ends_as(payment.id, PaymentState::Abandoned).await;
    assert_eq!(given_up.bill_status, billing::bill::BillStatus::NotPaid);
    world.assert_charged(payment.account_id, 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_answer_that_the_gateway_has_heard_of_otherwise_is_a_success() {
    let world = World::start().await;
    let payment = world.pays(ASKS_THREE_DS).await;
    let asked = world.ends_as(payment.id, PaymentState::AwaitingThreeDs).await;
    let pa_res = world.answer_bank(&asked, "confirm").await;
    world.post_behind_our_back(&asked, &pa_res).await;
    come_back_long_ago(&world, &asked).await;
    complete(&world, &asked).await;
    world.ends_as(payment.id, PaymentState::Succeeded).await;
    world.assert_charged(payment.account_id, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_cannot_be_opened_is_given_up_and_makes_room() {
    let world = World::start().await;
    let payment = world.pays(ASKS_THREE_DS).await;
    let asked = world.ends_as(payment.id, PaymentState::AwaitingThreeDs).await;
    come_back(&world, &asked, "confirm").await;
    world.sql(&format!("update bill set pa_res = 'lost.AAAA' where id = '{}'", asked.bill_id)).await;
    complete(&world, &asked).await;
    world.ends_as(payment.id, PaymentState::Abandoned).await;
    world.assert_charged(payment.account_id, 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_rejects_is_a_decline() {
    let world = World::start().await;
    let payment = world.pays(ASKS_THREE_DS).await;
    let asked = world.ends_as(payment.id, PaymentState::AwaitingThreeDs).await;
    come_back(&world, &asked, "reject").await;
    complete(&world, &asked).await;
    let declined = world.ends_as(payment.id, PaymentState::Declined).await;
    assert_eq!(declined.decline.unwrap().code, 5206);
    world.assert_charged(payment.account_id, 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_whose_own_answer_is_lost_ends_paid_once() {
    let world = World::start().await;
    let payment = world.pays(ASKS_THREE_DS).await;
    let asked = world.ends_as(payment.id, PaymentState::AwaitingThreeDs).await;
    come_back(&world, &asked, "confirm").await;
    world.fault(payment.account_id, json!({ "fault": "drop_after" })).await;
    complete(&world, &asked).await;
    testkit::eventually(crate::world::SOON, || async {
        world.tick(billing::tasks::ResolveUnknown {}).await;
        let payment = world.payment(payment.id).await;
        if payment.state == PaymentState::Succeeded { Ok(()) } else { Err(payment) }
    })
    .await;
    world.assert_charged(payment.account_id, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_banks_page_is_shown_although_the_gateways_answer_about_it_was_lost() {
    let world = World::start().await;
    let payment = world.created(ASKS_THREE_DS, crate::world::MONTH).await;
    world.fault(payment.account_id, json!({ "fault": "drop_after" })).await;
    world.charge(payment.id).await;
    testkit::eventually(crate::world::SOON, || async {
        world.tick(billing::tasks::ResolveUnknown {}).await;
        let payment = world.payment(payment.id).await;
        if payment.state == PaymentState::AwaitingThreeDs { Ok(()) } else { Err(payment) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_nobody_answers_is_given_up() {
    let world = World::with(&["--three-ds-ttl", "1ms"]).await;
    let payment = world.pays(ASKS_THREE_DS).await;
    world.ends_as(payment.id, PaymentState::AwaitingThreeDs).await;
    world.tick(ExpireThreeDs {}).await;
    world.ends_as(payment.id, PaymentState::Abandoned).await;
    world.assert_charged(payment.account_id, 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn before_a_page_is_given_up_the_gateway_is_asked_whether_it_was_answered() {
    let world = World::with(&["--three-ds-ttl", "1ms"]).await;
    let payment = world.pays(ASKS_THREE_DS).await;
    let asked = world.ends_as(payment.id, PaymentState::AwaitingThreeDs).await;
    // Somebody has passed the answer on, and nothing of it is written down.
    let pa_res = world.answer_bank(&asked, "confirm").await;
    world.post_behind_our_back(&asked, &pa_res).await;
    let invoice = json!(asked.invoice_no.to_string());
    world
        .order(json!({ "match": { "path": "/payments/get", "invoice_id": invoice }, "fault": "error_500_before" }))
        .await;
    world.tick(ExpireThreeDs {}).await;
    let asked_again = testkit::eventually(SOON, async || {
        let payment = world.payment(payment.id).await;
        if payment.info.is_some() { Ok(payment) } else { Err(payment) }
    })
    .await;
    assert_eq!(asked_again.state, PaymentState::AwaitingThreeDs, "the gateway did not say");
    testkit::eventually(SOON, async || {
        world.tick(ExpireThreeDs {}).await;
        let payment = world.payment(payment.id).await;
        if payment.state == PaymentState::Succeeded { Ok(()) } else { Err(payment) }
    })
    .await;
    world.assert_charged(payment.account_id, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn money_that_comes_by_a_page_that_was_left_is_found_and_gives_access() {
    let world = World::start().await;
    let payment = world.pays(ASKS_THREE_DS).await;
    let asked = world.ends_as(payment.id, PaymentState::AwaitingThreeDs).await;
    let left_at = clock::now() - TimeDelta::minutes(1);
    let anew = world.pays_anew(&asked, left_at).await;
    world.ends_as(asked.id, PaymentState::Abandoned).await;
    // Somebody has passed the answer on all the same.
    let pa_res = world.answer_bank(&asked, "confirm").await;
    world.post_behind_our_back(&asked, &pa_res).await;
    testkit::eventually(SOON, async || {
        world.tick(ResolveUnknown {}).await;
        let payment = world.payment(asked.id).await;
        if payment.state == PaymentState::Succeeded { Ok(()) } else { Err(payment) }
    })
    .await;
    world.ends_as(anew.id, PaymentState::NotExecuted).await;
    world.assert_charged(payment.account_id, 1).await;
}

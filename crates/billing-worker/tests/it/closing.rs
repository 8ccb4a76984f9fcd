//! C27: a person asks to be forgotten, while money is on its way, and afterwards.

use billing::payment::PaymentState;
use billing::store::payments::PaymentView;
use billing::store::subscriptions::{self, Request};
use billing::tasks::{CompleteThreeDs, ExpireThreeDs, OpenRenewals, RepublishStranded, ResolveUnknown, WipeTraces};
use billing::{AccountId, PaymentId, clock};
use serde_json::json;

use crate::three_ds::come_back;
use crate::world::{ASKS_THREE_DS, MONTH, PAYS, World};

async fn close(world: &World, account_id: AccountId) {
    let request = Request {
        account_id,
        client: "frontend".into(),
        idempotency_key: PaymentId::new().to_string(),
        now: clock::now(),
    };
    let mut conn = world.services.db.conn().await.unwrap();
    subscriptions::close(&mut conn, &request, false).await.unwrap();
}

/// Everything that the clock starts, and every task about the payment, three times.
async fn all_that_may_come(world: &World, payment: &PaymentView) {
    for _ in 0..3 {
        world.tick(OpenRenewals {}).await;
        world.tick(RepublishStranded {}).await;
        world.tick(ResolveUnknown {}).await;
        world.tick(ExpireThreeDs {}).await;
        world.charge(payment.id).await;
        world.services.app.send(CompleteThreeDs { payment_id: payment.id }).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_charged_for_who_has_closed_the_account_while_a_renewal_is_due() {
    let world = World::start().await;
    let payment = world.pays(PAYS).await;
    world.ends_as(payment.id, PaymentState::Succeeded).await;
    world.ends_today(payment.account_id).await;
    close(&world, payment.account_id).await;
    all_that_may_come(&world, &payment).await;
    world.assert_charged(payment.account_id, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn money_that_was_on_its_way_is_to_be_given_back() {
    let world = World::start().await;
    let payment = world.created(PAYS, MONTH).await;
    world.fault(payment.account_id, json!({ "fault": "drop_after" })).await;
    world.charge(payment.id).await;
    world.ends_as(payment.id, PaymentState::Unknown).await;
    close(&world, payment.account_id).await;
    world.is_resolved_as(payment.id, PaymentState::SucceededDuplicate).await;
    world.assert_charged(payment.account_id, 1).await;
    assert!(!world.has_access(payment.account_id).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_of_the_bank_page_is_not_passed_on() {
    let world = World::start().await;
    let payment = world.pays(ASKS_THREE_DS).await;
    let asked = world.ends_as(payment.id, PaymentState::AwaitingThreeDs).await;
    come_back(&world, &asked, "confirm").await;
    close(&world, payment.account_id).await;
    all_that_may_come(&world, &payment).await;
    world.ends_as(payment.id, PaymentState::Abandoned).await;
    world.assert_charged(payment.account_id, 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn persons_are_forgotten_once_however_often_the_clock_asks() {
    let world = World::with(&["--personal-traces-kept", "0s"]).await;
    let payment = world.pays(PAYS).await;
    world.ends_as(payment.id, PaymentState::Succeeded).await;
    assert_eq!(world.tick(WipeTraces {}).await, json!(0), "nobody has asked for it");
    close(&world, payment.account_id).await;
    let (one, another) = tokio::join!(world.tick(WipeTraces {}), world.tick(WipeTraces {}));
    assert_eq!(one.as_u64().unwrap() + another.as_u64().unwrap(), 1);
    assert_eq!(world.tick(WipeTraces {}).await, json!(0));
    let forgotten = world.payment(payment.id).await;
    assert_eq!(
        (forgotten.state, forgotten.amount),
        (PaymentState::Succeeded, payment.amount),
        "what is financial stays"
    );
}

//! A new card is verified: a rouble is held on it and let go, whatever the gateway does meanwhile.

use billing::bill::BillStatus;
use billing::payment::PaymentState;
use billing::store::payments::{PaymentView, begin_sending};
use billing::store::subscriptions::{self, NewCard, Request, Verb};
use billing::tasks::{ChargePayment, CompleteThreeDs, EndHolds, ResolveUnknown};
use billing::{AccountId, PaymentId, clock};
use celeriac::SendOptions;
use chrono::TimeDelta;
use serde_json::{Value, json};

use crate::three_ds::come_back;
use crate::world::{ASKS_THREE_DS, HAS_NO_FUNDS, PAYS, SOON, World};

/// Pays, and is another card than [`PAYS`].
const ANOTHER: &str = "5205000000003055";
const AUTH: &str = "/payments/cards/auth";
const VOID: &str = "/payments/void";

impl World {
    /// An account that has paid a month by card.
    async fn subscriber(&self) -> AccountId {
        let payment = self.pays(PAYS).await;
        self.ends_as(payment.id, PaymentState::Succeeded).await;
        payment.account_id
    }

    fn asked(account_id: AccountId) -> Request {
        let idempotency_key = PaymentId::new().to_string();
        Request { account_id, client: "frontend".into(), idempotency_key, now: clock::now() }
    }

    /// A verification that is written down, and not sent to a worker.
    async fn verification(&self, account_id: AccountId, card: &str) -> PaymentView {
        let new = NewCard {
            cryptogram: cloudpayments_sandbox::cryptogram(card, "12/39", "123").unwrap().into(),
            ip_address: "203.0.113.7".parse().unwrap(),
            pay_debt: false,
        };
        let mut conn = self.services.db.conn().await.unwrap();
        let begun = subscriptions::replace_card(&mut conn, &Self::asked(account_id), &new, &self.services.cipher).await;
        begun.unwrap().payment
    }

    async fn verifies(&self, account_id: AccountId, card: &str) -> PaymentView {
        let payment = self.verification(account_id, card).await;
        self.charge(payment.id).await;
        payment
    }

    async fn brand(&self, account_id: AccountId) -> Option<String> {
        let mut conn = self.services.db.conn().await.unwrap();
        let subscription = subscriptions::get(&mut conn, account_id).await.unwrap().unwrap();
        subscription.card.and_then(|card| card.scheme)
    }

    /// The gateway has held money once for this verification, and has let it go.
    async fn assert_held_once_and_let_go(&self, payment: &PaymentView) {
        let ledger = self.ledger(payment.invoice_no).await;
        let statuses: Vec<_> = ledger.iter().map(|entry| entry["status"].as_str().unwrap()).collect();
        assert_eq!(statuses, ["Cancelled"], "{ledger:?}");
    }

    /// The timetable goes on until the verification has come to this.
    async fn is_verified(&self, id: PaymentId) -> PaymentView {
        testkit::eventually(SOON, || async {
            self.tick(ResolveUnknown {}).await;
            // Whoever was given a hold has minutes to end it.
            self.sql("update payment set look_again_at = null where state = 'authorized'").await;
            self.tick(EndHolds {}).await;
            let payment = self.payment(id).await;
            if payment.state == PaymentState::Verified { Ok(payment) } else { Err(payment) }
        })
        .await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_card_is_verified_by_a_hold_that_is_let_go_at_once() {
    let world = World::start().await;
    let account = world.subscriber().await;
    assert_eq!(world.brand(account).await.as_deref(), Some("Visa"));
    let payment = world.verifies(account, ANOTHER).await;
    // The hold is ended without the timetable.
    let verified = world.ends_as(payment.id, PaymentState::Verified).await;
    assert_eq!(verified.bill_status, BillStatus::Void);
    assert_eq!(world.brand(account).await.as_deref(), Some("MasterCard"));
    world.assert_held_once_and_let_go(&payment).await;
    world.assert_charged(account, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_for_a_verified_card_is_told_before_the_money_is_let_go() {
    let world = World::start().await;
    let account = world.subscriber().await;
    let payment = world.verification(account, ANOTHER).await;
    world.order(json!({ "match": { "path": VOID }, "fault": "error_500_before", "times": 1000 })).await;
    let options = SendOptions::new().task_id(ChargePayment::task_id(payment.id));
    let sent = world.services.app.send_with(ChargePayment { payment_id: payment.id }, options).await.unwrap();
    let told: Value = world.services.app.result(sent.id().to_owned()).get(SOON).await.unwrap();
    assert_eq!(told["status"], "authorized");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_card_that_asks_for_the_bank_is_verified_after_it_has_answered() {
    let world = World::start().await;
    let account = world.subscriber().await;
    let payment = world.verifies(account, ASKS_THREE_DS).await;
    let asked = world.ends_as(payment.id, PaymentState::AwaitingThreeDs).await;
    come_back(&world, &asked, "confirm").await;
    world.services.app.send(CompleteThreeDs { payment_id: payment.id }).await.unwrap();
    world.ends_as(payment.id, PaymentState::Verified).await;
    world.assert_held_once_and_let_go(&payment).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_card_that_is_declined_changes_nothing() {
    let world = World::start().await;
    let account = world.subscriber().await;
    let payment = world.verifies(account, HAS_NO_FUNDS).await;
    let declined = world.ends_as(payment.id, PaymentState::Declined).await;
    assert_eq!((declined.bill_status, declined.renews), (BillStatus::Void, true));
    assert_eq!(world.brand(account).await.as_deref(), Some("Visa"));
}

/// Whatever goes wrong with the hold, one is made and let go, and the card is the new one.
async fn ends_verified(path: &str, fault: &str) {
    let world = World::start().await;
    let account = world.subscriber().await;
    let payment = world.verification(account, ANOTHER).await;
    world.order(json!({ "match": { "path": path }, "fault": fault })).await;
    world.charge(payment.id).await;
    world.is_verified(payment.id).await;
    assert_eq!(world.brand(account).await.as_deref(), Some("MasterCard"), "{path} {fault}");
    world.assert_held_once_and_let_go(&payment).await;
    world.assert_charged(account, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hold_whose_answer_is_lost_is_known_in_the_end() {
    ends_verified(AUTH, "drop_after").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hold_whose_request_is_lost_is_made_under_the_same_id() {
    ends_verified(AUTH, "drop_before").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hold_that_the_gateway_puts_off_is_made_later() {
    ends_verified(AUTH, "http_429").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn money_whose_release_is_not_answered_is_let_go_once() {
    ends_verified(VOID, "drop_after").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn money_whose_release_fails_is_let_go_later() {
    ends_verified(VOID, "error_500_before").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hold_whose_card_was_forgotten_is_not_made_again() {
    let world = World::start().await;
    let account = world.subscriber().await;
    let payment = world.verification(account, ANOTHER).await;
    // Its sender died before the gateway heard of it.
    let long_ago = clock::now() - TimeDelta::minutes(10);
    let mut conn = world.services.db.conn().await.unwrap();
    begin_sending(&mut conn, payment.id, &world.services.cipher, long_ago).await.unwrap();
    subscriptions::perform(&mut conn, &World::asked(account), Verb::ForgetCard).await.unwrap();
    drop(conn);
    testkit::eventually(SOON, || async {
        world.tick(ResolveUnknown {}).await;
        let payment = world.payment(payment.id).await;
        let is_only_looked_up = payment.info.as_ref().is_some_and(|info| info.contains("not sent again"));
        if is_only_looked_up { Ok(()) } else { Err(payment) }
    })
    .await;
    assert_eq!(world.payment(payment.id).await.state, PaymentState::Unknown);
    assert_eq!(world.ledger(payment.invoice_no).await, Vec::<Value>::new());
}

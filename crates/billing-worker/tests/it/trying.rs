//! Trials, at the gateway.

use billing::bill::TrialRefusal;
use billing::models::Trial;
use billing::payment::PaymentState;
use billing::store::payments::{self, NewPayment, PaymentView};
use billing::store::{accounts, tariffs};
use billing::tasks::OpenRenewals;
use billing::{AccountId, Currency, Kopecks, PaymentId, clock};
use chrono::Days;

use crate::world::{PAYS, SOON, World};

const FOR_NOTHING: Trial = Trial { days: 7, amount: Kopecks::ZERO, currency: Currency::RUB };
const FOR_TEN: Trial = Trial { days: 7, amount: Kopecks::new(1_000), currency: Currency::RUB };

impl World {
    /// A new account tries a month with this card, for these terms.
    async fn tries(&self, trial: Trial, card: &str) -> PaymentView {
        let (account_id, now) = (AccountId::new(), clock::now());
        let mut conn = self.services.db.conn().await.unwrap();
        accounts::register(&mut conn, account_id, self.services.time_zone, now).await.unwrap();
        let tariff_id = tariffs::defaults()[1].id;
        tariffs::set_trial(&mut conn, tariff_id, Some(trial), now).await.unwrap();
        let new = NewPayment {
            account_id,
            tariff_id,
            cryptogram: cloudpayments_sandbox::cryptogram(card, "12/39", "123").unwrap().into(),
            ip_address: "203.0.113.7".parse().unwrap(),
            idempotency_key: PaymentId::new().to_string(),
            trial: Some(trial),
            now,
        };
        let payment = payments::create(&mut conn, new, &self.services.cipher).await.unwrap().payment;
        drop(conn);
        self.charge(payment.id).await;
        payment
    }

    async fn is_on_trial(&self, id: AccountId) -> bool {
        let mut conn = self.services.db.conn().await.unwrap();
        accounts::get(&mut conn, id).await.unwrap().unwrap().is_on_trial()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trial_for_nothing_holds_a_rouble_lets_it_go_and_is_charged_in_full_at_its_end() {
    let world = World::start().await;
    let payment = world.tries(FOR_NOTHING, PAYS).await;
    world.ends_as(payment.id, PaymentState::Verified).await;
    assert!(world.is_on_trial(payment.account_id).await);
    world.assert_charged(payment.account_id, 0).await;

    // The same card, in another account.
    let again = world.tries(FOR_NOTHING, PAYS).await;
    let refused = world.ends_as(again.id, PaymentState::Verified).await;
    assert_eq!(refused.trial_refused, Some(TrialRefusal::Used));
    assert!(!world.is_on_trial(again.account_id).await);
    world.assert_charged(again.account_id, 0).await;

    // Support moves its end to today.
    let mut conn = world.services.db.conn().await.unwrap();
    let end = accounts::get(&mut conn, payment.account_id).await.unwrap().unwrap().expires_on().unwrap();
    accounts::move_expiration(&mut conn, payment.account_id, end - Days::new(7)).await.unwrap();
    drop(conn);
    world.tick(OpenRenewals {}).await;
    testkit::eventually(SOON, || async {
        if world.is_on_trial(payment.account_id).await { Err("not charged yet") } else { Ok(()) }
    })
    .await;
    world.assert_charged(payment.account_id, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_price_of_a_trial_by_a_used_card_is_owed_back() {
    let world = World::start().await;
    let payment = world.tries(FOR_TEN, PAYS).await;
    world.ends_as(payment.id, PaymentState::Succeeded).await;
    let again = world.tries(FOR_TEN, PAYS).await;
    let refused = world.ends_as(again.id, PaymentState::SucceededDuplicate).await;
    assert_eq!((refused.trial_refused, refused.amount), (Some(TrialRefusal::Used), Kopecks::new(1_000)));
    assert!(!world.is_on_trial(again.account_id).await);
}

//! A gateway that is down, or refuses us: payments wait instead of being tried in vain.

use billing::account::AccountStatus;
use billing::breaker::{Circuit, CircuitState};
use billing::payment::PaymentState;
use billing::store::payments::PaymentView;
use billing::store::{accounts, circuits};
use billing::tasks::{OpenRenewals, RepublishStranded};
use serde_json::json;

use crate::world::{DAY, MONTH, PAYS, SOON, World};

const IMPATIENT: [&str; 4] = ["--gateway-breaker-failures", "3", "--gateway-breaker-pause", "500ms"];
const CARDS: &str = "/payments/cards/charge";
const TOKENS: &str = "/payments/tokens/charge";

impl World {
    async fn is(&self, which: Circuit, state: CircuitState) {
        testkit::eventually(SOON, || async {
            let mut conn = self.services.db.conn().await.unwrap();
            let seen = circuits::get(&mut conn, which).await.unwrap().state;
            if seen == state { Ok(()) } else { Err(seen) }
        })
        .await;
    }

    /// The timetable wakes what waits until all of it is paid.
    async fn are_paid(&self, payments: &[PaymentView]) {
        testkit::eventually(SOON, || async {
            self.tick(RepublishStranded {}).await;
            for payment in payments {
                let seen = self.payment(payment.id).await;
                if seen.state != PaymentState::Succeeded {
                    return Err(seen);
                }
            }
            Ok(())
        })
        .await;
    }

    async fn assert_one_alarm(&self) {
        assert_eq!(self.count("event where kind = 'needs_attention'").await, 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn while_our_credentials_are_refused_payments_wait_and_then_all_are_made_once() {
    let world = World::with(&IMPATIENT).await;
    world.order(json!({ "match": { "path": CARDS }, "fault": "http_401", "times": 1000 })).await;
    let mut payments = Vec::new();
    for _ in 0..5 {
        payments.push(world.created(PAYS, MONTH).await);
    }
    world.charge(payments[0].id).await;
    world.is(Circuit::Gateway, CircuitState::Open).await;
    for payment in &payments[1..] {
        world.charge(payment.id).await;
    }
    for payment in &payments {
        // One of them may just be finding out.
        let waits = world.ends_as(payment.id, PaymentState::Created).await;
        assert_eq!(waits.transaction_id, None);
    }
    world.mend().await;
    world.are_paid(&payments).await;
    world.is(Circuit::Gateway, CircuitState::Closed).await;
    for payment in &payments {
        world.assert_charged(payment.account_id, 1).await;
    }
    world.assert_one_alarm().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_fails_time_after_time_is_left_alone() {
    // Nothing is repeated meanwhile.
    let patient = ["--gateway-breaker-failures", "3", "--gateway-breaker-pause", "1h", "--resolve-look-only", "40m"];
    let world = World::with(&patient).await;
    world.order(json!({ "match": { "path": CARDS }, "fault": "error_500_before", "times": 3 })).await;
    for n in 0..3 {
        let payment = world.created(PAYS, MONTH).await;
        world.charge(payment.id).await;
        testkit::eventually(SOON, || async { world.faults_left().await == 2 - n }).await;
    }
    world.is(Circuit::Gateway, CircuitState::Open).await;
    let fourth = world.created(PAYS, MONTH).await;
    world.charge(fourth.id).await;
    let waits = format!("payment where id = '{}' and state = 'created' and look_again_at > now()", fourth.id);
    testkit::eventually(SOON, || async { world.count(&waits).await == 1 }).await;
    assert_eq!(world.charged(fourth.account_id).await.len(), 0, "nothing was sent, though the gateway is well again");
    world.assert_one_alarm().await;
}

/// C39: the terminal takes all charges of kept cards for wrong.
#[tokio::test(flavor = "multi_thread")]
async fn c39_renewals_wait_for_a_terminal_that_takes_all_kept_cards_for_wrong() {
    let world = World::with(&IMPATIENT).await;
    let mut subscribers = Vec::new();
    for _ in 0..12 {
        let payment = world.created(PAYS, DAY).await;
        world.charge(payment.id).await;
        subscribers.push(payment);
    }
    for payment in &subscribers {
        world.ends_as(payment.id, PaymentState::Succeeded).await;
        world.ends_today(payment.account_id).await;
    }
    world.order(json!({ "match": { "path": TOKENS }, "fault": "invalid_before", "times": 1000 })).await;
    world.tick(OpenRenewals {}).await;
    world.is(Circuit::KeptCards, CircuitState::Open).await;
    let mut access = Vec::new();
    for payment in &subscribers {
        let mut conn = world.services.db.conn().await.unwrap();
        access.push(accounts::get(&mut conn, payment.account_id).await.unwrap().unwrap().access_until);
    }
    // Customers pay by cards that they type in.
    let typed = world.pays(PAYS).await;
    world.ends_as(typed.id, PaymentState::Succeeded).await;
    for _ in 0..5 {
        world.tick(RepublishStranded {}).await;
    }
    for (payment, before) in subscribers.iter().zip(&access) {
        let tried = format!(
            "payment p join bill b on b.id = p.bill_id where b.account_id = '{}' and p.state = 'rejected'",
            payment.account_id
        );
        assert!(world.count(&tried).await <= 3);
        let mut conn = world.services.db.conn().await.unwrap();
        let account = accounts::get(&mut conn, payment.account_id).await.unwrap().unwrap();
        assert_eq!((account.status, account.access_until), (AccountStatus::Active, *before));
    }
    world.assert_one_alarm().await;

    world.mend().await;
    // Those that were tried in vain are tried again in an hour: now, for the test.
    testkit::eventually(SOON, || async {
        world.sql("update account set next_charge_at = now() where faults > 0 and next_charge_at is not null").await;
        world.tick(OpenRenewals {}).await;
        world.tick(RepublishStranded {}).await;
        let renewed = world.count("account where period_no = 2").await;
        if renewed == 12 { Ok(()) } else { Err(renewed) }
    })
    .await;
    world.is(Circuit::KeptCards, CircuitState::Closed).await;
    for payment in &subscribers {
        world.assert_charged(payment.account_id, 2).await;
    }
    world.assert_one_alarm().await;
}

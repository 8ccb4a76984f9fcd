//! The database is restored to an hour ago amid payments and renewals: nobody is charged twice, and nothing is charged before it
//! is known what the gateway has.

use billing::payment::PaymentState;
use billing::reconciliation::{DifferenceKind, DifferenceState, Phase};
use billing::store::reconciliation::{self as reconciliation, Filter};
use billing::store::restores;
use billing::tasks::{ChargeRenewal, EndHolds, OpenRenewals, Reconcile, RepublishStranded, ResolveUnknown};
use billing::{AccountId, PaymentId, clock};
use chrono::TimeDelta;
use serde_json::json;

use crate::world::{DAY, HAS_NO_FUNDS, MONTH, PAYS, SOON, World};

impl World {
    /// Tells the worker that its database is of that moment, and waits until charging goes on.
    async fn is_restored(&self) {
        let now = clock::now();
        let restore = {
            let mut conn = self.services.db.conn().await.unwrap();
            restores::tell(&mut conn, now - TimeDelta::hours(1), "anna", now).await.unwrap()
        };
        self.services.app.send(Reconcile { reconciliation_id: restore.reconciliation_id }).await.unwrap();
        testkit::eventually(SOON, || async {
            let mut conn = self.services.db.conn().await.unwrap();
            let run = reconciliation::get(&mut conn, restore.reconciliation_id).await.unwrap().unwrap();
            if run.phase == Phase::Ended { Ok(()) } else { Err(run) }
        })
        .await;
    }

    async fn is_held(&self) -> bool {
        restores::is_held(&mut self.services.db.conn().await.unwrap()).await.unwrap()
    }

    /// A subscriber whose renewal is due.
    async fn due(&self) -> AccountId {
        let payment = self.created(PAYS, DAY).await;
        self.charge(payment.id).await;
        self.ends_as(payment.id, PaymentState::Succeeded).await;
        self.ends_today(payment.account_id).await;
        payment.account_id
    }

    async fn renew_all(&self) {
        self.renew_all_beside(None).await;
    }

    /// Likewise, while one payment stays in doubt.
    async fn renew_all_beside(&self, in_doubt: Option<PaymentId>) {
        let but = in_doubt.map(|id| format!(" and id <> '{id}'")).unwrap_or_default();
        let live = format!("payment where is_success is null{but}");
        self.tick(OpenRenewals {}).await;
        testkit::eventually(SOON, async || {
            self.tick(RepublishStranded {}).await;
            self.tick(ResolveUnknown {}).await;
            let live = self.count(&live).await;
            if live == 0 { Ok(()) } else { Err(live) }
        })
        .await;
    }

    /// How often the gateway took money of the account in all.
    async fn times_charged(&self, account_id: AccountId) -> usize {
        self.charged(account_id).await.values().sum()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_charged_twice_after_a_restore_to_an_hour_ago() {
    let mut world = World::start().await;
    // Before the backup: subscribers whose renewals are due, and payments on their way.
    let due: [AccountId; 3] = [world.due().await, world.due().await, world.due().await];
    let created = world.created(PAYS, MONTH).await;
    let refused = world.created(HAS_NO_FUNDS, MONTH).await;
    let left = world.created(PAYS, MONTH).await;

    let lost = world
        .backed_up_and_goes_on(async |world| {
            // The lost hour: all of it happens at the gateway, and the database forgets it.
            world.renew_all().await;
            world.charge(created.id).await;
            world.charge(refused.id).await;
            world.ends_as(created.id, PaymentState::Succeeded).await;
            world.ends_as(refused.id, PaymentState::Declined).await;
            // Somebody pays whose account the backup has not, and a subscriber pays whom the backup knows as new.
            let unknown = world.pays(PAYS).await;
            world.ends_as(unknown.id, PaymentState::Succeeded).await;
            unknown
        })
        .await;
    for account_id in due {
        assert_eq!(world.times_charged(account_id).await, 2, "paid, and renewed in the lost hour");
    }
    assert_eq!(world.payment(created.id).await.state, PaymentState::Created, "the database is of an hour ago");

    // While it is not reconciled nothing is charged.
    let now = clock::now();
    restores::tell(&mut world.services.db.conn().await.unwrap(), now - TimeDelta::hours(1), "anna", now).await.unwrap();
    assert!(world.is_held().await);
    world.tick(OpenRenewals {}).await;
    world.charge(left.id).await;
    world.tick(EndHolds {}).await;
    let renewal = world.id_of("payment where instrument = 'token' limit 1").await;
    world.services.app.send(ChargeRenewal { payment_id: renewal }).await.unwrap();
    testkit::eventually(SOON, async || {
        let put_off = world.count("payment where state = 'created' and look_again_at > now()").await;
        if put_off >= 2 { Ok(()) } else { Err(put_off) }
    })
    .await;
    assert_eq!(world.times_charged(left.account_id).await, 1, "in the lost hour, and not again meanwhile");

    let held = restores::in_force(&mut world.services.db.conn().await.unwrap()).await.unwrap().unwrap();
    world.services.app.send(Reconcile { reconciliation_id: held.reconciliation_id }).await.unwrap();
    testkit::eventually(SOON, async || if world.is_held().await { Err("it is held") } else { Ok(()) }).await;

    // What the gateway took is known again, and what it did not is charged once.
    world.sql("update payment set look_again_at = null where state = 'created'").await;
    world.renew_all_beside(Some(refused.id)).await;
    for account_id in due {
        assert_eq!(world.times_charged(account_id).await, 2, "nobody is charged twice");
        let paid = format!(
            "payment p join bill b on b.id = p.bill_id where state = 'succeeded' and account_id = '{account_id}'"
        );
        assert_eq!(world.count(&paid).await, 2, "the renewal is in rows");
        assert_eq!(world.count(&format!("account where id = '{account_id}' and period_no = 2")).await, 1);
    }
    assert_eq!(world.payment(created.id).await.state, PaymentState::Succeeded);
    assert_eq!(world.times_charged(created.account_id).await, 1);
    assert_eq!(world.times_charged(left.account_id).await, 1);
    // The lost hour has used up its cryptogram. The gateway says so in words that prove nothing: it stays in doubt until it is
    // proved that it was never executed, and nothing is taken.
    let refused = world.ends_as(refused.id, PaymentState::Unknown).await;
    assert_eq!(world.times_charged(refused.account_id).await, 0);
    // Money of an account that is not here waits for a person.
    let mut conn = world.services.db.conn().await.unwrap();
    let open = Filter { state: Some(DifferenceState::Open), ..Filter::default() };
    let open = reconciliation::list(&mut conn, open, 100).await.unwrap();
    let stray: Vec<_> = open.iter().map(|found| (found.kind, found.account_id.clone())).collect();
    assert_eq!(stray, [(DifferenceKind::MissingHere, Some(lost.account_id.to_string()))]);
    drop(conn);
    assert_eq!(world.count("orphan where payment_id is null").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn whose_money_is_not_explained_is_not_charged_by_itself_until_a_person_has_decided() {
    let world = World::start().await;
    let account_id = world.due().await;
    let id = world.charge_behind_our_back("before-this-version", &account_id.to_string(), json!({ "note": "x" })).await;
    world.is_restored().await;
    world.tick(OpenRenewals {}).await;
    let put_off = "payment where instrument = 'token' and state = 'created' and look_again_at > now()";
    testkit::eventually(SOON, async || if world.count(put_off).await == 1 { Ok(()) } else { Err("not yet") }).await;

    let decision = reconciliation::Decision {
        state: DifferenceState::Explained,
        by: "anna".to_owned(),
        reason: "a payment by a link".to_owned(),
    };
    let mut conn = world.services.db.conn().await.unwrap();
    let found = reconciliation::list(&mut conn, Filter::default(), 10).await.unwrap();
    assert_eq!(found[0].transaction_id, Some(id));
    reconciliation::decide(&mut conn, found[0].id, decision, clock::now()).await.unwrap();
    drop(conn);
    world.sql("update payment set look_again_at = null where state = 'created'").await;
    world.renew_all().await;
    assert_eq!(world.count(&format!("account where id = '{account_id}' and period_no = 2")).await, 1);
}

//! A subscription goes on.

use std::time::Duration;

use billing::account::AccountStatus;
use billing::payment::PaymentState;
use billing::store::accounts;
use billing::tasks::OpenRenewals;

use crate::world::{DAY, PAYS, PAYS_ONCE, World};

#[tokio::test(flavor = "multi_thread")]
async fn a_due_account_is_renewed_once_however_many_beats_say_so() {
    let world = World::start().await;
    let payment = world.created(PAYS, DAY).await;
    world.charge(payment.id).await;
    world.ends_as(payment.id, PaymentState::Succeeded).await;
    world.ends_today(payment.account_id).await;
    let first = world.payment(payment.id).await;
    tokio::join!(world.tick(OpenRenewals {}), world.tick(OpenRenewals {}), world.tick(OpenRenewals {}));
    testkit::eventually(Duration::from_secs(30), || async {
        let seen = world.payment(payment.id).await.expires_on;
        if seen > first.expires_on { Ok(()) } else { Err(seen) }
    })
    .await;
    world.tick(OpenRenewals {}).await;
    world.assert_charged(payment.account_id, 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_declined_renewal_makes_the_account_overdue_and_keeps_its_access_for_now() {
    let world = World::start().await;
    let payment = world.created(PAYS_ONCE, DAY).await;
    world.charge(payment.id).await;
    world.ends_as(payment.id, PaymentState::Succeeded).await;
    world.ends_today(payment.account_id).await;
    world.tick(OpenRenewals {}).await;
    testkit::eventually(Duration::from_secs(30), || async {
        let mut conn = world.services.db.conn().await.unwrap();
        let account = accounts::get(&mut conn, payment.account_id).await.unwrap().unwrap();
        if account.status == AccountStatus::Overdue { Ok(()) } else { Err(account.status) }
    })
    .await;
    let mut conn = world.services.db.conn().await.unwrap();
    let access = accounts::access(&mut conn, payment.account_id, billing::clock::now()).await.unwrap();
    assert!(access.is_some_and(|access| access.has_access), "grace");
    drop(conn);
    world.assert_charged(payment.account_id, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_day_that_was_just_bought_is_not_charged_again_before_half_of_it_is_over() {
    let world = World::start().await;
    let payment = world.created(PAYS, DAY).await;
    world.charge(payment.id).await;
    world.ends_as(payment.id, PaymentState::Succeeded).await;
    for _ in 0..3 {
        assert_eq!(world.tick(OpenRenewals {}).await, 0, "half of the day is not over");
    }
    world.assert_charged(payment.account_id, 1).await;
}

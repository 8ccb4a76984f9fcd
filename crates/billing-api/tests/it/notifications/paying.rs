//! Money that was taken, told by the gateway.

use billing::payment::PaymentState;

use super::gateway::{Reply, pay};
use crate::world::World;

/// C3: it comes while the worker still waits for its response.
#[tokio::test(flavor = "multi_thread")]
async fn a_pay_settles_the_payment_before_the_response_does() {
    let world = World::notified().await;
    let payment = world.sending().await;
    assert_eq!(world.notify("pay", &pay(&payment, 455, &[])).await, Reply::accepted());

    assert_eq!(world.state_of(payment.id).await, PaymentState::Succeeded);
    assert_eq!(world.count("notification where effect = 'applied' and token is null").await, 1);
    assert_eq!(world.count("event where kind = 'payment_succeeded' and source = 'notification'").await, 1);
    // The card it was paid with is kept for the next period.
    assert_eq!(world.count("account where payment_token is not null and status = 'Active'").await, 1);
    // Nothing of the card, and no token, lies in the inbox.
    let told = world.text("select told from notification").await.unwrap();
    assert!(!told.contains("4242") && !told.contains("tk_0001"), "{told}");
}

/// C1: it comes again, and once more when nobody remembers it.
#[tokio::test(flavor = "multi_thread")]
async fn a_pay_told_again_has_one_effect_also_after_the_inbox_was_cleaned() {
    let world = World::notified().await;
    let payment = world.sending().await;
    let form = pay(&payment, 455, &[]);
    for _ in 0..3 {
        assert_eq!(world.notify("pay", &form).await, Reply::accepted());
    }
    let events = world.count("event").await;
    let paid_until = world.text("select paid_until from account").await;
    let mut conn = world.services.db.conn().await.unwrap();
    let later = world.services.db.now() + chrono::TimeDelta::days(8);
    assert_eq!(billing::store::notifications::keep(&mut conn, later, 100).await.unwrap(), 1);
    drop(conn);
    assert_eq!(world.notify("pay", &form).await, Reply::accepted());

    assert_eq!(world.count("event").await, events);
    assert_eq!(world.text("select paid_until from account").await, paid_until);
    assert_eq!(world.count("payment").await, 1);
    assert_eq!(world.count("notification where effect = 'nothing_new'").await, 1);
}

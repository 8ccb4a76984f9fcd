//! C11: the gateway asks before it charges.

use std::time::Duration;

use tokio::time::Instant;

use super::gateway::{Reply, pay};
use crate::world::World;

#[tokio::test(flavor = "multi_thread")]
async fn a_check_is_replied_to_from_the_rows_and_writes_nothing() {
    let world = World::notified().await;
    let (open, paid) = (world.sending().await, world.sending().await);
    world.notify("pay", &pay(&paid, 455, &[])).await;
    let withdrawn = world.sending().await;
    world
        .change(&format!(
            "update payment set state = 'not_executed', is_success = false, finished_at = now() where id = '{}'",
            withdrawn.id
        ))
        .await;
    let closing = world.sending().await;
    world.change(&format!("update account set closed_at = now() where id = '{}'", closing.account_id)).await;
    let unsent = world.payment().await;
    let unsent = world.view(&unsent.payment_id).await;
    let written = world.everything().await;

    let other = uuid::Uuid::new_v4().to_string();
    for (what, form, code) in [
        ("open and in work", pay(&open, 1, &[]), 0),
        ("asked again", pay(&open, 2, &[]), 0),
        ("paid already", pay(&paid, 3, &[]), 20),
        ("another amount", pay(&open, 4, &[("Amount", "39.90")]), 12),
        ("another currency", pay(&open, 5, &[("Currency", "USD")]), 12),
        ("an unknown invoice", pay(&open, 6, &[("InvoiceId", "999999999")]), 10),
        ("an invoice that is no number", pay(&open, 7, &[("InvoiceId", "order-7")]), 10),
        ("no invoice", pay(&open, 8, &[("InvoiceId", "")]), 10),
        ("another account", pay(&open, 9, &[("AccountId", &other)]), 11),
        ("no account", pay(&open, 10, &[("AccountId", "")]), 11),
        ("another payment", pay(&open, 11, &[("Data", r#"{"payment_id":"x"}"#)]), 11),
        ("withdrawn", pay(&withdrawn, 12, &[]), 13),
        ("of an account that is closed", pay(&closing, 13, &[]), 13),
        ("with money on a test terminal", pay(&open, 14, &[("TestMode", "0")]), 13),
        ("never sent", pay(&unsent, 15, &[]), 13),
    ] {
        assert_eq!(world.notify("check", &form).await, Reply::code(code), "{what}");
    }
    assert_eq!(world.everything().await, written);
    assert_eq!(world.count("notification").await, 1);
}

/// It has connections of its own.
#[tokio::test(flavor = "multi_thread")]
async fn a_check_is_replied_to_although_every_connection_of_the_pool_is_taken() {
    let world = World::notified().await;
    let payment = world.sending().await;
    let mut taken = Vec::new();
    for _ in 0..world.services.db.size() {
        taken.push(world.services.db.conn().await.unwrap());
    }
    let began = Instant::now();
    assert_eq!(world.notify("check", &pay(&payment, 1, &[])).await, Reply::accepted());
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
}

//! Money that was taken, told by the gateway.

use billing::payment::{Outcome, PaymentState};
use billing::store::payments;
use billing_api::proto::PaymentStatus;

use super::gateway::{Reply, pay, post_signed};
use crate::world::{SOON, World};

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
    assert!(!told.contains("first_six") && !told.contains("tk_0001"), "{told}");
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

/// C2: ten at once, to two processes.
#[tokio::test(flavor = "multi_thread")]
async fn ten_pays_at_once_to_two_processes_have_one_effect() {
    let world = World::notified().await;
    let other = world.second_process().await;
    let payment = world.sending().await;
    let form = pay(&payment, 455, &[]);
    let posts = (0..10).map(|n| {
        let (url, form) = if n % 2 == 0 { (world.notification_url("pay"), &form) } else { (other.url("pay"), &form) };
        post_signed(url, form.clone())
    });
    let replies = futures_util::future::join_all(posts).await;
    assert_eq!(replies, vec![Reply::accepted(); 10]);

    assert_eq!(world.state_of(payment.id).await, PaymentState::Succeeded);
    assert_eq!(world.count("payment").await, 1);
    assert_eq!(world.count("notification").await, 1);
    assert_eq!(world.count("event where kind = 'payment_succeeded'").await, 1);
    assert_eq!(world.count("event where kind = 'access_granted'").await, 1);
}

/// C3: who watches is told once, and the response that comes afterwards changes nothing.
#[tokio::test(flavor = "multi_thread")]
async fn who_watches_is_told_at_once_and_the_response_afterwards_is_no_news() {
    let world = World::notified().await;
    let payment = world.sending().await;
    let mut watch = world.watch(&payment.id.to_string()).await;
    let status = watch.message().await.unwrap().unwrap().status();
    assert_eq!(status, PaymentStatus::Sending);
    assert_eq!(world.notify("pay", &pay(&payment, 455, &[])).await, Reply::accepted());
    let told = tokio::time::timeout(SOON, watch.message()).await.expect("soon").unwrap().unwrap();
    assert_eq!(told.status(), PaymentStatus::Succeeded);
    assert!(watch.message().await.unwrap().is_none(), "it is told once");

    let (events, entries) = (world.count("event").await, world.count("journal_entry").await);
    let response = Outcome::Completed {
        transaction_id: 455,
        token: Some("tk_0001".into()),
        amount: payment.amount,
        currency: payment.currency,
        card: None,
    };
    let mut conn = world.services.db.conn().await.unwrap();
    let cipher = &world.services.cipher;
    let applied = payments::apply(&mut conn, payment.id, response, cipher, world.services.db.now()).await.unwrap();
    assert!(applied.effects.is_empty(), "{applied:?}");
    drop(conn);
    assert_eq!((world.count("event").await, world.count("journal_entry").await), (events, entries));
}

/// C12: what confirms a hold may come before the hold is told.
#[tokio::test(flavor = "multi_thread")]
async fn a_confirmation_before_its_pay_is_the_success_and_the_pay_changes_nothing() {
    let world = World::notified().await;
    let payment = world.sending().await;
    let held = pay(&payment, 455, &[("Status", "Authorized")]);
    let confirmed = pay(&payment, 455, &[("OperationType", "")]);
    assert_eq!(world.notify("confirm", &confirmed).await, Reply::accepted());
    assert_eq!(world.state_of(payment.id).await, PaymentState::Succeeded);
    assert_eq!(world.notify("pay", &held).await, Reply::accepted());
    assert_eq!(world.state_of(payment.id).await, PaymentState::Succeeded);
    assert_eq!(world.count("bill where status = 'Paid'").await, 1);
}

/// C12: what is let go leaves its bill to be paid; what was taken cannot be let go, and a person must look.
#[tokio::test(flavor = "multi_thread")]
async fn a_cancellation_ends_a_hold_and_only_a_hold() {
    let world = World::notified().await;
    let payment = world.sending().await;
    world.notify("pay", &pay(&payment, 455, &[("Status", "Authorized")])).await;
    assert_eq!(world.state_of(payment.id).await, PaymentState::Authorized);
    let cancel =
        format!("TransactionId=455&Amount=9.90&DateTime=2026-11-01+10%3A00%3A00&InvoiceId={}", payment.invoice_no);
    let other_amount = world.notify("cancel", &cancel).await;
    assert_eq!(other_amount, Reply::accepted());
    assert_eq!(world.state_of(payment.id).await, PaymentState::Authorized, "it speaks of other money");

    let amount = format!("{}.{:02}", payment.amount.get() / 100, payment.amount.get() % 100);
    let cancel = format!("TransactionId=455&Amount={amount}&AccountId={}", payment.account_id);
    assert_eq!(world.notify("cancel", &cancel).await, Reply::accepted());
    assert_eq!(world.state_of(payment.id).await, PaymentState::Voided);
    assert_eq!(world.count("bill where status = 'Not paid'").await, 1);
    // The hold, told late, does not come back.
    world.notify("pay", &pay(&payment, 455, &[("Status", "Authorized"), ("Rrn", "1")])).await;
    assert_eq!(world.state_of(payment.id).await, PaymentState::Voided);

    let taken = world.sending().await;
    world.notify("pay", &pay(&taken, 456, &[])).await;
    let cancel = format!("TransactionId=456&Amount={amount}&AccountId={}", taken.account_id);
    assert_eq!(world.notify("cancel", &cancel).await, Reply::accepted());
    assert_eq!(world.state_of(taken.id).await, PaymentState::Succeeded);
    assert_eq!(world.count("orphan where transaction_id = 456").await, 1);
}

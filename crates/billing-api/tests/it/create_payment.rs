use billing_api::proto::{GetPaymentRequest, PaymentStatus};
use tonic::Code;

use crate::refused::{fact, refusal, refused};
use crate::worker::{completed, declined};
use crate::world::{FRONTEND, World, by};

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_is_stored_and_a_worker_told_on_real_servers() {
    let world = World::on_real_servers(|_| {}).await;
    let tariff = world.tariff().await;
    let order = world.order().await;
    let answer = world.payments().create_payment(by(FRONTEND, order.clone())).await.expect("created");
    assert!(answer.metadata().get("idempotent-replayed").is_none());
    let payment = answer.into_inner();

    assert_eq!(payment.status(), PaymentStatus::Created);
    assert_eq!((&payment.account_id, &payment.tariff_id), (&order.account_id, &order.tariff_id));
    assert_eq!((payment.amount_kopecks, &payment.currency), (tariff.amount_kopecks, &tariff.currency));
    assert!(payment.three_ds.is_none() && payment.decline.is_none() && payment.access_expires_on.is_empty());
    assert!(payment.created_at.is_some() && payment.updated_at.is_some());
    assert_eq!(world.rows().await, (1, 1, 1));
    assert_eq!(world.waiting().await, 1, "the broker has confirmed the message before the answer");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_reads_the_same_from_both_methods() {
    let world = World::start().await;
    let payment = world.payment().await;
    let request = GetPaymentRequest { payment_id: payment.payment_id.clone() };
    let read = world.payments().get_payment(by(FRONTEND, request)).await.expect("found").into_inner();
    assert_eq!(read, payment);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_declined_payment_tells_why_and_the_next_try_pays_the_same_bill() {
    let world = World::start().await;
    let order = world.order().await;
    let first = world.payments().create_payment(by(FRONTEND, order.clone())).await.expect("created").into_inner();
    world.charged(&first.payment_id, declined()).await;

    let request = GetPaymentRequest { payment_id: first.payment_id.clone() };
    let read = world.payments().get_payment(by(FRONTEND, request)).await.expect("found").into_inner();
    assert_eq!(read.status(), PaymentStatus::Declined);
    let why = read.decline.expect("a reason");
    assert_eq!((why.code, &*why.reason), (5051, "InsufficientFunds"));
    assert_eq!(why.message, "Недостаточно средств на карте");

    let again = billing_api::proto::CreatePaymentRequest { idempotency_key: "second-try".into(), ..order };
    let second = world.payments().create_payment(by(FRONTEND, again)).await.expect("created").into_inner();
    assert_ne!(second.payment_id, first.payment_id);
    assert_eq!(second.bill_id, first.bill_id);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_succeeded_payment_tells_how_long_access_is_paid_for() {
    let world = World::start().await;
    let payment = world.payment().await;
    world.charged(&payment.payment_id, completed(payment.amount_kopecks)).await;
    let request = GetPaymentRequest { payment_id: payment.payment_id };
    let read = world.payments().get_payment(by(FRONTEND, request)).await.expect("found").into_inner();
    assert_eq!(read.status(), PaymentStatus::Succeeded);
    assert_eq!(read.access_expires_on.len(), "2030-01-31".len(), "{}", read.access_expires_on);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_with_a_live_payment_is_pointed_to_it() {
    let world = World::start().await;
    let order = world.order().await;
    let live = world.payments().create_payment(by(FRONTEND, order.clone())).await.expect("created").into_inner();
    let before = world.rows().await;

    let other = billing_api::proto::CreatePaymentRequest { idempotency_key: "another-key".into(), ..order };
    let status = world.payments().create_payment(by(FRONTEND, other)).await.expect_err("one at a time");
    assert_eq!(refusal(&status), refused(Code::FailedPrecondition, "PAYMENT_IN_PROGRESS", &["account_id"]));
    assert_eq!(fact(&status, "payment_id"), Some(live.payment_id));
    assert_eq!(world.rows().await, before, "nothing was written");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_has_paid_is_not_charged_again() {
    let world = World::start().await;
    let order = world.order().await;
    let paid = world.payments().create_payment(by(FRONTEND, order.clone())).await.expect("created").into_inner();
    world.charged(&paid.payment_id, completed(paid.amount_kopecks)).await;
    let before = world.rows().await;

    let other = billing_api::proto::CreatePaymentRequest { idempotency_key: "another-key".into(), ..order };
    let status = world.payments().create_payment(by(FRONTEND, other)).await.expect_err("nothing is owed");
    assert_eq!(refusal(&status), refused(Code::FailedPrecondition, "ALREADY_ACTIVE", &["account_id"]));
    assert_eq!(world.rows().await, before, "nothing was written");
}

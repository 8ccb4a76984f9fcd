//! Money that went back, told by the gateway.

use billing::payment::{Outcome, PaymentState};
use billing::store::payments::PaymentView;

use super::gateway::{Reply, pay};
use crate::world::World;

fn refund(payment: &PaymentView, number: i64, of: i64, kopecks: i64) -> String {
    format!(
        "TransactionId={number}&PaymentTransactionId={of}&Amount={}.{:02}&DateTime=2026-11-03+10%3A00%3A00&\
         OperationType=Refund&InvoiceId={}&AccountId={}",
        kopecks / 100,
        kopecks % 100,
        payment.invoice_no,
        payment.account_id
    )
}

impl World {
    async fn paid(&self, number: i64) -> PaymentView {
        let payment = self.sending().await;
        assert_eq!(self.notify("pay", &pay(&payment, number, &[])).await, Reply::accepted());
        payment
    }

    async fn bill(&self, payment: &PaymentView) -> String {
        self.text(&format!("select status from bill where id = '{}'", payment.bill_id)).await.expect("a bill")
    }
}

/// C14: made in the gateway's cabinet, and told twice.
#[tokio::test(flavor = "multi_thread")]
async fn a_refund_from_the_cabinet_is_one_refund_however_often_it_is_told() {
    let world = World::notified().await;
    let payment = world.paid(455).await;
    let whole = refund(&payment, 568, 455, payment.amount.get());
    for form in [whole.clone(), whole.clone(), format!("{whole}&Rrn=1")] {
        assert_eq!(world.notify("refund", &form).await, Reply::accepted());
    }
    assert_eq!(world.bill(&payment).await, "Refunded");
    assert_eq!(world.count("refund where source = 'external' and gateway_tx_id = 568").await, 1);
    assert_eq!(world.count("refund").await, 1);
    assert_eq!(world.count("event where kind = 'refund_succeeded' and source = 'notification'").await, 1);
    assert_eq!(world.state_of(payment.id).await, PaymentState::Succeeded);
}

/// C15.
#[tokio::test(flavor = "multi_thread")]
async fn partial_refunds_may_be_told_in_either_order_and_never_exceed_what_was_taken() {
    let world = World::notified().await;
    let payment = world.paid(455).await;
    let first = refund(&payment, 568, 455, 100);
    let second = refund(&payment, 569, 455, payment.amount.get() - 100);
    assert_eq!(world.notify("refund", &second).await, Reply::accepted());
    assert_eq!(world.bill(&payment).await, "Partially refunded");
    assert_eq!(world.notify("refund", &first).await, Reply::accepted());
    assert_eq!(world.bill(&payment).await, "Refunded");
    let third = refund(&payment, 570, 455, 100);
    assert_eq!(world.notify("refund", &third).await, Reply::accepted());
    assert_eq!(world.count("refund").await, 2);
    assert_eq!(world.count("orphan where transaction_id = 570").await, 1);
    let sum = world.text("select sum(amount) from refund").await;
    assert_eq!(sum, Some(payment.amount.get().to_string()));
}

/// C19: the response to the charge was lost.
#[tokio::test(flavor = "multi_thread")]
async fn a_refund_of_a_payment_in_doubt_has_the_gateway_asked_about_it_now() {
    let world = World::notified().await;
    let payment = world.sending().await;
    let later = world.services.db.now() + chrono::TimeDelta::hours(1);
    let mut conn = world.services.db.conn().await.unwrap();
    let doubt = Outcome::Unknown { why: "no response".into(), look_again_at: later };
    let (cipher, now) = (&world.services.cipher, world.services.db.now());
    billing::store::payments::apply(&mut conn, payment.id, doubt, cipher, now).await.unwrap();
    drop(conn);
    assert_eq!(world.notify("refund", &refund(&payment, 568, 455, 100)).await, Reply::accepted());
    assert_eq!(world.state_of(payment.id).await, PaymentState::Unknown);
    assert_eq!(world.count("payment where look_again_at <= now()").await, 1);
    assert_eq!(world.count("refund where gateway_tx_id = 568").await, 1);
    // What the look finds is the payment, given back in part.
    let mut conn = world.services.db.conn().await.unwrap();
    let taken = Outcome::Completed {
        transaction_id: 455,
        token: None,
        amount: payment.amount,
        currency: payment.currency,
        card: None,
    };
    let now = world.services.db.now();
    billing::store::payments::apply(&mut conn, payment.id, taken, cipher, now).await.unwrap();
    drop(conn);
    assert_eq!(world.state_of(payment.id).await, PaymentState::Succeeded);
    assert_eq!(world.bill(&payment).await, "Partially refunded");
}
